package backend

import (
	"cmp"
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
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
	document, err := policy.Render(i.policy, policy.MaxSession, i.req.EntityID, b.System())
	if err != nil {
		return logical.ErrorResponse("policy %s", err), nil
	}
	sourceIdentity, err := policy.RenderText(i.role.SourceIdentity, i.req.EntityID, b.System())
	if err != nil {
		return logical.ErrorResponse("source_identity %s", err), nil
	}
	session := i.session
	if session == "" {
		if session, err = policy.SessionName(cmp.Or(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), i.req.DisplayName, i.name); err != nil {
			return logical.ErrorResponse("role_session_name_template: %s", err), nil
		}
	}
	u, plan, resp, err := b.plan(ctx, i, ram.Role)
	if resp != nil || err != nil {
		return resp, err
	}
	who, err := i.cloud.Whoami(ctx)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	if plan.Trust, plan.MaxSession = i.role.TrustPolicy, longest; plan.Trust == "" {
		plan.Trust = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["` + who.Principal() + `"]}}]}`
	}
	ask := alicreds.RAMRoleARNOptions{
		RoleARN: "acs:ram::" + u.AccountID + ":role/" + u.RAMRole, RoleSessionName: session, Policy: document, Duration: duration,
		ExternalID: i.role.ExternalID, SourceIdentity: sourceIdentity,
	}
	n, err := b.begin(ctx, i, u)
	if err != nil {
		return nil, err
	}
	var creds alicreds.Credentials
	if _, err = n.create(ctx, plan); err == nil {
		// STS may see neither the new role nor its trust policy at once.
		err = ram.Eventually(ctx, "EntityNotExist.Role", func() error {
			return ram.Eventually(ctx, ram.NoPermission, func() (err error) {
				creds, err = i.cloud.AssumeRole(ctx, ask)
				return err
			})
		})
	}
	if resp, err := n.conclude(ctx, "creating a RAM role", err); resp != nil || err != nil {
		return resp, err
	}
	resp, err = b.leaseOf(i, creds, want)
	if err != nil || i.role.NoLease {
		return resp, err
	}
	if resp.Secret.InternalData, err = n.made.leaseData(leaseRAMRole, i.name); err != nil {
		return nil, err
	}
	return resp, nil
}
