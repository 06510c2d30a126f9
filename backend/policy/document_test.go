package policy_test

import (
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

func TestCheckRefusesWhatRAMRefuses(t *testing.T) {
	t.Parallel()
	const begin, end = `{"Version":"1","Statement":[{"Action":"`, `"}]}`
	filled := func(characters int) string {
		return begin + strings.Repeat("策", characters-len(begin)-len(end)) + end
	}
	for name, tc := range map[string]struct{ document, refusal string }{
		"a document":                  {`{"Version":"1","Statement":[]}`, ""},
		"more members than RAM knows": {`{"Version":"1","Statement":[],"n":1e999}`, ""},
		"a template":                  {`{"Version":"1","Statement":["home/{{identity.entity.name}}/*"]}`, ""},
		"the braces of JSON":          {`{"Version":"1","Statement":{"a":{"b":{"c":{}}}}}`, ""},
		"all characters it may have":  {filled(policy.MaxSession), ""},
		"one character more":          {filled(policy.MaxSession + 1), "has 2049 characters without white space; the limit is 2048"},
		"white space beyond that":     {" " + filled(policy.MaxSession) + "\n", ""},
		"nothing":                     {"", "must be a JSON object, a RAM policy document: invalid JSON at byte 0"},
		"no JSON":                     {`{"Version":"1",}`, "must be a JSON object, a RAM policy document: invalid JSON at byte 16"},
		"a comma too many":            {"{\n  \"Version\": \"1\",\n  \"Statement\": [1, ]\n}", "(line 3, column 20): there is a comma too many before the ]"},
		"a comma missing":             {`{"Version":"1" "Statement":[]}`, "invalid JSON at byte 16 (line 1, column 16): a comma is missing before it"},
		"single quotes":               {`{'Version':'1'}`, `(line 1, column 2): a string begins with ", not with '`},
		"quotes that the shell took":  {`{Version:1}`, `(line 1, column 2): a name stands in ", which a shell may have taken away`},
		"an end missing":              {`{"Version":"1"`, "it ends too early"},
		"a list":                      {`[]`, "must be a JSON object, a RAM policy document: found a JSON array at byte 1"},
		"a number":                    {`1e999`, "must be a JSON object, a RAM policy document: found a JSON number at byte 5"},
		"null":                        {`null`, `must have "Version":"1"`},
		"two documents":               {`{"Version":"1","Statement":[]}{}`, "must be a JSON object, a RAM policy document: invalid JSON at byte 31"},
		"no version":                  {`{"Statement":[]}`, `must have "Version":"1"`},
		"the version of AWS":          {`{"Version":"2012-10-17","Statement":[]}`, `must have "Version":"1"`},
		"a version that is no text":   {`{"Version":1,"Statement":[]}`, `must have "Version":"1"`},
		"a version in small letters":  {`{"version":"1","Statement":[]}`, `must have "Version":"1"`},
		"no statement":                {`{"Version":"1"}`, `must have a "Statement"`},
		"a statement in small":        {`{"Version":"1","statement":[]}`, `must have a "Statement"`},
		"a broken template":           {`{"Version":"1","Statement":[{"Resource":"home/{{identity.entity.name/*"}]}`, "has an identity template that is not well-formed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, policy.Check(tc.document, policy.MaxSession), tc.refusal)
		})
	}
}

func TestDocumentsTakesAListApart(t *testing.T) {
	t.Parallel()
	documents, err := policy.Documents(`[{"Version": "1"}, 5]`)
	if err != nil || len(documents) != 2 || string(documents[0]) != `{"Version": "1"}` || string(documents[1]) != "5" {
		t.Errorf("%s (%v)", documents, err)
	}
	for list, refusal := range map[string]string{
		"":    "must be a JSON list of policy documents, such as",
		"{":   "invalid JSON at byte 1",
		"{}":  "found a JSON object at byte 1",
		`"x"`: "found a JSON string at byte 3",
	} {
		_, err := policy.Documents(list)
		refused(t, err, refusal)
	}
}

// refused wants an error that says so, and none without a text.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		t.Errorf("got %v, want %q", err, text)
	}
}
