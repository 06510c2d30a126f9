package e2e

import (
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestTaintedMount goes the ways out of a mount that could not be disabled, as
// troubleshooting.md has them (F3.3, F7.6).
func TestTaintedMount(t *testing.T) {
	t.Parallel()
	cloud, err := alisim.Start(alisim.Options{Seed: alisim.DefaultSeed()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	seed := cloud.Inventory()
	refused := func(t *testing.T, want string, args ...string) {
		t.Helper()
		if r := v.try(t, args...); r.code == 0 || !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%s: exit status %d: %s%s, want %q", args, r.code, r.stdout, r.stderr, want)
		}
	}

	t.Run("its credentials are refused", func(t *testing.T) {
		v.enable(t, "kept", cloud)
		v.read(t, "kept/creds/ci")
		cloud.AddFault(alisim.Fault{Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.Inactive", Status: 403})
		refused(t, "failed to revoke", "secrets", "disable", "kept/")
		refused(t, "is tainted", "write", "kept/config", "region=cn-beijing")
		cloud.ClearFaults()
		v.run(t, "secrets", "disable", "kept/")
		if left := leftovers(seed, cloud.Inventory()); !left.empty() {
			t.Errorf("RAM still holds %v", left)
		}
	})
	t.Run("its config is gone", func(t *testing.T) {
		v.enable(t, "gone", cloud)
		user := v.read(t, "gone/creds/ci").Data["username"].(string)
		v.run(t, "delete", "gone/config", "force=true")
		refused(t, "no credentials are configured", "secrets", "disable", "gone/")
		refused(t, "is tainted", "write", "gone/config", "access_key=x", "secret_key=y")
		refused(t, "no credentials are configured", "lease", "revoke", "-sync", "-prefix", "gone/creds")
		v.run(t, "lease", "revoke", "-force", "-prefix", "gone/creds")
		v.run(t, "secrets", "disable", "gone/")
		left := leftovers(seed, cloud.Inventory())
		if len(left.Users) != 1 || left.Users[0] != user {
			t.Errorf("RAM holds %v, want %s", left, user)
		}
		for _, u := range cloud.Inventory().Users {
			if u.Name == user && !strings.HasPrefix(u.Comments, "vault ") {
				t.Errorf("%s has the mark %q", user, u.Comments)
			}
		}
	})
	// The engine is called all the same: nothing stays where it can work.
	t.Run("forced where it works", func(t *testing.T) {
		before := cloud.Inventory()
		v.enable(t, "works", cloud)
		v.read(t, "works/creds/ci")
		v.run(t, "lease", "revoke", "-force", "-prefix", "works/creds")
		if left := leftovers(before, cloud.Inventory()); len(left.Users) > 0 {
			t.Errorf("RAM still holds %v", left)
		}
	})
}
