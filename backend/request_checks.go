package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// refusalOf says what is wrong with a request, "" where it may be handled: that it is
// too large, that its path or operation is not supported, that a name has upper case,
// that the path has no such field, or that a field has a value that it cannot have.
// What handlers refuse beyond that depends on what is stored. Renewals and
// revocations carry what Vault kept, and whoever sent them cannot mend it.
func (b *backend) refusalOf(ctx context.Context, req *logical.Request) (string, error) {
	path := b.Route(req.Path[:min(len(req.Path), maxPath)])
	lease := req.Operation == logical.RenewOperation || req.Operation == logical.RevokeOperation
	if !lease {
		if large := outOfBounds(path, req); large != "" {
			return large, nil
		}
	}
	if err := b.unsupported(path, req); err != nil || path == nil {
		return "", err
	}
	if !lease && req.Operation != logical.HelpOperation {
		if wrong, err := upperCase(ctx, req); err != nil || wrong != "" {
			return wrong, err
		}
	}
	if unknown := b.unknownField(path, req); unknown != "" {
		return unknown, nil
	}
	if wrong := wrongType(path, req.Data); wrong != "" || lease {
		return wrong, nil
	}
	return mistakenValue(path, req.Data), nil
}
