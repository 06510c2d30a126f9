package alicreds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// printed is v by every verb and encoder, by itself and where methods of
// the inside are out of fmt's reach.
func printed(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	for _, format := range []string{"%v\n", "%+v\n", "%#v\n", "%s\n", "%q\n", "%x\n", "%d\n"} {
		fmt.Fprintf(&out, format, v)
		fmt.Fprintf(&out, format, &v)
		fmt.Fprintf(&out, format, struct{ V any }{v})
		fmt.Fprintf(&out, format, struct{ v any }{v})
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	return out.String()
}

func mustNotPrint(t *testing.T, v any, secrets ...string) {
	t.Helper()
	text := printed(t, v)
	for _, secret := range secrets {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%T prints %q:\n%s", v, secret, text)
		}
	}
}

const (
	fakeID     = "LTAI5tFAKEFAKEFAKE"
	fakeSecret = "fake-secret-value"
	fakeToken  = "fake-token-value"
)

func accessKey(t *testing.T) alicreds.AccessKey {
	t.Helper()
	p, err := alicreds.NewAccessKey(fakeID, fakeSecret)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCredentialsNeverPrint(t *testing.T) {
	t.Parallel()
	c := alicreds.Credentials{
		AccessKeyID: fakeID, AccessKeySecret: fakeSecret, SecurityToken: fakeToken,
		Source: "sts", Expiration: time.Unix(1e9, 0),
	}
	// An unexported field of a foreign struct is out of reach of any method.
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{c, &c, struct{ C alicreds.Credentials }{c}, []alicreds.Credentials{c}} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, fakeSecret) || strings.Contains(text, fakeToken) || strings.Contains(text, fakeID) {
				t.Errorf("%s prints %s", format, text)
			}
		}
	}
	if got, want := c.String(), "Credentials(Keys(LTAI****, temporary) from sts until 2001-09-09T01:46:40Z)"; got != want {
		t.Errorf("String = %s, want %s", got, want)
	}
	encoded, err := json.Marshal(map[string]any{"c": c})
	if err != nil || strings.Contains(string(encoded), fakeSecret) || strings.Contains(string(encoded), fakeToken) {
		t.Errorf("MarshalJSON = %s, %v", encoded, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "c", c)
	if strings.Contains(log.String(), fakeSecret) || strings.Contains(log.String(), fakeToken) {
		t.Errorf("logged %s", log.String())
	}
	if text := fmt.Sprint(alicreds.Credentials{BearerToken: "fake-bearer"}); strings.Contains(text, "fake-bearer") {
		t.Errorf("printed %s", text)
	}
}

func TestProvidersNeverPrint(t *testing.T) {
	t.Parallel()
	source := accessKey(t)
	mustNotPrint(t, source, fakeID, fakeSecret)
	sts, err := alicreds.NewSTS(fakeID, fakeSecret, fakeToken)
	if err != nil {
		t.Fatal(err)
	}
	mustNotPrint(t, sts, fakeID, fakeSecret, fakeToken)
	role, err := alicreds.NewRAMRoleARN(sts, alicreds.RAMRoleARNOptions{
		RoleARN: "acs:ram::1234567890123456:role/deploy", ExternalID: "fake-external-id", Policy: `{"hidden":"policy"}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	mustNotPrint(t, role, fakeID, fakeSecret, fakeToken, "fake-external-id", "hidden")
	cache := alicreds.NewCache(source, alicreds.CacheOptions{})
	if _, err := cache.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	cache.Close()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(format, cache); text != "Cache" {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestGivenKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		make func() (alicreds.Provider, error)
		want string
	}{
		"access_key without id":     {func() (alicreds.Provider, error) { return alicreds.NewAccessKey("", "s") }, "access_key: the AccessKey id is empty"},
		"access_key without secret": {func() (alicreds.Provider, error) { return alicreds.NewAccessKey("i", "") }, "access_key: the AccessKey secret is empty"},
		"sts without id":            {func() (alicreds.Provider, error) { return alicreds.NewSTS("", "s", "t") }, "sts: the AccessKey id is empty"},
		"sts without secret":        {func() (alicreds.Provider, error) { return alicreds.NewSTS("i", "", "t") }, "sts: the AccessKey secret is empty"},
		"sts without token":         {func() (alicreds.Provider, error) { return alicreds.NewSTS("i", "s", "") }, "sts: the security token is empty"},
	} {
		if _, err := tc.make(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	p, err := alicreds.NewSTS("i", "s", "t")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Retrieve(context.Background())
	if want := (alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "t", Source: "sts"}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}
