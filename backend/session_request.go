package backend

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// sessionRequest is what STS is asked for, by a config or for a reader of a role.
// It can be compared: readers share a session if their requests are equal.
type sessionRequest struct {
	role   string // of the engine, that the session is for
	source source // of the keys or the token that it is asked with

	roleARN, name, policy, externalID, sourceIdentity string
	duration                                          time.Duration
}

// sessionRequest is what STS is to be asked for, and the lifetime of the lease.
// The session has a name only where the request gives one.
func (c credsRequest) sessionRequest(system logical.SystemView) (ask sessionRequest, ttl time.Duration, err error) {
	if ttl = c.ttl; ttl == 0 {
		ttl = min(defaultSession, c.maxTTL)
	}
	document, err := policy.Render(c.policy, policy.MaxSession, c.req.EntityID, system)
	if err != nil {
		return ask, 0, fmt.Errorf("policy %w", err)
	}
	identity, err := policy.RenderText(c.role.SourceIdentity, c.req.EntityID, system)
	if err != nil {
		return ask, 0, fmt.Errorf("source_identity %w", err)
	}
	return sessionRequest{
		role: c.name, source: c.role.source,
		roleARN: c.roleARN, name: c.roleSessionName, policy: document, externalID: c.role.ExternalID, sourceIdentity: identity,
		duration: min(max(ttl, minSession), maxSession),
	}, ttl, nil
}

// nameSession names the session after the reader, unless it has a name.
func (c credsRequest) nameSession(ask *sessionRequest, reader string) (err error) {
	if ask.name != "" {
		return nil
	}
	if ask.name, err = policy.SessionName(cmp.Or(c.role.RoleSessionNameTemplate, c.cloud.sessionTemplate), reader, c.name); err != nil {
		return refuse("role_session_name_template: %s", err)
	}
	return nil
}

// assumeRole is the request as AssumeRole takes it.
func (r sessionRequest) assumeRole() alicreds.RAMRoleARNOptions {
	return alicreds.RAMRoleARNOptions{
		RoleARN: r.roleARN, RoleSessionName: r.name, Policy: r.policy, ExternalID: r.externalID, SourceIdentity: r.sourceIdentity, Duration: r.duration,
	}
}
