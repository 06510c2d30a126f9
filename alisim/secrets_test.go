package alisim

import (
	"slices"
	"testing"
)

func TestSecrets(t *testing.T) {
	c := start(t, Options{NoListen: true})
	if got := c.Secrets(); !slices.Equal(got, []string{DefaultAccessKeySecret}) {
		t.Errorf("at the start: %q", got)
	}
	c.must(vaultKeys, "CreateUser", params{"UserName": "u"})
	key := c.must(vaultKeys, "CreateAccessKey", params{"UserName": "u"})
	c.must(vaultKeys, "DeleteAccessKey", params{"UserName": "u", "UserAccessKeyId": key.text("AccessKey.AccessKeyId")})
	session := c.must(vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "session"}).keys()

	got := c.Secrets()
	for _, secret := range []string{key.text("AccessKey.AccessKeySecret"), session.secret, session.token} {
		if secret == "" || !slices.Contains(got, secret) {
			t.Errorf("%q is not among %q", secret, got)
		}
	}
	c.Reset()
	if got := c.Secrets(); !slices.Equal(got, []string{DefaultAccessKeySecret}) {
		t.Errorf("after Reset: %q", got)
	}
}

// TestHeadersOfV3BesideV1 sends what alibaba-cloud-sdk-go sends: a V1 signature and the headers of V3.
func TestHeadersOfV3BesideV1(t *testing.T) {
	c := start(t, Options{NoListen: true})
	r := v1(t.Context(), "GET", vaultKeys, "GetCallerIdentity", nil, nil)
	r.Header.Set("x-acs-action", "GetCallerIdentity")
	r.Header.Set("x-acs-version", stsVersion)
	if out := send(t, c.client, r); out.status != 200 {
		t.Errorf("%d %v", out.status, out.body)
	}
}
