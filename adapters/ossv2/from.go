package ossv2

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
)

const kind = "oss"

// source is a credentials.CredentialsProvider as an alicreds.Provider.
type source struct {
	get func(context.Context) (credentials.Credentials, error)
}

// From makes a Provider of a CredentialsProvider of the OSS SDK, for programs
// that have one already. A Cache around it renews by the expiration that the
// provider tells, or asks again every minute where it tells none.
//
// A failure is an *alicreds.Error of the source oss: the provider's own, or that
// it returned no keys. One that is nil is not set up.
func From(p credentials.CredentialsProvider) alicreds.Provider {
	if p == nil {
		return source{}
	}
	return source{p.GetCredentials}
}

// Format prints what a source is and nothing of what it holds.
func (source) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(kind)) }

// Retrieve asks the CredentialsProvider. The Source is "oss".
func (s source) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	if s.get == nil {
		return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: fmt.Errorf("%w: it has no CredentialsProvider", alicreds.ErrUnavailable)}
	}
	got, err := s.get(ctx)
	switch {
	case err != nil:
		return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: err}
	case !got.HasKeys():
		return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: errors.New("it returned no keys")}
	}
	c := alicreds.Credentials{AccessKeyID: got.AccessKeyID, AccessKeySecret: got.AccessKeySecret, SecurityToken: got.SecurityToken, Source: kind}
	if got.Expires != nil {
		c.Expiration = *got.Expires
	}
	return c, nil
}
