package alisim

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestLimitsPage holds the numbers of docs/sites-and-limits.md to the quotas that
// the simulator enforces.
func TestLimitsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/sites-and-limits.md")
	if err != nil {
		t.Fatal(err)
	}
	q := DefaultSettings().Quotas
	for what, want := range map[string]int{
		"RAM users in an account": q.Users, "RAM roles in an account": q.Roles, "custom policies in an account": q.CustomPolicies,
		"groups in an account": q.Groups, "AccessKeys of a RAM user": q.AccessKeysPerUser, "groups that a RAM user joins": q.GroupsPerUser,
		"system policies of a RAM user": q.SystemPoliciesPerUser, "custom policies of a RAM user": q.CustomPoliciesPerUser,
		"system policies of a RAM role": q.SystemPoliciesPerEntity, "custom policies of a RAM role": q.CustomPoliciesPerEntity,
		"versions of a custom policy": q.PolicyVersions, "characters of a policy": q.PolicyDocumentLength,
	} {
		row := regexp.MustCompile(`(?m)^\| ` + what + ` \| (\d+)`).FindSubmatch(page)
		if row == nil || string(row[1]) != strconv.Itoa(want) {
			t.Errorf("%s: the page has %q, the simulator %d", what, row, want)
		}
	}
}
