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
	"slices"
	"unicode/utf8"
)

// The most characters of a document, white space between its tokens left out.
// They are from the API references of RAM and STS.
const (
	MaxDocument = 6144 // a custom policy: PolicyDocument of CreatePolicy
	MaxSession  = 2048 // a session policy: Policy of AssumeRole
	MaxTrust    = 2048 // a trust policy: AssumeRolePolicyDocument of CreateRole
)

// maxDocuments bounds a list of documents. A user or role can have ten.
const maxDocuments = 64

// Documents takes a JSON list of at most 64 apart. It does not check the documents in it.
func Documents(list string) ([]json.RawMessage, error) {
	var documents [maxDocuments + 1]json.RawMessage // of a longer list the rest is passed over
	if err := json.Unmarshal([]byte(list), &documents); err != nil {
		return nil, fmt.Errorf(`must be a JSON list of policy documents, such as [{"Version":"1","Statement":[...]}]: %w`, jsonError(list, err))
	}
	n := slices.IndexFunc(documents[:], func(d json.RawMessage) bool { return d == nil })
	if n < 0 {
		return nil, fmt.Errorf("has more than %d documents", maxDocuments)
	}
	return documents[:n], nil
}

// Check refuses what RAM is certain to refuse when the document is used: an
// operator should hear it now, not at the first read of credentials. The
// document may have limit characters, and identity templates in its strings.
//
// The document is measured before it is decoded, which takes many times its length.
func Check(document string, limit int) error {
	compact, err := compact(document)
	if err != nil {
		return fmt.Errorf("must be a JSON object, a RAM policy document: %w", err)
	}
	if n := utf8.RuneCountInString(compact); n > limit {
		return fmt.Errorf("has %d characters without white space; the limit is %d", n, limit)
	}
	var object map[string]any // the keys of a struct would match in any case
	if err := decode(compact, &object); err != nil {
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
	if _, err = eachString(object, anywhere, func(s string, _ place) (string, error) { return s, CheckIdentityTemplate(s) }); err != nil {
		return err
	}
	if templatedKey(object) {
		return errors.New("has braces of an identity template in the name of a member, where nothing fills them in")
	}
	return nil
}
