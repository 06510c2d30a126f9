package backend

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// A nameList is where names are looked up, and what reads use them.
type nameList struct{ prefix, kind, use string }

var (
	roleNames       = nameList{rolePrefix, "role", "creds/"}
	staticRoleNames = nameList{staticRolePrefix, "static role", "static-cred/"}
)

// unknownName answers a request for a name that there is not with a 404. Of a read
// it says no more: Vault's clients know that answer, and its CLI shows no text.
func (b *backend) unknownName(ctx context.Context, req *logical.Request, in nameList, name string) error {
	if req.Operation == logical.ReadOperation {
		return nil // of no response, Vault makes a 404
	}
	text, _, err := b.noSuchName(ctx, req.Storage, in, name)
	if err != nil {
		return err
	}
	return logical.CodedError(http.StatusNotFound, text)
}

// noSuchName says that there is no such name, and what was probably meant, if that
// can be told.
func (b *backend) noSuchName(ctx context.Context, s logical.Storage, in nameList, name string) (text string, meant bool, err error) {
	other := roleNames
	if in == roleNames {
		other = staticRoleNames
	}
	if entry, err := s.Get(ctx, other.prefix+name); err != nil {
		return "", false, err
	} else if entry != nil {
		return fmt.Sprintf("%s %q does not exist, but a %s of that name does: vault read %s%s%s", in.kind, name, other.kind, b.mountPath(), other.use, name), true, nil
	}
	known, err := s.List(ctx, in.prefix)
	if err != nil {
		return "", false, err
	}
	list := b.mountPath() + strings.TrimSuffix(in.prefix, "/")
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("%s %q does not exist: did you mean %q? All there are: vault list %s", in.kind, name, near, list), true, nil
	}
	return fmt.Sprintf("%s %q does not exist: all there are: vault list %s", in.kind, name, list), false, nil
}

// nothingDeleted warns of a deletion that found nothing to delete, where another
// name was probably meant. Else what should be gone is gone.
func (b *backend) nothingDeleted(ctx context.Context, s logical.Storage, in nameList, name string) (*logical.Response, error) {
	text, meant, err := b.noSuchName(ctx, s, in, name)
	if err != nil || !meant {
		return nil, err
	}
	return warned(nil, []string{"nothing was deleted: " + text}), nil
}
