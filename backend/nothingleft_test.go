package backend_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// become makes a new process on a node in that state of replication.
func (m *mount) become(state consts.ReplicationState) {
	m.t.Helper()
	m.start(func(c *logical.BackendConfig) {
		c.System = &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour, ReplicationStateVal: state}
	})
}

// walEntries counts what the next rollback will be offered.
func (m *mount) walEntries() int {
	m.t.Helper()
	ids, err := framework.ListWAL(context.Background(), m.storage)
	if err != nil {
		m.t.Fatal(err)
	}
	return len(ids)
}

// unfinished makes an issue that leaves a user with its WAL entry, and nothing in
// the index.
func (m *mount) unfinished(role string) {
	m.t.Helper()
	m.comeBetween(failing(logical.UpdateOperation, issuedPrefix))
	m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse})
	if resp, err := m.request(logical.ReadOperation, "creds/"+role, nil); err == nil && !resp.IsError() {
		m.t.Fatal("the issue ended well")
	}
	m.comeBetween(nil)
	m.sim.ClearFaults()
	if n := m.walEntries(); n != 1 {
		m.t.Fatalf("%d WAL entries, want 1", n)
	}
}

// A rollback that cannot remove anything keeps the entry for one that can.
func TestRollbackKeepsWhatItCannotRemove(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ prevent, allow func(*mount) }{
		"performance standby": {
			func(m *mount) { m.become(consts.ReplicationPerformanceStandby) },
			func(m *mount) { m.become(0) },
		},
		"disaster recovery secondary": {
			func(m *mount) { m.become(consts.ReplicationDRSecondary) },
			func(m *mount) { m.become(0) },
		},
		"no config": {
			func(m *mount) { m.must(logical.DeleteOperation, "config", map[string]any{"force": true}) },
			func(m *mount) { m.must(logical.UpdateOperation, "config", m.simConfig()) },
		},
		"cloud refuses": {
			func(m *mount) { m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse}) },
			func(m *mount) { m.sim.ClearFaults() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
			before := m.inventory()
			m.unfinished("ci")
			tc.prevent(m)
			if resp, err := m.rollBack(); err != nil || !resp.IsError() {
				t.Errorf("rollback: %v %v, want the failure", resp, err)
			}
			if n := m.walEntries(); n != 1 {
				t.Errorf("%d WAL entries are left, want 1", n)
			}
			tc.allow(m)
			if resp, err := m.rollBack(); err != nil || resp.IsError() {
				t.Errorf("rollback: %v %v", resp, err)
			}
			m.unchanged(before)
			if n := m.walEntries(); n != 0 {
				t.Errorf("%d WAL entries are left, want none", n)
			}
		})
	}
}

// An entry that a later version wrote is for that version.
func TestRollbackKeepsEntriesOfUnknownKinds(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	if _, err := framework.PutWAL(t.Context(), m.storage, "of a later version", map[string]string{"username": "vault-x"}); err != nil {
		t.Fatal(err)
	}
	if resp, err := m.rollBack(); err != nil || !resp.IsError() || !strings.Contains(resp.Error().Error(), "unknown kind") {
		t.Errorf("rollback: %v %v", resp, err)
	}
	if n := m.walEntries(); n != 1 {
		t.Errorf("%d WAL entries are left, want 1", n)
	}
}

// The network delivers a first CreateUser after the clean-up of a second one,
// and neither gets an answer.
func TestCallDeliveredAfterTheCleanUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 1})
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
		before := m.inventory()
		var late *http.Request
		m.comeBetween(func(s step, effect func() error) error {
			switch {
			case s.what == "CreateUser" && late == nil:
				late = s.call.Clone(context.WithoutCancel(s.ctx))
				return io.ErrUnexpectedEOF
			case s.what == "CreateUser":
				return errors.Join(effect(), io.ErrUnexpectedEOF)
			}
			return effect()
		})
		if resp, err := m.request(logical.ReadOperation, "creds/ci", nil); err == nil && !resp.IsError() {
			t.Fatal("credentials were issued all the same")
		}
		m.unchanged(before)
		resp, err := m.sim.Transport().RoundTrip(late)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		m.minutes(10)
		m.unchanged(before)
		if n := m.walEntries(); n != 0 {
			t.Errorf("%d WAL entries are left", n)
		}
	})
}

// A client that goes away gets no lease, and what was created for it goes at
// once, not with the rollback.
func TestRequestThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{
		"before anything": "GetCallerIdentity", "in the first wave": "CreateUser", "in the second wave": "CreateAccessKey",
		"index entry is written": issuedPrefix, "WAL entry is deleted": framework.WALPrefix,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
				before := m.inventory()
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				m.comeBetween(func(s step, effect func() error) error {
					err := effect()
					// Of the WAL entry the deletion, of the index entry the writing.
					if strings.HasPrefix(s.what, at) && (s.op == logical.DeleteOperation) == (at == framework.WALPrefix) {
						giveUp()
					}
					return err
				})
				resp, err := m.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: "creds/ci"})
				m.comeBetween(nil)
				if ctx.Err() == nil {
					t.Fatal("the request was not given up")
				}
				if err == nil && !resp.IsError() {
					t.Errorf("a lease was made: %v", resp)
				}
				m.unchanged(before)
				m.minutes(10)
				if n := m.walEntries(); n != 0 {
					t.Errorf("%d WAL entries are left", n)
				}
				if left, err := m.storage.List(t.Context(), issuedPrefix); err != nil || len(left) != 0 {
					t.Errorf("the index holds %v (%v)", left, err)
				}
			})
		})
	}
}

// What tidy removes when: never what may have a lease, or may be on its way.
func TestTidySparesWhatMayBeAlive(t *testing.T) {
	t.Parallel()
	const noTTL, hour = "role/without-ttl", "role/an-hour"
	for name, tc := range map[string]struct {
		role    string
		happens func(m *mount, lease *logical.Secret) // after the issue
		after   time.Duration
		removed bool
	}{
		"lease of the default ttl, renewable to the mount's maximum": {noTTL, nil, 23 * time.Hour, false},
		"ended a moment ago": {hour, nil, time.Hour + 59*time.Minute, false},
		"ended long ago":     {hour, nil, 2*time.Hour + 2*time.Minute, true},
		"renewed": {hour, func(m *mount, lease *logical.Secret) {
			time.Sleep(30 * time.Minute)
			if resp, err := m.renewLease(lease); err != nil || resp.IsError() {
				m.t.Fatal(resp, err)
			}
		}, 2*time.Hour + 15*time.Minute, false},
		"renewed after max_ttl was lowered": {hour, func(m *mount, lease *logical.Secret) {
			m.must(logical.UpdateOperation, hour, map[string]any{"ttl": "5m", "max_ttl": "10m"})
			if resp, err := m.renewLease(lease); err != nil || resp.IsError() {
				m.t.Fatal(resp, err)
			}
		}, time.Hour + 59*time.Minute, false},
		"not in the index, created a moment ago": {hour, (*mount).forget, 9*time.Minute + 59*time.Second, false},
		"not in the index, older":                {hour, (*mount).forget, 10*time.Minute + time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, noTTL, map[string]any{"ram_groups": "readers"})
				m.must(logical.UpdateOperation, hour, map[string]any{"ram_groups": "readers", "ttl": "1h", "max_ttl": "1h"})
				began := time.Now()
				resp := m.must(logical.ReadOperation, strings.Replace(tc.role, "role/", "creds/", 1), nil)
				if tc.happens != nil {
					tc.happens(m, resp.Secret)
				}
				time.Sleep(time.Until(began.Add(tc.after)))
				got := m.must(logical.UpdateOperation, "tidy", nil).Data
				if removed := slices.Contains(got["users"].([]any), resp.Data["username"]); removed != tc.removed || len(got["failed"].([]any)) != 0 {
					t.Errorf("after %v tidy answers %v, removed: want %v", tc.after, got, tc.removed)
				}
				if _, there := m.sim.Inventory().User(resp.Data["username"].(string)); there == tc.removed {
					t.Errorf("after %v the user is there: %v", tc.after, there)
				}
			})
		})
	}
}

// forget takes a lease out of the index, as a snapshot of the storage may do.
func (m *mount) forget(lease *logical.Secret) {
	m.t.Helper()
	if err := m.storage.Delete(context.Background(), issuedPrefix+nameOf(lease)); err != nil {
		m.t.Fatal(err)
	}
}

// nameOf is what a lease stands for: a RAM user or a RAM role.
func nameOf(lease *logical.Secret) string {
	if user, _ := lease.InternalData["username"].(string); user != "" {
		return user
	}
	return lease.InternalData["ram_role"].(string)
}

// Where tidy cannot see what is there, or what has a lease, it removes nothing.
func TestTidyRemovesNothingThatItCannotJudge(t *testing.T) {
	t.Parallel()
	for name, prevent := range map[string]func(*mount){
		"RAM does not tell whether a user without mark is there": func(m *mount) {
			m.fault(alisim.Fault{Action: "GetUser", Kind: alisim.FaultError500})
		},
		"index is not read": func(m *mount) { m.comeBetween(failing(logical.ReadOperation, "issued/")) },
		"WAL is not read":   func(m *mount) { m.comeBetween(failing(logical.ReadOperation, framework.WALPrefix)) },
		"WAL is not listed": func(m *mount) { m.comeBetween(failing(logical.ListOperation, framework.WALPrefix)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
				m.unfinished("ci")
				user := m.must(logical.ReadOperation, "creds/ci", nil).Data["username"].(string)
				m.admin("UpdateUser", map[string]string{"UserName": user, "NewComments": "somebody else's"})
				time.Sleep(30 * time.Minute)
				before := m.inventory()
				prevent(m)
				if resp, err := m.request(logical.UpdateOperation, "tidy", nil); err == nil && !resp.IsError() && len(resp.Data["users"].([]any)) != 0 {
					t.Errorf("tidy: %v", resp.Data)
				}
				m.unchanged(before)
			})
		})
	}
}

// Issuing ends in a minute, cleaning up in another one, whatever the cloud does.
func TestIssueIsBounded(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"CreateUser", "DeleteUser"} {
		synctest.Test(t, func(t *testing.T) {
			m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
			m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 10, "timeout": "60s"})
			m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
			m.fault(alisim.Fault{Action: action, Kind: alisim.FaultHold})
			m.fault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultRefuse})
			began := time.Now()
			if resp, err := m.request(logical.ReadOperation, "creds/ci", nil); err == nil && !resp.IsError() {
				t.Error("credentials were issued")
			}
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("%s held: the request took %v", action, took)
			}
		})
	}
}

// What the WAL knows is the rollback's business, however old it is.
func TestTidyLeavesTheWALToTheRollback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
		before := m.inventory()
		m.unfinished("ci")
		time.Sleep(3 * time.Hour)
		if got := m.must(logical.UpdateOperation, "tidy", nil).Data; len(got["users"].([]any))+len(got["policies"].([]any)) != 0 {
			t.Errorf("tidy took %v", got)
		}
		m.minutes(1)
		m.unchanged(before)
	})
}

// A new process reads who holds a shared policy before it asks RAM to delete
// it: RAM may not see yet that somebody does.
func TestNewProcessKnowsWhoHoldsSharedPolicies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		before := m.inventory()
		first := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		second := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		m.restart()
		if _, err := m.revokeLease(first); err != nil {
			t.Fatal(err)
		}
		if n := len(m.callsAt("DeletePolicy")); n != 0 {
			t.Errorf("RAM was asked %d times to delete the policy of a live lease", n)
		}
		if _, err := m.revokeLease(second); err != nil {
			t.Fatal(err)
		}
		m.unchanged(before)
	})
}

// The first lease creates the policy of a document, once however often the role
// has it; the second needs no call for it.
func TestSharedPolicyIsCreatedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "," + allowOSS + "]"})
		began := time.Now()
		for range 2 {
			lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret.InternalData
			if shared := lease["shared_policies"].([]any); len(shared) != 1 {
				t.Errorf("the lease has the policies %v", shared)
			}
			if n := len(m.callsAt("CreatePolicy")); n != 1 {
				t.Errorf("%d calls of CreatePolicy, want 1", n)
			}
		}
		if n, took := len(m.callsAt("AttachPolicyToUser")), time.Since(began); n != 2 || took != 0 {
			t.Errorf("%d attachments in %v, want 2 at once", n, took)
		}
	})
}

// STS learns of a new role, and of its trust policy, later than RAM.
func TestRAMRoleWaitsForSTS(t *testing.T) {
	t.Parallel()
	for name, codes := range map[string][]string{
		"role":                       {"EntityNotExist.Role", "EntityNotExist.Role", "EntityNotExist.Role"},
		"trust policy":               {"NoPermission", "NoPermission", "NoPermission"},
		"role, then trust policy":    {"EntityNotExist.Role", "NoPermission", "NoPermission"},
		"one server after the other": {"NoPermission", "EntityNotExist.Role", "NoPermission"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"})
				for _, code := range codes {
					m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: code, Status: 404, Count: 1})
				}
				m.must(logical.ReadOperation, "creds/batch", nil)
			})
		})
	}
}

// A storage that fails at a write of an issue leaves nothing behind either.
func TestIssueWhenStorageFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		op  logical.Operation
		key string
	}{
		"tag is not written":         {logical.UpdateOperation, "tag"},
		"WAL entry is not written":   {logical.UpdateOperation, framework.WALPrefix},
		"index entry is not written": {logical.UpdateOperation, issuedPrefix},
		"WAL entry is not deleted":   {logical.DeleteOperation, framework.WALPrefix},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent() // RAM has system policies
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", userRole)
				before := m.inventory()
				m.comeBetween(failing(tc.op, tc.key))
				if resp, err := m.request(logical.ReadOperation, "creds/ci", nil); err == nil && !resp.IsError() {
					t.Error("credentials were issued all the same")
				}
				m.comeBetween(nil)
				m.minutes(10)
				m.unchanged(before)
			})
		})
	}
}

// A storage that fails while a lease ends does not lose what is left: the
// revocation fails, and the next one finishes it.
func TestRevocationWhenStorageOrCloudFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		op  logical.Operation // of the storage, on the index
		key string
		at  string // or a call of the cloud
	}{
		"list of the index":           {op: logical.ListOperation, key: issuedPrefix},
		"entry of another lease":      {op: logical.ReadOperation, key: issuedPrefix},
		"deletion of the index entry": {op: logical.DeleteOperation, key: issuedPrefix},
		"deletion of the policy":      {at: "DeletePolicy"},
		"deletion of the user":        {at: "DeleteUser"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
				before := m.inventory()
				lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				m.restart()
				time.Sleep(time.Hour)
				m.comeBetween(failing(tc.op, tc.key))
				if tc.at != "" {
					m.fault(alisim.Fault{Action: tc.at, Kind: alisim.FaultRefuse})
				}
				if _, err := m.revokeLease(lease); err == nil {
					t.Error("the revocation seems to have succeeded")
				}
				m.comeBetween(nil)
				m.sim.ClearFaults()
				if _, err := m.revokeLease(lease); err != nil {
					t.Errorf("the second revocation: %v", err)
				}
				m.unchanged(before)
				if left, err := m.storage.List(t.Context(), issuedPrefix); err != nil || len(left) != 0 {
					t.Errorf("the index holds %v (%v)", left, err)
				}
			})
		})
	}
}
