package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// account is a user's keys and where they are stored, all in memory: a Key and
// its Keys. What no engine can be brought to is set up here.
type account struct {
	stored rotation.Rotation
	keys   []string // IDs that RAM holds; the disabled ones end with "-"
	made   int

	probe  error
	create error // of the first, after the key was made
	write  error // after it was stored, of a pending key
}

func (a *account) Name() string                                     { return "key" }
func (a *account) Key(string) rotation.Key                          { return a }
func (a *account) Refresh(context.Context) error                    { return nil }
func (a *account) CleanUp(context.Context) (t time.Time, err error) { return t, err }
func (a *account) Owner() (account, user string)                    { return "1", "u" }

func (a *account) Keys(context.Context, *rotation.Rotation) (rotation.Keys, error) { return a, nil }

func (a *account) Load(context.Context) (*rotation.Rotation, error) {
	r := a.stored
	return &r, nil
}

func (a *account) Change(_ context.Context, current string, f func(*rotation.Rotation)) error {
	if current != a.stored.Current.ID {
		return rotation.ErrKeyGone
	}
	f(&a.stored)
	if a.stored.Pending != nil {
		return a.write
	}
	return nil
}

func (a *account) List(context.Context) (listed []ram.AccessKey, err error) {
	for _, id := range a.keys {
		listed = append(listed, ram.AccessKey{ID: id, Status: "Active", Created: time.Now()})
	}
	return listed, nil
}

func (a *account) Create(context.Context) (ram.AccessKey, error) {
	a.made++
	k := ram.AccessKey{ID: fmt.Sprintf("new%d", a.made), Secret: "s"}
	a.keys = append(a.keys, k.ID)
	err := a.create
	a.create = nil
	return k, err
}

func (a *account) Disable(_ context.Context, id string) error {
	if n := slices.Index(a.keys, id); n >= 0 {
		a.keys[n] += "-"
	}
	return nil
}

func (a *account) Delete(_ context.Context, id string) error {
	a.keys = slices.DeleteFunc(a.keys, func(k string) bool { return k == id || k == id+"-" })
	return nil
}

func (a *account) Probe(context.Context, ram.AccessKey) error { return a.probe }

// After so many minutes of rounds there is what must be, and nothing else.
func TestQueueLeaves(t *testing.T) {
	t.Parallel()
	hourly, daily := rotation.Schedule{Period: time.Hour}, rotation.Schedule{Cron: "0 3 * * *", Window: 5 * time.Minute}
	for name, test := range map[string]struct {
		account func(now time.Time) account
		minutes int
		phase   string
		keys    []string
	}{
		"a new key, and the old one disabled": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: hourly, State: rotation.State{NextRotation: now}, Spare: time.Hour}}
		}, 1, "deleting", []string{"old-", "new1"}},
		"one key when the time to spare is over": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: rotation.Schedule{Period: 24 * time.Hour}, State: rotation.State{NextRotation: now}, Spare: time.Hour}}
		}, 65, "idle", []string{"new1"}},
		"the current key, though it is noted as the old one too": {func(now time.Time) account {
			return account{stored: rotation.Rotation{State: rotation.State{Retiring: &rotation.Retiring{ID: "old", DisableAt: now, DeleteAt: now}}}}
		}, 1, "idle", []string{"old"}},
		"a new key that does not work, for less than an hour": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: hourly, State: rotation.State{NextRotation: now}}, probe: errors.New("unknown")}
		}, 58, "probing", []string{"old", "new1"}},
		"no new key that has not worked for an hour": {func(now time.Time) account {
			return account{stored: rotation.Rotation{State: rotation.State{Pending: &rotation.Pending{AccessKey: ram.AccessKey{ID: "bad"}, MadeAt: now}}},
				keys: []string{"bad"}, probe: errors.New("unknown")}
		}, 65, "idle", []string{"old"}},
		"no key whose secret nobody was told": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: daily, State: rotation.State{RequestedAt: now}},
				create: &openapi.Error{Action: "CreateAccessKey", Code: "ServiceUnavailable", Status: 503}}
		}, 3, "idle", []string{"new2"}},
		"nothing new while a key may yet come to light": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: hourly, State: rotation.State{NextRotation: now, Intent: &rotation.Intent{Known: []string{"old"}, At: now}}}}
		}, 1, "creating", []string{"old"}},
		"a new key whose storing seemed to fail": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: hourly, State: rotation.State{NextRotation: now}}, write: errors.New("no answer")}
		}, 5, "idle", []string{"new1"}},
		"the old key alone, outside of the window": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: daily, State: rotation.State{NextRotation: now.Add(-time.Hour)}}}
		}, 1, "idle", []string{"old"}},
		"the first key, whatever the window": {func(now time.Time) account {
			return account{stored: rotation.Rotation{Schedule: daily, Replaces: "old", State: rotation.State{NextRotation: now.Add(-time.Hour)}}}
		}, 5, "idle", []string{"new1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := test.account(time.Now())
				a.keys = append([]string{"old"}, a.keys...)
				if a.stored.Replaces == "" {
					a.stored.Current = ram.AccessKey{ID: "old", Secret: "s"}
				}
				q := rotation.NewQueue(rotation.Options{Ended: func(string, error, time.Time) {}, Announce: func(context.Context, string, error) {}, Explain: error.Error})
				defer q.Stop()
				q.Put(a.Name(), "", a.stored.Due())
				for range test.minutes {
					q.Begin(&a)
					q.Wait()
					time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
				}
				if a.stored.Phase() != test.phase || !slices.Equal(a.keys, test.keys) {
					t.Errorf("the rotation is %s, failure %q, RAM holds %v; want %s, %v", a.stored.Phase(), a.stored.Reason(), a.keys, test.phase, test.keys)
				}
			})
		})
	}
}

// A clock that was wrong for a moment put a key into the queue for the next
// century. It is looked at within an hour, and rotated when storage says so.
func TestQueueDoesNotSleepForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{keys: []string{"old"}, stored: rotation.Rotation{
			Current: ram.AccessKey{ID: "old"}, Schedule: rotation.Schedule{Period: 24 * time.Hour}, State: rotation.State{NextRotation: time.Now().Add(30 * time.Minute)},
		}}
		q := rotation.NewQueue(rotation.Options{Ended: func(string, error, time.Time) {}, Announce: func(context.Context, string, error) {}, Explain: error.Error})
		defer q.Stop()
		q.Put(a.Name(), "", time.Now().AddDate(100, 0, 0))
		for range 62 {
			q.Begin(&a)
			q.Wait()
			time.Sleep(time.Minute)
		}
		if a.stored.Current.ID != "new1" {
			t.Errorf("the key that was due half an hour ago is %s", a.stored.Current.ID)
		}
	})
}
