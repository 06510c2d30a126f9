package alisim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// principal is a verified caller, as a value.
type principal struct {
	kind     string // Account, RAMUser, AssumedRoleUser, or empty: anonymous
	account  string // account id
	name     string // user or role
	id       string // user or role id
	session  string // role session name
	sourceID string // source identity of the session
	keyID    string
}

// arn is the spelling of GetCallerIdentity.
func (p principal) arn() string {
	switch p.kind {
	case "Account":
		return "acs:ram::" + p.account + ":root"
	case "RAMUser":
		return "acs:ram::" + p.account + ":user/" + p.name
	case "AssumedRoleUser":
		return "acs:ram::" + p.account + ":assumed-role/" + p.name + "/" + p.session
	}
	return ""
}

// trustNames are the spellings under which a trust policy may name the principal.
func (p principal) trustNames() []string {
	root := "acs:ram::" + p.account + ":root"
	switch p.kind {
	case "RAMUser":
		return []string{root, "acs:ram::" + p.account + ":user/" + p.name}
	case "AssumedRoleUser":
		return []string{root, "acs:ram::" + p.account + ":role/" + p.name}
	}
	return []string{root}
}

// documents returns the identity policies of a caller in a scope and the session policy, which is nil if there is none.
// Rights follow the entity by its id: a namesake made later inherits nothing.
func (st *store) documents(p principal, scope string, now time.Time) (identity []*document, session *document) {
	a := st.accounts[p.account]
	if a == nil {
		return nil, nil
	}
	switch p.kind {
	case "RAMUser":
		if u := a.users[p.name]; u != nil && u.id == p.id {
			return u.documents(scope, now), nil
		}
	case "AssumedRoleUser":
		if se := st.sessions[p.keyID]; se != nil {
			return se.role.policies.documents(scope, now), se.policy
		}
	}
	return nil, nil
}

// permits decides whether the caller may perform an action on a resource in a scope: the identity policies of the account
// or of the resource's group must allow it, a session policy must allow it too, and a Deny in any of them wins. The
// account itself may do everything.
func (st *store) permits(p principal, action, resource, scope string, env environment, now time.Time) effect {
	if p.kind == "Account" {
		return allowed
	}
	identity, session := st.documents(p, scope, now)
	result := evaluate(identity, action, resource, env)
	if session == nil || result == explicitDeny {
		return result
	}
	if narrowed := evaluate([]*document{session}, action, resource, env); narrowed != allowed {
		return narrowed
	}
	return result
}

// noPermission is the refusal, with the detail that the cloud adds.
func noPermission(message string, p principal, action, resource, policyType string, e effect) *problem {
	refused := refuse(http.StatusForbidden, "NoPermission", message)
	d := diagnosis{
		Action: action, Resource: resource, PolicyType: policyType, Explicit: e == explicitDeny, Owner: p.account, Name: p.id,
		Kind: map[string]string{"RAMUser": "SubUser", "AssumedRoleUser": "AssumedRoleUser"}[p.kind],
	}
	if p.kind == "AssumedRoleUser" {
		d.Name = p.name + ":" + p.session
	}
	text, _ := json.Marshal(d) // strings and a bool
	refused.detail = object{
		{"AuthAction", action},
		{"AuthPrincipalDisplayName", d.Name},
		{"AuthPrincipalOwnerId", d.Owner},
		{"AuthPrincipalType", d.Kind},
		{"EncodedDiagnosticMessage", base64.StdEncoding.EncodeToString(text)},
		{"NoPermissionType", e.String()},
		{"PolicyType", policyType},
	}
	return refused
}

// diagnosis is what an EncodedDiagnosticMessage holds.
type diagnosis struct {
	Action, Resource, PolicyType string
	Explicit                     bool
	Kind, Owner, Name            string // of the principal
}

// decode makes the answer of DecodeDiagnosticMessage.
func (d diagnosis) decode() object {
	return object{
		{"ExplicitDeny", d.Explicit},
		{"NoPermissionPolicyType", d.PolicyType},
		{"AuthAction", d.Action},
		{"AuthResource", d.Resource},
		{"AuthPrincipal", object{{"AuthPrincipalType", d.Kind}, {"AuthPrincipalOwnerId", d.Owner}, {"AuthPrincipalDisplayName", d.Name}}},
	}
}

// Authorize says whether the holder of a key, of a RAM user or of a live session, would be let through by any service
// that honours RAM policies: for example action "oss:GetObject" on "acs:oss:*:*:bucket/key". A resource that the seed has
// in a resource group is told by its account: "acs:ecs:*:1234567890123456:instance/i-1". Authorize returns "Allow",
// "ImplicitDeny" or "ExplicitDeny", or the code of the gateway's refusal of the key itself.
func (s *Server) Authorize(accessKeyID, action, resource string) string {
	now := s.Now()
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	var who principal
	if se := s.store.sessions[accessKeyID]; se != nil {
		if refused := se.dead(now); refused != nil {
			return refused.code
		}
		who = se.principal()
	} else {
		k := s.store.lookup(accessKeyID, now)
		if k == nil {
			return s.store.settings.UnknownKeyCode
		}
		if k.effectiveStatus(now) != "Active" {
			return "InvalidAccessKeyId.Inactive"
		}
		who = k.principal()
	}
	env := environment{"acs:CurrentTime": stamp(now), "acs:SourceIp": "127.0.0.1", "acs:SecureTransport": "true"}
	return s.store.permits(who, action, resource, s.store.scopeOf(resource), env, now).String()
}
