package backend

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/jsonutil"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const rolePrefix = "role/"

// Limits of RAM and STS, from their API references.
const (
	maxGroupsPerUser        = 5
	maxSystemPolicies       = 20 // attached to one user or role
	maxCustomPoliciesOfUser = 10
	maxCustomPoliciesOfRole = 5
)

// role is stored under role/<name>. The keys of the first block, their encoding
// (durations in nanoseconds, lists null when never set) included, are those of
// Vault's built-in engine, so that a mount can change between the two.
type role struct {
	RoleARN        string         `json:"role_arn"`
	RemotePolicies []ram.Policy   `json:"remote_policies"`
	InlinePolicies []inlinePolicy `json:"inline_policies"`
	TTL            time.Duration  `json:"ttl"`
	MaxTTL         time.Duration  `json:"max_ttl"`

	source
	RoleARNs                []string      `json:"role_arns,omitempty"`
	Policy                  string        `json:"policy,omitempty"`
	ExternalID              string        `json:"external_id,omitempty"`
	SourceIdentity          string        `json:"source_identity,omitempty"`
	RoleSessionNameTemplate string        `json:"role_session_name_template,omitempty"`
	UsernameTemplate        string        `json:"username_template,omitempty"`
	RAMGroups               []string      `json:"ram_groups,omitempty"`
	PolicyPerLease          bool          `json:"policy_per_lease,omitempty"`
	TrustPolicy             string        `json:"trust_policy,omitempty"`
	MaxSessionDuration      time.Duration `json:"max_session_duration,omitempty"`
	ExpireWithLease         bool          `json:"expire_with_lease,omitempty"`
	ReuseTTL                time.Duration `json:"reuse_ttl,omitempty"`
	NoLease                 bool          `json:"no_lease,omitempty"`

	kind roleType // what the fields make it; see resolve
}

// templated tells whether the policy is another for each requester.
func templated(p ram.Policy) bool { return policy.Templated(p.Name) }

// inlinePolicy is a policy document kept in the role. Hash is 32 random hex
// digits made when the document is written; it names the policy in RAM.
type inlinePolicy struct {
	Hash           string          `json:"hash"`
	PolicyDocument json.RawMessage `json:"policy_document"`
}

// roleFields is the table of role/<name>.
func roleFields() fields[role] {
	table := fields[role]{
		parameter[role]("name", framework.TypeLowerCaseString, "Name of the role. Upper case is made lower case."),
		text("credential_type", func(r *role) *string { return &r.CredentialType },
			`What a read of creds/<name> issues. "ram_role_arn": a session of the RAM role in role_arn. "ram_user": a RAM `+
				`user that lives as long as the lease. "ram_role": a session of a RAM role that lives as long as the lease, so that `+
				`revoking it ends the session. "oidc_role_arn": a session by AssumeRoleWithOIDC. "ecs_ram_role", "credentials_uri", `+
				`"sts", "bearer", "access_key": what that source holds. Derived when absent: ram_role_arn with role_arn, else ram_user.`).
			answers(func(r *role) any { return r.kind.name }).from(roleTypeNames()...),
	}
	table = append(table, within(sourceFields().without("public_key_id", "private_key"), func(r *role) *source { return &r.source })...)
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
		field[role]{
			name: "remote_policies",
			schema: framework.FieldSchema{
				Type: framework.TypeStringSlice,
				Description: `ram_user, ram_role: policies that exist in RAM, each as "name:<policy>,type:System" or ` +
					`"name:<policy>,type:Custom". An empty list clears it. Names may hold identity templates.`,
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
			"Longest lifetime of a lease, renewals included, in seconds or as a duration. 0: the maximum of the mount."),
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

// update takes the fields of a write, and refuses what cannot be. Those that are not
// given keep their value.
func (r *role) update(data *framework.FieldData) error {
	before := r.source
	if err := roleFields().update(r, data); err != nil {
		return err
	}
	r.resolve()
	if err := r.source.matchKeys(before, data); err != nil {
		return err
	}
	if err := r.validate(); err != nil {
		return err
	}
	return r.refuseUnused(data)
}

func parseInlinePolicies(s string) ([]inlinePolicy, error) {
	docs, err := policy.Documents(s)
	if err != nil {
		return nil, fmt.Errorf("inline_policies %w", err)
	}
	policies := make([]inlinePolicy, len(docs))
	for i, doc := range docs {
		if err := policy.Check(string(doc), policy.MaxDocument); err != nil {
			return nil, fmt.Errorf("inline_policies[%d] %w", i, err)
		}
		var random [16]byte
		rand.Read(random[:])
		policies[i] = inlinePolicy{Hash: hex.EncodeToString(random[:]), PolicyDocument: doc}
	}
	return policies, nil
}

func parseRemotePolicies(list []string) ([]ram.Policy, error) {
	policies := []ram.Policy{}
	for _, s := range list {
		if strings.TrimSpace(s) == "" && len(list) == 1 {
			continue // remote_policies="" clears the list
		}
		var p ram.Policy
		for _, pair := range strings.Split(s, ",") {
			key, value, ok := strings.Cut(pair, ":")
			if !ok || strings.Contains(value, ":") {
				return nil, fmt.Errorf(`remote_policies: unable to recognize pair in %s: write "name:<policy>,type:System" or "name:<policy>,type:Custom"`, pair)
			}
			switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); key {
			case "name":
				p.Name = value
			case "type":
				p.Type = value
			default:
				return nil, fmt.Errorf("remote_policies: invalid key: %s: the keys are name and type", key)
			}
		}
		if p.Name == "" {
			return nil, fmt.Errorf("remote_policies: policy name is required in %s", s)
		}
		if p.Type == "" {
			return nil, fmt.Errorf("remote_policies: policy type is required in %s", s)
		}
		if p.Type != "System" && p.Type != "Custom" {
			return nil, fmt.Errorf(`remote_policies: the type in %q must be System or Custom`, s)
		}
		policies = append(policies, p)
	}
	return policies, nil
}

// refuseUnused refuses what a write gives and the type of the role does not use.
// What is stored may wait until the role changes its type again.
func (r *role) refuseUnused(data *framework.FieldData) error {
	for _, f := range roleFields() {
		if f.unused != "" && f.given(data) && !slices.Contains(r.kind.uses, f.name) {
			return errors.New(strings.ReplaceAll(f.unused, "%s", r.kind.name))
		}
	}
	if t, given := data.GetOk("credential_type"); given && t != "" && t != r.kind.name {
		return fmt.Errorf("credential_type is %q, but the other fields make the role %q: %s", t, r.kind.name, typeHint(t.(string)))
	}
	return nil
}

// validate checks the merged role. Where the built-in engine has an answer its
// text is kept: tests of the Terraform provider look for them.
func (r *role) validate() error {
	if err := roleFields().validate(r); err != nil {
		return err
	}
	if r.MaxTTL > 0 && r.TTL > r.MaxTTL {
		return errors.New("ttl exceeds max_ttl")
	}
	return r.kind.validate(r)
}

func (r *role) checkExternalID() error {
	if alicreds.CheckExternalID(r.ExternalID) != nil {
		return errors.New("external_id must be 2 to 1224 letters, digits and any of _ + = , . @ : / -")
	}
	return nil
}

func (r *role) checkSourceIdentity() error {
	if err := policy.CheckIdentityTemplate(r.SourceIdentity); err != nil {
		return fmt.Errorf("source_identity %w", err)
	}
	return nil
}

func (r *role) checkRemotePolicies() error {
	for n, p := range r.RemotePolicies {
		if err := policy.CheckIdentityTemplate(p.Name); err != nil {
			return fmt.Errorf("remote_policies[%d] %w", n, err)
		}
	}
	return nil
}

// validateSource is for the types whose credentials come from the role's own
// source, which grant nothing in RAM.
func (r *role) validateSource() error {
	if err := r.validateNoGrants("when credential_type is " + r.kind.name); err != nil {
		return err
	}
	return r.source.validate(r.kind.name)
}

func (r *role) validateNoGrants(because string) error {
	switch {
	case len(r.RemotePolicies) > 0:
		return fmt.Errorf("remote_policies must be blank %s", because)
	case len(r.InlinePolicies) > 0:
		return fmt.Errorf("inline_policies must be blank %s", because)
	}
	return nil
}

// validateRAMRoleARN is for sessions that the mount's own credentials ask for.
func (r *role) validateRAMRoleARN() error {
	if err := r.validateNoGrants("when an arn is present"); err != nil {
		return err
	}
	return r.validateSession()
}

// validateOIDCRoleARN is for sessions that the role's own token asks for.
func (r *role) validateOIDCRoleARN() error {
	if err := r.validateSource(); err != nil {
		return err
	}
	return r.validateSession()
}

func (r *role) validateSession() error {
	for _, arn := range r.arns() {
		if alicreds.CheckRoleARN(arn) != nil {
			return fmt.Errorf("role_arn %q is not of the form acs:ram::<account>:role/<name>", arn)
		}
	}
	if r.ExpireWithLease && r.ReuseTTL > 0 {
		return errors.New("expire_with_lease and reuse_ttl exclude each other: a shared session cannot end with each of its leases")
	}
	if err := checkPolicy("policy", r.Policy, policy.MaxSession); err != nil {
		return err
	}
	if r.ExpireWithLease && !policy.Templated(r.Policy) { // its length is known before it is filled in
		if _, err := policy.EndingAt(r.Policy, time.Now()); err != nil {
			return fmt.Errorf("expire_with_lease: %w", err)
		}
	}
	return nil
}

func checkPolicy(name, document string, limit int) error {
	if document == "" {
		return nil
	}
	if err := policy.Check(document, limit); err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return nil
}

func (r *role) validateRAMUser() error {
	if !r.grants() {
		return errors.New("must include an arn, or at least one of inline_policies or remote_policies (or ram_groups)")
	}
	return r.validateGrants(maxCustomPoliciesOfUser)
}

func (r *role) validateRAMRole() error {
	if err := r.validateGrants(maxCustomPoliciesOfRole); err != nil {
		return err
	}
	switch d := r.MaxSessionDuration; {
	case len(r.RAMGroups) > 0:
		return errors.New("ram_groups are for users: leave them out when credential_type is ram_role")
	case r.NoLease:
		return errors.New("lease=false would leave a RAM role behind with every read: leave it out when credential_type is ram_role")
	case !r.grants():
		return errors.New("at least one of inline_policies or remote_policies is required when credential_type is ram_role")
	case d != 0 && (d < defaultSession || d > maxSession):
		return errors.New("max_session_duration must be 3600 to 43200 seconds")
	}
	if err := checkPolicy("policy", r.Policy, policy.MaxSession); err != nil {
		return err
	}
	return checkPolicy("trust_policy", r.TrustPolicy, policy.MaxTrust)
}

// validateGrants holds what a user or role is given to RAM's quotas.
func (r *role) validateGrants(customPolicies int) error {
	if len(r.RAMGroups) > maxGroupsPerUser {
		return fmt.Errorf("ram_groups: a RAM user can join %d groups at most", maxGroupsPerUser)
	}
	system := 0
	for _, p := range r.RemotePolicies {
		if p.Type == "System" {
			system++
		}
	}
	if system > maxSystemPolicies {
		return fmt.Errorf("remote_policies: %d system policies can be attached at most", maxSystemPolicies)
	}
	if custom := len(r.RemotePolicies) - system + len(r.InlinePolicies); custom > customPolicies {
		return fmt.Errorf("inline_policies and custom remote_policies: %d can be attached at most", customPolicies)
	}
	return nil
}

// arns are the RAM roles that may be assumed, the default first.
func (r *role) arns() []string {
	if r.RoleARN == "" || len(r.RoleARNs) > 0 && r.RoleARNs[0] == r.RoleARN {
		return r.RoleARNs
	}
	return append([]string{r.RoleARN}, r.RoleARNs...)
}

func (r *role) warnings(mountMax time.Duration) []string {
	var w []string
	if r.TTL > mountMax {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the maximum of the mount, %s: leases will get the latter", r.TTL, mountMax))
	}
	if !r.kind.session {
		return w
	}
	if r.TTL > 0 && r.TTL < minSession && !r.ExpireWithLease && r.kind.creates == "" {
		w = append(w, fmt.Sprintf("ttl of %s is below the shortest session that STS gives, %s: the lease ends as asked, the keys live on until the session ends (see expire_with_lease)", r.TTL, minSession))
	}
	if r.TTL > maxSession {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the longest session that STS gives, %s: leases will get the latter", r.TTL, maxSession))
	}
	return w
}

// inlineData returns the documents as JSON values; numbers keep their digits.
func (r *role) inlineData() []map[string]interface{} {
	if r.InlinePolicies == nil {
		return nil
	}
	list := make([]map[string]interface{}, len(r.InlinePolicies))
	for i, p := range r.InlinePolicies {
		var document interface{}
		_ = jsonutil.DecodeJSON(p.PolicyDocument, &document) // readRole has looked at it
		list[i] = map[string]interface{}{"hash": p.Hash, "policy_document": document}
	}
	return list
}

// loadRole reads the role, nil where there is none.
func loadRole(ctx context.Context, s logical.Storage, name string) (*role, error) {
	r, err := load[role](ctx, s, rolePrefix+name)
	if r != nil {
		r.resolve()
	}
	return r, err
}
