package alisim

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

const ramVersion = "2015-05-01"

// ramActions is the table of RAM. The last column of each row says which resources the caller's policies are asked
// about: a call that joins two entities needs both.
func ramActions() []action {
	var out []action
	for _, table := range [][]action{userActions(), accessKeyActions(), policyActions(), groupActions(), roleActions(), accountActions()} {
		for _, a := range table {
			a.service, a.version = "Ram", ramVersion
			out = append(out, a)
		}
	}
	return out
}

// every is the resource of what makes or lists entities of a kind: user/*, with the asterisk itself. A policy for
// user/vault-* does not speak of it, so nobody can be let create by name.
func every(kind string) func(*request) []string {
	return func(*request) []string { return []string{kind + "/*"} }
}

// anything is the resource of actions that know no resources: "*", for which a policy must say Resource "*".
func anything(*request) []string { return []string{"*"} }

// onReadRole is on("role", "RoleName") or, by setting, every("role").
func onReadRole(r *request) []string {
	if r.store.settings.GetRoleOnAllRoles {
		return every("role")(r)
	}
	return on("role", "RoleName")(r)
}

// onDevice is the serial number of a virtual MFA device, which is an ARN without the asterisk of the region.
func onDevice(r *request) []string {
	return []string{strings.Replace(r.get("SerialNumber"), "acs:ram::", "acs:ram:*:", 1)}
}

// on names resources by kind and parameter: on("user", "UserName") is user/<value of UserName>.
func on(kindsAndParams ...string) func(*request) []string {
	return func(r *request) []string {
		var out []string
		for i := 0; i < len(kindsAndParams); i += 2 {
			kind, name := kindsAndParams[i], r.get(kindsAndParams[i+1])
			if name == "" {
				name = "*"
			}
			if kind == "policy" && r.get("PolicyType") == "System" {
				out = append(out, "acs:ram:*:system:policy/"+name)
				continue
			}
			out = append(out, kind+"/"+name)
		}
		return out
	}
}

// onSelf is on("user", "UserName") for actions that mean the caller when UserName is absent.
func onSelf(r *request) []string {
	if r.get("UserName") == "" && r.who.kind == "RAMUser" {
		return []string{"user/" + r.who.name}
	}
	return on("user", "UserName")(r)
}

var (
	userNamePattern    = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
	displayNamePattern = regexp.MustCompile(`^[^\p{Cc}]*$`)
	policyNamePattern  = regexp.MustCompile(`^[A-Za-z0-9-]*$`)
	roleNamePattern    = regexp.MustCompile(`^[A-Za-z0-9.-]*$`)
	groupNamePattern   = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
	phonePattern       = regexp.MustCompile(`^[0-9+-]{1,32}$`)
	emailPattern       = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
)

// checkName applies the rules of a name: at most max characters out of an alphabet. Absent is fine; required says
// otherwise.
func checkName(param, value string, pattern *regexp.Regexp, limit int) *problem {
	switch {
	case utf8.RuneCountInString(value) > limit:
		return beyondLength(param)
	case !pattern.MatchString(value):
		return invalidChars(param)
	}
	return nil
}

func checkLength(param, value string, limit int) *problem {
	if utf8.RuneCountInString(value) > limit {
		return beyondLength(param)
	}
	return nil
}

// first returns the first refusal there is.
func first(problems ...*problem) *problem {
	for _, p := range problems {
		if p != nil {
			return p
		}
	}
	return nil
}

// boolParam reads a bool that may be absent.
func (r *request) boolParam(name string) (bool, *problem) {
	text := r.get(name)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, incorrect(name)
	}
	return value, nil
}

// userParam finds the user that a parameter names.
func (r *request) userParam(param string) (*user, *problem) { return r.userNamed(param, r.get(param)) }

func (r *request) userNamed(param, name string) (*user, *problem) {
	if refused := checkName(param, name, userNamePattern, 64); refused != nil {
		return nil, refused
	}
	u := r.account().users[name]
	if u == nil || r.now.Before(u.from) {
		return nil, ramProblem("EntityNotExist.User")
	}
	return u, nil
}

func (r *request) groupParam(param string) (*group, *problem) {
	return r.groupNamed(param, r.get(param))
}

func (r *request) groupNamed(param, name string) (*group, *problem) {
	if refused := checkName(param, name, groupNamePattern, 64); refused != nil {
		return nil, refused
	}
	g := r.account().groups[name]
	if g == nil || r.now.Before(g.from) {
		return nil, ramProblem("EntityNotExist.Group")
	}
	return g, nil
}

func (r *request) roleParam(param string) (*role, *problem) { return r.roleNamed(param, r.get(param)) }

func (r *request) roleNamed(param, name string) (*role, *problem) {
	if refused := checkName(param, name, roleNamePattern, 64); refused != nil {
		return nil, refused
	}
	found := r.account().roles[name]
	if found == nil || r.now.Before(found.from) {
		return nil, ramProblem("EntityNotExist.Role")
	}
	return found, nil
}

// policyParam finds the policy that PolicyType and PolicyName name.
func (r *request) policyParam() (*policy, *problem) {
	kind := r.get("PolicyType")
	if kind != "System" && kind != "Custom" {
		return nil, incorrect("PolicyType")
	}
	return r.policyOf(kind)
}

// customPolicyParam finds a custom policy by PolicyName, for the actions without PolicyType.
func (r *request) customPolicyParam() (*policy, *problem) { return r.policyOf("Custom") }

func (r *request) policyOf(kind string) (*policy, *problem) {
	name := r.get("PolicyName")
	if refused := checkName("PolicyName", name, policyNamePattern, 128); refused != nil {
		return nil, refused
	}
	p := r.store.policyNamed(r.account(), kind, name)
	if p == nil || r.now.Before(p.from) {
		return nil, ramProblem("EntityNotExist.Policy")
	}
	return p, nil
}

// page cuts a sorted list of names according to Marker and MaxItems (1 to 1000, default 100) and returns the fields
// that tell the client how to go on. A marker is the last name of the page before, opaque to clients.
func (r *request) page(names []string) (part []string, more object, refused *problem) {
	limit := 100
	if text := r.get("MaxItems"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return nil, nil, incorrect("MaxItems")
		}
		limit = n
	}
	if cap := r.store.settings.PageLimit; cap > 0 && cap < limit {
		limit = cap
	}
	if marker := r.get("Marker"); marker != "" {
		after, ok := decodeMarker(marker)
		if !ok {
			return nil, nil, incorrect("Marker")
		}
		for len(names) > 0 && names[0] <= after {
			names = names[1:]
		}
	}
	if len(names) <= limit {
		return names, object{{"IsTruncated", false}}, nil
	}
	part = names[:limit]
	return part, object{{"IsTruncated", true}, {"Marker", encodeMarker(part[limit-1])}}, nil
}
