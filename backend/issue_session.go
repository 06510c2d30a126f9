package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issueSession issues a session of an existing RAM role. It cannot be revoked, so
// its lease tells how long it lives.
func (b *backend) issueSession(ctx context.Context, c credsRequest) (*logical.Response, error) {
	ask, ttl, err := c.sessionRequest(b.System())
	if err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	same := ask // but for what differs each time
	if same.name == "" && c.role.ReuseTTL == 0 {
		same.name = "a session of " + c.req.DisplayName // which no session name can be
	}
	if c.role.ExpireWithLease {
		if ask.policy, err = policy.EndingAt(ask.policy, time.Now().Add(ttl)); err != nil {
			return logical.ErrorResponse("expire_with_lease: %s", err), nil
		}
	}
	var creds alicreds.Credentials
	var shortened bool
	err = c.cloud.refusals.attempt(same, func() error {
		creds, shortened, err = b.session(ctx, c, ask)
		return err
	})
	if err != nil {
		return answer("assuming "+c.roleARN, err)
	}
	var warnings []string
	if shortened {
		warnings = append(warnings, fmt.Sprintf("the RAM role does not allow sessions of %s: this one lasts %s. Lower ttl, or raise MaxSessionDuration of the RAM role", ask.duration, defaultSession))
	}
	if ttl < minSession && !c.role.ExpireWithLease {
		warnings = append(warnings, fmt.Sprintf("the lease ends after %s as asked, but STS gives no session shorter than %s: these keys work until %s",
			ttl, minSession, creds.Expiration.UTC().Format(time.RFC3339)))
	}
	resp, err := b.leaseOf(c, creds, ttl)
	if err != nil {
		return nil, err
	}
	return warned(resp, warnings), nil
}

// session obtains a session, or takes the one that a reader within reuse_ttl
// obtained with the same request. shortened tells that the RAM role allows an
// hour only.
func (b *backend) session(ctx context.Context, c credsRequest, ask sessionRequest) (creds alicreds.Credentials, shortened bool, err error) {
	reader := c.req.DisplayName
	if c.role.ReuseTTL > 0 {
		reader = "" // shared by whoever reads, so named after nobody
	}
	named := ask
	if err := c.nameSession(&named, reader); err != nil {
		return creds, false, err
	}
	obtain := func(ctx context.Context) (alicreds.Credentials, bool, error) {
		creds, err := c.role.roleType.assume(b, ctx, c, named)
		if named.duration <= defaultSession || !ram.HasCode(err, "InvalidParameter.DurationSeconds") {
			return creds, false, err
		}
		// A role of the built-in engine may carry a ttl that never counted.
		shorter := named
		shorter.duration = defaultSession
		creds, err = c.role.roleType.assume(b, ctx, c, shorter)
		return creds, true, err
	}
	if c.role.ReuseTTL == 0 {
		return obtain(ctx)
	}
	return c.cloud.sessions.get(ctx, ask, c.role.ReuseTTL, obtain)
}

// assumeRole asks with the mount's own credentials.
func (b *backend) assumeRole(ctx context.Context, c credsRequest, ask sessionRequest) (alicreds.Credentials, error) {
	return c.cloud.AssumeRole(ctx, ask.assumeRole())
}

// assumeRoleWithOIDC asks with the role's token.
func (b *backend) assumeRoleWithOIDC(ctx context.Context, c credsRequest, ask sessionRequest) (alicreds.Credentials, error) {
	p, err := c.role.provider(typeOIDCRoleARN, settings{ask: ask, sts: c.cloud.STS(), system: b.System()})
	if err != nil {
		return alicreds.Credentials{}, err
	}
	return p.Retrieve(ctx)
}
