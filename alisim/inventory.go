package alisim

import (
	"maps"
	"slices"
	"time"
)

// Inventory is what exists, in all accounts, sorted by account and name. Propagation delays do not apply to it: it is
// the truth that every place of the cloud will agree on.
type Inventory struct {
	Users    []UserState    `json:"users"`
	Groups   []GroupState   `json:"groups"`
	Roles    []RoleState    `json:"roles"`
	Policies []PolicyState  `json:"policies"`    // custom policies
	Sessions []SessionState `json:"sessions"`    // that are alive, by expiry
	MFA      []string       `json:"mfa_devices"` // serial numbers of virtual MFA devices, bound or not
	RootKeys []KeyState     `json:"root_keys"`
	Bin      BinState       `json:"recycle_bin"`
}

// UserState is a RAM user.
type UserState struct {
	AccountID    string        `json:"account_id"`
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	DisplayName  string        `json:"display_name"`
	Comments     string        `json:"comments"`
	AccessKeys   []KeyState    `json:"access_keys"`
	Policies     []PolicyLabel `json:"policies"`
	Groups       []string      `json:"groups"`
	LoginProfile bool          `json:"login_profile"`
	MFADevice    bool          `json:"mfa_device"`
}

// KeyState is an access key, without its secret.
type KeyState struct {
	ID     string `json:"id"`
	Status string `json:"status"` // Active, Inactive
}

// PolicyLabel names an attached policy.
type PolicyLabel struct {
	Type          string `json:"type"` // System, Custom
	Name          string `json:"name"`
	ResourceGroup string `json:"resource_group,omitempty"` // attached for this resource group only; empty: for the account
}

// GroupState is a group.
type GroupState struct {
	AccountID string        `json:"account_id"`
	Name      string        `json:"name"`
	Users     []string      `json:"users"`
	Policies  []PolicyLabel `json:"policies"`
}

// RoleState is a role.
type RoleState struct {
	AccountID          string            `json:"account_id"`
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	ARN                string            `json:"arn"`
	Description        string            `json:"description"`
	TrustPolicy        string            `json:"trust_policy"`
	MaxSessionDuration int               `json:"max_session_duration"` // seconds
	Policies           []PolicyLabel     `json:"policies"`
	Tags               map[string]string `json:"tags"`
}

// PolicyState is a custom policy.
type PolicyState struct {
	AccountID string            `json:"account_id"`
	Name      string            `json:"name"`
	Document  string            `json:"document"` // of the default version
	Versions  []string          `json:"versions"`
	Tags      map[string]string `json:"tags"`
}

// SessionState is a session that is alive.
type SessionState struct {
	AccessKeyID    string    `json:"access_key_id"`
	RoleARN        string    `json:"role_arn"`
	Name           string    `json:"name"`
	SourceIdentity string    `json:"source_identity"`
	Policy         string    `json:"policy"`
	Expiration     time.Time `json:"expiration"`
}

// BinState is the recycle bin: what was deleted lately, oldest first.
type BinState struct {
	Users      []string `json:"users"`
	AccessKeys []string `json:"access_keys"` // ids
}

// User returns the state of a user of any account, by name; false if there is none.
func (inv Inventory) User(name string) (UserState, bool) {
	i := slices.IndexFunc(inv.Users, func(u UserState) bool { return u.Name == name })
	if i < 0 {
		return UserState{}, false
	}
	return inv.Users[i], true
}

// Role returns the state of a role of any account, by name; false if there is none.
func (inv Inventory) Role(name string) (RoleState, bool) {
	i := slices.IndexFunc(inv.Roles, func(r RoleState) bool { return r.Name == name })
	if i < 0 {
		return RoleState{}, false
	}
	return inv.Roles[i], true
}

// Inventory returns what exists now.
func (s *Server) Inventory() Inventory { return s.store.inventory(s.Now()) }

func (st *store) inventory(now time.Time) Inventory {
	st.mu.RLock()
	defer st.mu.RUnlock()
	inv := Inventory{
		Users: []UserState{}, Groups: []GroupState{}, Roles: []RoleState{}, Policies: []PolicyState{},
		Sessions: []SessionState{}, MFA: []string{}, RootKeys: []KeyState{}, Bin: BinState{Users: []string{}, AccessKeys: []string{}},
	}
	for _, id := range slices.Sorted(maps.Keys(st.accounts)) {
		st.accounts[id].inventory(&inv, now)
	}
	for _, se := range st.sessions {
		if se.dead(now) != nil {
			continue
		}
		inv.Sessions = append(inv.Sessions, SessionState{
			AccessKeyID: se.keyID, RoleARN: se.role.arn(), Name: se.name, SourceIdentity: se.sourceID,
			Policy: se.policyText, Expiration: se.expires.UTC(),
		})
	}
	slices.SortFunc(inv.Sessions, func(a, b SessionState) int { return a.Expiration.Compare(b.Expiration) })
	return inv
}

func (a *account) inventory(inv *Inventory, now time.Time) {
	inv.RootKeys = append(inv.RootKeys, keyStates(a.keys)...)
	inv.MFA = append(inv.MFA, slices.Sorted(maps.Keys(a.mfa))...)
	inv.Bin.Users = append(inv.Bin.Users, a.bin.users...)
	inv.Bin.AccessKeys = append(inv.Bin.AccessKeys, a.bin.keys...)
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		u := a.users[name]
		state := UserState{
			AccountID: a.id, ID: u.id, Name: u.name, DisplayName: u.displayName, Comments: u.comments,
			AccessKeys: keyStates(u.keys), Policies: u.policies.labels(), Groups: []string{},
			LoginProfile: u.login != nil, MFADevice: u.mfa != nil,
		}
		for _, m := range u.memberships() {
			state.Groups = append(state.Groups, m.group.name)
		}
		inv.Users = append(inv.Users, state)
	}
	for _, name := range slices.Sorted(maps.Keys(a.groups)) {
		g := a.groups[name]
		state := GroupState{AccountID: a.id, Name: g.name, Users: []string{}, Policies: g.policies.labels()}
		for _, u := range g.members(now, false) {
			state.Users = append(state.Users, u.name)
		}
		inv.Groups = append(inv.Groups, state)
	}
	for _, name := range slices.Sorted(maps.Keys(a.roles)) {
		ro := a.roles[name]
		inv.Roles = append(inv.Roles, RoleState{
			AccountID: a.id, ID: ro.id, Name: ro.name, ARN: ro.arn(), Description: ro.description, TrustPolicy: ro.trustText,
			MaxSessionDuration: ro.maxSession, Policies: ro.policies.labels(), Tags: maps.Clone(ro.tags),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(a.policies)) {
		p := a.policies[name]
		state := PolicyState{AccountID: a.id, Name: p.name, Document: p.current().text, Versions: []string{}, Tags: maps.Clone(p.tags)}
		for _, v := range p.versions {
			state.Versions = append(state.Versions, v.id)
		}
		inv.Policies = append(inv.Policies, state)
	}
}

func keyStates(keys []*accessKey) []KeyState {
	out := []KeyState{}
	for _, k := range keys {
		out = append(out, KeyState{ID: k.id, Status: k.status})
	}
	return out
}

func (as attachments) labels() []PolicyLabel {
	out := []PolicyLabel{}
	for _, a := range as.attached() {
		out = append(out, PolicyLabel{Type: a.policy.kind(), Name: a.policy.name, ResourceGroup: a.scope})
	}
	return out
}
