package credentialsgo_test

import (
	"context"
	"fmt"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	rpc "github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/aliyun/credentials-go/credentials"
)

// Every alibabacloud-go client takes the credential in its configuration.
func ExampleNew() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{RoleARN: "acs:ram::1234567890123456:role/deploy"})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := alicreds.NewCache(role, alicreds.CacheOptions{})
	defer cache.Close()

	client, err := openapi.NewClient(&openapiutil.Config{
		Credential: credentialsgo.New(cache, credentialsgo.Options{}),
		Endpoint:   dara.String("ecs.cn-hangzhou.aliyuncs.com"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.Credential)
	// Output: Credential
}

// Code that was written for credentials-go goes on unchanged.
func ExampleCredential_GetCredential() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	var credential credentials.Credential = credentialsgo.New(key, credentialsgo.Options{})

	got, err := credential.GetCredential()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*got.Type, *got.ProviderName, *got.AccessKeyId)
	// Output: access_key static_ak LTAI5texample
}

// A program that has a Credential of credentials-go already keeps it, and
// assumes a role with it.
func ExampleFrom() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true}) // in place of Alibaba Cloud
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	client, err := rpc.New(rpc.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	credential, err := credentials.NewCredential(new(credentials.Config).
		SetType("access_key").
		SetAccessKeyId(alisim.DefaultAccessKeyID).
		SetAccessKeySecret(alisim.DefaultAccessKeySecret))
	if err != nil {
		fmt.Println(err)
		return
	}

	role, err := alicreds.NewRAMRoleARN(credentialsgo.From(credential), alicreds.RAMRoleARNOptions{
		RoleARN:    alisim.DefaultRoleARN,
		STSOptions: alicreds.STSOptions{Client: client}, // leave out in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := role.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output: Keys(STS.****, temporary) ram_role_arn/credentials-go/static_ak <nil>
}
