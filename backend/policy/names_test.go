package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// randomLength is the documented length of a name's random part.
const randomLength = 20

func TestNamesOfAnyDisplayNameAreValid(t *testing.T) {
	t.Parallel()
	session := regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,64}$`)
	hash := strings.Repeat("0", 32)
	templates := map[string]string{"no template": "", "a template": "{{.DisplayName}}/{{.RoleName}}", "nothing": `{{""}}`}
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
		"no UTF-8":       "a\xff\xfeb",
	} {
		for _, role := range []string{"deploy", strings.Repeat("r", 200), "a.b_c-d"} {
			for kind, template := range templates {
				u, s := userName(t, template, display, role), sessionName(t, template, display, role)
				if !policy.IsUserName(u) || !policy.IsName(u) {
					t.Errorf("%s, %s: user name %q (%d)", name, kind, u, len(u))
				}
				if !session.MatchString(s) {
					t.Errorf("%s, %s: session name %q (%d)", name, kind, s, len(s))
				}
				if p := policy.OwnName(u, hash); !policy.IsName(p) || !strings.HasSuffix(p, "-"+hash) {
					t.Errorf("%s, %s: name of its own policy %q (%d)", name, kind, p, len(p))
				}
				if p := policy.SharedName(template, role, "tag", "1234567890123456", "{}"); !policy.IsName(p) {
					t.Errorf("%s, %s: name of a shared policy %q (%d)", name, kind, p, len(p))
				}
				if u == userName(t, template, display, role) {
					t.Errorf("%s, %s: two users have one name", name, kind)
				}
				if template == "" && s == sessionName(t, template, display, role) {
					t.Errorf("%s: two sessions have one name", name)
				}
			}
		}
	}
}

func TestNamesKeepWhatFits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("d", 80)
	for name, tc := range map[string]struct{ template, display, role, user, session string }{
		"both":                 {"", "token", "deploy", "vault-token-deploy-", "token-deploy-"},
		"an e-mail":            {"", "oidc-alice@example.com", "c.i", "vault-oidc-alice-example-com-c-i-", "oidc-alice@example.com-c.i-"},
		"a long display name":  {"", long, "ci", "vault-" + long[:34] + "-ci-", long[:40] + "-ci-"},
		"a long role":          {"", "x", long, "vault-x-" + long[:35] + "-", "x-" + long[:41] + "-"},
		"both long":            {"", long, long, "vault-" + long[:18] + "-" + long[:18] + "-", long[:21] + "-" + long[:21] + "-"},
		"a cut at a hyphen":    {"", long[:17] + "-" + long, long, "vault-" + long[:17] + "-" + long[:19] + "-", long[:17] + "-" + long[:3] + "-" + long[:21] + "-"},
		"no display name":      {"", "", "ci", "vault-ci-", "ci-"},
		"a template":           {"a_{{.RoleName}}", "token", "ci", "a-ci-", "a_ci"},
		"a long template":      {"{{.DisplayName}}", long, "ci", long[:43] + "-", long[:64]},
		"a template of 1 sign": {"x", "token", "ci", "x-", "x-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := userName(t, tc.template, tc.display, tc.role)
			if rest, ok := strings.CutPrefix(u, tc.user); !ok || !random.MatchString(rest) {
				t.Errorf("user name %q, want %q and %d random characters", u, tc.user, randomLength)
			}
			s := sessionName(t, tc.template, tc.display, tc.role)
			if rest, ok := strings.CutPrefix(s, tc.session); !ok || strings.HasSuffix(tc.session, "-") != random.MatchString(rest) {
				t.Errorf("session name %q, want %q", s, tc.session)
			}
		})
	}
}

var random = regexp.MustCompile(`^[a-z2-7]{20}$`)

// The leases of a mount share a policy exactly if they have the same document.
func TestSharedNamesFollowTheDocument(t *testing.T) {
	t.Parallel()
	name := policy.SharedName("", "ci", "tag", "1234567890123456", "{}")
	if again := policy.SharedName("", "deploy", "tag", "1234567890123456", "{}"); again != name || !strings.HasPrefix(name, "vault-") {
		t.Errorf("one document has the names %s and %s", name, again)
	}
	for what, other := range map[string]string{
		"another account":  policy.SharedName("", "ci", "tag", "6543210987654321", "{}"),
		"another document": policy.SharedName("", "ci", "tag", "1234567890123456", "[]"),
		"another mount":    policy.SharedName("", "ci", "gat", "1234567890123456", "{}"),
		"a template":       policy.SharedName("team/{{.RoleName}}", "ci", "tag", "1234567890123456", "{}"),
	} {
		if other == name {
			t.Errorf("%s has the name %s too", what, other)
		}
	}
	if got, want := policy.SharedName("team/{{.RoleName}}", "ci", "tag", "1234567890123456", "{}"), strings.Replace(name, "vault-", "team-ci-", 1); got != want {
		t.Errorf("with a template %s, want %s", got, want)
	}
}

func TestWhatRAMTakesForAName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ policy, user bool }{
		"":                       {false, false},
		"a-B-0":                  {true, true},
		"a.b_c":                  {false, true},
		"alice@example":          {false, false},
		"部署":                     {false, false},
		strings.Repeat("a", 64):  {true, true},
		strings.Repeat("a", 65):  {true, false},
		strings.Repeat("a", 128): {true, false},
		strings.Repeat("a", 129): {false, false},
	} {
		if got := policy.IsName(name); got != want.policy {
			t.Errorf("IsName(%q) = %v", name, got)
		}
		if got := policy.IsUserName(name); got != want.user {
			t.Errorf("IsUserName(%q) = %v", name, got)
		}
	}
}

func userName(t *testing.T, template, display, role string) string {
	t.Helper()
	name, err := policy.UserName(template, display, role)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func sessionName(t *testing.T, template, display, role string) string {
	t.Helper()
	name, err := policy.SessionName(template, display, role)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
