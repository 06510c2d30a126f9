package backend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathConfigCallerIdentity() *framework.Path {
	answer := map[string]*framework.FieldSchema{
		"account_id":    {Type: framework.TypeString, Description: "Alibaba Cloud account.", Required: true},
		"arn":           {Type: framework.TypeString, Description: "ARN of the principal, to be named in trust policies.", Required: true},
		"identity_type": {Type: framework.TypeString, Description: "RAMUser, AssumedRoleUser or Account.", Required: true},
		"principal_id":  {Type: framework.TypeString, Description: "Id of the principal.", Required: true},
		"source":        {Type: framework.TypeString, Description: `How the credentials were obtained, such as "access_key -> ram_role_arn".`, Required: true},
	}
	maps.Copy(answer, failureFields())
	return &framework.Path{
		Pattern:      "config/caller-identity",
		DisplayAttrs: display("", "caller-identity"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: operation(b.readCallerIdentity, "Ask Alibaba Cloud who this mount is.", answer),
		},
		HelpSynopsis: "Who this mount is to Alibaba Cloud.",
		HelpDescription: `
Calls GetCallerIdentity with the configured credentials and tells the account,
the ARN and where the credentials came from. Every valid credential may make
this call, so a failure means that the credentials or the endpoint are wrong.

    vault read alicloud/config/caller-identity

It tells too what fails in the background, where no request sees it: when the
mount renews its own credentials, rotates keys or rolls back.
`,
	}
}

func (b *backend) readCallerIdentity(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	cloud, err := b.cloud(ctx, req.Storage)
	switch {
	case err != nil:
		return nil, err
	case cloud == nil:
		_, last := b.failures.read()
		return logical.ErrorResponse(alsoFailed(b.notConfigured(), last)), nil
	}
	id, err := cloud.CallerIdentity(ctx)
	data, last := b.failures.read()
	if err != nil {
		// No half of an answer: scripts ask by this path whether the key works.
		return answer(alsoFailed("asking who this mount is", last), err)
	}
	maps.Copy(data, map[string]any{
		"account_id":    id.AccountID,
		"arn":           id.ARN,
		"identity_type": id.IdentityType,
		"principal_id":  id.PrincipalID,
		"source":        sourcePath(id.Source),
	})
	resp := &logical.Response{Data: data}
	if id.IdentityType == "Account" {
		resp.AddWarning(rootKeys)
	}
	return resp, nil
}

const rootKeys = "these are the keys of the root account: it can assume no role, and whoever has them may do everything. " +
	"Create a RAM user with the rights that role/<name>/check prints, and write its AccessKey to config"

// alsoFailed adds what failed last in the background.
func alsoFailed(text, last string) string {
	if last == "" {
		return text
	}
	return fmt.Sprintf("%s (what failed last in the background is %s)", text, last)
}

// sourcePath turns "ram_role_arn/access_key" into "access_key -> ram_role_arn",
// the order in which the calls are made.
func sourcePath(source string) string {
	steps := strings.Split(source, "/")
	slices.Reverse(steps)
	return strings.Join(steps, " -> ")
}
