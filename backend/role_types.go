package backend

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Credential types of Vault's own: what is created for a lease.
const (
	typeRAMUser = "ram_user"
	typeRAMRole = "ram_role"
)

// roleType is a line in the table of role types: what a read of creds/<name>
// issues, and what belongs to that.
type roleType struct {
	name     string
	issues   string   // what, in the words of the help
	uses     []string // fields beside those of all types
	requests []string // parameters of creds/ beside ttl
	session  bool     // STS gives it for the time of the lease
	creates  ram.Kind // what a lease creates in RAM; "": nothing
	hint     string   // how fields make a role one of this type

	validate func(*role) error
	issue    func(*backend, context.Context, credsRequest) (*logical.Response, error)
	assume   func(*backend, context.Context, credsRequest, sessionRequest) (alicreds.Credentials, error) // of issueSession
	check    func(*roleCheck)
}

// roleTypes is the table. A new type is a line here, and a file with its issuer.
func roleTypes() []roleType {
	const existing, made = "give role_arn", "clear role_arn and role_arns and give inline_policies or remote_policies"
	sessions := []string{"role_arns", "policy", "source_identity", "role_session_name_template", "expire_with_lease", "reuse_ttl", "lease"}
	types := []roleType{
		{
			name: typeRAMRoleARN, issues: "a session of the RAM role in role_arn", session: true, hint: existing,
			uses:     append([]string{"external_id"}, sessions...),
			requests: []string{"role_session_name", "role_arn", "policy"},
			validate: (*role).validateRAMRoleARN, issue: (*backend).issueSession, assume: (*backend).assumeRole, check: (*roleCheck).session,
		},
		{
			name: typeRAMUser, issues: "a RAM user that lives as long as the lease", creates: ram.User, hint: made,
			uses:     []string{"assume_role_arn", "assume_role_external_id", "username_template", "policy_per_lease", "resource_group", "ram_groups", "wait_until_usable", "console_login"},
			validate: (*role).validateRAMUser, issue: (*backend).issueUser, check: (*roleCheck).user,
		},
		{
			name: typeRAMRole, issues: "a session of a RAM role that lives as long as the lease, so that revoking it ends the session", session: true, creates: ram.Role, hint: made,
			uses: []string{
				"assume_role_arn", "assume_role_external_id",
				"ram_groups", "policy", "source_identity", "role_session_name_template", "username_template", "policy_per_lease",
				"resource_group", "trust_policy", "max_session_duration", "wait_until_usable", "lease",
			},
			requests: []string{"role_session_name", "policy"},
			validate: (*role).validateRAMRole, issue: (*backend).issueRAMRole, check: (*roleCheck).ramRole,
		},
		{
			name: typeOIDCRoleARN, issues: "a session of the RAM role in role_arn, by AssumeRoleWithOIDC", session: true, hint: existing,
			uses:     append([]string{"oidc_provider_arn", "oidc_token_file_path", "identity_token_audience", "identity_token_ttl"}, sessions...),
			requests: []string{"role_session_name", "role_arn", "policy"},
			validate: (*role).validateOIDCRoleARN, issue: (*backend).issueSession, assume: (*backend).assumeRoleWithOIDC, check: (*roleCheck).sessionWithOIDC,
		},
	}
	for _, t := range sourceTypes() {
		if t.role {
			types = append(types, roleType{
				name: t.name, issues: "what that source holds",
				uses: slices.Concat([]string{"role_arns", "lease"}, t.needs, t.takes), hint: "clear role_arn, inline_policies, remote_policies and ram_groups",
				validate: (*role).validateSource, issue: (*backend).issueFromSource, check: (*roleCheck).source,
			})
		}
	}
	return types
}

func roleTypeNames() []string {
	var names []string
	for _, t := range roleTypes() {
		names = append(names, t.name)
	}
	return names
}

// resolve finds out which type the fields make the role. The built-in engine
// writes no type, and the Terraform provider changes a role from one of its two
// kinds to the other without one: a type that was written gives way to fields that
// contradict it.
func (r *role) resolve() {
	arn := r.RoleARN != "" || len(r.RoleARNs) > 0 && len(r.InlinePolicies)+len(r.RemotePolicies) == 0
	written, known := roleTypeNamed(r.CredentialType)
	fits := !arn && (written.creates != "" || !r.grants())
	if written.assume != nil {
		fits = arn
	}
	switch {
	case fits && known:
		r.roleType = written
	case fits && r.CredentialType != "":
		r.roleType = unknownType(r.CredentialType)
	case arn:
		r.roleType, _ = roleTypeNamed(typeRAMRoleARN)
	default:
		r.roleType, _ = roleTypeNamed(typeRAMUser)
	}
}

func roleTypeNamed(name string) (t roleType, known bool) {
	types := roleTypes()
	n := slices.IndexFunc(types, func(t roleType) bool { return t.name == name })
	if n < 0 {
		return roleType{}, false
	}
	return types[n], true
}

// unknownType is that of a misspelling, or of a role that a later version wrote.
func unknownType(name string) roleType {
	refused := func() error {
		return refuse("credential_type %q is not known: use one of %s", name, strings.Join(roleTypeNames(), ", "))
	}
	return roleType{
		name: name, uses: []string{"role_arns", "lease"},
		validate: func(*role) error { return refused() },
		issue: func(*backend, context.Context, credsRequest) (*logical.Response, error) {
			return logical.ErrorResponse(refused().Error()), nil
		},
		check: func(c *roleCheck) {
			c.note(finding{Action: name, NeededFor: "issue", Result: checkNo, Fix: refused().Error()})
		},
	}
}

// grants tells whether the role gives rights to what it creates.
func (r *role) grants() bool {
	return len(r.InlinePolicies)+len(r.RemotePolicies)+len(r.RAMGroups) > 0
}

// typeHint says how to make a role one of the type.
func typeHint(name string) string {
	if t, known := roleTypeNamed(name); known {
		return t.hint
	}
	return "use one of " + strings.Join(roleTypeNames(), ", ")
}
