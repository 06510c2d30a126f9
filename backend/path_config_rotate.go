package backend

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// rotateRootFields are those of config that the answer to config/rotate-root has.
func rotateRootFields() fields[config] {
	return configFields().only("access_key", "last_rotated", "next_rotation", "rotation_state")
}

func (b *backend) pathConfigRotateRoot() *framework.Path {
	return &framework.Path{
		Pattern:      "config/rotate-root",
		DisplayAttrs: display("rotate", "root-credentials"),
		Fields: map[string]*framework.FieldSchema{
			"force": {
				Type: framework.TypeBool,
				Description: "Where RAM's two places for keys are taken: delete a second key that is inactive, and disable and delete at once the key " +
					"of the rotation before. An active key that is not this mount's is never deleted. Default false.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(operation(b.rotateRoot, "Rotate the AccessKey in config now.", rotateRootFields().response())),
		},
		HelpSynopsis: "Rotate the engine's own AccessKey.",
		HelpDescription: `
The RAM user whose key is in config gets a new one: it is made, stored beside
the current one, and takes its place once GetCallerIdentity answers it. The old
key is disabled two minutes later and deleted after rotation_grace_period. From
then on nobody but Vault knows the key.

    vault write -f alicloud/config/rotate-root

RAM allows a user two keys, so the user must have no other. With
credential_type=ram_role_arn the key of the RAM user that assumes the role is
rotated, by the user itself or, where it may not, by the role if both are of the
same account. The keys of a root account cannot be rotated: RAM has no call.

What is interrupted goes on by itself, also a request that got no answer; "vault read alicloud/config" shows
rotation_state. A schedule is set with rotation_period or rotation_schedule of
config.
`,
	}
}

func (b *backend) rotateRoot(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly
	}
	c, err := load[config](ctx, req.Storage, configKey)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return logical.ErrorResponse(b.notConfigured()), nil
	}
	if err := c.rotatable(); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	switched, err := b.queue.Rotate(ctx, rootKey{b, req.Storage}, rotation.Demand{Now: true, Force: data.Get("force").(bool)})
	if err != nil {
		return answer("rotating the AccessKey in config", err)
	}
	if c, err = load[config](ctx, req.Storage, configKey); err != nil || c == nil {
		return nil, errors.Join(err, rotation.ErrKeyGone)
	}
	resp := &logical.Response{Data: rotateRootFields().read(c)}
	if !switched {
		resp.AddWarning(goesOn)
	}
	return resp, nil
}
