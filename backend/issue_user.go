package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// issueUser issues a RAM user with an AccessKey, deleted when the lease ends.
func (b *backend) issueUser(ctx context.Context, i issuance) (*logical.Response, error) {
	u, documents, resp, err := b.plan(ctx, i)
	if resp != nil || err != nil {
		return resp, err
	}
	u.UserName, u.RAMRole = u.RAMRole, ""
	u.RAMGroups = append([]string{}, i.role.RAMGroups...)
	var key accessKey
	resp, err = b.create(ctx, i, &u, "creating a RAM user", func(record func() error) (err error) {
		key, err = createUser(ctx, i.cloud, u, documents, i.mark(), b.holders.others, record)
		u.AccessKeyID = key.AccessKeyID
		return err
	})
	if resp != nil || err != nil {
		return resp, err
	}
	internal, err := u.leaseData(leaseRAM, i.name)
	if err != nil {
		return nil, err
	}
	resp = b.Secret(secretType).Response(map[string]interface{}{
		"access_key":      key.AccessKeyID,
		"secret_key":      key.AccessKeySecret,
		"username":        u.UserName,
		"credential_type": typeRAMUser,
	}, internal)
	resp.Secret.TTL, resp.Secret.MaxTTL = i.want, i.role.MaxTTL
	return resp, nil
}

// createUser makes what u names, in two waves of parallel calls: user and
// policies, then everything that needs the user.
func createUser(ctx context.Context, c *cloud, u issued, documents []policyDocument, mark marks, exists func(string) bool, record func() error) (accessKey, error) {
	var first wave
	first.add(func() error { return c.createUser(ctx, u.UserName, mark.ofRole) })
	addPolicies(ctx, &first, c, documents, mark, exists)
	if err := first.run(); err != nil {
		return accessKey{}, err
	}

	var key accessKey
	var second wave
	second.add(record)
	visible := func(call func() error) func() error {
		return func() error { return eventually(ctx, "EntityNotExist.User", call) }
	}
	second.add(visible(func() (err error) {
		key, err = c.createAccessKey(ctx, u.UserName)
		return err
	}))
	addAttachments(ctx, &second, c, u, documents, mark, visible)
	for _, group := range u.RAMGroups {
		second.add(visible(func() error { return c.addToGroup(ctx, u.UserName, group) }))
	}
	return key, second.run()
}
