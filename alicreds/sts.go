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

// NewSTS needs all three parts of temporary keys.
func NewSTS(id, secret, securityToken string) (STS, error) {
	switch {
	case id == "":
		return STS{}, failed(typeSTS, "the AccessKey id is empty")
	case secret == "":
		return STS{}, failed(typeSTS, "the AccessKey secret is empty")
	case securityToken == "":
		return STS{}, failed(typeSTS, "the security token is empty")
	}
	return STS{keys: seal(openapi.Keys{AccessKeyID: id, AccessKeySecret: secret, SecurityToken: securityToken})}, nil
}

// Retrieve returns the keys.
func (p STS) Retrieve(context.Context) (Credentials, error) {
	return fixedKeys(p.keys, typeSTS)
}
