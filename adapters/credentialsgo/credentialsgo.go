// Package credentialsgo lets Alibaba Cloud's own Go SDKs take credentials
// from an alicreds.Provider: alibabacloud-go clients and everything else that
// asks for a credentials.Credential of github.com/aliyun/credentials-go.
//
//	role, err := alicreds.NewRAMRoleARN(source, alicreds.RAMRoleARNOptions{RoleARN: arn})
//	...
//	cache := alicreds.NewCache(role, alicreds.CacheOptions{})
//	defer cache.Close()
//	client, err := openapi.NewClient(&openapiutil.Config{
//		Credential: credentialsgo.New(cache, credentialsgo.Options{}),
//	})
//
// Here openapi is the client of github.com/alibabacloud-go/darabonba-openapi; an
// SDK of one product takes the same Config. The examples of [New] are the samples
// of Alibaba Cloud's Credentials tools, DescribeRegions of ECS and GetInstance of
// CCC. [From] goes the other way: it makes an alicreds.Provider of a Credential
// that a program has already.
//
// What credentials-go names otherwise is given its name there: the type is
// the outermost part of Credentials.Source, and the provider name is the
// whole path with static_ak for access_key, static_sts for sts and
// credential_uri for credentials_uri.
package credentialsgo

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/credentials-go/credentials"
)

const (
	defaultTimeout = time.Minute

	// The deprecated getters follow each other at once; whoever asks for one
	// field a minute later begins again.
	togetherFor = time.Minute
)

// Options of a Credential. The zero value is useful.
type Options struct {
	// Timeout bounds one call of the provider, because the methods of a
	// credentials.Credential take no context. Default 1 min.
	Timeout time.Duration
}

// Credential is a credentials.Credential. It is safe for concurrent use and
// prints nothing of what it holds. The CredentialModel that GetCredential
// returns is a type of credentials-go, and prints everything.
type Credential struct {
	provider alicreds.Provider
	options  Options
	shown    atomic.Pointer[snapshot]
}

var _ credentials.Credential = (*Credential)(nil)

// snapshot is what the deprecated getters give field by field.
type snapshot struct {
	credentials alicreds.Credentials
	until       time.Time
}

// New makes a Credential of a provider. SDKs ask at every request, so a
// provider that is not an *alicreds.Cache is put into one, with the default options. That
// Cache cannot be closed or invalidated, and holds no goroutine between renewals.
func New(p alicreds.Provider, o Options) *Credential {
	if _, cached := p.(*alicreds.Cache); !cached {
		p = alicreds.NewCache(p, alicreds.CacheOptions{})
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Credential{provider: p, options: o}
}

// Format prints what a Credential is and nothing of what it holds.
func (c *Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Credential")) }

func (c *Credential) retrieve() (alicreds.Credentials, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
	defer cancel()
	return c.provider.Retrieve(ctx)
}

// GetCredential returns credentials that belong together. Fields that they
// do not have are empty, never nil. Its error is that of the provider, or that the
// Timeout is over.
func (c *Credential) GetCredential() (*credentials.CredentialModel, error) {
	got, err := c.retrieve()
	if err != nil {
		return nil, err
	}
	kind, name := typeOf(got), nameOf(got)
	return &credentials.CredentialModel{
		AccessKeyId:     &got.AccessKeyID,
		AccessKeySecret: &got.AccessKeySecret,
		SecurityToken:   &got.SecurityToken,
		BearerToken:     &got.BearerToken,
		Type:            &kind,
		ProviderName:    &name,
	}, nil
}

// GetAccessKeyId returns the id, and pins the credentials that it belongs to
// for GetAccessKeySecret and GetSecurityToken.
//
// Deprecated: where several goroutines take fields one by one, a renewal can
// still come between. Use GetCredential.
func (c *Credential) GetAccessKeyId() (*string, error) {
	got, err := c.show()
	if err != nil {
		return nil, err
	}
	return &got.AccessKeyID, nil
}

// GetAccessKeySecret returns the secret that belongs to the id which
// GetAccessKeyId returned within the last minute, unless that has expired.
//
// Deprecated: use GetCredential.
func (c *Credential) GetAccessKeySecret() (*string, error) {
	got, err := c.pinned()
	if err != nil {
		return nil, err
	}
	return &got.AccessKeySecret, nil
}

// GetSecurityToken is to the token what GetAccessKeySecret is to the secret.
//
// Deprecated: use GetCredential.
func (c *Credential) GetSecurityToken() (*string, error) {
	got, err := c.pinned()
	if err != nil {
		return nil, err
	}
	return &got.SecurityToken, nil
}

// GetBearerToken returns the token, empty when there is none or an error.
//
// Deprecated: use GetCredential, which tells of errors.
func (c *Credential) GetBearerToken() *string {
	got, err := c.retrieve()
	if err != nil {
		return new(string)
	}
	return &got.BearerToken
}

// GetType returns the credential type, for example ram_role_arn. It asks the
// provider, and is empty when that fails.
func (c *Credential) GetType() *string {
	got, err := c.retrieve()
	if err != nil {
		return new(string)
	}
	kind := typeOf(got)
	return &kind
}

// show retrieves and pins.
func (c *Credential) show() (alicreds.Credentials, error) {
	got, err := c.retrieve()
	if err != nil {
		return alicreds.Credentials{}, err
	}
	c.shown.Store(&snapshot{credentials: got, until: time.Now().Add(togetherFor)})
	return got, nil
}

func (c *Credential) pinned() (alicreds.Credentials, error) {
	now := time.Now()
	if s := c.shown.Load(); s != nil && now.Before(s.until) && !s.credentials.Expired(now) {
		return s.credentials, nil
	}
	return c.show()
}

// typeOf is the outermost provider. Providers need not name themselves; then
// the fields tell.
func typeOf(c alicreds.Credentials) string {
	outermost, _, _ := strings.Cut(c.Source, "/")
	switch {
	case c.BearerToken != "":
		return "bearer" // SDKs send the token for this type alone
	case outermost != "":
		return outermost
	case c.SecurityToken != "":
		return "sts"
	}
	return "access_key"
}

// nameOf is the path in the words of credentials-go.
func nameOf(c alicreds.Credentials) string {
	if c.Source == "" {
		return typeOf(c)
	}
	path := strings.Split(c.Source, "/")
	for i, part := range path {
		switch part {
		case "access_key":
			path[i] = "static_ak"
		case "sts":
			path[i] = "static_sts"
		case "credentials_uri":
			path[i] = "credential_uri"
		}
	}
	return strings.Join(path, "/")
}
