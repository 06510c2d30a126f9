package backend_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// A read with wait_until_usable answers when STS accepts the key, and not before;
// where that takes longer than the role waits, it says so and the lease is good.
func TestWaitUntilUsable(t *testing.T) {
	t.Parallel()
	const delay = 10 * time.Second
	for name, tc := range map[string]struct {
		wait          string
		usable        bool
		least, atMost time.Duration
	}{
		"no wait":          {"0", false, 0, time.Second},
		"a wait that does": {"30s", true, delay, delay + 2*time.Second},
		"too short":        {"4s", false, 4 * time.Second, 5 * time.Second},
	} {
		t.Run("ram_user, "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				settings := alisim.DefaultSettings()
				settings.Propagation.AccessKey = delay
				m := newTimedMount(t, settings, alisim.DefaultSeed())
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "wait_until_usable": tc.wait})
				begun := time.Now()
				resp := m.must(logical.ReadOperation, "creds/ci", nil)
				if took := time.Since(begun); took < tc.least || took > tc.atMost {
					t.Errorf("the read took %s", took)
				}
				key := [2]string{resp.Data["access_key"].(string), resp.Data["secret_key"].(string)}
				if err := m.callAs(key, "AssumeRole", map[string]string{"RoleArn": roleARN, "RoleSessionName": "test"}, nil); strings.Contains(fmt.Sprint(err), "InvalidAccessKeyId") == tc.usable {
					t.Errorf("STS says of the key: %v", err)
				}
				m.wantWarning(resp, tc.wait != "0" && !tc.usable, "not accepted within wait_until_usable (4s)")
				m.minutes(2)
				m.revokedAt(resp.Secret)
				m.unchanged(before)
			})
		})
		t.Run("ram_role, "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/ci", map[string]any{
					"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "wait_until_usable": tc.wait,
				})
				m.must(logical.ReadOperation, "config/caller-identity", nil) // the mount knows itself
				m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "GetCallerIdentity", Code: "InvalidSecurityToken.Malformed", Status: http.StatusBadRequest})
				time.AfterFunc(delay, m.sim.ClearFaults)
				begun := time.Now()
				resp := m.must(logical.ReadOperation, "creds/ci", nil)
				if took := time.Since(begun); took < tc.least || took > tc.atMost {
					t.Errorf("the read took %s", took)
				}
				m.wantWarning(resp, tc.wait != "0" && !tc.usable, "not accepted within wait_until_usable (4s)")
				m.minutes(2)
				m.revokedAt(resp.Secret)
				m.unchanged(before)
			})
		})
	}
}

// A read that is given up while it waits leaves nothing behind.
func TestWaitUntilUsableIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.AccessKey = time.Minute
		m := newTimedMount(t, settings, alisim.DefaultSeed())
		before := m.inventory()
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "wait_until_usable": "45s"})
		giveUp, answered := m.begin("creds/ci")
		time.Sleep(20 * time.Second)
		giveUp()
		if err := <-answered; err == nil {
			t.Error("a request that was given up was answered")
		}
		m.minutes(2)
		m.unchanged(before)
		if n := m.walEntries(); n != 0 {
			t.Errorf("%d WAL entries", n)
		}
	})
}

func TestWaitUntilUsableIsBounded(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, wrong := range []string{"46s", "-1s", "1h"} {
		m.refused(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "wait_until_usable": wrong}, "wait_until_usable must")
	}
	m.refused(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "wait_until_usable": "5s"}, "wait_until_usable has no effect")
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "wait_until_usable": "45s"})
	if got := m.must(logical.ReadOperation, "role/ci", nil).Data["wait_until_usable"]; got != 45.0 {
		t.Errorf("got %v (%T)", got, got)
	}
}

func (m *mount) wantWarning(resp *logical.Response, want bool, text string) {
	m.t.Helper()
	if said := strings.Join(resp.Warnings, "\n"); want != strings.Contains(said, text) {
		m.t.Errorf("warnings %q", said)
	}
}
