package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

const (
	// supersededFor bounds the tries to clean up after a rotation that a write of
	// config has ended.
	supersededFor = 7 * 24 * time.Hour
	maxSuperseded = 5
)

// superseded is what a rotation had left in the cloud when a write of config
// replaced its key, with the key that can remove it.
type superseded struct {
	Key ram.AccessKey `json:"key"`
	rotation.State
	At time.Time `json:"at"`
}

// asRotation is what is left of it to undo: all but the key that config has now.
func (old superseded) asRotation(c *config) *rotation.Rotation {
	return &rotation.Rotation{Current: ram.AccessKey{ID: c.AccessKey}, State: old.State}
}

// due is when the clean-up goes on.
func (old superseded) due(now time.Time) time.Time {
	if old.Failure == nil {
		return now
	}
	return old.Failure.Due()
}

// supersede ends a rotation whose key a write has replaced.
func (c *config) supersede(before *config, now time.Time) (warnings []string) {
	if before.Rotation == nil {
		return nil
	}
	if before.madeByRotation() {
		warnings = append(warnings, fmt.Sprintf("AccessKey %s, which a rotation made and only this mount knew, is no longer used, and stays in RAM: delete it there", before.AccessKey))
	}
	rest := *before.Rotation // without the key that config has now
	if rest.Pending != nil && rest.Pending.ID == c.AccessKey {
		rest.Pending = nil
	}
	if rest.Retiring != nil && rest.Retiring.ID == c.AccessKey {
		rest.Retiring = nil
	}
	if rest.Unfinished() {
		rest.Retired, rest.Failure = nil, nil
		c.Superseded = append(slices.Clone(before.Superseded), superseded{before.key(), rest, now.UTC()})
		if extra := len(c.Superseded) - maxSuperseded; extra > 0 {
			c.Superseded = c.Superseded[extra:]
		}
	}
	c.Rotation = stored(rotation.State{
		Retired: slices.DeleteFunc(slices.Clone(before.Rotation.Retired), func(id string) bool { return id == c.AccessKey }),
	})
	return warnings
}

// CleanUp cleans up after rotations that a write of config has ended.
func (k rootKey) CleanUp(ctx context.Context) (again time.Time, err error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return time.Time{}, err
	}
	var failures []error
	for _, old := range c.Superseded {
		next, err := k.cleanUp(ctx, c, old)
		again, failures = rotation.Earliest(again, next), append(failures, err)
	}
	return again, errors.Join(failures...)
}

// cleanUp cleans up after one of them, unless a failure of the last attempt says
// to wait.
func (k rootKey) cleanUp(ctx context.Context, c *config, old superseded) (again time.Time, err error) {
	now := time.Now()
	if due := old.due(now); due.After(now) {
		return due, nil
	}
	keys, err := k.b.ownKeys(ctx, k.s, old.Key, old.State)
	if err == nil {
		again, err = rotation.Undo(ctx, keys, old.asRotation(c))
	}
	object := configKey + " before, " + old.Key.ID
	switch {
	case err != nil && now.Sub(old.At) > supersededFor:
		k.b.Logger().Error("giving up the clean-up after a rotation that a write of config ended: look at the AccessKeys of the user",
			"username", old.UserName, "account", old.AccountID, "error", err)
	case err != nil:
		failed := old.Failure.Again(rotationFailure(err), now)
		k.b.failures.failed(failedRotation, object, err, failed.RetryAt)
		return failed.RetryAt, k.changeSuperseded(ctx, old, func(s *superseded) { s.Failure = failed })
	case !again.IsZero():
		return again, nil
	}
	k.b.failures.succeeded(failedRotation, object)
	return time.Time{}, k.changeSuperseded(ctx, old, nil)
}

// undoAll removes what rotations have left in the cloud, as far as it can at
// once, and tells what it could not.
func (k rootKey) undoAll(ctx context.Context) (warnings []string) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return nil
	}
	pending := c.Superseded
	if c.rotatable() == nil {
		pending = append(slices.Clone(pending), superseded{Key: c.key(), State: c.rotationState()})
	}
	for _, old := range pending {
		if !old.Unfinished() {
			continue
		}
		keys, err := k.b.ownKeys(ctx, k.s, old.Key, old.State)
		if err == nil {
			err = rotation.UndoAll(ctx, keys, old.asRotation(c))
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("a rotation was under way, and RAM user %s may hold a second AccessKey beside %s: look at its keys", old.UserName, old.Key.ID))
		}
	}
	return warnings
}

// changeSuperseded applies f to what is stored of it, or forgets it where f is nil.
func (k rootKey) changeSuperseded(ctx context.Context, old superseded, f func(*superseded)) error {
	k.b.configWrite.Lock()
	defer k.b.configWrite.Unlock()
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return err
	}
	is := func(s superseded) bool { return s.At.Equal(old.At) && s.Key.ID == old.Key.ID }
	if n := slices.IndexFunc(c.Superseded, is); f != nil && n >= 0 {
		f(&c.Superseded[n])
	} else {
		c.Superseded = slices.DeleteFunc(c.Superseded, is)
	}
	if len(c.Superseded) == 0 {
		c.Superseded = nil
	}
	return save(ctx, k.s, configKey, c)
}
