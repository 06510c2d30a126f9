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
// What they print can be pasted: all of make demo, from its top, into a new shell
// when it is over; what make dev says of another terminal, while it is up.
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
					return strings.Contains(said.String(), "The log of Vault")
				})
				_, forOthers, _ := strings.Cut(said.String(), "In another terminal")
				// What the pages show of other accounts, resource groups and quotas works here too.
				forOthers += `
$ vault write alicloud/role/ops remote_policies=name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-acfmxazb4ph6aiy
$ vault write alicloud/role/ci-shop remote_policies=name:AliyunOSSReadOnlyAccess,type:System assume_role_arn=acs:ram::2000000000000001:role/vault assume_role_external_id=vault-of-the-hub
$ for role in ops ci-shop; do vault read alicloud/creds/$role; vault read -field=result alicloud/role/$role/check; echo " for $role"; done
$ vault read -field=quotas alicloud/status
`
				text := pasteDemo(t, forOthers, t.TempDir())
				for _, want := range []string{"security_token", `"users"`, "yes for ops", "yes for ci-shop", " of 1000, "} {
					if !strings.Contains(text, want) {
						t.Errorf("in another terminal nothing printed %q:\n%s", want, text)
					}
				}
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
			if left := leftIn(t, temp); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			address := regexp.MustCompile(`VAULT_ADDR=http://(\S+)`).FindStringSubmatch(text)
			if address == nil {
				t.Error("it did not print VAULT_ADDR")
			} else if conn, err := net.Dial("tcp", address[1]); err == nil {
				_ = conn.Close()
				t.Error("the Vault server still listens")
			}
			if test.args == nil && !t.Failed() {
				if again := pasteDemo(t, text, temp); !strings.HasSuffix(again, "\nexists\nSuccess! Revoked any leases with prefix: alicloud/creds\ngone\n") {
					t.Errorf("pasted, it prints\n%s", again)
				}
				// The shell has told the servers to stop, and waits for none.
				eventually(t, stopTimeout, "pasted, it leaves nothing", func() bool { return len(leftIn(t, temp)) == 0 })
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// leftIn are the files in a directory, but for the sockets of plugins: one stays when Vault, which gives a plugin two
// seconds to end, has killed it.
func leftIn(t *testing.T, dir string) (left []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Type() != os.ModeSocket {
			left = append(left, entry.Name())
		}
	}
	return left
}

// pasteDemo types every command of a text of the demo into a new shell, as a
// person does who has nothing set, and returns what that prints.
func pasteDemo(t *testing.T, text, temp string) string {
	t.Helper()
	script := "set -euo pipefail\n"
	for line := range strings.Lines(text) {
		command, found := strings.CutPrefix(line, "$ ")
		if !found {
			continue
		}
		if strings.Contains(command, "vault agent -config=agent.hcl)") { // it stays, until Ctrl-C
			command = strings.Replace(command, "agent.hcl)", "agent.hcl -exit-after-auth)", 1)
		}
		script += command
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = ".."
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + temp, "GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE")}
	cmd.WaitDelay = 10 * time.Second
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("pasted: %v\n%s\n%s", err, script, said)
	}
	return string(said)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(value))
}
