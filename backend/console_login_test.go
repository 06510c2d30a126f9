package backend_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// withLogin is a role whose users sign in to the console.
func withLogin(more map[string]any) map[string]any {
	role := map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "30m", "console_login": true}
	maps.Copy(role, more)
	return role
}

// signIn tells what the sign-in page makes of an answer.
func (m *mount) signIn(resp *logical.Response) string {
	m.t.Helper()
	return m.sim.SignIn(resp.Data["login_name"].(string), resp.Data["password"].(string))
}

// endLease revokes a lease of an hour ago.
func (m *mount) endLease(lease *logical.Secret) {
	m.t.Helper()
	m.age(lease.InternalData)
	if _, err := m.revokeLease(lease); err != nil {
		m.t.Fatalf("revoking %s: %v", nameOf(lease), err)
	}
}

// A lease of console_login is a login that works until it ends, with an AccessKey or
// without one, as the account and the role want it.
func TestConsoleLogin(t *testing.T) {
	t.Parallel()
	strict := map[string]string{
		"MinimumPasswordLength": "32", "RequireLowercaseCharacters": "true", "RequireUppercaseCharacters": "true", "RequireNumbers": "true",
		"RequireSymbols": "true", "MinimumPasswordDifferentCharacter": "8", "PasswordNotContainUserName": "true",
	}
	for name, tc := range map[string]struct {
		role     map[string]any
		account  func(*alisim.Account)
		policy   map[string]string // of passwords
		domain   string
		host     string // of the sign-in page
		says     string
		password string
		key      bool
	}{
		"alone":                        {},
		"with an AccessKey":            {role: map[string]any{"access_key": true}, key: true},
		"expressly without":            {role: map[string]any{"access_key": "false"}},
		"of the international site":    {role: map[string]any{"console_site": "INTL"}, host: "signin.alibabacloud.com"},
		"of the site of China":         {role: map[string]any{"console_site": "CN"}},
		"with an alias":                {account: func(a *alisim.Account) { a.Alias = "corp" }, domain: "corp.onaliyun.com"},
		"with the strictest passwords": {policy: strict},
		"of an account with MFA":       {account: func(a *alisim.Account) { a.MFAForLogin = true }, says: alisim.SignInBindMFA},
		"of a role with MFA":           {role: map[string]any{"mfa_bind_required": true}, says: alisim.SignInBindMFA},
		"with a password of Vault's":   {role: map[string]any{"password_policy": "people"}, password: "of-Vaults-policy-0815"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := alisim.DefaultSeed()
			if tc.account != nil {
				tc.account(&seed.Accounts[0])
			}
			m := newSeededMount(t, seed)
			m.start(withPasswords(func() (string, error) { return "of-Vaults-policy-0815", nil }))
			m.must(logical.UpdateOperation, "config", m.simConfig())
			if tc.policy != nil {
				m.admin("SetPasswordPolicy", tc.policy)
			}
			before := m.inventory()
			m.must(logical.UpdateOperation, "role/people", withLogin(tc.role))
			resp := m.must(logical.ReadOperation, "creds/people", nil)
			user, host := resp.Data["username"].(string), cmp.Or(tc.host, "signin.aliyun.com")
			if got, want := resp.Data["login_name"], user+"@"+cmp.Or(tc.domain, alisim.DefaultAccountID+".onaliyun.com"); got != want {
				t.Errorf("the login name is %s, want %s", got, want)
			}
			if got, want := resp.Data["login_url"], "https://"+host+"/login.htm?username="+resp.Data["login_name"].(string); got != want {
				t.Errorf("the login URL is %s, want %s", got, want)
			}
			if tc.password != "" && resp.Data["password"] != tc.password {
				t.Errorf("the password is %s", resp.Data["password"])
			}
			if got, want := m.signIn(resp), cmp.Or(tc.says, alisim.SignInDone); got != want {
				t.Errorf("the sign-in page says %s, want %s", got, want)
			}
			state, _ := m.sim.Inventory().User(user)
			if _, answered := resp.Data["access_key"]; answered != tc.key || (len(state.AccessKeys) == 1) != tc.key || !state.LoginProfile {
				t.Errorf("key answered: %t; the user is %+v", answered, state)
			}
			if _, answered := resp.Data["secret_key"]; answered != tc.key {
				t.Errorf("secret_key answered: %t", answered)
			}
			if tc.key && !m.works(resp, user) {
				t.Error("the key does not work")
			}
			again := m.must(logical.ReadOperation, "creds/people", nil)
			if tc.password == "" && again.Data["password"] == resp.Data["password"] {
				t.Error("two leases have the same password")
			}
			m.endLease(again.Secret)
			if _, err := m.renewLease(resp.Secret); err != nil {
				t.Errorf("renewal: %v", err)
			}
			m.endLease(resp.Secret)
			if got := m.signIn(resp); got != alisim.SignInRefused {
				t.Errorf("after the lease the sign-in page says %s", got)
			}
			m.unchanged(before)
		})
	}
}

// withPasswords gives Vault a password policy "people".
func withPasswords(generate func() (string, error)) func(*logical.BackendConfig) {
	return func(conf *logical.BackendConfig) {
		conf.System.(*logical.StaticSystemView).SetPasswordPolicy("people", generate)
	}
}

// What cannot be is refused before anything is created.
func TestConsoleLoginIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role  map[string]any
		fault alisim.Fault
		says  string
	}{
		"no such policy of Vault": {
			role: map[string]any{"password_policy": "none"},
			says: `password_policy: Vault made no password by its policy "none": see that it is there with vault read sys/policies/password/none`,
		},
		"a policy whose passwords are too weak": {
			role: map[string]any{"password_policy": "people"}, says: "InvalidParameter.Password.TooWeak",
		},
		"the domain is not to be known": {
			fault: alisim.Fault{Action: "GetAccountAlias", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden},
			says:  `Grant ram:GetAccountAlias on * to acs:ram::1234567890123456:user/vault, the principal of this mount. The statement to add to a policy that it has: {"Effect":"Allow","Action":"ram:GetAccountAlias","Resource":"*"}`,
		},
		"a login is not allowed": {
			fault: alisim.Fault{Action: "CreateLoginProfile", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden},
			says:  "Grant ram:CreateLoginProfile on acs:ram:*:1234567890123456:user/vault-*",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.start(withPasswords(func() (string, error) { return "secret12", nil }))
			m.admin("SetPasswordPolicy", map[string]string{"RequireSymbols": "true"})
			before := m.inventory()
			m.must(logical.UpdateOperation, "role/people", withLogin(tc.role))
			if tc.fault.Kind != "" {
				m.fault(tc.fault)
			}
			m.refused(logical.ReadOperation, "creds/people", nil, tc.says)
			m.sim.ClearFaults()
			m.unchanged(before)
			if n := m.walEntries(); n != 0 {
				t.Errorf("%d WAL entries", n)
			}
		})
	}
}

func TestConsoleLoginOfRoles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role map[string]any
		says string // "" for what a role may be
	}{
		"a key and a wait":           {role: map[string]any{"access_key": true, "wait_until_usable": "5s"}},
		"a wait and no key":          {map[string]any{"wait_until_usable": "5s"}, "wait_until_usable waits for an AccessKey, and with console_login this role issues none"},
		"a key that is neither":      {map[string]any{"access_key": "LTAI5tSomebodys"}, "access_key must be true or false with console_login"},
		"a secret":                   {map[string]any{"access_key": true, "secret_key": "x"}, "secret_key has no effect when credential_type is ram_user"},
		"an unknown site":            {map[string]any{"console_site": "cn"}, "console_site must be CN, whose console is at aliyun.com, or INTL, whose console is at alibabacloud.com"},
		"no lease":                   {map[string]any{"lease": false}, "lease=false would leave a RAM user behind"},
		"a key without a login":      {map[string]any{"console_login": false, "access_key": true}, "access_key is true or false with console_login only"},
		"no key without a login":     {map[string]any{"console_login": false, "access_key": false}, "access_key is true or false with console_login only"},
		"MFA without a login":        {map[string]any{"console_login": false, "mfa_bind_required": true}, "mfa_bind_required is for ram_user with console_login=true: give that too, or leave it out"},
		"a policy without a login":   {map[string]any{"console_login": false, "password_policy": "p"}, "password_policy is for ram_user with console_login=true"},
		"a site without a login":     {map[string]any{"console_login": false, "console_site": "CN"}, "console_site is for ram_user with console_login=true"},
		"a login of a RAM role":      {map[string]any{"credential_type": "ram_role"}, "console_login is for ram_user: leave it out when credential_type is ram_role"},
		"a login of a session":       {map[string]any{"inline_policies": "[]", "role_arn": roleARN}, "console_login is for ram_user: leave it out when credential_type is ram_role_arn"},
		"MFA of a session":           {map[string]any{"inline_policies": "[]", "console_login": false, "role_arn": roleARN, "mfa_bind_required": true}, "mfa_bind_required is for ram_user with console_login=true: leave it out when credential_type is ram_role_arn"},
		"a site of a RAM role":       {map[string]any{"credential_type": "ram_role", "console_login": false, "console_site": "CN"}, "console_site is for ram_user with console_login=true: leave it out when credential_type is ram_role"},
		"a login without any rights": {map[string]any{"inline_policies": "[]"}, "must include an arn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			if tc.says != "" {
				m.refused(logical.UpdateOperation, "role/people", withLogin(tc.role), tc.says)
				return
			}
			m.must(logical.UpdateOperation, "role/people", withLogin(tc.role))
		})
	}
}

// Roles answer the fields of a login once they have one, and are stored as before
// until then. What a login had waits where it is taken away.
func TestConsoleLoginIsReadBack(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	fields := []string{"access_key", "mfa_bind_required", "password_policy", "console_site"}
	read := func() map[string]any { return m.must(logical.ReadOperation, "role/people", nil).Data }
	stored := func() string {
		var raw map[string]any
		m.stored("role/people", &raw)
		return fmt.Sprint(slices.Sorted(maps.Keys(raw)))
	}
	m.must(logical.UpdateOperation, "role/people", withLogin(map[string]any{"console_login": false}))
	for _, f := range fields {
		if v, answered := read()[f]; answered {
			t.Errorf("a role without console_login answers %s=%v", f, v)
		}
	}
	if got := stored(); strings.Contains(got, "console_login") || strings.Contains(got, "login") {
		t.Errorf("stored: %s", got)
	}
	m.must(logical.UpdateOperation, "role/people", map[string]any{
		"console_login": true, "access_key": true, "mfa_bind_required": true, "password_policy": "people", "console_site": "INTL",
	})
	want := map[string]any{"console_login": true, "access_key": "true", "mfa_bind_required": true, "password_policy": "people", "console_site": "INTL"}
	for f, v := range want {
		if got := read()[f]; got != v {
			t.Errorf("%s is %v, want %v", f, got, v)
		}
	}
	m.must(logical.UpdateOperation, "role/people", map[string]any{"console_login": false})
	if resp := m.must(logical.ReadOperation, "creds/people", nil); resp.Data["password"] != nil || resp.Data["access_key"] == nil {
		t.Errorf("without console_login the answer has %v", slices.Sorted(maps.Keys(resp.Data)))
	}
	m.must(logical.UpdateOperation, "role/people", map[string]any{"console_login": true})
	for f, v := range want {
		if got := read()[f]; got != v {
			t.Errorf("%s is %v once there is a login again, want %v", f, got, v)
		}
	}
}

// access_key is an AccessKey ID in some types and true or false in ram_user: what is
// stored of the one is nothing to the other.
func TestAccessKeyWhenTheTypeChanges(t *testing.T) {
	t.Parallel()
	key := map[string]any{"credential_type": "access_key", "access_key": "LTAI5tSomebodys", "secret_key": "abc"}
	sts := map[string]any{"credential_type": "sts", "access_key": "STS.Somebodys", "secret_key": "abc", "security_token": "t"}
	for name, tc := range map[string]struct {
		first, then map[string]any
		says        string // "" for what a role may become
		reads       any    // of access_key
	}{
		"a key, then users with one":      {first: key, then: withLogin(map[string]any{"credential_type": "ram_user", "access_key": true}), reads: "true"},
		"a key, then users without":       {first: key, then: withLogin(map[string]any{"credential_type": "ram_user"}), reads: "false"},
		"a key, then users with no login": {first: key, then: withLogin(map[string]any{"credential_type": "ram_user", "console_login": false})},
		"temporary keys, then users":      {first: sts, then: withLogin(map[string]any{"credential_type": "ram_user", "access_key": false}), reads: "false"},
		"users, then a key": {
			first: withLogin(map[string]any{"access_key": true}), then: map[string]any{"credential_type": "access_key", "access_key": "LTAI5tSomebodys", "secret_key": "abc", "inline_policies": "[]"},
			reads: "LTAI5tSomebodys",
		},
		"users, then a secret alone": {
			first: withLogin(map[string]any{"access_key": true}), then: map[string]any{"credential_type": "access_key", "secret_key": "abc", "inline_policies": "[]"},
			says: "access_key is required when credential_type is access_key",
		},
		"users, then the same": {first: withLogin(map[string]any{"access_key": true}), then: map[string]any{"ttl": "1h"}, reads: "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.must(logical.UpdateOperation, "role/people", tc.first)
			if tc.says != "" {
				m.refused(logical.UpdateOperation, "role/people", tc.then, tc.says)
				return
			}
			m.must(logical.UpdateOperation, "role/people", tc.then)
			if got := m.must(logical.ReadOperation, "role/people", nil).Data["access_key"]; got != tc.reads {
				t.Errorf("access_key reads %v, want %v", got, tc.reads)
			}
			if resp := m.must(logical.ReadOperation, "creds/people", nil); tc.reads != "LTAI5tSomebodys" && (resp.Data["access_key"] != nil) != (tc.reads != "false") {
				t.Errorf("the answer has %v", slices.Sorted(maps.Keys(resp.Data)))
			}
		})
	}
}

// People who sign in bind an MFA device, make themselves keys, and change their
// password; all of that goes with the lease, and the device too.
func TestConsoleLoginEndsWithAllThatPeopleDid(t *testing.T) {
	t.Parallel()
	for name, did := range map[string]func(m *mount, user string){
		"nothing":        func(*mount, string) {},
		"bound a device": func(m *mount, user string) { m.bindDevice(user, "phone") },
		"made a key":     func(m *mount, user string) { m.admin("CreateAccessKey", map[string]string{"UserName": user}) },
		"changed the password": func(m *mount, user string) {
			m.admin("UpdateLoginProfile", map[string]string{"UserName": user, "Password": "another-Passw0rd!"})
		},
		"lost the login already": func(m *mount, user string) { m.admin("DeleteLoginProfile", map[string]string{"UserName": user}) },
		"got another name": func(m *mount, user string) {
			m.admin("UpdateUser", map[string]string{"UserName": user, "NewUserName": "somebody"})
		},
	} {
		for _, key := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, key %t", name, key), func(t *testing.T) {
				t.Parallel()
				m := newMount(t)
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/people", withLogin(map[string]any{"access_key": key}))
				resp := m.must(logical.ReadOperation, "creds/people", nil)
				did(m, resp.Data["username"].(string))
				m.endLease(resp.Secret)
				m.unchanged(before)
			})
		}
	}
}

// What the mount cannot list keeps the user from being deleted, and nothing else: the
// lease that failed to end is worth nothing, and ends when it is revoked again.
func TestLeaseIsWorthNothingWhereListingFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role   map[string]any
		extra  bool // somebody has made the user a second key
		listed string
	}{
		"a login alone":          {withLogin(map[string]any{"ram_groups": "readers"}), false, "ListAccessKeys"},
		"a key and another":      {map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "30m"}, true, "ListGroupsForUser"},
		"a login, a key, others": {withLogin(map[string]any{"access_key": true}), true, "ListPoliciesForUser"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSourcesMount(t)
			before := m.inventory()
			m.must(logical.UpdateOperation, "role/people", tc.role)
			resp := m.must(logical.ReadOperation, "creds/people", nil)
			user := resp.Data["username"].(string)
			if tc.extra {
				m.admin("CreateAccessKey", map[string]string{"UserName": user})
			}
			m.age(resp.Secret.InternalData)
			m.fault(alisim.Fault{Action: tc.listed, Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
			if _, err := m.revokeLease(resp.Secret); err == nil || !strings.Contains(err.Error(), "ram:"+tc.listed) {
				t.Errorf("revocation: %v, want that ram:%s is missing", err, tc.listed)
			}
			if left, _ := m.sim.Inventory().User(user); left.LoginProfile || len(left.AccessKeys)+len(left.Policies)+len(left.Groups) > 0 {
				t.Errorf("what is left of the user can do something: %+v", left)
			}
			m.sim.ClearFaults()
			m.endLease(resp.Secret)
			m.unchanged(before)
		})
	}
}

// A virtual MFA device goes when the revocation is repeated, whatever the first one came
// to, and whoever repeats it: once it is unbound, RAM does not tell whose it was.
func TestDeviceGoesWhenTheRevocationIsRepeated(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]alisim.Fault{
		"it cannot be deleted":   {Action: "DeleteVirtualMFADevice", Kind: alisim.FaultError500},
		"its deletion is lost":   {Action: "DeleteVirtualMFADevice", Kind: alisim.FaultApplyThenDrop},
		"unbinding it is lost":   {Action: "UnbindMFADevice", Kind: alisim.FaultApplyThenDrop},
		"it cannot be unbound":   {Action: "UnbindMFADevice", Kind: alisim.FaultError500},
		"it cannot be looked up": {Action: "GetUserMFAInfo", Kind: alisim.FaultError500},
	} {
		for _, byHand := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bound by hand %t", name, byHand), func(t *testing.T) {
				t.Parallel()
				m := newMount(t)
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/people", withLogin(map[string]any{"console_login": !byHand}))
				resp := m.must(logical.ReadOperation, "creds/people", nil)
				user := resp.Data["username"].(string)
				m.bindDevice(user, "phone")
				m.age(resp.Secret.InternalData)
				m.fault(fault)
				if _, err := m.revokeLease(resp.Secret); err == nil {
					t.Error("the first revocation did not fail")
				}
				if left, _ := m.sim.Inventory().User(user); left.LoginProfile {
					t.Errorf("the login is left: %+v", left)
				}
				m.sim.ClearFaults()
				m.start() // another process repeats it
				m.endLease(resp.Secret)
				m.unchanged(before)
				if names, err := m.storage.List(t.Context(), issuedPrefix); err != nil || len(names) != 0 {
					t.Errorf("the index holds %v (%v)", names, err)
				}
			})
		}
	}
}

// An issue that did not end is handed to the index after a day. What its rollbacks have
// noted there stays: the device is bound to nobody by then, and no list has it.
func TestDeviceOfAnUnfinishedIssueGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		before := m.inventory()
		m.must(logical.UpdateOperation, "role/people", withLogin(nil))
		m.unfinished("people")
		m.bindDevice(m.inventory().Users[len(before.Users)].Name, "phone")
		m.fault(alisim.Fault{Action: "DeleteVirtualMFADevice", Kind: alisim.FaultError500})
		for range 25 * 6 {
			time.Sleep(10 * time.Minute)
			_, _ = m.rollBack()
			m.rest()
		}
		if n := m.walEntries(); n != 0 {
			t.Errorf("%d WAL entries after a day", n)
		}
		m.sim.ClearFaults()
		m.minutes(120)
		m.unchanged(before)
	})
}

// A device that RAM refuses to delete, as it may a security key or a passkey, keeps no
// user alive: what the user signed in with is unbound, and the log tells the device.
func TestDeviceThatIsNotDeletedStays(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{
		"InvalidParameter.SerialNumber": 400, "NoPermission": 403, "DeleteConflict.VirtualMFADevice.User": 409,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.logged = &bytes.Buffer{}
				m.start()
				before := m.inventory()
				m.must(logical.UpdateOperation, "role/people", withLogin(nil))
				resp := m.must(logical.ReadOperation, "creds/people", nil)
				m.bindDevice(resp.Data["username"].(string), "phone")
				m.minutes(2)
				m.fault(alisim.Fault{Action: "DeleteVirtualMFADevice", Kind: alisim.FaultRefuse, Code: code, Status: status})
				m.revokedAt(resp.Secret)
				before.MFA = []string{"acs:ram::" + alisim.DefaultAccountID + ":mfa/phone"}
				m.unchanged(before)
				if said := m.logged.String(); !strings.Contains(said, "an MFA device stays in the account") || !strings.Contains(said, before.MFA[0]) || !strings.Contains(said, code) {
					t.Errorf("the log does not tell of it: %s", said)
				}
			})
		})
	}
}

// bindDevice does what somebody does who signs in for the first time where MFA is asked for.
func (m *mount) bindDevice(user, device string) {
	m.t.Helper()
	m.admin("CreateVirtualMFADevice", map[string]string{"VirtualMFADeviceName": device})
	m.admin("BindMFADevice", map[string]string{
		"UserName": user, "SerialNumber": "acs:ram::" + alisim.DefaultAccountID + ":mfa/" + device, "AuthenticationCode1": "123456", "AuthenticationCode2": "234567",
	})
}

// A user that RAM does not show yet gets its login once it does.
func TestConsoleLoginWaitsForTheUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.User = 7 * time.Second
		m := newTimedMount(t, settings, alisim.DefaultSeed())
		before := m.inventory()
		m.must(logical.UpdateOperation, "role/people", withLogin(nil))
		resp := m.must(logical.ReadOperation, "creds/people", nil)
		if got := m.signIn(resp); got != alisim.SignInDone {
			t.Errorf("the sign-in page says %s", got)
		}
		m.minutes(2)
		m.revokedAt(resp.Secret)
		m.unchanged(before)
	})
}

// The password is in the answer alone: not in what is stored, in the lease, in errors
// or in the log, whatever the cloud does. What is looked for is what was sent: the cloud
// knows no password of a call that it refuses.
func TestNoPasswordInOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.logged = &bytes.Buffer{}
		m.start()
		sent := m.sentPasswords()
		m.must(logical.UpdateOperation, "role/people", withLogin(nil))
		var said strings.Builder
		answered := 0
		faults := []alisim.Fault{
			{}, {Kind: alisim.FaultThrottle}, {Kind: alisim.FaultError500}, {Kind: alisim.FaultDrop}, {Kind: alisim.FaultRedirect302}, {Kind: alisim.FaultApplyThenDrop},
			{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}, {Kind: alisim.FaultRefuse, Code: "InvalidParameter.Password.TooWeak", Status: 400},
			{Kind: alisim.FaultMalform, Malform: "not_json"}, {Kind: alisim.FaultMalform, Malform: "html"},
		}
		for _, f := range faults {
			if f.Kind != "" {
				f.Action = "CreateLoginProfile"
				m.fault(f)
			}
			resp, err := m.request(logical.ReadOperation, "creds/people", nil)
			m.sim.ClearFaults()
			switch {
			case err != nil:
				fmt.Fprintln(&said, err)
			case resp.IsError():
				fmt.Fprintln(&said, resp.Error())
			default:
				answered++
				fmt.Fprintln(&said, resp.Warnings, resp.Secret.InternalData)
				_, err := m.revokeLease(resp.Secret) // too early: what it says is what counts
				fmt.Fprintln(&said, errors.Join(err))
			}
		}
		m.must(logical.ReadOperation, "role/people/check", nil)
		entries, err := logical.CollectKeys(t.Context(), m.storage)
		if err != nil || answered == 0 {
			t.Fatalf("%d answers, %v", answered, err)
		}
		for _, key := range entries {
			entry, err := m.storage.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if entry != nil {
				said.Write(entry.Value)
			}
		}
		m.rest()
		passwords := sent()
		for _, password := range passwords {
			for who, text := range map[string]string{"errors, leases and storage": said.String(), "the log": m.logged.String()} {
				if strings.Contains(text, password) || strings.Contains(text, url.QueryEscape(password)) {
					t.Errorf("%s hold a password", who)
				}
			}
		}
		if len(passwords) != len(faults)+1 { // and that of the check
			t.Errorf("%d passwords were sent", len(passwords))
		}
	})
}

// sentPasswords are those of all calls from now on, each once.
func (m *mount) sentPasswords() func() []string {
	var mu sync.Mutex
	var passwords []string
	m.comeBetween(func(s step, effect func() error) error {
		if s.call != nil && s.call.GetBody != nil {
			body, err := s.call.GetBody()
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			form, err := url.ParseQuery(string(raw))
			if err != nil {
				return err
			}
			mu.Lock()
			if password := form.Get("Password"); password != "" && !slices.Contains(passwords, password) {
				passwords = append(passwords, password)
			}
			mu.Unlock()
		}
		return effect()
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(passwords)
	}
}

// The check of a role finds what a login needs, and says each thing once.
func TestCheckOfConsoleLogins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role    map[string]any
		refused string // call of RAM
		want    finding
	}{
		"a policy that Vault does not have": {
			role: map[string]any{"password_policy": "none-such"},
			want: finding{"password_policy", "none-such", "issue", "no", `password_policy: Vault made no password by its policy "none-such"`},
		},
		"a policy that it has":      {role: map[string]any{"password_policy": "people"}, want: finding{"password_policy", "people", "issue", "yes", ""}},
		"keys that are not listed":  {refused: "ListAccessKeys", want: finding{"ram:ListAccessKeys", "user vault-*", "revoke", "no", "Grant ram:ListAccessKeys"}},
		"the same of users of keys": {role: map[string]any{"access_key": true}, refused: "ListAccessKeys", want: finding{"ram:ListAccessKeys", "user vault-*", "rollback", "no", "Grant ram:ListAccessKeys"}},
		"the alias, in resource groups": {
			role:    map[string]any{"resource_group": "rg-123456789012345"},
			refused: "GetAccountAlias", want: finding{"ram:GetAccountAlias", "the account", "issue", "no", "Grant ram:GetAccountAlias"},
		},
		"devices not looked up": {refused: "GetUserMFAInfo", want: finding{"ram:GetUserMFAInfo", "user vault-*", "extras", "no", "Grant ram:GetUserMFAInfo"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.start(withPasswords(func() (string, error) { return "of-Vaults-policy-0815", nil }))
			m.must(logical.UpdateOperation, "role/r", withLogin(tc.role))
			if tc.refused != "" {
				m.fault(alisim.Fault{Action: tc.refused, Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
			}
			result, findings := m.check()
			var got []finding
			for _, f := range findings {
				if f.Action == tc.want.Action {
					got = append(got, f)
				}
			}
			if len(got) != 1 || !strings.HasPrefix(got[0].Fix, tc.want.Fix) {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
			if got[0].Fix = tc.want.Fix; got[0] != tc.want {
				t.Errorf("got %+v, want %+v", got[0], tc.want)
			}
			if works := tc.want.Result == "yes" || tc.want.NeededFor == "extras"; works != (result == "yes") {
				t.Errorf("the role is said to be %s", result)
			}
		})
	}
}

// A password is in no URL, where proxies would log it.
func TestPasswordIsInNoURL(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	config := m.simConfig()
	urls := m.throughProxy(config)
	m.must(logical.UpdateOperation, "config", config)
	m.must(logical.UpdateOperation, "role/people", withLogin(nil))
	m.must(logical.ReadOperation, "role/people/check", nil)
	resp := m.must(logical.ReadOperation, "creds/people", nil)
	logins := 0
	for _, u := range urls() {
		if strings.HasPrefix(u, "CreateLoginProfile ") {
			logins++
		}
		if strings.Contains(u, url.QueryEscape(resp.Data["password"].(string))) || strings.Contains(u, "Password=") {
			t.Error("a password is in the URL of", strings.Split(u, "Password=")[0])
		}
	}
	if logins != 2 { // the check and the issue
		t.Errorf("%d calls of CreateLoginProfile went by", logins)
	}
}

// throughProxy has the calls of RAM go through a proxy, which notes their actions and URLs.
func (m *mount) throughProxy(config map[string]any) (urls func() []string) {
	m.t.Helper()
	target, err := url.Parse(config["ram_endpoint"].(string))
	if err != nil {
		m.t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: m.sim.Client().Transport, Rewrite: func(r *httputil.ProxyRequest) {
		mu.Lock()
		seen = append(seen, r.In.Header.Get("X-Acs-Action")+" "+r.In.URL.String())
		mu.Unlock()
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}})
	m.t.Cleanup(proxy.Close)
	config["ram_endpoint"] = proxy.URL
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// In another account people sign in with the alias of that one.
func TestConsoleLoginInAnotherAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := withSpokes(1)
		seed.Accounts[0].Alias, seed.Accounts[1].Alias = "hub", "spoke"
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "role/people", inSpoke(1, withLogin(nil)))
		resp := m.must(logical.ReadOperation, "creds/people", nil)
		if name := resp.Data["login_name"].(string); !strings.HasSuffix(name, "@spoke.onaliyun.com") || m.signIn(resp) != alisim.SignInDone {
			t.Errorf("as %s the sign-in page says %s", name, m.signIn(resp))
		}
		m.must(logical.DeleteOperation, "role/people", nil)
		m.minutes(2)
		m.revokedAt(resp.Secret)
		if got := m.signIn(resp); got != alisim.SignInRefused {
			t.Errorf("after the lease the sign-in page says %s", got)
		}
		if left := m.madeIn(spoke(1)); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}
