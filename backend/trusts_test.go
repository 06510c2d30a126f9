package backend

import (
	"fmt"
	"strings"
	"testing"
)

func TestTrusts(t *testing.T) {
	t.Parallel()
	const account, us = "1", "acs:ram::1:user/vault"
	allow := func(action, principal, more string) string {
		return fmt.Sprintf(`{"Effect":"Allow","Action":%s,"Principal":%s%s}`, action, principal, more)
	}
	const assume, named = `"sts:AssumeRole"`, `{"RAM":"acs:ram::1:user/vault"}`
	for n, tc := range []struct{ statements, want string }{
		{allow(assume, named, ""), checkYes},
		{allow(`["sts:AssumeRole"]`, `{"RAM":["acs:ram::1:root"]}`, ""), checkYes},
		{allow(`"sts:*"`, named, ""), checkYes},
		{allow(assume, `{"RAM":"acs:ram::2:root"}`, ""), checkNo},
		{allow(assume, `{"Service":"ecs.aliyuncs.com"}`, ""), checkNo},
		{allow(`"sts:GetCallerIdentity"`, named, ""), checkNo},
		{allow(assume, named, `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`), checkUnknown},
		{allow(assume, `{"RAM":"acs:ram::2:root"}`, `,"Condition":{"Bool":{"x":"y"}}`), checkNo},
		{allow(assume, `{"RAM":"acs:ram::*:root"}`, ""), checkUnknown},
		{allow(assume, `{"RAM":"acs:ram::1:user/Vault"}`, ""), checkUnknown},
		{allow(assume, `"*"`, ""), checkUnknown},
		{allow(`"sts:*Role"`, named, ""), checkUnknown},
		{allow(assume, named, `,"NotResource":"x"`), checkUnknown},
		{allow(assume, named, "") + "," + strings.Replace(allow(assume, named, ""), "Allow", "Deny", 1), checkNo},
		{allow(assume, named, "") + "," + strings.Replace(allow(assume, named, `,"Condition":{"a":1}`), "Allow", "Deny", 1), checkUnknown},
		{allow(assume, named, "") + "," + strings.Replace(allow(assume, `{"RAM":"acs:ram::1:user/bob"}`, ""), "Allow", "Deny", 1), checkYes},
		{"", checkNo},
		{"{", checkUnknown},
	} {
		if got := trusts(`{"Version":"1","Statement":[`+tc.statements+`]}`, us, account); got != tc.want {
			t.Errorf("%d: %s: got %s, want %s", n, tc.statements, got, tc.want)
		}
	}
}
