package backend

import (
	"slices"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Values of the field network in config.
const (
	networkPublic = "public"
	networkVPC    = "vpc"
)

const (
	ramVersion             = "2015-05-01"
	resourceManagerVersion = "2020-03-31"
)

// service is where an API is called, and by which version.
type service struct{ endpoint, version string }

func (s service) request(repeatable bool, action string, params map[string]string, keys openapi.Keys) openapi.Request {
	return openapi.Request{Endpoint: s.endpoint, Action: action, Version: s.version, Params: params, Keys: keys, Repeatable: repeatable}
}

// host is the name of a product that has one endpoint for all regions. Inside
// the VPCs of some regions it has a second one, again the same for all of them.
func (c *config) host(product string) string {
	if c.Network == networkVPC && c.insideVPC() {
		return product + ".vpc-proxy.aliyuncs.com"
	}
	return product + ".aliyuncs.com"
}

// insideVPC tells whether the VPCs of the region know RAM by a name.
func (c *config) insideVPC() bool { return slices.Contains(vpcRegions, c.Region) }

// vpcRegions are the regions whose VPCs resolve *.vpc-proxy.aliyuncs.com, by
// Alibaba Cloud's list of the endpoints of RAM. New regions may come.
var vpcRegions = []string{
	"ap-northeast-1", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5",
	"cn-beijing", "cn-chengdu", "cn-hangzhou", "cn-hongkong", "cn-huhehaote", "cn-qingdao",
	"cn-shanghai", "cn-shanghai-finance-1", "cn-shenzhen", "cn-shenzhen-finance-1", "cn-zhangjiakou",
	"eu-central-1", "eu-west-1", "us-east-1", "us-west-1",
}
