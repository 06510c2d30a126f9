package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// crash is what happens at one step of a process: a call of the cloud, or a
// write to storage.
type crash string

const (
	crashFail      crash = "fails"
	crashDrop      crash = "is never answered"
	crashLost      crash = "takes effect and is never answered"
	crashThrottle  crash = "is throttled"
	crashRefuse    crash = "is refused"
	crashTwice     crash = "is sent twice on its way, and the second answer comes back" // SignatureNonceUsed (F1.3)
	crashDieBefore crash = "process dies before it"
	crashDieAfter  crash = "process dies after it"
)

var errDead = errors.New("this process is dead")

// life is one process: it counts its steps, and has an accident at one of them.
type life struct {
	m     *mount
	check func(when string)
	at    int // step of the accident, from 1; 0: none
	kind  crash

	mu    sync.Mutex
	steps []string // what each was
	dead  bool
}

// step is called before each step. It returns what is to happen.
func (l *life) step(what string) crash {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return crashDieBefore
	}
	l.steps = append(l.steps, what)
	if len(l.steps) != l.at {
		return ""
	}
	l.dead = l.kind == crashDieBefore || l.kind == crashDieAfter
	return l.kind
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// RoundTrip makes life a transport.
func (l *life) RoundTrip(r *http.Request) (*http.Response, error) {
	action := r.Header.Get("X-Acs-Action")
	kind := l.step(action)
	l.check("before " + action)
	defer l.check("after " + action)
	if kind == crashDieBefore {
		return nil, errDead
	}
	fault := alisim.Fault{Count: 1, Kind: map[crash]alisim.FaultKind{
		crashFail: alisim.FaultError500, crashDrop: alisim.FaultDrop, crashLost: alisim.FaultApplyThenDrop,
		crashThrottle: alisim.FaultThrottle, crashRefuse: alisim.FaultRefuse, crashDieAfter: alisim.FaultApplyThenDrop,
	}[kind]}
	if kind == crashRefuse {
		fault.Code, fault.Status = "NoPermission", http.StatusForbidden
	}
	if fault.Kind != "" {
		l.m.fault(fault)
		defer l.m.sim.ClearFaults()
	}
	if kind == crashTwice {
		first, err := l.m.sim.Transport().RoundTrip(r.Clone(r.Context()))
		if err != nil {
			return nil, err
		}
		first.Body.Close()
	}
	return l.m.sim.Transport().RoundTrip(r)
}

// lifeStorage is what one process sees of the storage.
type lifeStorage struct {
	logical.Storage
	l *life
}

func (s lifeStorage) write(what string, write func() error) error {
	kind := s.l.step(what)
	s.l.check("before " + what)
	defer s.l.check("after " + what)
	switch kind {
	case "":
		return write()
	case crashLost, crashDieAfter:
		if err := write(); err != nil {
			return err
		}
	}
	return errors.New("the storage gave no answer")
}

func (s lifeStorage) Put(ctx context.Context, e *logical.StorageEntry) error {
	return s.write("storage "+e.Key, func() error { return s.Storage.Put(ctx, e) })
}

func (s lifeStorage) Delete(ctx context.Context, key string) error {
	return s.write("storage "+key, func() error { return s.Storage.Delete(ctx, key) })
}

func (s lifeStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if s.l.isDead() {
		return nil, errDead
	}
	return s.Storage.Get(ctx, key)
}

func (s lifeStorage) List(ctx context.Context, prefix string) ([]string, error) {
	if s.l.isDead() {
		return nil, errDead
	}
	return s.Storage.List(ctx, prefix)
}

// crashScenario is a rotation, from before its beginning until nothing is left to do.
type crashScenario struct {
	user    string
	load    func(m *mount) (*rotation.Rotation, error)
	prepare func(m *mount)
	begin   func(m *mount) // what sets it off, beside time
	minutes int
	mayStay bool // an accident may leave all as it was before
}

func loadRoot(m *mount) (*rotation.Rotation, error) {
	return rootKey{m.backend, baseOf(m.storage)}.Load(context.Background())
}

func loadApp(m *mount) (*rotation.Rotation, error) {
	return staticKey{m.backend, baseOf(m.storage), "app"}.Load(context.Background())
}

func baseOf(s logical.Storage) logical.Storage {
	if l, ok := s.(lifeStorage); ok {
		return l.Storage
	}
	return s
}

func crashScenarios() map[string]crashScenario {
	rest := func(*mount) {}
	untilDue := func(m *mount) { time.Sleep(48*time.Hour - 30*time.Second) }
	return map[string]crashScenario{
		"root, scheduled": {user: "vault", load: loadRoot, begin: rest, minutes: 40, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "48h", "rotation_grace_period": "5m"})
			untilDue(m)
		}},
		"root, requested": {user: "vault", load: loadRoot, minutes: 40, mayStay: true, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{"rotation_grace_period": "5m"})
		}, begin: func(m *mount) { _, _ = m.request(logical.UpdateOperation, "config/rotate-root", nil) }},
		"root through a role": {user: "sub", load: loadRoot, begin: rest, minutes: 40, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{
				"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/vault", "access_key": "LTAI5tSUB", "secret_key": "s",
				"rotation_period": "48h", "rotation_grace_period": "5m",
			})
			untilDue(m)
		}},
		"static, scheduled": {user: "app", load: loadApp, begin: rest, minutes: 140, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
			untilDue(m)
		}},
		"static, requested": {user: "app", load: loadApp, minutes: 140, mayStay: true, prepare: func(m *mount) {
			m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
		}, begin: func(m *mount) { _, _ = m.request(logical.UpdateOperation, "rotate-role/app", nil) }},
		"static, created": {user: "app", load: loadApp, minutes: 140, mayStay: true, prepare: rest, begin: func(m *mount) {
			_, _ = m.request(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "48h", "grace_period": "10m"})
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
				steps := runCrash(t, scenario, 0, "", &sum)
				if len(steps) < 6 {
					t.Fatalf("a rotation took the steps %v", steps)
				}
				for k, what := range steps {
					kinds := []crash{crashFail, crashLost, crashDieBefore, crashDieAfter}
					if !strings.HasPrefix(what, "storage ") {
						kinds = append(kinds, crashDrop, crashThrottle, crashRefuse, crashTwice)
					}
					for _, kind := range kinds {
						runCrash(t, scenario, k+1, kind, &sum)
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
func runCrash(t *testing.T, scenario crashScenario, at int, kind crash, sum *crashTally) (steps []string) {
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.AccessKey = 5 * time.Second
		seed := seedWith(alisim.User{Name: "app"}, alisim.User{
			Name: "sub", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSUB", Secret: "s"}},
		})
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
			Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		})
		m := newTimedMount(t, settings, seed)
		scenario.prepare(m)
		before, err := scenario.load(m)
		if err != nil {
			t.Fatal(err)
		}
		base := m.storage
		lockouts := 0
		name := "no accident"
		check := func(when string) {
			s, err := scenario.load(m)
			if err != nil || s == nil || s.Current.ID == "" {
				if before != nil && (err != nil || s == nil || before.Current.ID != "") {
					t.Errorf("%s, %s: no key is stored", name, when)
					lockouts++
				}
				return
			}
			if err := m.keyWorks(s.Current, scenario.user); err != nil {
				t.Errorf("%s, %s: the stored key does not work: %v", name, when, err)
				lockouts++
			}
			if r := s.Retiring; r != nil && !r.Disabled && time.Now().Before(r.DisableAt) && !strings.Contains(m.keysOf(scenario.user), r.ID+" Active") {
				t.Errorf("%s, %s: the old key ended within its grace period", name, when)
				lockouts++
			}
		}
		l := &life{m: m, check: check, at: at, kind: kind}
		client := m.http
		m.Cleanup(t.Context())
		m.storage = lifeStorage{base, l}
		m.backend = m.start(m.storage)
		m.http = &http.Client{Transport: l}
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
		live("in between", l.isDead)
		l.mu.Lock()
		steps = append(steps, l.steps...)
		l.mu.Unlock()
		if at > 0 && at <= len(steps) {
			name = fmt.Sprintf("step %d, %s, %s", at, steps[at-1], kind)
		}
		if l.isDead() {
			m.Cleanup(t.Context())
			m.storage, m.backend = base, m.start(base)
			m.http = client
			if err := m.Initialize(t.Context(), &logical.InitializationRequest{Storage: base}); err != nil {
				t.Fatal(err)
			}
			m.rest()
			live("after the restart", func() bool { return false })
		}
		m.http = client
		for range 18 { // of retries
			time.Sleep(4 * time.Minute)
			m.minutes(1)
		}
		m.storage = base
		s, err := scenario.load(m)
		switch {
		case err != nil:
			t.Fatal(err)
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
