package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhichVault asks scripts/vault for a server on machines that have one, have
// another, or have none.
func TestWhichVault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		args   []string
		path   map[string]string // program to what its "version" prints
		env    string            // VAULT_BIN
		want   string            // base name of the program; "built" for the pinned build
		stderr string
	}{
		{name: "vault on PATH", path: map[string]string{"vault": "Vault v1.18.3 (abc), built 2025-01-01", "bao": "OpenBao v2.6.2"}, want: "vault"},
		{name: "the oldest vault", path: map[string]string{"vault": "Vault v1.16.0"}, want: "vault"},
		{name: "vault of Enterprise", path: map[string]string{"vault": "Vault v1.20.1+ent (abc)"}, want: "vault"},
		{name: "bao alone", path: map[string]string{"bao": "OpenBao v2.5.5, built 2026-07-01"}, want: "bao"},
		{name: "an old vault and a bao", path: map[string]string{"vault": "Vault v1.9.10", "bao": "OpenBao v2.10.0"}, want: "bao", stderr: "vault is version 1.9.10: passed over, it takes 1.16 or later"},
		{name: "what is no vault", path: map[string]string{"vault": "usage: vault FILE"}, want: "built", stderr: "vault is version unknown"},
		{name: "none", want: "built", stderr: "https://openbao.org/docs/install/"},
		{name: "pinned", args: []string{"-pinned"}, path: map[string]string{"vault": "Vault v1.21.2"}, want: "built"},
		{name: "given", args: []string{"-pinned"}, path: map[string]string{"vault": "Vault v1.21.2", "mine": ""}, env: "mine", want: "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bin := t.TempDir()
			program := func(name, script string) {
				t.Helper()
				writeProgram(t, filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"))
			}
			// No more than the script needs: this machine may have a vault of its own.
			for _, tool := range []string{"bash", "sh", "sed", "sort", "head", "dirname"} {
				found, err := exec.LookPath(tool)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(found, filepath.Join(bin, tool)); err != nil {
					t.Fatal(err)
				}
			}
			// Stands in for the build, and says on stderr what that says before it begins.
			program("go", `while [ $# -gt 0 ]; do if [ "$1" = -note ]; then echo "$2" >&2; fi; shift; done; echo built`)
			for name, version := range tt.path {
				program(name, fmt.Sprintf("echo '%s'", version))
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join("..", "scripts", "vault"), tt.args...)
			cmd.Env = []string{"PATH=" + bin}
			if tt.env != "" {
				cmd.Env = append(cmd.Env, "VAULT_BIN="+filepath.Join(bin, tt.env))
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			said, err := cmd.Output()
			if got := filepath.Base(strings.TrimSpace(string(said))); err != nil || got != tt.want || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("%q, %v, stderr %q; want %s and %q", said, err, stderr.String(), tt.want, tt.stderr)
			}
		})
	}
}
