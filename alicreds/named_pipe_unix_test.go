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
	// Somebody who writes nothing, so that a pipe that is opened is an error
	// below and not a test that waits for ever.
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(5*time.Second, func() { writer.Close() })
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
			wantError(t, read(), pipe, "is not a regular file")
		})
	}
}
