package rotation

import (
	"context"
	"slices"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Undo removes from the cloud what a rotation that is not to go on has left, and
// forgets in r what it removed. It returns when to go on, zero when it is done.
// r.Current is never removed.
func Undo(ctx context.Context, keys Keys, r *Rotation) (again time.Time, err error) {
	if r.Intent != nil {
		if again, err := settled(ctx, keys, r); err != nil || !again.IsZero() {
			return again, err
		}
		r.Intent = nil
	}
	if p := r.Pending; p != nil && p.ID != r.Current.ID {
		if passed(p.MadeAt) < settleAfter { // "does not exist" is not to be believed yet
			listed, err := keys.List(ctx)
			if err != nil {
				return time.Time{}, err
			}
			if !slices.ContainsFunc(listed, func(k ram.AccessKey) bool { return k.ID == p.ID }) {
				return soon(p.MadeAt), nil
			}
		}
		if err := keys.Delete(ctx, p.ID); err != nil {
			return time.Time{}, err
		}
	}
	r.Pending = nil
	if r.Retiring != nil && r.Retiring.ID != r.Current.ID {
		if err := keys.Delete(ctx, r.Retiring.ID); err != nil {
			return time.Time{}, err
		}
	}
	r.Retiring = nil
	return time.Time{}, nil
}

// UndoAll repeats Undo until it is done or the context ends.
func UndoAll(ctx context.Context, keys Keys, r *Rotation) error {
	for {
		again, err := Undo(ctx, keys, r)
		if err != nil || again.IsZero() {
			return err
		}
		if err := ram.Pause(ctx, time.Until(again)); err != nil {
			return err
		}
	}
}
