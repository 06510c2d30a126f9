package backend

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const rolePrefix = "role/"

// role is stored under role/<name>. The keys of the first block, their encoding
// (durations in nanoseconds, lists null when never set) included, are those of
// Vault's built-in engine, so that a mount can change between the two. Policies that
// count in a resource group or in another account only are stored apart; see elsewhere.
type role struct {
	RoleARN        string         `json:"role_arn"`
	RemotePolicies []ram.Policy   `json:"remote_policies"`
	InlinePolicies []inlinePolicy `json:"inline_policies"`
	TTL            time.Duration  `json:"ttl"`
	MaxTTL         time.Duration  `json:"max_ttl"`

	source
	accountRole
	RoleARNs                []string      `json:"role_arns,omitempty"`
	Policy                  string        `json:"policy,omitempty"`
	ExternalID              string        `json:"external_id,omitempty"`
	SourceIdentity          string        `json:"source_identity,omitempty"`
	RoleSessionNameTemplate string        `json:"role_session_name_template,omitempty"`
	UsernameTemplate        string        `json:"username_template,omitempty"`
	RAMGroups               []string      `json:"ram_groups,omitempty"`
	PolicyPerLease          bool          `json:"policy_per_lease,omitempty"`
	ResourceGroup           string        `json:"resource_group,omitempty"` // of InlinePolicies
	TrustPolicy             string        `json:"trust_policy,omitempty"`
	MaxSessionDuration      time.Duration `json:"max_session_duration,omitempty"`
	ExpireWithLease         bool          `json:"expire_with_lease,omitempty"`
	ReuseTTL                time.Duration `json:"reuse_ttl,omitempty"`
	WaitUntilUsable         time.Duration `json:"wait_until_usable,omitempty"`
	ConsoleLogin            bool          `json:"console_login,omitempty"`
	MFABindRequired         bool          `json:"mfa_bind_required,omitempty"`
	PasswordPolicy          string        `json:"password_policy,omitempty"`
	ConsoleSite             string        `json:"console_site,omitempty"`
	NoLease                 bool          `json:"no_lease,omitempty"`
	RequestParameters       []string      `json:"request_parameters,omitzero"` // nil: never written

	roleType roleType // what the fields make it; see resolve
}

// roleFields is the table of role/<name>.
func roleFields() fields[role] {
	var types strings.Builder
	for _, t := range roleTypes() {
		fmt.Fprintf(&types, "%q: %s. ", t.name, t.issues)
	}
	table := fields[role]{
		parameter[role]("name", framework.TypeLowerCaseString, "Name of the role. Upper case is made lower case, or refused with strict_names in config."),
		text("credential_type", func(r *role) *string { return &r.CredentialType },
			"What a read of creds/<name> issues. "+types.String()+"Derived when absent: ram_role_arn with role_arn, else ram_user.").
			answers(func(r *role) any { return r.roleType.name }).from(roleTypeNames()...),
	}
	table = append(table, within(sourceFields().without("public_key_id", "private_key").
		saying("access_key", "ram_user with console_login: true for an AccessKey beside the login, default false."), func(r *role) *source { return &r.source })...)
	table = append(table, within(accountRoleFields("ram_user, ram_role: "), func(r *role) *accountRole { return &r.accountRole })...)
	return append(table,
		text("role_arn", func(r *role) *string { return &r.RoleARN },
			`ram_role_arn, oidc_role_arn: ARN of the RAM role to assume, acs:ram::<account>:role/<name>. Its trust policy `+
				`must name the principal of this mount (read config/caller-identity to see it), or the OIDC provider.`),
		refusedIfUnused(list("role_arns", func(r *role) *[]string { return &r.RoleARNs },
			"ram_role_arn, oidc_role_arn: further RAM roles; a request chooses one with role_arn. Without role_arn the first is the default."),
			"role_arns must be blank when inline_policies or remote_policies are present"),
		refusedIfUnused(text("policy", func(r *role) *string { return &r.Policy },
			`ram_role_arn, oidc_role_arn, ram_role: session policy, one JSON policy document of at most 2048 characters. The `+
				`session may do what both the RAM role and this policy allow. May hold identity templates.`),
			"policy is for sessions and would not narrow what a role of type %s issues: leave it out"),
		text("external_id", func(r *role) *string { return &r.ExternalID },
			"ram_role_arn: external id that the RAM role's trust policy asks for, 2 to 1224 characters.").
			checked((*role).checkExternalID),
		text("source_identity", func(r *role) *string { return &r.SourceIdentity },
			"ram_role_arn, oidc_role_arn, ram_role: source identity recorded by ActionTrail with every call of the session. May hold identity templates.").
			checked((*role).checkSourceIdentity),
		nameTemplate("role_session_name_template", func(r *role) *string { return &r.RoleSessionNameTemplate },
			`Sessions: Go template of the session name, with .DisplayName, .RoleName and Vault's template functions. `+
				`Default: the template of config, else display name, role and 20 random characters.`),
		nameTemplate("username_template", func(r *role) *string { return &r.UsernameTemplate },
			`ram_user, ram_role: Go template of the name, with .DisplayName, .RoleName and Vault's template functions; 20 `+
				`random characters are always appended. Default: the template of config, else vault-<display name>-<role>.`),
		boolean("policy_per_lease", func(r *role) *bool { return &r.PolicyPerLease },
			`ram_user, ram_role: give each lease its own copies of inline_policies, as Vault's built-in engine does. `+
				`Default false: leases of the same document share one custom policy, removed with the last of them.`),
		refusedIfUnused(text("trust_policy", func(r *role) *string { return &r.TrustPolicy },
			"ram_role: trust policy of the RAM roles made. Default: one that trusts the principal of this mount and nobody else."),
			"trust_policy is for ram_role: leave it out when credential_type is %s"),
		seconds("max_session_duration", func(r *role) *time.Duration { return &r.MaxSessionDuration },
			"ram_role: MaxSessionDuration of the RAM roles made, 3600 to 43200 seconds. Default: what ttl needs."),
		seconds("wait_until_usable", func(r *role) *time.Duration { return &r.WaitUntilUsable },
			`ram_user, ram_role: wait with the answer until STS accepts the new key, for this many seconds at most, 0 to 45. `+
				`The answer has a warning if it does not. 0, the default: answer at once; a new key may be refused for some seconds.`).
			checked((*role).checkUsableWait),
		refusedIfUnused(boolean("console_login", func(r *role) *bool { return &r.ConsoleLogin },
			`ram_user: let the user sign in to the console: the answer has login_url, login_name and password, and an AccessKey only `+
				`with access_key=true. The login ends with the lease.`),
			"console_login is for ram_user: leave it out when credential_type is %s"),
		boolean("mfa_bind_required", func(r *role) *bool { return &r.MFABindRequired },
			"ram_user with console_login: the user must bind an MFA device at the first sign-in, where the account leaves that to its users (MFAOperationForLogin independent)."),
		text("password_policy", func(r *role) *string { return &r.PasswordPolicy },
			"ram_user with console_login: name of the password policy of Vault (sys/policies/password) that passwords are made by. Default: 32 characters of all kinds, which every account takes."),
		text("console_site", func(r *role) *string { return &r.ConsoleSite },
			"ram_user with console_login: the site of the account, for login_url: CN (aliyun.com), the default, or INTL (alibabacloud.com).").
			from(consoleSiteNames()...).checked((*role).checkConsoleSite),
		refusedIfUnused(boolean("expire_with_lease", func(r *role) *bool { return &r.ExpireWithLease },
			`ram_role_arn, oidc_role_arn: add a condition on acs:CurrentTime to every Allow of the session policy, so that `+
				`the session can do nothing after its lease's end, also below 900 seconds. Services that ignore conditions are not stopped.`),
			"expire_with_lease is for ram_role_arn and oidc_role_arn: leave it out when credential_type is %s"),
		refusedIfUnused(duration("reuse_ttl", func(r *role) *time.Duration { return &r.ReuseTTL },
			`ram_role_arn, oidc_role_arn: readers within this many seconds share one session, each with a lease of its own. `+
				`0, the default: a session for each. What they do cannot be told apart in ActionTrail.`),
			"reuse_ttl is for ram_role_arn and oidc_role_arn: leave it out when credential_type is %s"),
		refusedIfUnused(field[role]{
			name: "lease",
			schema: framework.FieldSchema{
				Type:        framework.TypeBool,
				Description: "Sessions: false issues without a lease, for readers that come so often that leases would pile up. Default true.",
				Default:     true,
			},
			set: func(r *role, value any) error { r.NoLease = !value.(bool); return nil },
			get: func(r *role) any { return !r.NoLease },
		}, "lease=false would leave a RAM user behind with every read: leave it out when credential_type is ram_user"),
		field[role]{
			name: "inline_policies",
			schema: framework.FieldSchema{
				Type: framework.TypeString,
				Description: `ram_user, ram_role: JSON list of policy documents, each at most 6144 characters, made custom policies of ` +
					`RAM while leases need them. May hold identity templates. "[]" clears the list.`,
			},
			set: func(r *role, value any) (err error) {
				r.InlinePolicies, err = parseInlinePolicies(value.(string))
				return err
			},
			get:      func(r *role) any { return r.inlineData() },
			answered: framework.TypeSlice,
		},
		text("resource_group", func(r *role) *string { return &r.ResourceGroup },
			`ram_user, ram_role: id of a resource group, rg-..., for whose resources alone inline_policies count. `+
				`Default: they count in the whole account. For a policy of remote_policies, write it there.`).
			checked((*role).checkResourceGroup),
		field[role]{
			name: "remote_policies",
			schema: framework.FieldSchema{
				Type: framework.TypeStringSlice,
				Description: `ram_user, ram_role: policies that exist in RAM, each as "name:<policy>,type:System" or ` +
					`"name:<policy>,type:Custom". With ",resource_group:rg-..." it counts for the resources of that group alone. ` +
					`An empty list clears it. Names may hold identity templates.`,
			},
			set: func(r *role, value any) (err error) {
				r.RemotePolicies, err = parseRemotePolicies(value.([]string))
				return err
			},
			get:      func(r *role) any { return r.RemotePolicies },
			answered: framework.TypeSlice, check: (*role).checkRemotePolicies,
		},
		refusedIfUnused(list("ram_groups", func(r *role) *[]string { return &r.RAMGroups },
			"ram_user: RAM user groups, at most 5, that each issued user joins."),
			"ram_groups must be blank when an arn is present or credential_type is %s"),
		duration("ttl", func(r *role) *time.Duration { return &r.TTL },
			`Lifetime of a lease in seconds or as a duration such as "1h". 0: the default of the mount for RAM `+
				`users, 3600 seconds for sessions. A session lives from 900 to 43200 seconds, as its RAM role allows.`),
		duration("max_ttl", func(r *role) *time.Duration { return &r.MaxTTL },
			"Longest lifetime of a lease, renewals included, in seconds or as a duration. 0: the maximum of the mount, for requests ttl."),
		requestParametersField(),
	)
}

// duration is a number of seconds that is not negative.
func duration(name string, at func(*role) *time.Duration, description string) field[role] {
	return seconds(name, at, description).checked(func(r *role) error {
		if *at(r) < 0 {
			return fmt.Errorf("%s must not be negative", name)
		}
		return nil
	})
}

// ofAllRoles are the fields that each role answers: those of the built-in engine,
// which the Terraform provider reads, the type, and what requests may set.
var ofAllRoles = []string{"credential_type", "role_arn", "remote_policies", "inline_policies", "ttl", "max_ttl", "request_parameters"}

// read answers the fields that the type uses, and what else is stored: it waits
// until the role changes its type.
func (r *role) read() map[string]interface{} {
	data, unset := roleFields().read(r), roleFields().read(&role{})
	if r.roleType.name == typeRAMUser && (r.ConsoleLogin || r.AccessKey != "") {
		data["access_key"] = strconv.FormatBool(r.AccessKey == "true")
	}
	maps.DeleteFunc(data, func(name string, value interface{}) bool {
		return !slices.Contains(ofAllRoles, name) && !r.uses(name) && reflect.DeepEqual(value, unset[name])
	})
	return data
}

// uses tells whether the role has a use for a field that not all roles have.
func (r *role) uses(field string) bool {
	return slices.Contains(r.roleType.uses, field) ||
		r.ConsoleLogin && slices.Contains(r.roleType.uses, "console_login") && slices.Contains(ofConsoleLogin, field)
}

// update takes the fields of a write, and refuses what cannot be. Those that are not
// given keep their value.
func (r *role) update(data *framework.FieldData) error {
	before, users := r.source, r.roleType.name == typeRAMUser
	if err := roleFields().update(r, data); err != nil {
		return err
	}
	if r.resolve(); users != (r.roleType.name == typeRAMUser) {
		r.source.forgetKey(data)
		before = source{}
	}
	if err := r.source.matchKeys(before, data); err != nil {
		return err
	}
	if err := r.takeAccessKey(data); err != nil {
		return err
	}
	if err := r.validate(); err != nil {
		return err
	}
	if err := r.refuseUnusableParameters(data); err != nil {
		return err
	}
	return r.refuseUnused(data)
}

// worksAs is the RAM role as which the mount does what the role is for, none where the
// type of the role has no use for one: what is stored waits until that changes again.
func (r *role) worksAs() accountRole {
	if !r.uses("assume_role_arn") {
		return accountRole{}
	}
	return r.accountRole
}

// arns are the RAM roles that may be assumed, the default first.
func (r *role) arns() []string {
	if r.RoleARN == "" || len(r.RoleARNs) > 0 && r.RoleARNs[0] == r.RoleARN {
		return r.RoleARNs
	}
	return append([]string{r.RoleARN}, r.RoleARNs...)
}

// loadRole reads the role, nil where there is none.
func loadRole(ctx context.Context, s logical.Storage, name string) (*role, error) {
	r, err := load[role](ctx, s, rolePrefix+name)
	if r != nil {
		r.resolve()
	}
	return r, err
}
