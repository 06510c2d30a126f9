// Command vault-plugin-secrets-alicloud is a Vault secrets engine that hands
// out short-lived Alibaba Cloud credentials. Vault starts it; started by hand
// it only answers -version.
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
	flag.Parse()
	if *version {
		fmt.Println(backend.Version())
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
