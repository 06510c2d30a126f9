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
