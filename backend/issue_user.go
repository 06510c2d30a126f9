package backend

import (
	"context"
	"maps"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issueUser issues a RAM user with an AccessKey, a login to the console, or both. It is
// deleted when the lease ends.
func (b *backend) issueUser(ctx context.Context, c credsRequest) (*logical.Response, error) {
	u, plan, err := b.plan(ctx, c, ram.User)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	login, err := b.planConsoleLogin(ctx, c, &u, &plan)
	if err != nil {
		return answer("preparing a login to the console", err)
	}
	n, err := b.begin(ctx, c, u)
	if err != nil {
		return nil, err
	}
	key, err := n.create(ctx, plan)
	var warnings []string
	if err == nil && key.ID != "" {
		warnings = n.waitUntilUsable(ctx, key.Signing())
	}
	if resp, err := n.conclude(ctx, "creating a RAM user", err); resp != nil || err != nil {
		return resp, err
	}
	internal, err := n.issued.leaseData(leaseRAM, c.name)
	if err != nil {
		return nil, err
	}
	data := map[string]interface{}{"username": u.UserName, "credential_type": typeRAMUser}
	if key.ID != "" {
		data["access_key"], data["secret_key"] = key.ID, key.Secret
	}
	maps.Copy(data, login.data())
	resp := b.Secret(secretType).Response(data, internal)
	resp.Secret.TTL, resp.Secret.MaxTTL = c.ttl, c.role.MaxTTL
	return warned(resp, warnings), nil
}
