package alicreds

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// A Provider obtains credentials. Retrieve is safe for concurrent use and
// returns soon after ctx ends.
//
// An error that wraps ErrUnavailable means "not set up here, ask the next
// one"; any other error means "set up, but failing" and stops a chain.
type Provider interface {
	// Retrieve obtains credentials. A failure of this package's own providers
	// is an *Error, but a Chain's a *ChainError. A Cache returns what its
	// provider does, and errors of its own for a context that has ended, for
	// its Close, and for a provider that returned nothing of use.
	Retrieve(ctx context.Context) (Credentials, error)
}

// ProviderFunc makes a Provider of a function.
type ProviderFunc func(ctx context.Context) (Credentials, error)

// Retrieve calls f.
func (f ProviderFunc) Retrieve(ctx context.Context) (Credentials, error) { return f(ctx) }

// Versioned is a Provider that can tell, quickly and without a call to a
// service, whether what it handed out is out of date: a CLIProfile and a Profile
// look at their files. A Cache asks at most once a second.
type Versioned interface {
	Provider

	// Version is the same for as long as the provider goes by the same text.
	// It tells nothing else. "" means that there is nothing to look at.
	Version(ctx context.Context) string
}

// Credentials are either an AccessKey, temporary keys (with SecurityToken)
// or a bearer token. They belong together: take all fields from one value.
type Credentials struct {
	AccessKeyID     string // names the key; what RSAKeyPair obtains is one too
	AccessKeySecret string // signs
	SecurityToken   string // goes with every request; for temporary keys only
	BearerToken     string // in the place of all three

	// Expiration is zero when they do not expire, or nobody knows when. What
	// this package obtains ends after the duration that was asked for, or, where that
	// is not known, after 12 h at most, which is the most that a role's
	// MaxSessionDuration can be; 15 min more are put down to the service's clock.
	Expiration time.Time

	// Source is the path they came by, outermost provider first, such as
	// "ram_role_arn/access_key".
	Source string

	AccountID  string // when known
	RoleARN    string // the role whose session this is, when known
	SessionARN string // the session as STS names it, when known
}

// Type is the type of the outermost provider, as in Config.Type: the first part
// of Source. It is "bearer" for a bearer token, whatever way that came.
func (c Credentials) Type() string {
	if c.BearerToken != "" {
		return typeBearer
	}
	kind, _, _ := strings.Cut(c.Source, "/")
	return kind
}

// Keys are what a request is signed with. They are empty for a bearer token.
func (c Credentials) Keys() openapi.Keys {
	return openapi.Keys{AccessKeyID: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret, SecurityToken: c.SecurityToken}
}

// Expired tells whether the credentials were of no use at that time.
func (c Credentials) Expired(at time.Time) bool {
	return !c.Expiration.IsZero() && !at.Before(c.Expiration)
}

// String shows where the credentials came from and until when they are good.
func (c Credentials) String() string {
	what := c.Keys().String()
	if c.BearerToken != "" {
		what = "BearerToken(****)"
	}
	s := "Credentials(" + what
	if c.Source != "" {
		s += " from " + c.Source
	}
	if !c.Expiration.IsZero() {
		s += " until " + c.Expiration.UTC().Format(time.RFC3339)
	}
	return s + ")"
}

// Format prints String for every verb, %#v too.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// MarshalJSON encodes String. Credentials are not to be stored by accident.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// LogValue logs String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }
