package backend

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// remove cleans up in the cloud, in the account in which u was made, then takes the user or role out of the index
// and its shared policies away where it was the last to hold them. It may be
// called any number of times.
func (b *backend) remove(ctx context.Context, s logical.Storage, c *cloud, u issued) error {
	c = c.as(u.accountRole)
	done := u.created()
	var unread error // why it is not known what an earlier try has left: the rest is removed all the same
	done.MFADevices, unread = b.mfaDevices(ctx, s, u)
	if err := c.Remove(ctx, done); err != nil {
		return err
	}
	if unread != nil {
		return unread
	}
	if policies := b.holders.heldBy(u.name()); len(policies) > 0 || len(u.SharedPolicies) > 0 {
		for _, p := range policies { // what tidy removes is known by name only
			if !slices.Contains(u.SharedPolicies, p) {
				u.SharedPolicies = append(u.SharedPolicies, p)
			}
		}
		unused, err := b.holders.release(ctx, s, u)
		if err != nil {
			return err
		}
		var w ram.Wave
		for _, name := range slices.DeleteFunc(unused, u.policyNeverMade) {
			w.Add(func() error {
				stays, err := c.RemoveUnused(ctx, name, u.origin())
				if stays {
					b.Logger().Info("a policy of this mount is attached to something that is not of this mount, and stays", "policy", name)
				}
				return err
			})
		}
		if err := w.Run(); err != nil {
			b.holders.add(u.name(), u.SharedPolicies)
			return err
		}
	}
	return b.forgetEntry(ctx, s, u)
}

// forget takes the user or role out of the index, and leaves the cloud as it is.
func (b *backend) forget(ctx context.Context, s logical.Storage, u issued) error {
	if _, err := b.holders.release(ctx, s, u); err != nil {
		return err
	}
	return b.forgetEntry(ctx, s, u)
}

func (b *backend) forgetEntry(ctx context.Context, s logical.Storage, u issued) error {
	if err := s.Delete(ctx, issuedPrefix+u.name()); err != nil {
		return err
	}
	b.endings.forget(u.name())
	return nil
}
