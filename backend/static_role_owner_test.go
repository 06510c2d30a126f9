package backend_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// One RAM user has one static role, also for a process that has just begun.
func TestOneUserHasOneStaticRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/a", map[string]any{"username": "app", "rotation_period": "24h"})
		cred := m.staticCred("a").Data
		for name, adopted := range map[string]map[string]any{
			"new key": {}, "adopted key": {"access_key": cred["access_key"], "secret_key": cred["secret_key"]},
		} {
			adopted["username"], adopted["rotation_period"] = "App", "24h"
			m.become(0)
			m.refused(logical.UpdateOperation, "static-role/b", adopted, "belongs to static-role/a already")
			m.restart()
			m.rest()
			m.refused(logical.UpdateOperation, "static-role/b", adopted, "belongs to static-role/a already")
			if got := m.keysOf("app"); got != cred["access_key"].(string)+" Active" {
				t.Errorf("%s: keys %s", name, got)
			}
		}
	})
}

// F5.14: of two creations of one static role at once the later one is refused,
// and leaves its RAM user alone.
func TestStaticRoleIsCreatedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "one"}, alisim.User{Name: "two"}))
		m.sim.SetLatency(time.Second)
		created := map[string]string{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, user := range []string{"one", "two"} {
			all.Go(func() {
				resp, err := m.request(logical.UpdateOperation, "static-role/app", map[string]any{"username": user, "rotation_period": "24h"})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				created[user] = ""
				if resp.IsError() {
					created[user] = resp.Error().Error()
				}
			})
		}
		all.Wait()
		m.minutes(2)
		holder := m.staticCred("app").Data["username"].(string)
		other := map[string]string{"one": "two", "two": "one"}[holder]
		if created[holder] != "" || !strings.Contains(created[other], "another request has just created it") {
			t.Errorf("answers %v, and the role is that of %s", created, holder)
		}
		if keys := m.keysOf(other); keys != "" {
			t.Errorf("RAM user %s has %s, which no role holds", other, keys)
		}
	})
}

// Without grace_period an old key serves an hour, or half the time between
// rotations.
func TestDefaultGracePeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		for _, tc := range []struct {
			schedule map[string]any
			seconds  float64
		}{
			{map[string]any{"rotation_period": "24h"}, 3600},
			{map[string]any{"rotation_period": "2h"}, 3600},
			{map[string]any{"rotation_period": "119m"}, 3570},
			{map[string]any{"rotation_schedule": "0 */1 * * *"}, 1800},
		} {
			tc.schedule["username"] = "app"
			m.must(logical.UpdateOperation, "static-role/app", tc.schedule)
			if got := m.must(logical.ReadOperation, "static-role/app", nil).Data["grace_period"]; got != tc.seconds {
				t.Errorf("%v: grace_period %v, want %v", tc.schedule, got, tc.seconds)
			}
			m.must(logical.DeleteOperation, "static-role/app", map[string]any{"remove_key": true})
		}
	})
}

// A rotation whose storage fails is not silent.
func TestRotationTellsStorageFailures(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*mount){
		"forgetting a rotation that a write of config has ended": func(m *mount) {
			m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "s"})
		},
		"forgetting a key that never worked": func(*mount) { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.logged = &bytes.Buffer{}
				m.become(0)
				// Whose the current key is, is answered; the new key is never known.
				m.fault(alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.NotFound", Status: 404, Skip: 1})
				if state := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["rotation_state"]; state != "probing" {
					t.Fatalf("state %v", state)
				}
				begin(m)
				failed := 0
				m.comeBetween(func(s step, effect func() error) error {
					if s.op == logical.UpdateOperation && s.what == "config" && failed == 0 {
						failed++
						return errDisk
					}
					return effect()
				})
				m.minutes(1)
				if failed != 1 || !strings.Contains(m.logged.String(), "no space left") {
					t.Errorf("%d failures, of which the log says %q", failed, m.logged)
				}
				m.comeBetween(nil)
				m.minutes(5)
				if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Active" {
					t.Errorf("keys %s", got)
				}
			})
		})
	}
}
