package backend_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// lostKey is a mount with a static role whose last CreateAccessKey got no answer.
func lostKey(t *testing.T, fault alisim.FaultKind) *mount {
	t.Helper()
	m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "1h"})
	m.minutes(3 * 60) // nothing is under way
	m.fault(alisim.Fault{Kind: fault, Action: "CreateAccessKey", Count: 1})
	if resp, err := m.request(logical.UpdateOperation, "rotate-role/app", nil); err == nil && !resp.IsError() && len(resp.Warnings) == 0 {
		t.Fatalf("rotated: %v", resp)
	}
	return m
}

// byHand makes a key for the user, as an administrator does, and returns its ID.
func (m *mount) byHand(user string) string {
	m.t.Helper()
	before := m.keysOf(user)
	m.admin("CreateAccessKey", map[string]string{"UserName": user})
	for _, k := range strings.Split(m.keysOf(user), ", ") {
		if !strings.Contains(before, k) {
			return strings.TrimSuffix(k, " Active")
		}
	}
	m.t.Fatal("no key was made")
	return ""
}

// F4.13: Vault is away for hours after a lost answer, and an administrator makes a
// key meanwhile. That is not the key of the lost call.
func attackKeyMadeDuringAnOutage(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(*mount)
		told bool
	}{
		"the rounds go on":          {func(m *mount) { m.minutes(3) }, true},
		"the request is made again": {func(m *mount) { _, _ = m.request(logical.UpdateOperation, "rotate-role/app", nil) }, false},
		"the role is deleted":       {func(m *mount) { m.must(logical.DeleteOperation, "static-role/app", nil) }, false},
	} {
		for after, away := range map[string]time.Duration{" after hours": 6 * time.Hour, " after minutes": 7 * time.Minute} {
			t.Run(name+after, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := lostKey(t, alisim.FaultDrop)
					time.Sleep(away)
					key := m.byHand("app")
					m.restart()
					tc.then(m)
					m.rest()
					if got := m.keysOf("app"); !strings.Contains(got, key+" Active") {
						t.Errorf("the key %s, made by hand, is gone: RAM holds %s", key, got)
					}
					if tc.told {
						if why, _ := m.must(logical.ReadOperation, "static-role/app", nil).Data["rotation_failure"].(string); !strings.Contains(why, key) {
							t.Errorf("nobody is told of %s: rotation_failure is %q", key, why)
						}
					}
				})
			})
		}
	}
}

// The same with the key in config, whose rotation a write has ended.
func attackKeyMadeBeforeTheCleanUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{
			Name: "other", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOTHER", Secret: "s"}},
		}))
		m.fault(alisim.Fault{Kind: alisim.FaultDrop, Action: "CreateAccessKey", Count: 1})
		_, _ = m.request(logical.UpdateOperation, "config/rotate-root", nil)
		time.Sleep(6 * time.Hour)
		key := m.byHand("vault")
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "s"})
		m.minutes(5)
		if got := m.keysOf("vault"); !strings.Contains(got, key+" Active") {
			t.Errorf("the key %s, made by hand, is gone: RAM holds %s", key, got)
		}
	})
}

// The key that the lost call did make goes, also when Vault comes back late; and
// where a second one was made at the same time, nobody can tell which it is.
func attackKeyMadeWithTheLostOne(t *testing.T) {
	for name, also := range map[string]bool{"alone": false, "beside another": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
				m.fault(alisim.Fault{Kind: alisim.FaultApplyThenDrop, Action: "CreateAccessKey", Count: 1})
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
				lost := strings.TrimSuffix(m.keysOf("app"), " Active")
				key := ""
				if also {
					key = m.byHand("app")
				}
				time.Sleep(6 * time.Hour)
				m.restart()
				m.minutes(5)
				got := m.keysOf("app")
				if also != strings.Contains(got, lost) || !strings.Contains(got, key) {
					t.Errorf("the lost key is %s, the one made by hand %s; RAM holds %s", lost, key, got)
				}
			})
		})
	}
}

// F4.14: for a moment the clock of the node was wrong by decades, and what it
// stored then has to be lived with.
func attackClockOfAnotherCentury(t *testing.T) {
	const then = "2099-01-01T00:00:00Z"
	for name, wrong := range map[string]map[string]any{
		"the next try":            {"failure": map[string]any{"reason": "InvalidTimeStamp.Expired", "at": then, "attempts": 1, "retry_at": then}},
		"the next rotation":       {"next_rotation": then},
		"the last rotation":       {"last_rotated": then, "next_rotation": then},
		"a request":               {"requested_at": then},
		"what is being made":      {"intent": map[string]any{"known": []any{}, "at": then}},
		"a key that never works":  {"pending": map[string]any{"access_key": "LTAI5tNEVER", "secret_key": "s", "made_at": then}},
		"the end of the old":      {"retiring": map[string]any{"access_key": "LTAI5tOLD", "disable_at": then, "delete_at": then}},
		"the deletion of the old": {"retiring": map[string]any{"access_key": "LTAI5tOLD", "disable_at": then, "delete_at": then, "disabled": true}},
		"all times of a switch": {"last_rotated": then, "next_rotation": then, "retiring": map[string]any{
			"access_key": "LTAI5tOLD", "disable_at": then, "delete_at": then}},
	} {
		for of, key := range map[string]string{"static role": "static-role/app", "config": "config"} {
			t.Run(of+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
					m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "1h"})
					m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "24h", "rotation_grace_period": "1h"})
					m.minutes(150) // no rotation is under way
					before := m.keyOf(key)
					m.changeStored(key, func(value map[string]any) { maps.Copy(value["rotation"].(map[string]any), wrong) })
					m.restart()
					m.minutes(2 * 24 * 60)
					state := m.rotationAt(key)
					if m.keyOf(key) == before {
						t.Errorf("not rotated in two days: %+v", state.State)
					}
					if raw, _ := json.Marshal(state.State); strings.Contains(string(raw), "2099") {
						t.Errorf("2099 is still to come: %s", raw)
					}
				})
			})
		}
	}
}

// The same of a clock that is wrong by days only, within one process.
func attackNodeThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "1h"})
		for _, ahead := range []time.Duration{time.Minute, 10 * time.Minute} { // clocks do differ so much
			key := m.keyOf("static-role/app")
			m.changeStored("static-role/app", func(value map[string]any) {
				state := value["rotation"].(map[string]any)
				state["last_rotated"] = time.Now().Add(ahead)
				state["next_rotation"] = time.Now().Add(ahead + 24*time.Hour)
			})
			m.restart()
			m.minutes(60)
			if m.keyOf("static-role/app") != key {
				t.Errorf("rotated an hour after a rotation by a node that was %s ahead", ahead)
			}
		}
	})
}

// A lease that a node with a clock ahead has made can be revoked twice.
func attackLeaseFromTheFuture(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Minute, 24 * time.Hour, 70 * 365 * 24 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
				lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				lease.InternalData["created_at"] = time.Now().Add(ahead).UTC().Format(time.RFC3339)
				for n := range 2 {
					if _, err := m.revokeLease(lease); err != nil {
						t.Errorf("revocation %d: %v", n+1, err)
					}
				}
				if resp, err := m.renewLease(lease); err == nil {
					t.Errorf("a lease whose user is gone was renewed: %v", resp)
				}
			})
		})
	}
}

// keyOf is the ID of the key that is stored under a key of the storage.
func (m *mount) keyOf(key string) string { return m.rotationAt(key).Current.ID }

// changeStored changes what is stored, behind the back of the engine.
func (m *mount) changeStored(key string, change func(map[string]any)) {
	m.t.Helper()
	value := map[string]any{}
	m.stored(key, &value)
	change(value)
	entry, err := logical.StorageEntryJSON(key, value)
	if err == nil {
		err = m.storage.Put(m.t.Context(), entry)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// What a write of config has left of a rotation cannot be cleaned up: that is no
// failure of the key that config has now.
func TestCleanUpThatFailsDelaysNoRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, slow(), seedWith(alisim.User{
			Name: "other", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOTHER", Secret: "s"}},
		}))
		settings := slow()
		settings.Propagation.AccessKey = 50 * time.Second // longer than a request waits
		if err := m.sim.Configure(settings); err != nil {
			t.Fatal(err)
		}
		if state := m.must(logical.UpdateOperation, "config/rotate-root", nil).Data["rotation_state"]; state != "probing" {
			t.Fatalf("state %v", state)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "s", "rotation_period": "1h"})
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "DeleteAccessKey", Code: "NoPermission", Status: 403})
		m.minutes(62)
		if read := m.config(); read["access_key"] == "LTAI5tOTHER" {
			t.Errorf("an hour later the key is not rotated, because of another: %v", read["rotation_failure"])
		}
		tries := len(m.callsAt("DeleteAccessKey"))
		if tries < 4 || tries > 20 {
			t.Errorf("%d tries to clean up in an hour", tries)
		}
		if failure, _ := m.must(logical.ReadOperation, "config/caller-identity", nil).Data["rotation_failure"].(string); failure == "" {
			t.Error("nobody is told that the clean-up fails")
		}
		m.sim.ClearFaults()
		m.minutes(61)
		if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Active" {
			t.Errorf("keys %s", got)
		}
	})
}

// Of several clean-ups the one that waits least decides when the next look is.
func TestCleanUpsGoOnWhenTheFirstCan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{
			Name: "other", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOTHER", Secret: "s"}},
		}))
		for _, next := range []map[string]any{
			{"access_key": "LTAI5tOTHER", "secret_key": "s"},
			{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret},
		} {
			m.fault(alisim.Fault{Kind: alisim.FaultApplyThenDrop, Action: "CreateAccessKey", Count: 1})
			_, _ = m.request(logical.UpdateOperation, "config/rotate-root", nil)
			m.must(logical.UpdateOperation, "config", next)
		}
		// The first waits for its next try, for almost an hour; the second has not been tried.
		m.changeStored("config", func(value map[string]any) {
			value["superseded"].([]any)[0].(map[string]any)["failure"] = map[string]any{
				"reason": "NoPermission", "attempts": 10, "at": time.Now(), "retry_at": time.Now().Add(50 * time.Minute),
			}
		})
		m.minutes(3)
		if got := m.keysOf("other"); got != "LTAI5tOTHER Active" {
			t.Errorf("the second clean-up waits for the first: keys %s", got)
		}
		m.minutes(50)
		if got := m.keysOf("vault"); got != alisim.DefaultAccessKeyID+" Active" {
			t.Errorf("the first clean-up is never tried again: keys %s", got)
		}
	})
}

// Another node writes a static role while this one is reading them all.
func TestWriteDuringTheReadOfStaticRoles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "one"}, alisim.User{Name: "two"}))
		m.must(logical.UpdateOperation, "static-role/a", map[string]any{"username": "one", "rotation_period": "24h"})
		other := *m
		other.process = newProcess(m.sim, m.storage)
		other.start()
		var wrote bool
		other.comeBetween(func(s step, effect func() error) error {
			err := effect()
			if s.op == logical.ListOperation && s.what == "static-role/" && !wrote {
				wrote = true
				m.must(logical.UpdateOperation, "static-role/b", map[string]any{"username": "two", "rotation_period": "24h"})
				other.InvalidateKey(t.Context(), "static-role/b")
			}
			return err
		})
		other.must(logical.UpdateOperation, "static-role/a", map[string]any{"remove_key": true}) // reads them all
		if !wrote {
			t.Fatal("the static roles were not read")
		}
		other.refused(logical.UpdateOperation, "static-role/c", map[string]any{"username": "two", "rotation_period": "24h"}, "belongs to static-role/b")
		if keys := slices.Compact(strings.Split(m.keysOf("two"), ", ")); len(keys) != 1 {
			t.Errorf("RAM user two has %v", keys)
		}
	})
}

// F4.17: storage is restored from a snapshot after a static role was rotated, or
// somebody deletes the key: a reader is told, and how it is mended.
func attackRestoredSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "grace_period": "1h"})
		snapshot, err := m.storage.Get(t.Context(), "static-role/app")
		if err != nil {
			t.Fatal(err)
		}
		m.minutes(50 * 60)
		lost := strings.TrimSuffix(m.keysOf("app"), " Active")
		if err := m.storage.Put(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		m.restart()
		m.rest()
		for range 2 {
			resp, err := m.request(logical.ReadOperation, "static-cred/app", nil)
			if err != nil || !resp.IsError() {
				t.Fatalf("a key that is gone is answered: %v %v", resp, err)
			}
			for _, text := range []string{"no longer exists", "snapshot", lost + " (Active)", "vault write -f alicloud/rotate-role/app"} {
				if !strings.Contains(resp.Error().Error(), text) {
					t.Errorf("the answer %q does not say %q", resp.Error(), text)
				}
			}
		}
		// What the answer says to do.
		m.admin("DeleteAccessKey", map[string]string{"UserName": "app", "UserAccessKeyId": lost})
		m.must(logical.UpdateOperation, "rotate-role/app", nil)
		cred := m.staticCred("app")
		if !m.works(cred, "app") || len(cred.Warnings) != 0 {
			t.Errorf("mended, static-cred answers %v", cred)
		}

		m.minutes(61)
		key := cred.Data["access_key"].(string)
		m.admin("UpdateAccessKey", map[string]string{"UserName": "app", "UserAccessKeyId": key, "Status": "Inactive"})
		if cred = m.staticCred("app"); len(cred.Warnings) != 1 || !strings.Contains(cred.Warnings[0], key+" is inactive") {
			t.Errorf("a key that was disabled: %v", cred.Warnings)
		}
		m.admin("DeleteAccessKey", map[string]string{"UserName": "app", "UserAccessKeyId": key})
		time.Sleep(time.Minute)
		m.refused(logical.ReadOperation, "static-cred/app", nil, "no longer exists")
		m.admin("DeleteUser", map[string]string{"UserName": "app"})
		time.Sleep(time.Minute)
		m.refused(logical.ReadOperation, "static-cred/app", nil, "RAM user app no longer exists")
	})
}

// RAM is asked once an hour, however many read, and no reader waits long for it.
func TestStaticCredAsksRAMOnceAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "240h"})
		time.Sleep(time.Minute)
		m.sim.ClearJournal()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { m.staticCred("app") })
		}
		all.Wait()
		time.Sleep(59 * time.Minute)
		m.staticCred("app")
		if n := len(m.callsAt("ListAccessKeys")); n != 1 {
			t.Errorf("RAM was asked %d times in an hour", n)
		}
		time.Sleep(2 * time.Minute)
		m.fault(alisim.Fault{Kind: alisim.FaultHold})
		began := time.Now()
		cred := m.staticCred("app")
		if took := time.Since(began); took > 5*time.Second || len(cred.Warnings) != 1 || !strings.Contains(cred.Warnings[0], "could not be seen") {
			t.Errorf("RAM does not answer: after %s %v", took, cred.Warnings)
		}
		began = time.Now()
		if m.staticCred("app"); time.Since(began) != 0 {
			t.Error("RAM is asked again at once")
		}
		m.sim.Release()
	})
}

// F4.15: the retries of the root key wait as long as those of a static role.
func attackRefusedRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "1h"})
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "CreateAccessKey", Code: "NoPermission", Status: http.StatusForbidden})
		time.Sleep(time.Hour)
		m.sim.ClearJournal()
		m.minutes(6 * 60)
		attempts := len(m.callsAt("CreateAccessKey"))
		if attempts < 8 || attempts > 2*12 { // after 1, 2, 4 ... 60 minutes; by the user, then by the mount
			t.Errorf("%d attempts in six hours", attempts)
		}
	})
}
