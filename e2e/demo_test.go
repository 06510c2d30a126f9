package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo runs what the README promises: make demo, and make dev until
// Ctrl-C. Both must end well and leave nothing: no process, no file, no lease.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
	}{
		{"demo", nil},
		{"dev", []string{"-stay"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			temp := t.TempDir()
			var said output
			cmd := exec.CommandContext(t.Context(), filepath.Join("..", "scripts", "demo"), test.args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, "VAULT_BIN="+need(t, programs.vault), "ALICLOUD_DEMO=simulated")
			cmd.Stdout, cmd.Stderr = &said, &said
			cmd.WaitDelay = 10 * time.Second // a process left behind would hold our pipe
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if test.args != nil {
				eventually(t, 3*time.Minute, "the dev server is up", func() bool {
					return strings.Contains(said.String(), "In another terminal")
				})
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			text := said.String()
			for _, want := range []string{":assumed-role/deploy/", ":user/", `"mode": "StsToken"`, "\nexists\n", "\ngone\n", "# Done."} {
				if !strings.Contains(text, want) {
					t.Errorf("it did not print %q", want)
				}
			}
			// Once with the keys that vault read gave, once with those that the agent wrote.
			if sessions := strings.Count(text, "\nacs:ram::1234567890123456:assumed-role/deploy/"); sessions != 2 {
				t.Errorf("an SDK saw %d sessions of the RAM role, want 2", sessions)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
			address := regexp.MustCompile(`VAULT_ADDR=http://(\S+)`).FindStringSubmatch(text)
			if address == nil {
				t.Error("it did not print VAULT_ADDR")
			} else if conn, err := net.Dial("tcp", address[1]); err == nil {
				_ = conn.Close()
				t.Error("the Vault server still listens")
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}
