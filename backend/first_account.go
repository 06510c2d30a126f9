package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// firstAccountKey has the account that the mount worked in until its config was first
// given other credentials. Leases of Vault's built-in engine do not tell their account:
// a mount that was taken over issued them there, and so believes none gone elsewhere.
const firstAccountKey = "first_account"

type firstAccount struct {
	AccountID string `json:"account_id"`
}

// noteFirstAccount asks the credentials in config, once in the life of a mount, before
// they are replaced or deleted. They may be dead by then: that stops no write.
func (b *backend) noteFirstAccount(ctx context.Context, s logical.Storage) error {
	noted, err := load[firstAccount](ctx, s, firstAccountKey)
	if err != nil || noted != nil {
		return err
	}
	c, err := b.cloud(ctx, s)
	if err != nil || c == nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	who, err := c.Whoami(asking)
	if err != nil {
		b.Logger().Warn("the credentials before do not tell their account: a lease of Vault's built-in engine counts as revoked where the new ones do not find its RAM user", "error", oneLine(err))
		return nil
	}
	return save(ctx, s, firstAccountKey, &firstAccount{who.AccountID})
}

// accounted gives a lease that does not tell its account the one that is noted.
func (b *backend) accounted(ctx context.Context, s logical.Storage, l *lease) error {
	if l.AccountID != "" || l.RoleType == leaseSTS {
		return nil
	}
	noted, err := load[firstAccount](ctx, s, firstAccountKey)
	if err == nil && noted != nil {
		l.AccountID = noted.AccountID
	}
	return err
}
