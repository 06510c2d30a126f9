package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

func (m *mount) config() map[string]any {
	m.t.Helper()
	return m.must(logical.ReadOperation, "config", nil).Data
}

// The whole life of a rotation on request, where new keys take their time.
func TestRotateRoot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), alisim.DefaultSeed())
		resp := m.must(logical.UpdateOperation, "config/rotate-root", nil)
		key := resp.Data["access_key"].(string)
		if key == alisim.DefaultAccessKeyID || resp.Data["rotation_state"] != "overlapping" || len(resp.Warnings) != 0 {
			t.Errorf("answer %v %v", resp.Data, resp.Warnings)
		}
		if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Active, "+key+" Active" {
			t.Errorf("keys %s", got)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
		m.refused(logical.UpdateOperation, "config/rotate-root", nil, "stays valid until")
		m.minutes(4)
		if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Inactive, "+key+" Active" {
			t.Errorf("after the overlap: %s", got)
		}
		if state := m.config()["rotation_state"]; state != "deleting" {
			t.Errorf("state %v", state)
		}
		m.minutes(24*60 + 2)
		if got := m.keysOf("vault"); got != key+" Active" {
			t.Errorf("after the grace period: %s", got)
		}
		if read := m.config(); read["rotation_state"] != "idle" || read["last_rotated"] == "" || read["next_rotation"] != "" || read["access_key"] != key {
			t.Errorf("config %v", read)
		}
	})
}

func TestRotateRootBySchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "2h", "rotation_grace_period": "10m"})
		keys := map[string]bool{}
		for range 24 {
			m.minutes(60)
			keys[m.config()["access_key"].(string)] = true
			if got := strings.Count(m.keysOf("vault"), "Active") - strings.Count(m.keysOf("vault"), "Inactive"); got > 2 {
				t.Errorf("%d keys", got)
			}
		}
		if len(keys) != 12 && len(keys) != 13 {
			t.Errorf("%d keys in 24 hours", len(keys))
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"disable_automated_rotation": true})
		before := m.config()["access_key"]
		m.minutes(180)
		if read := m.config(); read["access_key"] != before || read["next_rotation"] != "" {
			t.Errorf("rotated though automated rotation is disabled: %v", read)
		}
	})
}

func TestRotateRootRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := seedWith()
		seed.Accounts[0].AccessKeys = []alisim.AccessKey{{ID: "LTAI5tROOTACCOUNT", Secret: "root"}}
		seed.Accounts[0].Users = append(seed.Accounts[0].Users,
			alisim.User{Name: "two", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tTWO1", Secret: "s"}, {ID: "LTAI5tTWO2", Secret: "s"}}},
			alisim.User{Name: "off", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOFF1", Secret: "s"}, {ID: "LTAI5tOFF2", Secret: "s", Status: "Inactive"}}})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		rotate := func(force bool, want string) {
			t.Helper()
			m.refused(logical.UpdateOperation, "config/rotate-root", map[string]any{"force": force}, want)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tROOTACCOUNT", "secret_key": "root"})
		rotate(true, "root account")
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tTWO1", "secret_key": "s"})
		rotate(false, "LTAI5tTWO1 (Active, the current one) and LTAI5tTWO2 (Active)")
		rotate(true, "LTAI5tTWO2 (Active)")
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOFF1", "secret_key": "s"})
		rotate(false, "force=true to have it deleted")
		m.must(logical.UpdateOperation, "config/rotate-root", map[string]any{"force": true})
		if got := m.keysOf("off"); strings.Contains(got, "LTAI5tOFF2") {
			t.Errorf("keys %s", got)
		}
		if got := m.keysOf("two"); got != "LTAI5tTWO1 Active, LTAI5tTWO2 Active" {
			t.Errorf("keys %s", got)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "ecs_ram_role"})
		rotate(false, "credential_type ecs_ram_role has no AccessKey to rotate")
		m.refused(logical.UpdateOperation, "config", map[string]any{"rotation_period": "30d"}, "no AccessKey to rotate")
		m.refused(logical.UpdateOperation, "config", map[string]any{"credential_type": "access_key", "rotation_period": 60}, "at least 1h0m0s")
	})
}

// The mount works as a role, and the user whose key is in config may do nothing
// but assume it: the role rotates the key.
func TestRotateRootThroughARole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := seedWith(alisim.User{
			Name: "sub", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSUB", Secret: "s"}},
		})
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
			Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		})
		m := newTimedMount(t, slow(), seed)
		m.must(logical.UpdateOperation, "config", map[string]any{
			"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/vault", "access_key": "LTAI5tSUB", "secret_key": "s",
		})
		key := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["access_key"].(string)
		if arn := m.must(logical.ReadOperation, "config/caller-identity", nil).Data["arn"].(string); !strings.Contains(arn, ":assumed-role/vault/") {
			t.Errorf("the mount is %s", arn)
		}
		m.minutes(24*60 + 5)
		if got := m.keysOf("sub"); got != key+" Active" {
			t.Errorf("keys %s", got)
		}
	})
}

// What Terraform sends on its next apply.
func TestConfigOfAKeyThatWasRotatedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		key := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["access_key"].(string)
		old := map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret, "region": "cn-beijing"}
		resp := m.must(logical.UpdateOperation, "config", old)
		if resp == nil || len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], "was rotated away and was NOT stored") {
			t.Errorf("answer %v", resp)
		}
		if read := m.config(); read["access_key"] != key || read["region"] != "cn-beijing" {
			t.Errorf("config %v", read)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
		// With the new id in its state, and the secret of the old key.
		resp = m.must(logical.UpdateOperation, "config", map[string]any{"access_key": key, "secret_key": alisim.DefaultAccessKeySecret})
		if resp == nil || len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], "secret_key was NOT stored") {
			t.Errorf("answer %v", resp)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
		old["force"] = true
		resp = m.must(logical.UpdateOperation, "config", old)
		if resp == nil || !strings.Contains(resp.Warnings[0], key) {
			t.Errorf("answer %v", resp)
		}
		m.minutes(2 * 24 * 60)
		if read := m.config(); read["access_key"] != alisim.DefaultAccessKeyID {
			t.Errorf("config %v", read)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
	})
}

// A write of another key ends a rotation, and what that left goes.
func TestConfigWriteDuringARotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), seedWith(alisim.User{
			Name: "other", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOTHER", Secret: "s"}},
		}))
		settings := slow()
		settings.Propagation.AccessKey = 50 * time.Second // longer than a request waits
		if err := m.sim.Configure(settings); err != nil {
			t.Fatal(err)
		}
		resp := m.must(logical.UpdateOperation, "config/rotate-root", nil)
		if resp.Data["rotation_state"] != "probing" || len(resp.Warnings) != 1 {
			t.Errorf("answer %v", resp)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"region": "cn-beijing"})
		if m.config()["rotation_state"] != "probing" {
			t.Error("a write of another field ended the rotation")
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "s"})
		if m.config()["rotation_state"] != "idle" {
			t.Error("the rotation of the old key goes on")
		}
		m.minutes(5)
		if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Active" {
			t.Errorf("keys %s", got)
		}
		var c map[string]any
		if m.stored("config", &c); c["superseded"] != nil || c["access_key"] != "LTAI5tOTHER" || c["region"] != "cn-beijing" {
			t.Errorf("config: %v", c)
		}
	})
}

// Writes of config, one after the other all the time, and rotations: neither
// loses what the other wrote, and no reader waits for the cloud.
func TestConfigWritesAndRotationsKeepEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.AccessKey = 5 * time.Second
		m := newTimedMount(t, settings, alisim.DefaultSeed())
		m.sim.SetLatency(500 * time.Millisecond)
		done := make(chan struct{})
		last := ""
		go func() {
			defer close(done)
			for n := range 400 {
				last = fmt.Sprintf("cn-%d", n)
				began := time.Now()
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.UpdateOperation, Path: "config", Data: map[string]any{"region": last, "sts_endpoint": "sts.aliyuncs.com"},
				})
				if err != nil || resp.IsError() {
					t.Errorf("%v %v", resp, err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("a write of config took %v", took)
				}
				time.Sleep(150 * time.Millisecond)
			}
		}()
		first := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["access_key"]
		second := m.must(logical.UpdateOperation, "config/rotate-root", map[string]any{"force": true}).Data["access_key"]
		<-done
		if read := m.config(); read["access_key"] != second || read["region"] != last || first == second {
			t.Errorf("config %v, want key %v and region %s", read, second, last)
		}
		m.minutes(24*60 + 5)
		if got := m.keysOf("vault"); got != second.(string)+" Active" {
			t.Errorf("keys %s", got)
		}
	})
}

// Deleting config in the middle of a rotation leaves one key.
func TestConfigDeletedDuringARotation(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]bool{"cloud answers": false, "cloud is down": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settings := alisim.DefaultSettings()
				settings.Propagation.AccessKey = 28 * time.Second // longer than a request waits
				m := newTimedMount(t, settings, alisim.DefaultSeed())
				if state := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["rotation_state"]; state != "probing" {
					t.Fatalf("state %v", state)
				}
				if fail {
					m.fault(alisim.Fault{Kind: alisim.FaultError500})
				}
				resp := m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
				if warned := resp != nil && len(resp.Warnings) == 1; warned != fail {
					t.Errorf("answer %v", resp)
				}
				if got := m.keysOf("vault"); !fail && got != alisim.DefaultAccessKeyID+" Active" {
					t.Errorf("keys %s", got)
				}
			})
		})
	}
}

// A new key takes the place of the old one when RAM knows it, not only STS.
func TestRotateRootWaitsForRAM(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		began := time.Now()
		m.comeBetween(func(s step, effect func() error) error {
			old := s.call != nil && strings.Contains(s.call.Header.Get("Authorization"), "Credential="+alisim.DefaultAccessKeyID+",")
			if s.what == "ListAccessKeys" && !old && time.Since(began) <= 10*time.Second { // what STS takes already
				m.fault(alisim.Fault{Action: s.what, Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.NotFound", Status: 404, Count: 1})
			}
			return effect()
		})
		key := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["access_key"]
		if key == alisim.DefaultAccessKeyID {
			t.Error("not rotated")
		}
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("rotated after %v, when RAM did not know the key", took)
		}
	})
}

// The mount works as a role of another account, where a user has the name of the
// one whose key is in config. That is another user.
func TestRotateRootLeavesANamesake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := seedWith(alisim.User{
			Name: "sub", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSUB", Secret: "s"}},
		})
		seed.Accounts = append(seed.Accounts, alisim.Account{
			ID:    "6543210987654321",
			Users: []alisim.User{{Name: "sub"}},
			Roles: []alisim.Role{{Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"}}},
		})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "config", map[string]any{
			"credential_type": "ram_role_arn", "role_arn": "acs:ram::6543210987654321:role/vault", "access_key": "LTAI5tSUB", "secret_key": "s",
		})
		m.sim.ClearJournal()
		m.refused(logical.UpdateOperation, "config/rotate-root", nil, "NoPermission")
		for _, c := range m.sim.Journal() {
			if c.Params["UserName"] != "" {
				t.Errorf("%s of the namesake", c.Action)
			}
		}
	})
}

// A CreateAccessKey without an answer has made no key, the next one is made by
// hand and written to config: it is none that the rotation has left.
func TestStrayRemovalSparesTheKeyInConfig(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.fault(alisim.Fault{Kind: alisim.FaultError500, Action: "CreateAccessKey"})
		if _, err := m.request(logical.UpdateOperation, "config/rotate-root", nil); err == nil {
			t.Error("an answer that says nothing was taken for one")
		}
		m.sim.ClearFaults()
		made, err := ram.Keys{Call: func(_ context.Context, _ bool, action string, params map[string]string, out any) error {
			return m.callAs(adminKey, action, params, out)
		}}.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": made.ID, "secret_key": made.Secret})
		m.minutes(5)
		if got := m.keysOf("vault"); !strings.Contains(got, made.ID+" Active") {
			t.Errorf("RAM holds %s, config has %s", got, made.ID)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
	})
}
