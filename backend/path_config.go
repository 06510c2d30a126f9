package backend

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

func (b *backend) pathConfig() *framework.Path {
	return &framework.Path{
		Pattern:      "config",
		DisplayAttrs: display("", ""),
		Fields:       configFields().schemas(),
		// No existence check: a write must stay an update, because policies
		// written for the built-in engine grant no more than that.
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: named(change(b.writeConfig, "Configure the credentials the engine works with, and where its calls go."), "configure", ""),
			logical.ReadOperation:   named(operation(b.readConfig, "Read the configuration. Secrets are not part of it.", configFields().response()), "", "configuration"),
			logical.DeleteOperation: named(change(b.deleteConfig, "Delete the configuration. Until it is written again nothing can be issued or revoked."), "", "configuration"),
		},
		HelpSynopsis:    configHelpSynopsis,
		HelpDescription: configHelpDescription,
	}
}

func (b *backend) readConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	c, err := load[config](ctx, req.Storage, configKey)
	if err != nil || c == nil {
		return nil, err
	}
	return &logical.Response{Data: configFields().read(c)}, nil
}

func (b *backend) writeConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	var verified *config
	var who ram.Identity // nobody: it was not asked for
	if data.Get("verify").(bool) {
		var err error
		if verified, _, err = b.mergeConfig(ctx, req.Storage, data); err == nil {
			who, err = b.verifyConfig(ctx, verified)
		}
		if err != nil {
			return answer("verify: nothing was stored, because GetCallerIdentity failed", err)
		}
	}
	if err := b.replacing(ctx, req.Storage, data); err != nil {
		return nil, err
	}
	// One write at a time: two partial writes must not lose each other's fields,
	// nor those of a rotation.
	b.configWrite.Lock()
	defer b.configWrite.Unlock()
	before, err := load[config](ctx, req.Storage, configKey)
	if err != nil {
		return nil, err
	}
	c, warnings, err := b.mergeConfig(ctx, req.Storage, data)
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case ok:
		return logical.ErrorResponse(refused.Error()), nil
	case err != nil:
		return nil, err
	case verified != nil && !reflect.DeepEqual(verified.source, c.source):
		return logical.ErrorResponse("verify: nothing was stored, because another write changed the keys in config meanwhile: try again"), nil
	}
	if err := save(ctx, req.Storage, configKey, c); err != nil {
		return nil, err
	}
	b.resetCloud()
	warnings = append(c.warnings(), warnings...)
	if who.IdentityType == "Account" {
		warnings = append(warnings, rootKeys)
	}
	return warned(nil, append(warnings, b.otherAccount(ctx, req.Storage, before, c, who.AccountID)...)), nil
}

// replacing is told of a write before it is done.
func (b *backend) replacing(ctx context.Context, s logical.Storage, data *framework.FieldData) error {
	before, err := load[config](ctx, s, configKey)
	if err != nil || before == nil {
		return err
	}
	next, _, err := b.mergeConfig(ctx, s, data)
	if err != nil || before.samePrincipal(next) {
		return nil // the write itself says what is wrong
	}
	return b.noteFirstAccount(ctx, s)
}

// mergeConfig returns what a write makes of the stored config. A refusal is the
// user's mistake.
func (b *backend) mergeConfig(ctx context.Context, s logical.Storage, data *framework.FieldData) (c *config, warnings []string, err error) {
	if c, err = load[config](ctx, s, configKey); err != nil {
		return nil, nil, err
	}
	if c == nil {
		c = &config{}
		if err := firstWrite(data); err != nil {
			return nil, nil, refuse("%v", err)
		}
	}
	before := *c
	if err := c.update(data); err != nil {
		return nil, nil, refuse("%v", err)
	}
	switch forced := data.Get("force").(bool); {
	case forced:
	case before.madeByRotation() && c.AccessKey == before.AccessKey && c.SecretKey != before.SecretKey:
		warnings = append(warnings, fmt.Sprintf("secret_key was NOT stored: access_key %s was made by a rotation, and nobody but this mount knows its secret. "+
			"Leave secret_key out of the write, or give force=true if the secret is really that of this key.", c.AccessKey))
		c.SecretKey = before.SecretKey
	case before.rotatedAway(c.AccessKey):
		warnings = append(warnings, fmt.Sprintf("access_key %s was rotated away and was NOT stored: the mount goes on with %s, which a rotation put in its place. "+
			"Leave access_key and secret_key out of the write, or give force=true if the old key is really wanted. "+
			"In Terraform: lifecycle { ignore_changes = [access_key] }", c.AccessKey, before.AccessKey))
		c.AccessKey, c.SecretKey, c.SecurityToken = before.AccessKey, before.SecretKey, before.SecurityToken
	}
	warnings = append(warnings, c.followRotation(&before, time.Now())...)
	if err := c.validate(); err != nil {
		return nil, nil, refuse("%v", err)
	}
	candidate, err := b.newCloud(c, nil)
	if err != nil {
		return nil, nil, refuse("%s", ofSource(err))
	}
	candidate.Close()
	return c, warnings, nil
}

func (b *backend) verifyConfig(ctx context.Context, c *config) (who ram.Identity, err error) {
	candidate, err := b.newCloud(c, nil)
	if err != nil {
		return who, err
	}
	defer candidate.Close()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return candidate.CallerIdentity(ctx)
}

// firstWrite refuses to guess where credentials come from, as the built-in engine
// does; empty keys do say it.
func firstWrite(data *framework.FieldData) error {
	for _, field := range []string{"access_key", "credential_type"} {
		if _, ok := data.GetOk(field); ok {
			return nil
		}
	}
	return errors.New("access_key is required: give access_key and secret_key, or say in credential_type where credentials come from")
}

func (b *backend) deleteConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly
	}
	if !data.Get("force").(bool) {
		out, err := b.out(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		if !out.none() {
			return logical.ErrorResponse("%d RAM users and roles of leases and %d static roles need this config: without it nothing can be revoked or rotated, and a mount that is "+
				"disabled then stays half-removed. First vault lease revoke -prefix %screds and delete the static roles; or give force=true, which leaves live AccessKeys", len(out.issued), len(out.static), b.mountPath()), nil
		}
	}
	if err := b.noteFirstAccount(ctx, req.Storage); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	release, err := b.queue.Take(waiting, configKey)
	if err != nil {
		return answer("deleting config", err)
	}
	defer release()
	warnings := rootKey{b, req.Storage}.undoAll(waiting)
	b.configWrite.Lock()
	defer b.configWrite.Unlock()
	if err := req.Storage.Delete(ctx, configKey); err != nil {
		return nil, err
	}
	b.resetCloud()
	return warned(nil, warnings), nil
}

const configHelpSynopsis = "Configure the credentials the engine works with, and where its calls go."

const configHelpDescription = `
The engine needs credentials of its own: those of a RAM user that may assume
the roles and manage the RAM users it is to issue. Not those of the root
account, which may not assume roles.

    vault write alicloud/config access_key=LTAI... secret_key=...

On an ECS instance or in an ACK pod no keys are needed:

    vault write alicloud/config credential_type=ecs_ram_role
    vault write alicloud/config credential_type=oidc_role_arn \
        oidc_provider_arn=acs:ram::1234567890123456:oidc-provider/ack-rrsa \
        oidc_token_file_path=/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token \
        role_arn=acs:ram::1234567890123456:role/vault

To work as a RAM role, in this account or another, give its ARN too:

    vault write alicloud/config credential_type=ram_role_arn \
        access_key=LTAI... secret_key=... \
        role_arn=acs:ram::1234567890123456:role/vault

A write keeps the fields that it does not give. Keys are not tried unless
verify=true is given; "vault read alicloud/config/caller-identity" tries them.

The AccessKey can be rotated, on request (config/rotate-root) or by itself:

    vault write alicloud/config rotation_period=720h

secret_key and security_token are never read back. Deleting the configuration
leaves leases that cannot be revoked until it is written again.
`
