package backend

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/time/rate"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// pace bounds the calls for all static roles in one account together. RAM allows 20
// writes and 100 reads a second to an account, which has other users too.
type pace struct{ writes, reads *rate.Limiter }

func newPace() pace { return pace{writes: rate.NewLimiter(10, 1), reads: rate.NewLimiter(40, 1)} }

// paced waits for its turn. The limiter refuses at once where that comes too late.
func paced(ctx context.Context, limit *rate.Limiter) error {
	if limit.Wait(ctx) != nil {
		return cmp.Or(ctx.Err(), errors.New("there was no time: too many calls for static roles are waiting, and RAM takes only so many a second"))
	}
	return nil
}

// userKeys are the keys of one RAM user other than the mount's own: a
// rotation.Keys, whose calls are made by the principal of the mount.
type userKeys struct {
	ram.Keys
	pace    pace
	cloud   *ram.Client // with the same credentials for all calls
	account string
}

// staticUser is the RAM user of a static role, and where it is.
type staticUser struct {
	name    string
	account string      // in which it was first seen; "": not yet
	role    accountRole // as which the mount works there
}

func (r *staticRole) user(account string) staticUser {
	return staticUser{r.UserName, account, r.accountRole}
}

// userKeys refuses the user that the mount works with, and a user of another account
// than that which the user was first seen in: one of the same name there is another
// user.
func (b *backend) userKeys(ctx context.Context, s logical.Storage, user staticUser) (*userKeys, error) {
	cloud, err := b.cloud(ctx, s)
	if err != nil {
		return nil, err
	}
	if cloud == nil {
		return nil, refuse("%s", b.notConfigured())
	}
	cloud = cloud.as(user.role)
	one, err := cloud.OneKey(ctx)
	if err != nil {
		return nil, err
	}
	who, err := one.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	own, err := cloud.principals(ctx, who)
	if err != nil {
		return nil, err
	}
	if own.include(ram.Entity{Kind: ram.User, Name: user.name}) {
		return nil, refuse("RAM user %s is the one that this mount works with, and would lose its key to the static role: "+
			"rotate a key in config with config/rotate-root, and give a static role a user of its own", user.name)
	}
	if user.account != "" && user.account != who.AccountID {
		return nil, refuse("RAM user %s belongs to account %s, but this mount is now configured for account %s: "+
			"write assume_role_arn=acs:ram::%s:role/<name> to the static role, or credentials of that account to config", user.name, user.account, who.AccountID, user.account)
	}
	u := &userKeys{pace: cloud.pace, cloud: one, account: who.AccountID}
	u.Keys = ram.Keys{User: user.name, Call: u.call}
	return u, nil
}

func (u *userKeys) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	limit := u.pace.writes
	if strings.HasPrefix(action, "List") {
		limit = u.pace.reads
	}
	if err := paced(ctx, limit); err != nil {
		return err
	}
	return u.cloud.Call(ctx, repeatable, action, params, out)
}

func (u *userKeys) Owner() (account, user string) { return u.account, u.User }

func (u *userKeys) Probe(ctx context.Context, k ram.AccessKey) error {
	if err := paced(ctx, u.pace.reads); err != nil {
		return err
	}
	return u.cloud.Probe(ctx, k, u.account, u.User)
}

// outlived refuses where a key of the rotation, or the current one, works although RAM
// knows no user of that name: the user has another name by now.
func (u *userKeys) outlived(ctx context.Context, r *rotation.Rotation, current bool) error {
	var keys []ram.AccessKey
	if current {
		keys = append(keys, r.Current)
	}
	if r.Pending != nil {
		keys = append(keys, r.Pending.AccessKey)
	}
	for _, k := range keys {
		if err := paced(ctx, u.pace.reads); err != nil {
			return err
		}
		who, err := u.cloud.IdentityOf(ctx, k.Signing())
		refused, answered := errors.AsType[*openapi.Error](err)
		switch {
		case err == nil:
			return refuse("RAM has no user %s any longer, but AccessKey %s works, as %s: the user was renamed. Delete the key in RAM", u.User, k.ID, who.ARN)
		case !answered || refused.Temporary():
			return err
		}
	}
	return nil
}
