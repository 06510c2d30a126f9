package alicreds

import (
	"fmt"
	"strings"
)

// The forms of names and ARNs are written out: as regular expressions with
// counts such as {2,1224} they would take 620 KB at the start of every program.

// CheckRoleARN tells whether arn has the form acs:ram::<account id>:role/<role
// name>, the name being 1 to 64 letters, digits or characters of . @ _ - as RAM's
// CreateRole has it. The error does not quote it.
func CheckRoleARN(arn string) error {
	switch {
	case arn == "":
		return fmt.Errorf("the role ARN is empty")
	case !ramARN(arn, "role", 64, ".@_-"):
		return fmt.Errorf("the role ARN does not look like acs:ram::<account id>:role/<role name>")
	}
	return nil
}

func checkOIDCProviderARN(arn string) error {
	switch {
	case arn == "":
		return fmt.Errorf("the OIDC provider ARN is empty")
	case !ramARN(arn, "oidc-provider", 128, "._-"):
		return fmt.Errorf("the OIDC provider ARN does not look like acs:ram::<account id>:oidc-provider/<name>")
	}
	return nil
}

// CheckRoleSessionName tells whether AssumeRole takes the session name: 2 to 64
// letters, digits or characters of . @ - _, which is its own documented limit.
func CheckRoleSessionName(name string) error {
	if !madeOf(name, 2, 64, ".@_-") {
		return fmt.Errorf("the role session name must have 2 to 64 letters, digits or characters of . @ - _")
	}
	return nil
}

// CheckExternalID tells whether AssumeRole takes the external id: 2 to 1224
// letters, digits or characters of + = , . @ : / - _, which is its own documented
// limit. It takes none at all, too.
func CheckExternalID(id string) error {
	if id != "" && !madeOf(id, 2, 1224, "_+=,.@:/-") {
		return fmt.Errorf("the external id must have 2 to 1224 letters, digits or characters of + = , . @ : / - _")
	}
	return nil
}

func roleName(s string) bool { return madeOf(s, 1, 64, ".@_-") && s[0] != '.' }

func regionID(s string) bool {
	return madeOf(s, 1, 63, "-") && s == strings.ToLower(s) && s[0] != '-' && s[len(s)-1] != '-'
}

// sessionARN is an ARN of any service and any printable resource.
func sessionARN(s string) bool {
	parts := strings.SplitN(s, ":", 5)
	if len(parts) != 5 {
		return false
	}
	service, region, account, resource := parts[1], parts[2], parts[3], parts[4]
	return parts[0] == "acs" && service != "" && strings.Trim(service, "abcdefghijklmnopqrstuvwxyz") == "" &&
		strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && accountID(account) &&
		1 <= len(resource) && len(resource) <= 256 && strings.IndexFunc(resource, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

// ramARN is acs:ram::<account id>:<kind>/<name>.
func ramARN(s, kind string, longestName int, also string) bool {
	s, ok := strings.CutPrefix(s, "acs:ram::")
	account, resource, _ := strings.Cut(s, ":")
	name, ok2 := strings.CutPrefix(resource, kind+"/")
	return ok && ok2 && accountID(account) && madeOf(name, 1, longestName, also)
}

func accountID(s string) bool {
	return 1 <= len(s) && len(s) <= 32 && strings.Trim(s, "0123456789") == ""
}

// madeOf tells whether s is between shortest and longest bytes of ASCII
// letters, digits and the characters of also.
func madeOf(s string, shortest, longest int, also string) bool {
	if len(s) < shortest || len(s) > longest {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(also, c) >= 0) {
			return false
		}
	}
	return true
}
