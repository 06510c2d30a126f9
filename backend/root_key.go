package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// rootKey is the key in config: a rotation.Key.
type rootKey struct {
	b *backend
	s logical.Storage
}

func (c *config) asRotation() *rotation.Rotation {
	return &rotation.Rotation{
		Current: c.key(), State: c.rotationState(),
		Schedule: c.Schedule, Paused: c.DisableAutomatedRotation, Overlap: rootOverlap, Spare: c.grace(),
	}
}

func (rootKey) Name() string { return configKey }

func (k rootKey) Load(ctx context.Context) (*rotation.Rotation, error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil || c.rotatable() != nil {
		return nil, err
	}
	return c.asRotation(), nil
}

// due is when there is something to rotate or to clean up; zero: never.
func (k rootKey) due(ctx context.Context) (at time.Time, err error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return time.Time{}, err
	}
	for _, old := range c.Superseded {
		at = rotation.Earliest(at, old.due(time.Now()))
	}
	if c.rotatable() == nil {
		at = rotation.Earliest(at, c.asRotation().Due())
	}
	return at, nil
}

func (k rootKey) Change(ctx context.Context, current string, f func(*rotation.Rotation)) error {
	k.b.configWrite.Lock()
	defer k.b.configWrite.Unlock()
	c, err := load[config](ctx, k.s, configKey)
	if err != nil {
		return err
	}
	if c == nil || c.rotatable() != nil || c.AccessKey != current {
		return rotation.ErrKeyGone
	}
	r := c.asRotation()
	f(r)
	c.AccessKey, c.SecretKey, c.Rotation = r.Current.ID, r.Current.Secret, stored(r.State)
	if r.Current.ID != current {
		// Also when the write seems to fail: it may have taken effect.
		defer k.b.resetCloud()
	}
	return save(ctx, k.s, configKey, c)
}

func (k rootKey) Keys(ctx context.Context, r *rotation.Rotation) (rotation.Keys, error) {
	return k.b.ownKeys(ctx, k.s, r.Current, r.State)
}
