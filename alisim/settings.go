package alisim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Settings are the knobs of the cloud itself. Start from DefaultSettings.
type Settings struct {
	Quotas      Quotas
	Propagation Propagation
	// RateLimits are calls per second and account, by action ("AssumeRole") or by the writes or reads of a service
	// ("Ram.write", "Ram.read", "Sts.write"). Empty: no limits. Over the limit the call is refused with Throttling.User.
	RateLimits map[string]int
	// PageLimit caps the pages of lists below what the client asks for, so that a client that does not follow Marker
	// is found out. 0: no cap.
	PageLimit int
	// ClockSkew makes the gateway's clock, by which signatures are judged, wrong by that much.
	ClockSkew time.Duration
	// PolicyOfRoleCode is the code with which DeletePolicy is refused for a policy that a role has. The vendor's Terraform
	// provider waits for PolicyOfRole; the table of errors has one like it for users and groups, so PolicyOfRoleListed may
	// come as well. Empty: PolicyOfRole.
	PolicyOfRoleCode string
	// GetRoleOnAllRoles makes GetRole ask the caller's policies for role/* instead of role/<name>. The documents say the
	// latter; two refusals of 2019 name the former.
	GetRoleOnAllRoles bool
	// PrincipalsByAlias makes Resource Management know the principals of an account that has an alias by the alias alone,
	// and refuse names with the id of the account. The documents write the alias; the vendor's examples, the id.
	PrincipalsByAlias bool
	// UnknownKeyCode is the code for an access key that does not exist: UnknownKey or, as the same gateway has answered
	// too, UnknownKeyShort. Empty: UnknownKey.
	UnknownKeyCode string
}

// The codes that an unknown access key may have. Both are 404.
const (
	UnknownKey      = "InvalidAccessKeyId.NotFound"
	UnknownKeyShort = "InvalidAccessKeyId"
)

// The codes that DeletePolicy may have for a policy that a role has.
const (
	PolicyOfRole       = "DeleteConflict.Role.Policy"
	PolicyOfRoleListed = "DeleteConflict.Policy.Role"
)

// Quotas are the limits of an account. A zero quota forbids the thing.
type Quotas struct {
	Users                 int `json:"users"`
	AccessKeysPerUser     int `json:"access_keys_per_user"`
	Groups                int `json:"groups"`
	GroupsPerUser         int `json:"groups_per_user"`
	Roles                 int `json:"roles"`
	CustomPolicies        int `json:"custom_policies"`
	PolicyVersions        int `json:"policy_versions"`
	VirtualMFADevices     int `json:"virtual_mfa_devices"`
	PolicyDocumentLength  int `json:"policy_document_length"`
	SystemPoliciesPerUser int `json:"system_policies_per_user"`
	CustomPoliciesPerUser int `json:"custom_policies_per_user"`
	// Of a role or a group.
	SystemPoliciesPerEntity int `json:"system_policies_per_entity"`
	CustomPoliciesPerEntity int `json:"custom_policies_per_entity"`
}

// Propagation says how long a change takes until it is true everywhere. Until then a new entity is not found and a new
// key is unknown, an attachment does not count, and what was deleted still does. All zero: at once.
type Propagation struct {
	User       time.Duration // created: invisible to reads and to calls that name the user
	Group      time.Duration // created: the same; membership: joins and leaves late
	Role       time.Duration // created: invisible, also to AssumeRole; deleted: its sessions live on
	Policy     time.Duration // created: invisible
	Attachment time.Duration // attached: grants late; detached: still grants, and still blocks DeleteRole and DeletePolicy
	AccessKey  time.Duration // created: InvalidAccessKeyId.NotFound; deleted, enabled, disabled: the old state is used on
}

// DefaultSettings are the published quotas, no propagation delay and no rate limits.
func DefaultSettings() Settings {
	return Settings{Quotas: Quotas{
		Users:                   1000,
		AccessKeysPerUser:       2,
		Groups:                  50,
		GroupsPerUser:           5,
		Roles:                   1000,
		CustomPolicies:          1500,
		PolicyVersions:          5,
		VirtualMFADevices:       1000,
		PolicyDocumentLength:    6144,
		SystemPoliciesPerUser:   20,
		CustomPoliciesPerUser:   10,
		SystemPoliciesPerEntity: 20,
		CustomPoliciesPerEntity: 5,
	}, PolicyOfRoleCode: PolicyOfRole, UnknownKeyCode: UnknownKey}
}

type settingsJSON struct {
	Quotas            Quotas          `json:"quotas"`
	Propagation       propagationJSON `json:"propagation"`
	RateLimits        map[string]int  `json:"rate_limits"`
	PageLimit         int             `json:"page_limit"`
	ClockSkew         span            `json:"clock_skew"`
	PolicyOfRoleCode  string          `json:"policy_of_role_code"`
	GetRoleOnAllRoles bool            `json:"get_role_on_all_roles"`
	PrincipalsByAlias bool            `json:"principals_by_alias"`
	UnknownKeyCode    string          `json:"unknown_key_code"`
}

type propagationJSON struct {
	User       span `json:"user"`
	Group      span `json:"group"`
	Role       span `json:"role"`
	Policy     span `json:"policy"`
	Attachment span `json:"attachment"`
	AccessKey  span `json:"access_key"`
}

// MarshalJSON prints durations as Go durations, for example "3s".
func (s Settings) MarshalJSON() ([]byte, error) { return json.Marshal(s.wire()) }

func (s Settings) wire() settingsJSON {
	p := s.Propagation
	return settingsJSON{
		Quotas:            s.Quotas,
		Propagation:       propagationJSON{span(p.User), span(p.Group), span(p.Role), span(p.Policy), span(p.Attachment), span(p.AccessKey)},
		RateLimits:        s.RateLimits,
		PageLimit:         s.PageLimit,
		ClockSkew:         span(s.ClockSkew),
		PolicyOfRoleCode:  s.PolicyOfRoleCode,
		GetRoleOnAllRoles: s.GetRoleOnAllRoles,
		PrincipalsByAlias: s.PrincipalsByAlias,
		UnknownKeyCode:    s.UnknownKeyCode,
	}
}

// UnmarshalJSON changes what the JSON names and keeps the rest.
func (s *Settings) UnmarshalJSON(data []byte) error {
	j := s.wire()
	if err := decodeStrict(data, &j); err != nil {
		return err
	}
	p := j.Propagation
	*s = Settings{
		Quotas: j.Quotas,
		Propagation: Propagation{
			User: time.Duration(p.User), Group: time.Duration(p.Group), Role: time.Duration(p.Role),
			Policy: time.Duration(p.Policy), Attachment: time.Duration(p.Attachment), AccessKey: time.Duration(p.AccessKey),
		},
		RateLimits:        j.RateLimits,
		PageLimit:         j.PageLimit,
		ClockSkew:         time.Duration(j.ClockSkew),
		PolicyOfRoleCode:  j.PolicyOfRoleCode,
		GetRoleOnAllRoles: j.GetRoleOnAllRoles,
		PrincipalsByAlias: j.PrincipalsByAlias,
		UnknownKeyCode:    j.UnknownKeyCode,
	}
	return nil
}

func (s Settings) validate() error {
	for name, limit := range s.RateLimits {
		if limit < 0 {
			return fmt.Errorf("alisim: rate limit %s is negative", name)
		}
	}
	p := s.Propagation
	if min(p.User, p.Group, p.Role, p.Policy, p.Attachment, p.AccessKey) < 0 || s.PageLimit < 0 {
		return fmt.Errorf("alisim: a propagation delay or the page limit is negative")
	}
	if !slices.Contains([]string{"", PolicyOfRole, PolicyOfRoleListed}, s.PolicyOfRoleCode) {
		return fmt.Errorf("alisim: %q is no code of DeletePolicy for a policy that a role has", s.PolicyOfRoleCode)
	}
	if !slices.Contains([]string{"", UnknownKey, UnknownKeyShort}, s.UnknownKeyCode) {
		return fmt.Errorf("alisim: %q is no code for an access key that does not exist", s.UnknownKeyCode)
	}
	return nil
}

func (s Settings) clone() Settings {
	s.RateLimits = maps.Clone(s.RateLimits)
	s.UnknownKeyCode = cmp.Or(s.UnknownKeyCode, UnknownKey)
	s.PolicyOfRoleCode = cmp.Or(s.PolicyOfRoleCode, PolicyOfRole)
	return s
}
