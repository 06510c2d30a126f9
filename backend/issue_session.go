package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issueSession issues a session of an existing RAM role, by AssumeRole or by
// AssumeRoleWithOIDC. It cannot be revoked, so its lease tells how long it lives.
func (b *backend) issueSession(ctx context.Context, i issuance) (*logical.Response, error) {
	want := i.want
	if want == 0 {
		want = min(defaultSession, i.limit)
	}
	document, err := policy.Render(i.policy, policy.MaxSession, i.req.EntityID, b.System())
	if err != nil {
		return logical.ErrorResponse("policy %s", err), nil
	}
	if i.role.ExpireWithLease {
		if document, err = policy.EndingAt(document, time.Now().Add(want)); err != nil {
			return logical.ErrorResponse("expire_with_lease: %s", err), nil
		}
	}
	identity, err := policy.RenderText(i.role.SourceIdentity, i.req.EntityID, b.System())
	if err != nil {
		return logical.ErrorResponse("source_identity %s", err), nil
	}
	duration := min(max(want, minSession), maxSession)
	creds, shortened, err := b.session(ctx, i, sessionRequest{
		role: i.name, source: i.role.source,
		roleARN: i.roleARN, name: i.session, policy: document, externalID: i.role.ExternalID, sourceIdentity: identity, duration: duration,
	})
	if err != nil {
		return answer("assuming "+i.roleARN, err)
	}
	var warnings []string
	if shortened {
		warnings = append(warnings, fmt.Sprintf("the RAM role does not allow sessions of %s: this one lasts %s. Lower ttl, or raise MaxSessionDuration of the RAM role", duration, defaultSession))
	}
	if want < minSession && !i.role.ExpireWithLease {
		warnings = append(warnings, fmt.Sprintf("the lease ends after %s as asked, but STS gives no session shorter than %s: these keys work until %s",
			want, minSession, creds.Expiration.UTC().Format(time.RFC3339)))
	}
	resp, err := b.leaseOf(i, creds, want)
	if err != nil {
		return nil, err
	}
	return warned(resp, warnings), nil
}

// session obtains a session, or takes the one that a reader within reuse_ttl
// obtained with the same request. shortened tells that the RAM role allows an
// hour only.
func (b *backend) session(ctx context.Context, i issuance, ask sessionRequest) (creds alicreds.Credentials, shortened bool, err error) {
	reader := i.req.DisplayName
	if i.role.ReuseTTL > 0 {
		reader = "" // shared by whoever reads, so named after nobody
	}
	named := ask
	if named.name == "" {
		if named.name, err = policy.SessionName(cmp.Or(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), reader, i.name); err != nil {
			return creds, false, err
		}
	}
	obtain := func(ctx context.Context) (alicreds.Credentials, bool, error) {
		creds, err := b.assume(ctx, i, named)
		if named.duration <= defaultSession || !ram.HasCode(err, "InvalidParameter.DurationSeconds") {
			return creds, false, err
		}
		// A role of the built-in engine may carry a ttl that never counted.
		shorter := named
		shorter.duration = defaultSession
		creds, err = b.assume(ctx, i, shorter)
		return creds, true, err
	}
	if i.role.ReuseTTL == 0 {
		return obtain(ctx)
	}
	return i.cloud.sessions.get(ctx, ask, i.role.ReuseTTL, obtain)
}

// assume calls AssumeRole with the mount's own credentials, or
// AssumeRoleWithOIDC with the role's token.
func (b *backend) assume(ctx context.Context, i issuance, ask sessionRequest) (alicreds.Credentials, error) {
	if i.role.kind.name != typeOIDCRoleARN {
		return i.cloud.AssumeRole(ctx, ask.assumeRole())
	}
	p, err := i.role.provider(typeOIDCRoleARN, settings{ask: ask, sts: i.cloud.STS(), system: b.System()})
	if err != nil {
		return alicreds.Credentials{}, err
	}
	return p.Retrieve(ctx)
}

// issueFromSource issues what the role's source holds: the keys of the ECS
// instance role, of a credentials URI, or those written to the role.
func (b *backend) issueFromSource(ctx context.Context, i issuance) (*logical.Response, error) {
	t := i.role.kind.name
	p, err := i.role.provider(t, settings{sts: i.cloud.STS(), system: b.System(), metadata: b.metadata[i.role.DisableIMDSv1]})
	if err != nil {
		return logical.ErrorResponse(ofSource(err)), nil
	}
	creds, err := p.Retrieve(ctx)
	if err != nil {
		return answer("obtaining credentials of type "+t, err)
	}
	return b.leaseOf(i, creds, i.want)
}

// leaseOf answers credentials that cannot be revoked, with a lease that ends
// when they do or when it was asked to, whichever comes first.
func (b *backend) leaseOf(i issuance, creds alicreds.Credentials, ttl time.Duration) (*logical.Response, error) {
	data := map[string]interface{}{"credential_type": i.role.kind.name}
	for field, value := range map[string]string{
		"access_key": creds.AccessKeyID, "secret_key": creds.AccessKeySecret, "security_token": creds.SecurityToken,
		"bearer_token": creds.BearerToken, "arn": creds.RoleARN,
	} {
		if value != "" {
			data[field] = value
		}
	}
	if !creds.Expiration.IsZero() {
		data["expiration"] = creds.Expiration.UTC().Format(time.RFC3339)
		left := time.Until(creds.Expiration)
		switch {
		case left <= 0:
			return nil, errors.New("the credentials have expired already: check the clock of the Vault server")
		case ttl == 0:
			ttl = min(left, i.limit)
		default:
			ttl = min(ttl, left)
		}
	}
	if i.role.NoLease {
		return &logical.Response{Data: data}, nil
	}
	resp := b.Secret(secretType).Response(data, map[string]interface{}{"role_type": leaseSTS})
	resp.Secret.TTL, resp.Secret.MaxTTL, resp.Secret.Renewable = ttl, ttl, false
	return resp, nil
}
