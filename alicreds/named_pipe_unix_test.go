//go:build unix

package alicreds_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestNamedPipes: opening a named pipe waits for somebody who writes to it, so
// none is opened, wherever a file is asked for.
func TestNamedPipes(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"OIDC token": func() error {
			_, err := alicreds.TokenFile(pipe).Token(t.Context())
			return err
		},
		"RSA key": func() error {
			_, err := build(alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: pipe})
			return err
		},
		"config.json": func() error {
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: pipe}).Retrieve(t.Context())
			return err
		},
		"INI file": func() error {
			_, err := profile(t, alicreds.ProfileOptions{Path: pipe}).Retrieve(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Somebody who writes nothing and leaves: a pipe that is opened all
			// the same fails this test and does not stop it.
			writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(2*time.Second, func() { writer.Close() }).Stop()
			defer writer.Close()
			wantError(t, read(), pipe, "is not a regular file")
		})
	}
}
