package backend

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Limits of names, from the RAM and STS API references.
const (
	maxUserName    = 64  // letters, digits, ".", "_", "-"
	maxPolicyName  = 128 // letters, digits, "-"
	maxSessionName = 64  // 2 to 64 letters, digits, ".", "@", "_", "-"
	randomLength   = 20  // characters of base32: 100 bits
)

// randomName returns 100 bits from the system's random source as 20 lower-case
// letters and digits.
func randomName() string {
	var b [13]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:randomLength]
}

// userName makes the name of a RAM user: vault-<display name>-<role>-<random>.
// Only letters, digits and hyphens are used, so that it can also begin the name
// of a policy. At most 64 characters.
func userName(displayName, roleName string) string {
	room := maxUserName - len("vault-") - len("--") - randomLength
	display, role := fit(word(displayName, ""), word(roleName, ""), room)
	return "vault-" + joinNonEmpty("-", display, role, randomName())
}

// makeUserName fills the template, or does without one, and appends the random
// part in any case: a name that somebody else could have would be cleaned up as
// if it were ours.
func makeUserName(text, displayName, roleName string) (string, error) {
	if text == "" {
		return userName(displayName, roleName), nil
	}
	filled, err := fillTemplate(text, displayName, roleName)
	if err != nil {
		return "", err
	}
	name, _ := fit(word(filled, ""), "", maxUserName-len("-")-randomLength)
	return joinNonEmpty("-", name, randomName()), nil
}

// makeSessionName is to makeUserName as sessions are to users; a session name
// need not be unique.
func makeSessionName(text, displayName, roleName string) (string, error) {
	if text == "" {
		return sessionName(displayName, roleName), nil
	}
	filled, err := fillTemplate(text, displayName, roleName)
	if err != nil {
		return "", err
	}
	name, _ := fit(word(filled, "@._"), "", maxSessionName)
	if len(name) < 2 {
		name = joinNonEmpty("-", name, randomName())
	}
	return name, nil
}

// policyName names the inline policy of one user: its user's name and the hash
// kept with the document in the role, as the built-in engine does.
func policyName(user, hash string) string {
	name := word(user, "") + "-" + word(hash, "")
	return name[:min(len(name), maxPolicyName)]
}

// sessionName makes a role session name: <display name>-<role>-<random>, at most
// 64 characters. It is what ActionTrail shows, so it keeps "@", "." and "_" of
// the display name.
func sessionName(displayName, roleName string) string {
	room := maxSessionName - len("--") - randomLength
	display, role := fit(word(displayName, "@._"), word(roleName, "._"), room)
	return joinNonEmpty("-", display, role, randomName())
}

// word replaces each run of characters that are not letters, digits or in also
// by one hyphen, and trims hyphens.
func word(s, also string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r < 0x80 && strings.ContainsRune(also, r):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// fit shortens a and b to room characters in all; each may use what the other
// leaves of it.
func fit(a, b string, room int) (string, string) {
	if len(a)+len(b) > room {
		half := room / 2
		switch {
		case len(b) <= room-half:
			a = a[:room-len(b)]
		case len(a) <= half:
			b = b[:room-len(a)]
		default:
			a, b = a[:half], b[:room-half]
		}
	}
	return strings.Trim(a, "-"), strings.Trim(b, "-")
}

func joinNonEmpty(sep string, parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
