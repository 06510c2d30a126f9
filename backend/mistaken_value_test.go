package backend_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// F3.4 to F3.10, F3.15, F3.16: a value that cannot be right is refused at the write,
// with its field and what was probably meant.
func TestMistakenValuesAreRefused(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct {
		path string
		data map[string]any
		want string
	}{
		{"config", map[string]any{"access_key": "secret", "secret_key": "LTAI5tALISIMFAKE"}, "are access_key and secret_key swapped?"},
		{"static-role/app", map[string]any{"username": "app", "rotation_period": "24h", "access_key": "x", "secret_key": "LTAI5tALISIMFAKE"}, "swapped?"},
		{"config", map[string]any{"access_key": "STS.Nxyz", "secret_key": "x"}, "access_key begins with STS."},
		{"config", map[string]any{"region": "China (Beijing)"}, "region must be the id of a region"},
		{"config", map[string]any{"region": "CN-BEIJING"}, "region must be in small letters: cn-beijing"},
		{"config", map[string]any{"timeout": "500ms"}, "timeout must be whole seconds"},
		{"role/r", map[string]any{"role_arn": roleARN, "ttl": "1500ms"}, "ttl must be whole seconds"},
		{"config", map[string]any{"ca_certificate": "ca.pem"}, "ca_certificate is PEM, and the value looks like the name of a file: did you mean ca_certificate=@ca.pem?"},
		{"config", map[string]any{"credential_type": "rsa_key_pair", "public_key_id": "x", "private_key": "/etc/vault/key.pem"}, "did you mean private_key=@/etc/vault/key.pem?"},
		{"role/r", map[string]any{"role_arn": roleARN, "policy": "pol1.json"}, "did you mean policy=@pol1.json?"},
		{"role/r", map[string]any{"inline_policies": "./list.json"}, "inline_policies is a JSON list, and the value looks like the name of a file: did you mean inline_policies=@./list.json?"},
		{"role/r", map[string]any{"remote_policies": []string{"name:A,type:System,name:B,type:System"}}, "two policies in one text"},
		{"role/r", map[string]any{"role_arn": "acs:ram::1234567890123456:user/deploy"}, "it is a RAM user"},
		{"role/r", map[string]any{"role_arn": "acs:ram::1234567890123456:assumed-role/deploy/s"}, "it is a session"},
		{"role/r", map[string]any{"role_arn": "acs:ram:*:1234567890123456:role/deploy"}, "it is the resource of a permission"},
		{"role/r", map[string]any{"role_arn": "acs:ram::1234567890123456:policy/p"}, "it is a policy"},
		{"role/r", map[string]any{"role_arn": "acs:ram:::role/deploy"}, "the account is missing"},
		{"role/r", map[string]any{"role_arn": "arn:aws:iam::123456789012:role/deploy"}, "it is an ARN of AWS"},
		{"role/r", map[string]any{"role_arn": "deploy"}, "it is a name alone"},
		{"role/r", map[string]any{"role_arn": roleARN, "access_key": "LTAI5tALISIMFAKE", "secret_key": "x"}, "access_key has no effect when credential_type is ram_role_arn"},
		{"role/r", map[string]any{"remote_policies": "name:A,type:System", "external_id": "abc"}, "external_id has no effect when credential_type is ram_user"},
		{"role/r", map[string]any{"role_arn": roleARN, "max_session_duration": "2h"}, "max_session_duration has no effect"},
		{"role/r", map[string]any{"credential_type": "credentials_uri", "credentials_uri": "localhost:8080/keys"}, "credentials_uri: "},
		{"role/r", map[string]any{"credential_type": "oidc_role_arn", "role_arn": roleARN, "oidc_provider_arn": "ack", "oidc_token_file_path": "/run/token"}, "the OIDC provider ARN does not look like"},
	} {
		m.refused(logical.UpdateOperation, tc.path, tc.data, tc.want)
	}
	if resp := m.must(logical.ReadOperation, "role/r", nil); resp != nil {
		t.Errorf("it is stored: %v", resp.Data)
	}
}

// F3.7, F3.11: what may be right is stored with a warning.
func TestSuspiciousValuesAreWarnedOf(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct {
		path string
		data map[string]any
		want string // "": no warning
	}{
		{"config", map[string]any{"region": "cn-bejing"}, "region cn-bejing is not known here: did you mean cn-beijing?"},
		{"config", map[string]any{"region": "xx-far-9"}, "region xx-far-9 is not known here, and its hosts may not exist"},
		{"config", map[string]any{"region": "cn-hangzhou"}, ""},
		{"role/u", map[string]any{"remote_policies": "name:A,type:System"}, "without ttl a RAM user lives as long as"},
		{"role/u", map[string]any{"ttl": "1h"}, ""},
		{"role/s", map[string]any{"role_arn": roleARN}, ""},
	} {
		resp := m.must(logical.UpdateOperation, tc.path, tc.data)
		var warnings []string
		if resp != nil {
			warnings = resp.Warnings
		}
		if found := slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, tc.want) }); tc.want == "" && len(warnings) > 0 || tc.want != "" && !found {
			t.Errorf("%s %v: %q, want %q", tc.path, tc.data, warnings, tc.want)
		}
	}
}
