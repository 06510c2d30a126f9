package backend

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/jsonutil"
	"github.com/hashicorp/vault/sdk/logical"
)

const rolePrefix = "role/"

// Credential types of a role.
const (
	typeRAMRoleARN = "ram_role_arn" // a session of an existing RAM role
	typeRAMUser    = "ram_user"     // a RAM user per lease
)

// Limits of RAM and STS, from their API references.
const (
	maxExternalID     = 1224
	maxGroupsPerUser  = 5
	maxSystemPolicies = 20 // attached to one user
	maxCustomPolicies = 10 // attached to one user
)

// role is stored under role/<name>. The keys of the first block, their encoding
// (durations in nanoseconds, lists null when never set) included, are those of
// Vault's built-in engine, so that a mount can change between the two.
type role struct {
	RoleARN        string         `json:"role_arn"`
	RemotePolicies []remotePolicy `json:"remote_policies"`
	InlinePolicies []inlinePolicy `json:"inline_policies"`
	TTL            time.Duration  `json:"ttl"`
	MaxTTL         time.Duration  `json:"max_ttl"`

	Policy         string   `json:"policy,omitempty"`
	ExternalID     string   `json:"external_id,omitempty"`
	SourceIdentity string   `json:"source_identity,omitempty"`
	RAMGroups      []string `json:"ram_groups,omitempty"`
}

// remotePolicy names a policy that exists in RAM.
type remotePolicy struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// inlinePolicy is a policy document kept in the role. Hash is 32 random hex
// digits made when the document is written; it names the policy in RAM.
type inlinePolicy struct {
	Hash           string          `json:"hash"`
	PolicyDocument json.RawMessage `json:"policy_document"`
}

// credentialType is what the fields say: a role with an ARN is a session role
// whatever else was left in it by an earlier write.
func (r *role) credentialType() string {
	if r.RoleARN != "" {
		return typeRAMRoleARN
	}
	return typeRAMUser
}

func (b *backend) pathRole() *framework.Path {
	return &framework.Path{
		Pattern:      rolePrefix + framework.GenericNameRegex("name"),
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "role"},
		Fields: map[string]*framework.FieldSchema{
			"name": {
				Type:        framework.TypeLowerCaseString,
				Description: "Name of the role. Upper case is made lower case.",
			},
			"credential_type": {
				Type: framework.TypeString,
				Description: `What a read of creds/<name> issues: "ram_role_arn" (a session of the RAM role in role_arn) or ` +
					`"ram_user" (a RAM user that lives as long as the lease). Derived from the other fields when absent.`,
				AllowedValues: []interface{}{typeRAMRoleARN, typeRAMUser},
			},
			"role_arn": {
				Type: framework.TypeString,
				Description: `ram_role_arn: ARN of the RAM role to assume, acs:ram::<account>:role/<name>. Its trust policy must ` +
					`name the principal of this mount (read config/caller-identity to see it).`,
			},
			"policy": {
				Type: framework.TypeString,
				Description: `ram_role_arn: session policy, one JSON policy document of at most 2048 characters. The session may ` +
					`do what both the RAM role and this policy allow.`,
			},
			"external_id": {
				Type:        framework.TypeString,
				Description: "ram_role_arn: external id that the RAM role's trust policy asks for, 2 to 1224 characters.",
			},
			"source_identity": {
				Type:        framework.TypeString,
				Description: "ram_role_arn: source identity recorded by ActionTrail with every call of the session.",
			},
			"inline_policies": {
				Type: framework.TypeString,
				Description: `ram_user: JSON list of policy documents, each at most 6144 characters. Each lease gets its own ` +
					`copies as custom policies, removed with the lease. "[]" clears the list.`,
			},
			"remote_policies": {
				Type: framework.TypeStringSlice,
				Description: `ram_user: policies that exist in RAM, each as "name:<policy>,type:System" or ` +
					`"name:<policy>,type:Custom". An empty list clears it.`,
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
		},
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
	return &logical.Response{Data: map[string]interface{}{
		"role_arn":        r.RoleARN,
		"remote_policies": r.RemotePolicies,
		"inline_policies": inline,
		"ttl":             int64(r.TTL / time.Second),
		"max_ttl":         int64(r.MaxTTL / time.Second),
		"credential_type": r.credentialType(),
		"policy":          r.Policy,
		"external_id":     r.ExternalID,
		"source_identity": r.SourceIdentity,
		"ram_groups":      slices.Concat([]string{}, r.RAMGroups),
	}}, nil
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

func roleResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"role_arn":        {Type: framework.TypeString, Description: "ARN of the RAM role to assume."},
		"remote_policies": {Type: framework.TypeSlice, Description: "Policies of RAM, each with name and type; null when never set."},
		"inline_policies": {Type: framework.TypeSlice, Description: "Policy documents, each with hash and policy_document; null when never set."},
		"ttl":             {Type: framework.TypeInt64, Description: "Seconds."},
		"max_ttl":         {Type: framework.TypeInt64, Description: "Seconds."},
		"credential_type": {Type: framework.TypeString, Description: `"ram_role_arn" or "ram_user".`},
		"policy":          {Type: framework.TypeString, Description: "Session policy."},
		"external_id":     {Type: framework.TypeString, Description: "External id."},
		"source_identity": {Type: framework.TypeString, Description: "Source identity."},
		"ram_groups":      {Type: framework.TypeStringSlice, Description: "RAM user groups."},
	}
}

func (b *backend) writeRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
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
	if t, ok := data.GetOk("credential_type"); ok && t != "" && t != r.credentialType() {
		return logical.ErrorResponse("credential_type is %q, but the other fields make the role %q: %s", t, r.credentialType(), typeHint(t.(string))), nil
	}
	if err := save(ctx, req.Storage, rolePrefix+name, r); err != nil {
		return nil, err
	}
	return warned(nil, r.warnings(b.System().MaxLeaseTTL())), nil
}

func typeHint(t string) string {
	switch t {
	case typeRAMRoleARN:
		return "give role_arn"
	case typeRAMUser:
		return `clear role_arn (role_arn="") and give inline_policies, remote_policies or ram_groups`
	}
	return `it must be "ram_role_arn" or "ram_user"`
}

// update takes the fields of a write; those that are not given keep their value.
func (r *role) update(data *framework.FieldData) error {
	for field, to := range map[string]*string{
		"role_arn": &r.RoleARN, "policy": &r.Policy, "external_id": &r.ExternalID, "source_identity": &r.SourceIdentity,
	} {
		if v, ok := data.GetOk(field); ok {
			*to = strings.TrimSpace(v.(string))
		}
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
	if v, ok := data.GetOk("ram_groups"); ok {
		r.RAMGroups = slices.DeleteFunc(v.([]string), func(g string) bool { return g == "" })
	}
	if v, ok := data.GetOk("ttl"); ok {
		r.TTL = time.Duration(v.(int)) * time.Second
	}
	if v, ok := data.GetOk("max_ttl"); ok {
		r.MaxTTL = time.Duration(v.(int)) * time.Second
	}
	return nil
}

func parseInlinePolicies(s string) ([]inlinePolicy, error) {
	var docs []json.RawMessage
	if err := json.Unmarshal([]byte(s), &docs); err != nil {
		return nil, fmt.Errorf(`inline_policies must be a JSON list of policy documents, such as [{"Version":"1","Statement":[...]}]: %w`, jsonError(err))
	}
	policies := make([]inlinePolicy, len(docs))
	for i, doc := range docs {
		if err := checkPolicy(doc, maxPolicyDocument); err != nil {
			return nil, fmt.Errorf("inline_policies[%d] %w", i, err)
		}
		var random [16]byte
		rand.Read(random[:])
		policies[i] = inlinePolicy{Hash: hex.EncodeToString(random[:]), PolicyDocument: doc}
	}
	return policies, nil
}

func parseRemotePolicies(list []string) ([]remotePolicy, error) {
	policies := []remotePolicy{}
	for _, s := range list {
		if strings.TrimSpace(s) == "" && len(list) == 1 {
			continue // remote_policies="" clears the list
		}
		var p remotePolicy
		for _, pair := range strings.Split(s, ",") {
			key, value, ok := strings.Cut(pair, ":")
			if !ok || strings.Contains(value, ":") {
				return nil, fmt.Errorf(`remote_policies: unable to recognize pair in %q: write "name:<policy>,type:System" or "name:<policy>,type:Custom"`, pair)
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
			return nil, fmt.Errorf("remote_policies: policy name is required in %q", s)
		}
		if p.Type == "" {
			return nil, fmt.Errorf("remote_policies: policy type is required in %q", s)
		}
		if p.Type != "System" && p.Type != "Custom" {
			return nil, fmt.Errorf(`remote_policies: the type in %q must be System or Custom`, s)
		}
		policies = append(policies, p)
	}
	return policies, nil
}

var (
	roleARNForm    = regexp.MustCompile(`^acs:ram::[0-9]{1,32}:role/[A-Za-z0-9.@_-]{1,64}$`)
	externalIDForm = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

// validate checks the merged role. Where the built-in engine
// has an answer its text is kept: tests of the Terraform provider look for them.
func (r *role) validate() error {
	if r.TTL < 0 || r.MaxTTL < 0 {
		return errors.New("ttl and max_ttl must not be negative")
	}
	if r.MaxTTL > 0 && r.TTL > r.MaxTTL {
		return errors.New("ttl exceeds max_ttl")
	}
	if r.RoleARN == "" && len(r.InlinePolicies)+len(r.RemotePolicies)+len(r.RAMGroups) == 0 {
		return errors.New("must include an arn, or at least one of inline_policies or remote_policies (or ram_groups)")
	}
	if r.RoleARN != "" {
		switch {
		case len(r.RemotePolicies) > 0:
			return errors.New("remote_policies must be blank when an arn is present")
		case len(r.InlinePolicies) > 0:
			return errors.New("inline_policies must be blank when an arn is present")
		case len(r.RAMGroups) > 0:
			return errors.New("ram_groups must be blank when an arn is present")
		}
		if !roleARNForm.MatchString(r.RoleARN) {
			return fmt.Errorf("role_arn %q is not of the form acs:ram::<account>:role/<name>", r.RoleARN)
		}
		if n := len(r.ExternalID); n > 0 && (n < 2 || n > maxExternalID || !externalIDForm.MatchString(r.ExternalID)) {
			return errors.New("external_id must be 2 to 1224 letters, digits and any of _ + = , . @ : / -")
		}
		if r.Policy != "" {
			if err := checkPolicy(json.RawMessage(r.Policy), maxSessionPolicy); err != nil {
				return fmt.Errorf("policy %w", err)
			}
		}
	}
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
		return fmt.Errorf("remote_policies: a RAM user can have %d system policies at most", maxSystemPolicies)
	}
	if custom := len(r.RemotePolicies) - system + len(r.InlinePolicies); custom > maxCustomPolicies {
		return fmt.Errorf("inline_policies and custom remote_policies: a RAM user can have %d at most", maxCustomPolicies)
	}
	return nil
}

func (r *role) warnings(mountMax time.Duration) []string {
	var w []string
	if r.TTL > mountMax {
		w = append(w, fmt.Sprintf("ttl of %s exceeds the maximum of the mount, %s: leases will get the latter", r.TTL, mountMax))
	}
	if r.credentialType() == typeRAMRoleARN {
		if r.TTL > 0 && r.TTL < minSession {
			w = append(w, fmt.Sprintf("ttl of %s is below the shortest session that STS gives, %s: the lease ends as asked, the keys live on until the session ends", r.TTL, minSession))
		}
		if r.TTL > maxSession {
			w = append(w, fmt.Sprintf("ttl of %s exceeds the longest session that STS gives, %s: leases will get the latter", r.TTL, maxSession))
		}
	}
	return w
}

func (b *backend) deleteRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	return nil, req.Storage.Delete(ctx, rolePrefix+data.Get("name").(string))
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

  ram_role_arn   a session of an existing RAM role. Give role_arn.

    vault write alicloud/role/deploy \
        role_arn=acs:ram::1234567890123456:role/deploy ttl=1h

  ram_user       a RAM user with an AccessKey, deleted when the lease ends.
                 Give remote_policies, inline_policies or ram_groups.

    vault write alicloud/role/ci \
        remote_policies=name:AliyunOSSReadOnlyAccess,type:System \
        ttl=1h max_ttl=24h

A write keeps the fields that it does not give. To change a role from one type
to the other, clear the fields of the first in the same write: role_arn="",
or inline_policies="[]" remote_policies="" ram_groups="".

A session cannot be renewed or revoked: Alibaba Cloud offers no way to end it
before it expires, so keep ttl short. A RAM user is deleted at once.
`
