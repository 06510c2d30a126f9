package backend_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// TestHelpEverywhere wants "vault path-help" to say something at every path, of
// every field and operation, and every operation to have a name in generated
// clients of its own.
func TestHelpEverywhere(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, p := range backend.Paths(m.Backend) {
		name := pathName(p.Pattern)
		resp, err := m.HandleRequest(context.Background(), &logical.Request{
			Operation: logical.HelpOperation, Path: strings.ReplaceAll(name, "<name>", "any"),
		})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := resp.Data["help"].(string)
		for _, want := range []string{p.HelpSynopsis, strings.TrimSpace(strings.SplitN(strings.TrimSpace(p.HelpDescription), "\n", 2)[0])} {
			if want == "" || !strings.Contains(text, want) {
				t.Errorf("%s: the help lacks %q", name, want)
			}
		}
		for field, schema := range p.Fields {
			if schema.Description == "" {
				t.Errorf("%s: %s has no description", name, field)
			}
		}
		if p.DisplayAttrs == nil || p.DisplayAttrs.OperationPrefix != "ali-cloud" {
			t.Errorf("%s: the operations have no prefix", name)
		}
		for operation, handler := range p.Operations {
			properties := handler.Properties()
			if properties.Summary == "" || len(properties.Responses) == 0 {
				t.Errorf("%s: %s has no summary or no responses", name, operation)
			}
		}
	}
}
