package backend_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// spokeExternalID is what the trust policies of spokes ask for.
const spokeExternalID = "vault-of-the-hub"

// spoke is the id of one more account, counted from 1.
func spoke(n int) string { return fmt.Sprint(2000000000000000 + n) }

// spokeARN is the RAM role there that trusts the account of the mount.
func spokeARN(n int) string { return "acs:ram::" + spoke(n) + ":role/vault" }

// spokeKey is that of an administrator there.
func spokeKey(n int) [2]string { return [2]string{"LTAI5tSPOKE" + spoke(n), "secret-of-" + spoke(n)} }

// trustOfSpoke lets the account of the mount in, with the external id.
func trustOfSpoke() string {
	return strings.Replace(string(alisim.TrustAccount(alisim.DefaultAccountID)), `"Principal"`,
		`"Condition":{"StringEquals":{"sts:ExternalId":"`+spokeExternalID+`"}},"Principal"`, 1)
}

// withSpokes is the default seed with further accounts, in which the mount can work.
func withSpokes(n int) alisim.Seed {
	seed := alisim.DefaultSeed()
	for n := range n {
		seed.Accounts = append(seed.Accounts, alisim.Account{
			ID:     spoke(n + 1),
			Groups: []alisim.Group{{Name: "readers", Policies: []string{"ReadOnlyAccess"}}},
			Users: []alisim.User{{
				Name: "admin", Policies: []string{"AdministratorAccess"},
				AccessKeys: []alisim.AccessKey{{ID: spokeKey(n + 1)[0], Secret: spokeKey(n + 1)[1]}},
			}},
			Roles: []alisim.Role{{Name: "vault", TrustPolicy: alisim.Document(trustOfSpoke()), Policies: []string{"AdministratorAccess"}}},
		})
	}
	return seed
}

// inSpoke are the fields of a role that makes its users or roles there.
func inSpoke(n int, fields map[string]any) map[string]any {
	with := map[string]any{"assume_role_arn": spokeARN(n), "assume_role_external_id": spokeExternalID}
	for name, value := range fields {
		with[name] = value
	}
	return with
}

// madeIn are the RAM users and roles of leases in an account.
func (m *mount) madeIn(account string) (names []string) {
	inventory := m.sim.Inventory()
	for _, u := range inventory.Users {
		if u.AccountID == account && strings.HasPrefix(u.Name, "vault-") {
			names = append(names, u.Name)
		}
	}
	for _, r := range inventory.Roles {
		if r.AccountID == account && strings.HasPrefix(r.Name, "vault-") {
			names = append(names, r.Name)
		}
	}
	for _, p := range inventory.Policies {
		if p.AccountID == account && strings.HasPrefix(p.Name, "vault-") {
			names = append(names, p.Name)
		}
	}
	return names
}

// A lease is made in the account of assume_role_arn, and removed there, whatever has
// become of the role of the engine.
func TestLeaseInAnotherAccount(t *testing.T) {
	t.Parallel()
	oneDocument := "[" + allowOSS + "]"
	for name, fields := range map[string]map[string]any{
		"ram_user": {"inline_policies": oneDocument, "remote_policies": system, "ram_groups": "readers", "ttl": "30m", "max_ttl": "1h"},
		"ram_role": {"credential_type": "ram_role", "inline_policies": oneDocument, "ttl": "30m"},
	} {
		for then, change := range map[string]func(m *mount){
			"the same":           func(*mount) {},
			"in another account": func(m *mount) { m.must(logical.UpdateOperation, "role/ci", inSpoke(2, fields)) },
			"in its own account": func(m *mount) {
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"assume_role_arn": "", "assume_role_external_id": ""})
			},
			"deleted": func(m *mount) { m.must(logical.DeleteOperation, "role/ci", nil) },
			"deleted, and the process another": func(m *mount) {
				m.must(logical.DeleteOperation, "role/ci", nil)
				m.restart()
			},
		} {
			t.Run(name+", the role is then "+then, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(2))
					m.must(logical.UpdateOperation, "role/ci", inSpoke(1, fields))
					lease := m.must(logical.ReadOperation, "creds/ci", nil)
					if made, elsewhere := m.madeIn(spoke(1)), m.madeIn(alisim.DefaultAccountID); len(made) != 2 || len(elsewhere) != 0 {
						t.Fatalf("made %v there and %v here", made, elsewhere)
					}
					if got := m.sim.Authorize(lease.Data["access_key"].(string), "oss:GetObject", "acs:oss:*:*:bucket/key"); got != "Allow" {
						t.Errorf("the credentials are refused: %s", got)
					}
					time.Sleep(2 * time.Minute)
					change(m)
					if name == "ram_user" && !strings.Contains(then, "deleted") {
						if resp, err := m.renewLease(lease.Secret); err != nil || resp.IsError() {
							t.Errorf("renewal: %v %v", resp, err)
						}
					}
					if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
						t.Fatalf("revocation: %v %v", resp, err)
					}
					if left := slices.Concat(m.madeIn(spoke(1)), m.madeIn(spoke(2)), m.madeIn(alisim.DefaultAccountID)); len(left) != 0 {
						t.Errorf("left %v", left)
					}
				})
			})
		}
	}
}

// Where the mount may no longer assume the role of the account, a revocation says
// which role that is and what it needs, and is repeated. It never takes for gone what
// it has not seen.
func TestAccountThatIsClosedToTheMount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
		m.must(logical.UpdateOperation, "role/ci", inSpoke(1, sharing))
		lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		trust := func(document string) {
			t.Helper()
			if err := m.callAs(spokeKey(1), "UpdateRole", map[string]string{"RoleName": "vault", "NewAssumeRolePolicyDocument": document}, nil); err != nil {
				t.Fatal(err)
			}
		}
		trust(string(alisim.TrustAccount(spoke(1))))
		m.restart() // with no session
		_, err := m.revokeLease(lease)
		if err == nil {
			t.Fatal("the lease is taken for revoked")
		}
		for _, want := range []string{spokeARN(1), "acs:ram::" + alisim.DefaultAccountID + ":user/vault", "trust policy", "assume_role_external_id"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		m.refused(logical.ReadOperation, "creds/ci", nil, spokeARN(1))
		identity := m.must(logical.ReadOperation, "config/caller-identity", nil).Data
		if told := fmt.Sprint(identity["account_failure"]); !strings.Contains(told, spokeARN(1)) {
			t.Errorf("account_failure: %s", told)
		}
		trust(trustOfSpoke())
		time.Sleep(time.Minute) // refusals are remembered for half of one
		if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
			t.Fatalf("revocation: %v %v", resp, err)
		}
		if left := m.madeIn(spoke(1)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// A session of the account that is refused is asked for anew.
func TestAccountSessionThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
		m.must(logical.UpdateOperation, "role/ci", inSpoke(1, perLease))
		first := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		for action, params := range map[string]map[string]string{
			"DetachPolicyFromRole": {"RoleName": "vault", "PolicyName": "AdministratorAccess", "PolicyType": "System"},
		} {
			if err := m.callAs(spokeKey(1), action, params, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, call := range []struct {
			action string
			params map[string]string
		}{
			{"DeleteRole", map[string]string{"RoleName": "vault"}},
			{"CreateRole", map[string]string{"RoleName": "vault", "AssumeRolePolicyDocument": trustOfSpoke()}},
			{"AttachPolicyToRole", map[string]string{"RoleName": "vault", "PolicyName": "AdministratorAccess", "PolicyType": "System"}},
		} {
			if err := m.callAs(spokeKey(1), call.action, call.params, nil); err != nil {
				t.Fatal(err)
			}
		}
		second := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		time.Sleep(2 * time.Minute)
		for _, lease := range []*logical.Secret{first, second} {
			if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
				t.Fatalf("revocation: %v %v", resp, err)
			}
		}
		if left := m.madeIn(spoke(1)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

func TestAccountRoleIsRefusedAtTheWrite(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct {
		fields map[string]any
		says   string
	}{
		{map[string]any{"assume_role_arn": "vault"}, "it is a name alone"},
		{map[string]any{"assume_role_arn": "acs:ram::2000000000000001:user/vault"}, "it is a RAM user"},
		{map[string]any{"assume_role_arn": "acs:ram::2000000000000001:assumed-role/vault/session"}, "it is a session"},
		{map[string]any{"assume_role_arn": "arn:aws:iam::1:role/vault"}, "it is an ARN of AWS"},
		{map[string]any{"assume_role_external_id": "vault-of-the-hub"}, "give that too"},
		{map[string]any{"assume_role_arn": spokeARN(1), "assume_role_external_id": "x"}, "2 to 1224 letters"},
		{map[string]any{"role_arn": alisim.DefaultRoleARN, "assume_role_arn": spokeARN(1)}, "may be a RAM role of any account"},
		{map[string]any{"role_arn": alisim.DefaultRoleARN, "assume_role_external_id": "vault-of-the-hub", "assume_role_arn": ""}, "there it is external_id"},
	} {
		fields := map[string]any{}
		if tc.fields["role_arn"] == nil {
			fields["remote_policies"] = system
		}
		for name, value := range tc.fields {
			fields[name] = value
		}
		m.refused(logical.UpdateOperation, "role/ci", fields, tc.says)
	}
}

// Users of one name in several accounts are several users: each has a static role, is
// rotated there, and stays where it was found.
func TestStaticRolesInOtherAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(2)
		for n := range seed.Accounts {
			seed.Accounts[n].Users = append(seed.Accounts[n].Users, alisim.User{Name: "app"})
		}
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
			Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		own := "acs:ram::" + alisim.DefaultAccountID + ":role/vault"
		m.must(logical.UpdateOperation, "static-role/hub", map[string]any{"username": "app", "rotation_period": "1h"})
		for n := range 2 {
			m.must(logical.UpdateOperation, fmt.Sprint("static-role/spoke", n+1), inSpoke(n+1, map[string]any{"username": "app", "rotation_period": "1h"}))
		}
		m.refused(logical.UpdateOperation, "static-role/again", inSpoke(1, map[string]any{"username": "APP", "rotation_period": "1h"}), "belongs to static-role/spoke1 already")
		m.refused(logical.UpdateOperation, "static-role/again", map[string]any{"username": "app", "rotation_period": "1h", "assume_role_arn": own}, "belongs to static-role/hub already")
		m.refused(logical.UpdateOperation, "static-role/self", map[string]any{"username": "vault", "rotation_period": "1h", "assume_role_arn": own}, "is the one that this mount works with")
		m.refused(logical.UpdateOperation, "static-role/none", inSpoke(1, map[string]any{"username": "nobody", "rotation_period": "1h"}), "does not exist in account "+spoke(1))
		m.refused(logical.UpdateOperation, "static-role/spoke1", inSpoke(2, nil), "delete the static role and create another")
		m.refused(logical.UpdateOperation, "static-role/spoke1", map[string]any{"assume_role_external_id": "x"}, "2 to 1224 letters")
		m.refused(logical.UpdateOperation, "static-role/spoke1", map[string]any{"assume_role_arn": ""}, "give that too")

		first := map[string]any{}
		keysIn := func(account string) (ids []string) {
			for _, u := range m.sim.Inventory().Users {
				if u.AccountID == account && u.Name == "app" {
					for _, k := range u.AccessKeys {
						ids = append(ids, k.ID)
					}
				}
			}
			return ids
		}
		accounts := map[string]string{"hub": alisim.DefaultAccountID, "spoke1": spoke(1), "spoke2": spoke(2)}
		for name, account := range accounts {
			first[name] = m.staticCred(name).Data["access_key"]
			if !slices.Contains(keysIn(account), first[name].(string)) {
				t.Errorf("%s: its key is not one of account %s", name, account)
			}
		}
		m.restart()
		m.minutes(62)
		for name, account := range accounts {
			key := m.staticCred(name).Data["access_key"]
			if key == first[name] || !slices.Contains(keysIn(account), key.(string)) {
				t.Errorf("%s: rotated from %v to %v, account %s has %v", name, first[name], key, account, keysIn(account))
			}
		}
		m.must(logical.DeleteOperation, "static-role/spoke1", map[string]any{"remove_key": true})
		if left := keysIn(spoke(1)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// A static role that has lost its way to its account says which field it wants.
func TestStaticRoleThatHasLostItsAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(1)
		seed.Accounts[1].Users = append(seed.Accounts[1].Users, alisim.User{Name: "app"})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "static-role/app", inSpoke(1, map[string]any{"username": "app", "rotation_period": "1h"}))
		key := m.staticCred("app").Data["access_key"]
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"assume_role_arn": "", "assume_role_external_id": ""})
		m.minutes(61)
		const fix = "assume_role_arn=acs:ram::2000000000000001:role/<name>"
		if why := fmt.Sprint(m.must(logical.ReadOperation, "static-role/app", nil).Data["rotation_failure"]); !strings.Contains(why, fix) {
			t.Errorf("rotation_failure %q names no field", why)
		}
		m.refused(logical.UpdateOperation, "rotate-role/app", nil, fix)
		m.must(logical.UpdateOperation, "static-role/app", inSpoke(1, nil))
		m.must(logical.UpdateOperation, "rotate-role/app", nil)
		if m.staticCred("app").Data["access_key"] == key {
			t.Error("not rotated with the field")
		}
	})
}

// What leases stood for that are over goes in each account apart. One that is closed
// to the mount is asked for less and less often, and holds up no other.
func TestEndedLeasesInManyAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(3))
		const each = 15
		for n := range 3 {
			m.must(logical.UpdateOperation, fmt.Sprint("role/ci", n+1), inSpoke(n+1, map[string]any{"remote_policies": system, "ttl": "10m", "max_ttl": "10m"}))
			for range each {
				m.must(logical.ReadOperation, fmt.Sprint("creds/ci", n+1), nil)
			}
		}
		trust := func(document string) {
			t.Helper()
			if err := m.callAs(spokeKey(1), "UpdateRole", map[string]string{"RoleName": "vault", "NewAssumeRolePolicyDocument": document}, nil); err != nil {
				t.Fatal(err)
			}
		}
		trust(string(alisim.TrustAccount(spoke(1))))
		m.restart()
		m.minutes(18) // and Vault revokes nothing
		if left := slices.Concat(m.madeIn(spoke(2)), m.madeIn(spoke(3))); len(left) != 0 {
			t.Errorf("%d are left in accounts that are open", len(left))
		}
		assumed := func() (calls int) {
			for _, call := range m.sim.Journal() {
				if call.Action == "AssumeRole" && call.Params["RoleArn"] == spokeARN(1) {
					calls++
				}
			}
			return calls
		}
		before := assumed()
		m.minutes(6 * 60)
		if calls, left := assumed()-before, len(m.madeIn(spoke(1))); calls < 5 || calls > 12 || left != each {
			t.Errorf("asked %d times in six hours for a role that is closed, %d of %d are left", calls, left, each)
		}
		trust(trustOfSpoke())
		m.minutes(65)
		if left := m.madeIn(spoke(1)); len(left) != 0 {
			t.Errorf("an hour after the account was opened again %d are left", len(left))
		}
	})
}

// A role that becomes one of sessions keeps assume_role_arn in storage, without an
// effect, until it is one again that has a use for it.
func TestAccountRoleWithoutUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
		m.must(logical.UpdateOperation, "role/ci", inSpoke(1, map[string]any{"remote_policies": system, "ttl": "1h"}))
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": "", "role_arn": alisim.DefaultRoleARN})
		since := len(m.sim.Journal())
		m.must(logical.ReadOperation, "creds/ci", nil)
		if found := m.must(logical.ReadOperation, "role/ci/check", nil).Data; found["assume_policy"] != nil {
			t.Errorf("check: %v", found)
		}
		for _, call := range m.sim.Journal()[since:] {
			if call.Action == "AssumeRole" && call.Params["RoleArn"] != alisim.DefaultRoleARN {
				t.Errorf("%s asked for a session of %s", call.Principal, call.Params["RoleArn"])
			}
		}
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": system, "role_arn": ""})
		m.must(logical.ReadOperation, "creds/ci", nil)
		if made := m.madeIn(spoke(1)); len(made) != 1 {
			t.Errorf("made %v there", made)
		}
	})
}

// A lease that was over for long is given up where the account has refused the mount for
// a day, and not for an outage or for what is wrong with the mount.
func TestEndedLeaseIsGivenUpForARefusalThatLasts(t *testing.T) {
	t.Parallel()
	const aDay = 26 * 60 // minutes, so that the next try is within
	closed := alisim.Fault{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}
	for name, tc := range map[string]struct {
		fault   alisim.Fault
		minutes int
		left    int
	}{
		"no answer":           {alisim.Fault{Kind: alisim.FaultDrop}, aDay, 0},
		"throttled":           {alisim.Fault{Kind: alisim.FaultThrottle}, aDay, 0},
		"out of order":        {alisim.Fault{Kind: alisim.FaultError500}, aDay, 0},
		"own key refused":     {alisim.Fault{Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.Inactive", Status: 403}, aDay, 0},
		"own clock wrong":     {alisim.Fault{Kind: alisim.FaultRefuse, Code: "InvalidTimeStamp.Expired", Status: 400}, aDay, 0},
		"closed for a moment": {closed, 2, 0},
		"closed for hours":    {closed, 20 * 60, 0},
		"closed":              {closed, aDay, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
				m.must(logical.UpdateOperation, "role/ci", inSpoke(1, map[string]any{"remote_policies": system, "ttl": "10m", "max_ttl": "10m"}))
				m.must(logical.ReadOperation, "creds/ci", nil)
				time.Sleep(8 * 24 * time.Hour) // and nothing runs
				m.restart()
				tc.fault.Action = "AssumeRole"
				m.fault(tc.fault)
				m.minutes(tc.minutes)
				m.sim.ClearFaults()
				m.minutes(65) // the longest pause
				if left := m.madeIn(spoke(1)); len(left) != tc.left {
					t.Errorf("left %v", left)
				}
			})
		})
	}
}

// The same where the credentials of config are of another account meanwhile.
func TestEndedLeaseIsGivenUpForAnotherAccountThatLasts(t *testing.T) {
	t.Parallel()
	for minutes, left := range map[int]int{2: 0, 20 * 60: 0, 25 * 60: 1} {
		t.Run(fmt.Sprint(minutes, " minutes"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), twoAccounts())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "ttl": "10m", "max_ttl": "10m"})
				m.must(logical.ReadOperation, "creds/ci", nil)
				time.Sleep(8 * 24 * time.Hour) // and nothing runs
				m.restart()
				m.must(logical.UpdateOperation, "config", map[string]any{"access_key": otherKey, "secret_key": otherSecret})
				m.minutes(minutes)
				m.must(logical.UpdateOperation, "config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
				m.minutes(10)
				if made := m.madeIn(alisim.DefaultAccountID); len(made) != left {
					t.Errorf("left %v", made)
				}
			})
		})
	}
}

// A RAM role that cannot be assumed holds up no leases that were made as another one
// of the same account.
func TestEndedLeasesOfAnotherRoleOfAnAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(1)
		open := seed.Accounts[1].Roles[0]
		open.Name = "open"
		seed.Accounts[1].Roles = append(seed.Accounts[1].Roles, open)
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		const each = 40
		made := map[string]bool{} // as the role that stays open
		for name, fields := range map[string]map[string]any{"closed": {}, "open": {"assume_role_arn": "acs:ram::" + spoke(1) + ":role/open"}} {
			fields["remote_policies"], fields["ttl"], fields["max_ttl"] = system, "10m", "10m"
			m.must(logical.UpdateOperation, "role/"+name, inSpoke(1, fields))
			for range each {
				made[m.must(logical.ReadOperation, "creds/"+name, nil).Data["username"].(string)] = name == "open"
			}
		}
		if err := m.callAs(spokeKey(1), "UpdateRole", map[string]string{"RoleName": "vault", "NewAssumeRolePolicyDocument": string(alisim.TrustAccount(spoke(1)))}, nil); err != nil {
			t.Fatal(err)
		}
		m.restart()
		m.minutes(20) // and Vault revokes nothing
		left := m.madeIn(spoke(1))
		if slices.ContainsFunc(left, func(name string) bool { return made[name] }) || len(left) != each {
			t.Errorf("%d are left, %d of them of the role that is closed", len(left), each)
		}
	})
}

// Vault offers unfinished issues one after the other, for a minute and a half. Those of
// accounts that do not answer leave the others their turn, and go once these answer.
func TestRollbackInManyAccounts(t *testing.T) {
	t.Parallel()
	const own = 0 // the mount's own account
	for name, tc := range map[string]struct {
		fault      alisim.Fault
		unfinished map[int]int // by spoke
		silent     []int       // spokes
	}{
		"no answer from one":          {alisim.Fault{Kind: alisim.FaultDelay, Delay: time.Hour}, map[int]int{1: 12, 2: 3}, []int{1}},
		"no answer from the mount's":  {alisim.Fault{Kind: alisim.FaultDelay, Delay: time.Hour}, map[int]int{own: 12, 2: 3}, []int{own}},
		"one throttled":               {alisim.Fault{Kind: alisim.FaultThrottle}, map[int]int{1: 12, 2: 3}, []int{1}},
		"no answer from most of them": {alisim.Fault{Kind: alisim.FaultDelay, Delay: time.Hour}, map[int]int{1: 1, 2: 3, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}, []int{1, 3, 4, 5, 6, 7, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(8))
				m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 3})
				account := func(n int) string {
					if n == own {
						return alisim.DefaultAccountID
					}
					return spoke(n)
				}
				waiting := 0
				for n, unfinished := range tc.unfinished {
					fields := map[string]any{"remote_policies": system, "ttl": "24h", "max_ttl": "24h", "assume_role_arn": "", "assume_role_external_id": ""}
					if n != own {
						fields["assume_role_arn"], fields["assume_role_external_id"] = spokeARN(n), spokeExternalID
					}
					m.must(logical.UpdateOperation, "role/ci", fields)
					m.must(logical.ReadOperation, "creds/ci", nil) // so that the session is there
					m.comeBetween(func(s step, effect func() error) error {
						if s.what == "AttachPolicyToUser" || s.what == "DeleteAccessKey" || s.what == "DeleteUser" {
							return errDisk
						}
						return effect()
					})
					for range unfinished {
						_, _ = m.request(logical.ReadOperation, "creds/ci", nil)
					}
					m.comeBetween(nil)
					waiting += unfinished
				}
				if got := m.walEntries(); got != waiting {
					t.Fatalf("%d issues are unfinished, want %d", got, waiting)
				}
				for _, n := range tc.silent {
					fault := tc.fault
					fault.Account = account(n)
					m.fault(fault)
				}
				ticks := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Minute) {
						limited, cancel := context.WithTimeout(t.Context(), 90*time.Second) // as Vault has it
						_, _ = m.HandleRequest(limited, &logical.Request{Operation: logical.RollbackOperation})
						cancel()
					}
				}
				time.Sleep(6 * time.Minute)
				ticks(45 * time.Minute)
				if left := m.madeIn(account(2)); len(left) != 1 {
					t.Errorf("%d of 3 unfinished issues are left in an account that is well", len(left)-1)
				}
				if got := m.walEntries(); got != waiting-3 {
					t.Errorf("%d are to be rolled back, want the %d of those that do not answer", got, waiting-3)
				}
				m.sim.ClearFaults()
				ticks(70 * time.Minute)
				if got := m.walEntries(); got != 0 {
					t.Errorf("%d are to be rolled back an hour after all answer", got)
				}
				for n := range tc.unfinished {
					if left := m.madeIn(account(n)); len(left) != 1 {
						t.Errorf("%d users are left in %s", len(left)-1, account(n))
					}
				}
			})
		})
	}
}

// A throttled account slows down its own rotations, and a slow one takes few places.
func TestRotationsInManyAccounts(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]alisim.Fault{
		"throttled": {Kind: alisim.FaultThrottle, Account: spoke(1)},
		"slow":      {Kind: alisim.FaultDelay, Account: spoke(1), Delay: 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				seed := withSpokes(2)
				const each = 16
				for n := range 2 {
					for i := range each {
						seed.Accounts[n+1].Users = append(seed.Accounts[n+1].Users, alisim.User{Name: fmt.Sprint("app", i)})
					}
				}
				m := newTimedMount(t, alisim.DefaultSettings(), seed)
				keys := map[string]any{}
				for n := range 2 {
					for i := range each {
						name := fmt.Sprint("spoke", n+1, "-", i)
						m.must(logical.UpdateOperation, "static-role/"+name, inSpoke(n+1, map[string]any{"username": fmt.Sprint("app", i), "rotation_period": "1h"}))
						keys[name] = m.staticCred(name).Data["access_key"]
					}
				}
				m.fault(fault)
				since := len(m.sim.Journal())
				m.minutes(62)
				var first, last time.Time // of the account that is well
				made := map[string]int{}
				for _, call := range m.sim.Journal()[since:] {
					if call.Action != "CreateAccessKey" {
						continue
					}
					if first.IsZero() {
						first = call.Time
					}
					if strings.Contains(call.Principal, spoke(2)) {
						last = call.Time
						made[spoke(2)]++
					}
				}
				if took := last.Sub(first); made[spoke(2)] != each || took > 15*time.Second {
					t.Errorf("the other account took %s for %d of %d new keys", took, made[spoke(2)], each)
				}
				m.sim.ClearFaults()
				m.minutes(12)
				for name, key := range keys {
					if m.staticCred(name).Data["access_key"] == key {
						t.Errorf("%s was not rotated when all was well again", name)
					}
				}
			})
		})
	}
}

// Of the eight rotations that run at a time six at most are in one account, whatever
// waits there, and however many tries it takes.
func TestRotationsAtATimeInOneAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(1)
		const roles = 12
		for i := range roles {
			seed.Accounts[1].Users = append(seed.Accounts[1].Users, alisim.User{Name: fmt.Sprint("app", i)})
		}
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		for i := range roles {
			m.must(logical.UpdateOperation, fmt.Sprint("static-role/app", i), inSpoke(1, map[string]any{"username": fmt.Sprint("app", i), "rotation_period": "1h"}))
		}
		time.Sleep(time.Hour)
		var mu sync.Mutex
		var now, most int
		m.comeBetween(func(s step, effect func() error) error {
			if s.what != "CreateAccessKey" { // once in a rotation
				return effect()
			}
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(3 * time.Second)
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				now--
			}()
			return effect()
		})
		m.minutes(1)
		if most != 6 {
			t.Errorf("%d rotations at a time in one account, want 6", most)
		}
		if made := len(m.callsAt("CreateAccessKey")); made != 2*roles {
			t.Errorf("%d new keys, want %d", made-roles, roles)
		}
	})
}

// A policy is removed when RAM says so, and not when the way to its account is gone.
func TestTidyWhereTheAccountRoleGoesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
		for n, document := range []string{allowOSS, allowECS} {
			role := fmt.Sprint("ci", n)
			m.must(logical.UpdateOperation, "role/"+role, inSpoke(1, map[string]any{"inline_policies": "[" + document + "]", "ttl": "30m", "max_ttl": "1h"}))
			lease := m.must(logical.ReadOperation, "creds/"+role, nil)
			m.forget(lease.Secret) // vault lease revoke -force
			user := lease.Data["username"].(string)
			for _, p := range m.madeIn(spoke(1)) {
				_ = m.callAs(spokeKey(1), "DetachPolicyFromUser", map[string]string{"UserName": user, "PolicyName": p, "PolicyType": "Custom"}, nil)
			}
			if err := m.callAs(spokeKey(1), "DeleteAccessKey", map[string]string{"UserName": user, "UserAccessKeyId": lease.Data["access_key"].(string)}, nil); err != nil {
				t.Fatal(err)
			}
			if err := m.callAs(spokeKey(1), "DeleteUser", map[string]string{"UserName": user}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Hour) // with no tick: what the index has is not removed in the background
		policies := m.madeIn(spoke(1))
		if len(policies) != 2 {
			t.Fatalf("left %v", policies)
		}
		m.comeBetween(func(s step, effect func() error) error {
			if s.what == "DeletePolicy" {
				_ = m.callAs(spokeKey(1), "DetachPolicyFromRole", map[string]string{"RoleName": "vault", "PolicyName": "AdministratorAccess", "PolicyType": "System"}, nil)
				_ = m.callAs(spokeKey(1), "DeleteRole", map[string]string{"RoleName": "vault"}, nil)
			}
			return effect()
		})
		got := m.must(logical.UpdateOperation, "tidy", nil)
		if failed, left := got.Data["failed"].([]any), m.madeIn(spoke(1)); len(failed) != len(left) || len(left) != 2 {
			t.Errorf("%d policies are left, and failed is %v", len(left), failed)
		}
	})
}

// Tidy looks in each account that is known, and says which one it could not look at.
func TestTidyInManyAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(4))
		oneDocument := map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "30m", "max_ttl": "1h"}
		var left []string
		for n := 1; n <= 3; n++ {
			role := fmt.Sprint("ci", n)
			m.must(logical.UpdateOperation, "role/"+role, inSpoke(n, oneDocument))
			m.forget(m.must(logical.ReadOperation, "creds/"+role, nil).Secret) // vault lease revoke -force
			live := m.must(logical.ReadOperation, "creds/"+role, nil)          // until its end, which is not seen
			_ = live
		}
		m.must(logical.UpdateOperation, "role/own", oneDocument)
		m.must(logical.ReadOperation, "creds/own", nil)
		m.must(logical.DeleteOperation, "role/ci2", nil) // the index knows the account
		m.must(logical.UpdateOperation, "role/ci4", inSpoke(4, oneDocument))
		if err := m.callAs(spokeKey(3), "UpdateRole", map[string]string{"RoleName": "vault", "NewAssumeRolePolicyDocument": string(alisim.TrustAccount(spoke(3)))}, nil); err != nil {
			t.Fatal(err)
		}
		m.restart()
		time.Sleep(3 * time.Hour) // with no tick: what the index has is not removed in the background
		for n := range 4 {
			left = append(left, m.madeIn(spoke(n+1))...)
		}
		if len(left) != 3*3 {
			t.Fatalf("made %v", left)
		}
		for _, dry := range []bool{true, false} {
			got := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": dry})
			users, policies, failed, accounts := fmt.Sprint(got.Data["users"]), fmt.Sprint(got.Data["policies"]), fmt.Sprint(got.Data["failed"]), fmt.Sprint(got.Data["accounts"])
			for n := 1; n <= 2; n++ {
				if strings.Count(users, "acs:ram::"+spoke(n)+":user/vault-") != 2 || strings.Count(policies, "acs:ram::"+spoke(n)+":policy/vault-") != 1 {
					t.Errorf("dry %t: account %s: %s %s", dry, spoke(n), users, policies)
				}
			}
			if strings.Count(users, "vault-") != 2*2+1 || strings.Contains(users, spoke(3)) {
				t.Errorf("dry %t: %s", dry, users)
			}
			if len(got.Data["failed"].([]any)) != 1 || !strings.Contains(failed, "account "+spoke(3)+" was not looked at") || !strings.Contains(failed, "trust policy") {
				t.Errorf("dry %t: failed %s", dry, failed)
			}
			if accounts != fmt.Sprint([]string{alisim.DefaultAccountID, spoke(1), spoke(2), spoke(4)}) {
				t.Errorf("dry %t: accounts %s", dry, accounts)
			}
		}
		if left := slices.Concat(m.madeIn(spoke(1)), m.madeIn(spoke(2)), m.madeIn(spoke(4)), m.madeIn(alisim.DefaultAccountID)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// The check of a role in another account tries whether the mount gets there, and prints
// the policies of both sides. With them, and nothing else, its leases work.
func TestCheckOfARoleInAnotherAccount(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{"ram_user": sharing, "ram_role": ramRole} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				toThePresent()
				seed := withSpokes(1)
				least := alisim.AccessKey{ID: leastKey[0], Secret: leastKey[1]}
				seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "least", AccessKeys: []alisim.AccessKey{least}})
				seed.Accounts[1].Roles[0] = alisim.Role{Name: "vault", TrustPolicy: alisim.TrustAccount(spoke(1))}
				m := newTimedMount(t, alisim.DefaultSettings(), seed)
				m.must(logical.UpdateOperation, "config", map[string]any{"access_key": least.ID, "secret_key": least.Secret})
				m.asksForQuotas()
				m.must(logical.UpdateOperation, "role/ci", inSpoke(1, fields))
				found := m.must(logical.ReadOperation, "role/ci/check", nil).Data
				if report := fmt.Sprint(found["report"]); found["result"] != "no" || found["principal"] != leastARN || !strings.Contains(report, "no: sts:AssumeRole on "+spokeARN(1)+" (everything)") {
					t.Fatalf("closed: %v", found)
				}
				give := func(key [2]string, document any, attach map[string]string) {
					t.Helper()
					if err := m.callAs(key, "CreatePolicy", map[string]string{"PolicyName": "least", "PolicyDocument": document.(string)}, nil); err != nil {
						t.Fatal(err)
					}
					action := "AttachPolicyToUser"
					if attach["RoleName"] != "" {
						action = "AttachPolicyToRole"
					}
					attach["PolicyName"], attach["PolicyType"] = "least", "Custom"
					if err := m.callAs(key, action, attach, nil); err != nil {
						t.Fatal(err)
					}
				}
				give(adminKey, found["assume_policy"], map[string]string{"UserName": "least"})
				give(spokeKey(1), found["policy"], map[string]string{"RoleName": "vault"})
				if err := m.callAs(spokeKey(1), "UpdateRole", map[string]string{"RoleName": "vault", "NewAssumeRolePolicyDocument": found["trust_policy"].(string)}, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute) // refusals are remembered
				found = m.must(logical.ReadOperation, "role/ci/check", nil).Data
				if report := fmt.Sprint(found["report"]); found["result"] == "no" || !strings.Contains(report, "no: ram:GetAccountSummary (quotas)") || !strings.Contains(report, "yes: sts:AssumeRole on "+spokeARN(1)) {
					t.Errorf("open: %s", report)
				}
				lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				time.Sleep(2 * time.Minute)
				if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
					t.Fatalf("revocation: %v %v", resp, err)
				}
				if left := m.madeIn(spoke(1)); len(left) != 0 {
					t.Errorf("left %v", left)
				}
			})
		})
	}
}

// A new principal of the mount reaches what is out in other accounts if it may assume
// the same roles, and a write of config says so.
func TestAnotherPrincipalAndOtherAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(1)
		seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{
			Name: "next", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: leastKey[0], Secret: leastKey[1]}},
		})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "role/ci", inSpoke(1, sharing))
		lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		m.refused(logical.DeleteOperation, "config", nil, "1 RAM users and roles of leases")
		next := map[string]any{"access_key": leastKey[0], "secret_key": leastKey[1], "verify": true}
		warnings := strings.Join(m.must(logical.UpdateOperation, "config", next).Warnings, "\n")
		if !strings.Contains(warnings, "1 RAM users and roles of leases and 0 static roles are in account "+spoke(1)) || strings.Contains(warnings, "can be neither revoked") {
			t.Errorf("warnings %s", warnings)
		}
		time.Sleep(2 * time.Minute)
		if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
			t.Fatalf("revocation: %v %v", resp, err)
		}
	})
}

// It is not known whether STS caps sessions that are asked for with a session. Where
// it does, the lease is as long as it says, and the answer tells.
func TestRAMRoleOfACappedSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(1))
		m.must(logical.UpdateOperation, "role/ci", inSpoke(1, map[string]any{"credential_type": "ram_role", "remote_policies": system, "ttl": "4h"}))
		long := m.must(logical.ReadOperation, "creds/ci", nil)
		if long.Secret.TTL != 4*time.Hour || len(long.Warnings) != 0 {
			t.Errorf("%s, %v", long.Secret.TTL, long.Warnings)
		}
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Account: spoke(1), Action: "AssumeRole", Code: "InvalidParameter.DurationSeconds", Status: 400, Count: 1})
		short := m.must(logical.ReadOperation, "creds/ci", nil)
		if short.Secret.TTL > time.Hour || len(short.Warnings) != 1 || !strings.Contains(short.Warnings[0], "this one lasts 1h0m0s") {
			t.Errorf("%s, %v", short.Secret.TTL, short.Warnings)
		}
		time.Sleep(2 * time.Minute)
		for _, lease := range []*logical.Secret{long.Secret, short.Secret} {
			if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
				t.Fatalf("revocation: %v %v", resp, err)
			}
		}
		if left := m.madeIn(spoke(1)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// The accounts that the mount is ready to work in are bounded. One that made room is
// entered anew, and what was made there is removed.
func TestMoreAccountsThanAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const accounts = 503 // three more than are kept
		m := newTimedMount(t, alisim.DefaultSettings(), withSpokes(accounts))
		leases := make([]*logical.Secret, accounts)
		for n := range accounts {
			m.must(logical.UpdateOperation, "role/ci", inSpoke(n+1, map[string]any{"remote_policies": system, "ttl": "1h"}))
			leases[n] = m.must(logical.ReadOperation, "creds/ci", nil).Secret
			time.Sleep(time.Second / 10)
		}
		sessions := func(n int) (started int) {
			for _, s := range m.sim.Inventory().Sessions {
				if s.RoleARN == spokeARN(n) {
					started++
				}
			}
			return started
		}
		time.Sleep(2 * time.Minute)
		for _, n := range []int{accounts, 1} {
			if resp, err := m.revokeLease(leases[n-1]); err != nil || resp.IsError() {
				t.Fatalf("revocation: %v %v", resp, err)
			}
			if left := m.madeIn(spoke(n)); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		}
		if first, last := sessions(1), sessions(accounts); first != 2 || last != 1 {
			t.Errorf("%d sessions in the account that made room, %d in the last", first, last)
		}
	})
}
