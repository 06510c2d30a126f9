// Package ossv2 lets the OSS SDK v2 for Go take credentials from an
// alicreds.Provider.
//
//	cache := alicreds.NewCache(provider, alicreds.CacheOptions{})
//	defer cache.Close()
//	client := oss.NewClient(oss.LoadDefaultConfig().
//		WithRegion("cn-hangzhou").
//		WithCredentialsProvider(ossv2.New(cache)))
//
// From goes the other way: it makes an alicreds.Provider of what a program has for
// the OSS SDK.
package ossv2

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
)

// ErrBearerToken is the error for a provider of a bearer token: OSS takes
// signed requests only.
var ErrBearerToken = errors.New("the provider returned a bearer token, and OSS needs an AccessKey to sign with")

// Provider is a credentials.CredentialsProvider of the OSS SDK. It is safe
// for concurrent use and prints nothing of what it holds. The Credentials it
// returns are a type of the SDK, and print everything.
type Provider struct {
	provider alicreds.Provider
}

var _ credentials.CredentialsProvider = (*Provider)(nil)

// New makes a Provider for OSS. Clients ask at every request, so a provider
// that is not an *alicreds.Cache is put into one, with the default options. That
// Cache cannot be closed or invalidated, and holds no goroutine between renewals.
func New(p alicreds.Provider) *Provider {
	if _, cached := p.(*alicreds.Cache); !cached {
		p = alicreds.NewCache(p, alicreds.CacheOptions{})
	}
	return &Provider{provider: p}
}

// Format prints what a Provider is and nothing of what it holds.
func (p *Provider) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Provider")) }

// GetCredentials returns credentials that belong together, with their
// expiration if they have one. Its error is that of the provider, or wraps
// ErrBearerToken.
func (p *Provider) GetCredentials(ctx context.Context) (credentials.Credentials, error) {
	got, err := p.provider.Retrieve(ctx)
	switch {
	case err != nil:
		return credentials.Credentials{}, err
	case got.BearerToken != "":
		return credentials.Credentials{}, fmt.Errorf("%s: %w", got.Source, ErrBearerToken)
	}
	c := credentials.Credentials{
		AccessKeyID:     got.AccessKeyID,
		AccessKeySecret: got.AccessKeySecret,
		SecurityToken:   got.SecurityToken,
	}
	if !got.Expiration.IsZero() {
		c.Expires = &got.Expiration
	}
	return c, nil
}
