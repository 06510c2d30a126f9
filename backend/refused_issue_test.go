package backend_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// An issue that RAM refuses for certain costs little more than the refused calls,
// and leaves nothing to the rollback (F5.9). What it has made goes at once.
func TestRefusedIssueLeavesNothing(t *testing.T) {
	t.Parallel()
	inline := map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "15m"}
	perLease := map[string]any{"inline_policies": twoDocuments, "policy_per_lease": true, "ttl": "15m"}
	asRole := map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "ttl": "15m"}
	full := alisim.Fault{Action: "CreateUser", Kind: alisim.FaultRefuse, Code: "LimitExceeded.User", Status: http.StatusConflict}
	denied := alisim.Fault{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden}
	for name, tc := range map[string]struct {
		role   map[string]any
		faults []alisim.Fault
		calls  int
		live   bool // another lease holds the policies
	}{
		"no user, and nothing else":        {map[string]any{"ram_groups": "readers", "ttl": "15m"}, []alisim.Fault{full}, 1, false},
		"no user, but its shared policy":   {inline, []alisim.Fault{full}, 3, false},
		"no user, but policies of its own": {perLease, []alisim.Fault{full}, 5, false},
		"no user, policies in use":         {inline, []alisim.Fault{full}, 2, true},
		"no call is allowed":               {inline, []alisim.Fault{denied}, 2, false},
		"a user without its policy":        {inline, []alisim.Fault{action(denied, "CreatePolicy")}, 4, false},
		"no role, but its policy":          {asRole, []alisim.Fault{action(denied, "CreateRole")}, 3, false},
		"the cloud is not to be reached":   {inline, []alisim.Fault{{Kind: alisim.FaultThrottle}}, 2, false},
		"one of two policies, and no user": {perLease, []alisim.Fault{full, {Action: "CreatePolicy", Kind: alisim.FaultRefuse, Code: "LimitExceeded.Policy", Status: http.StatusConflict, Count: 1}}, 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newLoggedMount(t, alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/tested", tc.role)
				m.must(logical.ReadOperation, "config/caller-identity", nil)
				if tc.live {
					m.must(logical.ReadOperation, "creds/tested", nil)
				}
				before := m.inventory()
				for _, f := range tc.faults {
					m.fault(f)
				}
				m.sim.ClearJournal()
				if resp, err := m.request(logical.ReadOperation, "creds/tested", nil); err == nil && !resp.IsError() {
					t.Fatal("credentials were issued")
				}
				calls := len(m.sim.Journal())
				m.unchanged(before)
				if n := m.walEntries(); n != 0 {
					t.Errorf("%d WAL entries are left", n)
				}
				if n := m.lines("left to the rollback"); n != 0 {
					t.Errorf("%d warnings", n)
				}
				if calls != tc.calls {
					t.Errorf("%d calls, want %d", calls, tc.calls)
				}
				m.sim.ClearFaults()
				lease := m.must(logical.ReadOperation, "creds/tested", nil)
				m.age(lease.Secret.InternalData)
				if _, err := m.revokeLease(lease.Secret); err != nil {
					t.Error(err)
				}
				m.unchanged(before)
			})
		})
	}
}

// action is the fault for one action.
func action(f alisim.Fault, name string) alisim.Fault {
	f.Action = name
	return f
}

// A policy that the mount may not attach, and so not detach either, keeps nothing from
// being removed: RAM would not delete a user or role that had it.
func TestRefusedAttachmentLeavesNothing(t *testing.T) {
	t.Parallel()
	page := readLeastPolicy(t)
	documents := slices.Concat(page["RAM users"].policies, page["RAM roles"].policies)
	for name, role := range map[string]map[string]any{
		"of a user":            {"remote_policies": "name:AliyunECSReadOnlyAccess,type:System"},
		"of a role":            {"credential_type": "ram_role", "remote_policies": "name:AliyunECSReadOnlyAccess,type:System"},
		"of a user in a group": {"remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-theirs"},
		"of a role in a group": {"credential_type": "ram_role", "remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedLeastMount(t, alisim.DefaultSettings(), documents)
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/r", role)
				m.refused(logical.ReadOperation, "creds/r", nil, "Grant ram:AttachPolicy")
				m.minutes(2)
				m.unchanged(before)
			})
		})
	}
}
