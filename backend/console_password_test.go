package backend

import (
	"fmt"
	"strings"
	"testing"
)

// Passwords meet the strictest policy that an account can have, use all characters,
// and are never the same.
func TestStrongPassword(t *testing.T) {
	t.Parallel()
	characters := strings.Join(passwordKinds, "")
	if len(characters) != 64 || 256%len(characters) != 0 {
		t.Fatalf("%d characters are not equally likely", len(characters))
	}
	seen, used := map[string]bool{}, map[rune]int{}
	const passwords = 10_000
	for range passwords {
		p := strongPassword()
		different := map[rune]bool{}
		for _, c := range p {
			different[c] = true
			used[c]++
		}
		if len(p) != 32 || len(different) < 8 || seen[p] {
			t.Fatalf("a password of %d characters, %d of them different; seen before: %t", len(p), len(different), seen[p])
		}
		for _, kind := range passwordKinds {
			if !strings.ContainsAny(p, kind) {
				t.Fatalf("a password has none of %s", kind)
			}
		}
		seen[p] = true
	}
	for _, c := range characters {
		if n := used[c] * len(characters) * 100 / (passwords * passwordLength); n < 80 || n > 125 {
			t.Errorf("%c is used %d %% as often as it should be", c, n)
		}
	}
}

// A login that gets into a log by accident does not tell its password.
func TestConsoleLoginPrintsNoPassword(t *testing.T) {
	t.Parallel()
	l := consoleLogin{name: "alice@corp.onaliyun.com", password: "hunter2"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, l); strings.Contains(text, l.password) || !strings.Contains(text, l.name) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
