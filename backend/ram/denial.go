package ram

import (
	"context"
	"maps"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Denial is a refusal for want of permission, with what the client knows about it.
type Denial struct {
	Err error    // has the refusal in it
	Who Identity // whose call it was; zero where that cannot be told

	// Resources are the ARNs that RAM wants the permission for.
	Resources []string

	// RoleARN and ExternalID are those that AssumeRole was asked with.
	RoleARN, ExternalID string
}

func (d *Denial) Error() string { return d.Err.Error() }

// Unwrap returns the refusal.
func (d *Denial) Unwrap() error { return d.Err }

// denial adds to a refusal for want of permission who was refused, on what.
func (c *Client) denial(ctx context.Context, err error, action string, params map[string]string) error {
	if !Denied(err) {
		return err
	}
	who, _ := c.Whoami(ctx) // the refusal may tell it too
	return denied(err, who, action, params)
}

// denialOf is denial of a call with other keys.
func (c *Client) denialOf(ctx context.Context, keys openapi.Keys, err error, action string, params map[string]string) error {
	if !Denied(err) {
		return err
	}
	who, _ := c.IdentityOf(ctx, keys)
	return denied(err, Identity{Identity: who}, action, params)
}

func denied(err error, who Identity, action string, params map[string]string) *Denial {
	if user, isUser := strings.CutPrefix(who.ARN, "acs:ram::"+who.AccountID+":user/"); isUser && params["UserName"] == "" {
		params = maps.Clone(params) // a user is meant where a call names none
		if params == nil {
			params = map[string]string{}
		}
		params["UserName"] = user
	}
	return &Denial{Err: err, Who: who, Resources: Permissions[action].ARNs(who.AccountID, params)}
}

// assumeDenial is denial of AssumeRole, whose role may be of another account.
func (c *Client) assumeDenial(ctx context.Context, err error, o alicreds.RAMRoleARNOptions) error {
	if !Denied(err) {
		return err
	}
	who, _ := c.Whoami(ctx)
	return &Denial{Err: err, Who: who, Resources: []string{RoleResource(o.RoleARN)}, RoleARN: o.RoleARN, ExternalID: o.ExternalID}
}

// RoleResource is a RAM role as the resource of a permission, of its ARN.
func RoleResource(arn string) string {
	return "acs:ram:*:" + strings.TrimPrefix(arn, "acs:ram::")
}
