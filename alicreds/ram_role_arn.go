package alicreds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const typeRAMRoleARN = "ram_role_arn"

// RAMRoleARNOptions describe the session that AssumeRole is asked for. The
// limits are those that its documentation (Sts 2015-04-01) states.
type RAMRoleARNOptions struct {
	RoleARN string // acs:ram::<account id>:role/<role name>

	// RoleSessionName appears in the audit log: 2 to 64 letters, digits or
	// characters of . @ - _; by default "alicreds-" and a random part that
	// stays the same for the life of the provider.
	RoleSessionName string

	Policy         string // JSON of up to 2048 characters; the session may do what both it and the role allow
	ExternalID     string // 2 to 1224 letters, digits or characters of + = , . @ : / - _
	SourceIdentity string // set on the first hop, kept by further ones

	// Duration is 900 s to 43200 s, and at most the role's
	// MaxSessionDuration; 0 means 3600 s. Fractions of a second are dropped.
	Duration time.Duration

	STSOptions
}

func (o RAMRoleARNOptions) ready() (RAMRoleARNOptions, error) {
	if o.RoleSessionName == "" {
		o.RoleSessionName = newSessionName()
	}
	if err := cmp.Or(
		CheckRoleARN(o.RoleARN),
		CheckRoleSessionName(o.RoleSessionName),
		checkSessionPolicy(o.Policy),
		CheckExternalID(o.ExternalID),
		checkDuration(o.Duration),
	); err != nil {
		return o, err
	}
	var err error
	o.STSOptions, err = o.STSOptions.ready()
	return o, err
}

// RAMRoleARN assumes a RAM role with the keys of another provider. It is the
// type ram_role_arn, and over a RAMRoleARN a chain of roles.
//
// Where STS refuses the source's keys (KeyRefused or TokenRefused of
// [openapi.Error]) and the source has Invalidate, as a [Cache] does, it is told so.
// The call is made once more if the source has other keys then.
type RAMRoleARN struct {
	source  Provider
	options sealed[RAMRoleARNOptions]
}

// NewRAMRoleARN checks the options before any call is made. The source is
// asked at every Retrieve; give it a Cache of its own if asking is costly, and
// close both Caches.
func NewRAMRoleARN(source Provider, o RAMRoleARNOptions) (RAMRoleARN, error) {
	if source == nil {
		return RAMRoleARN{}, failed(typeRAMRoleARN, "there is no source provider, whose keys sign the call")
	}
	o, err := o.ready()
	if err != nil {
		return RAMRoleARN{}, &Error{Source: typeRAMRoleARN, Err: err}
	}
	return RAMRoleARN{source: source, options: seal(o)}, nil
}

// Retrieve starts a session. Its Source is "ram_role_arn/" and the source's.
func (p RAMRoleARN) Retrieve(ctx context.Context) (Credentials, error) {
	if p.source == nil {
		return Credentials{}, failed(typeRAMRoleARN, "%w: it has no source provider", ErrUnavailable)
	}
	source, err := p.source.Retrieve(ctx)
	if err != nil {
		return Credentials{}, &Error{Source: typeRAMRoleARN, Err: setUp{err}}
	}
	session, err := p.assume(ctx, source)
	if fresh, renewed := p.renewed(ctx, source, err); renewed {
		return p.assume(ctx, fresh)
	}
	return session, err
}

func (p RAMRoleARN) assume(ctx context.Context, source Credentials) (Credentials, error) {
	return assumeRole(ctx, source.Keys(), p.options(), typeRAMRoleARN+"/"+source.Source)
}

// renewable is a provider that keeps credentials, and drops those that a service
// refused.
type renewable interface {
	Invalidate(refused Credentials)
}

// renewed returns other credentials of the source than those that STS refused with
// err.
func (p RAMRoleARN) renewed(ctx context.Context, source Credentials, err error) (fresh Credentials, renewed bool) {
	kept, keeps := p.source.(renewable)
	refused, answered := errors.AsType[*openapi.Error](err)
	if !keeps || !answered || !refused.KeyRefused() && !refused.TokenRefused() {
		return fresh, false
	}
	kept.Invalidate(source)
	fresh, err = p.source.Retrieve(ctx)
	return fresh, err == nil && fresh.Keys() != source.Keys()
}

// AssumeRole starts one session with the given keys. It is for callers whose
// parameters change with every call; others want a RAMRoleARN in a Cache.
// Give STSOptions a Client, which keeps connections alive between calls.
func AssumeRole(ctx context.Context, keys openapi.Keys, o RAMRoleARNOptions) (Credentials, error) {
	borrowed := o.Client != nil
	o, err := o.ready()
	if err != nil {
		return Credentials{}, &Error{Source: typeRAMRoleARN, Err: err}
	}
	if !borrowed {
		defer o.Client.CloseIdleConnections()
	}
	return assumeRole(ctx, keys, o, typeRAMRoleARN)
}

func assumeRole(ctx context.Context, keys openapi.Keys, o RAMRoleARNOptions, source string) (Credentials, error) {
	if keys == (openapi.Keys{}) {
		return Credentials{}, failed(source, "the source has no AccessKey to sign the call with")
	}
	params := map[string]string{
		"RoleArn":         o.RoleARN,
		"RoleSessionName": o.RoleSessionName,
		"DurationSeconds": seconds(o.Duration),
	}
	for name, value := range map[string]string{"Policy": o.Policy, "ExternalId": o.ExternalID, "SourceIdentity": o.SourceIdentity} {
		if value != "" {
			params[name] = value
		}
	}
	var reply sessionReply
	if err := o.call(ctx, openapi.Request{Action: "AssumeRole", Params: params, Keys: keys}, &reply); err != nil {
		return Credentials{}, &Error{Source: source, Err: err}
	}
	c, err := reply.credentials(o.RoleARN, source, o.Duration)
	if err != nil {
		return Credentials{}, &Error{Source: source, Err: fmt.Errorf("AssumeRole: %w", err)}
	}
	return c, nil
}
