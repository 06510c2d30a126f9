package alicreds

import (
	"context"
	"fmt"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	stsVersion  = "2015-04-01"
	stsHost     = "sts.aliyuncs.com"
	stsFallback = "sts.us-east-1.aliyuncs.com" // the host Vault's built-in engine uses

	envSTSRegion   = "ALIBABA_CLOUD_STS_REGION"
	envVPCEndpoint = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"
)

// STSOptions say where STS is and how it is reached. The zero value means
// sts.aliyuncs.com.
type STSOptions struct {
	// Endpoint is used as it is; Region and VPC then do not matter. See
	// openapi.CheckEndpoint for what is accepted.
	Endpoint string

	// FallbackEndpoints are tried in turn when there is no answer. With
	// neither Endpoint nor Region it defaults to sts.us-east-1.aliyuncs.com.
	FallbackEndpoints []string

	Region string // "cn-hangzhou" means sts.cn-hangzhou.aliyuncs.com
	VPC    bool   // sts-vpc.<region>.aliyuncs.com; without effect when there is no Region

	// Client sends the calls; nil means one of the provider's own with
	// default options.
	Client *openapi.Client
}

// FromEnvironment fills in what is not set from ALIBABA_CLOUD_STS_REGION and
// ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED ("true" in any case), as all Credentials
// tools do. Constructors do not look at the environment by themselves.
func (o STSOptions) FromEnvironment(getenv func(string) string) STSOptions {
	if o.Region == "" {
		o.Region = getenv(envSTSRegion)
	}
	o.VPC = o.VPC || isTrue(getenv(envVPCEndpoint))
	return o
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") }

// Endpoints are the hosts that are tried, in this order.
func (o STSOptions) Endpoints() []string {
	first, fallbacks := o.Endpoint, o.FallbackEndpoints
	switch {
	case first != "":
	case o.Region != "" && o.VPC:
		first = "sts-vpc." + o.Region + ".aliyuncs.com"
	case o.Region != "":
		first = "sts." + o.Region + ".aliyuncs.com"
	default:
		first = stsHost
		if len(fallbacks) == 0 {
			fallbacks = []string{stsFallback}
		}
	}
	return append([]string{first}, fallbacks...)
}

// ready checks the options and makes sure there is a client.
func (o STSOptions) ready() (STSOptions, error) {
	if o.Endpoint == "" && o.Region != "" && !regionID(o.Region) {
		return o, fmt.Errorf("the STS region is not a region id such as cn-hangzhou")
	}
	if o.Client == nil {
		client, err := openapi.New(openapi.Options{})
		if err != nil {
			return o, err
		}
		o.Client = client
	}
	for _, endpoint := range o.Endpoints() {
		if err := openapi.CheckEndpoint(endpoint); err != nil {
			return o, fmt.Errorf("STS endpoint: %w", err)
		}
	}
	return o, nil
}

// call sends an action to STS. They are all harmless to repeat: another
// session is at worst one that nobody uses.
func (o STSOptions) call(ctx context.Context, r openapi.Request, reply any) error {
	endpoints := o.Endpoints()
	r.Endpoint, r.Fallbacks, r.Version, r.Repeatable = endpoints[0], endpoints[1:], stsVersion, true
	return o.Client.Do(ctx, r, reply)
}
