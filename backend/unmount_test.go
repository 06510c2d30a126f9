package backend_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// stuck keeps calls of AssumeRole from being answered, for as long as who makes
// them waits. It counts those that wait.
type stuck struct {
	waiting atomic.Int32
	off     atomic.Bool
}

func (s *stuck) around(p step, effect func() error) error {
	if p.call == nil || p.what != "AssumeRole" || s.off.Load() {
		return effect()
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	<-p.call.Context().Done()
	return p.call.Context().Err()
}

// begin begins a read, which can be given up, and returns when it waits.
func (m *mount) begin(path string) (giveUp context.CancelFunc, answered <-chan error) {
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() {
		resp, err := m.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: path, MountPoint: "alicloud/"})
		if err == nil && resp.IsError() {
			err = resp.Error()
		}
		done <- err
	}()
	synctest.Wait()
	return cancel, done
}

// ends are how the client of a mount comes to its end.
var ends = map[string]func(*mount){
	"unmount":                             func(m *mount) { m.Cleanup(m.t.Context()) },
	"a write of config":                   func(m *mount) { m.must(logical.UpdateOperation, "config", map[string]any{"timeout": "9s"}) },
	"a write of config on another node":   func(m *mount) { m.InvalidateKey(m.t.Context(), "config") },
	"the deletion of config":              func(m *mount) { m.must(logical.DeleteOperation, "config", map[string]any{"force": true}) },
	"a rotation of the key of the config": func(m *mount) { m.must(logical.UpdateOperation, "config/rotate-root", nil) },
}

// What goes on in the background when a mount goes, or its config changes, ends at
// that moment: no call waits for its answer any longer.
func attackBackgroundOutlivesMount(t *testing.T) {
	for when, end := range ends {
		for what, begin := range map[string]func(*mount, *stuck){
			"the first session of the mount, which nobody waits for any longer": func(m *mount, _ *stuck) {
				giveUp, answered := m.begin("creds/ci")
				giveUp()
				<-answered
			},
			"the renewal of a session that still works": func(m *mount, s *stuck) {
				s.off.Store(true)
				m.must(logical.ReadOperation, "config/caller-identity", nil)
				time.Sleep(50 * time.Minute)
				s.off.Store(false)
				m.must(logical.ReadOperation, "config/caller-identity", nil)
			},
			"a shared session, which nobody waits for any longer": func(m *mount, s *stuck) {
				s.off.Store(true)
				m.must(logical.ReadOperation, "config/caller-identity", nil)
				s.off.Store(false)
				giveUp, answered := m.begin("creds/shared")
				giveUp()
				<-answered
			},
		} {
			t.Run(when+", and "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
					m.worksAsRole()
					m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
					m.must(logical.UpdateOperation, "role/shared", map[string]any{"role_arn": alisim.DefaultRoleARN, "reuse_ttl": "10m"})
					var s stuck
					m.comeBetween(s.around)
					begin(m, &s)
					synctest.Wait()
					if n := s.waiting.Load(); n != 1 {
						t.Fatalf("%d calls wait, want 1", n)
					}
					before := time.Now()
					end(m)
					synctest.Wait()
					if n := s.waiting.Load(); n != 0 || time.Since(before) > 20*time.Second {
						t.Errorf("%d calls still wait after %s", n, time.Since(before))
					}
				})
			})
		}
	}
}

// Requests that hold the client of before go on with it to their end, whatever has
// become of the config or the mount, and leave nothing.
func TestRequestsOutliveTheirConfig(t *testing.T) {
	t.Parallel()
	for when, end := range ends {
		for _, path := range []string{"creds/ci", "creds/shared"} {
			t.Run(path+" and "+when, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					seed := alisim.DefaultSeed()
					seed.Accounts[0].Roles[0].Policies = []string{"AdministratorAccess"}
					m := newTimedMount(t, alisim.DefaultSettings(), seed)
					m.worksAsRole()
					m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
					m.must(logical.UpdateOperation, "role/shared", map[string]any{"role_arn": alisim.DefaultRoleARN, "reuse_ttl": "10m"})
					// The first session of the mount takes three seconds.
					if err := m.sim.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultDelay, Delay: 3 * time.Second}); err != nil {
						t.Fatal(err)
					}
					_, answered := m.begin(path)
					end(m)
					if err := <-answered; err != nil {
						t.Errorf("the request that was under way: %v", err)
					}
				})
			})
		}
	}
}

// The clients of configs that are gone hold neither connections nor goroutines.
// It runs alone, because it counts what the whole process has.
func TestClientsOfBeforeAreGone(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	base := goroutines("net/http.(*persistConn).readLoop(")
	const configs = 50
	for n := range configs {
		m.must(logical.ReadOperation, "creds/deploy", nil)
		m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": n % 3})
	}
	m.Cleanup(t.Context())
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		connections := goroutines("net/http.(*persistConn).readLoop(") - base
		ours := goroutines("/backend.(", "/backend/rotation.(", "/alicreds.(", "/openapi.(")
		if connections <= 0 && ours == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d configs and the unmount: %d connections, %d goroutines of ours", configs, connections, ours)
		}
	}
}

// goroutines counts those that have one of the texts in their stack.
func goroutines(texts ...string) (n int) {
	buf := make([]byte, 16<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, text := range texts {
			if strings.Contains(stack, text) {
				n++
				break
			}
		}
	}
	return n
}
