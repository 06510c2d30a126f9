package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathRole() *framework.Path {
	write := change(b.writeRole, "Create or change a role. Fields that are not given keep their value.")
	return &framework.Path{
		Pattern:        rolePrefix + framework.GenericNameRegex("name"),
		DisplayAttrs:   display("", "role"),
		Fields:         roleFields().schemas(),
		ExistenceCheck: b.roleExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.ReadOperation:   operation(b.readRole, "Read a role.", roleFields().response()),
			logical.DeleteOperation: change(b.deleteRole, "Delete a role. Its leases live on until they end or are revoked."),
		},
		HelpSynopsis:    roleHelpSynopsis,
		HelpDescription: roleHelpDescription,
	}
}

// pathRoles lists. It must never take a write: the Terraform provider's tests
// expect "unsupported operation" for a role without a name.
func (b *backend) pathRoles() *framework.Path {
	return &framework.Path{
		Pattern:      rolePrefix + "?$",
		DisplayAttrs: display("list", "roles"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: operation(b.listRoles, "List the names of the roles.", map[string]*framework.FieldSchema{
				"keys":     {Type: framework.TypeStringSlice, Description: "Names of the roles."},
				"key_info": {Type: framework.TypeMap, Description: "By name: credential_type, and ttl and max_ttl in seconds. Left out where there are more than 200 roles."},
			}),
		},
		HelpSynopsis:    "List the roles.",
		HelpDescription: "Lists the names of all roles; of up to 200, with the credential type and the lifetimes of each in key_info.",
	}
}

func (b *backend) roleExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	r, err := loadRole(ctx, req.Storage, data.Get("name").(string))
	return r != nil, err
}

func (b *backend) readRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	r, err := loadRole(ctx, req.Storage, data.Get("name").(string))
	if err != nil || r == nil {
		return nil, err
	}
	for n, p := range r.InlinePolicies {
		if !json.Valid(p.PolicyDocument) {
			return nil, fmt.Errorf("the stored inline_policies[%d] is not JSON: write the role again", n)
		}
	}
	return &logical.Response{Data: r.read()}, nil
}

func (b *backend) writeRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	b.roleWrite.Lock()
	defer b.roleWrite.Unlock()
	r, err := loadRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &role{}
	}
	if err := r.update(data); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	err = save(ctx, req.Storage, rolePrefix+name, r)
	b.forgetRole(name) // also when the write failed: it may have happened
	if err != nil {
		return nil, err
	}
	return warned(nil, r.warnings(b.System().MaxLeaseTTL())), nil
}

func (b *backend) deleteRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	b.roleWrite.Lock() // a write that has read the role would bring it back
	defer b.roleWrite.Unlock()
	entry, err := req.Storage.Get(ctx, rolePrefix+name)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return b.nothingDeleted(ctx, req.Storage, roleNames, name)
	}
	err = req.Storage.Delete(ctx, rolePrefix+name)
	b.forgetRole(name)
	return nil, err
}

// maxDescribed bounds a list with key_info: each role that is not cached is a call to
// Vault and back, a quarter of a millisecond.
const maxDescribed = 200

func (b *backend) listRoles(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, rolePrefix)
	if err != nil {
		return nil, err
	}
	if len(names) > maxDescribed {
		return logical.ListResponse(names), nil
	}
	info := make(map[string]interface{}, len(names))
	for _, name := range names {
		r, err := b.roles.get(ctx, req.Storage, name)
		if err != nil {
			return nil, err
		}
		if r != nil {
			info[name] = map[string]interface{}{
				"credential_type": r.roleType.name,
				"ttl":             int64(r.TTL / time.Second),
				"max_ttl":         int64(r.MaxTTL / time.Second),
			}
		}
	}
	return logical.ListResponseWithInfo(names, info), nil
}

const roleHelpSynopsis = "Read, write and delete the roles that credentials are issued for."

const roleHelpDescription = `
A role says what a read of creds/<name> issues:

  ram_role_arn   A session of an existing RAM role. Give role_arn.

    vault write alicloud/role/deploy \
        role_arn=acs:ram::1234567890123456:role/deploy ttl=1h

  ram_user       A RAM user with an AccessKey, deleted when the lease ends.
                 Give remote_policies, inline_policies or ram_groups. With
                 console_login it signs in to the console, and has an AccessKey
                 only with access_key=true.

    vault write alicloud/role/ci \
        remote_policies=name:AliyunOSSReadOnlyAccess,type:System \
        ttl=1h max_ttl=24h

                 A policy with ,resource_group:rg-... counts for the resources
                 of that group alone; for inline_policies there is the field
                 resource_group.

  ram_role       A session of a RAM role made for the lease and deleted with
                 it: the only session that can be revoked. Give
                 credential_type=ram_role and policies as for ram_user.

  oidc_role_arn  A session by AssumeRoleWithOIDC: no AccessKey is needed. Give
                 credential_type, role_arn, oidc_provider_arn and
                 oidc_token_file_path.

  ecs_ram_role, credentials_uri, sts, bearer, access_key
                 What that source holds; revoking the lease does not end it.

A write keeps the fields that it does not give. To change a role from one type
to another, clear the fields of the first in the same write: role_arn="", or
inline_policies="[]" remote_policies="" ram_groups="".

Sessions other than those of ram_role cannot be renewed or revoked: Alibaba
Cloud offers no way to end them before they expire, so keep ttl short, or set
expire_with_lease. A RAM user or RAM role is deleted at once.
`
