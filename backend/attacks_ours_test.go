package backend_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	allowAll = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

	// Go reads the last of two members as the only one, and RAM may read the first.
	allowTwice = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Action":"oss:Get*","Resource":"*"}]}`
)

// sharedPolicy is the name of the shared policy of a lease.
func sharedPolicy(lease *logical.Secret) string {
	return lease.InternalData["shared_policies"].([]any)[0].(string)
}

// F4.5: the name of a shared policy can be told from a lease before. Somebody who
// may make policies, and attach none, has the mount attach theirs.
func attackPlantedPolicy(t *testing.T) {
	for name, plant := range map[string]func(m *mount, first *logical.Response, role string){
		"made when no lease had it": func(m *mount, first *logical.Response, _ string) {
			m.revokedAt(first.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll})
		},
		"made so that two parsers differ": func(m *mount, first *logical.Response, _ string) {
			m.revokedAt(first.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowTwice})
		},
		"made with the mark of the mount": func(m *mount, first *logical.Response, _ string) {
			mark := m.descriptionOf(sharedPolicy(first.Secret))
			m.revokedAt(first.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll, "Description": mark})
		},
		"changed while a lease has it": func(m *mount, first *logical.Response, _ string) {
			m.admin("CreatePolicyVersion", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll, "SetAsDefault": "true"})
		},
		"changed while a lease of a process before has it": func(m *mount, first *logical.Response, _ string) {
			m.admin("CreatePolicyVersion", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll, "SetAsDefault": "true"})
			m.restart()
		},
		"made when the mount may not look": func(m *mount, first *logical.Response, _ string) {
			m.revokedAt(first.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll})
			m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "GetPolicy", Code: "NoPermission", Status: 403})
		},
		"made again in the place of the other": func(m *mount, first *logical.Response, role string) {
			m.revokedAt(first.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(first.Secret), "PolicyDocument": allowAll})
			second := m.must(logical.ReadOperation, "creds/"+role, nil)
			m.revokedAt(second.Secret)
			m.admin("CreatePolicy", map[string]string{"PolicyName": sharedPolicy(second.Secret), "PolicyDocument": allowAll})
		},
	} {
		for credentialType, lease := range map[string]map[string]any{
			"ram_user": {"inline_policies": "[" + allowOSS + "]"},
			"ram_role": {"inline_policies": "[" + allowOSS + "]", "credential_type": "ram_role"},
		} {
			t.Run(credentialType+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
					m.must(logical.UpdateOperation, "role/ci", lease)
					before := m.inventory()
					first := m.must(logical.ReadOperation, "creds/ci", nil)
					plant(m, first, "ci")
					held, planted := []*logical.Secret{}, sharedPolicy(first.Secret)
					for range 3 {
						resp := m.must(logical.ReadOperation, "creds/ci", nil)
						held = append(held, resp.Secret)
						for action, want := range map[string]string{"oss:GetObject": "Allow", "ram:CreateUser": "ImplicitDeny"} {
							if got := m.sim.Authorize(resp.Data["access_key"].(string), action, "acs:x:*:*:y"); got != want {
								t.Errorf("the lease may %s: %s", action, got)
							}
						}
					}
					if one, other := sharedPolicy(held[1]), sharedPolicy(held[2]); one != other || one == planted {
						t.Errorf("leases have the policies %s and %s, planted is %s", one, other, planted)
					}
					for _, l := range append(held, first.Secret) { // of which the first may have been revoked
						m.revokedAt(l)
					}
					m.sim.ClearFaults()
					if n := m.walEntries(); n != 0 {
						t.Errorf("%d WAL entries", n)
					}
					for _, p := range m.inventory().Policies {
						if p.Document == allowOSS {
							t.Errorf("policy %s is left", p.Name)
						}
					}
					if after := m.inventory(); len(after.Users) != len(before.Users) || len(after.Roles) != len(before.Roles) {
						t.Errorf("left are %v and %v", after.Users, after.Roles)
					}
				})
			})
		}
	}
}

// The last lease takes the policy away, and it is planted before the next one has
// attached it: that lease is refused.
func attackPolicyPlantedInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		first := m.must(logical.ReadOperation, "creds/ci", nil)
		before, taken, planted := m.inventory(), false, false
		policy := sharedPolicy(first.Secret)
		m.comeBetween(func(s step, effect func() error) error {
			switch {
			case s.what == "AttachPolicyToUser" && !taken:
				taken = true
				m.admin("DetachPolicyFromUser", map[string]string{"UserName": nameOf(first.Secret), "PolicyName": policy, "PolicyType": "Custom"})
				m.admin("DeletePolicy", map[string]string{"PolicyName": policy})
			case s.what == "CreatePolicy" && taken && !planted:
				planted = true
				m.admin("CreatePolicy", map[string]string{"PolicyName": policy, "PolicyDocument": allowAll})
			}
			return effect()
		})
		resp, err := m.request(logical.ReadOperation, "creds/ci", nil)
		m.comeBetween(nil)
		if err == nil && !resp.IsError() {
			if got := m.sim.Authorize(resp.Data["access_key"].(string), "ram:CreateUser", "acs:x:*:*:y"); got == "Allow" {
				t.Error("the lease may create users")
			}
		}
		if !planted || len(m.inventory().Users) > len(before.Users) {
			t.Errorf("planted: %t, RAM holds %v", planted, m.inventory().Users)
		}
	})
}

// A policy that RAM has written down in another way is the mount's all the same.
func TestSharedPolicyIsComparedAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		first := m.must(logical.ReadOperation, "creds/ci", nil)
		m.admin("CreatePolicyVersion", map[string]string{"PolicyName": sharedPolicy(first.Secret), "SetAsDefault": "true",
			"PolicyDocument": `{ "Statement": [ {"Resource":"*", "Action":"oss:Get*", "Effect":"Allow"} ], "Version": "1" }`})
		if second := m.must(logical.ReadOperation, "creds/ci", nil); sharedPolicy(second.Secret) != sharedPolicy(first.Secret) {
			t.Errorf("policy %s instead of %s", sharedPolicy(second.Secret), sharedPolicy(first.Secret))
		}
	})
}

// revokedAt revokes a lease when RAM is believed that what is not there is gone.
func (m *mount) revokedAt(lease *logical.Secret) {
	m.t.Helper()
	time.Sleep(time.Minute)
	if _, err := m.revokeLease(lease); err != nil {
		m.t.Fatalf("revoking %s: %v", nameOf(lease), err)
	}
}

// descriptionOf is what anybody who may look at the policy reads.
func (m *mount) descriptionOf(policy string) string {
	m.t.Helper()
	var out struct{ Policy struct{ Description string } }
	if err := m.callAs(adminKey, "GetPolicy", map[string]string{"PolicyName": policy, "PolicyType": "Custom"}, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Policy.Description
}

// marksOf are the comments and descriptions on what the mount has made for a lease.
func (m *mount) marksOf(lease *logical.Secret) (ofHolder, ofPolicy string) {
	m.t.Helper()
	if u, found := m.sim.Inventory().User(nameOf(lease)); found {
		return u.Comments, m.descriptionOf(sharedPolicy(lease))
	}
	roles := m.sim.Inventory().Roles
	n := slices.IndexFunc(roles, func(r alisim.RoleState) bool { return r.Name == nameOf(lease) })
	return roles[n].Description, m.descriptionOf(sharedPolicy(lease))
}

// F4.9: marks are there for all to read. Whoever copies one to something else does
// not have it deleted by tidy.
func attackCopiedMark(t *testing.T) {
	for credentialType, lease := range map[string]map[string]any{
		"ram_user": {"inline_policies": "[" + allowOSS + "]"},
		"ram_role": {"inline_policies": "[" + allowOSS + "]", "credential_type": "ram_role"},
	} {
		t.Run(credentialType, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", lease)
				live := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				lost := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				mark, markOfPolicy := m.marksOf(lost)
				trust := string(alisim.TrustAccount(alisim.DefaultAccountID))
				copies := 0
				for _, comment := range []string{mark, markOfPolicy, strings.Join(strings.Fields(mark)[:3], " "), strings.Join(strings.Fields(mark)[:3], " ") + " ci"} {
					for _, like := range []string{"payroll-production", "vault-token-ci-abcdefghijklmnopqr27"} {
						copies++
						name := strings.Repeat("x", copies) + "-" + like
						m.admin("CreateUser", map[string]string{"UserName": name, "Comments": comment})
						m.admin("CreateRole", map[string]string{"RoleName": name, "Description": comment, "AssumeRolePolicyDocument": trust})
						m.admin("CreatePolicy", map[string]string{"PolicyName": name, "Description": comment, "PolicyDocument": allowOSS})
					}
				}
				// Of the other kind, with the very name of a lease that is lost.
				if credentialType == "ram_user" {
					m.admin("CreateRole", map[string]string{"RoleName": nameOf(lost), "Description": mark, "AssumeRolePolicyDocument": trust})
				} else {
					m.admin("CreateUser", map[string]string{"UserName": nameOf(lost), "Comments": mark})
				}
				m.forget(lost)
				m.restart()
				time.Sleep(time.Hour)
				before := m.inventory()
				resp := m.must(logical.UpdateOperation, "tidy", nil)
				field := map[string]string{"ram_user": "users", "ram_role": "roles"}[credentialType]
				if got := resp.Data[field].([]any); len(got) != 1 || got[0] != nameOf(lost) {
					t.Errorf("removed %v, want %s", resp.Data, nameOf(lost))
				}
				after := m.inventory()
				if users, roles := len(before.Users)-len(after.Users), len(before.Roles)-len(after.Roles); users+roles != 1 || len(after.Policies) != len(before.Policies) {
					t.Errorf("%d users, %d roles and %d policies are gone, want one that the mount has made", users, roles, len(before.Policies)-len(after.Policies))
				}
				if len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], "x-payroll-production") {
					t.Errorf("warnings %q", resp.Warnings)
				}
				m.revokedAt(live)
			})
		})
	}
}

// Whatever is written on the user or the role that the mount works as, and however
// it got there: tidy does not remove what it lives on.
func attackMarkOnTheMountItself(t *testing.T) {
	for name, config := range map[string]map[string]any{
		"its user": {},
		"its role": {"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/mount"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := alisim.DefaultSeed()
				seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
					Name: "mount", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
				})
				m := newTimedMount(t, alisim.DefaultSettings(), seed)
				m.must(logical.UpdateOperation, "config", config)
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
				mark, _ := m.marksOf(m.must(logical.ReadOperation, "creds/ci", nil).Secret)
				m.admin("UpdateUser", map[string]string{"UserName": "vault", "NewComments": mark})
				m.admin("UpdateRole", map[string]string{"RoleName": "mount", "NewDescription": mark})
				// The index says that the lease of it is over: as bad as it can get.
				m.put(issuedPrefix+"vault", `{"username":"vault","ends_by":"2000-01-01T00:00:00Z","created_at":"1999-12-31T00:00:00Z"}`)
				m.put(issuedPrefix+"mount", `{"ram_role":"mount","ends_by":"2000-01-01T00:00:00Z","created_at":"1999-12-31T00:00:00Z"}`)
				time.Sleep(2 * time.Hour)
				before := m.inventory()
				got := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true}).Data
				found := append(got["users"].([]any), got["roles"].([]any)...)
				if slices.Contains(found, any("vault")) || name == "its role" && slices.Contains(found, any("mount")) {
					t.Errorf("tidy would remove what the mount lives on: %v", got)
				}
				m.unchanged(before)
			})
		})
	}
}

// Marks of versions before proofs count where the index still names what they are
// on; else tidy says what it has left.
func TestTidyOfMarksBeforeProofs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "max_ttl": "10m"})
		var names []string
		for range 2 {
			lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
			mark, _ := m.marksOf(lease)
			m.admin("UpdateUser", map[string]string{"UserName": nameOf(lease), "NewComments": strings.Join(strings.Fields(mark)[:3], " ") + " ci"})
			names = append(names, nameOf(lease))
			if len(names) == 2 {
				m.forget(lease)
			}
		}
		time.Sleep(2 * time.Hour)
		resp := m.must(logical.UpdateOperation, "tidy", nil)
		if got := resp.Data["users"].([]any); len(got) != 1 || got[0] != names[0] {
			t.Errorf("removed %v, want %s", got, names[0])
		}
		if len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], names[1]) {
			t.Errorf("warnings %q do not name %s", resp.Warnings, names[1])
		}
	})
}

// The key of the proofs is in no answer, and no mark shows it.
func TestMarkFitsInComments(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := strings.Repeat("r", 100)
	m.must(logical.UpdateOperation, "role/"+role, map[string]any{"inline_policies": "[" + allowOSS + "]"})
	mark, _ := m.marksOf(m.must(logical.ReadOperation, "creds/"+role, nil).Secret)
	if fields := strings.Fields(mark); len(mark) > 128 || len(fields) != 5 || len(fields[3]) != 32 {
		t.Errorf("the mark is %q", mark)
	}
}

// F4.10: a session that has ended before it could be recorded is no lease.
func attackSessionOverWhenItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"})
		before := m.inventory()
		m.fault(alisim.Fault{
			Action: "AssumeRole", Kind: alisim.FaultMalform, Malform: `set:Expiration="` + time.Now().Add(2*time.Second).UTC().Format(time.RFC3339) + `"`,
		})
		m.comeBetween(func(s step, effect func() error) error {
			if s.op == logical.DeleteOperation {
				time.Sleep(3 * time.Second)
			}
			return effect()
		})
		if resp, err := m.request(logical.ReadOperation, "creds/batch", nil); err == nil || !strings.Contains(err.Error(), "expired already") {
			t.Errorf("got %v %v", resp, err)
		}
		m.unchanged(before)
		if created, entries := len(m.callsAt("CreateRole")), m.walEntries(); created != 1 || entries != 0 {
			t.Errorf("%d RAM roles created, %d WAL entries", created, entries)
		}
	})
}
