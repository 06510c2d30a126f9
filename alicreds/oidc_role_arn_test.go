package alicreds_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const providerARN = "acs:ram::1234567890123456:oidc-provider/ack-rrsa"

func jwt(payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256"}`)) + "." + enc([]byte(payload)) + "." + enc([]byte("fake-signature"))
}

// file writes a file of its own and returns the path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func oidc(t *testing.T, token alicreds.TokenSource, o alicreds.OIDCRoleARNOptions) alicreds.OIDCRoleARN {
	t.Helper()
	if o.RoleARN == "" {
		o.RoleARN, o.OIDCProviderARN = roleARN, providerARN
	}
	p, err := alicreds.NewOIDCRoleARN(token, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOIDCRoleARN(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, sessionJSON()))
	path := file(t, "\n "+jwt(`{"sub":"one"}`)+"\r\n")
	p := oidc(t, alicreds.TokenFile(path), alicreds.OIDCRoleARNOptions{
		RoleARN: roleARN, OIDCProviderARN: providerARN, RoleSessionName: "pod-1", Policy: `{"Version": "1"}`, Duration: 900 * time.Second, STSOptions: d.sts(t),
	})
	got, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != "oidc_role_arn" || got.SecurityToken != "fake-session-token" || got.RoleARN != roleARN || got.Expiration.IsZero() {
		t.Errorf("got %s, role %s", got, got.RoleARN)
	}
	r := d.only(t)
	for name, want := range map[string]string{
		"RoleArn": roleARN, "OIDCProviderArn": providerARN, "OIDCToken": jwt(`{"sub":"one"}`), "RoleSessionName": "pod-1",
		"DurationSeconds": "900", "Policy": `{"Version": "1"}`,
	} {
		if r.PostForm.Get(name) != want {
			t.Errorf("form %s = %q, want %q", name, r.PostForm.Get(name), want)
		}
		if r.URL.Query().Has(name) {
			t.Errorf("%s travels in the URL", name)
		}
	}
	if r.Method != "POST" || r.URL.Query().Get("Action") != "AssumeRoleWithOIDC" || r.Header.Get("Authorization") != "" || r.URL.Query().Has("Signature") {
		t.Errorf("sent %s %s", r.Method, r.URL)
	}
	if err := os.WriteFile(path, []byte(jwt(`{"sub":"two"}`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.requests[1].PostForm.Get("OIDCToken") != jwt(`{"sub":"two"}`) {
		t.Error("the file was not read again")
	}
}

// The field must not be a way to read another file.
func TestOIDCTokenIsSentOnlyIfItIsOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, sessionJSON()))
	options := alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, STSOptions: d.sts(t)}
	enc := base64.RawURLEncoding.EncodeToString
	for name, content := range map[string]string{
		"empty":             "",
		"text":              "root:x:0:0:hidden",
		"a key":             "-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----\n",
		"two parts":         strings.Join(strings.Split(jwt("{}"), ".")[:2], "."),
		"four parts":        jwt("{}") + ".e30",
		"an empty part":     "e30..e30",
		"padding":           "e30=.e30=.e30=",
		"standard base64":   "e30.+/+/.e30",
		"lines within":      "e30.e3\n0.e30",
		"header not JSON":   enc([]byte("{hidden")) + ".e30.e30",
		"header not object": enc([]byte(`"x"`)) + ".e30.e30",
		"dotted file":       "hidden.hidden.hidden",
		"too long":          jwt(strings.Repeat("x", 20000)),
		"far too long":      strings.Repeat(" ", 50000) + jwt("{}"),
		"two tokens":        jwt("{}") + "\n" + jwt("{}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, content)
			_, err := oidc(t, alicreds.TokenFile(path), options).Retrieve(t.Context())
			if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hidden") || errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("from a file: %v", err)
			}
			_, err = oidc(t, tokenFunc(func() (string, error) { return content, nil }), options).Retrieve(t.Context())
			if name != "far too long" && (err == nil || strings.Contains(err.Error(), "hidden")) {
				t.Errorf("from another source: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		for _, r := range d.requests {
			if token := r.PostForm.Get("OIDCToken"); token != jwt("{}") {
				t.Errorf("sent %.30q", token)
			}
		}
	})
}

type tokenFunc func() (string, error)

func (f tokenFunc) Token(context.Context) (string, error) { return f() }

func TestOIDCTokenFileCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "absent"), t.TempDir(), os.DevNull} {
		_, err := oidc(t, alicreds.TokenFile(path), alicreds.OIDCRoleARNOptions{}).Retrieve(t.Context())
		if err == nil || !strings.Contains(err.Error(), path) || errors.Is(err, alicreds.ErrUnavailable) {
			t.Errorf("%s: %v", path, err)
		}
	}
	_, err := oidc(t, tokenFunc(func() (string, error) {
		return "", fmt.Errorf("%w: no token today", alicreds.ErrUnavailable)
	}), alicreds.OIDCRoleARNOptions{}).Retrieve(t.Context())
	if err == nil || errors.Is(err, alicreds.ErrUnavailable) || !strings.Contains(err.Error(), "no token today") {
		t.Errorf("a source without token: %v", err)
	}
}

func TestOIDCRoleARNChecks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*alicreds.OIDCRoleARNOptions)
		want   string
	}{
		"no provider":      {func(o *alicreds.OIDCRoleARNOptions) { o.OIDCProviderARN = "" }, "the OIDC provider ARN is empty"},
		"another provider": {func(o *alicreds.OIDCRoleARNOptions) { o.OIDCProviderARN = roleARN }, "does not look like"},
		"no role":          {func(o *alicreds.OIDCRoleARNOptions) { o.RoleARN = "" }, "the role ARN is empty"},
		"duration 100":     {func(o *alicreds.OIDCRoleARNOptions) { o.Duration = 100 * time.Second }, "between 900 and 43200"},
		"session name":     {func(o *alicreds.OIDCRoleARNOptions) { o.RoleSessionName = "a b" }, "2 to 64"},
		"policy":           {func(o *alicreds.OIDCRoleARNOptions) { o.Policy = "x" }, "not a JSON object"},
		"endpoint":         {func(o *alicreds.OIDCRoleARNOptions) { o.Endpoint = "http://sts.example" }, "https"},
	} {
		o := alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN}
		tc.change(&o)
		if _, err := alicreds.NewOIDCRoleARN(alicreds.TokenFile("x"), o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	for _, token := range []alicreds.TokenSource{nil, alicreds.TokenFile("")} {
		if _, err := alicreds.NewOIDCRoleARN(token, alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN}); err == nil {
			t.Errorf("accepts the token source %v", token)
		}
	}
	if _, err := (alicreds.OIDCRoleARN{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
}

func TestOIDCRoleARNMalformedReplies(t *testing.T) {
	t.Parallel()
	path := file(t, jwt("{}"))
	bad := malformed(t, sessionJSON(), "Credentials", "Credentials.AccessKeyId", "Credentials.AccessKeySecret", "Credentials.SecurityToken", "Credentials.Expiration")
	bad["null"], bad["not JSON"], bad["empty Credentials"] = "null", "<html>", `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{}}`
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answers(200, body))
			got, err := oidc(t, alicreds.TokenFile(path), alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, STSOptions: d.sts(t)}).Retrieve(t.Context())
			if err == nil || got != (alicreds.Credentials{}) || strings.Contains(err.Error(), "fake-session") {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestOIDCRoleARNRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(401, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"AuthenticationFail.OIDCToken.Expired","RequestId":"6894B13B-0000-5000-8000-000000000000","Message":"This JsonWebToken is expired."}`))
	_, err := oidc(t, alicreds.TokenFile(file(t, jwt("{}"))), alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, STSOptions: d.sts(t)}).Retrieve(t.Context())
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Code != "AuthenticationFail.OIDCToken.Expired" || errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestTokenFileHalfWritten: a file that somebody is writing is read again until
// it is whole; one that stays as it is gives its error at once.
func TestTokenFileHalfWritten(t *testing.T) {
	t.Parallel()
	whole := jwt(`{"sub":"system:serviceaccount:a:b","padding":"` + strings.Repeat("x", 200) + `"}`)
	for name, half := range map[string]string{"empty": "", "half": whole[:len(whole)/2], "a little less": whole[:len(whole)-9]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				token, err := alicreds.TokenFile(fileInTheMaking(t, half, whole)).Token(t.Context())
				if err != nil || token != whole {
					t.Errorf("got %d of %d characters, %v", len(token), len(whole), err)
				}
			})
		})
	}
	path := file(t, "")
	then := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	_, err := alicreds.TokenFile(path).Token(t.Context())
	wantError(t, err, path, "the OIDC token is empty")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := alicreds.TokenFile(file(t, "")).Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after the caller has left", err)
	}
}
