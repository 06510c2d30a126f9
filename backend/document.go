package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// Limits of policy documents, from the RAM and STS API references.
const (
	maxPolicyDocument = 6144 // characters of a custom policy
	maxSessionPolicy  = 2048 // characters of AssumeRole's Policy
	maxTrustPolicy    = 2048 // characters of a role's AssumeRolePolicyDocument
)

// checkPolicy refuses what RAM is certain to refuse when the policy is used:
// an operator should hear it now, not at the first read of credentials.
func checkPolicy(doc json.RawMessage, limit int) error {
	var policy map[string]any // the keys of a struct would match in any case
	if err := json.Unmarshal(doc, &policy); err != nil {
		return fmt.Errorf("must be a JSON object, a RAM policy document: %w", jsonError(err))
	}
	if policy["Version"] != "1" {
		return errors.New(`must have "Version":"1", the only version of RAM policies`)
	}
	if policy["Statement"] == nil {
		return errors.New(`must have a "Statement"`)
	}
	value, err := decodeNumbers(doc)
	if err != nil {
		return err
	}
	wellFormed := true
	eachString(value, func(s string) string { // the braces of JSON itself are none of a template
		_, err := framework.ValidateIdentityTemplate(s)
		wellFormed = wellFormed && err == nil
		return s
	})
	if !wellFormed {
		return errors.New("has an identity template that is not well-formed")
	}
	compact, err := compactJSON(doc)
	if err != nil {
		return err
	}
	if n := len([]rune(compact)); n > limit {
		return fmt.Errorf("has %d characters without white space; the limit is %d", n, limit)
	}
	return nil
}

var templateForm = regexp.MustCompile(`\{\{.*?\}\}`)

const maxTemplateValue = 128 // characters

// render makes the document that is sent: compact, with the identity templates
// ({{identity.entity.name}} and its kin) in its strings replaced by what Vault
// knows of the requesting entity.
func render(doc string, req *logical.Request, system logical.SystemView, limit int) (string, error) {
	if doc == "" {
		return "", nil
	}
	compact, err := compactJSON([]byte(doc))
	if err != nil || !strings.Contains(compact, "{{") {
		return compact, err
	}
	value, err := decodeNumbers([]byte(compact))
	if err != nil {
		return "", err
	}
	var failure error
	value = eachString(value, func(s string) string {
		filled, err := renderString(s, req, system)
		if err != nil {
			failure = err
		}
		return filled
	})
	if failure != nil {
		return "", failure
	}
	rendered, err := encodeJSON(value)
	if n := len([]rune(rendered)); err == nil && n > limit {
		err = fmt.Errorf("has %d characters with its templates filled in; the limit is %d", n, limit)
	}
	return rendered, err
}

// renderString replaces the identity templates in one string.
func renderString(s string, req *logical.Request, system logical.SystemView) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	if req.EntityID == "" {
		return "", errors.New("has identity templates, and the token of this request belongs to no entity: log in with an auth method")
	}
	var failure error
	filled := templateForm.ReplaceAllStringFunc(s, func(template string) string {
		v, err := framework.PopulateIdentityTemplate(template, req.EntityID, system)
		switch {
		case err != nil:
			failure = fmt.Errorf("has the template %s, for which the entity has no value", template)
		case !plainValue(v):
			failure = fmt.Errorf("has the template %s, whose value for this entity has more than 128 characters, or characters other than letters, digits, spaces and @._+=,:/-", template)
		}
		return v
	})
	return filled, failure
}

// plainValue tells what the value of an identity template may hold. A quote
// could not leave its JSON string, but a wildcard or a variable would widen
// what the policy allows, and people choose their own names.
func plainValue(s string) bool {
	foreign := func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(" @._+=,:/-", r)
	}
	return s != "" && utf8.RuneCountInString(s) <= maxTemplateValue && !strings.ContainsFunc(s, foreign)
}

func eachString(value any, change func(string) string) any {
	switch v := value.(type) {
	case string:
		return change(v)
	case []any:
		for i := range v {
			v[i] = eachString(v[i], change)
		}
	case map[string]any:
		for key := range v {
			v[key] = eachString(v[key], change)
		}
	}
	return value
}

// allowAll is the session policy that takes nothing from the RAM role.
const allowAll = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// endingAt adds the condition acs:CurrentTime to every Allow of the session
// policy, so that the session can do nothing after end, however long its keys
// last. An empty policy stands for one that allows everything. What RAM might
// read as an Allow, and this does not, is refused.
func endingAt(policy string, end time.Time) (string, error) {
	if policy == "" {
		policy = allowAll
	}
	value, err := decodeNumbers([]byte(policy))
	if err != nil {
		return "", err
	}
	document, ok := value.(map[string]any)
	if !ok {
		return "", errors.New("the session policy is not an object")
	}
	if err := spelled(document, "Version", "Statement"); err != nil {
		return "", fmt.Errorf("the session policy %w", err)
	}
	statements, ok := document["Statement"].([]any)
	if !ok {
		statements = []any{document["Statement"]} // a single statement may stand alone
		document["Statement"] = statements
	}
	for i, s := range statements {
		statement, ok := s.(map[string]any)
		if !ok {
			return "", fmt.Errorf("statement %d of the session policy is not an object", i)
		}
		err := spelled(statement, "Effect", "Condition")
		effect, _ := statement["Effect"].(string)
		switch {
		case err != nil:
		case strings.EqualFold(effect, "Allow"):
			err = addCondition(statement, end.UTC().Format(time.RFC3339))
		case !strings.EqualFold(effect, "Deny"):
			err = errors.New("has an Effect that is neither Allow nor Deny")
		}
		if err != nil {
			return "", fmt.Errorf("statement %d of the session policy %w", i, err)
		}
	}
	ending, err := encodeJSON(document)
	if n := len([]rune(ending)); err == nil && n > maxSessionPolicy {
		err = fmt.Errorf("the session policy has %d characters with the condition of expire_with_lease; the limit is %d", n, maxSessionPolicy)
	}
	return ending, err
}

// spelled refuses an object with one of the keys in letters of another case.
func spelled(object map[string]any, keys ...string) error {
	for _, want := range keys {
		if key := inAnyCase(object, want); key != want {
			return fmt.Errorf("has the key %s, which is spelled %s", key, want)
		}
	}
	return nil
}

// inAnyCase is the key of the object that is want but for the case of its
// letters, and want where there is none.
func inAnyCase(object map[string]any, want string) string {
	for key := range object {
		if key != want && strings.EqualFold(key, want) {
			return key
		}
	}
	return want
}

// addCondition uses whichever of the two operators the statement leaves free:
// the conditions of a statement all have to hold.
func addCondition(statement map[string]any, end string) error {
	conditions, ok := statement["Condition"].(map[string]any)
	if statement["Condition"] == nil {
		conditions, ok = map[string]any{}, true
		statement["Condition"] = conditions
	}
	if !ok {
		return errors.New("has a Condition that is not an object")
	}
	for _, operator := range []string{"DateLessThan", "DateLessThanEquals"} {
		name := inAnyCase(conditions, operator)
		if name != operator && conditions[operator] != nil {
			return fmt.Errorf("has the condition %s twice", operator)
		}
		keys, ok := conditions[name].(map[string]any)
		switch {
		case conditions[name] == nil:
			conditions[name] = map[string]any{"acs:CurrentTime": end}
			return nil
		case !ok:
			return fmt.Errorf("has a condition %s that is not an object", operator)
		case keys[inAnyCase(keys, "acs:CurrentTime")] == nil:
			keys["acs:CurrentTime"] = end
			return nil
		}
	}
	return errors.New("has conditions on acs:CurrentTime with DateLessThan and DateLessThanEquals already, which leaves none for expire_with_lease")
}

// decodeNumbers decodes JSON and keeps the digits of its numbers.
func decodeNumbers(doc []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, jsonError(err)
	}
	return value, nil
}

// encodeJSON does not spell <, > and & as escapes: they would count as six
// characters each.
func encodeJSON(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", jsonError(err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
