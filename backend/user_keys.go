package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/time/rate"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// pace bounds the calls for all static roles of a mount together. RAM allows 20
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
	cloud   *cloud
	account string
	root    string // AccessKey ID in config, never to be touched
}

// userKeys refuses a user of another account than that which the user was first
// seen in, "" before that: one of the same name there is another user.
func (b *backend) userKeys(ctx context.Context, s logical.Storage, user, account string) (*userKeys, error) {
	cloud, err := b.cloud(ctx, s)
	if err != nil {
		return nil, err
	}
	c, err := load[config](ctx, s, configKey)
	if err != nil {
		return nil, err
	}
	if cloud == nil || c == nil {
		return nil, refuse("%s", b.notConfigured())
	}
	who, err := cloud.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	if account != "" && account != who.AccountID {
		return nil, refuse("RAM user %s belongs to account %s, but this mount is now configured for account %s", user, account, who.AccountID)
	}
	u := &userKeys{pace: b.pace, cloud: cloud, account: who.AccountID, root: c.AccessKey}
	u.Keys = ram.Keys{User: user, Call: u.call}
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

func (u *userKeys) List(ctx context.Context) ([]ram.AccessKey, error) {
	keys, err := u.Keys.List(ctx)
	if slices.ContainsFunc(keys, func(k ram.AccessKey) bool { return k.ID == u.root }) {
		return nil, refuse("RAM user %s is the one whose key is in config: rotate it with config/rotate-root", u.User)
	}
	return keys, err
}

func (u *userKeys) Disable(ctx context.Context, id string) error {
	if err := u.notRoot(id); err != nil {
		return err
	}
	return u.Keys.Disable(ctx, id)
}

func (u *userKeys) Delete(ctx context.Context, id string) error {
	if err := u.notRoot(id); err != nil {
		return err
	}
	return u.Keys.Delete(ctx, id)
}

func (u *userKeys) notRoot(id string) error {
	if id == u.root {
		return refuse("AccessKey %s is the one in config: rotate it with config/rotate-root", id)
	}
	return nil
}

func (u *userKeys) Probe(ctx context.Context, k ram.AccessKey) error {
	if err := paced(ctx, u.pace.reads); err != nil {
		return err
	}
	return u.cloud.Probe(ctx, k, u.account, u.User)
}
