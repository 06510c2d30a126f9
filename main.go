// Command vault-plugin-secrets-alicloud is a Vault secrets engine that hands
// out short-lived Alibaba Cloud credentials. Vault starts it; started by hand
// it answers -version, and with -install DIR it copies itself into a directory.
package main

import (
	"flag"
	"fmt"
	"os"
	_ "time/tzdata" // schedules name time zones, which many containers have no files of

	"github.com/hashicorp/go-hclog"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

func main() {
	version := flag.Bool("version", false, "print the version and exit")
	into := flag.String("install", "", "copy this program into a directory and exit: for init containers, whose image has no cp")
	flag.Parse()
	switch {
	case *version:
		fmt.Println(backend.Version())
		return
	case *into != "":
		installed, err := install(*into)
		if err != nil {
			fmt.Fprintln(os.Stderr, "install:", err)
			os.Exit(1)
		}
		fmt.Println(installed)
		return
	}
	go func() {
		awaitParentEnd()
		// Vault was killed, and told nobody. What it was told last is in its
		// storage, as after a kill of this process, and the next one goes on there.
		os.Exit(1)
	}()
	if err := serve(); err != nil {
		hclog.New(&hclog.LoggerOptions{Output: os.Stderr}).Error("plugin shutting down", "error", err)
		os.Exit(1)
	}
}
