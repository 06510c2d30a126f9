package credentialsgo_test

import (
	"context"
	"fmt"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// DescribeRegions of ECS with the default chain, the first sample of Alibaba
// Cloud's Credentials tools. Against Alibaba Cloud there is no Getenv, no
// HttpsProxy and no Ca.
func ExampleNew_describeRegions() {
	cloud, err := alisim.Start(alisim.Options{}) // in place of Alibaba Cloud
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	environment := map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     alisim.DefaultAccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": alisim.DefaultAccessKeySecret,
	}

	chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: func(name string) string { return environment[name] }})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := alicreds.NewCache(chain, alicreds.CacheOptions{})
	defer cache.Close()
	client, err := openapi.NewClient(&openapiutil.Config{
		Credential: credentialsgo.New(cache, credentialsgo.Options{}),
		Endpoint:   dara.String("ecs.cn-hangzhou.aliyuncs.com"),
		HttpsProxy: dara.String(cloud.ProxyURL),
		Ca:         dara.String(string(cloud.CACertPEM())),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.CallApiWithCtx(context.Background(), &openapiutil.Params{
		Action: dara.String("DescribeRegions"), Version: dara.String("2014-05-26"),
		Protocol: dara.String("HTTPS"), Method: dara.String("POST"), Pathname: dara.String("/"), Style: dara.String("RPC"),
		AuthType: dara.String("AK"), ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}, &openapiutil.OpenApiRequest{}, &dara.RuntimeOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := answer["body"].(map[string]any)
	regions, _ := body["Regions"].(map[string]any)
	list, _ := regions["Region"].([]any)
	for _, one := range list {
		region, _ := one.(map[string]any)
		fmt.Println(region["RegionId"])
	}
	// Output:
	// cn-hangzhou
	// cn-shanghai
	// ap-southeast-1
}

// GetInstance of CCC with a bearer token, the other sample. Against Alibaba
// Cloud there is no HttpsProxy and no Ca.
func ExampleNew_getInstance() {
	cloud, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed()}) // in place of Alibaba Cloud
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()

	bearer, err := alicreds.NewBearer(alisim.DefaultBearerToken)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := openapi.NewClient(&openapiutil.Config{
		Credential: credentialsgo.New(bearer, credentialsgo.Options{}),
		Endpoint:   dara.String("ccc.cn-shanghai.aliyuncs.com"),
		HttpsProxy: dara.String(cloud.ProxyURL),
		Ca:         dara.String(string(cloud.CACertPEM())),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.CallApiWithCtx(context.Background(), &openapiutil.Params{
		Action: dara.String("GetInstance"), Version: dara.String("2020-07-01"),
		Protocol: dara.String("HTTPS"), Method: dara.String("POST"), Pathname: dara.String("/"), Style: dara.String("RPC"),
		AuthType: dara.String("AK"), ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}, &openapiutil.OpenApiRequest{
		Query: map[string]*string{"InstanceId": dara.String("ccc-test")},
	}, &dara.RuntimeOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := answer["body"].(map[string]any)
	instance, _ := body["Data"].(map[string]any)
	fmt.Println(instance["Id"], instance["Status"])
	// Output: ccc-test Running
}
