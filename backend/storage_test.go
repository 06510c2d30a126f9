package backend_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// What is stored holds secrets, and errors of package json quote numbers and
// times. No answer and no log repeats a value that cannot be decoded.
func TestUndecodableValuesAreNotQuoted(t *testing.T) {
	t.Parallel()
	const number, text = "98765432109876543210", "do-not-repeat-me"
	for name, tc := range map[string]struct {
		key, value string
		request    *logical.Request
	}{
		"config":            {"config", `{"max_retries":` + number + `}`, &logical.Request{Operation: logical.ReadOperation, Path: "config"}},
		"role":              {"role/r", `{"ttl":` + number + `}`, &logical.Request{Operation: logical.ReadOperation, Path: "role/r"}},
		"role that is read": {"role/r", `{"max_ttl":` + number + `}`, &logical.Request{Operation: logical.ReadOperation, Path: "creds/r"}},
		"static role": {
			"static-role/app", `{"username":"app","rotation":{"last_rotated":"` + text + `"}}`, &logical.Request{Operation: logical.ReadOperation, Path: "static-cred/app"},
		},
		"WAL entry": {
			framework.WALPrefix + "1", `{"type":"issue","data":{"username":"vault-x","created_at":"` + text + `"}}`,
			&logical.Request{Operation: logical.RollbackOperation, Data: map[string]any{"immediate": true}},
		},
		"lease": {"", "", &logical.Request{Operation: logical.RevokeOperation, Secret: &logical.Secret{
			InternalData: map[string]any{"secret_type": "alicloud", "role_type": "ram", "username": "vault-x", "created_at": text},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.logged = &bytes.Buffer{}
			m.start()
			if tc.key != "" {
				m.put(tc.key, tc.value)
			}
			tc.request.Storage = m.storage
			resp, err := m.HandleRequest(t.Context(), tc.request)
			m.rest() // a rollback is a tick, and begins rounds that may log
			said := fmt.Sprint(err, m.logged)
			if resp.IsError() {
				said += resp.Error().Error()
			}
			if !strings.Contains(said, "of the expected form") {
				t.Errorf("it says %q", said)
			}
			if strings.Contains(said, number) || strings.Contains(said, text) {
				t.Errorf("it quotes the value: %s", said)
			}
		})
	}
}
