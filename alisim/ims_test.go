package alisim

import (
	"strconv"
	"testing"
)

// The members are those that the document of GetAccountSummary (IMS 2019-08-15, "Retrieves a summary of an Alibaba Cloud
// account") lists; the counts follow what is made.
func TestGetAccountSummary(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.Quotas.Users = 7
	c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
	count := func(r result, member string) int {
		n, err := strconv.Atoi(r.text("SummaryMap." + member))
		if err != nil {
			t.Errorf("%s: %v", member, err)
		}
		return n
	}
	before := c.must(admin(), "GetAccountSummary", nil)
	for _, member := range []string{
		"AccessKeysPerUserQuota", "AccountAccessKeysPerAccountQuota", "AttachedPoliciesPerGroupQuota", "AttachedPoliciesPerRoleQuota",
		"AttachedPoliciesPerUserQuota", "AttachedSystemPoliciesPerGroupQuota", "AttachedSystemPoliciesPerRoleQuota",
		"AttachedSystemPoliciesPerUserQuota", "ConditionsPerAKPolicyQuota", "Groups", "GroupsPerUserQuota", "GroupsQuota",
		"IPItemsPerAKPolicyQuota", "MFADevices", "MFADevicesInUse", "Policies", "PoliciesQuota", "PolicySizeQuota", "Roles", "RolesQuota",
		"Users", "UsersQuota", "VersionsPerPolicyQuota", "VirtualMFADevicesQuota",
	} {
		count(before, member)
	}
	if got := count(before, "UsersQuota"); got != 7 {
		t.Errorf("UsersQuota is %d, want 7", got)
	}
	c.must(admin(), "CreateUser", params{"UserName": "one-more"})
	c.must(admin(), "CreatePolicy", params{"PolicyName": "one-more", "PolicyDocument": allowAll})
	after := c.must(admin(), "GetAccountSummary", nil)
	for _, member := range []string{"Users", "Policies"} {
		if was, is := count(before, member), count(after, member); is != was+1 {
			t.Errorf("%s is %d after %d", member, is, was)
		}
	}
	c.refused(of("nobody"), "GetAccountSummary", nil, 403, "NoPermission")
}
