package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// mfaDevices are what removals of the user know of its MFA devices. They keep it in
// the index, where a repeat, a rollback and another process find it.
func (b *backend) mfaDevices(ctx context.Context, s logical.Storage, u issued) (ram.MFADevices, error) {
	devices := ram.MFADevices{
		Note: func(ctx context.Context, serial string) error { return b.noteMFADevice(ctx, s, u, serial) },
		Left: func(serial string, refusal error) {
			b.Logger().Warn("an MFA device stays in the account, bound to nobody: RAM does not delete it", "device", serial, "of", u.name(), "reason", oneLine(refusal))
		},
	}
	if u.UserName == "" {
		return devices, nil
	}
	entry, err := b.indexed(ctx, s, u)
	devices.Known = entry.MFADevices
	return devices, err
}

// noteMFADevice writes it into the entry of the index.
func (b *backend) noteMFADevice(ctx context.Context, s logical.Storage, u issued, serial string) error {
	entry, err := b.indexed(ctx, s, u)
	if err != nil {
		return err
	}
	entry.MFADevices = append(entry.MFADevices, serial)
	return b.saveIssued(ctx, s, entry)
}
