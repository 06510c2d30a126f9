package alicreds_test

import (
	"slices"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestSTSEndpoints(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options alicreds.STSOptions
		env     []string
		want    []string
	}{
		"nothing":               {alicreds.STSOptions{}, nil, []string{"sts.aliyuncs.com", "sts.us-east-1.aliyuncs.com"}},
		"VPC without region":    {alicreds.STSOptions{VPC: true}, nil, []string{"sts.aliyuncs.com", "sts.us-east-1.aliyuncs.com"}},
		"own fallback":          {alicreds.STSOptions{FallbackEndpoints: []string{"a", "b"}}, nil, []string{"sts.aliyuncs.com", "a", "b"}},
		"region":                {alicreds.STSOptions{Region: "cn-beijing"}, nil, []string{"sts.cn-beijing.aliyuncs.com"}},
		"region and VPC":        {alicreds.STSOptions{Region: "cn-hangzhou", VPC: true}, nil, []string{"sts-vpc.cn-hangzhou.aliyuncs.com"}},
		"endpoint wins":         {alicreds.STSOptions{Endpoint: "e", Region: "cn-hangzhou", VPC: true}, nil, []string{"e"}},
		"region of environment": {alicreds.STSOptions{}, []string{"ALIBABA_CLOUD_STS_REGION", "cn-x"}, []string{"sts.cn-x.aliyuncs.com"}},
		"region beats environment": {alicreds.STSOptions{Region: "cn-y"}, []string{"ALIBABA_CLOUD_STS_REGION", "cn-x"},
			[]string{"sts.cn-y.aliyuncs.com"}},
		"VPC of environment": {alicreds.STSOptions{Region: "cn-y"}, []string{"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "True"},
			[]string{"sts-vpc.cn-y.aliyuncs.com"}},
		"VPC 1 is not true": {alicreds.STSOptions{Region: "cn-y"}, []string{"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "1"},
			[]string{"sts.cn-y.aliyuncs.com"}},
		"endpoint beats environment": {alicreds.STSOptions{Endpoint: "e"},
			[]string{"ALIBABA_CLOUD_STS_REGION", "cn-x", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"}, []string{"e"}},
	} {
		if got := tc.options.FromEnvironment(environment(tc.env...)).Endpoints(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
