package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// admin makes a call as an administrator who has nothing to do with the mount.
func (m *mount) admin(action string, params map[string]string) {
	m.t.Helper()
	if err := m.callAs(adminKey, action, params, nil); err != nil {
		m.t.Fatalf("%s: %v", action, err)
	}
}

// callAs makes a call of RAM, STS or Resource Management with a key.
func (m *mount) callAs(key [2]string, action string, params map[string]string, out any) error {
	m.t.Helper()
	r := openapi.Request{
		Endpoint: "ram.aliyuncs.com", Version: "2015-05-01", Action: action, Params: params,
		Keys: openapi.Keys{AccessKeyID: key[0], AccessKeySecret: key[1]},
	}
	switch {
	case action == "AssumeRole":
		r.Endpoint, r.Version = "sts.aliyuncs.com", "2015-04-01"
	case params["ResourceGroupId"] != "":
		r.Endpoint, r.Version = "resourcemanager.aliyuncs.com", "2020-03-31"
	}
	api, err := openapi.New(openapi.Options{HTTP: m.sim.Client()})
	if err != nil {
		m.t.Fatal(err)
	}
	return api.Do(context.Background(), r, out)
}

// grantFor attaches a policy for the resources of one group, which RAM does not
// list afterwards.
func (m *mount) grantFor(group string, p ram.Policy, kind, principal string) {
	m.t.Helper()
	m.admin("AttachPolicy", map[string]string{
		"ResourceGroupId": group, "PolicyType": p.Type, "PolicyName": p.Name, "PrincipalType": kind, "PrincipalName": principal,
	})
}

// F1.11: a grant for one resource group, which only Resource Management shows, is
// no reason for a user, role or policy of ours to live on.
func TestRevokeDetachesGrantsOfResourceGroups(t *testing.T) {
	t.Parallel()
	perLease := map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}
	for name, tc := range map[string]struct {
		alias string
		page  int // cap of what a page holds
		role  map[string]any
		grant func(m *mount, lease map[string]any)
	}{
		"of a user": {role: leastUser, grant: func(m *mount, lease map[string]any) {
			for _, group := range []string{"rg-1", "rg-2"} {
				m.grantFor(group, ram.Policy{Name: "ReadOnlyAccess", Type: "System"}, "IMSUser", lease["username"].(string)+"@1234567890123456.onaliyun.com")
			}
		}},
		"of a user in an account with an alias, among many": {alias: "corp", page: 1, role: leastUser, grant: func(m *mount, lease map[string]any) {
			for n := range 3 {
				other := fmt.Sprintf("other-%d", n)
				m.admin("CreateUser", map[string]string{"UserName": other})
				m.grantFor("rg-1", ram.Policy{Name: "ReadOnlyAccess", Type: "System"}, "IMSUser", other+"@corp.onaliyun.com")
			}
			m.grantFor("rg-2", ram.Policy{Name: "ReadOnlyAccess", Type: "System"}, "IMSUser", lease["username"].(string)+"@corp.onaliyun.com")
		}},
		"of a role": {role: leastRole, grant: func(m *mount, lease map[string]any) {
			m.grantFor("rg-1", ram.Policy{Name: "ReadOnlyAccess", Type: "System"}, "ServiceRole", lease["ram_role"].(string)+"@role.1234567890123456.onaliyunservice.com")
		}},
		"of the policy of a lease, to somebody else": {role: perLease, grant: func(m *mount, lease map[string]any) {
			policy := lease["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
			m.grantFor("rg-1", ram.Policy{Name: policy, Type: "Custom"}, "IMSUser", alisim.DefaultUserName+"@1234567890123456.onaliyun.com")
			m.grantFor("rg-2", ram.Policy{Name: policy, Type: "Custom"}, "ServiceRole", "deploy@role.1234567890123456.onaliyunservice.com")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				seed, settings := alisim.DefaultSeed(), alisim.DefaultSettings()
				seed.Accounts[0].Alias, seed.Accounts[0].ResourceGroups = tc.alias, []string{"rg-1", "rg-2"}
				settings.PageLimit = tc.page
				m := newTimedMount(t, settings, seed)
				m.must(logical.UpdateOperation, "role/r", tc.role)
				before := namesIn(m.inventory())
				secret := m.must(logical.ReadOperation, "creds/r", nil).Secret
				tc.grant(m, secret.InternalData)
				m.age(secret.InternalData)
				if resp, err := m.revokeLease(secret); err != nil || resp.IsError() {
					t.Fatalf("revoke: %v %v", resp, err)
				}
				for _, left := range namesIn(m.inventory()) {
					if !strings.HasPrefix(left, "other-") && !strings.Contains(strings.Join(before, " "), left) {
						t.Errorf("%s is left", left)
					}
				}
				for _, call := range m.sim.Journal() {
					if call.Action == "DetachPolicy" && strings.HasPrefix(call.Params["PrincipalName"], "other-") {
						t.Errorf("a policy was taken from %s", call.Params["PrincipalName"])
					}
				}
			})
		})
	}
}

func namesIn(all alisim.Inventory) (names []string) {
	for _, u := range all.Users {
		names = append(names, u.Name)
	}
	for _, r := range all.Roles {
		names = append(names, r.Name)
	}
	for _, p := range all.Policies {
		names = append(names, p.Name)
	}
	return names
}

// Resource Management is asked only when RAM refuses a second time, and when it
// does not tell, the error says both.
func TestGrantsThatCannotBeLookedFor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault alisim.Fault
		want  string
	}{
		"not allowed": {
			alisim.Fault{Action: "ListPolicyAttachments", Kind: alisim.FaultRefuse, Code: ram.NoPermission, Status: 403},
			"could not be looked for: ListPolicyAttachments: NoPermission",
		},
		"not reached": {
			alisim.Fault{Action: "ListPolicyAttachments", Kind: alisim.FaultDrop},
			"could not be looked for: ListPolicyAttachments: ",
		},
		"nothing there": {alisim.Fault{Action: "NoSuchAction", Kind: alisim.FaultError500}, "DeleteConflict.User.Policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/r", leastUser)
				secret := m.must(logical.ReadOperation, "creds/r", nil).Secret
				m.fault(tc.fault)
				m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse, Code: "DeleteConflict.User.Policy", Status: 409})
				_, err := m.revokeLease(secret)
				if err == nil || !strings.Contains(err.Error(), "DeleteConflict.User.Policy") || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("the revocation fails with %v, want DeleteConflict.User.Policy and %q", err, tc.want)
				}
				m.sim.ClearFaults()
				if _, err := m.revokeLease(secret); err != nil {
					t.Errorf("once nothing is in the way: %v", err)
				}
			})
		})
	}
}

// F1.9: whichever code RAM has for a policy that something holds, the holders are
// looked for.
func TestRevokeOfAPolicyThatOthersHold(t *testing.T) {
	t.Parallel()
	for _, code := range []string{alisim.PolicyOfRole, alisim.PolicyOfRoleListed} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				settings := alisim.DefaultSettings()
				settings.PolicyOfRoleCode = code
				m := newTimedMount(t, settings, alisim.DefaultSeed())
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/r", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
				secret := m.must(logical.ReadOperation, "creds/r", nil).Secret
				policy := secret.InternalData["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
				m.admin("AttachPolicyToRole", map[string]string{"RoleName": "deploy", "PolicyName": policy, "PolicyType": "Custom"})
				if resp, err := m.revokeLease(secret); err != nil || resp.IsError() {
					t.Fatalf("revoke: %v %v", resp, err)
				}
				m.unchanged(before)
			})
		})
	}
}
