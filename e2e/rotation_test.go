package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestVaultRotation rotates the root key and a static role with the real CLI on
// a server of Vault Community, and lets Vault itself drive the schedule.
func TestVaultRotation(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy"})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)

	rotated := v.cli(t, "write", "-f", "-format=json", mount+"/config/rotate-root")
	key, _ := rotated.Data["access_key"].(string)
	if key == "" || key == alisim.DefaultAccessKeyID || rotated.Data["rotation_state"] != "overlapping" {
		t.Errorf("answer %v", rotated.Data)
	}
	v.run(t, "read", mount+"/creds/deploy")
	// What Terraform writes at its next apply.
	again := v.write(t, mount+"/config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
	if again == nil || !slices.ContainsFunc(again.Warnings, func(w string) bool { return strings.Contains(w, "was rotated away") }) {
		t.Errorf("no warning: %v", again)
	}
	if got := v.read(t, mount+"/config").Data["access_key"]; got != key {
		t.Errorf("config holds %v, want %s", got, key)
	}
	refused := v.try(t, "write", "-f", mount+"/config/rotate-root")
	if refused.code == 0 || !strings.Contains(refused.stderr, "Code: 400") || !strings.Contains(refused.stderr, alisim.DefaultAccessKeyID) {
		t.Errorf("a third key: %v", refused)
	}

	v.run(t, "write", mount+"/static-role/legacy", "username=legacy", "rotation_schedule=* * * * *", "grace_period=50s") // a busy machine takes its time to try the first key
	if got := v.run(t, "list", mount+"/static-role"); !strings.Contains(got, "legacy") {
		t.Errorf("list %s", got)
	}
	first := v.cli(t, "read", "-format=json", mount+"/static-cred/legacy")
	arn, err := whoami(t, cloud, writeCA(t, cloud), keysOf(first.Data))
	if err != nil || !strings.HasSuffix(arn, ":user/legacy") || first.LeaseID != "" {
		t.Errorf("%q %v, lease %q", arn, err, first.LeaseID)
	}
	eventually(t, 6*time.Minute, "Vault's tick rotates the static role", func() bool {
		return v.read(t, mount+"/static-cred/legacy").Data["access_key"] != first.Data["access_key"]
	})
	v.run(t, "delete", mount+"/static-role/legacy", "remove_key=true")
	if user, _ := cloud.Inventory().User("legacy"); len(user.AccessKeys) != 0 {
		t.Errorf("remove_key left %v", user.AccessKeys)
	}
	if got := v.try(t, "read", mount+"/static-cred/legacy"); got.code == 0 {
		t.Error("a deleted static role still answers")
	}
}
