package backend_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func (m *mount) staticCred(name string) *logical.Response {
	m.t.Helper()
	return m.must(logical.ReadOperation, "static-cred/"+name, nil)
}

// A role from its creation through a rotation by schedule to its deletion.
func TestStaticRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), seedWith(alisim.User{Name: "app"}))
		if resp := m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "2h"}); resp != nil {
			t.Errorf("answer %v", resp)
		}
		first := m.staticCred("app")
		if !m.works(first, "app") || first.Data["username"] != "app" || first.Data["rotation_state"] != "idle" {
			t.Errorf("%v", first.Data)
		}
		if ttl := first.Data["ttl"].(float64); ttl < 86390 || ttl > 86400 {
			t.Errorf("ttl %v", ttl)
		}
		if got := m.must(logical.ListOperation, "static-role/", nil).Data["keys"]; fmt.Sprint(got) != "[app]" {
			t.Errorf("list %v", got)
		}
		m.minutes(24*60 + 1)
		second := m.staticCred("app")
		switch {
		case second.Data["access_key"] == first.Data["access_key"]:
			t.Error("not rotated")
		case !m.works(first, "app") || !m.works(second, "app"):
			t.Error("in the grace period both keys must work")
		case second.Data["previous_access_key"] != first.Data["access_key"] || second.Data["previous_valid_until"] == "":
			t.Errorf("%v", second.Data)
		}
		m.refused(logical.UpdateOperation, "rotate-role/app", nil, "stays valid until")
		m.minutes(2*60 + 1)
		if got := m.keysOf("app"); got != first.Data["access_key"].(string)+" Inactive, "+second.Data["access_key"].(string)+" Active" {
			t.Errorf("after the grace period: %s", got)
		}
		m.minutes(61)
		if got := m.keysOf("app"); got != second.Data["access_key"].(string)+" Active" {
			t.Errorf("an hour later: %s", got)
		}
		read := m.must(logical.ReadOperation, "static-role/app", nil).Data
		for field, want := range map[string]any{"username": "app", "rotation_period": 86400.0, "grace_period": 7200.0, "rotation_failure": "", "remove_key": false} {
			if read[field] != want {
				t.Errorf("%s reads %v, want %v", field, read[field], want)
			}
		}
		if _, there := read["secret_key"]; there {
			t.Error("static-role/ reads the secret")
		}

		// On request, twice.
		third := m.must(logical.UpdateOperation, "rotate-role/app", nil).Data["access_key"]
		fourth := m.must(logical.UpdateOperation, "rotate-role/app", map[string]any{"force": true}).Data["access_key"]
		if got := m.keysOf("app"); got != third.(string)+" Active, "+fourth.(string)+" Active" {
			t.Errorf("keys %s", got)
		}
		m.must(logical.DeleteOperation, "static-role/app", nil)
		if got := m.keysOf("app"); got != fourth.(string)+" Active" {
			t.Errorf("after the deletion: %s", got)
		}
		if resp := m.must(logical.ReadOperation, "static-cred/app", nil); resp != nil {
			t.Errorf("still read: %v", resp)
		}
	})
}

func TestStaticRoleRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(
			alisim.User{Name: "app"},
			alisim.User{Name: "full", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tFULL1", Secret: "s"}, {ID: "LTAI5tFULL2", Secret: "s"}}},
			alisim.User{Name: "one", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tONE", Secret: "s"}}},
			alisim.User{Name: "off", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOFF", Secret: "s", Status: "Inactive"}}},
		))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
		for _, test := range []struct {
			data map[string]any
			want string
		}{
			{map[string]any{"rotation_period": "24h"}, "username is required"},
			{map[string]any{"username": "a@b.onaliyun.com", "rotation_period": "24h"}, "without @"},
			{map[string]any{"username": "one"}, "rotation_period or rotation_schedule is required"},
			{map[string]any{"username": "one", "rotation_period": 10}, "at least 1m0s"},
			{map[string]any{"username": "one", "rotation_period": "1h", "rotation_schedule": "0 0 * * *"}, "exclude each other"},
			{map[string]any{"username": "one", "rotation_schedule": "0 0 * *"}, "rotation_schedule: "},
			{map[string]any{"username": "one", "rotation_schedule": "0 0 30 2 *"}, "no time that ever comes"},
			{map[string]any{"username": "one", "rotation_schedule": "0 0 * * *", "rotation_window": 60}, "rotation_window must be 0 or at least 5m0s"},
			{map[string]any{"username": "one", "rotation_period": "1h", "grace_period": "1h"}, "shorter than the time between two rotations"},
			{map[string]any{"username": "nobody", "rotation_period": "24h"}, "RAM user nobody does not exist"},
			{map[string]any{"username": "App", "rotation_period": "24h"}, "belongs to static-role/app already"},
			{map[string]any{"username": "vault", "rotation_period": "24h"}, "is the one that this mount works with"},
			{map[string]any{"username": "full", "rotation_period": "24h"}, "LTAI5tFULL1 (Active) and LTAI5tFULL2 (Active)"},
			{map[string]any{"username": "one", "rotation_period": "24h"}, "LTAI5tONE (Active)"},
			{map[string]any{"username": "one", "rotation_period": "24h", "force": true}, "LTAI5tONE (Active)"},
			{map[string]any{"username": "off", "rotation_period": "24h"}, "force=true to have it deleted"},
			{map[string]any{"username": "one", "rotation_period": "24h", "access_key": "LTAI5tONE", "secret_key": "wrong"}, "were not adopted"},
			{map[string]any{"username": "one", "rotation_period": "24h", "access_key": "LTAI5tFULL1", "secret_key": "s"}, "belongs to"},
			{map[string]any{"username": "one", "rotation_period": "24h", "secret_key": "s"}, "access_key is required"},
			{map[string]any{"username": "one", "rotation_period": "24h", "access_key": "LTAI5tFULL1"}, "has no AccessKey LTAI5tFULL1"},
		} {
			m.refused(logical.UpdateOperation, "static-role/x", test.data, test.want)
			if resp := m.must(logical.ReadOperation, "static-role/x", nil); resp != nil {
				t.Fatalf("%v was stored", test.data)
			}
		}
		m.refused(logical.UpdateOperation, "static-role/app", map[string]any{"username": "one"}, "username cannot be changed")
		m.refused(logical.UpdateOperation, "rotate-role/nobody", nil, "does not exist")
		m.must(logical.UpdateOperation, "static-role/off", map[string]any{"username": "off", "rotation_period": "24h", "force": true})
		if !m.works(m.staticCred("off"), "off") {
			t.Error("the key does not work")
		}
		// The user of config must not be reached through a role that came first.
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tONE", "secret_key": "s"})
		if got := m.keysOf("one"); got != "LTAI5tONE Active" {
			t.Errorf("keys %s", got)
		}
	})
}

func TestStaticRoleAdopts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), seedWith(
			alisim.User{Name: "known", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tKNOWN", Secret: "s1"}}},
			alisim.User{Name: "lost", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tLOST", Secret: "s2"}}},
		))
		m.must(logical.UpdateOperation, "static-role/known", map[string]any{
			"username": "known", "rotation_schedule": "0 3 * * *", "access_key": "LTAI5tKNOWN", "secret_key": "s1",
		})
		if cred := m.staticCred("known"); cred.Data["access_key"] != "LTAI5tKNOWN" || cred.Data["secret_key"] != "s1" || m.keysOf("known") != "LTAI5tKNOWN Active" {
			t.Errorf("%v", cred.Data)
		}
		m.must(logical.UpdateOperation, "static-role/lost", map[string]any{"username": "lost", "rotation_period": "24h", "access_key": "LTAI5tLOST", "remove_key": true})
		cred := m.staticCred("lost")
		if cred.Data["previous_access_key"] != "LTAI5tLOST" || !m.works(cred, "lost") {
			t.Errorf("%v", cred.Data)
		}
		m.minutes(2*60 + 5)
		if got := m.keysOf("lost"); got != cred.Data["access_key"].(string)+" Active" {
			t.Errorf("keys %s", got)
		}
		m.must(logical.DeleteOperation, "static-role/lost", nil)
		if got := m.keysOf("lost"); got != "" {
			t.Errorf("remove_key left %s", got)
		}
		m.minutes(120)
		if got := m.keysOf("known"); !strings.HasPrefix(got, "LTAI5tKNOWN Inactive, ") {
			t.Errorf("after four: %s", got) // the bubble began at midnight
		}
		if resp := m.must(logical.UpdateOperation, "static-role/known", map[string]any{"access_key": "LTAI5tKNOWN", "secret_key": "s1"}); resp == nil || len(resp.Warnings) != 1 {
			t.Errorf("answer %v", resp)
		}
	})
}

// What is under way when the role is deleted does not stay.
func TestStaticRoleDeletedDuringARotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := slow()
		settings.Propagation.AccessKey = 50 * time.Second
		m := newTimedMount(t, settings, seedWith(alisim.User{Name: "app"}))
		resp := m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
		if resp == nil || len(resp.Warnings) != 1 {
			t.Errorf("answer %v", resp)
		}
		m.refused(logical.ReadOperation, "static-cred/app", nil, "is being made")
		m.must(logical.DeleteOperation, "static-role/app", nil)
		if got := m.keysOf("app"); got != "" {
			t.Errorf("keys %s", got)
		}
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
		m.minutes(1)
		if !m.works(m.staticCred("app"), "app") {
			t.Error("the key does not work")
		}
		// A cloud that does not answer keeps the role, unless forced.
		m.fault(alisim.Fault{Kind: alisim.FaultError500})
		if _, err := m.request(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true}); err == nil {
			t.Error("deleted without the cloud")
		}
		resp = m.must(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true, "force": true})
		if resp == nil || len(resp.Warnings) != 1 {
			t.Errorf("answer %v", resp)
		}
	})
}

// A changed period takes effect at once, whichever way it changes.
func TestStaticRolePeriodChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
		first := m.staticCred("app").Data["access_key"]
		m.minutes(3 * 60)
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"rotation_period": "2h"})
		m.minutes(1)
		second := m.staticCred("app")
		if second.Data["access_key"] == first {
			t.Error("overdue by the new period, and not rotated")
		}
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"rotation_schedule": "CRON_TZ=Asia/Shanghai 0 0 1 1 *"})
		if next := m.staticCred("app").Data["next_rotation"]; next != "2000-12-31T16:00:00Z" {
			t.Errorf("next rotation %v", next)
		}
		m.minutes(5 * 60)
		if m.staticCred("app").Data["access_key"] != second.Data["access_key"] {
			t.Error("rotated by the period that was replaced")
		}
	})
}

// A user of the same name in another account is another user.
func TestStaticRoleWhenTheAccountChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := seedWith(alisim.User{Name: "app"})
		seed.Accounts = append(seed.Accounts, alisim.Account{ID: "6543210987654321", Users: []alisim.User{
			{Name: "vault2", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSECOND", Secret: "s"}}},
			{Name: "app"},
		}})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
		key := m.staticCred("app").Data["access_key"]
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tSECOND", "secret_key": "s"})
		m.minutes(120)
		if m.staticCred("app").Data["access_key"] != key {
			t.Error("the role was given the key of another account's user")
		}
		if why, _ := m.must(logical.ReadOperation, "static-role/app", nil).Data["rotation_failure"].(string); !strings.Contains(why, "belongs to account 1234567890123456") {
			t.Errorf("rotation_failure %q", why)
		}
		m.refused(logical.UpdateOperation, "rotate-role/app", nil, "belongs to account 1234567890123456")
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
		m.minutes(61) // the longest wait between two tries
		if m.staticCred("app").Data["access_key"] == key {
			t.Error("not rotated after the account is back")
		}
	})
}

// A key that was the role's and is now in config is not disabled and not deleted.
func TestStaticRoleSparesTheKeyInConfig(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rotations int // before the key is written to config
		phase     string
		end       func(m *mount)
	}{
		"old key, in its grace period": {1, "overlapping", func(m *mount) { m.minutes(3 * 60) }},
		"old key, disabled":            {1, "deleting", func(m *mount) { m.minutes(3 * 60) }},
		"current key, by remove_key": {0, "idle", func(m *mount) {
			m.refused(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true}, "is the one that this mount works with")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app", Policies: []string{"AdministratorAccess"}}))
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "30m"})
				key := m.staticCred("app").Data
				if test.rotations > 0 {
					m.must(logical.UpdateOperation, "rotate-role/app", nil)
				}
				if test.phase == "deleting" {
					m.minutes(31)
					if err := m.callAs(adminKey, "UpdateAccessKey", map[string]string{ // somebody needs it
						"UserName": "app", "UserAccessKeyId": key["access_key"].(string), "Status": "Active",
					}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if phase := m.must(logical.ReadOperation, "static-role/app", nil).Data["rotation_state"]; phase != test.phase {
					t.Fatalf("the rotation is %v", phase)
				}
				m.must(logical.UpdateOperation, "config", map[string]any{"access_key": key["access_key"], "secret_key": key["secret_key"]})
				test.end(m)
				if got := m.keysOf("app"); !strings.Contains(got, key["access_key"].(string)+" Active") {
					t.Errorf("RAM holds %s, config has %s", got, key["access_key"])
				}
				m.must(logical.ReadOperation, "config/caller-identity", nil)
			})
		})
	}
}

// What another node writes of a static role counts here too: its times, and that
// its user is taken.
func TestStaticRoleOfAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}, alisim.User{Name: "gone"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
		m.must(logical.UpdateOperation, "static-role/gone", map[string]any{"username": "gone", "rotation_period": "720h"})
		m.minutes(1)
		key := m.staticCred("app").Data["access_key"]
		here := m.Backend
		m.start() // the other node
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"rotation_period": "1h"})
		m.must(logical.DeleteOperation, "static-role/gone", nil)
		m.Backend = here
		for _, name := range []string{"app", "gone"} {
			m.InvalidateKey(t.Context(), "static-role/"+name)
		}
		m.minutes(61)
		if m.staticCred("app").Data["access_key"] == key {
			t.Error("not rotated by the period that the other node has written")
		}
		m.refused(logical.UpdateOperation, "static-role/again", map[string]any{"username": "app", "rotation_period": "1h"}, "belongs to static-role/app already")
		m.must(logical.UpdateOperation, "static-role/again", map[string]any{"username": "gone", "rotation_period": "1h", "access_key": strings.TrimSuffix(m.keysOf("gone"), " Active")})
	})
}

// Vault's own clients find when to read again: by these names consul-template,
// which is in Vault Agent, and the Vault Secrets Operator know a rotating secret.
func TestStaticCredForVaultClients(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role     map[string]any
		period   float64
		schedule string
	}{
		"period":   {map[string]any{"username": "app", "rotation_period": "24h"}, 86400, ""},
		"schedule": {map[string]any{"username": "app", "rotation_schedule": "0 3 * * *"}, 0, "0 3 * * *"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, slow(), seedWith(alisim.User{Name: "app"}))
				m.must(logical.UpdateOperation, "static-role/app", tc.role)
				data := m.staticCred("app").Data
				if _, err := time.Parse(time.RFC3339, fmt.Sprint(data["last_vault_rotation"])); err != nil || data["last_vault_rotation"] != data["last_rotation"] {
					t.Errorf("last_vault_rotation %v, %v", data["last_vault_rotation"], err)
				}
				if ttl := data["ttl"].(float64); data["rotation_period"] != tc.period || data["rotation_schedule"] != tc.schedule || ttl <= 0 {
					t.Errorf("%v", data)
				}
			})
		})
	}
}

// F5.19: a static role that is rotated on request only.
func TestStaticRoleRotatedOnRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}, alisim.User{Name: "slow"}))
		key := func() any { return m.staticCred("app").Data["access_key"] }
		for name, fields := range map[string]map[string]any{
			"without a period":  {},
			"with a period":     {"rotation_period": "24h"},
			"with a short one":  {"rotation_period": "10m", "grace_period": "1m"},
			"with a schedule":   {"rotation_schedule": "0 3 * * *", "rotation_window": "1h"},
			"with a long grace": {"grace_period": "30h"},
		} {
			fields["username"], fields["disable_automated_rotation"] = "app", true
			m.must(logical.UpdateOperation, "static-role/app", fields)
			first := key()
			m.minutes(3 * 24 * 60)
			read := m.must(logical.ReadOperation, "static-role/app", nil).Data
			cred := m.staticCred("app").Data
			if key() != first || read["next_rotation"] != "" || cred["next_rotation"] != "" || cred["ttl"] != 0.0 || read["rotation_failure"] != "" {
				t.Errorf("%s: rotated in three days, or it will be: %v %v", name, read, cred)
			}
			m.must(logical.UpdateOperation, "rotate-role/app", nil)
			second := key()
			m.minutes(3 * 24 * 60)
			if got := m.keysOf("app"); second == first || key() != second || got != second.(string)+" Active" {
				t.Errorf("%s: rotated on request from %v to %v, RAM holds %s", name, first, second, got)
			}
			m.must(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true})
		}

		m.refused(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app"}, "disable_automated_rotation=true")
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "disable_automated_rotation": true})
		m.refused(logical.UpdateOperation, "static-role/app", map[string]any{"disable_automated_rotation": false}, "rotation_period or rotation_schedule is required")
		first := key()
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"disable_automated_rotation": false, "rotation_period": "24h"})
		m.minutes(24*60 + 2)
		if key() == first {
			t.Error("set back to automatic rotation, and not rotated in a day")
		}

		// The first key is made all the same, also where the request does not see its end.
		m.fault(alisim.Fault{Kind: alisim.FaultError500, Action: "CreateAccessKey", Count: 1})
		m.must(logical.UpdateOperation, "static-role/slow", map[string]any{"username": "slow", "disable_automated_rotation": true})
		m.restart()
		m.minutes(5)
		if cred := m.staticCred("slow"); cred.IsError() {
			t.Errorf("no first key: %v", cred)
		}
	})
}
