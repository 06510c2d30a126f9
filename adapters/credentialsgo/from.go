package credentialsgo

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/credentials-go/credentials"
)

// source is a credentials.Credential as an alicreds.Provider.
type source struct {
	get func() (*credentials.CredentialModel, error)
}

// From makes a Provider of a Credential of credentials-go, for programs that
// have one already: to assume a role with it, or for an SDK that alicreds has an
// adapter for. credentials-go renews by itself and tells no expiration, so a
// Cache around the Provider asks again every minute.
//
// A Credential takes no context: Retrieve leaves when its own ends, and the call
// goes on. What credentials-go panics with is an error, which quotes nothing. A
// failure is an *alicreds.Error of the source credentials-go; a Credential that is
// nil is not set up.
func From(c credentials.Credential) alicreds.Provider {
	if c == nil {
		return source{}
	}
	return source{c.GetCredential}
}

// Format prints what a source is and nothing of what it holds.
func (source) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(kind)) }

const kind = "credentials-go"

// Retrieve asks the Credential. The Source is "credentials-go/" and its provider
// name.
func (s source) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	if s.get == nil {
		return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: fmt.Errorf("%w: it has no Credential", alicreds.ErrUnavailable)}
	}
	type answer struct {
		model *credentials.CredentialModel
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if recover() != nil {
				a.err = errors.New("the call panicked")
			}
			answered <- a
		}()
		a.model, a.err = s.get()
	}()
	select {
	case <-ctx.Done():
		return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: ctx.Err()}
	case a := <-answered:
		c := model(a.model)
		switch {
		case a.err != nil:
			return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: a.err}
		case c.BearerToken == "" && (c.AccessKeyID == "" || c.AccessKeySecret == ""):
			return alicreds.Credentials{}, &alicreds.Error{Source: kind, Err: errors.New("it returned no credentials")}
		}
		return c, nil
	}
}

// model reads what may be nil.
func model(m *credentials.CredentialModel) alicreds.Credentials {
	if m == nil {
		return alicreds.Credentials{}
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	c := alicreds.Credentials{
		AccessKeyID:     text(m.AccessKeyId),
		AccessKeySecret: text(m.AccessKeySecret),
		SecurityToken:   text(m.SecurityToken),
		BearerToken:     text(m.BearerToken),
		Source:          kind,
	}
	if name := text(m.ProviderName); name != "" {
		c.Source += "/" + name
	}
	return c
}
