package backend

import (
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
		made := 0
		for _, c := range m.sim.Journal() {
			if c.Action == "CreateAccessKey" {
				made++
			}
		}
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
