package e2e

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	mount      = "alicloud"
	roleARN    = "acs:ram::1234567890123456:role/deploy"
	policyJSON = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"*"}]}`
)

// startEngine starts the simulator, Vault, and the engine at alicloud/.
func startEngine(t *testing.T) (*vaultServer, *alisim.Server) {
	t.Helper()
	cloud := startCloud(t)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)
	return v, cloud
}

func startCloud(t *testing.T) *alisim.Server {
	t.Helper()
	cloud, err := alisim.Start(alisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	return cloud
}

// enable mounts the engine at a path, and writes its config and two roles:
// deploy (sessions) and ci (RAM users).
func (v *vaultServer) enable(t *testing.T, path string, cloud *alisim.Server) {
	t.Helper()
	v.run(t, "secrets", "enable", "-path="+path, "-plugin-version="+pluginVersion, mount)
	v.write(t, path+"/config", engineConfig(cloud))
	v.write(t, path+"/role/deploy", map[string]any{"role_arn": roleARN})
	v.write(t, path+"/role/ci", map[string]any{
		"inline_policies": "[" + policyJSON + "]",
		"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System", "name:AliyunECSReadOnlyAccess,type:System"},
	})
}

func engineConfig(cloud *alisim.Server) map[string]any {
	return map[string]any{
		"access_key":   alisim.DefaultAccessKeyID,
		"secret_key":   alisim.DefaultAccessKeySecret,
		"sts_endpoint": cloud.URL,
		"ram_endpoint": cloud.URL,

		"resource_manager_endpoint": cloud.URL,
		"ims_endpoint":              cloud.URL,

		"ca_certificate": string(cloud.CACertPEM()),
	}
}

// ours is what RAM holds beyond the seed, as text: the names of users, roles and policies.
type ours struct{ Users, Roles, Policies []string }

func (o ours) empty() bool { return len(o.Users)+len(o.Roles)+len(o.Policies) == 0 }

func (o *ours) add(more ours) {
	o.Users, o.Roles, o.Policies = append(o.Users, more.Users...), append(o.Roles, more.Roles...), append(o.Policies, more.Policies...)
}

func (o ours) String() string {
	text, _ := json.Marshal(o)
	return string(text)
}

// leftovers compares two inventories.
func leftovers(before, now alisim.Inventory) ours {
	var left ours
	for _, u := range now.Users {
		if !slices.ContainsFunc(before.Users, func(b alisim.UserState) bool { return b.Name == u.Name }) {
			left.Users = append(left.Users, u.Name)
		}
	}
	for _, r := range now.Roles {
		if !slices.ContainsFunc(before.Roles, func(b alisim.RoleState) bool { return b.Name == r.Name }) {
			left.Roles = append(left.Roles, r.Name)
		}
	}
	for _, p := range now.Policies {
		if !slices.ContainsFunc(before.Policies, func(b alisim.PolicyState) bool { return b.Name == p.Name }) {
			left.Policies = append(left.Policies, p.Name)
		}
	}
	return left
}
