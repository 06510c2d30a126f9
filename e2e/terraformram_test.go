package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// What the resources of the provider aliyun/alicloud have that the tutorials
// use, of its documentation since 1.252; in front what they require.
var alicloudSchemas = map[string]resourceSchema{
	"alicloud_ram_user":                   {[]string{"name"}, []string{"display_name", "comments", "force"}},
	"alicloud_ram_role":                   {[]string{"role_name", "assume_role_policy_document"}, []string{"description", "max_session_duration", "force"}},
	"alicloud_ram_policy":                 {[]string{"policy_name", "policy_document"}, []string{"description", "force", "rotate_strategy", "tags"}},
	"alicloud_ram_user_policy_attachment": {[]string{"user_name", "policy_type", "policy_name"}, nil},
	"alicloud_ram_role_policy_attachment": {[]string{"role_name", "policy_type", "policy_name"}, nil},
}

// ramState is what RAM holds, as text that can be compared.
type ramState struct {
	users, roles, policies map[string]string
	attached               []string
}

func newRAMState() *ramState {
	return &ramState{users: map[string]string{}, roles: map[string]string{}, policies: map[string]string{}}
}

func (s *ramState) String() string {
	slices.Sort(s.attached)
	text, _ := json.MarshalIndent(map[string]any{"users": s.users, "roles": s.roles, "policies": s.policies, "attached": s.attached}, "", " ")
	return string(text)
}

// terraformRAM is what a file for Terraform would make in RAM. Every attribute
// must be one that the provider has, and a resource stands behind those it names.
func terraformRAM(t *testing.T, file string) *ramState {
	t.Helper()
	parsed, diagnostics := hclparse.NewParser().ParseHCLFile(file)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	e := newTerraformEvaluation()
	e.context.Variables["data"] = cty.ObjectVal(map[string]cty.Value{"alicloud_account": cty.ObjectVal(map[string]cty.Value{
		"this": cty.ObjectVal(map[string]cty.Value{"id": cty.StringVal(alisim.DefaultAccountID)}),
	})})
	made := newRAMState()
	for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
		switch block.Type {
		case "locals":
			e.locals(t, block.Body)
		case "resource":
			made.add(t, e, block)
		}
	}
	return made
}

// locals makes local values known; each may speak of those above it.
func (e *terraformEvaluation) locals(t *testing.T, body *hclsyntax.Body) {
	t.Helper()
	values := map[string]cty.Value{}
	attributes := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, attribute := range body.Attributes {
		attributes = append(attributes, attribute)
	}
	slices.SortFunc(attributes, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Line - b.SrcRange.Start.Line })
	for _, attribute := range attributes {
		e.context.Variables["local"] = cty.ObjectVal(values)
		value, diagnostics := attribute.Expr.Value(e.context)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		values[attribute.Name] = value
	}
	e.context.Variables["local"] = cty.ObjectVal(values)
}

// add is what the provider would create for a resource.
func (s *ramState) add(t *testing.T, e *terraformEvaluation, block *hclsyntax.Block) {
	t.Helper()
	kind, name := block.Labels[0], block.Labels[1]
	schema, known := alicloudSchemas[kind]
	if !known {
		t.Fatalf("%s %s: not among the known resources of the provider", kind, name)
	}
	values := e.checked(t, block, schema)
	text := func(attribute string) string { return fmt.Sprint(values[attribute]) }
	switch kind {
	case "alicloud_ram_user":
		s.users[text("name")] = text("comments")
	case "alicloud_ram_role":
		s.roles[text("role_name")] = text("max_session_duration") + " " + canonicalJSON(t, text("assume_role_policy_document"))
	case "alicloud_ram_policy":
		s.policies[text("policy_name")] = canonicalJSON(t, text("policy_document"))
	default:
		holder := strings.TrimSuffix(strings.TrimPrefix(kind, "alicloud_ram_"), "_policy_attachment")
		s.attached = append(s.attached, holder+" "+text(holder+"_name")+" "+text("policy_type")+" "+text("policy_name"))
	}
	e.remember(kind, name, values)
}
