package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

func (b *backend) pathStaticCred() *framework.Path {
	return &framework.Path{
		Pattern:      "static-cred/" + framework.GenericNameRegex("name"),
		DisplayAttrs: display("read", "static-credentials"),
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the static role."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: operation(b.readStaticCred, "Read the current AccessKey of a static role.", staticCredResponse()),
		},
		HelpSynopsis: "Read the current AccessKey of a static role.",
		HelpDescription: `
The key has no lease. Once an hour a read asks RAM whether it is still there. It stays valid until grace_period after next_rotation; ttl
is the seconds until then that it will be the current one. While the key before
it is still valid, previous_access_key and previous_valid_until name it.

Vault Agent and the Vault Secrets Operator read again when ttl is over.

    vault read alicloud/static-cred/legacy
`,
	}
}

func staticCredResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_key":           {Type: framework.TypeString, Description: "AccessKey ID.", Required: true},
		"secret_key":           {Type: framework.TypeString, Description: "AccessKey secret.", Required: true},
		"username":             {Type: framework.TypeString, Description: "RAM user whose key it is.", Required: true},
		"last_rotation":        {Type: framework.TypeString, Description: "When the key was published, or adopted, RFC 3339 in UTC.", Required: true},
		"next_rotation":        {Type: framework.TypeString, Description: "When the next one will be, RFC 3339 in UTC.", Required: true},
		"ttl":                  {Type: framework.TypeInt64, Description: "Seconds until next_rotation; 0 when that is overdue, or there is none.", Required: true},
		"last_vault_rotation":  {Type: framework.TypeString, Description: "The same as last_rotation, where Vault's clients look for it.", Required: true},
		"rotation_period":      {Type: framework.TypeInt64, Description: "Seconds from one rotation to the next; 0 with a rotation_schedule. Absent if the key is not rotated by itself."},
		"rotation_schedule":    {Type: framework.TypeString, Description: "Cron expression of the rotations; empty with a rotation_period. Absent if the key is not rotated by itself."},
		"rotation_state":       staticRoleFields().response()["rotation_state"],
		"previous_access_key":  {Type: framework.TypeString, Description: "In the grace period: ID of the key before, still valid."},
		"previous_valid_until": {Type: framework.TypeString, Description: "In the grace period: when it ends, RFC 3339 in UTC."},
	}
}

func (b *backend) readStaticCred(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+name)
	if err != nil || r == nil {
		return nil, err
	}
	if r.AccessKey == "" {
		why := ""
		if reason := r.Rotation.Reason(); reason != "" {
			why = "; the last attempt failed: " + reason
		}
		return logical.ErrorResponse("the first key of static role %q is being made and does not work yet: read again in a minute%s", name, why), nil
	}
	seen := staticKey{b, req.Storage, name}.presence(ctx, r)
	if seen.gone != "" {
		return logical.ErrorResponse(seen.gone), nil
	}
	cred := map[string]interface{}{
		"access_key": r.AccessKey, "secret_key": r.SecretKey, "username": r.UserName,
		"last_rotation": rfc3339(r.Rotation.LastRotated), "next_rotation": rfc3339(r.next()),
		"ttl": int64(max(time.Until(r.next()), 0) / time.Second), "rotation_state": r.Rotation.Phase(),
	}
	// Vault Agent and the Vault Secrets Operator know by these names of Vault's
	// other engines that ttl says when to read again. The Agent looks for
	// rotation_period with a schedule, too.
	cred["last_vault_rotation"] = cred["last_rotation"]
	if !r.next().IsZero() {
		cred["rotation_period"], cred["rotation_schedule"] = int64(r.Period/time.Second), r.Cron
	}
	if old := r.Rotation.Retiring; old != nil && !old.Disabled {
		cred["previous_access_key"], cred["previous_valid_until"] = old.ID, rfc3339(old.DisableAt)
	}
	resp := &logical.Response{Data: cred}
	if seen.warn != "" {
		resp.AddWarning(seen.warn)
	}
	return resp, nil
}

// rotateRoleFields are those of a static role that the answer to rotate-role has.
func rotateRoleFields() fields[staticRole] {
	return staticRoleFields().only("access_key", "last_rotation", "next_rotation", "rotation_state")
}

func (b *backend) pathRotateRole() *framework.Path {
	return &framework.Path{
		Pattern:      "rotate-role/" + framework.GenericNameRegex("name"),
		DisplayAttrs: display("rotate", "static-role"),
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the static role."},
			"force": {
				Type: framework.TypeBool,
				Description: "Where RAM's two places for keys are taken: end the grace period of the rotation before, or delete a key that is inactive. " +
					"An active key that is not the role's is never deleted. Default false.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(operation(b.rotateRole, "Rotate the AccessKey of a static role now.", rotateRoleFields().response())),
		},
		HelpSynopsis: "Rotate the AccessKey of a static role now.",
		HelpDescription: `
    vault write -f alicloud/rotate-role/legacy

Does what the role's schedule does, at once. While the key before the current
one is in its grace period there is no place for a third: the request is refused,
unless force=true ends that grace period.
`,
	}
}

func (b *backend) rotateRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if err := b.beginStatic(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := data.Get("name").(string)
	k := staticKey{b, req.Storage, name}
	switch r, err := k.Load(ctx); {
	case err != nil:
		return nil, err
	case r == nil:
		text, _, err := b.noSuchName(ctx, req.Storage, staticRoleNames, name)
		return logical.ErrorResponse(text), err
	}
	switched, err := b.queue.Rotate(ctx, k, rotation.Demand{Now: true, Force: data.Get("force").(bool)})
	if err != nil {
		return answer("rotating static-role/"+name, err)
	}
	r, err := load[staticRole](ctx, req.Storage, k.Name())
	if err != nil || r == nil {
		return nil, err
	}
	resp := &logical.Response{Data: rotateRoleFields().read(r)}
	if !switched {
		resp.AddWarning(goesOn)
	}
	return resp, nil
}
