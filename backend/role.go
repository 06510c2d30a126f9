package backend

import (
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

// roleTypes are the credential types of a role.
var roleTypes = []string{
	typeRAMRoleARN, typeRAMUser, typeRAMRole, typeOIDCRoleARN, typeECSRAMRole, typeCredentialsURI, typeSTS, typeBearer, typeAccessKey,
}

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
}

// templated tells whether the policy is another for each requester.
func templated(p ram.Policy) bool { return policy.Templated(p.Name) }

// inlinePolicy is a policy document kept in the role. Hash is 32 random hex
// digits made when the document is written; it names the policy in RAM.
type inlinePolicy struct {
	Hash           string          `json:"hash"`
	PolicyDocument json.RawMessage `json:"policy_document"`
}

// credentialType is the type that was written, or what the fields make it. The
// built-in engine writes no type, and the Terraform provider changes a role from
// one of its two kinds to the other without one: a type that was written gives
// way to fields that contradict it.
func (r *role) credentialType() string {
	arn := r.RoleARN != "" || len(r.RoleARNs) > 0 && len(r.InlinePolicies)+len(r.RemotePolicies) == 0
	switch t := r.CredentialType; t {
	case "", typeRAMRoleARN, typeRAMUser:
	case typeRAMRole:
		if !arn {
			return t
		}
	case typeOIDCRoleARN:
		if arn {
			return t
		}
	default:
		if !arn && !r.grants() {
			return t
		}
	}
	if arn {
		return typeRAMRoleARN
	}
	return typeRAMUser
}

// grants tells whether the role gives rights to what it creates.
func (r *role) grants() bool {
	return len(r.InlinePolicies)+len(r.RemotePolicies)+len(r.RAMGroups) > 0
}

// update takes the fields of a write; those that are not given keep their value.
func (r *role) update(data *framework.FieldData) error {
	if err := r.source.update(data); err != nil {
		return err
	}
	for field, to := range map[string]*string{
		"role_arn": &r.RoleARN, "policy": &r.Policy, "external_id": &r.ExternalID, "source_identity": &r.SourceIdentity,
		"role_session_name_template": &r.RoleSessionNameTemplate, "username_template": &r.UsernameTemplate, "trust_policy": &r.TrustPolicy,
	} {
		if v, ok := data.GetOk(field); ok {
			*to = strings.TrimSpace(v.(string))
		}
	}
	for field, to := range map[string]*time.Duration{
		"ttl": &r.TTL, "max_ttl": &r.MaxTTL, "max_session_duration": &r.MaxSessionDuration, "reuse_ttl": &r.ReuseTTL,
	} {
		if v, ok := data.GetOk(field); ok {
			*to = time.Duration(v.(int)) * time.Second
		}
	}
	for field, to := range map[string]*bool{"policy_per_lease": &r.PolicyPerLease, "expire_with_lease": &r.ExpireWithLease} {
		if v, ok := data.GetOk(field); ok {
			*to = v.(bool)
		}
	}
	for field, to := range map[string]*[]string{"role_arns": &r.RoleARNs, "ram_groups": &r.RAMGroups} {
		if v, ok := data.GetOk(field); ok {
			*to = slices.DeleteFunc(v.([]string), func(s string) bool { return s == "" })
		}
	}
	if v, ok := data.Raw["lease"]; ok && v != nil {
		r.NoLease = !data.Get("lease").(bool)
	}
	if v, ok := data.GetOk("inline_policies"); ok {
		docs, err := parseInlinePolicies(v.(string))
		if err != nil {
			return err
		}
		r.InlinePolicies = docs
	}
	if v, ok := data.GetOk("remote_policies"); ok {
		policies, err := parseRemotePolicies(v.([]string))
		if err != nil {
			return err
		}
		r.RemotePolicies = policies
	}
	return nil
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

// contradiction refuses what a write gives and the type of the role leaves
// unused. What is stored may wait until the role changes its type again.
func (r *role) contradiction(data *framework.FieldData) error {
	given := func(field string) bool {
		switch v, _ := data.GetOk(field); v := v.(type) {
		case []string:
			return len(v) > 0
		case string:
			return strings.TrimSpace(v) != ""
		case int:
			return v != 0
		case bool:
			return v
		}
		return false
	}
	t := r.credentialType()
	user := t == typeRAMUser || t == typeRAMRole
	session := t == typeRAMRoleARN || t == typeOIDCRoleARN
	_, lease := data.Raw["lease"]
	switch {
	case given("ram_groups") && !user:
		return errors.New("ram_groups must be blank when an arn is present or credential_type is " + t)
	case given("role_arns") && user:
		return errors.New("role_arns must be blank when inline_policies or remote_policies are present")
	case given("policy") && !session && t != typeRAMRole:
		return errors.New("policy is for sessions and would not narrow what a role of type " + t + " issues: leave it out")
	case given("trust_policy") && t != typeRAMRole:
		return errors.New("trust_policy is for ram_role: leave it out when credential_type is " + t)
	case lease && r.NoLease && t == typeRAMUser:
		return errors.New("lease=false would leave a RAM user behind with every read: leave it out when credential_type is ram_user")
	}
	for _, field := range []string{"expire_with_lease", "reuse_ttl"} {
		if given(field) && !session {
			return fmt.Errorf("%s is for ram_role_arn and oidc_role_arn: leave it out when credential_type is %s", field, t)
		}
	}
	return nil
}

// validate checks the merged role. Where the built-in engine has an answer its
// text is kept: tests of the Terraform provider look for them.
func (r *role) validate() error {
	t := r.credentialType()
	for field, d := range map[string]time.Duration{"ttl": r.TTL, "max_ttl": r.MaxTTL, "reuse_ttl": r.ReuseTTL} {
		if d < 0 {
			return fmt.Errorf("%s must not be negative", field)
		}
	}
	if r.MaxTTL > 0 && r.TTL > r.MaxTTL {
		return errors.New("ttl exceeds max_ttl")
	}
	if t == typeRAMUser && !r.grants() {
		return errors.New("must include an arn, or at least one of inline_policies or remote_policies (or ram_groups)")
	}
	if t != typeRAMUser && t != typeRAMRole {
		because := "when credential_type is " + t
		if t == typeRAMRoleARN {
			because = "when an arn is present"
		}
		switch {
		case len(r.RemotePolicies) > 0:
			return fmt.Errorf("remote_policies must be blank %s", because)
		case len(r.InlinePolicies) > 0:
			return fmt.Errorf("inline_policies must be blank %s", because)
		}
	}
	if !slices.Contains(roleTypes, t) {
		return fmt.Errorf("credential_type %q is not known: use one of %s", t, strings.Join(roleTypes, ", "))
	}
	if t != typeRAMRoleARN { // whose source is the config
		if err := r.source.validate(t); err != nil {
			return err
		}
	}
	if err := r.validateTemplates(); err != nil {
		return err
	}
	if alicreds.CheckExternalID(r.ExternalID) != nil {
		return errors.New("external_id must be 2 to 1224 letters, digits and any of _ + = , . @ : / -")
	}
	switch t {
	case typeRAMRoleARN, typeOIDCRoleARN:
		return r.validateSession()
	case typeRAMUser, typeRAMRole:
		return r.validateGrants(t)
	}
	return nil
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
	if r.Policy != "" {
		if err := policy.Check(r.Policy, policy.MaxSession); err != nil {
			return fmt.Errorf("policy %w", err)
		}
	}
	if r.ExpireWithLease && !policy.Templated(r.Policy) { // its length is known before it is filled in
		if _, err := policy.EndingAt(r.Policy, time.Now()); err != nil {
			return fmt.Errorf("expire_with_lease: %w", err)
		}
	}
	return nil
}

func (r *role) validateGrants(t string) error {
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
	limit := maxCustomPoliciesOfUser
	if t == typeRAMRole {
		limit = maxCustomPoliciesOfRole
	}
	if custom := len(r.RemotePolicies) - system + len(r.InlinePolicies); custom > limit {
		return fmt.Errorf("inline_policies and custom remote_policies: %d can be attached at most", limit)
	}
	if t != typeRAMRole {
		return nil
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
	if r.Policy != "" {
		if err := policy.Check(r.Policy, policy.MaxSession); err != nil {
			return fmt.Errorf("policy %w", err)
		}
	}
	if r.TrustPolicy != "" {
		if err := policy.Check(r.TrustPolicy, policy.MaxTrust); err != nil {
			return fmt.Errorf("trust_policy %w", err)
		}
	}
	return nil
}

// validateTemplates tries the templates, so that a mistake is told now.
func (r *role) validateTemplates() error {
	for field, template := range map[string]string{
		"username_template": r.UsernameTemplate, "role_session_name_template": r.RoleSessionNameTemplate,
	} {
		if err := policy.CheckNameTemplate(template); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	for n, p := range r.RemotePolicies {
		if err := policy.CheckIdentityTemplate(p.Name); err != nil {
			return fmt.Errorf("remote_policies[%d] %w", n, err)
		}
	}
	if err := policy.CheckIdentityTemplate(r.SourceIdentity); err != nil {
		return fmt.Errorf("source_identity %w", err)
	}
	return nil
}

// arns are the RAM roles that may be assumed, the default first.
func (r *role) arns() []string {
	if r.RoleARN == "" || slices.Contains(r.RoleARNs, r.RoleARN) && r.RoleARNs[0] == r.RoleARN {
		return r.RoleARNs
	}
	return append([]string{r.RoleARN}, r.RoleARNs...)
}

func (r *role) warnings(mountMax time.Duration) []string {
	var w []string
	if r.TTL > mountMax {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the maximum of the mount, %s: leases will get the latter", r.TTL, mountMax))
	}
	t := r.credentialType()
	if t != typeRAMRoleARN && t != typeOIDCRoleARN && t != typeRAMRole {
		return w
	}
	if r.TTL > 0 && r.TTL < minSession && !r.ExpireWithLease && t != typeRAMRole {
		w = append(w, fmt.Sprintf("ttl of %s is below the shortest session that STS gives, %s: the lease ends as asked, the keys live on until the session ends (see expire_with_lease)", r.TTL, minSession))
	}
	if r.TTL > maxSession {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the longest session that STS gives, %s: leases will get the latter", r.TTL, maxSession))
	}
	return w
}

func typeHint(t string) string {
	switch t {
	case typeRAMRoleARN, typeOIDCRoleARN:
		return "give role_arn"
	case typeRAMUser, typeRAMRole:
		return `clear role_arn and role_arns and give inline_policies or remote_policies`
	}
	if slices.Contains(roleTypes, t) {
		return "clear role_arn, inline_policies, remote_policies and ram_groups"
	}
	return "use one of " + strings.Join(roleTypes, ", ")
}

// inlineData returns the documents as JSON values; numbers keep their digits.
func (r *role) inlineData() ([]map[string]interface{}, error) {
	if r.InlinePolicies == nil {
		return nil, nil
	}
	list := make([]map[string]interface{}, len(r.InlinePolicies))
	for i, p := range r.InlinePolicies {
		var doc interface{}
		if err := jsonutil.DecodeJSON(p.PolicyDocument, &doc); err != nil {
			return nil, fmt.Errorf("the stored inline_policies[%d] is not JSON: write the role again", i)
		}
		list[i] = map[string]interface{}{"hash": p.Hash, "policy_document": doc}
	}
	return list, nil
}
