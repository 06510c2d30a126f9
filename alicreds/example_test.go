package alicreds_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// answering stands in for Alibaba Cloud in the examples.
func answering(body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
}

const exampleSession = `{
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
	fmt.Println(c, err)
	fmt.Println(c.SessionARN, c.AccountID)
	// Output:
	// Credentials(Keys(****, temporary) from ram_role_arn/access_key until 2999-01-01T00:00:00Z) <nil>
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
	sts := answering(`{"IdentityType":"RAMUser","AccountId":"1234567890123456","PrincipalId":"2","UserId":"2","Arn":"acs:ram::1234567890123456:user/alice"}`)
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
