package alisim

import (
	"fmt"
	"time"
)

// systemPolicies are the policies that every account can attach and nobody can change: the few that matter to clients
// that handle credentials, and a FullAccess and ReadOnlyAccess pair per service. Their texts are abridged.
func systemPolicies() map[string]*policy {
	texts := map[string]string{
		"AdministratorAccess":       `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		"ReadOnlyAccess":            `{"Version":"1","Statement":[{"Effect":"Allow","Action":["*:Describe*","*:List*","*:Get*","*:Query*","*:BatchGet*"],"Resource":"*"}]}`,
		"PowerUserAccess":           `{"Version":"1","Statement":[{"Effect":"Allow","NotAction":["ram:*","ims:*"],"Resource":"*"}]}`,
		"AliyunSTSAssumeRoleAccess": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`,
	}
	services := map[string]string{
		"ECS": "ecs", "OSS": "oss", "RAM": "ram", "RDS": "rds", "SLB": "slb", "VPC": "vpc", "Log": "log", "OTS": "ots",
		"MNS": "mns", "CDN": "cdn", "KMS": "kms", "CS": "cs", "NAS": "nas", "EIP": "eip", "DNS": "alidns", "FC": "fc",
		"ROS": "ros", "ESS": "ess", "DRDS": "drds", "CMS": "cms", "ACR": "cr", "PolarDB": "polardb", "Redis": "kvstore",
	}
	for name, prefix := range services {
		texts["Aliyun"+name+"FullAccess"] = fmt.Sprintf(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"%s:*","Resource":"*"}]}`, prefix)
		texts["Aliyun"+name+"ReadOnlyAccess"] = fmt.Sprintf(
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":["%[1]s:Describe*","%[1]s:List*","%[1]s:Get*"],"Resource":"*"}]}`, prefix)
	}
	out := make(map[string]*policy, len(texts))
	for name, text := range texts {
		d, err := parsePolicy(text)
		if err != nil {
			panic("alisim: system policy " + name + ": " + err.Error()) // a slip in the table above
		}
		out[name] = newPolicy(nil, name, "", text, d, time.Date(2015, 4, 28, 0, 0, 0, 0, time.UTC), 0)
		out[name].from = time.Time{} // tests have clocks of years before
	}
	return out
}
