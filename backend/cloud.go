package backend

import (
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// cloud is Alibaba Cloud as the principal of the mount, and what is kept for as
// long as the config stays. It is safe for concurrent use.
type cloud struct {
	*ram.Client

	usernameTemplate, sessionTemplate, policyNameTemplate string // defaults of roles

	sessions sessions // kept for reuse_ttl
}

// newCloud checks what validate leaves to alicreds and openapi. It calls nothing.
// client takes the place of an HTTP client made from c, and metadata is a service
// that others use too; either may be nil.
func newCloud(client *http.Client, metadata *alicreds.Metadata, c *config, system logical.SystemView) (*cloud, error) {
	retries := c.maxRetries()
	if retries == 0 {
		retries = -1 // to openapi, 0 is its default
	}
	api, err := openapi.New(openapi.Options{
		HTTP:           client,
		CACertificate:  []byte(c.CACertificate),
		ConnectTimeout: c.ConnectTimeout,
		Timeout:        c.Timeout,
		MaxRetries:     retries,
		UserAgent:      "vault-plugin-secrets-alicloud/" + version,
	})
	if err != nil {
		return nil, fmt.Errorf("ca_certificate: %w", err) // the only option that New refuses
	}
	vpc := c.Network == networkVPC
	sts := alicreds.STSOptions{
		Endpoint: c.STSEndpoint, FallbackEndpoints: c.STSFallbackEndpoints, Region: c.Region, VPC: vpc, Client: api,
	}
	own, err := c.provider(c.credentialType(), settings{sts: sts, system: system, metadata: metadata, ask: sessionRequest{
		roleARN: c.RoleARN, name: c.RoleSessionName, policy: c.Policy, externalID: c.ExternalID, duration: c.RoleSessionExpiration,
	}})
	if err != nil {
		return nil, err
	}
	return &cloud{
		Client: ram.New(ram.Options{
			API: api, Own: alicreds.NewCache(own, alicreds.CacheOptions{}), STS: sts,
			Endpoint: c.RAMEndpoint, ResourceManagerEndpoint: c.ResourceManagerEndpoint, Region: c.Region, VPC: vpc,
		}),
		usernameTemplate: c.UsernameTemplate, sessionTemplate: c.RoleSessionNameTemplate, policyNameTemplate: c.PolicyNameTemplate,
	}, nil
}
