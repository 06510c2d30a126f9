package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issueUser issues a RAM user with an AccessKey, deleted when the lease ends.
func (b *backend) issueUser(ctx context.Context, i issuance) (*logical.Response, error) {
	u, plan, resp, err := b.plan(ctx, i, ram.User)
	if resp != nil || err != nil {
		return resp, err
	}
	n, err := b.begin(ctx, i, u)
	if err != nil {
		return nil, err
	}
	key, err := n.create(ctx, plan)
	if resp, err := n.conclude(ctx, "creating a RAM user", err); resp != nil || err != nil {
		return resp, err
	}
	internal, err := n.made.leaseData(leaseRAM, i.name)
	if err != nil {
		return nil, err
	}
	resp = b.Secret(secretType).Response(map[string]interface{}{
		"access_key":      key.ID,
		"secret_key":      key.Secret,
		"username":        u.UserName,
		"credential_type": typeRAMUser,
	}, internal)
	resp.Secret.TTL, resp.Secret.MaxTTL = i.want, i.role.MaxTTL
	return resp, nil
}
