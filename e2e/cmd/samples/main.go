// Samples makes the calls that the samples of Alibaba Cloud's Credentials tools
// make: through darabonba-openapi, an SDK of Alibaba's that this project did not
// write, with credentials of alicreds by the adapter.
//
//	samples [-ca FILE] DescribeRegions        of ECS, with the default chain
//	samples [-ca FILE] GetInstance            of CCC, with the bearer token in BEARER_TOKEN
//
// It prints the ids in the answer. HTTPS_PROXY is honoured, so that a simulator
// can stand in.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// sample is one of the vendors' samples.
type sample struct {
	endpoint, version string
	query             map[string]*string
	provider          func() (alicreds.Provider, error)
	ids               func(body map[string]any) []string
}

var samples = map[string]sample{
	"DescribeRegions": {
		endpoint: "ecs.cn-hangzhou.aliyuncs.com", version: "2014-05-26",
		provider: func() (alicreds.Provider, error) { return alicreds.Default(alicreds.DefaultOptions{}) },
		ids: func(body map[string]any) (ids []string) {
			regions, _ := body["Regions"].(map[string]any)
			list, _ := regions["Region"].([]any)
			for _, r := range list {
				region, _ := r.(map[string]any)
				ids = append(ids, fmt.Sprint(region["RegionId"]))
			}
			return ids
		},
	},
	"GetInstance": {
		endpoint: "ccc.cn-shanghai.aliyuncs.com", version: "2020-07-01",
		query:    map[string]*string{"InstanceId": dara.String("ccc-test")},
		provider: func() (alicreds.Provider, error) { return alicreds.NewBearer(os.Getenv("BEARER_TOKEN")) },
		ids: func(body map[string]any) []string {
			data, _ := body["Data"].(map[string]any)
			return []string{fmt.Sprint(data["Id"])}
		},
	},
}

func main() {
	caFile := flag.String("ca", "", "PEM file of the CA to trust")
	flag.Parse()
	ids, err := run(*caFile, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "samples:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(ids, " "))
}

func run(caFile, action string) ([]string, error) {
	s, ok := samples[action]
	if !ok {
		return nil, fmt.Errorf("no sample calls %q", action)
	}
	provider, err := s.provider()
	if err != nil {
		return nil, err
	}
	config := &openapiutil.Config{
		Endpoint:   dara.String(s.endpoint),
		Credential: credentialsgo.New(provider, credentialsgo.Options{}),
		HttpsProxy: dara.String(os.Getenv("HTTPS_PROXY")),
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.Ca = dara.String(string(pem))
	}
	client, err := openapi.NewClient(config)
	if err != nil {
		return nil, err
	}
	answer, err := client.CallApi(&openapiutil.Params{
		Action: dara.String(action), Version: dara.String(s.version), Protocol: dara.String("HTTPS"), Method: dara.String("POST"),
		AuthType: dara.String("AK"), Style: dara.String("RPC"), Pathname: dara.String("/"),
		ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}, &openapiutil.OpenApiRequest{Query: s.query}, &dara.RuntimeOptions{})
	if err != nil {
		return nil, err
	}
	body, _ := answer["body"].(map[string]any)
	return s.ids(body), nil
}
