package backend

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathRole() *framework.Path {
	return &framework.Path{
		Pattern:        rolePrefix + framework.GenericNameRegex("name"),
		DisplayAttrs:   &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "role"},
		Fields:         roleFields(),
		ExistenceCheck: b.roleExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: b.roleWriteOperation(),
			logical.UpdateOperation: b.roleWriteOperation(),
			logical.ReadOperation: &framework.PathOperation{
				Callback: b.readRole,
				Summary:  "Read a role.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK), Fields: roleResponse(),
				}}},
			},
			logical.DeleteOperation: &framework.PathOperation{
				Callback:                    b.deleteRole,
				Summary:                     "Delete a role. Its leases live on until they end or are revoked.",
				Responses:                   noContent(),
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
			},
		},
		HelpSynopsis:    roleHelpSynopsis,
		HelpDescription: roleHelpDescription,
	}
}

func roleFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{
		"name": {
			Type:        framework.TypeLowerCaseString,
			Description: "Name of the role. Upper case is made lower case.",
		},
		"credential_type": {
			Type: framework.TypeString,
			Description: `What a read of creds/<name> issues. "ram_role_arn": a session of the RAM role in role_arn. "ram_user": a RAM ` +
				`user that lives as long as the lease. "ram_role": a session of a RAM role that lives as long as the lease, so that ` +
				`revoking it ends the session. "oidc_role_arn": a session by AssumeRoleWithOIDC. "ecs_ram_role", "credentials_uri", ` +
				`"sts", "bearer", "access_key": what that source holds. Derived when absent: ram_role_arn with role_arn, else ram_user.`,
			AllowedValues: allowed(roleTypes),
		},
		"role_arn": {
			Type: framework.TypeString,
			Description: `ram_role_arn, oidc_role_arn: ARN of the RAM role to assume, acs:ram::<account>:role/<name>. Its trust policy ` +
				`must name the principal of this mount (read config/caller-identity to see it), or the OIDC provider.`,
		},
		"role_arns": {
			Type:        framework.TypeCommaStringSlice,
			Description: "ram_role_arn, oidc_role_arn: further RAM roles; a request chooses one with role_arn. Without role_arn the first is the default.",
		},
		"policy": {
			Type: framework.TypeString,
			Description: `ram_role_arn, oidc_role_arn, ram_role: session policy, one JSON policy document of at most 2048 characters. The ` +
				`session may do what both the RAM role and this policy allow. May hold identity templates.`,
		},
		"external_id": {
			Type:        framework.TypeString,
			Description: "ram_role_arn: external id that the RAM role's trust policy asks for, 2 to 1224 characters.",
		},
		"source_identity": {
			Type:        framework.TypeString,
			Description: "ram_role_arn, oidc_role_arn, ram_role: source identity recorded by ActionTrail with every call of the session. May hold identity templates.",
		},
		"role_session_name_template": {
			Type: framework.TypeString,
			Description: `Sessions: Go template of the session name, with .DisplayName, .RoleName and Vault's template functions. ` +
				`Default: the template of config, else display name, role and 20 random characters.`,
		},
		"username_template": {
			Type: framework.TypeString,
			Description: `ram_user, ram_role: Go template of the name, with .DisplayName, .RoleName and Vault's template functions; 20 ` +
				`random characters are always appended. Default: the template of config, else vault-<display name>-<role>.`,
		},
		"policy_per_lease": {
			Type: framework.TypeBool,
			Description: `ram_user, ram_role: give each lease its own copies of inline_policies, as Vault's built-in engine does. ` +
				`Default false: leases of the same document share one custom policy, removed with the last of them.`,
		},
		"trust_policy": {
			Type:        framework.TypeString,
			Description: "ram_role: trust policy of the RAM roles made. Default: one that trusts the principal of this mount and nobody else.",
		},
		"max_session_duration": {
			Type:        framework.TypeDurationSecond,
			Description: "ram_role: MaxSessionDuration of the RAM roles made, 3600 to 43200 seconds. Default: what ttl needs.",
		},
		"expire_with_lease": {
			Type: framework.TypeBool,
			Description: `ram_role_arn, oidc_role_arn: add a condition on acs:CurrentTime to every Allow of the session policy, so that ` +
				`the session can do nothing after its lease's end, also below 900 seconds. Services that ignore conditions are not stopped.`,
		},
		"reuse_ttl": {
			Type: framework.TypeDurationSecond,
			Description: `ram_role_arn, oidc_role_arn: readers within this many seconds share one session, each with a lease of its own. ` +
				`0, the default: a session for each. What they do cannot be told apart in ActionTrail.`,
		},
		"lease": {
			Type:        framework.TypeBool,
			Description: "Sessions: false issues without a lease, for readers that come so often that leases would pile up. Default true.",
			Default:     true,
		},
		"inline_policies": {
			Type: framework.TypeString,
			Description: `ram_user, ram_role: JSON list of policy documents, each at most 6144 characters, made custom policies of ` +
				`RAM while leases need them. May hold identity templates. "[]" clears the list.`,
		},
		"remote_policies": {
			Type: framework.TypeStringSlice,
			Description: `ram_user, ram_role: policies that exist in RAM, each as "name:<policy>,type:System" or ` +
				`"name:<policy>,type:Custom". An empty list clears it. Names may hold identity templates.`,
		},
		"ram_groups": {
			Type:        framework.TypeCommaStringSlice,
			Description: "ram_user: RAM user groups, at most 5, that each issued user joins.",
		},
		"ttl": {
			Type: framework.TypeDurationSecond,
			Description: `Lifetime of a lease in seconds or as a duration such as "1h". 0: the default of the mount for RAM ` +
				`users, 3600 seconds for sessions. A session lives from 900 to 43200 seconds, as its RAM role allows.`,
		},
		"max_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Longest lifetime of a lease, renewals included, in seconds or as a duration. 0: the maximum of the mount.",
		},
	}
	source := sourceFields()
	delete(source, "public_key_id")
	delete(source, "private_key")
	source["bearer_token"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "bearer: the token. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
	}
	maps.Copy(fields, source)
	return fields
}

func (b *backend) roleWriteOperation() *framework.PathOperation {
	return &framework.PathOperation{
		Callback: b.writeRole,
		Summary:  "Create or change a role. Fields that are not given keep their value.",
		Responses: map[int][]framework.Response{
			http.StatusOK:        {{Description: "Written, with warnings."}},
			http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
		},
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
	}
}

// pathRoles lists. It must never take a write: the Terraform provider's tests
// expect "unsupported operation" for a role without a name.
func (b *backend) pathRoles() *framework.Path {
	return &framework.Path{
		Pattern:      rolePrefix + "?$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "list", OperationSuffix: "roles"},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{
				Callback: b.listRoles,
				Summary:  "List the names of the roles.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK),
					Fields: map[string]*framework.FieldSchema{
						"keys":     {Type: framework.TypeStringSlice, Description: "Names of the roles."},
						"key_info": {Type: framework.TypeMap, Description: "By name: credential_type, and ttl and max_ttl in seconds."},
					},
				}}},
			},
		},
		HelpSynopsis:    "List the roles.",
		HelpDescription: "Lists the names of all roles, with the credential type and the lifetimes of each in key_info.",
	}
}

func (b *backend) roleExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	r, err := load[role](ctx, req.Storage, rolePrefix+data.Get("name").(string))
	return r != nil, err
}

func (b *backend) readRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	r, err := load[role](ctx, req.Storage, rolePrefix+data.Get("name").(string))
	if err != nil || r == nil {
		return nil, err
	}
	inline, err := r.inlineData()
	if err != nil {
		return nil, err
	}
	answer := map[string]interface{}{
		"role_arn":                   r.RoleARN,
		"remote_policies":            r.RemotePolicies,
		"inline_policies":            inline,
		"ttl":                        int64(r.TTL / time.Second),
		"max_ttl":                    int64(r.MaxTTL / time.Second),
		"role_arns":                  append([]string{}, r.RoleARNs...),
		"policy":                     r.Policy,
		"external_id":                r.ExternalID,
		"source_identity":            r.SourceIdentity,
		"role_session_name_template": r.RoleSessionNameTemplate,
		"username_template":          r.UsernameTemplate,
		"ram_groups":                 append([]string{}, r.RAMGroups...),
		"policy_per_lease":           r.PolicyPerLease,
		"trust_policy":               r.TrustPolicy,
		"max_session_duration":       int64(r.MaxSessionDuration / time.Second),
		"expire_with_lease":          r.ExpireWithLease,
		"reuse_ttl":                  int64(r.ReuseTTL / time.Second),
		"lease":                      !r.NoLease,
	}
	r.source.read(answer)
	delete(answer, "public_key_id")
	answer["credential_type"] = r.credentialType()
	return &logical.Response{Data: answer}, nil
}

func roleResponse() map[string]*framework.FieldSchema {
	fields := roleFields()
	for _, hidden := range append(sourceSecrets, "name") {
		delete(fields, hidden)
	}
	for _, seconds := range []string{"ttl", "max_ttl", "max_session_duration", "reuse_ttl", "identity_token_ttl"} {
		fields[seconds] = &framework.FieldSchema{Type: framework.TypeInt64, Description: "Seconds."}
	}
	fields["remote_policies"] = &framework.FieldSchema{Type: framework.TypeSlice, Description: "Policies of RAM, each with name and type; null when never set."}
	fields["inline_policies"] = &framework.FieldSchema{Type: framework.TypeSlice, Description: "Policy documents, each with hash and policy_document; null when never set."}
	return fields
}

func (b *backend) writeRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	b.roleWrite.Lock()
	defer b.roleWrite.Unlock()
	r, err := load[role](ctx, req.Storage, rolePrefix+name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &role{}
	}
	if err := r.update(data); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	if err := r.validate(); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	if err := r.contradiction(data); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	if t, ok := data.GetOk("credential_type"); ok && t != "" && t != r.credentialType() {
		return logical.ErrorResponse("credential_type is %q, but the other fields make the role %q: %s", t, r.credentialType(), typeHint(t.(string))), nil
	}
	err = save(ctx, req.Storage, rolePrefix+name, r)
	b.roles.forget(name) // also when the write failed: it may have happened
	if err != nil {
		return nil, err
	}
	return warned(nil, r.warnings(b.System().MaxLeaseTTL())), nil
}

func (b *backend) deleteRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	b.roleWrite.Lock() // a write that has read the role would bring it back
	defer b.roleWrite.Unlock()
	err := req.Storage.Delete(ctx, rolePrefix+name)
	b.roles.forget(name)
	return nil, err
}

func (b *backend) listRoles(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, rolePrefix)
	if err != nil {
		return nil, err
	}
	info := make(map[string]interface{}, len(names))
	for _, name := range names {
		r, err := load[role](ctx, req.Storage, rolePrefix+name)
		if err != nil {
			return nil, err
		}
		if r != nil {
			info[name] = map[string]interface{}{
				"credential_type": r.credentialType(),
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
                 Give remote_policies, inline_policies or ram_groups.

    vault write alicloud/role/ci \
        remote_policies=name:AliyunOSSReadOnlyAccess,type:System \
        ttl=1h max_ttl=24h

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
