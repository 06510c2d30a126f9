package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathCreds() *framework.Path {
	issue := func(summary string) *framework.PathOperation {
		o := operation(b.issue, summary, credsResponse())
		o.ForwardPerformanceStandby = true // leases belong to a cluster, so never to the primary of another
		return o
	}
	return &framework.Path{
		Pattern:      "creds/" + framework.GenericNameRegex("name"),
		DisplayAttrs: display("generate", "credentials"),
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the role."},
			"ttl": {
				Type:        framework.TypeDurationSecond,
				Description: "Lifetime of this lease in seconds or as a duration, up to max_ttl of the role and of the mount; without max_ttl up to ttl of the role, which is the default.",
			},
			"role_arn": {Type: framework.TypeString, Description: "Sessions: which of the role's RAM roles to assume. Default: its role_arn."},
			"policy": {
				Type:        framework.TypeString,
				Description: "Sessions of a role that has no session policy: one that narrows this session, at most 2048 characters of JSON.",
			},
			"role_session_name": {
				Type:        framework.TypeString,
				Description: "Sessions: the session name that ActionTrail shows, 2 to 64 letters, digits and . @ - _, where request_parameters of the role lists it and there is no template. Default: made of the display name, the role and random characters.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   issue("Issue credentials for a role."),
			logical.UpdateOperation: named(issue("Issue credentials for a role, with parameters."), "generate", "credentials-with-parameters"),
		},
		HelpSynopsis:    credsHelpSynopsis,
		HelpDescription: credsHelpDescription,
	}
}

func credsResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_key":      {Type: framework.TypeString, Description: "AccessKey ID. Not of console_login without access_key."},
		"secret_key":      {Type: framework.TypeString, Description: "AccessKey secret."},
		"bearer_token":    {Type: framework.TypeString, Description: "bearer: the token."},
		"security_token":  {Type: framework.TypeString, Description: "Sessions: the token to send with every call."},
		"expiration":      {Type: framework.TypeTime, Description: "Sessions: when STS ends the session, RFC 3339 in UTC."},
		"arn":             {Type: framework.TypeString, Description: "Sessions: ARN of the assumed role."},
		"username":        {Type: framework.TypeString, Description: "RAM users: name of the user."},
		"login_url":       {Type: framework.TypeString, Description: "console_login: the sign-in page of the console, with the name filled in."},
		"login_name":      {Type: framework.TypeString, Description: "console_login: the name to sign in with, <user>@<default domain of the account>."},
		"password":        {Type: framework.TypeString, Description: "console_login: the password to sign in with."},
		"credential_type": {Type: framework.TypeString, Description: "Type of the role.", Required: true},
	}
}

// issue finds the role and leaves the rest to the issuer of its type.
func (b *backend) issue(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if b.readOnlyNode() {
		return nil, logical.ErrReadOnly // before anything is created
	}
	name := data.Get("name").(string)
	r, err := b.roles.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, b.unknownName(ctx, req, roleNames, name)
	}
	c := credsRequest{
		req: req, role: r, name: name,
		roleARN: data.Get("role_arn").(string), roleSessionName: data.Get("role_session_name").(string), policy: data.Get("policy").(string),
	}
	mountMax := b.System().MaxLeaseTTL()
	if mountMax <= 0 {
		return nil, errNoMaximum
	}
	if err := c.read(data, mountMax, b.System()); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	if r.roleType.creates != "" {
		if c.marks, err = b.marks(ctx, req.Storage); err != nil {
			return nil, err
		}
	}
	if c.cloud, err = b.cloud(ctx, req.Storage); err != nil {
		return nil, err
	}
	if c.cloud == nil {
		return logical.ErrorResponse("unable to create secret because " + b.notConfigured()), nil
	}
	c.cloud = c.cloud.as(r.worksAs())
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	resp, err := r.roleType.issue(b, ctx, c)
	if err != nil || resp.IsError() {
		return resp, err
	}
	b.counters.leaseIssued(r.roleType.name)
	if r.roleType.creates != "" {
		warned(resp, c.cloud.quotas.warnings())
		c.cloud.quotas.begin(quotaForWarning) // for the next issue
	}
	return resp, nil
}

const credsHelpSynopsis = "Issue Alibaba Cloud credentials for a role."

const credsHelpDescription = `
    vault read alicloud/creds/deploy

The answer holds access_key and secret_key; for a session also security_token
and expiration. The lease says how long they are good for:

  ram_role_arn   A session. Its lease cannot be renewed, and revoking it does
                 not end the session: Alibaba Cloud has no call for that. STS
                 gives 900 seconds at least; with a shorter ttl the lease ends
                 as asked and the answer carries a warning.

  ram_user       A RAM user. Its lease can be renewed up to max_ttl. When it
                 ends or is revoked the user, its AccessKey and its inline
                 policies are deleted at once.

  ram_role       A session of a RAM role made for it. Its lease cannot be
                 renewed. When it ends or is revoked the RAM role is deleted,
                 and with it the session.

  oidc_role_arn  As ram_role_arn. The other types answer what their source has:
                 nothing is renewed, and revoking does not end it.

A shorter lease than the role's, or a longer one within its max_ttl:

    vault read alicloud/creds/deploy ttl=30m

Which parameters a request may set is in request_parameters of the role.
`
