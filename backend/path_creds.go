package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// Lengths of an STS session: the API's bounds, and its default, which every RAM
// role allows (a role's own maximum is 3600 seconds at least).
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxSession     = 12 * time.Hour
)

// Bounds of what one request may take. Vault gives a revocation 90 seconds.
const (
	readTimeout    = 30 * time.Second
	issueTimeout   = 60 * time.Second
	cleanUpTimeout = 60 * time.Second
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
				Description: "Lifetime of this lease in seconds or as a duration, up to max_ttl of the role and of the mount. Default: ttl of the role.",
			},
			"role_arn": {Type: framework.TypeString, Description: "Sessions: which of the role's RAM roles to assume. Default: its role_arn."},
			"policy": {
				Type:        framework.TypeString,
				Description: "Sessions of a role that has no session policy: one that narrows this session, at most 2048 characters of JSON.",
			},
			"role_session_name": {
				Type:        framework.TypeString,
				Description: "Sessions: the session name that ActionTrail shows, 2 to 64 letters, digits and . @ - _. Default: made of the display name, the role and random characters.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   issue("Issue credentials for a role."),
			logical.UpdateOperation: issue("Issue credentials for a role, with parameters."),
		},
		HelpSynopsis:    credsHelpSynopsis,
		HelpDescription: credsHelpDescription,
	}
}

func credsResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_key":      {Type: framework.TypeString, Description: "AccessKey ID."},
		"secret_key":      {Type: framework.TypeString, Description: "AccessKey secret."},
		"bearer_token":    {Type: framework.TypeString, Description: "bearer: the token."},
		"security_token":  {Type: framework.TypeString, Description: "Sessions: the token to send with every call."},
		"expiration":      {Type: framework.TypeTime, Description: "Sessions: when STS ends the session, RFC 3339 in UTC."},
		"arn":             {Type: framework.TypeString, Description: "Sessions: ARN of the assumed role."},
		"username":        {Type: framework.TypeString, Description: "RAM users: name of the user."},
		"credential_type": {Type: framework.TypeString, Description: "Type of the role.", Required: true},
	}
}

// errNoMaximum is for when Vault, asked over the plugin protocol, gave no answer.
// Nothing may be issued then: how long it has to be remembered is not known.
var errNoMaximum = errors.New("Vault did not say how long the longest lease of this mount is: try again")

// credsRequest is one read of creds/<name>: what an issuer works from.
type credsRequest struct {
	req             *logical.Request
	cloud           *cloud
	role            *role
	name            string        // of the role
	ttl             time.Duration // of the lease; 0: the default
	maxTTL          time.Duration // of the role and the mount
	roleARN         string        // chosen by the request
	roleSessionName string        // of the request; "": made by the engine
	policy          string        // session policy of the request, else of the role
	tag             string        // of the mount, for what is created
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
	if r == nil && req.Operation == logical.UpdateOperation {
		return nil, logical.CodedError(http.StatusNotFound, fmt.Sprintf("there is no role %q", name))
	}
	if r == nil {
		return nil, nil // of a read, Vault makes a 404
	}
	c := credsRequest{
		req: req, role: r, name: name,
		roleARN: data.Get("role_arn").(string), roleSessionName: data.Get("role_session_name").(string), policy: data.Get("policy").(string),
	}
	mountMax := b.System().MaxLeaseTTL()
	if mountMax <= 0 {
		return nil, errNoMaximum
	}
	if err := c.read(data, mountMax); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	if r.kind.creates != "" {
		if c.tag, err = b.tag(ctx, req.Storage); err != nil {
			return nil, err
		}
	}
	if c.cloud, err = b.cloud(ctx, req.Storage); err != nil {
		return nil, err
	}
	if c.cloud == nil {
		return logical.ErrorResponse("unable to create secret because " + notConfigured), nil
	}
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	return r.kind.issue(b, ctx, c)
}

// read checks the parameters of the request against the role.
func (c *credsRequest) read(data *framework.FieldData, mountMax time.Duration) error {
	c.maxTTL = mountMax
	if c.role.MaxTTL > 0 {
		c.maxTTL = min(c.maxTTL, c.role.MaxTTL)
	}
	c.ttl = min(c.role.TTL, c.maxTTL)
	if v, ok := data.GetOk("ttl"); ok && v.(int) != 0 {
		c.ttl = time.Duration(v.(int)) * time.Second
		if c.ttl < 0 || c.ttl > c.maxTTL {
			return fmt.Errorf("ttl must be 1 second to %s, the maximum of the role and the mount", c.maxTTL)
		}
	}
	for _, parameter := range []struct{ name, value, isFor string }{
		{"role_session_name", c.roleSessionName, "sessions"},
		{"role_arn", c.roleARN, "sessions of existing RAM roles"},
		{"policy", c.policy, "sessions"},
	} {
		if parameter.value != "" && !slices.Contains(c.role.kind.requests, parameter.name) {
			return fmt.Errorf("%s is for %s, and the role %q is of type %s", parameter.name, parameter.isFor, c.name, c.role.kind.name)
		}
	}
	switch {
	case c.roleSessionName != "" && alicreds.CheckRoleSessionName(c.roleSessionName) != nil:
		return errors.New("role_session_name must be 2 to 64 letters, digits and any of . @ - _")
	case c.roleARN != "" && !slices.Contains(c.role.arns(), c.roleARN):
		return fmt.Errorf("role_arn must be one of those of the role %q: %s", c.name, strings.Join(c.role.arns(), ", "))
	case c.policy != "" && c.role.Policy != "":
		return fmt.Errorf("policy: the role %q has a session policy already, and a session takes one only", c.name)
	case c.roleARN == "" && slices.Contains(c.role.kind.requests, "role_arn"):
		c.roleARN = c.role.arns()[0]
	}
	if c.policy == "" {
		c.policy = c.role.Policy
	} else if err := policy.Check(c.policy, policy.MaxSession); err != nil {
		return fmt.Errorf("policy %w", err)
	}
	return nil
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

A shorter or longer lease than the role's, within its max_ttl:

    vault write alicloud/creds/deploy ttl=30m
`
