package backend

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// regions are those that Alibaba Cloud lists in November 2026. There will be others.
var regions = []string{
	"cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-hangzhou", "cn-shanghai", "cn-nanjing", "cn-fuzhou", "cn-wuhan-lr",
	"cn-zhongwei", "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-hongkong", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-3",
	"ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "us-west-1", "us-east-1", "na-south-1", "eu-west-1", "eu-central-1", "me-east-1", "me-central-1",
	"cn-beijing-finance-1", "cn-shanghai-finance-1", "cn-shenzhen-finance-1", "cn-hangzhou-finance", "cn-north-2-gov-1",
}

var regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z0-9]+){1,4}$`)

// checkRegion refuses what cannot be the id of a region.
func (c *config) checkRegion() error {
	if c.Region == "" || regionForm.MatchString(c.Region) {
		return nil
	}
	if small := strings.ToLower(c.Region); regionForm.MatchString(small) {
		return fmt.Errorf("region must be in small letters: %s", small)
	}
	return fmt.Errorf("region must be the id of a region, such as cn-beijing or ap-southeast-1, and not its name")
}

// doubtRegion warns of a region that is not known, "" where it is.
func (c *config) doubtRegion() string {
	if c.Region == "" || slices.Contains(regions, c.Region) {
		return ""
	}
	if meant := nearest(c.Region, regions); meant != "" {
		return fmt.Sprintf("region %s is not known here: did you mean %s? If it is new, nothing is wrong", c.Region, meant)
	}
	return fmt.Sprintf("region %s is not known here, and its hosts may not exist. If it is new, nothing is wrong", c.Region)
}
