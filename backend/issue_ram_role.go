package backend

import (
	"cmp"
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issueRAMRole issues a session of a RAM role made for it. Deleting the role
// ends the session: it is the only kind of session that can be revoked.
func (b *backend) issueRAMRole(ctx context.Context, c credsRequest) (*logical.Response, error) {
	ask, ttl, err := c.sessionRequest(b.System())
	if err == nil {
		err = c.nameSession(&ask, c.req.DisplayName)
	}
	if err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	u, plan, err := b.plan(ctx, c, ram.Role)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	plan.MaxSession = cmp.Or(c.role.MaxSessionDuration, max(ask.duration, defaultSession))
	ask.roleARN, ask.duration = "acs:ram::"+u.AccountID+":role/"+u.RAMRole, min(ask.duration, plan.MaxSession)
	n, err := b.begin(ctx, c, u)
	if err != nil {
		return nil, err
	}
	var creds alicreds.Credentials
	var warnings []string
	if _, err = n.create(ctx, plan); err == nil {
		creds, err = c.assumeNew(ctx, ask)
	}
	if ask.duration > defaultSession && ram.HasCode(err, "InvalidParameter.DurationSeconds") {
		warnings = append(warnings, fmt.Sprintf("STS does not give a session of %s, which may be because the mount works with a session itself: this one lasts %s. Lower ttl", ask.duration, defaultSession))
		ask.duration = defaultSession
		creds, err = c.assumeNew(ctx, ask)
	}
	if err == nil {
		warnings = append(warnings, n.waitUntilUsable(ctx, creds.Keys())...)
	}
	if resp, err := n.conclude(ctx, "creating a RAM role", err); resp != nil || err != nil {
		return resp, err
	}
	resp, err := b.leaseOf(c, creds, ttl)
	if err != nil {
		n.undo(ctx, err) // there will be no lease to revoke
		return nil, err
	}
	warned(resp, warnings)
	if c.role.NoLease {
		return resp, nil
	}
	resp.Secret.InternalData, err = n.issued.leaseData(leaseRAMRole, c.name)
	return resp, err
}

// assumeNew asks for a session of a role that was just made: STS may see neither it
// nor its trust policy at once.
func (c credsRequest) assumeNew(ctx context.Context, ask sessionRequest) (creds alicreds.Credentials, err error) {
	err = ram.Eventually(ctx, "EntityNotExist.Role", func() error {
		return ram.Eventually(ctx, ram.NoPermission, func() (err error) {
			creds, err = c.cloud.AssumeRole(ctx, ask.assumeRole())
			return err
		})
	})
	return creds, err
}
