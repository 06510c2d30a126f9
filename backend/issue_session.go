package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// issueSession issues a session of an existing RAM role, by AssumeRole or by
// AssumeRoleWithOIDC. It cannot be revoked, so its lease tells how long it lives.
func (b *backend) issueSession(ctx context.Context, i issuance) (*logical.Response, error) {
	want := i.want
	if want == 0 {
		want = min(defaultSession, i.limit)
	}
	policy, err := render(i.policy, i.req, b.System(), maxSessionPolicy)
	if err != nil {
		return logical.ErrorResponse("policy %s", err), nil
	}
	if i.role.ExpireWithLease {
		if policy, err = endingAt(policy, time.Now().Add(want)); err != nil {
			return logical.ErrorResponse("expire_with_lease: %s", err), nil
		}
	}
	identity, err := renderString(i.role.SourceIdentity, i.req, b.System())
	if err != nil {
		return logical.ErrorResponse("source_identity %s", err), nil
	}
	duration := min(max(want, minSession), maxSession)
	ask := sessionRequest{
		roleARN: i.roleARN, policy: policy, externalID: i.role.ExternalID, sourceIdentity: identity, duration: duration, session: i.session,
	}
	creds, shortened, err := b.session(ctx, i, ask)
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

// sessionRequest is what STS is asked for.
type sessionRequest struct {
	roleARN, policy, externalID, sourceIdentity string
	duration                                    time.Duration
	session                                     string
}

// session obtains a session, or takes the one that a reader within reuse_ttl
// obtained with the same request. shortened tells that the RAM role allows an
// hour only.
func (b *backend) session(ctx context.Context, i issuance, ask sessionRequest) (creds alicreds.Credentials, shortened bool, err error) {
	obtain := func(ctx context.Context) (alicreds.Credentials, bool, error) {
		creds, err := i.cloud.assume(ctx, i.role, ask, b.System())
		if ask.duration <= defaultSession || !hasCode(err, "InvalidParameter.DurationSeconds") {
			return creds, false, err
		}
		// A role of the built-in engine may carry a ttl that never counted.
		ask.duration = defaultSession
		creds, err = i.cloud.assume(ctx, i.role, ask, b.System())
		return creds, true, err
	}
	if i.role.ReuseTTL == 0 {
		if ask.session == "" {
			ask.session, err = makeSessionName(cmp.Or(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), i.req.DisplayName, i.name)
		}
		if err != nil {
			return creds, false, err
		}
		return obtain(ctx)
	}
	if ask.session == "" { // shared by whoever reads, so named after nobody
		if ask.session, err = makeSessionName(cmp.Or(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), "", i.name); err != nil {
			return creds, false, err
		}
	}
	key, err := json.Marshal([]any{
		i.name, i.role.source, ask.roleARN, ask.policy, ask.externalID, ask.sourceIdentity, ask.duration, i.session,
	})
	if err != nil {
		return creds, false, err
	}
	return i.cloud.sessions.get(ctx, sha256.Sum256(key), i.role.ReuseTTL, obtain)
}

// assume calls AssumeRole with the mount's own credentials, or
// AssumeRoleWithOIDC with the role's token.
func (c *cloud) assume(ctx context.Context, r *role, ask sessionRequest, system logical.SystemView) (alicreds.Credentials, error) {
	if r.credentialType() == typeOIDCRoleARN {
		p, err := r.provider(typeOIDCRoleARN, sessionOptions{
			RoleARN: ask.roleARN, RoleSessionName: ask.session, Policy: ask.policy, SourceIdentity: ask.sourceIdentity, Duration: ask.duration,
		}, c.sts, system)
		if err != nil {
			return alicreds.Credentials{}, err
		}
		return p.Retrieve(ctx)
	}
	return c.assumeOwn(ctx, ask)
}

// assumeOwn calls AssumeRole with the mount's own credentials.
func (c *cloud) assumeOwn(ctx context.Context, ask sessionRequest) (alicreds.Credentials, error) {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return alicreds.Credentials{}, err
	}
	return alicreds.AssumeRole(ctx, own.Keys(), alicreds.RAMRoleARNOptions{
		RoleARN: ask.roleARN, RoleSessionName: ask.session, Policy: ask.policy, ExternalID: ask.externalID,
		SourceIdentity: ask.sourceIdentity, Duration: ask.duration, STSOptions: c.sts,
	})
}

// issueFromSource issues what the role's source holds: the keys of the ECS
// instance role, of a credentials URI, or those written to the role.
func (b *backend) issueFromSource(ctx context.Context, i issuance) (*logical.Response, error) {
	t := i.role.credentialType()
	p, err := i.role.provider(t, sessionOptions{Metadata: b.metadata[i.role.DisableIMDSv1]}, i.cloud.sts, b.System())
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
	data := map[string]interface{}{"credential_type": i.role.credentialType()}
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
