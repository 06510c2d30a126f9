package backend_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// F5.20: generated clients call each operation by its id.
func TestOperationIDsAreDistinct(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.start(func(c *logical.BackendConfig) {
		c.System = &logical.StaticSystemView{MaxLeaseTTLVal: time.Hour, PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.2"}}
	})
	resp, err := m.Backend.HandleRequest(context.Background(), &logical.Request{
		Operation: logical.HelpOperation, Data: map[string]any{"requestResponsePrefix": "alicloud"},
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(resp.Data["openapi"])
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]struct {
			Get, Post, Delete *struct{ OperationID string }
		}
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	by := map[string]string{}
	for path, p := range document.Paths {
		for method, operation := range map[string]*struct{ OperationID string }{"GET": p.Get, "POST": p.Post, "DELETE": p.Delete} {
			if operation == nil {
				continue
			}
			id, at := operation.OperationID, method+" "+path
			if other, taken := by[id]; taken || id == "" {
				t.Errorf("%s and %s have the operation id %q", at, other, id)
			}
			by[id] = at
		}
	}
	// Those of the built-in engine stay: clients are generated from them.
	for id, at := range map[string]string{
		"ali-cloud-generate-credentials": "GET /creds/{name}", "ali-cloud-configure": "POST /config", "ali-cloud-read-configuration": "GET /config",
		"ali-cloud-delete-configuration": "DELETE /config", "ali-cloud-read-role": "GET /role/{name}",
		"ali-cloud-write-role": "POST /role/{name}", "ali-cloud-delete-role": "DELETE /role/{name}", "ali-cloud-list-roles": "GET /role/",
	} {
		if by[id] != at {
			t.Errorf("%s is %q, want %q", id, by[id], at)
		}
	}
	if len(by) < 20 {
		t.Errorf("the document has %d operations", len(by))
	}
	t.Logf("%d operations, each with an id of its own", len(by))
}
