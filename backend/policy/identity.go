package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const maxIdentityValue = 128 // characters

var (
	identityTemplate = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	// directive is what Vault fills in between the braces.
	directive = regexp.MustCompile(`^\{\{ *(identity\.entity\.(id|name|metadata\.[^\n]+|aliases\.[^.\n]+\.(id|name|(custom_)?metadata\.[^\n]+))|` +
		`identity\.groups\.(ids|names)\.[^.\n]+\.(id|name|metadata\.[^\n]+)|time\.now(\.(plus|minus)\.[^\n]+)?) *\}\}$`)
)

// Templated tells whether the text has identity templates, such as
// {{identity.entity.name}}. Of a JSON document it tells whether it may have.
func Templated(text string) bool {
	return strings.Contains(text, "{{") || strings.Contains(text, `\u007b`) || strings.Contains(text, `\u007B`)
}

// CheckIdentityTemplate refuses a text with braces that Vault would not fill in.
func CheckIdentityTemplate(text string) error {
	if _, err := framework.ValidateIdentityTemplate(text); err != nil {
		return errors.New("has an identity template that is not well-formed")
	}
	for _, template := range identityTemplate.FindAllString(text, -1) {
		if !directive.MatchString(template) {
			return errors.New("has braces that are no identity template of Vault: write them on one line, such as {{identity.entity.name}}, {{identity.entity.metadata.team}} or {{identity.groups.names.ops.name}}")
		}
	}
	return nil
}

// TemplateAlone tells whether a text is what Vault fills in, and nothing else.
func TemplateAlone(text string) bool {
	return Templated(text) && strings.TrimSpace(identityTemplate.ReplaceAllString(text, "")) == ""
}

// CheckNoTemplate refuses a document with identity templates, where nothing fills
// them in.
func CheckNoTemplate(document string) error {
	if Templated(document) {
		return errors.New("has braces of an identity template, and nothing fills them in here: write the value")
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
	system = askedOnce(entity, system)
	value, err = eachString(value, anywhere, func(s string, at place) (string, error) { return render(s, at, entity, system) })
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
	return render(text, condition, entity, askedOnce(entity, system))
}

func render(text string, at place, entity string, system logical.SystemView) (string, error) {
	if !strings.Contains(text, "{{") {
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
		case at == anywhere && !oneName(value):
			failure = fmt.Errorf("has the template %s outside of a condition, where its value for this entity would name more than one thing: it has / or :, or is of dots alone", template)
		case at == address && !oneAddress(value):
			failure = fmt.Errorf("has the template %s in a condition on an address, and its value for this entity is not one IP address", template)
		}
		return value
	})
	return filled, failure
}

// oneEntity is Vault, asked about one entity. Each question is a call to Vault, and
// a document may have dozens of templates.
type oneEntity struct {
	logical.SystemView
	entity func() (*logical.Entity, error)
	groups func() ([]*logical.Group, error)
}

func askedOnce(entity string, system logical.SystemView) logical.SystemView {
	return oneEntity{
		SystemView: system,
		entity:     sync.OnceValues(func() (*logical.Entity, error) { return system.EntityInfo(entity) }),
		groups:     sync.OnceValues(func() ([]*logical.Group, error) { return system.GroupsForEntity(entity) }),
	}
}

func (o oneEntity) EntityInfo(string) (*logical.Entity, error)       { return o.entity() }
func (o oneEntity) GroupsForEntity(string) ([]*logical.Group, error) { return o.groups() }

// plain tells whether the value of an identity template can be filled in. JSON
// keeps a quote inside its string, but a wildcard or a variable would widen
// what the policy allows, and people choose their own names.
func plain(value string) bool {
	foreign := func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(" @._+=,:/-", r)
	}
	return value != "" && utf8.RuneCountInString(value) <= maxIdentityValue && !strings.ContainsFunc(value, foreign)
}

// oneName tells whether a value stays within its part of a resource: bob/private
// would be in the home of bob, and a colon would begin another part of an ARN.
func oneName(value string) bool {
	return !strings.ContainsAny(value, "/:") && strings.Trim(value, ".") != ""
}

// oneAddress tells whether a value is no network: 0.0.0.0/0 holds everybody.
func oneAddress(value string) bool {
	_, err := netip.ParseAddr(value)
	return err == nil
}
