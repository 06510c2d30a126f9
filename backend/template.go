package backend

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	gotemplate "text/template"

	"github.com/hashicorp/vault/sdk/helper/template"
)

// Bounds of a template, so that whoever may write a role cannot take the
// plugin's memory and time, which all mounts share.
const (
	maxTemplate = 4096 // bytes of its text
	maxFilled   = 4096 // bytes of what one function in it returns
)

// Compiled when a mount has a template, which few have.
var (
	// loops are the actions that can repeat others. A keyword comes first in
	// its action.
	loops = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\{\{(-\s)?\s*(range|template|define|block)\b`)
	})
	wide = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[0-9]{4}|\*`) })
)

// fillTemplate executes a template of Vault's kind.
func fillTemplate(text, displayName, roleName string) (string, error) {
	if text == "" {
		return "", nil
	}
	if len(text) > maxTemplate {
		return "", fmt.Errorf("the template has %d bytes; the limit is %d", len(text), maxTemplate)
	}
	if loops().MatchString(text) {
		return "", errors.New("range, template, define and block are not supported in this template")
	}
	t, err := template.NewTemplate(append(boundedFunctions(), template.Template(text))...)
	if err != nil {
		return "", err
	}
	return t.Generate(struct{ DisplayName, RoleName string }{displayName, roleName})
}

// boundedFunctions stand in for those of Vault and of Go whose result can be
// longer than what they are given: a few dozen of them in a row would fill any
// memory.
func boundedFunctions() []template.Opt {
	joined := func(join func(...any) string) func(...any) (string, error) {
		return func(args ...any) (string, error) { return bounded(join(args...)) }
	}
	return []template.Opt{
		template.Function("random", randomText),
		template.Function("replace", func(find, replace, s string) (string, error) {
			return bounded(strings.ReplaceAll(s, find, replace))
		}),
		template.Function("base64", func(s string) (string, error) {
			return bounded(base64.StdEncoding.EncodeToString([]byte(s)))
		}),
		template.Function("printf", func(format string, args ...any) (string, error) {
			if wide().MatchString(format) {
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

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomText is n letters and digits, each as likely as any other.
func randomText(n int) (string, error) {
	if n < 1 || n > maxFilled {
		return "", fmt.Errorf("the length of random must be 1 to %d", maxFilled)
	}
	text := make([]byte, 0, n)
	for b := make([]byte, n); len(text) < n; {
		rand.Read(b) // never fails: crypto/rand ends the process instead
		for _, c := range b {
			if int(c) < len(alphanumeric)*4 && len(text) < n {
				text = append(text, alphanumeric[int(c)%len(alphanumeric)])
			}
		}
	}
	return string(text), nil
}
