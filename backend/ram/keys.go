package ram

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// AccessKey is the key of a user. It does not print its secret.
type AccessKey struct {
	ID      string    `json:"access_key"`
	Secret  string    `json:"secret_key"` // RAM tells it once, at the creation
	Status  string    `json:"-"`          // in lists: Active or Inactive
	Created time.Time `json:"-"`          // in lists, by RAM's clock; zero: not told
}

// Format leaves the secret out.
func (k AccessKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "AccessKey "+k.ID) }

// Signing are the keys that sign a call as this key's user.
func (k AccessKey) Signing() openapi.Keys {
	return openapi.Keys{AccessKeyID: k.ID, AccessKeySecret: k.Secret}
}

// Keys are the AccessKeys of one user. RAM allows a user two.
type Keys struct {
	User string // "": whoever makes the call
	Call func(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error
}

func (k Keys) params(id string) map[string]string {
	params := map[string]string{}
	if k.User != "" {
		params["UserName"] = k.User
	}
	if id != "" {
		params["UserAccessKeyId"] = id
	}
	return params
}

// wireKey is an AccessKey in an answer of RAM.
type wireKey struct {
	ID         string `json:"AccessKeyId"`
	Secret     string `json:"AccessKeySecret"`
	Status     string
	CreateDate string
}

func (w wireKey) accessKey() AccessKey {
	created, _ := time.Parse(time.RFC3339, w.CreateDate) // zero where it is no time
	return AccessKey{ID: w.ID, Secret: w.Secret, Status: w.Status, Created: created}
}

// List lists the keys, without their secrets.
func (k Keys) List(ctx context.Context) ([]AccessKey, error) {
	var out struct {
		AccessKeys struct{ AccessKey []wireKey }
	}
	err := k.Call(ctx, true, "ListAccessKeys", k.params(""), &out)
	var keys []AccessKey
	for _, w := range out.AccessKeys.AccessKey {
		keys = append(keys, w.accessKey())
	}
	return keys, err
}

// Create makes a key. It is never repeated after an ambiguous failure: RAM tells
// the secret once, and would keep a key that nobody knows.
func (k Keys) Create(ctx context.Context) (AccessKey, error) {
	var out struct {
		AccessKey wireKey
		RequestID string `json:"RequestId"`
	}
	if err := k.Call(ctx, false, "CreateAccessKey", k.params(""), &out); err != nil {
		return AccessKey{}, err
	}
	if out.AccessKey.ID == "" || out.AccessKey.Secret == "" {
		return AccessKey{}, fmt.Errorf("CreateAccessKey: the answer lacks the AccessKeyId or the AccessKeySecret (RequestId %.64q)", out.RequestID)
	}
	return AccessKey{ID: out.AccessKey.ID, Secret: out.AccessKey.Secret}, nil
}

// Disable makes the key inactive. A key that is not there counts as disabled.
func (k Keys) Disable(ctx context.Context, id string) error {
	params := k.params(id)
	params["Status"] = "Inactive"
	return gone(k.Call(ctx, true, "UpdateAccessKey", params, nil))
}

// Delete deletes the key. A key that is not there counts as deleted. RAM deletes
// active keys; where it should refuse one, the key is disabled first.
func (k Keys) Delete(ctx context.Context, id string) error {
	_, err := k.remove(ctx, id)
	return err
}

// remove is Delete, and tells whether the key was there.
func (k Keys) remove(ctx context.Context, id string) (there bool, err error) {
	remove := func() (bool, error) {
		err := k.Call(ctx, true, "DeleteAccessKey", k.params(id), nil)
		return err == nil, gone(err)
	}
	there, err = remove()
	refused, ok := errors.AsType[*openapi.Error](err)
	if !ok || refused.Temporary() || openapi.Ambiguous(err) || Denied(err) {
		return there, err
	}
	if k.Disable(ctx, id) != nil {
		return false, err
	}
	return remove()
}

// Probe tells whether STS takes the key, and for that user's.
func (c *Client) Probe(ctx context.Context, k AccessKey, account, user string) error {
	who, err := c.IdentityOf(ctx, k.Signing())
	if err != nil {
		return err
	}
	if want := "acs:ram::" + account + ":user/" + user; who.ARN != want {
		return fmt.Errorf("AccessKey %s belongs to %s, not to %s", k.ID, who.ARN, want)
	}
	return nil
}
