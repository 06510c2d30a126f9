package backend_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// F3.1, F3.2: a field that the path does not have is refused, with the one that was
// meant, and nothing is done.
func TestUnknownFieldsAreRefused(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
	before := m.must(logical.ReadOperation, "role/deploy", nil).Data["policy"]
	calls := len(m.sim.Journal())
	for _, tc := range []struct {
		op                logical.Operation
		path, field, want string
	}{
		{logical.UpdateOperation, "config", "regoin", "config has no field regoin: did you mean region?"},
		{logical.UpdateOperation, "config", "verfy", "did you mean verify?"},
		{logical.UpdateOperation, "config", "access_key_id", "did you mean access_key?"},
		{logical.UpdateOperation, "config", "access_key_secret", "did you mean secret_key?"},
		{logical.UpdateOperation, "config", "sts_token", "did you mean security_token?"},
		{logical.UpdateOperation, "config", "ACCESS_KEY", "did you mean access_key?"},
		{logical.UpdateOperation, "config", "mode", "did you mean credential_type?"},
		{logical.UpdateOperation, "config", "colour", "config has no field colour: vault path-help alicloud/config lists those it has"},
		{logical.UpdateOperation, "role/deploy", "polcy", "role/deploy has no field polcy: did you mean policy?"},
		{logical.UpdateOperation, "role/deploy", "expire_with_leas", "did you mean expire_with_lease?"},
		{logical.UpdateOperation, "role/deploy", "tll", "did you mean ttl?"},
		{logical.UpdateOperation, "role/deploy", "arn", "did you mean role_arn?"},
		{logical.UpdateOperation, "creds/deploy", "tll", "did you mean ttl?"},
		{logical.ReadOperation, "creds/deploy", "tll", "did you mean ttl?"},
		{logical.UpdateOperation, "role/deploy/check", "asume", "did you mean assume?"},
		{logical.ReadOperation, "role/deploy/check", "detail", "did you mean details?"},
		{logical.UpdateOperation, "tidy", "dryrun", "tidy has no field dryrun: did you mean dry_run?"},
		{logical.UpdateOperation, "tidy", "dry-run", "did you mean dry_run?"},
		{logical.UpdateOperation, "rotate-role/app", "forse", "did you mean force?"},
		{logical.UpdateOperation, "config/rotate-root", "dry_run", "config/rotate-root has no field dry_run: vault path-help"},
		{logical.UpdateOperation, "static-role/app", "rotation_perod", "did you mean rotation_period?"},
		{logical.DeleteOperation, "static-role/app", "remove_keys", "did you mean remove_key?"},
		{logical.ReadOperation, "static-cred/app", "ttl", "static-cred/app has no field ttl"},
	} {
		m.refused(tc.op, tc.path, map[string]any{tc.field: "x"}, tc.want)
	}
	// What is no name may be a key.
	resp, err := m.request(logical.UpdateOperation, "config", map[string]any{"LTAI5tSecret/+=do-not-repeat": "x"})
	if err != nil || !resp.IsError() || strings.Contains(resp.Error().Error(), "do-not-repeat") {
		t.Errorf("a key in the place of a name: %v %v", resp, err)
	}
	if after := m.must(logical.ReadOperation, "role/deploy", nil).Data["policy"]; after != before {
		t.Errorf("the policy became %v", after)
	}
	if now := len(m.sim.Journal()); now != calls {
		t.Errorf("%d calls were made", now-calls)
	}
}
