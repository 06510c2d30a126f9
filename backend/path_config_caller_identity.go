package backend

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathConfigCallerIdentity() *framework.Path {
	return &framework.Path{
		Pattern:      "config/caller-identity",
		DisplayAttrs: display("", "caller-identity"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: operation(b.readCallerIdentity, "Ask Alibaba Cloud who this mount is.", map[string]*framework.FieldSchema{
				"account_id":    {Type: framework.TypeString, Description: "Alibaba Cloud account.", Required: true},
				"arn":           {Type: framework.TypeString, Description: "ARN of the principal, to be named in trust policies.", Required: true},
				"identity_type": {Type: framework.TypeString, Description: "RAMUser, AssumedRoleUser or Account.", Required: true},
				"principal_id":  {Type: framework.TypeString, Description: "Id of the principal.", Required: true},
				"source":        {Type: framework.TypeString, Description: `How the credentials were obtained, such as "access_key -> ram_role_arn".`, Required: true},
			}),
		},
		HelpSynopsis: "Who this mount is to Alibaba Cloud.",
		HelpDescription: `
Calls GetCallerIdentity with the configured credentials and tells the account,
the ARN and where the credentials came from. Every valid credential may make
this call, so a failure means that the credentials or the endpoint are wrong.

    vault read alicloud/config/caller-identity
`,
	}
}

func (b *backend) readCallerIdentity(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	cloud, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if cloud == nil {
		return resp, err
	}
	id, err := cloud.CallerIdentity(ctx)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	return &logical.Response{Data: map[string]interface{}{
		"account_id":    id.AccountID,
		"arn":           id.ARN,
		"identity_type": id.IdentityType,
		"principal_id":  id.PrincipalID,
		"source":        sourcePath(id.Source),
	}}, nil
}

// sourcePath turns "ram_role_arn/access_key" into "access_key -> ram_role_arn",
// the order in which the calls are made.
func sourcePath(source string) string {
	steps := strings.Split(source, "/")
	slices.Reverse(steps)
	return strings.Join(steps, " -> ")
}
