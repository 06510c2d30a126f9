package alicreds

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const typeAccessKey = "access_key"

// AccessKey provides the AccessKey it was given.
type AccessKey struct {
	keys sealed[openapi.Keys]
}

// NewAccessKey needs the id and the secret. White space around them does not
// count: files end with a line feed. It fails where one is empty or has a control
// character in it. Whether the key works shows at the first call.
func NewAccessKey(id, secret string) (AccessKey, error) {
	keys, err := givenKeys(id, secret, nil)
	if err != nil {
		return AccessKey{}, &Error{Source: typeAccessKey, Err: err}
	}
	return AccessKey{keys: seal(keys)}, nil
}

// givenKeys are keys as somebody gave them. There is a security token unless it
// is nil.
func givenKeys(id, secret string, token *string) (keys openapi.Keys, err error) {
	var errs [3]error
	keys.AccessKeyID, errs[0] = trimmed("AccessKey id", id)
	keys.AccessKeySecret, errs[1] = trimmed("AccessKey secret", secret)
	if token != nil {
		keys.SecurityToken, errs[2] = trimmed("security token", *token)
	}
	return keys, cmp.Or(errs[:]...)
}

// trimmed is a part of somebody's keys without the white space around it. It is
// neither empty nor does it contain what no key contains; the error names that.
func trimmed(what, value string) (string, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return "", fmt.Errorf("the %s is empty", what)
	}
	if at := strings.IndexFunc(value, unicode.IsControl); at >= 0 {
		r, _ := utf8.DecodeRuneInString(value[at:])
		return "", fmt.Errorf("the %s has a control character in it (%U), which no key has", what, r)
	}
	return value, nil
}

// Retrieve returns the key. It does not expire.
func (p AccessKey) Retrieve(context.Context) (Credentials, error) {
	return fixedKeys(p.keys, typeAccessKey)
}

// fixedKeys are what a provider without a service behind it returns.
func fixedKeys(keys sealed[openapi.Keys], source string) (Credentials, error) {
	if keys == nil {
		return Credentials{}, failed(source, "%w: it has no keys", ErrUnavailable)
	}
	k := keys()
	return Credentials{
		AccessKeyID:     k.AccessKeyID,
		AccessKeySecret: k.AccessKeySecret,
		SecurityToken:   k.SecurityToken,
		Source:          source,
	}, nil
}
