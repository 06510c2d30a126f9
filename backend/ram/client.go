// Package ram is STS and RAM as the engine speaks of them: who the mount is,
// which users, roles and policies it creates, and how they are removed until
// nothing of them is left. Policies are attached in resource groups by Resource
// Management, which is also asked about those that RAM does not list. The package knows nothing of Vault.
//
// What is to be created for one lease is a [Plan], created by [Client.Create] and
// [Client.Equip], and [Created], removed by [Client.Remove]. The keys of one user
// are [Keys]. What each call needs to be allowed is in [Permissions].
package ram

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Options of a Client.
type Options struct {
	API *openapi.Client     // sends the calls
	Own alicreds.Provider   // credentials that sign them
	STS alicreds.STSOptions // where STS is

	// Endpoint and ResourceManagerEndpoint are those of RAM and of Resource
	// Management; see openapi.CheckEndpoint. Empty: by Region and VPC. So is that
	// of IMS where RAM's is.
	Endpoint                string
	ResourceManagerEndpoint string
	IMSEndpoint             string
	Region                  string
	VPC                     bool
}

// Client is STS and RAM as whoever its credentials are of at the moment. It is safe
// for concurrent use, and keeps connections, credentials, and the identity that it
// was told for these credentials.
type Client struct {
	api *openapi.Client
	own alicreds.Provider
	sts alicreds.STSOptions

	ram, resourceManager, ims service

	identity *atomic.Pointer[ownIdentity]
}

// ownIdentity is who the keys belong to. An AccessKey never changes its owner.
type ownIdentity struct {
	keys openapi.Keys
	Identity
}

// New makes a Client. It calls nothing.
func New(o Options) *Client {
	ims := service{o.IMSEndpoint, imsVersion}
	if o.Endpoint == "" {
		ims.endpoint = cmp.Or(ims.endpoint, Host("ims", o.Region, o.VPC))
	}
	return &Client{
		api: o.API, own: o.Own, sts: o.STS,
		ram:             service{cmp.Or(o.Endpoint, Host("ram", o.Region, o.VPC)), version},
		resourceManager: service{cmp.Or(o.ResourceManagerEndpoint, Host("resourcemanager", o.Region, o.VPC)), resourceManagerVersion},
		ims:             ims,
		identity:        &atomic.Pointer[ownIdentity]{},
	}
}

// Close closes the connections that no call uses at the moment.
func (c *Client) Close() { c.api.CloseIdleConnections() }

// STS is where STS is, for sources of credentials that ask it themselves.
func (c *Client) STS() alicreds.STSOptions { return c.sts }

// service is where an API is called, and by which version.
type service struct{ endpoint, version string }

// serving is the service that has the action.
func (c *Client) serving(action string) service {
	switch {
	case slices.Contains(resourceManagerActions, action):
		return c.resourceManager
	case action == AccountSummary:
		return c.ims
	}
	return c.ram
}

func (s service) request(repeatable bool, action string, params map[string]string, keys openapi.Keys) openapi.Request {
	return openapi.Request{
		Endpoint: s.endpoint, Action: action, Version: s.version, Params: params, Keys: keys, Repeatable: repeatable,
		FormData: params["Password"] != "", // proxies log URLs
	}
}

// Call sends a call of RAM, Resource Management or IMS, and decodes its answer into
// out, which may be nil. repeatable says that executing it twice does no harm.
func (c *Client) Call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	err := c.signed(ctx, func(own alicreds.Credentials) error {
		return c.api.Do(ctx, c.serving(action).request(repeatable, action, params, own.Keys()), out)
	})
	return c.denial(ctx, err, action, params)
}

// CallAs is Call with other keys than the client's own.
func (c *Client) CallAs(ctx context.Context, keys openapi.Keys, repeatable bool, action string, params map[string]string, out any) error {
	return c.denialOf(ctx, keys, c.api.Do(ctx, c.serving(action).request(repeatable, action, params, keys), out), action, params)
}

// AssumeRole asks for a session with the client's own credentials.
func (c *Client) AssumeRole(ctx context.Context, o alicreds.RAMRoleARNOptions) (creds alicreds.Credentials, err error) {
	o.STSOptions = c.sts
	err = c.signed(ctx, func(own alicreds.Credentials) (err error) {
		creds, err = alicreds.AssumeRole(ctx, own.Keys(), o)
		return err
	})
	return creds, c.assumeDenial(ctx, err, o)
}

// Identity is who keys belong to.
type Identity struct {
	alicreds.Identity
	Source string // of the keys, as in alicreds.Credentials
}

// Principal is who the identity is to a trust policy: the user, or the role
// whose session it works with.
func (i Identity) Principal() string {
	role, found := strings.CutPrefix(i.ARN, "acs:ram::"+i.AccountID+":assumed-role/")
	if !found {
		return i.ARN
	}
	role, _, _ = strings.Cut(role, "/")
	return "acs:ram::" + i.AccountID + ":role/" + role
}

// Is tells whether the identity is that of the user, or a session of the role.
func (i Identity) Is(e Entity) bool {
	return strings.EqualFold(i.Principal(), "acs:ram::"+i.AccountID+":"+string(e.Kind)+"/"+e.Name)
}

// CallerIdentity asks who the client is.
func (c *Client) CallerIdentity(ctx context.Context) (who Identity, err error) {
	err = c.signed(ctx, func(own alicreds.Credentials) error {
		id, err := alicreds.CallerIdentity(ctx, own.Keys(), c.sts)
		if err == nil {
			who = Identity{id, own.Source}
			c.identity.Store(&ownIdentity{own.Keys(), who})
		}
		return err
	})
	return who, err
}

// Whoami is CallerIdentity, asked once for the credentials that are in use.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return Identity{}, err
	}
	if known := c.identity.Load(); known != nil && known.keys == own.Keys() {
		return known.Identity, nil
	}
	return c.CallerIdentity(ctx)
}

// IdentityOf asks who other keys belong to.
func (c *Client) IdentityOf(ctx context.Context, keys openapi.Keys) (alicreds.Identity, error) {
	return alicreds.CallerIdentity(ctx, keys, c.sts)
}
