package backend_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	otherAccount = "6543210987654321"
	otherKey     = "LTAI5tOtherAccountKey0001"
	otherSecret  = "secret-of-the-other-account-00"
)

// twoAccounts are the default account and another one. In both is a RAM user and a
// role, mount, that may do everything.
func twoAccounts() alisim.Seed {
	seed := alisim.DefaultSeed()
	admin := func(account string) alisim.Role {
		return alisim.Role{Name: "mount", TrustPolicy: alisim.TrustAccount(account), Policies: []string{"AdministratorAccess"}}
	}
	seed.Accounts[0].ResourceGroups = []string{"rg-1", "rg-2"}
	seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, admin(alisim.DefaultAccountID))
	seed.Accounts = append(seed.Accounts, alisim.Account{
		ID: otherAccount, Roles: []alisim.Role{admin(otherAccount)},
		Users: []alisim.User{{
			Name: "vault", Policies: []string{"AdministratorAccess"},
			AccessKeys: []alisim.AccessKey{{ID: otherKey, Secret: otherSecret}},
		}},
	})
	return seed
}

// newSwitchedMount is a mount for a synctest bubble that is handed sessions.
func newSwitchedMount(t *testing.T) *mount {
	t.Helper()
	sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: twoAccounts()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	session := func(id, secret, account string) alicreds.Credentials {
		api, err := openapi.New(openapi.Options{HTTP: sim.Client()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := alicreds.AssumeRole(t.Context(), openapi.Keys{AccessKeyID: id, AccessKeySecret: secret}, alicreds.RAMRoleARNOptions{
			RoleARN: "acs:ram::" + account + ":role/mount", STSOptions: alicreds.STSOptions{Client: api},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return newHandedMountIn(t, sim, &handed{
		own:   session(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret, alisim.DefaultAccountID),
		other: session(otherKey, otherSecret, otherAccount),
	})
}

// worksIn hands the mount the keys of that account, as soon as those that it has end.
func (m *mount) worksIn(account string) {
	m.t.Helper()
	m.keys.moved.Store(account == otherAccount)
	time.Sleep(2 * handedFor)
	if got := m.must(logical.ReadOperation, "config/caller-identity", nil).Data["account_id"]; got != account {
		m.t.Fatalf("the mount works in account %v, want %s", got, account)
	}
}

// F4.1: the keys that the mount is handed are of another account than before, in
// which nothing of a lease exists. That is no reason to believe it gone.
func attackSourceChangesAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSwitchedMount(t)
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "15m"})
		before := m.inventory()
		lease := m.must(logical.ReadOperation, "creds/ci", nil)
		key := lease.Data["access_key"].(string)
		m.age(lease.Secret.InternalData)
		m.worksIn(otherAccount)

		_, err := m.revokeLease(lease.Secret)
		if err == nil || !strings.Contains(err.Error(), "belongs to account "+alisim.DefaultAccountID) {
			t.Errorf("the revocation in the other account: %v", err)
		}
		if _, err := m.renewLease(lease.Secret); err != nil {
			t.Errorf("the renewal in the other account: %v", err)
		}
		other := m.must(logical.ReadOperation, "creds/ci", nil)
		if got := other.Secret.InternalData["account_id"]; got != otherAccount {
			t.Errorf("a lease of the other account has account %v", got)
		}
		if _, err := m.revokeLease(other.Secret); err != nil {
			t.Error(err)
		}

		m.worksIn(alisim.DefaultAccountID)
		if got := m.sim.Authorize(key, "oss:GetObject", "acs:oss:*:*:x"); got != "Allow" {
			t.Errorf("the lease that lives on may not do what it says: %s", got)
		}
		if _, err := m.revokeLease(lease.Secret); err != nil {
			t.Error(err)
		}
		m.unchanged(before)
	})
}

// F4.1: tidy in another account forgets no lease for not being there.
func attackTidyInAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSwitchedMount(t)
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "15m"})
		lease := m.must(logical.ReadOperation, "creds/ci", nil)
		name := lease.Data["username"].(string)
		var entry map[string]any
		m.stored(issuedPrefix+name, &entry)
		m.age(entry)
		aged, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		m.put(issuedPrefix+name, string(aged))
		m.worksIn(otherAccount)
		m.must(logical.UpdateOperation, "tidy", nil)
		if e, err := m.storage.Get(t.Context(), issuedPrefix+name); err != nil || e == nil {
			t.Errorf("tidy forgot a user of another account: %v", err)
		}
	})
}

// F4.1: a lease of the built-in engine does not tell its account. It is that which the
// mount worked in when it was taken over, whatever config says since.
func attackLeaseWithoutAccount(t *testing.T) {
	other := map[string]any{"access_key": otherKey, "secret_key": otherSecret}
	own := map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret}
	for name, repoint := range map[string]func(m *mount){
		"a write of config": func(m *mount) { m.must(logical.UpdateOperation, "config", other) },
		"config deleted and written": func(m *mount) {
			m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
			m.must(logical.UpdateOperation, "config", other)
		},
		"a write that changes nothing, and one that does": func(m *mount) {
			m.must(logical.UpdateOperation, "config", own)
			m.must(logical.UpdateOperation, "config", other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), twoAccounts())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
				before := m.inventory()
				lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				for _, ours := range []string{"ram_groups", "account_id", "created_at", "user_id"} {
					delete(lease.InternalData, ours)
				}
				m.restart()
				time.Sleep(time.Minute)
				repoint(m)
				if _, err := m.revokeLease(lease); err == nil || !strings.Contains(err.Error(), "belongs to account "+alisim.DefaultAccountID) {
					t.Errorf("the revocation in the other account: %v", err)
				}
				if _, err := m.renewLease(lease); err != nil {
					t.Errorf("the renewal in the other account: %v", err)
				}
				m.must(logical.UpdateOperation, "config", own)
				if _, err := m.revokeLease(lease); err != nil {
					t.Error(err)
				}
				m.unchanged(before)
			})
		})
	}
}

// F4.2: whoever writes static roles takes the user that the mount works with, whose
// key no config has. The first rotation would lock the mount out.
func attackStaticRoleOfTheMount(t *testing.T) {
	for name, config := range map[string]map[string]any{
		"the key in config":             {},
		"the source of an assumed role": {"credential_type": "ram_role_arn", "role_arn": "acs:ram::" + alisim.DefaultAccountID + ":role/mount"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newSeededMount(t, twoAccounts())
			all := m.simConfig()
			for field, value := range config {
				all[field] = value
			}
			m.must(logical.UpdateOperation, "config", all)
			before := m.inventory()
			for given, data := range map[string]map[string]any{
				"by name":              {"username": alisim.DefaultUserName, "rotation_period": "24h"},
				"in other letter case": {"username": strings.ToUpper(alisim.DefaultUserName), "rotation_period": "24h"},
				"with its key":         {"username": alisim.DefaultUserName, "rotation_period": "24h", "access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret},
			} {
				m.refused(logical.UpdateOperation, "static-role/own", data, "the one that this mount works with")
				if t.Failed() {
					t.Log(given)
				}
			}
			m.unchanged(before)
		})
	}
}

// F4.2: a user that had a static role before the mount came to work with its key.
func attackStaticRoleBecomesTheMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := alisim.DefaultSeed()
		seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "later", Policies: []string{"AdministratorAccess"}})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "static-role/later", map[string]any{"username": "later", "rotation_period": "24h"})
		key := m.must(logical.ReadOperation, "static-cred/later", nil)
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": key.Data["access_key"], "secret_key": key.Data["secret_key"]})
		m.minutes(3 * 24 * 60)
		if _, err := m.request(logical.ReadOperation, "config/caller-identity", nil); err != nil {
			t.Errorf("the mount is locked out: %v", err)
		}
		if now := m.must(logical.ReadOperation, "static-cred/later", nil).Data["access_key"]; now != key.Data["access_key"] {
			t.Errorf("the key that the mount works with was rotated to %v", now)
		}
	})
}

// F4.12: the role that the mount works as is deleted and made again, as Terraform
// does. The session that the mount still has is refused for hours.
func attackMountsRoleMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), twoAccounts())
		m.must(logical.UpdateOperation, "config", map[string]any{
			"credential_type": "ram_role_arn", "role_arn": "acs:ram::" + alisim.DefaultAccountID + ":role/mount", "max_retries": 0,
		})
		for role, data := range map[string]map[string]any{
			"user":    {"inline_policies": "[" + allowOSS + "]"},
			"role":    {"inline_policies": "[" + allowOSS + "]", "credential_type": "ram_role"},
			"session": {"role_arn": alisim.DefaultRoleARN},
		} {
			m.must(logical.UpdateOperation, "role/"+role, data)
		}
		before := m.inventory()
		lease := m.must(logical.ReadOperation, "creds/user", nil)
		remade := func() {
			t.Helper()
			time.Sleep(time.Minute)
			m.admin("DetachPolicyFromRole", map[string]string{"RoleName": "mount", "PolicyName": "AdministratorAccess", "PolicyType": "System"})
			m.admin("DeleteRole", map[string]string{"RoleName": "mount"})
			m.admin("CreateRole", map[string]string{"RoleName": "mount", "AssumeRolePolicyDocument": string(alisim.TrustAccount(alisim.DefaultAccountID))})
			m.admin("AttachPolicyToRole", map[string]string{"RoleName": "mount", "PolicyName": "AdministratorAccess", "PolicyType": "System"})
			time.Sleep(time.Minute)
		}
		remade()
		if _, err := m.revokeLease(lease.Secret); err != nil {
			t.Errorf("a revocation: %v", err)
		}
		m.must(logical.ReadOperation, "config/caller-identity", nil)
		for _, role := range []string{"user", "role", "session"} {
			remade()
			resp := m.must(logical.ReadOperation, "creds/"+role, nil)
			remade()
			if _, err := m.revokeLease(resp.Secret); err != nil {
				t.Errorf("revoking %s: %v", role, err)
			}
		}
		after := m.inventory()
		if len(after.Users) != len(before.Users) || len(after.Roles) != len(before.Roles) || len(after.Policies) != len(before.Policies) {
			t.Errorf("RAM holds %+v, want no more than %+v", after, before)
		}
	})
}

// F4.19: who holds a lease that may ram:UpdateUser renames its user, and RAM answers
// the revocation that there is none of that name. It is removed under the other name.
func attackUserRenamesItself(t *testing.T) {
	for name, attack := range map[string]func(m *mount, user string, key [2]string){
		"once": func(*mount, string, [2]string) {},
		"and makes another user of its old name": func(m *mount, user string, _ [2]string) {
			m.admin("CreateUser", map[string]string{"UserName": user})
		},
		"and that user has a key": func(m *mount, user string, _ [2]string) {
			m.admin("CreateUser", map[string]string{"UserName": user})
			m.admin("CreateAccessKey", map[string]string{"UserName": user})
		},
		"and goes on with another key": func(m *mount, _ string, key [2]string) {
			m.admin("CreateAccessKey", map[string]string{"UserName": "renamed"})
			m.admin("DeleteAccessKey", map[string]string{"UserName": "renamed", "UserAccessKeyId": key[0]})
		},
		"and takes its mark off": func(m *mount, _ string, _ [2]string) {
			m.admin("UpdateUser", map[string]string{"UserName": "renamed", "NewComments": "nothing to see"})
		},
	} {
		for end, ended := range map[string]func(m *mount, lease *logical.Response){
			"revoked": func(m *mount, lease *logical.Response) {
				if _, err := m.revokeLease(lease.Secret); err != nil {
					m.t.Error(err)
				}
			},
			"not revoked": func(m *mount, _ *logical.Response) { m.minutes(26 * 60) },
			"revoked by force, and tidied": func(m *mount, _ *logical.Response) {
				time.Sleep(26 * time.Hour)
				m.must(logical.UpdateOperation, "tidy", nil)
			},
		} {
			t.Run(name+", "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
					m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
					before := m.inventory()
					lease := m.must(logical.ReadOperation, "creds/ci", nil)
					user, key := lease.Data["username"].(string), [2]string{lease.Data["access_key"].(string), lease.Data["secret_key"].(string)}
					m.admin("UpdateUser", map[string]string{"UserName": user, "NewUserName": "renamed"})
					attack(m, user, key)
					time.Sleep(time.Minute)
					if _, err := m.renewLease(lease.Secret); err != nil && !strings.Contains(err.Error(), "no longer exists") {
						t.Errorf("a renewal: %v", err)
					}
					ended(m, lease)
					m.unchanged(before)
				})
			})
		}
	}
}

// F4.19: a user that keeps to no name cannot hold a revocation up forever, nor is it
// believed gone.
func attackUserRenamesItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
		lease := m.must(logical.ReadOperation, "creds/ci", nil)
		time.Sleep(time.Minute)
		name, times := lease.Data["username"].(string), 0
		m.comeBetween(func(s step, effect func() error) error {
			if s.what == "DeleteAccessKey" {
				times++
				next := fmt.Sprintf("renamed-%d", times)
				m.admin("UpdateUser", map[string]string{"UserName": name, "NewUserName": next})
				name = next
			}
			return effect()
		})
		if _, err := m.revokeLease(lease.Secret); err == nil || !strings.Contains(err.Error(), "renamed again and again") || times > 5 {
			t.Errorf("after %d names: %v", times, err)
		}
		m.comeBetween(nil)
		before := m.inventory()
		if _, err := m.revokeLease(lease.Secret); err != nil || len(m.inventory().Users) != len(before.Users)-1 {
			t.Errorf("it is still there: %v", err)
		}
	})
}

// F4.19: the mount may not list users. That a user was deleted is believed then.
func attackUserThatCannotBeLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
		before := m.inventory()
		lease := m.must(logical.ReadOperation, "creds/ci", nil)
		user := lease.Data["username"].(string)
		m.admin("RemoveUserFromGroup", map[string]string{"UserName": user, "GroupName": "readers"})
		m.admin("DeleteAccessKey", map[string]string{"UserName": user, "UserAccessKeyId": lease.Data["access_key"].(string)})
		m.admin("DeleteUser", map[string]string{"UserName": user})
		time.Sleep(time.Minute)
		m.fault(alisim.Fault{Action: "ListUsers", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
		if _, err := m.revokeLease(lease.Secret); err != nil {
			t.Error(err)
		}
		m.unchanged(before)
	})
}

// F4.19: the user of a static role is renamed. Its key is not believed gone with the
// name when the role is deleted with its key.
func attackStaticUserRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
		key := m.must(logical.ReadOperation, "static-cred/app", nil).Data["access_key"].(string)
		m.admin("UpdateUser", map[string]string{"UserName": "app", "NewUserName": "renamed"})
		m.refused(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true}, "AccessKey "+key+" works, as acs:ram::"+alisim.DefaultAccountID+":user/renamed")
		m.admin("DeleteAccessKey", map[string]string{"UserName": "renamed", "UserAccessKeyId": key})
		m.must(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true})
	})
}
