package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
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
	case slices.Contains([]string{"AttachPolicy", "DetachPolicy", "ListPolicyAttachments", "GetResourceGroup", "DeleteResourceGroup"}, action):
		r.Endpoint, r.Version = "resourcemanager.aliyuncs.com", "2020-03-31"
	}
	api, err := openapi.New(openapi.Options{HTTP: m.sim.Client(), Timeout: time.Minute})
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

// inTwoGroups is the default account with two resource groups and, in each, an
// instance of ECS.
func inTwoGroups(alias string) alisim.Seed {
	seed := alisim.DefaultSeed()
	a := &seed.Accounts[0]
	a.Alias, a.ResourceGroups = alias, []string{"rg-1", "rg-2"}
	a.Resources = map[string]string{"ecs:instance/i-1": "rg-1", "ecs:instance/i-2": "rg-2"}
	return seed
}

// grantsOf are the policies of the user or role of a lease, each with its resource
// group; names of inline policies are replaced by "inline".
func (m *mount) grantsOf(secret *logical.Secret) []string {
	m.t.Helper()
	all := m.inventory()
	user, _ := all.User(nameOf(secret))
	role, _ := all.Role(nameOf(secret))
	grants := []string{}
	for _, p := range slices.Concat(user.Policies, role.Policies) {
		name := p.Name
		if p.Type == "Custom" {
			name = "inline"
		}
		grants = append(grants, strings.TrimSuffix(name+" in "+p.ResourceGroup, " in "))
	}
	slices.Sort(grants)
	return grants
}

// hashicorp/vault #22492: what a role grants in a resource group counts there and
// nowhere else, and goes with the lease.
func TestGrantsInResourceGroups(t *testing.T) {
	t.Parallel()
	const ecs = "AliyunECSReadOnlyAccess"
	both := []string{"name:" + ecs + ",type:System,resource_group:rg-1", "name: " + ecs + ", type: System, resource_group: rg-2", "name:" + ecs + ",type:System"}
	for name, tc := range map[string]struct {
		role   map[string]any
		grants []string
		may    string // describe these instances
	}{
		"remote policy in one group": {
			map[string]any{"remote_policies": both[:1]}, []string{ecs + " in rg-1"}, "i-1",
		},
		"one policy in two groups": {
			map[string]any{"remote_policies": both[:2]}, []string{ecs + " in rg-1", ecs + " in rg-2"}, "i-1 i-2",
		},
		"and in the account at once": {
			map[string]any{"remote_policies": both}, []string{ecs, ecs + " in rg-1", ecs + " in rg-2"}, "i-1 i-2 i-3",
		},
		"inline policies": {
			map[string]any{"inline_policies": "[" + allowECS + "," + allowOSS + "]", "resource_group": "rg-2"}, []string{"inline in rg-2", "inline in rg-2"}, "i-2",
		},
		"inline policies of each lease": {
			map[string]any{"inline_policies": "[" + allowECS + "]", "resource_group": "rg-2", "policy_per_lease": true}, []string{"inline in rg-2"}, "i-2",
		},
		"both, mixed with the account": {
			map[string]any{
				"inline_policies": "[" + allowECS + "]", "resource_group": "rg-2",
				"remote_policies": []string{both[0], "name:AliyunOSSReadOnlyAccess,type:System"},
			},
			[]string{ecs + " in rg-1", "AliyunOSSReadOnlyAccess", "inline in rg-2"}, "i-1 i-2",
		},
	} {
		for _, credentialType := range []string{"ram_user", "ram_role"} {
			for _, account := range []struct {
				alias   string
				byAlias bool
			}{{"", false}, {"corp", false}, {"corp", true}} {
				t.Run(fmt.Sprintf("%s, %s, alias %q, by alias %t", name, credentialType, account.alias, account.byAlias), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						toThePresent()
						settings := alisim.DefaultSettings()
						settings.PrincipalsByAlias = account.byAlias
						m := newTimedMount(t, settings, inTwoGroups(account.alias))
						role := maps.Clone(tc.role)
						role["credential_type"], role["ttl"] = credentialType, "1h"
						m.must(logical.UpdateOperation, "role/r", role)
						before := m.inventory()
						lease := m.must(logical.ReadOperation, "creds/r", nil)
						slices.Sort(tc.grants)
						if got := m.grantsOf(lease.Secret); !slices.Equal(got, tc.grants) {
							t.Errorf("the lease has %q, want %q", got, tc.grants)
						}
						for _, instance := range []string{"i-1", "i-2", "i-3"} {
							want := "ImplicitDeny"
							if strings.Contains(tc.may, instance) {
								want = "Allow"
							}
							arn := "acs:ecs:cn-hangzhou:1234567890123456:instance/" + instance
							if got := m.sim.Authorize(lease.Data["access_key"].(string), "ecs:DescribeInstances", arn); got != want {
								t.Errorf("%s: %s, want %s", instance, got, want)
							}
						}
						m.age(lease.Secret.InternalData)
						if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
							t.Fatalf("revoke: %v %v", resp, err)
						}
						m.unchanged(before)
						for _, call := range m.sim.Journal() {
							if call.Action == "ListPolicyAttachments" || call.Params["ResourceGroupId"] != "" && strings.Contains(call.Action, "PolicyTo") {
								t.Errorf("%s was called: what a lease has is known by name, and RAM is not trusted with resource groups", call.Action)
							}
						}
					})
				})
			}
		}
	}
}

// What has nothing to do with resource groups is stored as it was before there were
// any, and what has is out of the sight of an engine that does not know them: that
// one would grant it in the whole account.
func TestWhatRolesGrantElsewhereIsStoredApart(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	stored := func(name string) string {
		entry, err := m.storage.Get(t.Context(), "role/"+name)
		if err != nil || entry == nil {
			t.Fatalf("role/%s: %v %v", name, entry, err)
		}
		return hash.ReplaceAllString(strings.TrimSpace(string(entry.Value)), `"hash":""`)
	}
	for name, tc := range map[string]struct {
		role map[string]any
		want string
	}{
		"none": {
			map[string]any{"remote_policies": []string{"name:A,type:System"}, "inline_policies": "[" + allowOSS + "]", "ttl": "1h"},
			`{"role_arn":"","remote_policies":[{"name":"A","type":"System"}],"inline_policies":[{"hash":"","policy_document":` + allowOSS + `}],"ttl":3600000000000,"max_ttl":0}`,
		},
		"some": {
			map[string]any{"remote_policies": []string{"name:A,type:System,resource_group:rg-1", "name:B,type:Custom"}, "inline_policies": "[" + allowOSS + "]"},
			`{"role_arn":"","remote_policies":[{"name":"B","type":"Custom"}],"inline_policies":[{"hash":"","policy_document":` + allowOSS + `}],"ttl":0,"max_ttl":0,` +
				`"granted_elsewhere":{"remote_policies":[{"name":"A","type":"System","resource_group":"rg-1"}]}}`,
		},
		"all": {
			map[string]any{"remote_policies": []string{"name:A,type:System,resource_group:rg-1"}, "inline_policies": "[" + allowOSS + "]", "resource_group": "rg-2"},
			`{"role_arn":"","remote_policies":[],"inline_policies":[],"ttl":0,"max_ttl":0,"resource_group":"rg-2",` +
				`"granted_elsewhere":{"remote_policies":[{"name":"A","type":"System","resource_group":"rg-1"}],"inline_policies":[{"hash":"","policy_document":` + allowOSS + `}]}}`,
		},
		"away": {
			map[string]any{
				"assume_role_arn": "acs:ram::2000000000000001:role/vault", "remote_policies": []string{"name:A,type:System,resource_group:rg-1", "name:B,type:Custom"},
				"inline_policies": "[" + allowOSS + "]", "ram_groups": "readers",
			},
			`{"role_arn":"","remote_policies":[],"inline_policies":[],"ttl":0,"max_ttl":0,"assume_role_arn":"acs:ram::2000000000000001:role/vault",` +
				`"granted_elsewhere":{"remote_policies":[{"name":"A","type":"System","resource_group":"rg-1"},{"name":"B","type":"Custom"}],` +
				`"inline_policies":[{"hash":"","policy_document":` + allowOSS + `}],"ram_groups":["readers"]}}`,
		},
	} {
		m.must(logical.UpdateOperation, "role/"+name, tc.role)
		if got := stored(name); got != tc.want {
			t.Errorf("%s: stored is\n%s\nwant\n%s", name, got, tc.want)
		}
		before := m.must(logical.ReadOperation, "role/"+name, nil).Data
		m.must(logical.UpdateOperation, "role/"+name, map[string]any{"max_ttl": 0}) // which reads it and writes it back
		if after := m.must(logical.ReadOperation, "role/"+name, nil).Data; !reflect.DeepEqual(after, before) {
			t.Errorf("%s: written back it is %v, before %v", name, after, before)
		}
	}
	read := m.must(logical.ReadOperation, "role/all", nil).Data
	if want := []any{map[string]any{"name": "A", "type": "System", "resource_group": "rg-1"}}; !reflect.DeepEqual(read["remote_policies"], want) || read["resource_group"] != "rg-2" || len(read["inline_policies"].([]any)) != 1 {
		t.Errorf("role/all reads %v", read)
	}
	// The Terraform provider knows nothing of groups, and gives every field that it knows.
	m.must(logical.UpdateOperation, "role/all", map[string]any{"role_arn": "", "inline_policies": "[" + allowOSS + "]", "remote_policies": []string{}, "ttl": 0, "max_ttl": 0})
	if read := m.must(logical.ReadOperation, "role/all", nil).Data; read["resource_group"] != "rg-2" {
		t.Errorf("a write without resource_group made of it %v", read["resource_group"])
	}
	m.must(logical.UpdateOperation, "role/all", map[string]any{"role_arn": "", "inline_policies": "[]", "remote_policies": []string{"name:B,type:Custom"}, "ttl": 0, "max_ttl": 0})
	m.must(logical.UpdateOperation, "role/all", map[string]any{"role_arn": roleARN, "inline_policies": "[]", "remote_policies": []string{}, "ttl": 0, "max_ttl": 0})
}

// allowECS is a policy that lets describe instances.
const allowECS = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:Describe*","Resource":"*"}]}`

var hash = regexp.MustCompile(`"hash":"[0-9a-f]{32}"`)

// A lease, its entry in the index and its WAL entry without a resource group have no
// word of any.
func TestLeasesOutsideOfResourceGroupsAreAsBefore(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"remote_policies": system, "inline_policies": "[" + allowOSS + "]"})
	m.fault(alisim.Fault{Kind: alisim.FaultApplyThenDrop, Action: "AttachPolicyToUser"})
	if _, err := m.request(logical.ReadOperation, "creds/r", nil); err == nil {
		t.Fatal("the issue ended well")
	}
	wal, err := framework.ListWAL(t.Context(), m.storage)
	if err != nil || len(wal) != 1 {
		t.Fatalf("WAL: %v %v", wal, err)
	}
	m.sim.ClearFaults()
	lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
	for _, key := range []string{"wal/" + wal[0], issuedPrefix + nameOf(lease)} {
		var got any
		m.stored(key, &got)
		if raw, _ := json.Marshal(got); strings.Contains(string(raw), "group\"") || strings.Contains(string(raw), "resource") {
			t.Errorf("%s: %s", key, raw)
		}
	}
	if raw, _ := json.Marshal(lease.InternalData); strings.Contains(string(raw), "resource") {
		t.Errorf("the lease: %s", raw)
	}
}

// What cannot be granted is refused with what to do, and nothing is left.
func TestRefusedGrantsInResourceGroups(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		group string
		fault alisim.Fault
		says  []string
	}{
		"no such group": {"rg-none", alisim.Fault{}, []string{"the resource group rg-none", "EntityNotExists.ResourceGroup", "Check resource_group", "ListResourceGroups"}},
		"not allowed": {
			"rg-1", alisim.Fault{Kind: alisim.FaultRefuse, Action: "AttachPolicy", Code: ram.NoPermission, Status: 403},
			[]string{"Grant ram:AttachPolicy on acs:ram:*:system:policy/AliyunECSReadOnlyAccess and on acs:ims:*:1234567890123456:user/*"},
		},
		"full": {
			"rg-1", alisim.Fault{Kind: alisim.FaultRefuse, Action: "AttachPolicy", Code: "LimitExceeded.User.Policy", Status: 409},
			[]string{"LimitExceeded.User.Policy", "attach fewer policies"},
		},
		"no such policy": {
			"rg-1", alisim.Fault{Kind: alisim.FaultRefuse, Action: "AttachPolicy", Code: "EntityNotExist.Policy", Status: 404},
			[]string{"the System policy AliyunECSReadOnlyAccess", "Check remote_policies"},
		},
		"a name that is no principal's": {
			"rg-1", alisim.Fault{Kind: alisim.FaultRefuse, Action: "AttachPolicy", Code: "InvalidParameter.PrincipalName", Status: 400},
			[]string{"InvalidParameter.PrincipalName"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				m := newTimedMount(t, alisim.DefaultSettings(), inTwoGroups(""))
				m.must(logical.UpdateOperation, "role/r", map[string]any{
					"remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:" + tc.group, "inline_policies": "[" + allowOSS + "]", "resource_group": "rg-1",
				})
				before := m.inventory()
				if tc.fault.Kind != "" {
					m.fault(tc.fault)
				}
				resp, err := m.request(logical.ReadOperation, "creds/r", nil)
				if err != nil || !resp.IsError() {
					t.Fatalf("got %v %v, want a refusal", resp, err)
				}
				for _, text := range tc.says {
					if !strings.Contains(resp.Error().Error(), text) {
						t.Errorf("the answer %q does not say %q", resp.Error(), text)
					}
				}
				m.sim.ClearFaults()
				m.minutes(10)
				m.unchanged(before)
			})
		})
	}
}

// A group that was deleted while leases were out took their grants along.
func TestRevokeAfterTheResourceGroup(t *testing.T) {
	t.Parallel()
	for _, credentialType := range []string{"ram_user", "ram_role"} {
		t.Run(credentialType, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				seed := inTwoGroups("")
				delete(seed.Accounts[0].Resources, "ecs:instance/i-1")
				m := newTimedMount(t, alisim.DefaultSettings(), seed)
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/r", map[string]any{
					"credential_type": credentialType, "remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-1",
					"inline_policies": "[" + allowOSS + "]", "resource_group": "rg-1",
				})
				lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
				m.admin("DeleteResourceGroup", map[string]string{"ResourceGroupId": "rg-1"})
				m.age(lease.InternalData)
				if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
					t.Fatalf("revoke: %v %v", resp, err)
				}
				m.unchanged(before)
			})
		})
	}
}

// Leases of one document share its policy, wherever each has it; it goes with the
// last of them, and a lease keeps to the group that it was issued with.
func TestSharedPoliciesInResourceGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		m := newTimedMount(t, alisim.DefaultSettings(), inTwoGroups(""))
		before := m.inventory()
		role := map[string]any{"inline_policies": "[" + allowECS + "]", "resource_group": "rg-1", "ttl": "1h"}
		m.must(logical.UpdateOperation, "role/r", role)
		first, second := m.must(logical.ReadOperation, "creds/r", nil).Secret, m.must(logical.ReadOperation, "creds/r", nil).Secret
		m.must(logical.UpdateOperation, "role/r", map[string]any{"resource_group": "rg-2"})
		third := m.must(logical.ReadOperation, "creds/r", nil).Secret
		m.must(logical.UpdateOperation, "role/r", map[string]any{"resource_group": ""})
		fourth := m.must(logical.ReadOperation, "creds/r", nil).Secret
		for n, want := range []string{"inline in rg-1", "inline in rg-1", "inline in rg-2", "inline"} {
			if got := m.grantsOf([]*logical.Secret{first, second, third, fourth}[n]); !slices.Equal(got, []string{want}) {
				t.Errorf("lease %d has %q, want %q", n, got, want)
			}
		}
		m.must(logical.DeleteOperation, "role/r", nil)
		m.start() // as on another node: what leases share is in the index
		for n, lease := range []*logical.Secret{first, third, fourth, second} {
			if got := len(m.inventory().Policies); got != 1 {
				t.Errorf("before revocation %d there are %d policies", n, got)
			}
			m.age(lease.InternalData)
			if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
				t.Fatalf("revoke: %v %v", resp, err)
			}
		}
		m.unchanged(before)
	})
}

// A shared policy that somebody attached in a resource group to something else stays
// there, and the lease ends; where the mount may not look, it is tried again.
func TestSharedPolicyThatOthersHoldInResourceGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		m := newTimedMount(t, alisim.DefaultSettings(), inTwoGroups(""))
		m.must(logical.UpdateOperation, "role/r", map[string]any{"inline_policies": "[" + allowECS + "]", "resource_group": "rg-1"})
		lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
		policy := lease.InternalData["shared_policies"].([]any)[0].(string)
		m.grantFor("rg-2", ram.Policy{Name: policy, Type: "Custom"}, "ServiceRole", "deploy@role.1234567890123456.onaliyunservice.com")
		m.age(lease.InternalData)
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "ListPolicyAttachments", Code: ram.NoPermission, Status: 403})
		if _, err := m.revokeLease(lease); err == nil || !strings.Contains(err.Error(), "could not be looked for: ListPolicyAttachments: NoPermission") {
			t.Errorf("where the mount may not look: %v", err)
		}
		m.sim.ClearFaults()
		if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
			t.Fatalf("revoke: %v %v", resp, err)
		}
		if role, _ := m.inventory().Role("deploy"); !slices.Contains(role.Policies, alisim.PolicyLabel{Type: "Custom", Name: policy, ResourceGroup: "rg-2"}) {
			t.Errorf("the policy was taken from %+v", role)
		}
		if _, there := m.inventory().User(nameOf(lease)); there {
			t.Error("the user is left")
		}
	})
}

// tidy removes a user of a mount that forgot it, with its grants in resource groups.
func TestTidyInResourceGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		m := newTimedMount(t, alisim.DefaultSettings(), inTwoGroups("corp"))
		before := m.inventory()
		m.must(logical.UpdateOperation, "role/r", map[string]any{
			"inline_policies": "[" + allowECS + "]", "resource_group": "rg-1", "remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-2", "ttl": "1h",
		})
		lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
		m.forget(lease) // neither a lease nor the index knows of it
		time.Sleep(2*time.Hour + tidyGrace)
		tidied := m.must(logical.UpdateOperation, "tidy", nil).Data
		if len(tidied["users"].([]any)) != 1 || len(tidied["failed"].([]any)) != 0 {
			t.Errorf("tidy: %v", tidied)
		}
		time.Sleep(tidyGrace)
		m.must(logical.UpdateOperation, "tidy", nil)
		m.unchanged(before)
	})
}

// With assume_role_arn the resource groups, and the alias in names, are those of the
// other account.
func TestGrantsInResourceGroupsOfAnotherAccount(t *testing.T) {
	t.Parallel()
	for _, credentialType := range []string{"ram_user", "ram_role"} {
		t.Run(credentialType, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				seed, settings := withSpokes(1), alisim.DefaultSettings()
				seed.Accounts[0].Alias, seed.Accounts[0].ResourceGroups = "hub", []string{"rg-1"}
				there := &seed.Accounts[1]
				there.Alias, there.ResourceGroups, there.Resources = "there", []string{"rg-2"}, map[string]string{"ecs:instance/i-2": "rg-2"}
				settings.PrincipalsByAlias = true
				m := newTimedMount(t, settings, seed)
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/r", inSpoke(1, map[string]any{
					"credential_type": credentialType, "inline_policies": "[" + allowECS + "]", "resource_group": "rg-2",
					"remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-2", "ttl": "1h",
				}))
				lease := m.must(logical.ReadOperation, "creds/r", nil)
				if got, want := m.grantsOf(lease.Secret), []string{"AliyunECSReadOnlyAccess in rg-2", "inline in rg-2"}; !slices.Equal(got, want) {
					t.Errorf("the lease has %q, want %q", got, want)
				}
				if got := m.sim.Authorize(lease.Data["access_key"].(string), "ecs:DescribeInstances", "acs:ecs:cn-hangzhou:"+spoke(1)+":instance/i-2"); got != "Allow" {
					t.Errorf("in the group: %s", got)
				}
				m.must(logical.DeleteOperation, "role/r", nil)
				m.age(lease.Secret.InternalData)
				if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
					t.Fatalf("revoke: %v %v", resp, err)
				}
				m.unchanged(before)
				m.must(logical.UpdateOperation, "role/r", inSpoke(1, map[string]any{
					"remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-1", "ttl": "1h",
				}))
				m.refused(logical.ReadOperation, "creds/r", nil, "the resource group rg-1")
			})
		})
	}
}

// A user that was renamed is known to Resource Management by its new name.
func TestRevokeOfARenamedUserInResourceGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		m := newTimedMount(t, alisim.DefaultSettings(), inTwoGroups(""))
		before := m.inventory()
		m.must(logical.UpdateOperation, "role/r", map[string]any{"remote_policies": "name:AliyunECSReadOnlyAccess,type:System,resource_group:rg-1"})
		lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
		m.admin("UpdateUser", map[string]string{"UserName": nameOf(lease), "NewUserName": "somebody"})
		m.age(lease.InternalData)
		if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
			t.Fatalf("revoke: %v %v", resp, err)
		}
		m.unchanged(before)
	})
}

// In an account with an alias, by which alone Resource Management knows its users, the
// policy that a check prints is enough as well.
func TestRoleCheckInAnAccountWithAnAlias(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.PrincipalsByAlias = true
		m := newTimedLeastMount(t, settings, nil)
		m.admin("SetAccountAlias", map[string]string{"AccountAlias": "corp"})
		m.must(logical.UpdateOperation, "role/r", leastUserInGroup)
		if answer, _ := m.checkAs(logical.ReadOperation, nil); !strings.Contains(answer.report, "unknown: ram:GetAccountAlias") {
			t.Errorf("whether there is an alias may not be asked:\n%s", answer.report)
		}
		m.as(adminKey, nil)
		answer, _ := m.checkAs(logical.ReadOperation, nil)
		if answer.result != "yes" || !strings.Contains(answer.policy, "ram:GetAccountAlias") {
			t.Errorf("the check is %s, and prints %s", answer.result, answer.policy)
		}
		for document, works := range map[string]bool{answer.policy: true, strings.Replace(answer.policy, "ram:GetAccountAlias", "ram:GetUser", 1): false} {
			with := newTimedLeastMount(t, settings, []string{document})
			with.admin("SetAccountAlias", map[string]string{"AccountAlias": "corp"})
			if err := leastIssue(leastUserInGroup)(with); (err == nil) != works {
				t.Errorf("with %s: %v", document, err)
			}
		}
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
