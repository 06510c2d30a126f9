package ram

import "slices"

const (
	version                = "2015-05-01"
	resourceManagerVersion = "2020-03-31"
	imsVersion             = "2019-08-15"
)

// Product is the name of the product whose API has that version: sts, ram,
// resourcemanager or ims, of those that are called here.
func Product(version string) string {
	return map[string]string{"2015-04-01": "sts", "2015-05-01": "ram", resourceManagerVersion: "resourcemanager", imsVersion: "ims"}[version]
}

// Host is the name of a product that has one endpoint for all regions. Inside
// the VPCs of some regions it has a second one, again the same for all of them.
func Host(product, region string, vpc bool) string {
	if vpc && InsideVPC(region) {
		return product + ".vpc-proxy.aliyuncs.com"
	}
	return product + ".aliyuncs.com"
}

// InsideVPC tells whether the VPCs of the region know RAM by a name, by Alibaba
// Cloud's list of the endpoints of RAM. New regions may come.
func InsideVPC(region string) bool {
	return slices.Contains([]string{
		"ap-northeast-1", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5",
		"cn-beijing", "cn-chengdu", "cn-hangzhou", "cn-hongkong", "cn-huhehaote", "cn-qingdao",
		"cn-shanghai", "cn-shanghai-finance-1", "cn-shenzhen", "cn-shenzhen-finance-1", "cn-zhangjiakou",
		"eu-central-1", "eu-west-1", "us-east-1", "us-west-1",
	}, region)
}
