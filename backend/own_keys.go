package backend

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

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
func (b *backend) ownKeys(ctx context.Context, s logical.Storage, key ram.AccessKey, state rotation.State) (*ownKeys, error) {
	cloud, err := b.cloud(ctx, s)
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
	refused, ok := errors.AsType[*openapi.Error](err)
	if !ok || !ram.Denied(refused) && !refused.KeyRefused() {
		return err
	}
	mount, unknown := o.cloud.OneKey(ctx)
	if unknown != nil {
		return err
	}
	who, unknown := mount.Whoami(ctx)
	if unknown != nil || who.AccountID != o.account {
		return err // a user of that name in another account is another user
	}
	named := map[string]string{"UserName": o.user}
	maps.Copy(named, params)
	again := mount.Call(ctx, repeatable, action, named, out)
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
