package policy_test

import (
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// What RAM's grammar does not have is doubted, and nothing else.
func TestDoubt(t *testing.T) {
	t.Parallel()
	for statements, want := range map[string]string{
		`[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]`:                                   "",
		`{"Effect":"Deny","NotAction":["oss:*"],"NotResource":"*","Condition":{}}`:               "",
		`[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1:root"]}}]`: "",
		`[]`:  "",
		`"x"`: "number 1, that is not an object",
		`[{"Effect":"allow","Action":"oss:*","Resource":"*"}]`:                                  `"Effect":"Allow"`,
		`[{"Action":"oss:*","Resource":"*"}]`:                                                   `"Effect":"Allow"`,
		`[{"Effect":"Allow","Action":"a:*","Resource":"*"},{"Effect":"Allow","Actions":"a:*"}]`: `number 2, that has the key "Actions": the keys are Effect, Action,`,
		`[{"Effect":"Allow","Resource":"*"}]`:                                                   "has neither Action nor NotAction",
		`[{"effect":"Allow","Action":"a:*","Resource":"*"}]`:                                    `has the key "effect"`,
	} {
		got := policy.Doubt(`{"Version":"1","Statement":` + statements + `}`)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", statements, got, want)
		}
	}
}
