package ram

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// renewable is a provider that keeps credentials, and drops those that a service
// refused.
type renewable interface {
	Invalidate(refused alicreds.Credentials)
}

// signed makes a call with the client's own credentials. Where the service refuses
// these, the call is made once more with new ones, if there are any: a session ends
// with its role, and a key may have been replaced where it came from.
func (c *Client) signed(ctx context.Context, call func(own alicreds.Credentials) error) error {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return err
	}
	err = call(own)
	if fresh, renewed := c.renewed(ctx, own, err); renewed {
		return call(fresh)
	}
	return err
}

// renewed returns other credentials than those that the service refused with err.
func (c *Client) renewed(ctx context.Context, own alicreds.Credentials, err error) (fresh alicreds.Credentials, renewed bool) {
	kept, keeps := c.own.(renewable)
	refused, answered := errors.AsType[*openapi.Error](err)
	if !keeps || !answered || !refused.KeyRefused() && !refused.TokenRefused() || openapi.Ambiguous(err) {
		return fresh, false
	}
	kept.Invalidate(own)
	fresh, err = c.own.Retrieve(ctx)
	return fresh, err == nil && fresh.Keys() != own.Keys()
}

// OneKey is a client that signs all its calls with the credentials that c has now, so
// that all of them are about the same account.
func (c *Client) OneKey(ctx context.Context) (*Client, error) {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	return c.with(own), nil
}

// Within runs f as a client whose calls are all about the account, and refuses where
// the client's credentials are of another. Where the service refuses the credentials,
// f is run once more with new ones.
func (c *Client) Within(ctx context.Context, account string, f func(*Client) error) error {
	return c.withOneKey(ctx, func(c *Client) error {
		switch who, err := c.Whoami(ctx); {
		case err != nil:
			return err
		case who.AccountID != account:
			return fmt.Errorf("the credentials of this mount belong to account %s now, and belonged to account %s a moment ago", who.AccountID, account)
		}
		return f(c)
	})
}

func (c *Client) withOneKey(ctx context.Context, f func(*Client) error) error {
	return c.signed(ctx, func(own alicreds.Credentials) error { return f(c.with(own)) })
}

func (c *Client) with(own alicreds.Credentials) *Client {
	one := *c
	one.own = oneKey{own, c.own}
	return &one
}

// oneKey is a provider of the same credentials forever. It tells the provider that
// they came from when they are refused.
type oneKey struct {
	own  alicreds.Credentials
	from alicreds.Provider
}

func (k oneKey) Retrieve(context.Context) (alicreds.Credentials, error) { return k.own, nil }

func (k oneKey) Invalidate(refused alicreds.Credentials) {
	if kept, keeps := k.from.(renewable); keeps {
		kept.Invalidate(refused)
	}
}
