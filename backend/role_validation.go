package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// Limits of RAM and STS, from their API references.
const (
	maxGroupsPerUser        = 5
	maxSystemPolicies       = 20 // attached to one user or role
	maxCustomPoliciesOfUser = 10
	maxCustomPoliciesOfRole = 5
)

// refuseUnused refuses what a write gives and the type of the role does not use.
// What is stored may wait until the role changes its type again.
func (r *role) refuseUnused(data *framework.FieldData) error {
	for _, f := range roleFields() {
		if f.unused != "" && f.given(data) && !r.uses(f.name) {
			return errors.New(strings.ReplaceAll(f.unused, "%s", r.roleType.name))
		}
		// access_key is a field of sources too, and says so below.
		if f.name != "access_key" && slices.Contains(ofConsoleLogin, f.name) && f.given(data) && !r.uses(f.name) {
			if r.uses("console_login") {
				return fmt.Errorf("%s is for ram_user with console_login=true: give that too, or leave it out", f.name)
			}
			return fmt.Errorf("%s is for ram_user with console_login=true: leave it out when credential_type is %s", f.name, r.roleType.name)
		}
		if f.set != nil && f.given(data) && !r.uses(f.name) && !slices.Contains(ofAllRoles, f.name) {
			return fmt.Errorf("%s has no effect when credential_type is %s: leave it out", f.name, r.roleType.name)
		}
	}
	if group, given := data.GetOk("resource_group"); given && group != "" && len(r.InlinePolicies) == 0 {
		return errors.New("resource_group says where inline_policies count, and the role has none: give inline_policies, " +
			"or write it into remote_policies, as name:<policy>,type:System,resource_group:rg-...")
	}
	if t, given := data.GetOk("credential_type"); given && t != "" && t != r.roleType.name {
		return fmt.Errorf("credential_type is %q, but the other fields make the role %q: %s", t, r.roleType.name, typeHint(t.(string)))
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
	return r.roleType.validate(r)
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

// validateSource is for the types whose credentials come from the role's own
// source, which grant nothing in RAM.
func (r *role) validateSource() error {
	if err := r.validateNoGrants("when credential_type is " + r.roleType.name); err != nil {
		return err
	}
	if err := r.source.validate(r.roleType.name); err != nil {
		return err
	}
	ask := sessionRequest{}
	if arns := r.arns(); len(arns) > 0 {
		ask.roleARN = arns[0]
	}
	if ask.roleARN != "" && alicreds.CheckRoleARN(ask.roleARN) != nil {
		return nil // said by validateSession
	}
	// It calls nothing, and says what cannot be a provider.
	if _, err := r.source.provider(r.roleType.name, settings{ask: ask}); err != nil {
		return errors.New(ofSource(err))
	}
	return nil
}

func (r *role) validateNoGrants(because string) error {
	switch {
	case len(r.RemotePolicies) > 0:
		return fmt.Errorf("remote_policies must be blank %s: clear one of the two, with remote_policies= or %s", because, r.otherKind())
	case len(r.InlinePolicies) > 0:
		return fmt.Errorf("inline_policies must be blank %s: clear one of the two, with inline_policies=[] or %s", because, r.otherKind())
	}
	return nil
}

// otherKind is what to clear instead to keep policies.
func (r *role) otherKind() string {
	switch {
	case len(r.RoleARNs) > 0:
		return "role_arn= role_arns="
	case r.RoleARN != "":
		return "role_arn="
	}
	return "credential_type="
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
			return fmt.Errorf("role_arn %q is not of the form acs:ram::<account>:role/<name>%s", arn, whatARN(arn))
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

// checkFixedPolicy is checkPolicy where no template is filled in.
func checkFixedPolicy(name, document string, limit int) error {
	if err := checkPolicy(name, document, limit); err != nil {
		return err
	}
	if err := policy.CheckNoTemplate(document); err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return nil
}

func (r *role) validateRAMUser() error {
	if !r.grants() {
		return errors.New("must include an arn, or at least one of inline_policies or remote_policies (or ram_groups): " +
			"for example role_arn=acs:ram::<account>:role/<name>, or remote_policies=name:AliyunOSSReadOnlyAccess,type:System")
	}
	if err := r.validateConsoleLogin(); err != nil {
		return err
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
	return checkFixedPolicy("trust_policy", r.TrustPolicy, policy.MaxTrust)
}

// validateGrants holds what a user or role is given to RAM's quotas, in the account
// and in each resource group: nothing says that RAM adds these up.
func (r *role) validateGrants(customPolicies int) error {
	if err := r.accountRole.check(); err != nil {
		return err
	}
	if len(r.RAMGroups) > maxGroupsPerUser {
		return fmt.Errorf("ram_groups: a RAM user can join %d groups at most", maxGroupsPerUser)
	}
	system, custom := map[string]int{}, map[string]int{r.ResourceGroup: len(r.InlinePolicies)}
	for _, p := range r.RemotePolicies {
		if p.Type == "System" {
			system[p.ResourceGroup]++
		} else {
			custom[p.ResourceGroup]++
		}
	}
	for _, n := range system {
		if n > maxSystemPolicies {
			return fmt.Errorf("remote_policies: %d system policies can be attached at most", maxSystemPolicies)
		}
	}
	for _, n := range custom {
		if n > customPolicies {
			return fmt.Errorf("inline_policies and custom remote_policies: %d can be attached at most", customPolicies)
		}
	}
	return nil
}

func (r *role) warnings(mountMax time.Duration) []string {
	var w []string
	if r.TTL > mountMax {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the maximum of the mount, %s: leases will get the latter", r.TTL, mountMax))
	}
	if r.roleType.name == typeRAMUser && r.TTL == 0 {
		w = append(w, "without ttl a RAM user lives as long as the mount's leases do by default, often weeks: give ttl, for example ttl=1h")
	}
	w = append(w, r.doubts()...)
	if !r.roleType.session {
		return w
	}
	if r.TTL > 0 && r.TTL < minSession && !r.ExpireWithLease && r.roleType.creates == "" {
		w = append(w, fmt.Sprintf("ttl of %s is below the shortest session that STS gives, %s: the lease ends as asked, the keys live on until the session ends (see expire_with_lease)", r.TTL, minSession))
	}
	if r.TTL > maxSession {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the longest session that STS gives, %s: leases will get the latter", r.TTL, maxSession))
	}
	return w
}

// whatARN says what was taken for the ARN of a RAM role, "" where that is not plain.
func whatARN(arn string) string {
	for _, kind := range []struct{ begins, has, is string }{
		{"arn:aws", "", "it is an ARN of AWS"},
		{"acs:ram:*:", "", "it is the resource of a permission: leave the * out"},
		{"acs:ram::", ":user/", "it is a RAM user"},
		{"acs:ram::", ":assumed-role/", "it is a session: write role/ and the name of its RAM role alone"},
		{"acs:ram::", ":policy/", "it is a policy, which belongs in remote_policies"},
		{"acs:ram:::", "", "the account is missing"},
		{"", "/", ""},
	} {
		if strings.HasPrefix(arn, kind.begins) && strings.Contains(arn, kind.has) {
			if kind.is == "" {
				return ""
			}
			return ": " + kind.is
		}
	}
	if !strings.Contains(arn, ":") {
		return ": it is a name alone"
	}
	return ""
}
