package backend_test

import (
	"cmp"
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
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// What happens to a call of the cloud, and to a write of the storage.
var (
	crashedCalls = []harm{
		{fault: alisim.FaultError500}, {fault: alisim.FaultDrop}, {fault: alisim.FaultApplyThenDrop}, {fault: alisim.FaultThrottle},
		{fault: alisim.FaultNoRequestID}, {fault: alisim.FaultTwice}, {act: refuse}, {act: kill}, {act: kill, after: true},
	}
	crashedWrites = []harm{
		{act: fail, at: storageOperation}, {act: fail, at: storageOperation, after: true}, {act: kill, at: storageOperation}, {act: kill, at: storageOperation, after: true},
	}
)

// crashScenario is a rotation, from before its beginning until nothing is left to do.
type crashScenario struct {
	user    string
	account string // that the user is in; "": the mount's own
	key     string // in the storage, of what holds it
	prepare func(m *mount)
	begin   func(m *mount) // what sets it off, beside time
	minutes int
	mayStay bool // an accident may leave all as it was before
	handed  bool // the mount is handed its keys, and does not rotate them
}

// rotationAt is the rotation that is stored under a key, nil where there is none.
func (m *mount) rotationAt(key string) *rotation.Rotation {
	m.t.Helper()
	entry, err := m.storage.Get(context.Background(), key)
	if err != nil {
		m.t.Fatal(err)
	}
	if entry == nil {
		return nil
	}
	var held struct {
		AccessKey string         `json:"access_key"`
		SecretKey string         `json:"secret_key"`
		Rotation  rotation.State `json:"rotation"`
	}
	if err := entry.DecodeJSON(&held); err != nil {
		m.t.Fatal(err)
	}
	return &rotation.Rotation{Current: ram.AccessKey{ID: held.AccessKey, Secret: held.SecretKey}, State: held.Rotation}
}

func crashScenarios() map[string]crashScenario {
	rest := func(*mount) {}
	untilDue := func(m *mount) { time.Sleep(48*time.Hour - 30*time.Second) }
	away := inSpoke(1, map[string]any{"username": "away", "rotation_period": "48h", "grace_period": "10m"})
	return map[string]crashScenario{
		"root, scheduled": {user: "vault", key: "config", begin: rest, minutes: 40, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "48h", "rotation_grace_period": "5m"})
			untilDue(m)
		}},
		"root, requested": {user: "vault", key: "config", minutes: 40, mayStay: true, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{"rotation_grace_period": "5m"})
		}, begin: func(m *mount) { _, _ = m.request(logical.UpdateOperation, "config/rotate-root", nil) }},
		"root through a role": {user: "sub", key: "config", begin: rest, minutes: 40, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{
				"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/vault", "access_key": "LTAI5tSUB", "secret_key": "s",
				"rotation_period": "48h", "rotation_grace_period": "5m",
			})
			untilDue(m)
		}},
		"static, scheduled": {user: "app", handed: true, key: "static-role/app", begin: rest, minutes: 140, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
			untilDue(m)
		}},
		"static, requested": {user: "app", handed: true, key: "static-role/app", minutes: 140, mayStay: true, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
		}, begin: func(m *mount) { _, _ = m.request(logical.UpdateOperation, "rotate-role/app", nil) }},
		"static, created": {user: "app", handed: true, key: "static-role/app", minutes: 140, mayStay: true, prepare: rest, begin: func(m *mount) {
			_, _ = m.request(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
		}},
		"static in another account, scheduled": {user: "away", account: spoke(1), handed: true, key: "static-role/away", begin: rest, minutes: 140, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/away", away)
			untilDue(m)
		}},
		"static in another account, requested": {user: "away", account: spoke(1), handed: true, key: "static-role/away", minutes: 140, mayStay: true, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/away", away)
		}, begin: func(m *mount) { _, _ = m.request(logical.UpdateOperation, "rotate-role/away", nil) }},
		"static in another account, created": {user: "away", account: spoke(1), handed: true, key: "static-role/away", minutes: 140, mayStay: true, prepare: rest, begin: func(m *mount) {
			_, _ = m.request(logical.UpdateOperation, "static-role/away", away)
		}},
	}
}

// crashTally is what all cases together found.
type crashTally struct {
	mu                      sync.Mutex
	cases, lockouts, strays int
}

// At every crash point of a rotation a stored key works, and what follows
// completes or undoes.
func TestRotationCrashPoints(t *testing.T) {
	skipMatrix(t)
	t.Parallel()
	var sum crashTally
	t.Run("all", func(t *testing.T) {
		for name, scenario := range crashScenarios() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				steps := runCrash(t, scenario, harm{}, 0, &sum)
				if len(steps[cloudCall]) < 4 || len(steps[storageOperation]) < 2 {
					t.Fatalf("a rotation took the steps %v", steps)
				}
				calls := crashedCalls
				if scenario.handed {
					calls = append(slices.Clip(calls), harm{act: move, at: cloudCall, after: true})
				}
				for k := range steps[cloudCall] {
					for _, h := range calls {
						runCrash(t, scenario, h, k, &sum)
					}
				}
				for k, what := range steps[storageOperation] {
					if !strings.HasPrefix(what, "update ") && !strings.HasPrefix(what, "delete ") {
						continue // reading changes nothing
					}
					for _, h := range crashedWrites {
						runCrash(t, scenario, h, k, &sum)
					}
				}
			})
		}
	})
	fmt.Printf("TestRotationCrashPoints: cases %d lockouts %d strays %d\n", sum.cases, sum.lockouts, sum.strays)
	if sum.lockouts != 0 || sum.strays != 0 {
		t.Fail()
	}
}

// runCrash lives through the scenario with one accident, and returns the steps
// of the process that had it.
func runCrash(t *testing.T, scenario crashScenario, h harm, k int, sum *crashTally) (steps [2][]string) {
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.AccessKey = 5 * time.Second
		seed := seedWith(alisim.User{Name: "app"}, alisim.User{
			Name: "sub", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSUB", Secret: "s"}},
		})
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
			Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		})
		in := withSpokes(1).Accounts[1]
		in.Users = append(in.Users, alisim.User{Name: "away"})
		seed.Accounts = append(seed.Accounts, twoAccounts().Accounts[1], in)
		m := newTimedMount(t, settings, seed)
		if scenario.handed {
			m = newMovingMountIn(t, m.sim)
		}
		scenario.prepare(m)
		before := m.rotationAt(scenario.key)
		lockouts := 0
		name := "no accident"
		check := func(when string) {
			s := m.rotationAt(scenario.key)
			if s == nil || s.Current.ID == "" {
				if before != nil && (s == nil || before.Current.ID != "") {
					t.Errorf("%s, %s: no key is stored", name, when)
					lockouts++
				}
				return
			}
			if err := m.keyWorks(s.Current, cmp.Or(scenario.account, alisim.DefaultAccountID), scenario.user); err != nil {
				t.Errorf("%s, %s: the stored key does not work: %v", name, when, err)
				lockouts++
			}
			if r := s.Retiring; r != nil && !r.Disabled && time.Now().Before(r.DisableAt) && !strings.Contains(m.keysOf(scenario.user), r.ID+" Active") {
				t.Errorf("%s, %s: the old key ended within its grace period", name, when)
				lockouts++
			}
		}
		m.restart()
		m.rest()
		m.comeBetween(func(s step, effect func() error) error {
			if s.op == logical.ReadOperation || s.op == logical.ListOperation {
				return effect()
			}
			check("before " + s.what)
			defer check("after " + s.what)
			return effect()
		})
		m.suffer(h, k)
		scenario.begin(m)
		live := func(when string, until func() bool) {
			for n := 0; n < scenario.minutes && !until(); n++ {
				if n >= 15 { // by then the rest is waiting
					time.Sleep(4 * time.Minute)
					n += 4
				}
				m.minutes(1)
				check(when)
			}
		}
		live("in between", m.isDead)
		if steps = m.steps(); h != (harm{}) && k < len(steps[h.at]) {
			name = fmt.Sprintf("step %d, %s: %+v", k, steps[h.at][k], h)
		}
		if m.isDead() {
			m.restart()
			m.rest()
			live("after the restart", func() bool { return false })
		}
		m.suffer(harm{}, 0)
		if scenario.handed {
			m.keys.moved.Store(false)
		}
		m.comeBetween(nil)
		retries := 18
		if h.act == move {
			retries = 40 // it may begin only now
		}
		for range retries {
			time.Sleep(4 * time.Minute)
			m.minutes(1)
		}
		s := m.rotationAt(scenario.key)
		switch {
		case s == nil:
			s = &rotation.Rotation{}
			if !scenario.mayStay || before != nil {
				t.Errorf("%s: nothing is stored any longer", name)
			}
		case s.Unfinished():
			t.Errorf("%s: ends as %q, failure %q", name, s.Phase(), s.Reason())
		case !scenario.mayStay && (s.Current.ID == before.Current.ID || s.LastRotated.IsZero()):
			t.Errorf("%s: was not rotated, failure %q", name, s.Reason())
		}
		want := ""
		if s.Current.ID != "" {
			want = s.Current.ID + " Active"
		}
		strays := 0
		if got := m.keysOf(scenario.user); got != want {
			t.Errorf("%s: RAM holds %q, stored is %q", name, got, want)
			strays++
		}
		sum.mu.Lock()
		defer sum.mu.Unlock()
		sum.cases, sum.lockouts, sum.strays = sum.cases+1, sum.lockouts+lockouts, sum.strays+strays
	})
	return steps
}
