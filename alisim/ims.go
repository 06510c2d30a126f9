package alisim

// Identity Management (IMS) keeps users, roles and policies with RAM. Only what counts them is here. Its permissions have
// RAM's prefix.
const (
	identityManagement        = "Ims"
	identityManagementVersion = "2019-08-15"
)

// identityManagementActions is the table of IMS.
func identityManagementActions() []action {
	return []action{{
		service: identityManagement, version: identityManagementVersion, name: "GetAccountSummary",
		resource: anything, handle: getAccountSummary,
	}}
}

// Quotas of network policies of access keys, and of keys of the account itself: nothing here is bound by them.
const (
	conditionsPerKeyPolicy = 8
	addressesPerKeyPolicy  = 50
	keysPerAccount         = 2
)

// getAccountSummary counts what the account has. Names and order of the members are those of the document.
func getAccountSummary(r *request) (object, *problem) {
	a, q := r.account(), r.store.settings.Quotas
	bound := 0
	for _, device := range a.mfa {
		if device.user != nil {
			bound++
		}
	}
	return object{{"SummaryMap", object{
		{"MFADevices", len(a.mfa)},
		{"AccessKeysPerUserQuota", q.AccessKeysPerUser},
		{"AttachedPoliciesPerGroupQuota", q.CustomPoliciesPerEntity},
		{"AttachedSystemPoliciesPerRoleQuota", q.SystemPoliciesPerEntity},
		{"AttachedPoliciesPerRoleQuota", q.CustomPoliciesPerEntity},
		{"GroupsPerUserQuota", q.GroupsPerUser},
		{"Roles", len(a.roles)},
		{"PolicySizeQuota", q.PolicyDocumentLength},
		{"AttachedSystemPoliciesPerGroupQuota", q.SystemPoliciesPerEntity},
		{"AttachedSystemPoliciesPerUserQuota", q.SystemPoliciesPerUser},
		{"AttachedPoliciesPerUserQuota", q.CustomPoliciesPerUser},
		{"GroupsQuota", q.Groups},
		{"Groups", len(a.groups)},
		{"PoliciesQuota", q.CustomPolicies},
		{"VirtualMFADevicesQuota", q.VirtualMFADevices},
		{"VersionsPerPolicyQuota", q.PolicyVersions},
		{"RolesQuota", q.Roles},
		{"UsersQuota", q.Users},
		{"Policies", len(a.policies)},
		{"Users", len(a.users)},
		{"MFADevicesInUse", bound},
		{"IPItemsPerAKPolicyQuota", addressesPerKeyPolicy},
		{"ConditionsPerAKPolicyQuota", conditionsPerKeyPolicy},
		{"AccountAccessKeysPerAccountQuota", keysPerAccount},
	}}}, nil
}
