package alicreds

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Identity is whose keys they are, as GetCallerIdentity tells.
type Identity struct {
	AccountID    string // digits
	ARN          string // of the user, the session (acs:ram::<account id>:assumed-role/<role>/<session>) or the account
	IdentityType string // "RAMUser", "AssumedRoleUser" or "Account", the root account; "" for an ARN of none of them
	PrincipalID  string // empty where the answer, as those of 2016, has none
	UserID       string // of a RAM user
	RoleID       string // of a role's session
}

// CallerIdentity asks STS whose keys they are. Any valid keys may ask.
//
// No provider fails here, so its errors are no [*Error]. They wrap *openapi.Error
// where STS refused, whose Temporary tells whether that may pass, and
// *openapi.NetworkError where no answer came. Others tell of keys that are empty, of
// options that are wrong, and of an answer without AccountId or Arn.
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
	if err := o.call(ctx, openapi.Request{Action: "GetCallerIdentity", Keys: keys}, &reply); err != nil {
		return Identity{}, err
	}
	if err := cmp.Or(present("AccountId", reply.AccountID), present("Arn", reply.ARN)); err != nil {
		return Identity{}, fmt.Errorf("GetCallerIdentity: %w", err)
	}
	if reply.IdentityType == "" {
		reply.IdentityType = identityType(reply.ARN)
	}
	return Identity(reply), nil
}

// identityType derives the type that an answer lacks from its ARN,
// acs:ram::<account id>:<kind>/<names>.
func identityType(arn string) string {
	parts := strings.SplitN(arn, ":", 5)
	kind, _, _ := strings.Cut(parts[len(parts)-1], "/")
	return map[string]string{"root": "Account", "user": "RAMUser", "assumed-role": "AssumedRoleUser"}[kind]
}
