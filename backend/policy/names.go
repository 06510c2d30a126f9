package policy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// The most characters of a name, from the API references of RAM and STS.
const (
	MaxName        = 128 // a policy: letters, digits and "-"
	maxUserName    = 64  // a user: letters, digits and any of . _ -
	maxSessionName = 64  // a session, 2 at least: letters, digits and any of . @ _ -
)

const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	randomLength = 20 // characters of the random part of a name
)

// IsName tells whether RAM takes name for a policy.
func IsName(name string) bool { return consists(name, MaxName, "-") }

// IsUserName tells whether RAM takes name for a user.
func IsUserName(name string) bool { return consists(name, maxUserName, "._-") }

func consists(name string, longest int, also string) bool {
	return name != "" && len(name) <= longest && strings.Trim(name, alphanumeric+also) == ""
}

// UserName makes the name of a RAM user or a RAM role, of 64 characters at
// most: what the template gives, or vault-<display name>-<role> without one.
// It always ends with 20 random letters and digits: a name that somebody else
// could have would be cleaned up as if it were ours. Only letters, digits and
// hyphens are in it, so that it can begin the name of a policy.
func UserName(template, displayName, roleName string) (string, error) {
	if template == "" {
		room := maxUserName - len("vault---") - randomLength
		display, role := fit(word("", displayName), word("", roleName), room)
		return word("", "vault", display, role, randomPart()), nil
	}
	filled, err := fill(template, displayName, roleName)
	if err != nil {
		return "", err
	}
	return word("", cut(word("", filled), maxUserName-len("-")-randomLength), randomPart()), nil
}

// SessionName makes a role session name of 2 to 64 characters: what the
// template gives, or <display name>-<role>-<20 random characters> without one.
// ActionTrail shows it, so it keeps "@", "." and "_". It need not be unique.
func SessionName(template, displayName, roleName string) (string, error) {
	const also = "@._"
	if template == "" {
		room := maxSessionName - len("--") - randomLength
		display, role := fit(word(also, displayName), word(also, roleName), room)
		return word(also, display, role, randomPart()), nil
	}
	filled, err := fill(template, displayName, roleName)
	if err != nil {
		return "", err
	}
	name := cut(word(also, filled), maxSessionName)
	if len(name) < 2 {
		name = word(also, name, randomPart())
	}
	return name, nil
}

// OwnName names an inline policy that one user or role has to itself: its name,
// and the hash that the role of the engine keeps with the document. Vault's
// built-in engine makes the same name.
func OwnName(user, hash string) string {
	return cut(word("", user, hash), MaxName)
}

// SharedName names an inline policy that all leases of a mount with the same
// document share in an account: what the template gives, or "vault" without one, and
// digests of the mount's tag, and of the account and the document. A template that fails counts as none:
// CheckNameTemplate tells so when it is written.
func SharedName(template, roleName, tag, account, document string) string {
	prefix := "vault"
	tagDigest, documentDigest := digest(tag)[:8], digest(account + document)[:32]
	if template != "" {
		if filled, err := fill(template, "", roleName); err == nil {
			prefix = cut(word("", filled), MaxName-len("--")-len(tagDigest)-len(documentDigest))
		}
	}
	return word("", prefix, tagDigest, documentDigest)
}

// Another is a name for what should have this one, which somebody else has taken.
func Another(name string) string {
	return word("", cut(name, MaxName-len("-")-randomLength), randomPart())
}

// The forms of the names that are made here.
var (
	madeName   = regexp.MustCompile(`(^|-)[a-z2-7]{20}$`)
	madePolicy = regexp.MustCompile(`(^|-)([0-9a-f]{8}-[0-9a-f]{32}(-[a-z2-7]{20})?|[a-z2-7]{20}-[^-]+)$`)
)

// Made tells whether the name of a user or role is one that UserName makes.
func Made(name string) bool { return madeName.MatchString(name) }

// MadePolicy tells whether the name of a policy is one that OwnName, SharedName or
// Another makes.
func MadePolicy(name string) bool { return madePolicy.MatchString(name) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// randomPart is 20 characters of base32: 100 bits.
func randomPart() string { return strings.ToLower(rand.Text()[:randomLength]) }

// word joins the parts by hyphens. Each run of characters that are no letters,
// no digits and not in also becomes one hyphen, and the ends have none.
func word(also string, parts ...string) string {
	known := alphanumeric + also
	foreign := func(r rune) bool { return !strings.ContainsRune(known, r) }
	return strings.Join(strings.FieldsFunc(strings.Join(parts, "-"), foreign), "-")
}

// fit shortens a and b to room characters in all. Each may use what the other
// leaves of it.
func fit(a, b string, room int) (string, string) {
	a = cut(a, max(room/2, room-len(b)))
	return a, cut(b, room-len(a))
}

// cut shortens s to n characters, without a hyphen at its end.
func cut(s string, n int) string {
	return strings.Trim(s[:min(len(s), n)], "-")
}
