package alicreds_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const identityJSON = `{"IdentityType":"RAMUser","AccountId":"1234567890123456","PrincipalId":"288","UserId":"288",` +
	`"Arn":"acs:ram::1234567890123456:user/vault","RequestId":"6894B13B-0000-5000-8000-000000000000"}`

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	keys := openapi.Keys{AccessKeyID: "i", AccessKeySecret: "s"}
	d := newDesk(t, answers(200, identityJSON))
	got, err := alicreds.CallerIdentity(t.Context(), keys, d.sts(t))
	want := alicreds.Identity{
		AccountID: "1234567890123456", ARN: "acs:ram::1234567890123456:user/vault", IdentityType: "RAMUser", PrincipalID: "288", UserID: "288",
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if r := d.only(t); r.Header.Get("x-acs-action") != "GetCallerIdentity" || len(r.Form) != 0 {
		t.Errorf("sent %s %v", r.Header.Get("x-acs-action"), r.Form)
	}
	for name, body := range malformed(t, identityJSON, "AccountId", "Arn") {
		d := newDesk(t, answers(200, body))
		if got, err := alicreds.CallerIdentity(t.Context(), keys, d.sts(t)); err == nil || got != (alicreds.Identity{}) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for name, body := range map[string]string{
		"type is a number":          strings.Replace(identityJSON, `"RAMUser"`, "7", 1),
		"principal is a number":     strings.Replace(identityJSON, `"PrincipalId":"288"`, `"PrincipalId":288`, 1),
		"principal is no text":      strings.Replace(identityJSON, `"PrincipalId":"288"`, `"PrincipalId":{}`, 1),
		"the whole is not answered": `{"RequestId":"6894B13B-0000-5000-8000-000000000000"}`,
	} {
		d := newDesk(t, answers(200, body))
		if got, err := alicreds.CallerIdentity(t.Context(), keys, d.sts(t)); err == nil || got != (alicreds.Identity{}) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	refusing := newDesk(t, answers(404, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"InvalidAccessKeyId.NotFound","Message":"Specified access key is not found."}`))
	var refused *openapi.Error
	if _, err := alicreds.CallerIdentity(t.Context(), keys, alicreds.STSOptions{Endpoint: refusing.URL}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "GetCallerIdentity: InvalidAccessKeyId.NotFound") {
		t.Errorf("got %v", err)
	}
	if _, err := alicreds.CallerIdentity(t.Context(), openapi.Keys{}, alicreds.STSOptions{}); err == nil {
		t.Error("without keys")
	}
	if _, err := alicreds.CallerIdentity(t.Context(), keys, alicreds.STSOptions{Endpoint: "ftp://x"}); err == nil {
		t.Error("with a bad endpoint")
	}
}

// The answers of 2016 have neither IdentityType nor PrincipalId.
func TestCallerIdentityOfOldAnswers(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]string{
		"user/abcdef": "RAMUser", "assumed-role/deploy/ci": "AssumedRoleUser", "root": "Account", "federated/x": "", "user/a:root": "RAMUser",
	} {
		arn := "acs:ram::1000000000000001:" + resource
		d := newDesk(t, answers(200, `{"AccountId":"1000000000000001","Arn":"`+arn+`","RequestId":"6894B13B-0000-5000-8000-000000000000","UserId":"200000000000000002"}`))
		got, err := alicreds.CallerIdentity(t.Context(), openapi.Keys{AccessKeyID: "i", AccessKeySecret: "s"}, d.sts(t))
		if err != nil || got != (alicreds.Identity{AccountID: "1000000000000001", ARN: arn, UserID: "200000000000000002", IdentityType: want}) {
			t.Errorf("%s: got %+v, %v, want %q", arn, got, err, want)
		}
	}
}
