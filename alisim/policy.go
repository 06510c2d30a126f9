package alisim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// document is a parsed policy: of an identity, of a session, or the trust policy of a role.
type document struct {
	statements []statement
}

type statement struct {
	deny       bool
	actions    []string
	notActions bool     // actions lists what the statement does not speak of
	resources  []string // identity and session policies
	principals map[string][]string
	conditions []condition
}

type condition struct {
	operator string
	key      string
	values   []string
}

// environment is what conditions are evaluated against: key to value. A key that is not there satisfies no condition.
type environment map[string]string

// parsePolicy reads an identity or session policy. The grammar is strict: unknown elements and operators are refused.
func parsePolicy(text string) (*document, error) { return parseDocument(text, false) }

// parseTrustPolicy reads the trust policy of a role: statements name a Principal instead of a Resource.
func parseTrustPolicy(text string) (*document, error) { return parseDocument(text, true) }

// sentence is a flaw of a policy in the cloud's own words.
type sentence string

func (s sentence) Error() string { return string(s) }

type rawStatement struct {
	Effect    string
	Action    oneOrMany
	NotAction oneOrMany
	Resource  oneOrMany
	Principal map[string]oneOrMany
	Condition map[string]map[string]oneOrMany
}

func parseDocument(text string, trust bool) (*document, error) {
	var raw struct {
		Version   string
		Statement []rawStatement
	}
	if err := decodeStrict([]byte(text), &raw); err != nil {
		return nil, errors.New("it is not the JSON of a policy")
	}
	if raw.Version != "1" {
		return nil, errors.New(`Version must be "1"`)
	}
	if len(raw.Statement) == 0 {
		return nil, errors.New("Statement is mandatory")
	}
	d := &document{}
	for _, r := range raw.Statement {
		st, err := r.parse(trust)
		if err != nil {
			return nil, err
		}
		d.statements = append(d.statements, st)
	}
	return d, nil
}

func (r rawStatement) parse(trust bool) (statement, error) {
	st := statement{actions: r.Action, resources: r.Resource}
	switch r.Effect {
	case "Allow":
	case "Deny":
		st.deny = true
	default:
		return st, errors.New("Effect must be Allow or Deny")
	}
	switch {
	case r.Action == nil && r.NotAction == nil:
		return st, sentence("Add an Action or NotAction element to the policy statement.")
	case r.Action != nil && r.NotAction != nil:
		return st, errors.New("a statement has either Action or NotAction")
	}
	if r.NotAction != nil {
		st.actions, st.notActions = r.NotAction, true
	}
	for _, action := range st.actions {
		if action != "*" && strings.Count(action, ":") != 1 {
			return st, fmt.Errorf("the action %q is not of the form service:name", action)
		}
	}
	switch {
	case trust && len(r.Principal) == 0:
		return st, errors.New("Principal is mandatory in a trust policy")
	case trust && r.Resource != nil:
		return st, errors.New("Resource has no place in a trust policy")
	case !trust && r.Principal != nil:
		return st, errors.New("Principal has no place in this policy")
	case !trust && len(r.Resource) == 0:
		return st, errors.New("Resource is mandatory")
	}
	for kind, values := range r.Principal {
		if !slices.Contains([]string{"RAM", "Service", "Federated"}, kind) {
			return st, fmt.Errorf("unknown kind of principal %q", kind)
		}
		for _, value := range values {
			if kind == "RAM" && !strings.HasPrefix(value, "acs:ram::") {
				return st, fmt.Errorf("the principal %q is no ARN", value)
			}
		}
		if st.principals == nil {
			st.principals = map[string][]string{}
		}
		st.principals[kind] = values
	}
	for _, resource := range st.resources {
		if resource != "*" && (!strings.HasPrefix(resource, "acs:") || strings.Count(resource, ":") < 4) {
			return st, fmt.Errorf("the resource %q is not of the form acs:service:region:account:resource", resource)
		}
	}
	for operator, keys := range r.Condition {
		if strings.HasSuffix(operator, "IfExists") || operator == "Null" {
			return st, sentence("The condition operator 'IfExists/Null' is not supported.")
		}
		for key, values := range keys {
			c := condition{operator: operator, key: key, values: values}
			if err := c.validate(); err != nil {
				return st, err
			}
			st.conditions = append(st.conditions, c)
		}
	}
	return st, nil
}

// oneOrMany is a JSON string or a list of them. Bools and numbers, which conditions may hold, become their text.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	*o = oneOrMany{}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			*o = append(*o, item)
		case bool:
			*o = append(*o, strconv.FormatBool(item))
		case float64:
			*o = append(*o, strconv.FormatFloat(item, 'f', -1, 64))
		default:
			return errors.New("neither a string nor a list of strings")
		}
	}
	if len(*o) == 0 {
		return errors.New("an empty list")
	}
	return nil
}

// validate refuses operators that do not exist and values that the operator cannot compare.
func (c condition) validate() error {
	for _, value := range c.values {
		var err error
		switch {
		case slices.Contains([]string{
			"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		}, c.operator):
		case slices.Contains([]string{
			"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		}, c.operator):
			_, err = strconv.ParseFloat(value, 64)
		case slices.Contains([]string{
			"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		}, c.operator):
			_, err = time.Parse(time.RFC3339, value)
		case c.operator == "Bool":
			_, err = strconv.ParseBool(value)
		case c.operator == "IpAddress", c.operator == "NotIpAddress":
			_, err = parseNetwork(value)
		default:
			return fmt.Errorf("unknown condition operator %q", c.operator)
		}
		if err != nil {
			return fmt.Errorf("%q is no value for the condition operator %s", value, c.operator)
		}
	}
	return nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// holds evaluates the condition. Several values of a positive operator are alternatives; a negative operator must hold
// against every value.
func (c condition) holds(env environment) bool {
	actual, ok := env[c.key]
	if !ok {
		return false
	}
	positive, negative := strings.Replace(c.operator, "Not", "", 1), strings.Contains(c.operator, "Not")
	for _, value := range c.values {
		if compare(positive, actual, value) {
			return !negative
		}
	}
	return negative
}

func compare(operator, actual, value string) bool {
	switch operator {
	case "StringEquals":
		return actual == value
	case "StringEqualsIgnoreCase":
		return strings.EqualFold(actual, value)
	case "StringLike":
		return glob(value, actual)
	case "Bool":
		a, errA := strconv.ParseBool(actual)
		v, errV := strconv.ParseBool(value)
		return errA == nil && errV == nil && a == v
	case "IpAddress":
		network, errN := parseNetwork(value)
		addr, errA := netip.ParseAddr(actual)
		return errN == nil && errA == nil && network.Contains(addr.Unmap())
	}
	var order int
	if relation, ok := strings.CutPrefix(operator, "Date"); ok {
		a, errA := time.Parse(time.RFC3339, actual)
		v, errV := time.Parse(time.RFC3339, value)
		if errA != nil || errV != nil {
			return false
		}
		order, operator = a.Compare(v), relation
	} else {
		a, errA := strconv.ParseFloat(actual, 64)
		v, errV := strconv.ParseFloat(value, 64)
		if errA != nil || errV != nil {
			return false
		}
		operator = strings.TrimPrefix(operator, "Numeric")
		switch {
		case a < v:
			order = -1
		case a > v:
			order = 1
		}
	}
	switch operator {
	case "Equals":
		return order == 0
	case "LessThan":
		return order < 0
	case "LessThanEquals":
		return order <= 0
	case "GreaterThan":
		return order > 0
	case "GreaterThanEquals":
		return order >= 0
	}
	return false
}

// effect is the outcome of evaluating policies.
type effect int

const (
	implicitDeny effect = iota
	allowed
	explicitDeny
)

func (e effect) String() string {
	switch e {
	case allowed:
		return "Allow"
	case explicitDeny:
		return "ExplicitDeny"
	}
	return "ImplicitDeny"
}

// evaluate asks a set of policies about one action on one resource: a Deny wins over every Allow.
func evaluate(documents []*document, action string, resource string, env environment) effect {
	result := implicitDeny
	for _, d := range documents {
		for i := range d.statements {
			st := &d.statements[i]
			if !st.speaksOf(action) || !st.covers(resource) || !st.met(env) {
				continue
			}
			if st.deny {
				return explicitDeny
			}
			result = allowed
		}
	}
	return result
}

// trusts asks a trust policy whether one of the principals may perform the action. The caller lists itself in every
// spelling a policy may use for it.
func (d *document) trusts(kind string, principals []string, action string, env environment) effect {
	result := implicitDeny
	for i := range d.statements {
		st := &d.statements[i]
		named := slices.ContainsFunc(st.principals[kind], func(p string) bool { return slices.Contains(principals, p) })
		if !named || !st.speaksOf(action) || !st.met(env) {
			continue
		}
		if st.deny {
			return explicitDeny
		}
		result = allowed
	}
	return result
}

func (st *statement) speaksOf(action string) bool {
	action = strings.ToLower(action)
	listed := slices.ContainsFunc(st.actions, func(pattern string) bool { return glob(strings.ToLower(pattern), action) })
	return listed != st.notActions
}

// covers matches a resource such as acs:ram:*:1234:user/x, which has no region: a policy may write the region as
// nothing or as an asterisk.
func (st *statement) covers(resource string) bool {
	return slices.ContainsFunc(st.resources, func(pattern string) bool {
		return glob(pattern, resource) || glob(pattern, strings.Replace(resource, ":*:", "::", 1))
	})
}

func (st *statement) met(env environment) bool {
	for _, c := range st.conditions {
		if !c.holds(env) {
			return false
		}
	}
	return true
}

// glob matches a pattern in which * stands for any text and ? for one byte.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
