package policy_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

func TestIdentityTemplates(t *testing.T) {
	t.Parallel()
	const name = "{{identity.entity.name}}"
	long := strings.Repeat("é", 128)
	for what, tc := range map[string]struct{ text, entity, want, refusal string }{
		"no template":                {"a*b", "", "a*b", ""},
		"a name":                     {"home/" + name + "/*", "alice@example.com", "home/alice@example.com/*", ""},
		"a name of other letters":    {name, "Алиса 部署", "Алиса 部署", ""},
		"two templates":              {name + "/{{identity.entity.id}}", "alice", "alice/id", ""},
		"all characters it may have": {name, long, long, ""},
		"one character more":         {name, long + "é", "", "more than 128 characters"},
		"a wildcard":                 {name, "ali*ce", "", "characters other than"},
		"a quote":                    {name, `x","Resource":"*`, "", "characters other than"},
		"a variable":                 {name, "${acs:x}", "", "characters other than"},
		"a line":                     {name, "alice\nbob", "", "characters other than"},
		"no UTF-8":                   {name, "alice\xff", "", "characters other than"},
		"a value that is missing":    {"{{identity.entity.metadata.team}}", "alice", "", "for which the entity has no value"},
		"no entity":                  {name, "", "", "belongs to no entity"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var id string
			var system logical.StaticSystemView
			if tc.entity != "" {
				id, system.EntityVal = "id", &logical.Entity{ID: "id", Name: tc.entity}
			}
			got, err := policy.RenderText(tc.text, id, system)
			refused(t, err, tc.refusal)
			if err == nil && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if err != nil && tc.entity != "" && strings.Contains(err.Error(), tc.entity) {
				t.Errorf("the refusal quotes the value: %v", err)
			}
			// The same in a document.
			document, err := policy.Render(`{ "a": ["`+tc.text+`"] }`, policy.MaxDocument, id, system)
			refused(t, err, tc.refusal)
			if want := `{"a":["` + tc.want + `"]}`; err == nil && document != want {
				t.Errorf("got %s, want %s", document, want)
			}
		})
	}
}

func TestRenderKeepsTheDocument(t *testing.T) {
	t.Parallel()
	system := logical.StaticSystemView{EntityVal: &logical.Entity{ID: "id", Name: "alice"}}
	for name, tc := range map[string]struct{ document, want, refusal string }{
		"no document": {"", "", ""},
		"characters that JSON may escape, and numbers": {
			`{ "a": "{{identity.entity.name}}<&>", "n": 12345678901234567890 }`, `{"a":"alice<&>","n":12345678901234567890}`, "",
		},
		"a key that looks like a template": {`{"{{identity.entity.name}}": 1}`, `{"{{identity.entity.name}}":1}`, ""},
		"what fits":                        {`{"a":"{{identity.entity.name}}","b":"` + strings.Repeat("策", 21) + `"}`, `{"a":"alice","b":"` + strings.Repeat("策", 21) + `"}`, ""},
		"one character too many":           {`{"a":"{{identity.entity.name}}","b":"` + strings.Repeat("策", 22) + `"}`, "", "has 42 characters with its templates filled in; the limit is 41"},
		"no JSON":                          {`{`, "", "invalid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := policy.Render(tc.document, 41, "id", system)
			refused(t, err, tc.refusal)
			if err == nil && got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// countingVault counts the questions about entities.
type countingVault struct {
	logical.StaticSystemView
	asked int
}

func (v *countingVault) EntityInfo(id string) (*logical.Entity, error) {
	v.asked++
	return &logical.Entity{ID: id, Name: "alice"}, nil
}

func (v *countingVault) GroupsForEntity(string) ([]*logical.Group, error) {
	v.asked++
	return nil, nil
}

// A reader's own document may have as many templates as fit: Vault is not asked
// for each.
func TestVaultIsAskedOnceForADocument(t *testing.T) {
	t.Parallel()
	vault := &countingVault{}
	if _, err := policy.Render(`["`+strings.Repeat(`{{identity.entity.name}}`, 80)+`"]`, policy.MaxSession, "id", vault); err != nil {
		t.Fatal(err)
	}
	if vault.asked != 2 {
		t.Errorf("Vault was asked %d times about one entity, want 2: for it and for its groups", vault.asked)
	}
}

// Plain values that widen, by where they stand.
func TestValuesThatWiden(t *testing.T) {
	t.Parallel()
	const name = "{{identity.entity.name}}"
	resource := `{"Statement":[{"Effect":"Allow","Action":"oss:*","Resource":["acs:oss:*:*:home/` + name + `/*"]}]}`
	within := func(operator string) string {
		return `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"` + operator + `":{"acs:SourceIp":["` + name + `"]}}}]}`
	}
	for what, tc := range map[string]struct{ document, entity, refusal string }{
		"a name in a resource":               {resource, "alice@example.com", ""},
		"dots in a name":                     {resource, "alice.b", ""},
		"somebody else's home":               {resource, "bob/private", "outside of a condition"},
		"the way up":                         {resource, "..", "outside of a condition"},
		"this folder":                        {resource, ".", "outside of a condition"},
		"a slash":                            {resource, "/", "outside of a condition"},
		"another part of the ARN":            {resource, "x:y", "outside of a condition"},
		"a wildcard":                         {resource, "*", "characters other than"},
		"a wildcard of another script":       {resource, "ａ＊", "characters other than"},
		"a variable":                         {resource, "${acs:SourceIp}", "characters other than"},
		"an action":                          {`{"Statement":[{"Action":"` + name + `"}]}`, "oss:GetObject", "outside of a condition"},
		"an address":                         {within("IpAddress"), "10.1.2.3", ""},
		"an address of IPv6":                 {within("IpAddress"), "2001:db8::1", ""},
		"all addresses":                      {within("IpAddress"), "0.0.0.0/0", "not one IP address"},
		"all addresses of IPv6":              {within("IpAddress"), "::/0", "not one IP address"},
		"two addresses":                      {within("IpAddress"), "10.1.2.3,10.1.2.4", "not one IP address"},
		"a network that is excepted":         {within("NotIpAddress"), "10.0.0.0/8", "not one IP address"},
		"a network, spelled otherwise":       {within("ipaddress"), "10.0.0.0/8", "not one IP address"},
		"a service account in a condition":   {within("StringEquals"), "system:serviceaccount:ci/deploy", ""},
		"a wildcard in a condition":          {within("StringLike"), "*", "characters other than"},
		"what only looks like the condition": {strings.ReplaceAll(within("StringEquals"), "Condition", "Conditions"), "a/b", "outside of a condition"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Render(tc.document, policy.MaxDocument, "id", logical.StaticSystemView{EntityVal: &logical.Entity{ID: "id", Name: tc.entity}})
			refused(t, err, tc.refusal)
		})
	}
}

// What is written like a template is filled in, or refused where it is written.
func TestBracesAreFilledInOrRefused(t *testing.T) {
	t.Parallel()
	system := logical.StaticSystemView{EntityVal: &logical.Entity{ID: "id", Name: "alice"}}
	document := func(template string) string {
		return `{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"acs:oss:*:*:home/` + template + `/*"}]}`
	}
	for what, tc := range map[string]struct{ template, refusal string }{
		"as it is written":         {`{{identity.entity.name}}`, ""},
		"spaces inside":            {`{{  identity.entity.name }}`, ""},
		"braces as JSON escapes":   {`\u007b\u007bidentity.entity.name\u007d\u007d`, ""},
		"one brace as an escape":   {`{\u007Bidentity.entity.name}}`, ""},
		"over two lines":           {`{{\nidentity.entity.name\n}}`, "are no identity template"},
		"a tab":                    {`{{\tidentity.entity.name}}`, "are no identity template"},
		"a misspelling":            {`{{identity.entity.nam}}`, "are no identity template"},
		"another engine's":         {`{{username}}`, "are no identity template"},
		"nothing":                  {`{{}}`, "are no identity template"},
		"a space between braces":   {`{{identity.entity.name} }`, "not well-formed"},
		"a template in a template": {`{{identity.entity.{{identity.entity.name}}}}`, "not well-formed"},
		"an end alone":             {`identity.entity.name}}`, "not well-formed"},
		"an end as an escape":      {`identity.entity.name\u007d}`, "not well-formed"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			err := policy.Check(document(tc.template), policy.MaxDocument)
			refused(t, err, tc.refusal)
			if err != nil {
				return
			}
			got, err := policy.Render(document(tc.template), policy.MaxDocument, "id", system)
			if err != nil || !strings.Contains(got, `home/alice/*"`) {
				t.Errorf("sent: %s (%v)", got, err)
			}
		})
	}
	refused(t, policy.Check(`{"Version":"1","Statement":[{"Condition":{"StringEquals":{"acs:{{identity.entity.name}}":"x"}}}]}`, policy.MaxDocument), "in the name of a member")
	refused(t, policy.Check(`{"Version":"1","Statement":[{"\u007b{identity.entity.name}}":"x"}]}`, policy.MaxDocument), "in the name of a member")
	for text, refusal := range map[string]string{"plain": "", "{{identity.entity.name}}": "nothing fills them in", `\u007b\u007bidentity.entity.name}}`: "nothing fills them in"} {
		refused(t, policy.CheckNoTemplate(text), refusal)
	}
	for _, directive := range []string{
		"identity.entity.id", "identity.entity.metadata.cost center", "identity.entity.aliases.auth_oidc_1.name", "identity.entity.aliases.auth_oidc_1.metadata.team",
		"identity.entity.aliases.auth_oidc_1.custom_metadata.team", "identity.groups.ids.f9-1.name", "identity.groups.names.ops team.metadata.area", "time.now", "time.now.plus.1h",
	} {
		refused(t, policy.CheckIdentityTemplate("{{"+directive+"}}"), "")
	}
}
