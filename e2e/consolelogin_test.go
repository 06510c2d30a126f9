package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestConsoleLogin issues logins to the console on a real server, signs in at the
// simulator, and wants nothing left once the leases end: also of those during whose
// issue the plugin was killed, before and after each call.
func TestConsoleLogin(t *testing.T) {
	t.Parallel() // it waits most of the time
	v, cloud := startEngine(t)
	seed := cloud.Inventory()
	v.write(t, "sys/policies/password/people", map[string]any{"policy": `
		length = 20
		rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
		rule "charset" { charset = "0123456789" min-chars = 1 }
		rule "charset" { charset = "_" min-chars = 1 }`})
	logins := 0
	for name, tc := range map[string]struct {
		role   map[string]any
		signIn string
		length int // of the password
		key    bool
	}{
		"plain":    {nil, alisim.SignInDone, 32, false},
		"with-key": {map[string]any{"access_key": true}, alisim.SignInDone, 32, true},
		"with-mfa": {map[string]any{"mfa_bind_required": true}, alisim.SignInBindMFA, 32, false},
		"by-vault": {map[string]any{"password_policy": "people", "console_site": "INTL"}, alisim.SignInDone, 20, false},
	} {
		role := peopleRole()
		for field, value := range tc.role {
			role[field] = value
		}
		v.write(t, mount+"/role/"+name, role)
		if check := v.read(t, mount+"/role/"+name+"/check").Data; check["result"] != "yes" {
			t.Errorf("%s: the check says %v:\n%v", name, check["result"], check["report"])
		}
		lease := v.read(t, mount+"/creds/"+name)
		if got := signIn(cloud, lease); got != tc.signIn {
			t.Errorf("%s: the sign-in page says %s, want %s", name, got, tc.signIn)
		}
		if password := lease.Data["password"].(string); len(password) != tc.length {
			t.Errorf("%s: the password has %d characters", name, len(password))
		}
		if _, found := lease.Data["access_key"]; found != tc.key {
			t.Errorf("%s: the answer has an AccessKey: %t", name, found)
		}
		if want := "https://signin.aliyun.com/"; (tc.role["console_site"] == nil) != strings.HasPrefix(lease.Data["login_url"].(string), want) {
			t.Errorf("%s: the sign-in page is %s", name, lease.Data["login_url"])
		}
		if _, err := v.api.Sys().RenewWithContext(t.Context(), lease.LeaseID, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.run(t, "lease", "revoke", "-sync", lease.LeaseID)
		if got := signIn(cloud, lease); got != alisim.SignInRefused {
			t.Errorf("%s: after the lease the sign-in page says %s", name, got)
		}
		logins++
	}
	if left := leftovers(seed, cloud.Inventory()); !left.empty() {
		t.Errorf("RAM still holds %v", left)
	}

	refused := v.try(t, "read", mount+"/creds/none-such")
	if refused.code == 0 {
		t.Error("an unknown role issues a login")
	}
	v.write(t, mount+"/role/no-policy", map[string]any{"inline_policies": "[" + policyJSON + "]", "console_login": true, "password_policy": "none-such"})
	if refused := v.try(t, "read", mount+"/creds/no-policy"); !strings.Contains(refused.stderr, `Vault made no password by its policy "none-such"`) {
		t.Errorf("a password policy that Vault does not have: %s", refused.stderr)
	}

	kills := &issueKills{v: v, seed: alisim.DefaultSeed(), enable: func(path string, cloud *alisim.Server) {
		v.enable(t, path, cloud)
		v.write(t, path+"/role/people", peopleRole())
	}}
	calls := kills.calls(t, "people")
	for k := range calls {
		for _, hold := range []string{"before", "after"} {
			kills.kill(t, "people", k, hold)
		}
	}
	if len(kills.created.Users) < 4 {
		t.Errorf("the kills left only %v: were they kills during an issue?", kills.created)
	}
	var left ours
	eventually(t, 6*time.Minute, "with the rollbacks all is gone", func() bool {
		left = leftovers(seed, cloud.Inventory())
		left.add(kills.left())
		return left.empty()
	})
	fmt.Printf("TestConsoleLogin: logins %d kills %d orphans %d\n", logins, 2*calls, len(left.Users)+len(left.Roles)+len(left.Policies))
}

// peopleRole is a role whose users sign in to the console.
func peopleRole() map[string]any {
	return map[string]any{"inline_policies": "[" + policyJSON + "]", "ttl": "10m", "max_ttl": "1h", "console_login": true}
}

// signIn tells what the sign-in page makes of a login that was issued.
func signIn(cloud *alisim.Server, lease *api.Secret) string {
	return cloud.SignIn(lease.Data["login_name"].(string), lease.Data["password"].(string))
}
