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
		keys, err := k.b.ownKeys(ctx, k.s, old.Key, old.State)
		if err != nil {
			return time.Time{}, err
		}
		wait, err := rotation.Undo(ctx, keys, old.asRotation(c))
		switch {
		case err != nil && time.Since(old.At) > supersededFor:
			k.b.Logger().Error("giving up the clean-up after a rotation that a write of config ended: look at the AccessKeys of the user",
				"username", old.UserName, "account", old.AccountID, "error", err)
		case err != nil || !wait.IsZero():
			failures, again = append(failures, err), wait
			continue
		}
		if err := k.forgetSuperseded(ctx, old); err != nil {
			return time.Time{}, err
		}
	}
	return again, errors.Join(failures...)
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

func (k rootKey) forgetSuperseded(ctx context.Context, old superseded) error {
	k.b.configWrite.Lock()
	defer k.b.configWrite.Unlock()
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return err
	}
	c.Superseded = slices.DeleteFunc(c.Superseded, func(s superseded) bool { return s.At.Equal(old.At) && s.Key.ID == old.Key.ID })
	if len(c.Superseded) == 0 {
		c.Superseded = nil
	}
	return save(ctx, k.s, configKey, c)
}
