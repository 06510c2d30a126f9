package backend_test

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// A template that some display name makes fail is the fault of the role, and not
// of the cloud: Vault's clients would repeat an answer of 500.
func TestSessionNameTemplateThatFailsIsRefused(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN, "role_session_name_template": "{{slice .DisplayName 0 5}}"})
	resp, err := m.HandleRequest(t.Context(), &logical.Request{Operation: logical.ReadOperation, Path: "creds/r", DisplayName: "ci"})
	if err != nil || !resp.IsError() {
		t.Fatalf("answer %v, %v", resp, err)
	}
}
