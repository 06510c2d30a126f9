package alicreds_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// The tests of this file are named after defects that were found in Alibaba
// Cloud's own Credentials tools, and show that they are not here.

// Concurrent readers at the expiry make one call, and no data race.
func TestDefectD01(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	cache := alicreds.NewCache(c.role(t, alicreds.RAMRoleARNOptions{}), alicreds.CacheOptions{})
	defer cache.Close()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := cache.Retrieve(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := c.calls("AssumeRole"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// Replies that lack a field, and keys that are none, are errors and no panics.
func TestDefectD02(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"Code", "Expiration", "SecurityToken"} {
		if _, err := retrieveECS(t, strings.Replace(codedJSON(), missing, "X", 1)); err == nil {
			t.Errorf("a metadata reply without %s passes", missing)
		}
		if _, err := retrieveFrom(t, answers(200, strings.Replace(sessionJSON(), missing, "X", 1))); missing != "Code" && err == nil {
			t.Errorf("an STS reply without %s passes", missing)
		}
	}
	if _, err := alicreds.NewRSAKeyPair("i", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", alicreds.RSAKeyPairOptions{}); err == nil {
		t.Error("a malformed RSA key passes")
	}
}

// Valid keys are served while they cannot be renewed.
func TestDefectD03(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		retrieve(t, cache)
		source.breakWith(errBroken)
		time.Sleep(59 * time.Minute)
		if got := retrieve(t, cache); got != "A" {
			t.Errorf("got %s", got)
		}
	})
}

// A total failure pins nothing.
func TestDefectD04(t *testing.T) {
	t.Parallel()
	var id string
	chain, err := alicreds.Default(alicreds.DefaultOptions{
		Getenv: func(name string) string {
			return map[string]string{envID: id, envSecret: "s", envNoIMDS: "true", "HOME": os.DevNull, "USERPROFILE": os.DevNull}[name]
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Retrieve(t.Context()); err == nil {
		t.Fatal("no error")
	}
	id = "i"
	if got := get(t, chain); got.Source != "default/env" {
		t.Errorf("got %s", got)
	}
}

// A pod whose role is refused does not become its node.
func TestDefectD05(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	if err := c.AddFault(alisim.Fault{Action: "AssumeRoleWithOIDC", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403, Count: 1}); err != nil {
		t.Fatal(err)
	}
	oidcIssuer, err := c.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := oidcIssuer.Sign(alisim.IdentityToken{})
	if err != nil {
		t.Fatal(err)
	}
	metadata := patientMetadata(t, c.IMDSURL, false)
	chain, err := alicreds.Default(alicreds.DefaultOptions{
		Getenv:     environment(envFile, file(t, token), envProvider, alisim.DefaultOIDCProviderARN, envRole, alisim.DefaultPodRoleARN),
		STSOptions: c.sts, Metadata: metadata,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Retrieve(t.Context())
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Code != "NoPermission" || errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the refusal became %v", err)
	}
	if got := get(t, chain); got.Source != "default/oidc_role_arn" {
		t.Errorf("afterwards got %s", got)
	}
}

// IMDSv1 is asked when IMDSv2 answers with a token that is of no use.
func TestDefectD09(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.brokenV2 = 500
	get(t, i.provider(t, "EcsRole", false))
	if j := i.journal(); j != "PUT api/token, GET EcsRole v2, GET EcsRole" {
		t.Errorf("asked %s", j)
	}
}

// The metadata service is never asked through a proxy. net/http reads the
// environment once per process, so the test runs itself again; 0.0.0.0 is
// this machine and, unlike 127.0.0.1, goes through proxies.
func TestDefectD10(t *testing.T) {
	if os.Getenv("TEST_DEFECT_D10") != "" {
		metadata := patientMetadata(t, os.Getenv("TEST_DEFECT_D10"), false)
		p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
		if err != nil {
			t.Fatal(err)
		}
		get(t, p)
		return
	}
	i := newInstance(t)
	proxy := newDesk(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDefectD10$")
	again.Env = append(os.Environ(), "TEST_DEFECT_D10="+strings.Replace(i.URL, "127.0.0.1", "0.0.0.0", 1), "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL)
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if i.journal() == "" {
		t.Error("the metadata service was not asked")
	}
}

// The timeouts of rsa_key_pair are milliseconds, and there is always one.
func TestDefectD15(t *testing.T) {
	t.Parallel()
	hanging := newDesk(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := mustBuild(t, alicreds.Config{
		Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: file(t, pkcs8(rsaKey())), Host: hanging.URL, Timeout: 50, ConnectTimeout: 50,
	})
	began := time.Now()
	if _, err := p.Retrieve(t.Context()); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// A policy with spaces is signed as it is sent, an OIDC token stays out of
// the URL, and an RSA key pair signs with RSA.
func TestDefectD16(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	get(t, c.role(t, alicreds.RAMRoleARNOptions{Policy: `{ "Version": "1", "Statement": [ { "Effect": "Allow", "Action": "oss:*", "Resource": "acs:oss:*:*:a b~'()!*" } ] }`}))
	r := sentBy(t, alicreds.Config{Type: "oidc_role_arn", OIDCTokenFilePath: file(t, jwt("{}")), OIDCProviderARN: providerARN, RoleARN: roleARN})
	if unescaped, err := url.QueryUnescape(r.URL.RawQuery); err != nil || strings.Contains(unescaped, jwt("{}")) {
		t.Error("the token travels in the URL")
	}
	r = sentBy(t, alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: file(t, pkcs8(rsaKey()))})
	if err := verifyRSA(r, &rsaKey().PublicKey); err != nil {
		t.Error(err)
	}
}

// White space around an OIDC token is not sent.
func TestDefectD21(t *testing.T) {
	t.Parallel()
	r := sentBy(t, alicreds.Config{
		Type: "oidc_role_arn", OIDCTokenFilePath: file(t, "\t"+jwt("{}")+"\r\n\n"), OIDCProviderARN: providerARN, RoleARN: roleARN,
	})
	if got := r.PostForm.Get("OIDCToken"); got != jwt("{}") {
		t.Errorf("sent %q", got)
	}
}

// The expiry is in the result, a context ends the wait, failures are
// retried, and the metadata service can be elsewhere.
func TestDefectD22(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	if err := c.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultThrottle, Count: 2, Delay: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c.role(t, alicreds.RAMRoleARNOptions{})); got.Expiration.IsZero() {
		t.Error("no expiry")
	}
	if err := c.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultHold, Count: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.role(t, alicreds.RAMRoleARNOptions{}).Retrieve(ctx)
		ended <- err
	}()
	if _, err := c.WaitFor(t.Context(), func(call alisim.Call) bool { return call.Held }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after the cancellation: %v", err)
	}
	c.Release()
	if _, err := alicreds.NewMetadata(alicreds.MetadataOptions{Endpoint: c.IMDSURL}); err != nil {
		t.Error(err)
	}
	if text := fmt.Sprintf("%+v", c.sts.Client); strings.Contains(text, alisim.DefaultAccessKeySecret) {
		t.Error("the client prints a secret")
	}
}
