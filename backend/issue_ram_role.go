package backend

import (
	"cmp"
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// issueRAMRole issues a session of a RAM role made for it. Deleting the role
// ends the session: it is the only kind of session that can be revoked.
func (b *backend) issueRAMRole(ctx context.Context, i issuance) (*logical.Response, error) {
	want := i.want
	if want == 0 {
		want = min(defaultSession, i.limit)
	}
	duration := min(max(want, minSession), maxSession)
	longest := max(duration, defaultSession)
	if i.role.MaxSessionDuration > 0 {
		longest = i.role.MaxSessionDuration
		duration = min(duration, longest)
	}
	policy, err := render(i.policy, i.req, b.System(), maxSessionPolicy)
	if err != nil {
		return logical.ErrorResponse("policy %s", err), nil
	}
	sourceIdentity, err := renderString(i.role.SourceIdentity, i.req, b.System())
	if err != nil {
		return logical.ErrorResponse("source_identity %s", err), nil
	}
	session := i.session
	if session == "" {
		if session, err = makeSessionName(cmp.Or(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), i.req.DisplayName, i.name); err != nil {
			return logical.ErrorResponse("role_session_name_template: %s", err), nil
		}
	}
	u, documents, resp, err := b.plan(ctx, i)
	if resp != nil || err != nil {
		return resp, err
	}
	who, err := i.cloud.whoami(ctx)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	trust := i.role.TrustPolicy
	if trust == "" {
		trust = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["` + who.principal() + `"]}}]}`
	}
	var creds alicreds.Credentials
	resp, err = b.create(ctx, i, &u, "creating a RAM role", func(record func() error) error {
		var first wave
		first.add(func() error { return i.cloud.createRole(ctx, u.RAMRole, trust, i.mark().ofRole, longest) })
		addPolicies(ctx, &first, i.cloud, documents, i.mark(), b.holders.others)
		if err := first.run(); err != nil {
			return err
		}
		var second wave
		second.add(record)
		addAttachments(ctx, &second, i.cloud, u, documents, i.mark(), func(call func() error) func() error {
			return func() error { return eventually(ctx, "EntityNotExist.Role", call) }
		})
		if err := second.run(); err != nil {
			return err
		}
		ask := sessionRequest{
			roleARN: "acs:ram::" + u.AccountID + ":role/" + u.RAMRole, session: session, policy: policy, duration: duration,
			externalID: i.role.ExternalID, sourceIdentity: sourceIdentity,
		}
		// The new role and its trust policy may take a while to be seen by STS.
		return eventually(ctx, "EntityNotExist.Role", func() error {
			return eventually(ctx, noPermission, func() (err error) {
				creds, err = i.cloud.assumeOwn(ctx, ask)
				return err
			})
		})
	})
	if resp != nil || err != nil {
		return resp, err
	}
	resp, err = b.leaseOf(i, creds, want)
	if err != nil || i.role.NoLease {
		return resp, err
	}
	if resp.Secret.InternalData, err = u.leaseData(leaseRAMRole, i.name); err != nil {
		return nil, err
	}
	return resp, nil
}
