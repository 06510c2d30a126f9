//go:build unix

package alicreds_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestFileThatNeverEnds: the kernel's log is a regular file, and reading it waits
// for what is logged next. Nobody waits with it.
func TestFileThatNeverEnds(t *testing.T) {
	t.Parallel()
	const log = "/proc/kmsg"
	f, err := os.Open(log)
	if err != nil {
		t.Skip("only Linux, and only root, has a regular file whose reading waits: ", err)
	}
	f.Close()
	for name, read := range map[string]func(context.Context) error{
		"OIDC token": func(ctx context.Context) error {
			_, err := alicreds.TokenFile(log).Token(ctx)
			return err
		},
		"RSA key": func(context.Context) error {
			_, err := build(alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: log})
			return err
		},
		"config.json": func(ctx context.Context) error {
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: log}).Retrieve(ctx)
			return err
		},
		"INI file": func(ctx context.Context) error {
			_, err := profile(t, alicreds.ProfileOptions{Path: log}).Retrieve(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "RSA key" && testing.Short() {
				t.Skip("a Config is built without a context, and gives up after 10 s")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- read(ctx) }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the kernel's log is taken for one")
				}
			case <-time.After(time.Minute):
				t.Error("it is still being read, long after its context ended")
			}
		})
	}
}

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
