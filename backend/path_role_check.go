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
			"name":    {Type: framework.TypeLowerCaseString, Description: "Name of the role."},
			"details": {Type: framework.TypeBool, Description: "Answer checks, a list for programs, too. Default false."},
			"assume": {
				Type: framework.TypeBool,
				Description: "Of a write: ask STS for a session of each RAM role, of 900 seconds and with a session policy that denies everything. " +
					"Its keys are thrown away. Default false: what only STS can tell is unknown.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   operation(b.checkRole, "Say what is missing for a role to work. Issues nothing and changes nothing.", checkResponse()),
			logical.UpdateOperation: named(forwarded(operation(b.checkRole, "The same, and with assume=true ask STS for sessions that may do nothing.", checkResponse())), "assume-check", "role"),
		},
		HelpSynopsis: "What is missing for a role to work, and the RAM policy that it needs.",
		HelpDescription: `
Asks Alibaba Cloud, without issuing a credential and without changing anything,
whether the mount's own credentials work, whether the RAM roles, policies and
groups that the role names exist, and which permissions the mount lacks for it.
The answer is yes, no or unknown, for each thing and in all.

    vault read alicloud/role/ci/check
    vault read -field=policy alicloud/role/ci/check

The second prints the RAM policy that the mount needs for this role and nothing
else, to be attached to its principal. Of a role with assume_role_arn it is for
that RAM role; assume_policy is for the principal then, and trust_policy is the
RAM role's. Whether that role can be assumed is tried: the session is the one that
leases are made with.

A permission to create, change or delete is probed with a request that cannot
take effect: on a user, role or policy of a random name that does not exist, or
with a value that RAM documents as invalid. A refusal with NoPermission means
that the permission is missing; any other refusal, that it is there. AssumeRole
cannot be probed like that. Asking for it starts a session, here of 900 seconds
and with a session policy that denies everything; its keys are thrown away:

    vault write alicloud/role/deploy/check assume=true

Permissions that are only needed to clean up what others added ("extras") do not
make a role fail, and neither do those to look, such as ram:GetPolicy: without
them the answer is "unknown".
`,
	}
}

func checkResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"result":    {Type: framework.TypeString, Description: `"yes": the role works. "no": something that leases need is missing. "unknown": nothing is, as far as could be seen.`, Required: true},
		"principal": {Type: framework.TypeString, Description: "ARN of who this mount is; empty if its own credentials do not work.", Required: true},
		"policy":    {Type: framework.TypeString, Description: "RAM policy that allows the mount what this role needs and nothing else, JSON; empty if it needs none. With assume_role_arn it belongs to that RAM role.", Required: true},

		"assume_policy": {Type: framework.TypeString, Description: "With assume_role_arn: RAM policy that allows the mount to assume that RAM role, JSON. It belongs to the principal."},
		"trust_policy":  {Type: framework.TypeString, Description: "With assume_role_arn: trust policy of that RAM role that lets the principal in and nobody else, JSON."},

		"report": {Type: framework.TypeString, Description: "What was found, a sentence a line, what is missing first.", Required: true},
		"checks": {Type: framework.TypeSlice, Description: `With details: what was checked, each with action, on, needed_for, ` +
			`result ("yes", "no" or "unknown") and fix.`},
	}
}

// denyAll is a session policy with which a session may do nothing.
const denyAll = `{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`

func (b *backend) checkRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	path := b.mountPath() + rolePrefix + name + "/check"
	ask := data.Get("assume").(bool)
	if ask && req.Operation == logical.ReadOperation {
		return logical.ErrorResponse("assume starts sessions, so it takes a write: vault write %s assume=true", path), nil
	}
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
	c := roleCheck{ctx: ctx, cloud: cloud, system: b.System(), role: r, name: name, needs: needs{}, patterns: strings.NewReplacer(), howToAsk: "vault write " + path + " assume=true"}
	found := findings{{Action: "sts:GetCallerIdentity", NeededFor: "everything", Result: checkYes}}
	if c.who, err = cloud.CallerIdentity(ctx); err != nil {
		resp, err := answer("asking who this mount is", err)
		if err != nil || resp == nil {
			return resp, err
		}
		found[0].Result, found[0].Fix = checkNo, resp.Error().Error()
		return c.response(found, data), nil
	}
	found[0].On = c.who.ARN
	if !r.worksAs().none() {
		c.asAccountRole(&found)
	}
	if r.roleType.creates != "" {
		if resp, err := b.likeLeases(ctx, req, &c); resp != nil || err != nil {
			return resp, err
		}
		c.leaveOutTemplates()
		c.existence()
	}
	assumes := r.roleType.assume != nil
	if c.closed {
		r.roleType.check(&c) // for what it needs
		return c.response(found, data), nil
	}
	if ask && assumes {
		c.assume = b.assumeNothing(&c, req)
	}
	r.roleType.check(&c)
	resp = c.response(append(found, c.run()...), data)
	if ask && !assumes {
		resp.AddWarning("assume is for roles that assume an existing RAM role: nothing was created to find out more about one of type " + r.roleType.name)
	}
	return resp, nil
}

// likeLeases finds out what a lease of the reader would be called, and what covers
// the names of all of them.
func (b *backend) likeLeases(ctx context.Context, req *logical.Request, c *roleCheck) (*logical.Response, error) {
	tag, err := load[string](ctx, req.Storage, tagKey)
	if err != nil {
		return nil, err
	}
	if tag == nil { // nothing was issued yet, and this is no time to begin
		tag = new(string)
	}
	template := cmp.Or(c.role.UsernameTemplate, c.cloud.usernameTemplate)
	if c.entity, err = policy.UserName(template, req.DisplayName, c.name); err != nil {
		return logical.ErrorResponse("username_template: %s", err), nil
	}
	others, err := policy.UserName(template, "somebody", c.name)
	if err != nil {
		return logical.ErrorResponse("username_template: %s", err), nil
	}
	like := pattern(c.entity, others)
	// Of a document that nobody has, so that there is no such policy.
	c.custom = policy.SharedName(c.cloud.policyNameTemplate, c.name, *tag, c.who.AccountID, rand.Text())
	likePolicy := pattern(c.custom, c.custom)
	if c.role.PolicyPerLease {
		c.custom, likePolicy = policy.OwnName(c.entity, rand.Text()), like
	}
	c.patterns = strings.NewReplacer(c.custom, likePolicy, c.entity, like)
	return nil, nil
}

// assumeNothing asks STS for a session as the role does, but one that may do
// nothing, and throws its keys away.
func (b *backend) assumeNothing(c *roleCheck, req *logical.Request) func(arn string) error {
	reader := credsRequest{req: req, cloud: c.cloud, role: c.role, name: c.name}
	return func(arn string) error {
		ask, _, err := reader.sessionRequest(b.System())
		if err != nil {
			return refuse("%v", err)
		}
		ask.roleARN, ask.policy, ask.duration = arn, denyAll, minSession
		if err := reader.nameSession(&ask, req.DisplayName); err != nil {
			return err
		}
		_, err = c.role.roleType.assume(b, c.ctx, reader, ask)
		return err
	}
}
