package backend

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// upperCase says that a name must be in small letters, "" where it may be as it
// is. The built-in engine makes the names of its roles lower case, and so does this
// one; but Vault's policies look at paths as they are written, and a deny of
// creds/admin does not stop creds/ADMIN. Paths that the built-in engine lacks take
// no upper case, and with strict_names in config none do.
func upperCase(ctx context.Context, req *logical.Request) (string, error) {
	lower := strings.ToLower(req.Path)
	if lower == req.Path {
		return "", nil
	}
	if prefix, name, _ := strings.Cut(lower, "/"); (prefix == "role" || prefix == "creds") && !strings.Contains(name, "/") {
		if c, err := load[config](ctx, req.Storage, configKey); err != nil || c == nil || !c.StrictNames {
			return "", err
		}
	}
	return fmt.Sprintf("%s: the name must be in small letters, because Vault's policies compare paths as they are written: use %s", req.Path, lower), nil
}
