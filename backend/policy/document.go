// Package policy holds what the engine knows of policy documents and of the
// names that it gives in RAM: it checks documents, lets them end at a time,
// fills identity templates in, and makes the names of users, roles, sessions
// and policies. It makes no calls and stores nothing.
//
// Errors name neither the document nor its field, and quote no value: they go
// on from the name of the field ("policy has 3000 characters ...").
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The most characters of a document, white space between its tokens left out.
// They are from the API references of RAM and STS.
const (
	MaxDocument = 6144 // a custom policy: PolicyDocument of CreatePolicy
	MaxSession  = 2048 // a session policy: Policy of AssumeRole
	MaxTrust    = 2048 // a trust policy: AssumeRolePolicyDocument of CreateRole
)

// Documents takes a JSON list apart. It does not check the documents in it.
func Documents(list string) ([]json.RawMessage, error) {
	var documents []json.RawMessage
	if err := json.Unmarshal([]byte(list), &documents); err != nil {
		return nil, fmt.Errorf(`must be a JSON list of policy documents, such as [{"Version":"1","Statement":[...]}]: %w`, jsonError(err))
	}
	return documents, nil
}

// Check refuses what RAM is certain to refuse when the document is used: an
// operator should hear it now, not at the first read of credentials. The
// document may have limit characters, and identity templates in its strings.
func Check(document string, limit int) error {
	var object map[string]any // the keys of a struct would match in any case
	if err := decode(document, &object); err != nil {
		return fmt.Errorf("must be a JSON object, a RAM policy document: %w", err)
	}
	if object["Version"] != "1" {
		return errors.New(`must have "Version":"1", the only version of RAM policies`)
	}
	if object["Statement"] == nil {
		return errors.New(`must have a "Statement"`)
	}
	// Vault would take braces of JSON for those of a template: it gets the
	// strings only.
	_, err := eachString(object, func(s string) (string, error) { return s, CheckIdentityTemplate(s) })
	if err != nil {
		return err
	}
	compact, err := compact(document)
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(compact); n > limit {
		return fmt.Errorf("has %d characters without white space; the limit is %d", n, limit)
	}
	return nil
}
