package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

func (b *backend) pathRoleCheck() *framework.Path {
	return &framework.Path{
		Pattern:      rolePrefix + framework.GenericNameRegex("name") + "/check",
		DisplayAttrs: display("check", "role"),
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the role."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: operation(b.checkRole, "Say what is missing for a role to work. Issues nothing and changes nothing.", map[string]*framework.FieldSchema{
				"ok":        {Type: framework.TypeBool, Description: "Nothing that was checked, and that leases need, is missing.", Required: true},
				"principal": {Type: framework.TypeString, Description: "ARN of who this mount is; empty if its own credentials do not work.", Required: true},
				"checks": {Type: framework.TypeSlice, Required: true, Description: `What was checked, each with action, on, needed_for, ` +
					`result ("yes", "no", "unknown" or "not checked") and fix.`},
			}),
		},
		HelpSynopsis: "What is missing for a role to work.",
		HelpDescription: `
Asks Alibaba Cloud, without issuing a credential and without changing anything,
whether the mount's own credentials work, whether the RAM roles, policies and
groups that the role names exist, and which permissions the mount lacks for it.

    vault read -format=json alicloud/role/ci/check

A permission to create, change or delete is probed with a request that cannot
take effect: on a user, role or policy of a random name that does not exist, or
with a value that RAM documents as invalid. A refusal with NoPermission means
that the permission is missing; any other refusal, that it is there. What cannot
be probed like that, such as sts:AssumeRole, is "not checked".

Permissions that are only needed to clean up what others added ("extras") do not
make a role fail, and neither do those to look, such as ram:GetPolicy: without
them the answer is "unknown".
`,
	}
}

func (b *backend) checkRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	r, err := loadRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, b.unknownName(ctx, req, roleNames, name)
	}
	cloud, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if cloud == nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	self := finding{Action: "sts:GetCallerIdentity", NeededFor: "everything", Result: checkYes}
	who, err := cloud.CallerIdentity(ctx)
	if err != nil {
		resp, err := answer("asking who this mount is", err)
		if err != nil || resp == nil {
			return resp, err
		}
		self.Result, self.Fix = checkNo, resp.Error().Error()
		return checkResponse("", []finding{self}), nil
	}
	self.On = who.ARN
	c := roleCheck{ctx: ctx, cloud: cloud, role: r, name: name, who: who}
	if r.roleType.creates != "" {
		tag, err := load[string](ctx, req.Storage, tagKey)
		if err != nil {
			return nil, err
		}
		if tag == nil { // nothing was issued yet, and this is no time to begin
			tag = new(string)
		}
		if c.entity, err = policy.UserName(cmp.Or(r.UsernameTemplate, cloud.usernameTemplate), req.DisplayName, name); err != nil {
			return logical.ErrorResponse("username_template: %s", err), nil
		}
		// Of a document that nobody has, so that there is no such policy.
		c.custom = policy.SharedName(cloud.policyNameTemplate, name, *tag, rand.Text())
		if r.PolicyPerLease {
			c.custom = policy.OwnName(c.entity, rand.Text())
		}
		c.patterns = strings.NewReplacer(c.entity, pattern(c.entity), c.custom, pattern(c.custom))
		c.leaveOutTemplates()
		c.existence()
	}
	r.roleType.check(&c)
	return checkResponse(who.ARN, append([]finding{self}, c.run()...)), nil
}
