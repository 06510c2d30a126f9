package backend

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// staticKey is the key of a static role: a rotation.Key.
type staticKey struct {
	b    *backend
	s    logical.Storage
	name string // of the role
}

func (k staticKey) Name() string { return staticRolePrefix + k.name }

func (k staticKey) Load(ctx context.Context) (*rotation.Rotation, error) {
	r, err := load[staticRole](ctx, k.s, k.Name())
	if err != nil || r == nil {
		return nil, err
	}
	return r.asRotation(), nil
}

func (k staticKey) Change(ctx context.Context, current string, f func(*rotation.Rotation)) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	r, err := load[staticRole](ctx, k.s, k.Name())
	if err != nil {
		return err
	}
	if r == nil || r.AccessKey != current {
		return rotation.ErrKeyGone
	}
	now := r.asRotation()
	f(now)
	r.AccessKey, r.SecretKey, r.Replaces, r.Rotation = now.Current.ID, now.Current.Secret, now.Replaces, now.State
	return save(ctx, k.s, k.Name(), r)
}

func (k staticKey) Keys(ctx context.Context, r *rotation.Rotation) (rotation.Keys, error) {
	stored, err := load[staticRole](ctx, k.s, k.Name())
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, rotation.ErrKeyGone
	}
	return k.b.userKeys(ctx, k.s, stored.user(r.AccountID))
}

// CleanUp has nothing to do: a write of a static role never ends its rotation.
func (staticKey) CleanUp(context.Context) (time.Time, error) { return time.Time{}, nil }

// add stores a new role if its user can be rotated, and nobody else does so.
func (k staticKey) add(ctx context.Context, r *staticRole, given ram.AccessKey) (warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	release, err := k.b.queue.Take(ctx, k.Name())
	if err != nil {
		return nil, err
	}
	defer release()
	switch there, err := k.Load(ctx); {
	case err != nil:
		return nil, err
	case there != nil:
		return nil, refuse("static-role/%s: another request has just created it: read the role, and write again what is to change", k.name)
	}
	user, err := k.b.userKeys(ctx, k.s, r.user(""))
	if err != nil {
		return nil, err
	}
	if other := k.b.staticUsers.claim(user.account, r.UserName, k.name); other != "" {
		return nil, refuse("username: RAM user %s belongs to static-role/%s already: a user can have one role", r.UserName, other)
	}
	defer func() {
		if err != nil {
			k.b.staticUsers.forget(user.account, r.UserName, k.name)
		}
	}()
	if warnings, err = k.begin(ctx, r, user, given); err != nil {
		return nil, err
	}
	if err := k.put(ctx, r); err != nil {
		return nil, err
	}
	due := time.Time{} // the request makes the first key itself
	if r.AccessKey != "" {
		due = r.asRotation().Due()
	}
	k.b.queue.Put(k.Name(), r.Rotation.AccountID, due)
	return warnings, nil
}

// begin asks RAM about the user and the given key, and says how the rotation of
// the role begins: with the key that is adopted, or with a new one in its place.
func (k staticKey) begin(ctx context.Context, r *staticRole, user *userKeys, given ram.AccessKey) (warnings []string, err error) {
	listed, err := user.List(ctx)
	switch {
	case ram.HasCode(err, "EntityNotExist.User"):
		return nil, refuse("username: RAM user %s does not exist in account %s", r.UserName, user.account)
	case err != nil:
		return nil, err
	}
	now := time.Now().UTC()
	r.Rotation = rotation.State{AccountID: user.account, UserName: r.UserName, NextRotation: now}
	switch {
	case given.ID == "":
		return nil, nil
	case given.Secret != "":
		if err := adoptable(ctx, user, given); err != nil {
			return nil, err
		}
		r.AccessKey, r.SecretKey = given.ID, given.Secret
		r.Rotation.LastRotated, r.Rotation.NextRotation = now, r.Next(now)
		if full := r.asRotation().CheckRoom(r.UserName, listed); full != nil {
			warnings = append(warnings, "The key was adopted, but its next rotation will be refused: "+full.Error())
		}
		return warnings, nil
	case !slices.ContainsFunc(listed, func(k ram.AccessKey) bool { return k.ID == given.ID }):
		return nil, refuse("access_key: RAM user %s has no AccessKey %s", r.UserName, given.ID)
	}
	r.Replaces = given.ID
	return nil, nil
}

// adoptable tells why a given key cannot be taken: it is not the user's, or does
// not work.
func adoptable(ctx context.Context, user *userKeys, given ram.AccessKey) error {
	err := user.Probe(ctx, given)
	refused, answered := errors.AsType[*openapi.Error](err)
	switch {
	case err == nil:
		return nil
	case answered && !refused.Temporary():
		return refuse("access_key and secret_key do not work, and were not adopted: %s", oneLine(err))
	case answered || errors.As(err, new(*openapi.NetworkError)):
		return err
	}
	return refuse("access_key: %s", oneLine(err))
}

// firstKey makes the first key of a new role. Where nothing can have been made
// the role goes again, so that the request can be repeated as it was.
func (k staticKey) firstKey(ctx context.Context, user string, force bool) (warnings []string, err error) {
	switched, err := k.b.queue.Rotate(ctx, k, rotation.Demand{Now: true, Force: force})
	if switched {
		return nil, nil
	}
	r, unread := k.Load(ctx)
	if err != nil && unread == nil && r != nil && !r.Unfinished() && r.Current.ID == "" {
		return nil, errors.Join(err, k.drop(ctx, r.AccountID, user))
	}
	warnings = []string{goesOn}
	if err != nil {
		warnings = append(warnings, "The last call failed: "+explained(err))
	}
	return warnings, nil
}

func (k staticKey) put(ctx context.Context, r *staticRole) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	return save(ctx, k.s, k.Name(), r)
}

// drop forgets the role.
func (k staticKey) drop(ctx context.Context, account, user string) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	if err := k.s.Delete(ctx, k.Name()); err != nil {
		return err
	}
	k.b.queue.Remove(k.Name())
	k.b.staticUsers.forget(account, user, k.name)
	return nil
}

// removeKeys removes from the cloud what a rotation has left, the key in its
// grace period included, and the current key if asked to.
func (k staticKey) removeKeys(ctx context.Context, r *staticRole, current bool) error {
	current = current && r.AccessKey != ""
	if !current && !r.Rotation.Unfinished() {
		return nil
	}
	keys, err := k.b.userKeys(ctx, k.s, r.user(r.Rotation.AccountID))
	if err != nil {
		return err
	}
	if _, err := keys.List(ctx); ram.HasCode(err, "EntityNotExist.User") {
		return keys.outlived(ctx, r.asRotation(), current)
	}
	if err := rotation.UndoAll(ctx, keys, r.asRotation()); err != nil || !current {
		return err
	}
	return keys.Delete(ctx, r.AccessKey)
}
