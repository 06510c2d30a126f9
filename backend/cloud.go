package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// cloud is Alibaba Cloud as the principal of the mount, and what is kept for as
// long as the config stays. It is safe for concurrent use.
type cloud struct {
	*ram.Client
	own    *ownCredentials
	below  []*ram.Client // as the principals that assume the role which this works as
	role   accountRole   // as which it works; none: as the mount itself
	pace   pace          // of calls for static roles
	quotas *quotas

	usernameTemplate, sessionTemplate, policyNameTemplate string // defaults of roles

	sessions sessions // kept for reuse_ttl
	refusals refusals // of sessions

	accounts    accounts    // that it works in besides; none of one of these
	options     ram.Options // of their clients
	sessionName string      // of the sessions that work there
	told        *failures
}

// newCloud checks what validate leaves to alicreds and openapi. It calls nothing.
// told is told of failures that no request sees; it may be nil.
func (b *backend) newCloud(c *config, told *failures) (*cloud, error) {
	retries := c.maxRetries()
	if retries == 0 {
		retries = -1 // to openapi, 0 is its default
	}
	api, err := openapi.New(openapi.Options{
		HTTP:           b.http,
		CACertificate:  []byte(c.CACertificate),
		ConnectTimeout: c.ConnectTimeout,
		Timeout:        c.Timeout,
		MaxRetries:     retries,
		UserAgent:      "vault-plugin-secrets-alicloud/" + Version(),
		OnRetry: func(r openapi.Retry) {
			if r.Action != ram.AccountSummary { // quotas.go tells
				told.failed(failedCalls, r.Action, r.Err, time.Now().Add(r.Wait))
			}
		},
		OnAttempt: b.counters.called,
	})
	if err != nil {
		return nil, fmt.Errorf("ca_certificate: %s", unprefixed(err)) // the only option that New refuses
	}
	vpc := c.Network == networkVPC
	sts := alicreds.STSOptions{
		Endpoint: c.STSEndpoint, FallbackEndpoints: c.STSFallbackEndpoints, Region: c.Region, VPC: vpc, Client: api,
	}
	in := settings{sts: sts, system: b.System(), metadata: b.metadataOf(c), ask: sessionRequest{
		roleARN: c.RoleARN, name: c.RoleSessionName, policy: c.Policy, externalID: c.ExternalID, duration: c.RoleSessionExpiration,
	}}
	source, err := c.provider(c.credentialType(), in)
	if err != nil {
		return nil, err
	}
	if b.keys != nil {
		source = b.keys
	}
	own := newOwnCredentials(source, watch{told, failedCredentials, ""})
	o := ram.Options{
		API: api, Own: own, STS: sts,
		Endpoint: c.RAMEndpoint, ResourceManagerEndpoint: c.ResourceManagerEndpoint, IMSEndpoint: c.IMSEndpoint, Region: c.Region, VPC: vpc,
	}
	var below []*ram.Client
	if t, _ := sourceTypeNamed(c.credentialType()); t.assumes && t.keyed {
		if o.Own, err = c.belowRole(in); err != nil {
			return nil, err
		}
		below = append(below, ram.New(o))
		o.Own = own
	}
	client := ram.New(o)
	return &cloud{
		own: own, below: below, Client: client, quotas: newQuotas(client), pace: newPace(),
		options: o, sessionName: "vault-" + b.uuid, told: told,
		usernameTemplate: c.UsernameTemplate, sessionTemplate: c.RoleSessionNameTemplate, policyNameTemplate: c.PolicyNameTemplate,
	}, nil
}

// principals are who, and those of the account that assumed roles to work as who: the
// mount lives on them.
func (c *cloud) principals(ctx context.Context, who ram.Identity) (principals, error) {
	all := principals{who}
	for _, client := range c.below {
		other, err := client.Whoami(ctx)
		if err != nil {
			return nil, err
		}
		if other.AccountID == who.AccountID {
			all = append(all, other)
		}
	}
	return all, nil
}

type principals []ram.Identity

func (p principals) include(e ram.Entity) bool {
	return slices.ContainsFunc(p, func(who ram.Identity) bool { return who.Is(e) })
}

// cloud returns the client for the stored config, nil where there is none. It
// is made once per config and calls nothing.
func (b *backend) cloud(ctx context.Context, s logical.Storage) (*cloud, error) {
	if client, _ := b.kept(); client != nil {
		return client, nil
	}
	b.making.Lock() // by one request; b.mu stays free, because a key takes a while to parse
	defer b.making.Unlock()
	for {
		client, resets := b.kept()
		if client != nil {
			return client, nil
		}
		c, err := load[config](ctx, s, configKey)
		if err != nil || c == nil {
			return nil, err
		}
		if client, err = b.newCloud(c, b.failures); err != nil {
			return nil, err
		}
		if b.keep(client, resets) {
			return client, nil
		}
	}
}

// kept is the client, and how often it has been forgotten.
func (b *backend) kept() (client *cloud, resets int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.client, b.resets
}

// keep keeps a client, unless the config may have changed since it was read.
func (b *backend) keep(client *cloud, resets int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.resets != resets:
		client.Close()
		return false
	case b.cleaned:
		client.Close() // nobody else would
	default:
		b.client = client
	}
	return true
}

// metadataOf is the metadata service in the mode that the config asks for, or
// that the environment asks of the default chain.
func (b *backend) metadataOf(c *config) *alicreds.Metadata {
	hardened := c.credentialType() == typeDefault && strings.EqualFold(environment("ALIBABA_CLOUD_IMDSV1_DISABLED"), "true")
	return b.metadata[c.DisableIMDSv1 || hardened]
}

// forgetRole follows a change of the role, here or on another node.
func (b *backend) forgetRole(name string) {
	b.roles.forget(name)
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.client != nil {
		b.client.refusals.forget(name)
	}
}

// resetCloud forgets the client, and what it has failed at; requests that hold it
// go on with it.
func (b *backend) resetCloud() {
	b.mu.Lock()
	before := b.client
	b.client = nil
	b.resets++
	b.mu.Unlock()
	if before != nil {
		before.Close()
		b.failures.forget(failedCredentials)
		b.failures.forget(failedCalls)
		b.failures.forget(failedAccount)
	}
}

// Close ends what goes on without a request: the renewal of credentials, sessions
// that no reader waits for, idle connections.
func (c *cloud) Close() {
	c.accounts.close()
	c.quotas.close()
	c.own.Close()
	c.sessions.close()
	if c.role.none() { // else others have the connections too
		c.Client.Close()
	}
}
