package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
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
func (k rootKey) due(ctx context.Context) (time.Time, error) {
	c, err := load[config](ctx, k.s, configKey)
	switch {
	case err != nil || c == nil:
		return time.Time{}, err
	case len(c.Superseded) > 0:
		return time.Now(), nil
	case c.rotatable() != nil:
		return time.Time{}, nil
	}
	return c.asRotation().Due(), nil
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
	return k.ownKeys(ctx, r.Current, r.State)
}

// ownKeys are the keys of the user that the key belongs to: a rotation.Keys. The
// calls are made by the user itself, which RAM can allow to everybody; where the
// user may not, and the mount works as a role of the same account, by the role.
type ownKeys struct {
	ram.Keys
	cloud         *cloud
	key           ram.AccessKey
	account, user string
}

// ownKeys finds out whose key it is, unless a rotation under way has noted it.
func (k rootKey) ownKeys(ctx context.Context, key ram.AccessKey, state rotation.State) (*ownKeys, error) {
	cloud, err := k.b.cloud(ctx, k.s)
	if err != nil {
		return nil, err
	}
	if cloud == nil {
		return nil, rotation.ErrKeyGone
	}
	own := &ownKeys{cloud: cloud, key: key, account: state.AccountID, user: state.UserName}
	own.Keys = ram.Keys{Call: own.call}
	if state.Unfinished() && state.UserName != "" {
		return own, nil
	}
	who, err := cloud.IdentityOf(ctx, key.Signing())
	if err != nil {
		return nil, err
	}
	user, isUser := strings.CutPrefix(who.ARN, "acs:ram::"+who.AccountID+":user/")
	switch {
	case who.IdentityType == "Account":
		return nil, refuse("the key in config is that of the root account %s, which RAM has no call to rotate: create a RAM user with the rights "+
			"the mount needs, and write its key to config", who.AccountID)
	case !isUser:
		return nil, refuse("the key in config belongs to %s, which is not a RAM user: only keys of RAM users can be rotated", who.ARN)
	}
	own.account, own.user = who.AccountID, user
	return own, nil
}

func (o *ownKeys) Owner() (account, user string) { return o.account, o.user }

func (o *ownKeys) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	err := o.cloud.CallAs(ctx, o.key.Signing(), repeatable, action, params, out)
	var refused *openapi.Error
	if !errors.As(err, &refused) || !ram.Denied(refused) && !refused.KeyRefused() {
		return err
	}
	who, unknown := o.cloud.Whoami(ctx)
	if unknown != nil || who.AccountID != o.account {
		return err // a user of that name in another account is another user
	}
	named := map[string]string{"UserName": o.user}
	maps.Copy(named, params)
	again := o.cloud.Call(ctx, repeatable, action, named, out)
	if ram.Denied(again) && !openapi.Ambiguous(again) {
		return err
	}
	return again
}

// Probe asks STS, then RAM, which must know the new key too before it is the
// only one. Any answer but "unknown key" shows that.
func (o *ownKeys) Probe(ctx context.Context, k ram.AccessKey) error {
	if err := o.cloud.Probe(ctx, k, o.account, o.user); err != nil {
		return err
	}
	err := o.cloud.CallAs(ctx, k.Signing(), true, "ListAccessKeys", nil, nil)
	if ram.Denied(err) {
		return nil
	}
	return err
}

// CleanUp cleans up after rotations that a write of config has ended.
func (k rootKey) CleanUp(ctx context.Context) (again time.Time, err error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return time.Time{}, err
	}
	var failures []error
	for _, old := range c.Superseded {
		keys, err := k.ownKeys(ctx, old.Key, old.State)
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

// rotation is what is left of it to undo: all but the key that config has now.
func (old superseded) asRotation(c *config) *rotation.Rotation {
	return &rotation.Rotation{Current: ram.AccessKey{ID: c.AccessKey}, State: old.State}
}

// undoAll removes what rotations have left in the cloud, as far as it can at
// once, and tells what it could not.
func (k rootKey) undoAll(ctx context.Context) (left []string) {
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
		keys, err := k.ownKeys(ctx, old.Key, old.State)
		if err == nil {
			err = rotation.UndoAll(ctx, keys, old.asRotation(c))
		}
		if err != nil {
			left = append(left, fmt.Sprintf("a rotation was under way, and RAM user %s may hold a second AccessKey beside %s: look at its keys", old.UserName, old.Key.ID))
		}
	}
	return left
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
