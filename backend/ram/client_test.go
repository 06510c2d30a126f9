package ram_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// account is a simulated account and the client of its user vault.
type account struct {
	*ram.Client
	t   *testing.T
	sim *alisim.Server
}

// inAccount runs a test in a bubble: waiting costs nothing.
func inAccount(t *testing.T, change func(*alisim.Settings, *alisim.Account), test func(*testing.T, account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) // a bubble begins before RAM had policies
		settings, seed := alisim.DefaultSettings(), alisim.DefaultSeed()
		if change != nil {
			change(&settings, &seed.Accounts[0])
		}
		sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: seed, Settings: &settings})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		api, err := openapi.New(openapi.Options{HTTP: sim.Client(), MaxRetries: -1})
		if err != nil {
			t.Fatal(err)
		}
		own, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
		if err != nil {
			t.Fatal(err)
		}
		test(t, account{ram.New(ram.Options{API: api, Own: own, STS: alicreds.STSOptions{Client: api}}), t, sim})
	})
}

func (a account) must(action string, params map[string]string) {
	a.t.Helper()
	if err := a.Call(a.t.Context(), false, action, params, nil); err != nil {
		a.t.Fatal(err)
	}
}

// refuse lets so many calls of an action be refused, 0 for all.
func (a account) refuse(action, code string, count int) {
	a.t.Helper()
	fault := alisim.Fault{Action: action, Kind: alisim.FaultRefuse, Code: code, Status: 403, Count: count}
	if code == "InternalError" {
		fault.Status = 500
	}
	if err := a.sim.AddFault(fault); err != nil {
		a.t.Fatal(err)
	}
}

func (a account) calls(action string) (n int) {
	for _, c := range a.sim.Journal() {
		if c.Action == action {
			n++
		}
	}
	return n
}

// What is to be created does not tell the password when it is printed.
func TestPlanPrintsNoPassword(t *testing.T) {
	t.Parallel()
	p := ram.Plan{Entity: user("alice"), Login: ram.LoginProfile{Password: "hunter2"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, p); strings.Contains(text, "hunter2") || !strings.Contains(text, "alice") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

const allowAll = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func user(name string) ram.Entity { return ram.Entity{Kind: ram.User, Name: name} }

// That something does not exist is believed of the account it was made in, once
// it must have been visible.
func TestWhatIsBelievedGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		of    ram.Entity
		from  string
		age   time.Duration
		fault bool // it cannot be told which account this is
		says  string
	}{
		"of this account":      {user("gone"), alisim.DefaultAccountID, time.Hour, false, ""},
		"of no known account":  {user("gone"), "", time.Hour, false, ""},
		"just made":            {user("gone"), alisim.DefaultAccountID, ram.VisibleWithin - time.Second, false, "may not be visible yet"},
		"and a clock ahead":    {user("gone"), alisim.DefaultAccountID, ram.VisibleWithin + 29*time.Second, false, "may not be visible yet"}, // F4.19
		"of another account":   {user("gone"), "6543210987654321", time.Hour, false, "belongs to account 6543210987654321"},
		"of who knows which":   {user("gone"), alisim.DefaultAccountID, time.Hour, true, "could not be confirmed"},
		"role of this account": {ram.Entity{Kind: ram.Role, Name: "gone"}, alisim.DefaultAccountID, time.Hour, false, ""},
		"without a name":       {user(""), alisim.DefaultAccountID, time.Hour, false, "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAccount(t, nil, func(t *testing.T, a account) {
				if tc.fault {
					a.refuse("GetCallerIdentity", "NoPermission", 0)
				}
				err := a.Remove(t.Context(), ram.Created{Entity: tc.of, AccessKeyID: "LTAI5tGONE", Origin: ram.Origin{AccountID: tc.from, At: time.Now().Add(-tc.age)}})
				if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
					t.Errorf("got %v, want %q", err, tc.says)
				}
			})
		})
	}
}

// A policy that several may hold goes with the last of them; where it cannot be
// told who holds it, it stays or is asked about again.
func TestRemoveUnused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		holder  bool
		refuse  string // code of ListEntitiesForPolicy
		stays   bool
		fails   bool
		deleted bool
	}{
		"held by nobody":                    {deleted: true},
		"held by a user":                    {holder: true, stays: true},
		"held, and the list is not allowed": {holder: true, refuse: "NoPermission", stays: true},
		"held, and the list fails":          {holder: true, refuse: "InternalError", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAccount(t, nil, func(t *testing.T, a account) {
				a.must("CreatePolicy", map[string]string{"PolicyName": "p", "PolicyDocument": allowAll})
				if tc.holder {
					a.must("AttachPolicyToUser", map[string]string{"PolicyName": "p", "PolicyType": "Custom", "UserName": "vault"})
				}
				if tc.refuse != "" {
					a.refuse("ListEntitiesForPolicy", tc.refuse, 0)
				}
				stays, err := a.RemoveUnused(t.Context(), "p", ram.Origin{AccountID: alisim.DefaultAccountID})
				if stays != tc.stays || (err != nil) != tc.fails {
					t.Errorf("stays %t, %v; want %+v", stays, err, tc)
				}
				there := slices.ContainsFunc(a.sim.Inventory().Policies, func(p alisim.PolicyState) bool { return p.Name == "p" })
				if there == tc.deleted {
					t.Errorf("the policy is there: %t", there)
				}
			})
		})
	}
}

// Only an administrator gives a user a way to sign in: a mount that may not take
// it away removes every user that has none.
func TestRemoveWithoutTheRightToRemoveLogins(t *testing.T) {
	t.Parallel()
	inAccount(t, nil, func(t *testing.T, a account) {
		a.must("CreateUser", map[string]string{"UserName": "u"})
		a.must("AttachPolicyToUser", map[string]string{"PolicyName": "ReadOnlyAccess", "PolicyType": "System", "UserName": "u"})
		a.refuse("DeleteLoginProfile", "NoPermission", 0)
		a.refuse("UnbindMFADevice", "NoPermission", 0)
		if err := a.Remove(t.Context(), ram.Created{Entity: user("u")}); err != nil {
			t.Error(err)
		}
		if _, there := a.sim.Inventory().User("u"); there {
			t.Error("the user is there")
		}
	})
}

// An answer that lacks a part of the key is a failure, and is not repeated.
func TestCreatedKeyIsWhole(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"AccessKeyId", "AccessKeySecret"} {
		inAccount(t, nil, func(t *testing.T, a account) {
			a.must("CreateUser", map[string]string{"UserName": "u"})
			if err := a.sim.AddFault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultMalform, Malform: "remove:" + field}); err != nil {
				t.Fatal(err)
			}
			if key, err := (ram.Keys{User: "u", Call: a.Call}).Create(t.Context()); err == nil {
				t.Errorf("without %s: %v", field, key)
			}
			if u, _ := a.sim.Inventory().User("u"); len(u.AccessKeys) != 1 {
				t.Errorf("without %s: %d keys were made", field, len(u.AccessKeys))
			}
		})
	}
}

// Where RAM refuses to delete an active key it is disabled first.
func TestDeleteOfAnActiveKey(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"DeleteConflict.AccessKey.Active": "", "NoPermission": "Active", "InternalError": "Active"} {
		inAccount(t, func(_ *alisim.Settings, in *alisim.Account) {
			in.Users = append(in.Users, alisim.User{Name: "u", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tU", Secret: "s"}}})
		}, func(t *testing.T, a account) {
			a.refuse("DeleteAccessKey", code, 1)
			err := ram.Keys{User: "u", Call: a.Call}.Delete(t.Context(), "LTAI5tU")
			status := ""
			if u, _ := a.sim.Inventory().User("u"); len(u.AccessKeys) > 0 {
				status = u.AccessKeys[0].Status
			}
			if status != want || (err == nil) != (want == "") {
				t.Errorf("refused with %s: the key is %q, %v", code, status, err)
			}
		})
	}
}

// A list ends with the page that says so or has no marker, is read to its end,
// and has an end.
func TestMarkedReadsAllPages(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		users int
		fault string
		fails bool
	}{
		"one page":                {users: 1},
		"as many pages as read":   {users: 199}, // and the user of the mount
		"more pages than read":    {users: 200, fails: true},
		"a page without a marker": {users: 1, fault: "set:IsTruncated=true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAccount(t, func(settings *alisim.Settings, in *alisim.Account) {
				in.Users = slices.DeleteFunc(in.Users, func(u alisim.User) bool { return u.Name != "vault" })
				for n := range tc.users {
					in.Users = append(in.Users, alisim.User{Name: fmt.Sprintf("u-%03d", n), Comments: "mark x"})
				}
				if tc.users > 1 {
					settings.PageLimit = 1
				}
			}, func(t *testing.T, a account) {
				if tc.fault != "" {
					if err := a.sim.AddFault(alisim.Fault{Action: "ListUsers", Kind: alisim.FaultMalform, Malform: tc.fault}); err != nil {
						t.Fatal(err)
					}
				}
				marked, err := a.Marked(t.Context(), "mark")
				if (err != nil) != tc.fails || !tc.fails && len(marked) != tc.users {
					t.Errorf("%d users, %v", len(marked), err)
				}
			})
		})
	}
}

// Who the mount is does not change, so an answer is kept, and a failure is not.
func TestWhoamiIsAskedOnce(t *testing.T) {
	t.Parallel()
	inAccount(t, nil, func(t *testing.T, a account) {
		a.refuse("GetCallerIdentity", "InternalError", 1)
		if who, err := a.Whoami(t.Context()); err == nil {
			t.Errorf("got %v", who)
		}
		for range 3 {
			if who, err := a.Whoami(t.Context()); err != nil || who.AccountID != alisim.DefaultAccountID {
				t.Errorf("got %v, %v", who, err)
			}
		}
		if n := a.calls("GetCallerIdentity"); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

// What an earlier attempt has made is not made twice, and a shared policy that
// its last holder has just taken away is made again.
func TestCreateAndEquipGoOnFromWhatIsThere(t *testing.T) {
	t.Parallel()
	inAccount(t, nil, func(t *testing.T, a account) {
		plan := ram.Plan{
			Entity: user("u"), Mark: "mark", Groups: []string{"readers"}, Policies: []ram.Policy{{Name: "ReadOnlyAccess", Type: "System"}},
			Documents: []ram.Document{{Name: "own", Text: allowAll}, {Name: "shared", Text: allowAll, Shared: true, Exists: true}},
		}
		for n := range 2 {
			if _, err := a.Create(t.Context(), plan); err != nil {
				t.Errorf("time %d: create: %v", n+1, err)
			}
			if _, err := a.Equip(t.Context(), plan); err != nil {
				t.Errorf("time %d: equip: %v", n+1, err)
			}
		}
		u, _ := a.sim.Inventory().User("u")
		if len(u.Policies) != 3 || len(u.Groups) != 1 || len(u.AccessKeys) != 2 {
			t.Errorf("the user has %+v", u)
		}
	})
}

// What RAM does not show is waited for, for as long as that can take, and no
// other refusal is.
func TestEventually(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refusals int
		code     string
		fails    bool
		within   time.Duration
	}{
		"visible at once": {0, "EntityNotExist.User", false, 0},
		"visible soon":    {3, "EntityNotExist.User", false, 2 * time.Second},
		"never visible":   {1000, "EntityNotExist.User", true, ram.VisibleWithin + 3*time.Second},
		"not allowed":     {1000, "NoPermission", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAccount(t, nil, func(t *testing.T, a account) {
				if tc.refusals > 0 {
					a.refuse("GetUser", tc.code, tc.refusals)
				}
				began := time.Now()
				err := ram.Eventually(t.Context(), "EntityNotExist.User", func() error { return a.Call(t.Context(), true, "GetUser", map[string]string{"UserName": "vault"}, nil) })
				if took := time.Since(began); (err != nil) != tc.fails || took > tc.within {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// What does not tell when it was made may have been made just now.
func TestMarkedWithoutADate(t *testing.T) {
	t.Parallel()
	inAccount(t, func(_ *alisim.Settings, in *alisim.Account) {
		in.Users = append(in.Users, alisim.User{Name: "u", Comments: "mark"}, alisim.User{Name: "other", Comments: "marker"})
	}, func(t *testing.T, a account) {
		time.Sleep(time.Hour)
		for spoil, want := range map[string]time.Duration{`set:CreateDate="yesterday"`: 0, "remove:CreateDate": 0, "set:X=1": time.Hour} {
			if err := a.sim.AddFault(alisim.Fault{Action: "ListUsers", Kind: alisim.FaultMalform, Malform: spoil, Count: 1}); err != nil {
				t.Fatal(err)
			}
			marked, err := a.Marked(t.Context(), "mark")
			if err != nil || len(marked) != 1 || time.Since(marked[0].Created).Round(time.Second) != want {
				t.Errorf("%s: %v, %v", spoil, marked, err)
			}
		}
	})
}
