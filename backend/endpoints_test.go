package backend_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// F1.12: where the mount calls, seen by the host names that the cloud is asked
// under, and whether the write says that RAM stays outside of the VPC.
func TestHostsOfTheNetwork(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config map[string]any
		hosts  []string // of GetCallerIdentity, CreateUser and ListPolicyAttachments
		warned string
	}{
		"public":            {map[string]any{}, []string{"sts.aliyuncs.com", "ram.aliyuncs.com", "resourcemanager.aliyuncs.com"}, ""},
		"public, in region": {map[string]any{"region": "cn-beijing"}, []string{"sts.cn-beijing.aliyuncs.com", "ram.aliyuncs.com", "resourcemanager.aliyuncs.com"}, ""},
		"vpc": {
			map[string]any{"region": "cn-beijing", "network": "vpc"},
			[]string{"sts-vpc.cn-beijing.aliyuncs.com", "ram.vpc-proxy.aliyuncs.com", "resourcemanager.vpc-proxy.aliyuncs.com"}, "",
		},
		"vpc in a region without": {
			map[string]any{"region": "cn-guangzhou", "network": "vpc"},
			[]string{"sts-vpc.cn-guangzhou.aliyuncs.com", "ram.aliyuncs.com", "resourcemanager.aliyuncs.com"},
			"network=vpc: RAM has no VPC name in region cn-guangzhou, so its calls go to ram.aliyuncs.com",
		},
		"vpc of an unknown region": {
			map[string]any{"network": "vpc", "sts_endpoint": "sts-vpc.cn-beijing.aliyuncs.com"},
			[]string{"sts-vpc.cn-beijing.aliyuncs.com", "ram.aliyuncs.com", "resourcemanager.aliyuncs.com"},
			"network=vpc: RAM has no VPC name that can be known without region",
		},
		"vpc, with endpoints": {
			map[string]any{
				"region": "cn-guangzhou", "network": "vpc", "ram_endpoint": "ram.vpc-proxy.aliyuncs.com",
				"resource_manager_endpoint": "resourcemanager.vpc-proxy.aliyuncs.com",
			},
			[]string{"sts-vpc.cn-guangzhou.aliyuncs.com", "ram.vpc-proxy.aliyuncs.com", "resourcemanager.vpc-proxy.aliyuncs.com"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // a refused deletion is waited out
				toThePresent()
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.sim.ClearJournal()
				config := map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret, "ram_endpoint": ""}
				maps.Copy(config, tc.config)
				resp := m.must(logical.UpdateOperation, "config", config)
				switch {
				case tc.warned == "" && resp != nil:
					t.Errorf("the write warns: %q", resp.Warnings)
				case tc.warned != "" && (resp == nil || !slices.ContainsFunc(resp.Warnings, func(w string) bool { return strings.HasPrefix(w, tc.warned) })):
					t.Errorf("the write answers %+v, want the warning %q", resp, tc.warned)
				}
				m.must(logical.UpdateOperation, "role/r", leastUser)
				secret := m.must(logical.ReadOperation, "creds/r", nil).Secret
				m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse, Code: "DeleteConflict.User.Policy", Status: 409, Count: 2})
				if _, err := m.revokeLease(secret); err != nil {
					t.Error(err)
				}
				hosts := map[string]string{}
				for _, call := range m.sim.Journal() {
					hosts[call.Action] = call.Host
				}
				if got := []string{hosts["GetCallerIdentity"], hosts["CreateUser"], hosts["ListPolicyAttachments"]}; !slices.Equal(got, tc.hosts) {
					t.Errorf("called %v, want %v", got, tc.hosts)
				}
			})
		})
	}
}
