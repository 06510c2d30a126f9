package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	gotemplate "text/template"

	"github.com/hashicorp/go-secure-stdlib/base62"
	"github.com/hashicorp/vault/sdk/helper/template"
)

// Bounds of a name template: whoever may write a role must not be able to take
// the memory and time of the plugin, which all mounts share.
const (
	maxTemplate = 4096 // bytes of its text
	maxFilled   = 1024 // bytes of what one function in it returns, and of a display name
)

var (
	// repeating are the actions that can repeat others. A keyword comes first
	// in its action.
	repeating = regexp.MustCompile(`\{\{(-\s)?\s*(range|template|define|block)\b`)
	// unboundedVerb is a verb of printf with a width or precision of more than
	// three digits, or one that an argument gives.
	unboundedVerb = regexp.MustCompile(`[0-9]{4}|\*`)
)

// CheckNameTemplate fills a name template in with sample values, so that a
// mistake in it is told when it is written. An empty text is no template.
func CheckNameTemplate(text string) error {
	if text == "" {
		return nil
	}
	_, err := fill(text, "token", "role")
	return err
}

// fill executes a template with .DisplayName, .RoleName and Vault's functions.
func fill(text, displayName, roleName string) (string, error) {
	if len(text) > maxTemplate {
		return "", fmt.Errorf("the template has %d bytes; the limit is %d", len(text), maxTemplate)
	}
	if repeating.MatchString(text) {
		return "", errors.New("range, template, define and block are not supported in this template")
	}
	t, err := template.NewTemplate(append(boundedFunctions(), template.Template(text))...)
	if err != nil {
		return "", templateError(err)
	}
	name, err := t.Generate(struct{ DisplayName, RoleName string }{displayName[:min(len(displayName), maxFilled)], roleName})
	if err != nil {
		return "", templateError(err)
	}
	return name[:min(len(name), maxFilled)], nil // no name needs more
}

var (
	templatePlace   = regexp.MustCompile(`unable to (?:parse|apply) template: (?:template: )?template:[0-9:]* `)
	templateAt      = regexp.MustCompile(`executing ".*?" at <(.*?)>: `)
	unknownField    = regexp.MustCompile(`can't evaluate field (\w+) in type .*`)
	unknownFunction = regexp.MustCompile(`function "(\w+)" not defined`)
)

// templateError says what is wrong with a template in its words, not in those of
// the engine that fills it in.
func templateError(err error) error {
	text := templatePlace.ReplaceAllString(err.Error(), "")
	if unknown := unknownField.FindStringSubmatch(text); unknown != nil {
		return fmt.Errorf("the template has no .%s: it may use .DisplayName and .RoleName", unknown[1])
	}
	if unknown := unknownFunction.FindStringSubmatch(text); unknown != nil {
		if unknown[1] == "identity" {
			return errors.New("identity templates are for policies, source_identity and remote_policies: a name may use .DisplayName and .RoleName")
		}
		return fmt.Errorf("the template has no function %s: it may use those of Vault's templates, such as truncate, lowercase, replace and unix_time", unknown[1])
	}
	return errors.New("the template is wrong: " + templateAt.ReplaceAllString(text, "at {{$1}}: "))
}

// boundedFunctions replace those of Vault and of Go whose result can be longer
// than their arguments: a few dozen of them in a row would fill any memory.
func boundedFunctions() []template.Opt {
	joined := func(join func(...any) string) func(...any) (string, error) {
		return func(args ...any) (string, error) { return bounded(join(args...)) }
	}
	return []template.Opt{
		template.Function("random", func(length int) (string, error) {
			if length < 1 || length > maxFilled {
				return "", fmt.Errorf("the length of random must be 1 to %d", maxFilled)
			}
			return base62.Random(length)
		}),
		template.Function("replace", func(find, replace, s string) (string, error) {
			return bounded(strings.ReplaceAll(s, find, replace))
		}),
		template.Function("base64", func(s string) (string, error) {
			return bounded(base64.StdEncoding.EncodeToString([]byte(s)))
		}),
		template.Function("printf", func(format string, args ...any) (string, error) {
			if unboundedVerb.MatchString(format) {
				return "", errors.New("a width or precision of printf must be a number of three digits at most")
			}
			return bounded(fmt.Sprintf(format, args...))
		}),
		template.Function("print", joined(fmt.Sprint)),
		template.Function("println", joined(fmt.Sprintln)),
		template.Function("html", joined(gotemplate.HTMLEscaper)),
		template.Function("js", joined(gotemplate.JSEscaper)),
		template.Function("urlquery", joined(gotemplate.URLQueryEscaper)),
	}
}

func bounded(s string) (string, error) {
	if len(s) > maxFilled {
		return "", fmt.Errorf("a function of the template returns %d bytes; the limit is %d", len(s), maxFilled)
	}
	return s, nil
}
