package alisim

import (
	"fmt"
	"testing"
)

func TestControlOfSources(t *testing.T) {
	t.Parallel()
	seed := SourcesSeed()
	seed.Sources.CloudSSO.ManualApproval = true
	c := start(t, Options{Seed: seed})
	post := func(path, body string, status int) result {
		t.Helper()
		out := c.ask("POST", c.ControlURL+path, body)
		if out.status != status {
			t.Fatalf("%s %s: %d %v", path, body, out.status, out.body)
		}
		return out
	}
	post("/sources", `{"instance": {"role_arn": "`+DefaultNodeRoleARN+`", "http_tokens": "required"}}`, 204)
	if out := c.ask("GET", c.IMDSURL+keysPath, ""); out.status != 403 {
		t.Errorf("%d %v", out.status, out.body)
	}
	if got := c.Sources(); len(got.CredentialsURIs) != 1 || len(got.OAuth.Grants) != 1 {
		t.Errorf("what was not named has changed: %v", got)
	}
	post("/sources", `{"credentials_uris": [{"path": "/a", "role_arn": "`+DefaultLocalRoleARN+`"}],
		"cloud_sso": {"manual_approval": true}, "oauth": {"pascal_case": true}}`, 204)
	if out := c.ask("GET", c.CredentialsURL+"/a", ""); out.status != 200 {
		t.Errorf("%d %v", out.status, out.body)
	}
	post("/sources", `{"instance": {"role": "node"}}`, 400)
	post("/sources", `{"instance": {"http_tokens": "maybe"}}`, 400)

	token := post("/issuers/alisim/token", `{"subject": "system:serviceaccount:default:x"}`, 200).text("token")
	if out := c.withOIDC(token, nil); out.status != 200 || out.text("OIDCTokenInfo.Subject") != "system:serviceaccount:default:x" {
		t.Errorf("%d %v", out.status, out.body)
	}
	post("/issuers/alisim/token", `{"defect": "ugly"}`, 400)
	post("/issuers/ALISIM/token", `{}`, 400)
	post("/issuers/alisim/rotate", `{"keep_old": false}`, 204)
	post("/issuers/alisim/trust", `{"untrusted": true}`, 204)
	fresh := post("/issuers/alisim/token", `{}`, 200).text("token")
	if out := c.withOIDC(fresh, nil); out.code() != "AuthenticationFail.OIDCToken.HttpsUrlInvalid" {
		t.Errorf("%d %v", out.status, out.body)
	}
	device := c.sso(ssoOrigin, "/device-authorization", "", params{
		"PortalUrl": ssoOrigin, "ClientId": "a", "CodeChallenge": "b", "CodeChallengeMethod": "S256",
	})
	post("/devices/approve", fmt.Sprintf(`{"user_code": %q}`, device.text("UserCode")), 204)
	post("/devices/approve", `{"user_code": "none"}`, 400)

	health := c.ask("GET", c.ControlURL+"/health", "")
	if health.text("imds_url") != c.IMDSURL || health.text("credentials_url") != c.CredentialsURL {
		t.Errorf("%v", health.body)
	}
}
