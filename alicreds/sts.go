package alicreds

import (
	"context"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const typeSTS = "sts"

// STS provides the temporary keys it was given. When they expire is not
// known, and it cannot renew them.
type STS struct {
	keys sealed[openapi.Keys]
}

// NewSTS needs all three parts of temporary keys. White space around them does
// not count; a control character in them is an error.
func NewSTS(id, secret, securityToken string) (STS, error) {
	keys, err := givenKeys(id, secret, &securityToken)
	if err != nil {
		return STS{}, &Error{Source: typeSTS, Err: err}
	}
	return STS{keys: seal(keys)}, nil
}

// Retrieve returns the keys.
func (p STS) Retrieve(context.Context) (Credentials, error) {
	return fixedKeys(p.keys, typeSTS)
}
