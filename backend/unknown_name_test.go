package backend_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// F3.14: who writes the name of a role that there is not is told the list to look
// in, and the name that comes near; a read is Vault's 404.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
	for _, tc := range []struct {
		op   logical.Operation
		path string
		want string
	}{
		{logical.UpdateOperation, "creds/deply", `role "deply" does not exist: did you mean "deploy"? All there are: vault list alicloud/role`},
		{logical.UpdateOperation, "creds/other", `role "other" does not exist: all there are: vault list alicloud/role`},
		{logical.UpdateOperation, "creds/app", `role "app" does not exist, but a static role of that name does: vault read alicloud/static-cred/app`},
		{logical.UpdateOperation, "rotate-role/ap", `static role "ap" does not exist: did you mean "app"? All there are: vault list alicloud/static-role`},
		{logical.UpdateOperation, "rotate-role/deploy", `static role "deploy" does not exist, but a role of that name does: vault read alicloud/creds/deploy`},
		{logical.UpdateOperation, "role/deply/check", `role "deply" does not exist: did you mean "deploy"?`},
		{logical.DeleteOperation, "role/deply", `nothing was deleted: role "deply" does not exist: did you mean "deploy"?`},
		{logical.DeleteOperation, "static-role/ap", `nothing was deleted: static role "ap" does not exist: did you mean "app"?`},
		{logical.DeleteOperation, "role/other", ""},
		{logical.DeleteOperation, "static-role/other", ""},
		{logical.ReadOperation, "creds/deply", ""},
		{logical.ReadOperation, "role/deply", ""},
		{logical.ReadOperation, "role/deply/check", ""},
		{logical.ReadOperation, "static-role/ap", ""},
		{logical.ReadOperation, "static-cred/ap", ""},
	} {
		resp, err := m.request(tc.op, tc.path, nil)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case resp.IsError():
			got = resp.Error().Error()
		case resp != nil:
			got = strings.Join(resp.Warnings, "\n")
		}
		if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s %s: %q, want %q", tc.op, tc.path, got, tc.want)
		}
	}
}

// F3.18: commands in answers name the mount as it is now, where it was moved too.
func TestAnswersNameTheMount(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	for _, path := range []string{"ali-prod/", "team/cloud/"} {
		m.at = path
		m.refused(logical.ReadOperation, "config/caller-identity", nil, "vault write "+path+"config access_key=")
		m.refused(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"}, "vault write "+path+"config access_key=")
		m.refused(logical.UpdateOperation, "tidy", nil, "vault write "+path+"config access_key=")
	}
}
