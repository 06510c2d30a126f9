package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// installName is the file that install makes, whatever this program's own is called.
const installName = "vault-plugin-secrets-alicloud"

// install copies this program into a directory, and returns where it is then. The
// image of a release holds the program and nothing else, so an init container has
// no cp. A copy that is there already is replaced at once or not at all.
func install(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil { // there is no /proc
		self = os.Args[0]
	}
	from, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, "."+installName+"-")
	if err != nil {
		return "", err
	}
	defer os.Remove(to.Name()) // once it has its name, it is not found here
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	if err := to.Chmod(0o755); err != nil { // Vault runs as another user
		return "", err
	}
	if err := to.Sync(); err != nil {
		return "", err
	}
	if err := to.Close(); err != nil {
		return "", err
	}
	installed := filepath.Join(dir, installName)
	return installed, os.Rename(to.Name(), installed)
}
