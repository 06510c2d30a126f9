package backend_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// F5.6: the cloud is out of reach for longer than Vault tries to revoke. What the
// lease stood for goes when it can, by whichever process there is.
func TestEndedLeasesGoAfterAnOutage(t *testing.T) {
	t.Parallel()
	for credentialType, role := range map[string]map[string]any{
		"ram_user": {"ttl": "30s", "inline_policies": "[" + allowOSS + "]"},
		"ram_role": {"ttl": "15m", "inline_policies": "[" + allowOSS + "]", "credential_type": "ram_role"},
	} {
		for name, between := range map[string]func(*mount){
			"one process":     func(*mount) {},
			"another process": (*mount).restart,
			"the lease was made before ends of leases were kept": func(m *mount) {
				keys, _ := m.storage.List(m.t.Context(), issuedPrefix)
				m.changeStored(issuedPrefix+keys[0], func(entry map[string]any) {
					delete(entry, "lease_ends")
					entry["ends_by"] = time.Now()
				})
				m.restart()
			},
		} {
			t.Run(credentialType+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
					before := m.inventory()
					m.must(logical.UpdateOperation, "role/ci", role)
					lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
					m.fault(alisim.Fault{Kind: alisim.FaultError500})
					m.minutes(int(lease.TTL/time.Minute) + 1)
					for range 6 {
						if _, err := m.revokeLease(lease); err == nil {
							t.Error("revoked in an outage")
						}
						m.minutes(2)
					}
					m.sim.ClearFaults()
					if told := m.fails("expiry_failure"); !strings.Contains(told, nameOf(lease)) {
						t.Errorf("expiry_failure is %q", told)
					}
					between(m)
					m.minutes(7)
					m.unchanged(before)
					if keys, _ := m.storage.List(t.Context(), issuedPrefix); len(keys) != 0 {
						t.Errorf("the index has %v", keys)
					}
					if told := m.fails("expiry_failure"); told != "" {
						t.Errorf("expiry_failure is still %q", told)
					}
					if _, err := m.revokeLease(lease); err != nil { // at Vault's daily pass
						t.Error(err)
					}
				})
			})
		}
	}
}

// A lease lives as long as Vault says: renewed, with the time that the client asks
// for too, and by a process that knows of it from the index only.
func TestLeasesThatLiveAreNotEnded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role      map[string]any
		increment time.Duration
		lives     time.Duration // after the renewal
	}{
		"by the role":    {map[string]any{"ttl": "20m"}, 0, 20 * time.Minute},
		"by the client":  {map[string]any{"ttl": "20m"}, 3 * time.Hour, 3 * time.Hour},
		"by the default": {map[string]any{}, 0, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				tc.role["inline_policies"] = "[" + allowOSS + "]"
				m.must(logical.UpdateOperation, "role/ci", tc.role)
				lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				there := func() bool { _, found := m.sim.Inventory().User(nameOf(lease)); return found }
				for range 3 {
					m.minutes(15)
					lease.Increment = tc.increment
					if _, err := m.renewLease(lease); err != nil {
						t.Fatal(err)
					}
					m.restart()
				}
				m.minutes(int(tc.lives/time.Minute) + 4) // and the grace
				if !there() {
					t.Errorf("gone within %s of a renewal", tc.lives)
				}
				m.minutes(4)
				if there() {
					t.Errorf("there %s after a renewal", tc.lives+8*time.Minute)
				}
			})
		})
	}
}

// A hundred leases that ended in an outage go bit by bit, and a standby leaves them
// to the active node.
func TestEndedLeasesGoBitByBit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const leases = 100
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "1m"})
		before := m.inventory()
		for range leases {
			m.must(logical.ReadOperation, "creds/ci", nil)
		}
		m.become(consts.ReplicationPerformanceStandby)
		time.Sleep(time.Hour)
		m.sim.ClearJournal()
		_, _ = m.rollBack()
		m.rest()
		if n := len(m.callsAt("DeleteUser")); n != 0 {
			t.Errorf("%d calls of a standby", n)
		}
		m.restart()
		m.minutes(1)
		if n := len(m.callsAt("DeleteUser")); n == 0 || n > 20 {
			t.Errorf("%d users were deleted in the first minute", n)
		}
		m.minutes(8)
		fmt.Printf("TestEndedLeasesGoBitByBit: leases %d left %d\n", leases, len(m.inventory().Users)-len(before.Users))
		m.unchanged(before)
	})
}

// A lease that Vault revokes while the engine fails to remove what it stood for is not
// counted any longer.
func TestLeaseThatIsRevokedMeanwhileIsNotCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": system, "ttl": "1m", "max_ttl": "1m"})
		lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		var revoked bool
		m.comeBetween(func(s step, effect func() error) error {
			if s.what != "DeleteUser" || revoked {
				return effect()
			}
			revoked = true
			if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
				t.Errorf("revocation: %v %v", resp, err)
			}
			return errDisk
		})
		for n := 0; n < 20 && !revoked; n++ {
			m.minutes(1)
		}
		if leases := fmt.Sprint(m.must(logical.ReadOperation, "status", nil).Data["leases"]); !revoked || strings.ContainsAny(leases, "123456789") {
			t.Errorf("status has leases %s; revoked meanwhile: %t", leases, revoked)
		}
	})
}

// F5.12: an issue that did not end is of an account that the mount does not work in any
// longer. Vault tells of it every minute for a day and not forever; whether the
// account comes back or not, there is an end.
func TestUnfinishedIssueOfAnotherAccount(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		back time.Duration // when the mount is pointed at its account again; 0: never
		left bool
	}{
		"that comes back after an hour": {time.Hour, false},
		"that comes back after days":    {3 * 24 * time.Hour, false},
		"that is gone":                  {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), twoAccounts())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
				m.logged = &bytes.Buffer{}
				m.restart()
				before := m.inventory()
				m.unfinished("ci")
				m.must(logical.UpdateOperation, "config", map[string]any{"access_key": otherKey, "secret_key": otherSecret})
				begun, failures := time.Now(), 0
				for time.Since(begun) < 10*24*time.Hour {
					if tc.back > 0 && time.Since(begun) >= tc.back {
						tc.back = 0
						m.must(logical.UpdateOperation, "config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
					}
					time.Sleep(10 * time.Minute)
					if resp, err := m.rollBack(); err != nil || resp.IsError() {
						failures++
					}
					m.rest()
				}
				if failures > 24*6+1 {
					t.Errorf("%d of the ticks of ten days failed", failures)
				}
				names, err := m.storage.List(t.Context(), issuedPrefix)
				if m.walEntries() != 0 || len(names) != 0 || err != nil {
					t.Errorf("%d WAL entries, the index has %v (%v)", m.walEntries(), names, err)
				}
				if got := m.lines("giving up what a lease stood for"); got != map[bool]int{true: 1}[tc.left] {
					t.Errorf("it was given up %d times", got)
				}
				if !tc.left {
					m.unchanged(before)
				}
			})
		})
	}
}
