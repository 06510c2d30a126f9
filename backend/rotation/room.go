package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// makeRoom refuses where the user has keys that are neither current nor to be
// replaced. With force it deletes one that is inactive; an active one never.
func (r *Rotation) makeRoom(ctx context.Context, keys Keys, listed []ram.AccessKey, force bool) error {
	foreign := r.foreign(listed)
	if force && len(foreign) == 1 && foreign[0].Status == "Inactive" {
		return keys.Delete(ctx, foreign[0].ID)
	}
	_, user := keys.Owner()
	return r.CheckRoom(user, listed)
}

// foreign are the keys that the rotation does not know.
func (r *Rotation) foreign(listed []ram.AccessKey) []ram.AccessKey {
	return slices.DeleteFunc(slices.Clone(listed), func(k ram.AccessKey) bool { return k.ID == r.Current.ID || k.ID == r.Replaces })
}

// CheckRoom refuses where the user has keys that take the place of the one that
// a rotation makes.
func (r *Rotation) CheckRoom(user string, listed []ram.AccessKey) error {
	foreign := r.foreign(listed)
	if len(foreign) == 0 {
		return nil
	}
	all := make([]string, 0, len(listed))
	for _, k := range listed {
		what := k.Status
		switch k.ID {
		case r.Current.ID:
			what += ", the current one"
		case r.Replaces:
			what += ", the one to be replaced"
		}
		all = append(all, fmt.Sprintf("%s (%s)", k.ID, what))
	}
	fix := "delete the one that is not in use, or disable it and use force=true"
	if len(foreign) == 1 && foreign[0].Status == "Inactive" {
		fix = "delete " + foreign[0].ID + ", or use force=true to have it deleted"
	}
	return Refuse("RAM user %s has the AccessKeys %s; RAM allows two, and rotation needs the place of the second: %s",
		user, strings.Join(all, " and "), fix)
}
