package alicreds

import (
	"context"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Identity is whose keys they are, as GetCallerIdentity tells.
type Identity struct {
	AccountID    string
	ARN          string
	IdentityType string // "RAMUser", "AssumedRoleUser" or "Account", the root account
	PrincipalID  string
	UserID       string // of a RAM user
	RoleID       string // of a role's session
}

// CallerIdentity asks STS whose keys they are. Any valid keys may ask.
func CallerIdentity(ctx context.Context, keys openapi.Keys, o STSOptions) (Identity, error) {
	if keys == (openapi.Keys{}) {
		return Identity{}, fmt.Errorf("GetCallerIdentity: there is no AccessKey to sign the call with")
	}
	borrowed := o.Client != nil
	o, err := o.ready()
	if err != nil {
		return Identity{}, err
	}
	if !borrowed {
		defer o.Client.CloseIdleConnections()
	}
	var reply struct {
		AccountID    string `json:"AccountId"`
		ARN          string `json:"Arn"`
		IdentityType string
		PrincipalID  string `json:"PrincipalId"`
		UserID       string `json:"UserId"`
		RoleID       string `json:"RoleId"`
	}
	if err := o.call(ctx, keys, "GetCallerIdentity", nil, &reply); err != nil {
		return Identity{}, err
	}
	for _, field := range []struct{ name, value string }{
		{"AccountId", reply.AccountID},
		{"Arn", reply.ARN},
		{"IdentityType", reply.IdentityType},
		{"PrincipalId", reply.PrincipalID},
	} {
		if field.value == "" {
			return Identity{}, fmt.Errorf("GetCallerIdentity: the reply has no %s", field.name)
		}
	}
	return Identity(reply), nil
}
