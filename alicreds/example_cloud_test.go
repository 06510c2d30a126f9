package alicreds_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// The whole way, against the simulator in place of Alibaba Cloud: leave Client
// out in earnest.
func ExampleNew_assumeRole() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}

	provider, err := alicreds.New(alicreds.Config{
		Type:            "ram_role_arn",
		AccessKeyID:     alisim.DefaultAccessKeyID,
		AccessKeySecret: alisim.DefaultAccessKeySecret,
		RoleARN:         alisim.DefaultRoleARN,
		RoleSessionName: "alice",
		Client:          client,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := alicreds.NewCache(provider, alicreds.CacheOptions{})
	defer cache.Close()
	c, err := cache.Retrieve(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := alicreds.CallerIdentity(context.Background(), c.Keys(), alicreds.STSOptions{Client: client})
	fmt.Println(c.Type(), id.ARN, err)
	// Output: ram_role_arn acs:ram::1234567890123456:assumed-role/deploy/alice <nil>
}

// A configuration file is taken at its word: what it says and nobody would heed
// is refused.
func ExampleConfig_UnmarshalJSON() {
	var config alicreds.Config
	err := json.Unmarshal([]byte(`{
		"type": "ram_role_arn",
		"role_arn": "acs:ram::1234567890123456:role/deploy",
		"role_sesion_name": "alice"
	}`), &config)
	fmt.Println(err)

	// The spellings of Alibaba Cloud's tools are all known.
	err = json.Unmarshal([]byte(`{"type": "ram_role_arn", "roleArn": "acs:ram::1234567890123456:role/deploy"}`), &config)
	fmt.Println(config.RoleARN, err)
	// Output:
	// the configuration of the credentials has no member "role_sesion_name"
	// acs:ram::1234567890123456:role/deploy <nil>
}

// A session may end before its time: here everything is made anew, its role as
// well. The service that is called says so.
func ExampleCache_Invalidate() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache, err := alicreds.NewCached(alicreds.Config{
		Type:            "ram_role_arn",
		AccessKeyID:     alisim.DefaultAccessKeyID,
		AccessKeySecret: alisim.DefaultAccessKeySecret,
		RoleARN:         alisim.DefaultRoleARN,
		RoleSessionName: "alice",
		Client:          client,
	}, alicreds.CacheOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	if _, err := cache.Retrieve(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	cloud.Reset()

	call := func() (alicreds.Credentials, error) {
		c, err := cache.Retrieve(context.Background())
		if err != nil {
			return c, err
		}
		id, err := alicreds.CallerIdentity(context.Background(), c.Keys(), alicreds.STSOptions{Client: client})
		if err == nil {
			fmt.Println(id.ARN)
		}
		return c, err
	}
	used, err := call()
	var refused *openapi.Error
	if errors.As(err, &refused) && (refused.KeyRefused() || refused.TokenRefused()) {
		fmt.Println("refused:", used.RoleARN)
		cache.Invalidate(used)
		_, err = call() // once more, with a new session
	}
	fmt.Println(err)
	// Output:
	// refused: acs:ram::1234567890123456:role/deploy
	// acs:ram::1234567890123456:assumed-role/deploy/alice
	// <nil>
}

// An error tells which provider failed, what Alibaba Cloud said, and where to
// read on.
func ExampleError() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
	if err != nil {
		fmt.Println(err)
		return
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{
		RoleARN:    "acs:ram::1234567890123456:role/depoly",
		STSOptions: alicreds.STSOptions{Client: client},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = role.Retrieve(context.Background())
	var failure *alicreds.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Source, failure.Temporary())
		fmt.Println(failure.Help())
	}
	var refused *openapi.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, refused.Status, refused.NotExist())
	}
	// Output:
	// ram_role_arn/access_key false
	// https://github.com/alicreds/vault-plugin-secrets-alicloud/blob/main/docs/alicreds-troubleshooting.md#role-not-found
	// EntityNotExist.Role 404 true
}

// What is not set up is passed over; what is set up and fails ends the search.
func ExampleChainError() {
	half := map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5texample"}
	absent := alicreds.NewEnvironment(func(string) string { return "" })
	failing := alicreds.NewEnvironment(func(name string) string { return half[name] })

	for _, members := range [][]alicreds.Provider{{absent}, {absent, failing, absent}} {
		_, err := alicreds.NewChain(alicreds.ChainOptions{}, members...).Retrieve(context.Background())
		var chain *alicreds.ChainError
		if errors.As(err, &chain) {
			fmt.Printf("asked %d of %d, nothing is set up: %t\n", len(chain.Attempts), len(members), errors.Is(err, alicreds.ErrUnavailable))
		}
	}
	// Output:
	// asked 1 of 1, nothing is set up: true
	// asked 2 of 3, nothing is set up: false
}
