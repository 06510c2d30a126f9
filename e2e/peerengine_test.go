package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestPeerEngineOnAlisim runs HashiCorp's engine, unmodified, against the
// simulator: what a real client of RAM and STS sends, the simulator must take.
func TestPeerEngineOnAlisim(t *testing.T) {
	t.Parallel()
	const version = "v0.21.0"
	cloud := startCloud(t)
	ca := writeCA(t, cloud)
	v := startVault(t)
	var flags []string
	for _, variable := range foreignEnviron(cloud, ca) {
		flags = append(flags, "-env="+variable)
	}
	v.register(t, mount, need(t, programs.peer), version, flags...)
	v.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+version, mount)
	v.write(t, mount+"/config", map[string]any{
		"access_key": alisim.DefaultAccessKeyID,
		"secret_key": alisim.DefaultAccessKeySecret,
	})
	seed := cloud.Inventory()

	t.Run("session", func(t *testing.T) {
		v.write(t, mount+"/role/deploy", map[string]any{"role_arn": roleARN})
		secret := v.read(t, mount+"/creds/deploy")
		arn, err := whoami(t, cloud, ca, keysOf(secret.Data))
		if err != nil || !strings.HasPrefix(arn, "acs:ram::1234567890123456:assumed-role/deploy/") {
			t.Errorf("the session is %q, %v", arn, err)
		}
		v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	})

	t.Run("RAM user", func(t *testing.T) {
		// Both lists given: with one of them absent this engine never deletes the user.
		v.write(t, mount+"/role/ci", map[string]any{
			"inline_policies": "[" + policyJSON + "]",
			"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"},
			"ttl":             "10m",
			"max_ttl":         "1h",
		})
		secret := v.read(t, mount+"/creds/ci")
		arn, err := whoami(t, cloud, ca, keysOf(secret.Data))
		if err != nil || !strings.HasPrefix(arn, "acs:ram::1234567890123456:user/") {
			t.Errorf("the user is %q, %v", arn, err)
		}
		if left := leftovers(seed, cloud.Inventory()); len(left.Users) != 1 || len(left.Policies) != 1 {
			t.Errorf("issued: %v", left)
		}
		renewed, err := v.api.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
		if err != nil || time.Duration(renewed.LeaseDuration)*time.Second != 10*time.Minute {
			t.Errorf("renewed: %+v, %v", renewed, err)
		}
		v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
		if left := leftovers(seed, cloud.Inventory()); !left.empty() {
			t.Errorf("revoked, but RAM still holds %v", left)
		}
	})

	for _, call := range cloud.Journal() {
		if call.Code != "" {
			t.Errorf("%s was refused: %d %s", call.Action, call.Status, call.Code)
		}
	}
}
