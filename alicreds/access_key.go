package alicreds

import (
	"context"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const typeAccessKey = "access_key"

// AccessKey provides the AccessKey it was given.
type AccessKey struct {
	keys sealed[openapi.Keys]
}

// NewAccessKey needs the id and the secret.
func NewAccessKey(id, secret string) (AccessKey, error) {
	switch {
	case id == "":
		return AccessKey{}, failed(typeAccessKey, "the AccessKey id is empty")
	case secret == "":
		return AccessKey{}, failed(typeAccessKey, "the AccessKey secret is empty")
	}
	return AccessKey{keys: seal(openapi.Keys{AccessKeyID: id, AccessKeySecret: secret})}, nil
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
