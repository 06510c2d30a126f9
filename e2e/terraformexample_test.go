package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/vault/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const terraformExample = "../examples/terraform"

// TestTerraformExample makes the calls that the Vault provider would make for
// examples/terraform, and holds every attribute to those that the provider
// has. With the path of a provider in TF_PROVIDER_VAULT, and terraform on PATH,
// it applies the example for real too.
func TestTerraformExample(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	v := startVault(t)
	var flags []string
	for _, variable := range foreignEnviron(cloud, writeCA(t, cloud)) {
		flags = append(flags, "-env="+variable) // Terraform's resources know no endpoint
	}
	v.register(t, mount, need(t, programs.plugin), pluginVersion, flags...)

	t.Run("calls", func(t *testing.T) {
		tf := &terraform{vaultServer: v, t: t}
		seed := cloud.Inventory()
		e := newTerraformEvaluation()
		for _, block := range parseTerraform(t) {
			e.apply(tf, block)
		}
		if want := []string{"vault_mount", "vault_alicloud_secret_backend", "vault_alicloud_secret_backend_role", "vault_generic_endpoint", "vault_alicloud_access_credentials"}; !slices.Equal(slices.Sorted(maps.Keys(e.of)), slices.Sorted(slices.Values(want))) {
			t.Errorf("the example has %v, want %v", slices.Sorted(maps.Keys(e.of)), want)
		}
		for _, role := range []string{"deploy", "ci", "batch"} {
			tf.open(role)
		}
		if err := v.api.Sys().UnmountWithContext(t.Context(), mount); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Minute, "all is gone with the mount", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
	})

	t.Run("provider", func(t *testing.T) {
		provider := os.Getenv("TF_PROVIDER_VAULT")
		if provider == "" {
			t.Log("TF_PROVIDER_VAULT is not set: the example is NOT applied by Terraform")
			return
		}
		run := terraformRun(t, v, provider)
		run("apply", "-auto-approve")
		if got := v.read(t, mount+"/role/deploy").Data; got["role_arn"] != roleARN || got["expire_with_lease"] != true {
			t.Errorf("the role has role_arn %v and expire_with_lease %v", got["role_arn"], got["expire_with_lease"])
		}
		run("plan", "-detailed-exitcode") // fails when there is something to change
		run("destroy", "-auto-approve")
	})
}

// terraformRun returns a function that runs terraform on a copy of the example.
func terraformRun(t *testing.T, v *vaultServer, provider string) func(args ...string) {
	t.Helper()
	dir, plugins := t.TempDir(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(terraformExample)); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, provider, filepath.Join(plugins, "terraform-provider-vault"))
	rc := filepath.Join(plugins, "terraform.rc")
	text := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"hashicorp/vault\" = %q\n  }\n  direct {}\n}\n", plugins)
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "terraform", append(args, "-input=false", "-no-color")...)
		cmd.Dir = dir
		cmd.Env = append(v.environ(), "TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_VAR_access_key="+alisim.DefaultAccessKeyID,
			"TF_VAR_secret_key="+alisim.DefaultAccessKeySecret, "TF_VAR_role_arn="+roleARN)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, said)
		}
	}
}

// parseTerraform returns the resources of the example, as they stand there.
func parseTerraform(t *testing.T) []*hclsyntax.Block {
	t.Helper()
	file, diagnostics := hclparse.NewParser().ParseHCLFile(filepath.Join(terraformExample, "main.tf"))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return slices.DeleteFunc(file.Body.(*hclsyntax.Body).Blocks, func(b *hclsyntax.Block) bool {
		return b.Type != "resource" && b.Type != "ephemeral"
	})
}

// What the provider's resources have, of 5.10; in front what they require.
var terraformSchemas = map[string]resourceSchema{
	"vault_mount":                        {[]string{"path", "type"}, []string{"description"}},
	"vault_alicloud_secret_backend":      {[]string{"mount", "access_key", "secret_key_wo", "secret_key_wo_version"}, nil},
	"vault_alicloud_secret_backend_role": {[]string{"mount", "name"}, []string{"role_arn", "ttl", "max_ttl"}},
	"vault_generic_endpoint":             {[]string{"path", "data_json"}, []string{"ignore_absent_fields", "disable_read", "disable_delete"}},
	"vault_alicloud_access_credentials":  {[]string{"mount", "role"}, []string{"mount_id"}},
}

// terraformEvaluation knows the values of what was applied before, of which
// alone the example speaks.
type terraformEvaluation struct {
	context *hcl.EvalContext
	of      map[string]map[string]cty.Value // by type and name
}

func newTerraformEvaluation() *terraformEvaluation {
	return &terraformEvaluation{
		context: &hcl.EvalContext{
			Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc},
			Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{
				"access_key": cty.StringVal(alisim.DefaultAccessKeyID),
				"secret_key": cty.StringVal(alisim.DefaultAccessKeySecret),
				"role_arn":   cty.StringVal(roleARN),
			})},
		},
		of: map[string]map[string]cty.Value{},
	}
}

// resourceSchema has the attributes that a provider knows of a resource.
type resourceSchema struct{ required, optional []string }

// checked are the values of a resource, which must have what its schema requires and
// nothing that it does not know.
func (e *terraformEvaluation) checked(t *testing.T, block *hclsyntax.Block, schema resourceSchema) map[string]any {
	t.Helper()
	kind, name := block.Labels[0], block.Labels[1]
	values := e.attributes(t, block.Body)
	for _, needed := range schema.required {
		if values[needed] == nil {
			t.Fatalf("%s %s: %s is missing", kind, name, needed)
		}
	}
	for attribute := range values {
		if !slices.Contains(slices.Concat(schema.required, schema.optional), attribute) {
			t.Errorf("%s %s: the provider has no %s", kind, name, attribute)
		}
	}
	return values
}

// attributes are the values of a block, which must be such as the provider knows.
func (e *terraformEvaluation) attributes(t *testing.T, body *hclsyntax.Body) map[string]any {
	t.Helper()
	values := map[string]any{}
	for name, attribute := range body.Attributes {
		if name == "depends_on" {
			continue
		}
		value, diagnostics := attribute.Expr.Value(e.context)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		raw, err := ctyjson.Marshal(value, value.Type())
		if err != nil {
			t.Fatal(err)
		}
		var plain any
		if err := json.Unmarshal(raw, &plain); err != nil {
			t.Fatal(err)
		}
		values[name] = plain
	}
	return values
}

// apply makes the calls of one resource.
func (e *terraformEvaluation) apply(tf *terraform, block *hclsyntax.Block) {
	t := tf.t
	kind, name := block.Labels[0], block.Labels[1]
	schema, known := terraformSchemas[kind]
	if !known {
		t.Fatalf("%s %s: the provider has no such resource", kind, name)
	}
	values := e.checked(t, block, schema)
	text := func(attribute string) string { s, _ := values[attribute].(string); return s }
	switch kind {
	case "vault_mount":
		if err := tf.api.Sys().MountWithContext(t.Context(), text("path"), &api.MountInput{Type: text("type")}); err != nil {
			t.Fatal(err)
		}
		values["id"] = text("path")
	case "vault_alicloud_secret_backend":
		tf.config(text("access_key"), text("secret_key_wo"))
	case "vault_alicloud_secret_backend_role":
		tf.role(e.role(t, values, block.Body))
	case "vault_generic_endpoint":
		var data map[string]any
		if err := json.Unmarshal([]byte(text("data_json")), &data); err != nil {
			t.Fatal(err)
		}
		tf.write(t, text("path"), data)
		if values["disable_read"] == true {
			break
		}
		raw, err := json.Marshal(tf.read(t, text("path")).Data)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		for field, want := range data {
			if value, read := got[field]; read && !reflect.DeepEqual(value, want) {
				t.Errorf("%s: %s is written as %v and reads %v: each plan would change it", text("path"), field, want, value)
			}
		}
	case "vault_alicloud_access_credentials":
		tf.close(tf.open(text("role")))
	}
	e.remember(kind, name, values)
}

func (e *terraformEvaluation) role(t *testing.T, values map[string]any, body *hclsyntax.Body) terraformRole {
	t.Helper()
	role := terraformRole{}
	role.name, _ = values["name"].(string)
	role.arn, _ = values["role_arn"].(string)
	ttl, _ := values["ttl"].(float64)
	maxTTL, _ := values["max_ttl"].(float64)
	role.ttl, role.maxTTL = int64(ttl), int64(maxTTL)
	for _, block := range body.Blocks {
		policy := e.attributes(t, block.Body)
		switch fields := strings.Join(slices.Sorted(maps.Keys(policy)), " "); {
		case block.Type == "inline_policies" && fields == "policy_document":
			role.inline = append(role.inline, policy["policy_document"].(string))
		case block.Type == "remote_policies" && fields == "name type":
			role.remote = append(role.remote, policy)
		default:
			t.Errorf("role %s: the provider has no %s { %s }", role.name, block.Type, fields)
		}
	}
	return role
}

// remember makes what was applied known to what follows.
func (e *terraformEvaluation) remember(kind, name string, values map[string]any) {
	known := map[string]cty.Value{}
	for attribute, value := range values {
		if s, ok := value.(string); ok {
			known[attribute] = cty.StringVal(s)
		}
	}
	if e.of[kind] == nil {
		e.of[kind] = map[string]cty.Value{}
	}
	e.of[kind][name] = cty.ObjectVal(known)
	e.context.Variables[kind] = cty.ObjectVal(e.of[kind])
}
