package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

func TestEndingAt(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct{ document, want, err string }{
		"none": {"", `{"Statement":[{"Action":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"Allow","Resource":"*"}],"Version":"1"}`, ""},
		"one statement, not in a list": {
			`{"Version":"1","Statement":{"Effect":"Allow","Action":"a:<b>","Resource":"*"}}`,
			`{"Statement":[{"Action":"a:<b>","Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"Allow","Resource":"*"}],"Version":"1"}`, "",
		},
		"another condition": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.1"}}}]}`,
			`{"Statement":[{"Action":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"},"IpAddress":{"acs:SourceIp":"10.0.0.1"}},"Effect":"Allow","Resource":"*"}],"Version":"1"}`, "",
		},
		"a time of its own": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"2025-01-01T00:00:00Z"}}}]}`,
			`{"Statement":[{"Action":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"2025-01-01T00:00:00Z"},"DateLessThanEquals":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"Allow","Resource":"*"}],"Version":"1"}`, "",
		},
		"two times of its own": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"x"},"DateLessThanEquals":{"acs:CurrentTime":"x"}}}]}`,
			"", "leaves none for expire_with_lease",
		},
		"no object":                  {`[]`, "", "is not an object"},
		"an effect that is neither":  {`{"Version":"1","Statement":[{"Effect":["Allow"],"Action":"*","Resource":"*"}]}`, "", "Effect"},
		"an effect in small letters": {`{"Version":"1","Statement":[{"effect":"Allow","Action":"*","Resource":"*"}]}`, "", "Effect"},
		"statements in small letters beside": {
			`{"Version":"1","Statement":[],"statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, "", "statement",
		},
		"conditions in small letters beside": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","condition":{"DateLessThan":{"acs:CurrentTime":"2099-01-01T00:00:00Z"}}}]}`, "", "condition",
		},
		"a time of its own, spelled otherwise": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"dateLessThan":{"ACS:currenttime":"2099-01-01T00:00:00Z"}}}]}`,
			`{"Statement":[{"Action":"*","Condition":{"DateLessThanEquals":{"acs:CurrentTime":"2026-01-02T03:04:05Z"},"dateLessThan":{"ACS:currenttime":"2099-01-01T00:00:00Z"}},"Effect":"Allow","Resource":"*"}],"Version":"1"}`, "",
		},
		"what is not allowed, and what else is": {
			`{"Version":"1","Statement":[{"Effect":"Allow","NotAction":"ram:*","NotResource":"acs:oss:*"},{"Effect":"Deny","Action":"*","Resource":"*"}]}`,
			`{"Statement":[{"Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"Allow","NotAction":"ram:*","NotResource":"acs:oss:*"},{"Action":"*","Effect":"Deny","Resource":"*"}],"Version":"1"}`, "",
		},
		"every Allow": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"a:b"},{"Effect":"allow","Action":"c:d"}]}`,
			`{"Statement":[{"Action":"a:b","Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"Allow"},` +
				`{"Action":"c:d","Condition":{"DateLessThan":{"acs:CurrentTime":"2026-01-02T03:04:05Z"}},"Effect":"allow"}],"Version":"1"}`, "",
		},
		"a condition twice": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Condition":{"DateLessThan":{},"dateLessThan":{}}}]}`, "", "statement 0 of the session policy has the condition DateLessThan twice",
		},
		"a condition that is no object": {
			`{"Version":"1","Statement":[{"Effect":"Allow","Condition":{"DateLessThan":"x"}}]}`, "", "has a condition DateLessThan that is not an object",
		},
		"conditions that are no object": {`{"Version":"1","Statement":[{"Effect":"Allow","Condition":[]}]}`, "", "has a Condition that is not an object"},
		"a statement that is no object": {`{"Version":"1","Statement":[{"Effect":"Deny"},"x"]}`, "", "statement 1 of the session policy is not an object"},
		"too long":                      {`{"Version":"1","Statement":[{"Effect":"Allow","Action":"` + strings.Repeat("a", 1950) + `","Resource":"*"}]}`, "", "the limit is 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := policy.EndingAt(tc.document, end)
			refused(t, err, tc.err)
			if err == nil && got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
