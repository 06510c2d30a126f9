package alicreds_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// answering stands in for Alibaba Cloud in the examples.
func answering(body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
}

const exampleSession = `{
	"RequestId": "6894B13B-0000-5000-8000-000000000000",
	"AssumedRoleUser": {"Arn": "acs:ram::1234567890123456:role/deploy/alice"},
	"Credentials": {
		"AccessKeyId": "STS.example", "AccessKeySecret": "example", "SecurityToken": "example", "Expiration": "2999-01-01T00:00:00Z"
	}
}`

func ExampleNewAccessKey() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := key.Retrieve(context.Background())
	fmt.Println(c.AccessKeyID, err)
	fmt.Println(c) // no secrets
	// Output:
	// LTAI5texample <nil>
	// Credentials(Keys(LTAI****) from access_key)
}

func ExampleNewSTS() {
	_, err := alicreds.NewSTS("STS.example", "example", "")
	fmt.Println(err)
	// Output: sts: the security token is empty
}

func ExampleNewRAMRoleARN() {
	sts := answering(exampleSession)
	defer sts.Close()

	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{
		RoleARN:         "acs:ram::1234567890123456:role/deploy",
		RoleSessionName: "alice",
		Duration:        15 * time.Minute,
		STSOptions:      alicreds.STSOptions{Endpoint: sts.URL}, // leave out in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := role.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	fmt.Println(c.SessionARN, c.AccountID)
	// Output:
	// Keys(****, temporary) ram_role_arn/access_key <nil>
	// acs:ram::1234567890123456:role/deploy/alice 1234567890123456
}

func ExampleAssumeRole() {
	sts := answering(exampleSession)
	defer sts.Close()

	key := alicreds.Credentials{AccessKeyID: "LTAI5texample", AccessKeySecret: "example"}
	c, err := alicreds.AssumeRole(context.Background(), key.Keys(), alicreds.RAMRoleARNOptions{
		RoleARN:    "acs:ram::1234567890123456:role/deploy",
		Policy:     `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"*"}]}`,
		STSOptions: alicreds.STSOptions{Endpoint: sts.URL},
	})
	fmt.Println(c.Source, c.RoleARN, err)
	// Output: ram_role_arn acs:ram::1234567890123456:role/deploy <nil>
}

func ExampleCallerIdentity() {
	sts := answering(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","IdentityType":"RAMUser","AccountId":"1234567890123456","PrincipalId":"2","UserId":"2","Arn":"acs:ram::1234567890123456:user/alice"}`)
	defer sts.Close()

	key := alicreds.Credentials{AccessKeyID: "LTAI5texample", AccessKeySecret: "example"}
	id, err := alicreds.CallerIdentity(context.Background(), key.Keys(), alicreds.STSOptions{Endpoint: sts.URL})
	fmt.Println(id.IdentityType, id.ARN, err)
	// Output: RAMUser acs:ram::1234567890123456:user/alice <nil>
}

func ExampleNewCache() {
	calls := 0
	slow := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
		calls++
		return alicreds.Credentials{AccessKeyID: "STS.example", AccessKeySecret: "example", Expiration: time.Now().Add(time.Hour)}, nil
	})
	cache := alicreds.NewCache(slow, alicreds.CacheOptions{})
	defer cache.Close()
	for range 1000 {
		if _, err := cache.Retrieve(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(calls, "call")
	// Output: 1 call
}

func ExampleProviderFunc() {
	absent := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
		return alicreds.Credentials{}, fmt.Errorf("%w: there is no key in the safe", alicreds.ErrUnavailable)
	})
	_, err := absent.Retrieve(context.Background())
	fmt.Println(errors.Is(err, alicreds.ErrUnavailable), err)
	// Output: true not set up: there is no key in the safe
}

func ExampleNewEnvironment() {
	set := map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5texample"}
	_, err := alicreds.NewEnvironment(func(name string) string { return set[name] }).Retrieve(context.Background())
	fmt.Println(err)
	// Output: env: ALIBABA_CLOUD_ACCESS_KEY_SECRET is empty, although ALIBABA_CLOUD_ACCESS_KEY_ID is not
}

func ExampleNewOIDCRoleARN() {
	sts := answering(exampleSession)
	defer sts.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	token := filepath.Join(dir, "token") // Kubernetes puts it there
	if err := os.WriteFile(token, []byte("eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	role, err := alicreds.NewOIDCRoleARN(alicreds.TokenFile(token), alicreds.OIDCRoleARNOptions{
		OIDCProviderARN: "acs:ram::1234567890123456:oidc-provider/ack-rrsa",
		RoleARN:         "acs:ram::1234567890123456:role/deploy",
		STSOptions:      alicreds.STSOptions{Endpoint: sts.URL}, // leave out in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := role.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output: Keys(****, temporary) oidc_role_arn <nil>
}

func ExampleNewECSRAMRole() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			fmt.Fprint(w, "example-token")
		case "/latest/meta-data/ram/security-credentials/":
			fmt.Fprint(w, "EcsRole")
		default:
			fmt.Fprint(w, `{"Code":"Success","AccessKeyId":"STS.example","AccessKeySecret":"example","SecurityToken":"example","Expiration":"2999-01-01T00:00:00Z"}`)
		}
	}))
	defer service.Close()

	metadata, err := alicreds.NewMetadata(alicreds.MetadataOptions{Endpoint: service.URL}) // leave out in earnest
	if err != nil {
		fmt.Println(err)
		return
	}
	role, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := role.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output: Keys(****, temporary) ecs_ram_role <nil>
}

func ExampleNewCredentialsURI() {
	agent := answering(`{"Code":"Success","AccessKeyId":"STS.example","AccessKeySecret":"example","SecurityToken":"example","Expiration":"2999-01-01T00:00:00Z"}`)
	defer agent.Close()

	uri, err := alicreds.NewCredentialsURI(agent.URL+"/credentials", alicreds.CredentialsURIOptions{RefuseMetadata: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := uri.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output: Keys(****, temporary) credentials_uri <nil>
}

func ExampleNewRSAKeyPair() {
	sts := answering(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","SessionAccessKey":{"SessionAccessKeyId":"TMPSK.example","SessionAccessKeySecret":"example","Expiration":"2999-01-01T00:00:00Z"}}`)
	defer sts.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		fmt.Println(err)
		return
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})

	pair, err := alicreds.NewRSAKeyPair("pk-example", string(private), alicreds.RSAKeyPairOptions{
		STSOptions: alicreds.STSOptions{Endpoint: sts.URL},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := pair.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output: Keys(TMPS****) rsa_key_pair <nil>
}

func ExampleNewBearer() {
	bearer, err := alicreds.NewBearer("example")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := bearer.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(BearerToken(****) from bearer) <nil>
}

func ExampleNewChain() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	nowhere := alicreds.NewEnvironment(func(string) string { return "" })
	c, err := alicreds.NewChain(alicreds.ChainOptions{}, nowhere, key).Retrieve(context.Background())
	fmt.Println(c, err)

	_, err = alicreds.NewChain(alicreds.ChainOptions{}, nowhere).Retrieve(context.Background())
	fmt.Println(err)
	// Output:
	// Credentials(Keys(LTAI****) from access_key) <nil>
	// no credentials:
	//   - env: not set up: ALIBABA_CLOUD_ACCESS_KEY_ID is empty
}

func ExampleDefault() {
	set := map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5texample", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "example"}
	chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: func(name string) string { return set[name] }})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := alicreds.NewCache(chain, alicreds.CacheOptions{})
	defer cache.Close()
	c, err := cache.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(Keys(LTAI****) from default/env) <nil>
}

func ExampleNew() {
	_, err := alicreds.New(alicreds.Config{
		Type:                  "ram_role_arn",
		AccessKeyID:           "LTAI5texample",
		AccessKeySecret:       "example",
		RoleARN:               "acs:ram::1234567890123456:role/deploy",
		RoleSessionExpiration: 60,
	})
	fmt.Println(err)
	// Output: ram_role_arn: the session duration must be between 900 and 43200 seconds
}

func ExampleNewCached() {
	cache, err := alicreds.NewCached(alicreds.Config{Type: "access_key", AccessKeyID: "LTAI5texample", AccessKeySecret: "example"}, alicreds.CacheOptions{})
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	c, err := cache.Retrieve(context.Background())
	fmt.Println(c.Type(), c.AccessKeyID, err)
	// Output: access_key LTAI5texample <nil>
}

// A role over a chain that finds nothing is set up itself, and therefore no
// ErrUnavailable. The chain's own failure tells.
func ExampleChainError_overRole() {
	nowhere := alicreds.NewChain(alicreds.ChainOptions{}, alicreds.NewEnvironment(func(string) string { return "" }))
	role, err := alicreds.NewRAMRoleARN(nowhere, alicreds.RAMRoleARNOptions{RoleARN: "acs:ram::1234567890123456:role/deploy"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = role.Retrieve(context.Background())
	fmt.Println(errors.Is(err, alicreds.ErrUnavailable))

	var chain *alicreds.ChainError
	nothing := errors.As(err, &chain) && errors.Is(chain, alicreds.ErrUnavailable)
	fmt.Println(nothing)
	// Output:
	// false
	// true
}
