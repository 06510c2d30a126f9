package policy_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// Whoever writes a role must not take the plugin's memory or time with it. The
// sizes here are those that a machine survives without the bounds.
func TestTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a long text":           strings.Repeat("x", 4097),
		"a loop":                `{{range 100000}}x{{end}}`,
		"a loop, trimmed":       "{{-\n range 100000}}x{{end}}",
		"a template of its own": `{{define "a"}}x{{end}}{{template "a"}}`,
		"a block":               `{{block "a" .}}x{{end}}`,
		"a long random part":    `{{random 100000}}`,
		"no random part":        `{{random 0}}`,
		"doubling by replace":   `{{"a"` + strings.Repeat(` | replace "a" "aa"`, 16) + `}}`,
		"doubling by print":     `{{$a := "aa"}}` + strings.Repeat(`{{$a = print $a $a}}`, 16),
		"doubling by printf":    `{{$a := "aa"}}` + strings.Repeat(`{{$a = printf "%s%s" $a $a}}`, 16),
		"doubling by println":   `{{$a := "aa"}}` + strings.Repeat(`{{$a = println $a $a}}`, 16),
		"doubling by js":        `{{"\\"` + strings.Repeat(` | js`, 16) + `}}`,
		"growth by urlquery":    `{{"%"` + strings.Repeat(` | urlquery | replace "2" "%"`, 16) + `}}`,
		"growth by html":        `{{"&"` + strings.Repeat(` | html | replace "amp;" "&&"`, 16) + `}}`,
		"growth by base64":      `{{"a"` + strings.Repeat(` | base64`, 40) + `}}`,
	} {
		if made, err := policy.UserName(text, "token", "role"); err == nil {
			t.Errorf("%s: made %s", name, made)
		}
		if err := policy.CheckNameTemplate(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The worst that passes costs some megabytes, and does not stay.
func TestWorstTemplatesAreCheap(t *testing.T) { // not parallel: it measures memory
	display := strings.Repeat("d", 100_000)
	for name, text := range map[string]string{
		"a long part, often":      `{{$x := random 1024}}` + strings.Repeat(`{{$x}}`, 670),
		"a long text, often":      `{{$x := "` + strings.Repeat("x", 2000) + `"}}` + strings.Repeat(`{{$x}}`, 340),
		"long random parts":       strings.Repeat(`{{random 1024}}`, 270),
		"the display name":        strings.Repeat(`{{.DisplayName}}`, 250),
		"everything":              strings.Repeat(`{{.}}`, 800),
		"replace":                 `{{$x := random 1024}}{{replace "" $x $x}}`,
		"widths":                  strings.Repeat(`{{printf "%999d" 1}}`, 200),
		"widths in one format":    `{{printf "` + strings.Repeat("%999d", 800) + `"}}`,
		"timestamps":              `{{$x := "` + strings.Repeat("January", 140) + `"}}` + strings.Repeat(`{{timestamp $x}}`, 180),
		"parentheses":             `{{` + strings.Repeat("(", 1900) + "1" + strings.Repeat(")", 1900) + `}}`,
		"one in another":          strings.Repeat(`{{with "a"}}`, 150) + "x" + strings.Repeat(`{{end}}`, 150),
		"digests":                 `{{$x := random 1024}}` + strings.Repeat(`{{truncate_sha256 1000 $x}}`, 150),
		"a display name and more": strings.Repeat(`{{print .DisplayName}}`, 180),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := policy.SessionName(text, display, "role")
		runtime.ReadMemStats(&after)
		n := after.TotalAlloc - before.TotalAlloc
		if n > 8<<20 {
			t.Errorf("%s: %d KiB (%v)", name, n>>10, err)
		}
		t.Logf("%s: %d KiB", name, n>>10)
	}
}

// A width is spent before the length of the result is looked at, so it has a
// bound of its own: the results of the refused ones here would be short enough.
func TestPrintfWidthsAreBounded(t *testing.T) {
	t.Parallel()
	for text, allowed := range map[string]bool{
		`{{printf "%999d" 1 | len}}`:      true,
		`{{printf "%.999f" 1.0 | len}}`:   true,
		`{{printf "%1000d" 1 | len}}`:     false,
		`{{printf "%-4000d" 1 | len}}`:    false,
		`{{printf "%.1000f" 1.0 | len}}`:  false,
		`{{printf "%*d" 9 1 | len}}`:      false,
		`{{printf "%[1]*d" 9 1 | len}}`:   false,
		`{{printf "%.*f" 9 1.0 | len}}`:   false,
		`{{"%1000d" | printf | len}}`:     false,
		`{{printf "a%d-%s" 1 "b" | len}}`: true,
	} {
		err := policy.CheckNameTemplate(text)
		if allowed && err != nil || !allowed && (err == nil || !strings.Contains(err.Error(), "a width or precision of printf")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTemplatesHaveVaultsFunctions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{printf "v-%s-%s" .DisplayName .RoleName | truncate 8 | uppercase}}`:  "V-TOKEN",
		`{{if eq .RoleName "role"}}{{.DisplayName | replace "o" "0"}}{{end}}.x`: "t0ken.x",
		`{{.RoleName | sha256 | truncate_sha256 12 | len}}`:                     "12",
		`{{random 30 | len}}{{print .RoleName}}_{{base64 "ab"}}`:                "30role_YWI",
	} {
		if got := sessionName(t, text, "token", "role"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	random := sessionName(t, "{{random 60}}", "", "")
	if len(random) != 60 || random == sessionName(t, "{{random 60}}", "", "") {
		t.Errorf("random: %q", random)
	}
}

func TestMistakesInNameTemplatesAreTold(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{{", "{{.Nope}}", "{{nope}}", `{{truncate 0 "x"}}`} {
		if policy.CheckNameTemplate(text) == nil {
			t.Errorf("%s is accepted", text)
		}
		for what, make := range map[string]func(template, display, role string) (string, error){"user": policy.UserName, "session": policy.SessionName} {
			if name, err := make(text, "token", "role"); err == nil {
				t.Errorf("%s makes the %s name %s", text, what, name)
			}
		}
	}
	if err := policy.CheckNameTemplate(""); err != nil {
		t.Errorf("without a template: %v", err)
	}
}
