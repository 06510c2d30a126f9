package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const maxIdentityValue = 128 // characters

var identityTemplate = regexp.MustCompile(`\{\{.*?\}\}`)

// Templated tells whether the text has identity templates, such as
// {{identity.entity.name}}.
func Templated(text string) bool { return strings.Contains(text, "{{") }

// CheckIdentityTemplate refuses a text with identity templates that Vault
// cannot read.
func CheckIdentityTemplate(text string) error {
	if _, err := framework.ValidateIdentityTemplate(text); err != nil {
		return errors.New("has an identity template that is not well-formed")
	}
	return nil
}

// Render returns the document as it is sent: compact, and with the identity
// templates in its strings replaced by what Vault knows of the entity that
// makes the request. entity is its id, and empty if there is none. With its
// templates filled in, the document may have limit characters.
func Render(document string, limit int, entity string, system logical.SystemView) (string, error) {
	if document == "" {
		return "", nil
	}
	document, err := compact(document)
	if err != nil || !Templated(document) {
		return document, err
	}
	var value any
	if err := decode(document, &value); err != nil {
		return "", err
	}
	value, err = eachString(value, func(s string) (string, error) { return RenderText(s, entity, system) })
	if err != nil {
		return "", err
	}
	rendered, err := encode(value)
	if n := utf8.RuneCountInString(rendered); err == nil && n > limit {
		err = fmt.Errorf("has %d characters with its templates filled in; the limit is %d", n, limit)
	}
	return rendered, err
}

// RenderText replaces the identity templates in a text that is no document.
func RenderText(text, entity string, system logical.SystemView) (string, error) {
	if !Templated(text) {
		return text, nil
	}
	if entity == "" {
		return "", errors.New("has identity templates, and the token of this request belongs to no entity: log in with an auth method")
	}
	var failure error
	filled := identityTemplate.ReplaceAllStringFunc(text, func(template string) string {
		value, err := framework.PopulateIdentityTemplate(template, entity, system)
		switch {
		case err != nil:
			failure = fmt.Errorf("has the template %s, for which the entity has no value", template)
		case !plain(value):
			failure = fmt.Errorf("has the template %s, whose value for this entity has more than 128 characters, or characters other than letters, digits, spaces and @._+=,:/-", template)
		}
		return value
	})
	return filled, failure
}

// plain tells whether the value of an identity template can be filled in. JSON
// keeps a quote inside its string, but a wildcard or a variable would widen
// what the policy allows, and people choose their own names.
func plain(value string) bool {
	foreign := func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(" @._+=,:/-", r)
	}
	return value != "" && utf8.RuneCountInString(value) <= maxIdentityValue && !strings.ContainsFunc(value, foreign)
}
