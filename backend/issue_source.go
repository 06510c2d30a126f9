package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// issueFromSource issues what the role's source holds: the keys of the ECS
// instance role, of a credentials URI, or those written to the role.
func (b *backend) issueFromSource(ctx context.Context, c credsRequest) (*logical.Response, error) {
	t := c.role.roleType.name
	p, err := c.role.provider(t, settings{sts: c.cloud.STS(), system: b.System(), metadata: b.metadata[c.role.DisableIMDSv1]})
	if err != nil {
		return logical.ErrorResponse(ofSource(err)), nil
	}
	creds, err := p.Retrieve(ctx)
	if err != nil {
		return answer("obtaining credentials of type "+t, err)
	}
	return b.leaseOf(c, creds, c.ttl)
}
