package credentialsgo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	rpc "github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func startCloud(t *testing.T) *alisim.Server {
	t.Helper()
	cloud, err := alisim.Start(alisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	return cloud
}

// session is a provider of sessions of the role "deploy".
func session(t *testing.T, cloud *alisim.Server) alicreds.Provider {
	t.Helper()
	client, err := rpc.New(rpc.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	role, err := alicreds.NewRAMRoleARN(rootKey(t), alicreds.RAMRoleARNOptions{
		RoleARN:         alisim.DefaultRoleARN,
		RoleSessionName: "adapter",
		STSOptions:      alicreds.STSOptions{Client: client},
	})
	if err != nil {
		t.Fatal(err)
	}
	return role
}

func rootKey(t *testing.T) alicreds.Provider {
	t.Helper()
	key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// caller stands in the place of the SDK's transport, whose certificates and
// addresses cannot be chosen per client.
type caller struct {
	client *http.Client
	sent   http.Header
}

func (c *caller) Call(r *http.Request, _ *http.Transport) (*http.Response, error) {
	c.sent = http.Header{}
	for name, values := range r.Header { // the SDK does not spell them as net/http does
		c.sent[http.CanonicalHeaderKey(name)] = values
	}
	return c.client.Do(r)
}

// whoami is a real client of Alibaba's that signs with the credential.
func whoami(t *testing.T, cloud *alisim.Server, c *credentialsgo.Credential) (string, http.Header, error) {
	t.Helper()
	through := &caller{client: cloud.Client()}
	client, err := openapi.NewClient(&openapiutil.Config{
		Credential: c,
		Endpoint:   dara.String("sts.cn-hangzhou.aliyuncs.com"),
		HttpClient: through,
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.CallApi(&openapiutil.Params{
		Action: dara.String("GetCallerIdentity"), Version: dara.String("2015-04-01"),
		Protocol: dara.String("HTTPS"), Method: dara.String("POST"), Pathname: dara.String("/"),
		AuthType: dara.String("AK"), Style: dara.String("RPC"),
		ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}, &openapiutil.OpenApiRequest{}, &dara.RuntimeOptions{})
	if err != nil {
		return "", through.sent, err
	}
	body, _ := answer["body"].(map[string]any)
	arn, _ := body["Arn"].(string)
	return arn, through.sent, nil
}

func TestAlibabacloudGoClient(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	for _, test := range []struct {
		provider alicreds.Provider
		arn      string
		name     string // x-acs-credentials-provider
	}{
		{rootKey(t), "acs:ram::1234567890123456:user/vault", "static_ak"},
		{session(t, cloud), "acs:ram::1234567890123456:assumed-role/deploy/adapter", "ram_role_arn/static_ak"},
	} {
		arn, sent, err := whoami(t, cloud, credentialsgo.New(test.provider, credentialsgo.Options{}))
		if err != nil || arn != test.arn {
			t.Errorf("%s: %q, %v", test.name, arn, err)
		}
		if got := sent.Get("x-acs-credentials-provider"); got != test.name {
			t.Errorf("%s: the request names %q", test.name, got)
		}
	}
}

// One session serves many requests, and STS's refusal comes through as it is.
func TestAlibabacloudGoClientCaches(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	credential := credentialsgo.New(session(t, cloud), credentialsgo.Options{})
	cloud.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Status: 403, Code: "NoPermission", Count: 1})
	var refused *rpc.Error
	if _, err := credential.GetCredential(); !errors.As(err, &refused) || refused.Code != "NoPermission" {
		t.Errorf("refused: %v", err)
	}
	credential = credentialsgo.New(session(t, cloud), credentialsgo.Options{}) // the other one remembers the refusal for a second
	for range 3 {
		if _, _, err := whoami(t, cloud, credential); err != nil {
			t.Fatal(err)
		}
	}
	calls := map[string]int{}
	for _, call := range cloud.Journal() {
		calls[call.Action]++
	}
	if calls["AssumeRole"] != 2 || calls["GetCallerIdentity"] != 3 {
		t.Errorf("calls: %v", calls)
	}
}

func given(c alicreds.Credentials) alicreds.Provider {
	return alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return c, nil })
}

func TestTypesAndNames(t *testing.T) {
	t.Parallel()
	key := alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake"}
	temporary := alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake", SecurityToken: "fake-token"}
	bearer := alicreds.Credentials{BearerToken: "fake-bearer"}
	for _, test := range []struct {
		source     string
		c          alicreds.Credentials
		kind, name string
	}{
		{"access_key", key, "access_key", "static_ak"},
		{"sts", temporary, "sts", "static_sts"},
		{"ram_role_arn/sts", temporary, "ram_role_arn", "ram_role_arn/static_sts"},
		{"credentials_uri", temporary, "credentials_uri", "credential_uri"},
		{"oidc_role_arn", temporary, "oidc_role_arn", "oidc_role_arn"},
		{"ecs_ram_role", temporary, "ecs_ram_role", "ecs_ram_role"},
		{"rsa_key_pair", key, "rsa_key_pair", "rsa_key_pair"},
		{"bearer", bearer, "bearer", "bearer"},
		{"default/env", key, "default", "default/env"},
		{"default/cli_profile/ram_role_arn/ram_role_arn/access_key", temporary, "default", "default/cli_profile/ram_role_arn/ram_role_arn/static_ak"},
		{"default/cli_profile/bearer", bearer, "bearer", "default/cli_profile/bearer"},
		{"", key, "access_key", "access_key"},
		{"", temporary, "sts", "sts"},
		{"", bearer, "bearer", "bearer"},
	} {
		test.c.Source = test.source
		credential := credentialsgo.New(given(test.c), credentialsgo.Options{})
		got, err := credential.GetCredential()
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		if *got.Type != test.kind || *got.ProviderName != test.name || *credential.GetType() != test.kind {
			t.Errorf("%s: type %s, name %s, GetType %s", test.source, *got.Type, *got.ProviderName, *credential.GetType())
		}
		if *got.AccessKeyId != test.c.AccessKeyID || *got.AccessKeySecret != test.c.AccessKeySecret ||
			*got.SecurityToken != test.c.SecurityToken || *got.BearerToken != test.c.BearerToken ||
			*credential.GetBearerToken() != test.c.BearerToken {
			t.Errorf("%s: the fields differ", test.source)
		}
	}
}

// Getters that follow each other never mix two sessions, although one ends
// between them.
func TestGettersGiveOneSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		numbered := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			issued++
			return alicreds.Credentials{
				AccessKeyID:     fmt.Sprint("id", issued),
				AccessKeySecret: fmt.Sprint("fake", issued),
				SecurityToken:   fmt.Sprint("token", issued),
				Expiration:      time.Now().Add(10 * time.Minute),
			}, nil
		})
		credential := credentialsgo.New(numbered, credentialsgo.Options{})
		read := func(get func() (*string, error)) string {
			t.Helper()
			got, err := get()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return *got
		}
		if secret := read(credential.GetAccessKeySecret); secret != "fake1" {
			t.Errorf("secret first: %s", secret)
		}
		time.Sleep(9*time.Minute + 30*time.Second)
		// Stale: the first call returns session 1 and has session 2 made.
		id := read(credential.GetAccessKeyId)
		if got, err := credential.GetCredential(); err != nil || *got.AccessKeyId != "id2" {
			t.Errorf("meanwhile: %v, %v", got, err)
		}
		if secret, token := read(credential.GetAccessKeySecret), read(credential.GetSecurityToken); id != "id1" || secret != "fake1" || token != "token1" {
			t.Errorf("mixed: %s %s %s", id, secret, token)
		}
		time.Sleep(30 * time.Second)
		if secret := read(credential.GetAccessKeySecret); secret != "fake2" {
			t.Errorf("the secret of an expired session: %s", secret)
		}
		time.Sleep(time.Minute)
		if id := read(credential.GetAccessKeyId); id != "id2" {
			t.Errorf("id: %s", id)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	credential := credentialsgo.New(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
		return alicreds.Credentials{}, broken
	}), credentialsgo.Options{})
	if got, err := credential.GetCredential(); got != nil || !errors.Is(err, broken) {
		t.Errorf("GetCredential: %v, %v", got, err)
	}
	for name, get := range map[string]func() (*string, error){
		"id": credential.GetAccessKeyId, "secret": credential.GetAccessKeySecret, "token": credential.GetSecurityToken,
	} {
		if got, err := get(); got != nil || !errors.Is(err, broken) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if kind, token := *credential.GetType(), *credential.GetBearerToken(); kind != "" || token != "" {
		t.Errorf("type %q, bearer token %q", kind, token)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
			<-ctx.Done()
			return alicreds.Credentials{}, ctx.Err()
		}), alicreds.CacheOptions{})
		defer cache.Close()
		began := time.Now()
		_, err := credentialsgo.New(cache, credentialsgo.Options{Timeout: 3 * time.Second}).GetCredential()
		if waited := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || waited != 3*time.Second {
			t.Errorf("%v after %s", err, waited)
		}
	})
}

func TestPrintsNothing(t *testing.T) {
	t.Parallel()
	credential := credentialsgo.New(given(alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake-secret"}), credentialsgo.Options{})
	if _, err := credential.GetAccessKeyId(); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		for _, printed := range []string{
			fmt.Sprintf(verb, credential),
			fmt.Sprintf(verb, struct{ C *credentialsgo.Credential }{credential}),
		} {
			if strings.Contains(printed, "fake-secret") {
				t.Errorf("%s: %s", verb, printed)
			}
		}
	}
}
