package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
)

// requestParameter is what a request of creds/ may say for itself, where the role
// lets it.
type requestParameter struct {
	name    string
	isFor   string // "": all types
	allowed bool   // where the role says nothing
}

func requestParameters() []requestParameter {
	return []requestParameter{
		{name: "ttl", allowed: true},
		{name: "role_arn", isFor: "sessions of existing RAM roles", allowed: true},
		{name: "policy", isFor: "sessions", allowed: true},
		{name: "role_session_name", isFor: "sessions"},
	}
}

// requestParametersField is a line in the table of role/<name>.
func requestParametersField() field[role] {
	return field[role]{
		name: "request_parameters",
		schema: framework.FieldSchema{
			Type: framework.TypeCommaStringSlice,
			Description: `Which parameters a request of creds/<name> may set: ttl, role_arn, policy, role_session_name. The same in the ` +
				`query of a read and in a write. An empty list: none. Default: "ttl,role_arn,policy", as far as the type has a use for them.`,
		},
		set: func(r *role, value any) error {
			r.RequestParameters = append([]string{}, value.([]string)...) // empty is another thing than never written
			return nil
		},
		get:   func(r *role) any { return r.requestParameters() },
		check: (*role).checkRequestParameters,
	}
}

// takes tells whether the type of the role has a use for a parameter.
func (r *role) takes(p requestParameter) bool {
	return p.isFor == "" || slices.Contains(r.roleType.requests, p.name)
}

// requestParameters are those that a request may set.
func (r *role) requestParameters() []string {
	names := []string{}
	for _, p := range requestParameters() {
		allowed := p.allowed
		if r.RequestParameters != nil {
			allowed = slices.Contains(r.RequestParameters, p.name)
		}
		if allowed && r.takes(p) {
			names = append(names, p.name)
		}
	}
	return names
}

func (r *role) checkRequestParameters() error {
	var known []string
	for _, p := range requestParameters() {
		known = append(known, p.name)
	}
	for _, name := range r.RequestParameters {
		if !slices.Contains(known, name) {
			return fmt.Errorf("request_parameters: %q is no parameter of creds/: give some of %s", name, strings.Join(known, ", "))
		}
	}
	if r.RoleSessionNameTemplate != "" && slices.Contains(r.RequestParameters, "role_session_name") {
		return errors.New("request_parameters: role_session_name would have no effect beside role_session_name_template, which stands: leave one of them out")
	}
	return nil
}

// refuseUnusableParameters refuses a write that lets requests set what the type
// has no use for.
func (r *role) refuseUnusableParameters(data *framework.FieldData) error {
	if _, given := data.GetOk("request_parameters"); !given {
		return nil
	}
	for _, p := range requestParameters() {
		if slices.Contains(r.RequestParameters, p.name) && !r.takes(p) {
			return fmt.Errorf("request_parameters: %s is for %s, and the role is of type %s: leave it out", p.name, p.isFor, r.roleType.name)
		}
	}
	return nil
}

// checkParameter refuses what a request gives and the role does not let it set.
func (r *role) checkParameter(role string, p requestParameter) error {
	allowed := r.requestParameters()
	switch {
	case !r.takes(p):
		return fmt.Errorf("%s is for %s, and the role %q is of type %s", p.name, p.isFor, role, r.roleType.name)
	case slices.Contains(allowed, p.name):
		return nil
	case len(allowed) == 0:
		return fmt.Errorf("%s: the role %q lets requests set nothing: leave it out, or have it added to request_parameters of the role", p.name, role)
	}
	return fmt.Errorf("%s: the role %q lets requests set %s only: leave it out, or have it added to request_parameters of the role",
		p.name, role, strings.Join(allowed, ", "))
}
