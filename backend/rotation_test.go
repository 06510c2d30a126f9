package backend_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// An engine that was down for a year rotates once when it is back, and goes on
// as its schedule says.
func TestSchedulesAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}, alisim.User{Name: "cron"}))
		m.must(logical.UpdateOperation, "config", map[string]any{"rotation_schedule": "CRON_TZ=Europe/Berlin 0 4 * * SUN"})
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
		m.must(logical.UpdateOperation, "static-role/cron", map[string]any{"username": "cron", "rotation_schedule": "0 3 * * *"})
		m.minutes(24 * 60)
		m.sim.ClearJournal()
		time.Sleep(366 * 24 * time.Hour)
		m.restart()
		m.rest()
		m.minutes(90)
		made := len(m.callsAt("CreateAccessKey"))
		if made != 3 {
			t.Errorf("%d keys were made after the outage, want one of each of three", made)
		}
		for _, name := range []string{"app", "cron"} {
			next, err := time.Parse(time.RFC3339, m.staticCred(name).Data["next_rotation"].(string))
			if left := time.Until(next); err != nil || left <= 0 || left > 24*time.Hour {
				t.Errorf("%s: the next rotation is at %v", name, next)
			}
		}
	})
}

// What missed its window waits for the next time of the schedule.
func TestSchedulesWithAWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
		key := m.staticCred("app").Data["access_key"]
		m.minutes(2 * 60)
		time.Sleep(3 * time.Hour) // it is five
		m.minutes(60)
		if cred := m.staticCred("app").Data; cred["access_key"] != key || cred["next_rotation"] != "2000-01-02T03:00:00Z" {
			t.Errorf("outside of its window: %v", cred)
		}
		time.Sleep(21*time.Hour + 30*time.Minute) // half past three
		m.minutes(1)
		if m.staticCred("app").Data["access_key"] == key {
			t.Error("within its window and not rotated")
		}
	})
}

// callsAt tells when an action was called.
func (m *mount) callsAt(action string) (at []time.Time) {
	for _, c := range m.sim.Journal() {
		if c.Action == action {
			at = append(at, c.Time)
		}
	}
	return at
}

// A request and a round that come at the same time make one key, whichever is
// first.
func TestRequestAndRoundShareNoKey(t *testing.T) {
	t.Parallel()
	for name, lead := range map[string]time.Duration{"the round is first": -300 * time.Millisecond, "the request is first": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
				time.Sleep(time.Hour)
				m.sim.ClearJournal()
				m.sim.SetLatency(500 * time.Millisecond)
				go func() {
					time.Sleep(max(lead, 0))
					_, _ = m.HandleRequest(context.Background(), &logical.Request{
						Operation: logical.RollbackOperation, Data: map[string]any{"immediate": true},
					})
				}()
				time.Sleep(max(-lead, 0))
				_, _ = m.request(logical.UpdateOperation, "rotate-role/app", nil) // refused where the round has rotated
				m.minutes(1)
				if tries := len(m.callsAt("CreateAccessKey")); tries != 1 {
					t.Errorf("%d tries to make a key", tries)
				}
			})
		})
	}
}

// A rotation goes on to a key that is stored, though its client has gone.
func TestRequestedRotationOutlivesItsClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.sim.SetLatency(time.Second)
		impatient, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, _ = m.HandleRequest(impatient, &logical.Request{Operation: logical.UpdateOperation, Path: "config/rotate-root"})
		if read := m.config(); read["rotation_state"] != "overlapping" || read["access_key"] == alisim.DefaultAccessKeyID {
			t.Errorf("config %v", read)
		}
	})
}

// For as long as RAM says that it is asked too often, it is asked ever less often.
func TestThrottledRotationsPauseLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
		time.Sleep(time.Hour)
		m.sim.ClearJournal()
		m.fault(alisim.Fault{Kind: alisim.FaultThrottle, Action: "ListAccessKeys"})
		m.minutes(6)
		asked := m.callsAt("ListAccessKeys")
		if len(asked) < 6 {
			t.Fatalf("asked at %v", asked)
		}
		for n, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute} {
			// A round that has ended adds the wait for the next tick.
			if gap := asked[n+1].Sub(asked[n]); gap < want || gap > want+time.Minute {
				t.Errorf("pause %d took %v, want %v", n+1, gap, want)
			}
		}
		m.sim.ClearFaults()
		m.minutes(2)
		m.fault(alisim.Fault{Kind: alisim.FaultThrottle, Action: "ListAccessKeys"})
		time.Sleep(time.Hour)
		m.sim.ClearJournal()
		m.minutes(1)
		if asked = m.callsAt("ListAccessKeys"); len(asked) < 2 || asked[1].Sub(asked[0]) > 6*time.Second {
			t.Errorf("after a success the first pause is not the shortest: asked at %v", asked)
		}
	})
}

// When the mount goes, or the node is sealed, nothing more is asked of the cloud.
func TestUnmountEndsRotations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
		time.Sleep(time.Hour)
		if _, err := m.rollBack(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if state := m.must(logical.ReadOperation, "static-role/app", nil).Data["rotation_state"]; state != "probing" {
			t.Fatalf("the rotation is %v", state)
		}
		ended := time.Now()
		m.Cleanup(t.Context())
		if took := time.Since(ended); took > time.Second {
			t.Errorf("the mount took %v to go", took)
		}
		before := len(m.sim.Journal())
		if _, err := m.rollBack(); err != nil { // of a host that ticks once more
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if n := len(m.sim.Journal()) - before; n != 0 {
			t.Errorf("%d calls after the mount has gone", n)
		}
	})
}

// A new key that cannot be stored is deleted at once, and not by a later round.
func TestKeyThatCannotBeStoredIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.comeBetween(func(s step, effect func() error) error {
			if s.put != nil && strings.Contains(string(s.put.Value), `"pending"`) {
				return errDisk
			}
			return effect()
		})
		if resp, err := m.request(logical.UpdateOperation, "config/rotate-root", nil); err == nil {
			t.Errorf("answer %v", resp)
		}
		made, got := len(m.callsAt("CreateAccessKey")), m.keysOf("vault")
		if made != 1 || got != alisim.DefaultAccessKeyID+" Active" {
			t.Errorf("%d keys were made, RAM holds %s", made, got)
		}
	})
}
