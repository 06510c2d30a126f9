package backend_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// Who writes to a path that there is not, or does with one what it does not take, is
// told what to type. A read of what there is not is Vault's 404.
func TestUnsupportedRequests(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct {
		op     logical.Operation
		path   string
		status int
		want   string
	}{
		{logical.UpdateOperation, "configs", 404, `unsupported path: did you mean alicloud/config?`},
		{logical.UpdateOperation, "roles/x", 404, `unsupported path: did you mean alicloud/role/x?`},
		{logical.UpdateOperation, "cred/deploy", 404, `unsupported path: did you mean alicloud/creds/deploy?`},
		{logical.UpdateOperation, "static-creds/app", 404, `did you mean alicloud/static-cred/app?`},
		{logical.UpdateOperation, "config/rotateroot", 404, `did you mean alicloud/config/rotate-root?`},
		{logical.UpdateOperation, "library", 404, `unsupported path: the paths here are config, config/caller-identity, config/rotate-root, creds, metrics, role, rotate-role, static-cred, static-role, status, tidy: see vault path-help alicloud/`},
		{logical.UpdateOperation, "role/a b", 404, `unsupported path: a name has letters, digits and any of _ - . only, and begins and ends with a letter, a digit or _: role/a b`},
		{logical.UpdateOperation, "config/caller-identity", 405, "unsupported operation: config/caller-identity takes read, and no write, for example: vault read alicloud/config/caller-identity"},
		{logical.ReadOperation, "config/rotate-root", 405, "unsupported operation: config/rotate-root takes write, and no read, for example: vault write -f alicloud/config/rotate-root"},
		{logical.ReadOperation, "tidy", 405, "unsupported operation: tidy takes write, and no read"},
		{logical.DeleteOperation, "creds/deploy", 405, "unsupported operation: creds/deploy takes read and write, and no delete"},
		{logical.UpdateOperation, "role/", 405, "unsupported operation: the name is missing: vault write alicloud/role/<name>"},
	} {
		_, err := m.HandleRequest(context.Background(), &logical.Request{Operation: tc.op, Path: tc.path, MountPoint: "alicloud/"})
		var coded logical.HTTPCodedError
		if err == nil || !errors.As(err, &coded) || coded.Code() != tc.status || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: %v, want %d %s", tc.op, tc.path, err, tc.status, tc.want)
		}
	}
	if _, err := m.HandleRequest(context.Background(), &logical.Request{Operation: logical.ReadOperation, Path: "configs"}); !errors.Is(err, logical.ErrUnsupportedPath) {
		t.Errorf("a read of no path: %v", err)
	}
}
