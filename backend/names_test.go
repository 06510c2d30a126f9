package backend

import (
	"regexp"
	"strings"
	"testing"
)

func TestNamesOfAnyDisplayNameAreValid(t *testing.T) {
	t.Parallel()
	user := regexp.MustCompile(`^vault-[A-Za-z0-9-]+$`)
	session := regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,64}$`)
	policy := regexp.MustCompile(`^[A-Za-z0-9-]{1,128}$`)
	for name, display := range map[string]string{
		"empty":          "",
		"plain":          "token",
		"e-mail":         "alice.o'hara@example.com",
		"path":           "ldap/corp/alice",
		"space":          "Alice Wonder",
		"emoji":          "🙂🙂",
		"chinese":        "部署",
		"only symbols":   "/////",
		"300 bytes":      strings.Repeat("é", 150),
		"null and lines": "a\x00b\nc",
	} {
		for _, role := range []string{"deploy", strings.Repeat("r", 200), "a.b_c-d"} {
			u, s := userName(display, role), sessionName(display, role)
			if !user.MatchString(u) || len(u) > maxUserName {
				t.Errorf("%s: user name %q (%d)", name, u, len(u))
			}
			if !session.MatchString(s) {
				t.Errorf("%s: session name %q (%d)", name, s, len(s))
			}
			if p := policyName(u, strings.Repeat("0", 32)); !policy.MatchString(p) {
				t.Errorf("%s: policy name %q (%d)", name, p, len(p))
			}
			if u == userName(display, role) || s == sessionName(display, role) {
				t.Errorf("%s: two names are the same", name)
			}
		}
	}
}

func TestNamesKeepWhatFits(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ display, role, want string }{
		{"token", "deploy", "vault-token-deploy-"},
		{"oidc-alice@example.com", "ci", "vault-oidc-alice-example-com-ci-"},
		{strings.Repeat("d", 50), "ci", "vault-" + strings.Repeat("d", 34) + "-ci-"},
		{"x", strings.Repeat("r", 50), "vault-x-" + strings.Repeat("r", 35) + "-"},
		{strings.Repeat("d", 50), strings.Repeat("r", 50), "vault-" + strings.Repeat("d", 18) + "-" + strings.Repeat("r", 18) + "-"},
	} {
		got := userName(tc.display, tc.role)
		if got[:len(got)-randomLength] != tc.want {
			t.Errorf("userName(%q, %q) = %q, want %q and %d random characters", tc.display, tc.role, got, tc.want, randomLength)
		}
	}
	if got := sessionName("oidc-alice@example.com", "ci"); !strings.HasPrefix(got, "oidc-alice@example.com-ci-") {
		t.Errorf("sessionName = %q", got)
	}
}

// Whoever writes a role must not take the plugin's memory or time with it. The
// sizes here are those that a machine survives without the bounds.
func TestTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a long text":              strings.Repeat("x", maxTemplate+1),
		"a loop":                   `{{range 100000}}x{{end}}`,
		"a loop, trimmed":          "{{-\n range 100000}}x{{end}}",
		"a template of its own":    `{{define "a"}}x{{end}}{{template "a"}}`,
		"a block":                  `{{block "a" .}}x{{end}}`,
		"a long random part":       `{{random 100000}}`,
		"doubling by replace":      `{{"a"` + strings.Repeat(` | replace "a" "aa"`, 16) + `}}`,
		"doubling by print":        `{{$a := "aa"}}` + strings.Repeat(`{{$a = print $a $a}}`, 16),
		"doubling by printf":       `{{$a := "aa"}}` + strings.Repeat(`{{$a = printf "%s%s" $a $a}}`, 16),
		"doubling by println":      `{{$a := "aa"}}` + strings.Repeat(`{{$a = println $a $a}}`, 16),
		"doubling by js":           `{{"\\"` + strings.Repeat(` | js`, 16) + `}}`,
		"growth by urlquery":       `{{"%"` + strings.Repeat(` | urlquery | replace "2" "%"`, 16) + `}}`,
		"growth by html":           `{{"&"` + strings.Repeat(` | html | replace "amp;" "&&"`, 16) + `}}`,
		"growth by base64":         `{{"a"` + strings.Repeat(` | base64`, 40) + `}}`,
		"a width":                  `{{printf "%100000d" 1}}`,
		"a width from an argument": `{{printf "%*d" 100000 1}}`,
	} {
		if got, err := fillTemplate(text, "token", "role"); err == nil {
			t.Errorf("%s: filled in, to %d characters", name, len(got))
		}
	}
	for text, want := range map[string]string{
		`{{printf "v-%s-%s" .DisplayName .RoleName | truncate 8 | uppercase}}`:  "V-TOKEN-",
		`{{if eq .RoleName "role"}}{{.DisplayName | replace "o" "0"}}{{end}}.x`: "t0ken.x",
		`{{.RoleName | sha256 | truncate_sha256 12 | len}}`:                     "12",
		`{{random 30 | len}}{{print .RoleName}}{{base64 "a"}}`:                  "30roleYQ==",
	} {
		if got, err := fillTemplate(text, "token", "role"); err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", text, got, err, want)
		}
	}
}
