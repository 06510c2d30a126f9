// Nodesdk prints the directory that differential.InstallNode makes of the
// directory that it is given.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/alicreds/vault-plugin-secrets-alicloud/differential"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "nodesdk: want one argument, a directory")
		os.Exit(1)
	}
	dir, err := differential.InstallNode(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "nodesdk:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
