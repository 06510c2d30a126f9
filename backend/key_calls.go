package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// ramCall sends a RAM call about access keys, as whoever it is bound to.
// repeatable says that executing it twice does no harm.
type ramCall func(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error

// of adds parameters to those that name the user.
func of(user map[string]string, more ...string) map[string]string {
	params := maps.Clone(user)
	if params == nil {
		params = map[string]string{}
	}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	return params
}

func listKeys(ctx context.Context, call ramCall, user map[string]string) ([]listedKey, error) {
	var out struct {
		AccessKeys struct{ AccessKey []listedKey }
	}
	err := call(ctx, true, "ListAccessKeys", of(user), &out)
	return out.AccessKeys.AccessKey, err
}

// createKey is never repeated after an ambiguous failure: RAM tells the secret
// once.
func createKey(ctx context.Context, call ramCall, user map[string]string) (keyPair, error) {
	var out struct{ AccessKey accessKey }
	if err := call(ctx, false, "CreateAccessKey", of(user), &out); err != nil {
		return keyPair{}, err
	}
	if out.AccessKey.AccessKeyID == "" || out.AccessKey.AccessKeySecret == "" {
		return keyPair{}, errors.New("CreateAccessKey: the answer lacks the AccessKeyId or the AccessKeySecret")
	}
	return keyPair{out.AccessKey.AccessKeyID, out.AccessKey.AccessKeySecret}, nil
}

func disableKey(ctx context.Context, call ramCall, user map[string]string, id string) error {
	return gone(call(ctx, true, "UpdateAccessKey", of(user, "UserAccessKeyId", id, "Status", "Inactive"), nil))
}

// removeKey disables a key that RAM refuses to delete, and deletes it again; see
// deleteAccessKey.
func removeKey(ctx context.Context, call ramCall, user map[string]string, id string) error {
	remove := func() error {
		return gone(call(ctx, true, "DeleteAccessKey", of(user, "UserAccessKeyId", id), nil))
	}
	err := remove()
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Temporary() || refused.Code == noPermission {
		return err
	}
	if disableKey(ctx, call, user, id) != nil {
		return err
	}
	return remove()
}

// probeSTS tells whether the key works, and is the user's.
func probeSTS(ctx context.Context, c *cloud, k keyPair, account, user string) error {
	who, err := alicreds.CallerIdentity(ctx, k.signing(), c.sts)
	if err != nil {
		return err
	}
	if want := "acs:ram::" + account + ":user/" + user; who.ARN != want {
		return fmt.Errorf("AccessKey %s belongs to %s, not to %s", k.ID, who.ARN, want)
	}
	return nil
}
