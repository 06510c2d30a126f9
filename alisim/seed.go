package alisim

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// The key of the RAM user "vault" of DefaultSeed. It opens nothing but a simulator.
const (
	DefaultAccountID       = "1234567890123456"
	DefaultUserName        = "vault"
	DefaultAccessKeyID     = "LTAI5tALISIMFAKEFAKEFAKE"
	DefaultAccessKeySecret = "alisim-is-not-a-real-secret-00"
	DefaultRoleARN         = "acs:ram::1234567890123456:role/deploy"
)

// Seed is what exists in the simulated cloud before the first call. It reads and writes as JSON with the field names
// below in snake case.
type Seed struct {
	Accounts []Account `json:"accounts"`
	Sources  *Sources  `json:"sources,omitempty"` // what hands out sessions beside STS; nil: nothing, or as before
}

// Account is one Alibaba Cloud account.
type Account struct {
	ID             string   `json:"id"`                        // digits
	Alias          string   `json:"alias,omitempty"`           // may stand for the id in names such as alice@<alias>.onaliyun.com
	Inactive       bool     `json:"inactive,omitempty"`        // RAM and STS were never activated: every call is refused
	MFAForLogin    bool     `json:"mfa_for_login,omitempty"`   // the security preference MFAOperationForLogin is mandatory
	ResourceGroups []string `json:"resource_groups,omitempty"` // ids, for example rg-1
	// Resources are those of other products that are in a resource group: the id of the group by product and resource,
	// for example "ecs:instance/i-1".
	Resources map[string]string `json:"resources,omitempty"`

	AccessKeys    []AccessKey    `json:"access_keys,omitempty"` // of the account itself ("root"): may do all but assume roles
	Policies      []Policy       `json:"policies,omitempty"`    // custom policies
	Groups        []Group        `json:"groups,omitempty"`
	Users         []User         `json:"users,omitempty"`
	Roles         []Role         `json:"roles,omitempty"`
	OIDCProviders []OIDCProvider `json:"oidc_providers,omitempty"`
}

// User is a RAM user.
type User struct {
	Name                  string              `json:"name"`
	DisplayName           string              `json:"display_name,omitempty"`
	Comments              string              `json:"comments,omitempty"`
	AccessKeys            []AccessKey         `json:"access_keys,omitempty"`
	Policies              []string            `json:"policies,omitempty"`                // names; a custom policy wins over a system policy of the same name
	ResourceGroupPolicies map[string][]string `json:"resource_group_policies,omitempty"` // by resource group: names of policies that are attached there only
	Groups                []string            `json:"groups,omitempty"`
	LoginProfile          bool                `json:"login_profile,omitempty"` // may sign in to the console
	MFADevice             bool                `json:"mfa_device,omitempty"`    // has a virtual MFA device bound
	KeyPairs              []KeyPair           `json:"key_pairs,omitempty"`     // for GenerateSessionAccessKey
	BearerTokens          []BearerToken       `json:"bearer_tokens,omitempty"`
}

// AccessKey is a key pair. Empty fields are generated; Inventory tells the generated id, nothing tells a generated secret.
type AccessKey struct {
	ID     string `json:"id,omitempty"`
	Secret string `json:"secret,omitempty"`
	Status string `json:"status,omitempty"` // Active (default) or Inactive
}

// String leaves the secret out.
func (k AccessKey) String() string { return fmt.Sprintf("AccessKey{%s %s}", k.ID, k.Status) }

// GoString leaves the secret out.
func (k AccessKey) GoString() string { return k.String() }

// LogValue leaves the secret out.
func (k AccessKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Group is a group of RAM users.
type Group struct {
	Name                  string              `json:"name"`
	Comments              string              `json:"comments,omitempty"`
	Policies              []string            `json:"policies,omitempty"`
	ResourceGroupPolicies map[string][]string `json:"resource_group_policies,omitempty"` // as of User
}

// Role is a RAM role.
type Role struct {
	Name                  string              `json:"name"`
	Description           string              `json:"description,omitempty"`
	TrustPolicy           Document            `json:"trust_policy"`
	Policies              []string            `json:"policies,omitempty"`
	ResourceGroupPolicies map[string][]string `json:"resource_group_policies,omitempty"` // as of User
	MaxSessionDuration    int                 `json:"max_session_duration,omitempty"`    // seconds, 3600 (default) to 43200
}

// Policy is a custom policy.
type Policy struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Document    Document `json:"document"`
}

// Document is the JSON text of a policy. In a seed file it may be the object itself or a string that holds it.
type Document string

// UnmarshalJSON takes an object or a string.
func (d *Document) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*d = Document(text)
		return nil
	}
	*d = Document(data)
	return nil
}

// TrustAccount is a trust policy that lets every user and role of an account assume the role, if they may sts:AssumeRole.
func TrustAccount(accountID string) Document {
	return Document(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::` +
		accountID + `:root"]}}]}`)
}

// DefaultSeed is one account with a RAM user "vault", who is administrator and has a known key, a role "deploy", which
// that user may assume for up to 12 hours and which may read OSS, and an empty group "readers".
func DefaultSeed() Seed {
	return Seed{Accounts: []Account{{
		ID:     DefaultAccountID,
		Groups: []Group{{Name: "readers", Policies: []string{"ReadOnlyAccess"}}},
		Users: []User{{
			Name:       DefaultUserName,
			AccessKeys: []AccessKey{{ID: DefaultAccessKeyID, Secret: DefaultAccessKeySecret}},
			Policies:   []string{"AdministratorAccess"},
		}},
		Roles: []Role{{
			Name:               "deploy",
			Description:        "Deploys applications.",
			TrustPolicy:        TrustAccount(DefaultAccountID),
			Policies:           []string{"AliyunOSSReadOnlyAccess"},
			MaxSessionDuration: 43200,
		}},
	}}}
}
