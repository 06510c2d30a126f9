package alicreds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const typeDefault = "default"

// ChainOptions of a Chain. The zero value is useful.
type ChainOptions struct {
	// FallThrough asks the next provider after any error, as Alibaba Cloud's
	// own Credentials tools do. A passing failure of the first provider then
	// selects another identity, for 5 minutes at least.
	FallThrough bool

	// AlwaysWalk begins with the first provider at each call, in place of
	// the one that succeeded before.
	AlwaysWalk bool
}

// Chain asks providers in turn until one is set up. After an error that wraps
// ErrUnavailable it asks the next one. Any other error ends the search, so that
// a provider that is set up and fails is not replaced by another identity. Nor is
// a profile that somebody asked for by its name: only a CLIProfile and a Profile
// are asked for it.
//
// From then on only the provider that succeeded is asked. Where one before it
// failed, or could not be reached, which may pass, the chain begins anew after 5
// minutes. Failures are not remembered. Wrap a Chain in a Cache.
type Chain struct {
	name    string // prefix of Source
	members []Provider
	options ChainOptions
	winner  atomic.Pointer[winner]
}

// winner is the provider that succeeded.
type winner struct {
	Provider
	until time.Time // zero means for good
}

// winnerLife is that of a winner that another may have to make room for.
const winnerLife = 5 * time.Minute

// NewChain asks the members in the given order.
func NewChain(o ChainOptions, members ...Provider) *Chain {
	return &Chain{members: append([]Provider(nil), members...), options: o}
}

// ChainError tells of every provider that was asked, and why it did not help.
type ChainError struct {
	Attempts []error // in the order of the chain
}

// Error lists the attempts, one on each line.
func (e *ChainError) Error() string {
	if len(e.Attempts) == 0 {
		return "no credentials: the chain is empty"
	}
	var b strings.Builder
	b.WriteString("no credentials:")
	for _, attempt := range e.Attempts {
		b.WriteString("\n  - " + attempt.Error())
	}
	return b.String()
}

// Unwrap returns the failures of providers that are set up, if there are any,
// and otherwise everything: a chain is unavailable when all of its members are.
func (e *ChainError) Unwrap() []error {
	var failures []error
	for _, attempt := range e.Attempts {
		if !errors.Is(attempt, ErrUnavailable) {
			failures = append(failures, attempt)
		}
	}
	if len(failures) > 0 {
		return failures
	}
	if len(e.Attempts) == 0 {
		return []error{ErrUnavailable}
	}
	return e.Attempts
}

// Format prints what a Chain is and nothing of what it holds.
func (c *Chain) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Chain of %d", len(c.members)) }

// Retrieve asks in turn. Its error is a *ChainError, or that of the provider
// that succeeded before.
func (c *Chain) Retrieve(ctx context.Context) (Credentials, error) {
	if first := c.winner.Load(); first != nil && (first.until.IsZero() || time.Now().Before(first.until)) {
		credentials, err := first.Retrieve(ctx)
		return c.named(credentials, err)
	}
	var walked ChainError
	var missing noSuchProfile
	var until time.Time
	for _, member := range c.members {
		if _, mayHave := member.(interface{ readsProfiles() }); missing.name != "" && !mayHave && !c.options.FallThrough {
			walked.Attempts = append(walked.Attempts, missing.nowhere())
			break
		}
		credentials, err := member.Retrieve(ctx)
		if err == nil {
			if !c.options.AlwaysWalk {
				c.winner.Store(&winner{member, until})
			}
			return c.named(credentials, nil)
		}
		walked.Attempts = append(walked.Attempts, err)
		errors.As(err, &missing)
		if mayPass(err) {
			until = time.Now().Add(winnerLife)
		}
		if ctx.Err() != nil || !errors.Is(err, ErrUnavailable) && !c.options.FallThrough {
			break
		}
	}
	return c.named(Credentials{}, &walked)
}

// Invalidate tells the members that keep credentials, as a Cache does, that a
// service refused these.
func (c *Chain) Invalidate(refused Credentials) {
	for _, member := range c.members {
		if kept, keeps := member.(renewable); keeps {
			kept.Invalidate(refused)
		}
	}
}

// Version is that of the provider that succeeded.
func (c *Chain) Version(ctx context.Context) string {
	if first := c.winner.Load(); first != nil {
		if v, ok := first.Provider.(Versioned); ok {
			return v.Version(ctx)
		}
	}
	return ""
}

// mayPass tells that a provider that did not succeed may do so later, without
// anybody setting it up.
func mayPass(err error) bool {
	_, network := errors.AsType[*openapi.NetworkError](err)
	return network || !errors.Is(err, ErrUnavailable)
}

func (c *Chain) named(credentials Credentials, err error) (Credentials, error) {
	switch {
	case c.name == "":
		return credentials, err
	case err != nil:
		return Credentials{}, &Error{Source: c.name, Err: err}
	}
	credentials.Source = c.name + "/" + credentials.Source
	return credentials, nil
}

// DefaultOptions of Default. The zero value is useful.
type DefaultOptions struct {
	Getenv     func(string) string // default os.Getenv
	STSOptions STSOptions          // completed from the environment
	Metadata   *Metadata           // default: one of the chain's own

	// Profile chooses in config.json and in the INI file; default
	// ALIBABA_CLOUD_PROFILE, or what each file has for a default.
	Profile string

	// CLIProfile says how config.json is used. Its Getenv, STSOptions and
	// Metadata are those above, and so is its Profile, which counts for both
	// files as well where there is none above.
	CLIProfile CLIProfileOptions

	ChainOptions
}

// Default is the chain of the type default: it finds the credentials of the
// place the program runs at.
//
//  1. env: ALIBABA_CLOUD_ACCESS_KEY_ID, _ACCESS_KEY_SECRET, _SECURITY_TOKEN
//  2. oidc_role_arn: ALIBABA_CLOUD_OIDC_TOKEN_FILE, _OIDC_PROVIDER_ARN, _ROLE_ARN
//  3. cli_profile: the profile of ~/.aliyun/config.json
//  4. profile: the profile of ~/.alibabacloud/credentials
//  5. ecs_ram_role: the ECS metadata service
//  6. credentials_uri: ALIBABA_CLOUD_CREDENTIALS_URI
//
// The environment is read when a provider is asked, and what is only half
// set up is an error.
func Default(o DefaultOptions) (*Chain, error) {
	if o.Getenv == nil {
		o.Getenv = processEnvironment
	}
	o.Profile = cmp.Or(o.Profile, o.CLIProfile.Profile)
	ini, err := NewProfile(ProfileOptions{Profile: o.Profile, STSOptions: o.STSOptions, Metadata: o.Metadata, Getenv: o.Getenv})
	if err != nil {
		return nil, &Error{Source: typeDefault, Err: err}
	}
	ini.file().elsewhere = true
	if o.STSOptions, err = o.STSOptions.FromEnvironment(o.Getenv).ready(); err != nil {
		return nil, &Error{Source: typeDefault, Err: err}
	}
	if o.Metadata == nil {
		o.Metadata, err = NewMetadata(MetadataOptions{DisableIMDSv1: isTrue(o.Getenv(envIMDSv1Disabled))})
		if err != nil {
			return nil, &Error{Source: typeDefault, Err: err}
		}
	}
	o.CLIProfile.STSOptions, o.CLIProfile.Metadata, o.CLIProfile.Getenv = o.STSOptions, o.Metadata, o.Getenv
	o.CLIProfile.Profile = o.Profile
	cli, err := NewCLIProfile(o.CLIProfile)
	if err != nil {
		return nil, &Error{Source: typeDefault, Err: err}
	}
	cli.file().elsewhere = true
	sessionName := newSessionName()
	chain := NewChain(o.ChainOptions,
		NewEnvironment(o.Getenv),
		o.member(typeOIDCRoleARN, sessionName, envOIDCTokenFile, envOIDCToken, envOIDCProviderARN),
		cli,
		ini,
		o.member(typeECSRAMRole, sessionName),
		o.member(typeCredentialsURI, sessionName, envCredentialsURI),
	)
	chain.name = typeDefault
	return chain, nil
}

// member is built from the environment each time it is asked. It is set up
// when one of the variables is there, and then has to be complete.
func (o DefaultOptions) member(kind, sessionName string, variables ...string) Provider {
	c := Config{Type: kind}
	c.complete(o.STSOptions, o.Metadata, o.Getenv, sessionName)
	return ProviderFunc(func(ctx context.Context) (Credentials, error) {
		present := len(variables) == 0
		for _, variable := range variables {
			present = present || o.Getenv(variable) != ""
		}
		if !present {
			return Credentials{}, failed(kind, "%w: %s is empty", ErrUnavailable, variables[0])
		}
		if kind == typeECSRAMRole && isTrue(o.Getenv(envMetadataDisabled)) {
			return Credentials{}, failed(kind, "%w: %s is true", ErrUnavailable, envMetadataDisabled)
		}
		if kind == typeCredentialsURI {
			if err := allowURI(o.Getenv); err != nil {
				return Credentials{}, &Error{Source: kind, Err: err}
			}
		}
		p, err := New(c)
		if err != nil {
			return Credentials{}, err
		}
		return p.Retrieve(ctx)
	})
}
