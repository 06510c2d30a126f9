package alicreds_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	const id, secret, token = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"
	for name, tc := range map[string]struct {
		env         []string
		want        alicreds.Credentials
		fails       string
		unavailable bool
	}{
		"nothing":     {nil, alicreds.Credentials{}, id, true},
		"token only":  {[]string{token, "t"}, alicreds.Credentials{}, id, true},
		"id only":     {[]string{id, "i"}, alicreds.Credentials{}, secret, false},
		"secret only": {[]string{secret, "fake-secret"}, alicreds.Credentials{}, id, false},
		"both":        {[]string{id, "i", secret, "s"}, alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", Source: "env"}, "", false},
		"all":         {[]string{id, "i", secret, "s", token, "t"}, alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "t", Source: "env"}, "", false},
	} {
		got, err := alicreds.NewEnvironment(environment(tc.env...)).Retrieve(t.Context())
		if got != tc.want || (err != nil) != (tc.fails != "") || errors.Is(err, alicreds.ErrUnavailable) != tc.unavailable {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.fails+" is empty") || strings.Contains(err.Error(), "fake-secret")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvironmentIsReadEachTime(t *testing.T) {
	for _, id := range []string{"one", "two"} {
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")
		if got, err := alicreds.NewEnvironment(nil).Retrieve(t.Context()); err != nil || got.AccessKeyID != id {
			t.Errorf("got %s, %v", got.AccessKeyID, err)
		}
	}
}
