package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestStatus reads status with the real CLI: its table fits a window of 80 columns
// and a screen, and tells what was done without saying to whom.
func TestStatus(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	v.write(t, mount+"/config", map[string]any{"max_retries": 0})
	var users []string
	for range 3 {
		users = append(users, v.read(t, mount+"/creds/ci").Data["username"].(string))
		v.read(t, mount+"/creds/deploy")
	}
	// Everything fails that can fail unseen.
	settings := cloud.Settings()
	settings.Quotas.Users = 4
	if err := cloud.Configure(settings); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []alisim.Fault{
		{Action: "CreateUser", Kind: alisim.FaultThrottle}, {Action: "AssumeRole", Kind: alisim.FaultError500}, {Action: "GetUser", Kind: alisim.FaultDrop},
	} {
		if err := cloud.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"creds/ci", "creds/deploy"} {
		if result := v.try(t, "read", mount+"/"+path); result.code == 0 {
			t.Errorf("%s is issued", path)
		}
	}
	var read commandResult
	// An issue has the quotas asked for, too, and status asks anew after ten seconds.
	eventually(t, time.Minute, "status warns of the quota", func() bool {
		read = v.try(t, "read", mount+"/status")
		return read.code == 0 && strings.Contains(strings.Join(strings.Fields(read.stderr), " "), "the account has 4 of the 4 RAM users that it may have")
	})
	said := strings.TrimSuffix(read.stdout, "\n")
	lines := strings.Split(said, "\n")
	if len(lines) > 30 {
		t.Errorf("status has %d lines:\n%s", len(lines), said)
	}
	for _, line := range lines {
		if len(line) > 80 {
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
	table := strings.Join(strings.Fields(said), " ")
	for _, want := range []string{
		"version " + pluginVersion + " ", "account_id " + alisim.DefaultAccountID + " ", "credentials access_key ", "leases_overdue 0 ",
		"issued 6: ram_role_arn 3, ram_user 3 ", "calls_throttled 1: CreateUser 1 ", "calls_failed 1: AssumeRole 1 ",
		"leases_by_role 3: ci 3 ", "quotas users 4 of 4, roles 1 of 1000, policies 1 of 1500 ",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("status does not say %q:\n%s", want, said)
		}
	}
	for _, name := range append(users, alisim.DefaultUserName+" ", alisim.DefaultAccessKeyID) {
		if strings.Contains(table, name) {
			t.Errorf("status has the name %s:\n%s", name, said)
		}
	}
	t.Logf("\n%s", said)
}
