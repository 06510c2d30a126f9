package alisim

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// granted is an account with two resource groups, where a user, a group and a role have policies for one of them only.
func granted() Seed {
	seed := world()
	a := &seed.Accounts[0]
	a.Alias, a.ResourceGroups = "corp", []string{"rg-1", "rg-2"}
	a.Policies = append(a.Policies, Policy{Name: "all", Document: allowAll})
	scoped := map[string][]string{"rg-1": {"all"}}
	a.Users = append(a.Users, User{
		Name: "scoped", AccessKeys: []AccessKey{{ID: "scopedkey", Secret: "scopedsecret"}}, ResourceGroupPolicies: scoped,
	})
	a.Groups = append(a.Groups, Group{Name: "scoped", ResourceGroupPolicies: scoped})
	a.Roles = append(a.Roles, Role{Name: "scoped", TrustPolicy: TrustAccount("1"), ResourceGroupPolicies: scoped})
	return seed
}

// ofAll is the policy "all" and a principal, in a resource group.
func ofAll(scope, kind, principal string) params {
	return params{
		"PolicyType": "Custom", "PolicyName": "all", "ResourceGroupId": scope, "PrincipalType": kind, "PrincipalName": principal,
	}
}

const (
	scopedUser  = "scoped@corp.onaliyun.com"
	scopedGroup = "scoped@group.corp.onaliyun.com"
	scopedRole  = "scoped@role.corp.onaliyunservice.com"
)

// F1.11: what is attached for a resource group blocks deletion, and only Resource Management shows it.
func TestGrantsOfResourceGroupsHideFromRAM(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: granted()})
	all := params{"PolicyType": "Custom", "PolicyName": "all"}
	for _, list := range []struct {
		action string
		of     params
	}{
		{"ListPoliciesForUser", params{"UserName": "scoped"}},
		{"ListPoliciesForGroup", params{"GroupName": "scoped"}},
		{"ListPoliciesForRole", params{"RoleName": "scoped"}},
	} {
		if got := c.must(admin(), list.action, list.of).list("Policies.Policy"); len(got) != 0 {
			t.Errorf("%s: %v", list.action, got)
		}
	}
	entities := c.must(admin(), "ListEntitiesForPolicy", all)
	for _, path := range []string{"Users.User", "Groups.Group", "Roles.Role"} {
		if got := entities.list(path); len(got) != 0 {
			t.Errorf("ListEntitiesForPolicy: %s %v", path, got)
		}
	}
	c.run(
		admin(),
		step{"DeleteUser", params{"UserName": "scoped"}, "DeleteConflict.User.AccessKey"},
		step{"DeleteAccessKey", params{"UserName": "scoped", "UserAccessKeyId": "scopedkey"}, ""},
		step{"DeleteUser", params{"UserName": "scoped"}, "DeleteConflict.User.Policy"},
		step{"DeleteGroup", params{"GroupName": "scoped"}, "DeleteConflict.Group.Policy"},
		step{"DeleteRole", params{"RoleName": "scoped"}, "DeleteConflict.Role.Policy"},
		step{"DeletePolicy", params{"PolicyName": "all"}, "DeleteConflict.Policy.User"},
		step{"DetachPolicyFromUser", params{"PolicyType": "Custom", "PolicyName": "all", "UserName": "scoped"}, "EntityNotExist.User.Policy"},

		step{"DetachPolicy", ofAll("rg-1", "IMSUser", scopedUser), ""},
		step{"DeleteUser", params{"UserName": "scoped"}, ""},
		step{"DeletePolicy", params{"PolicyName": "all"}, "DeleteConflict.Policy.Group"},
		step{"DetachPolicy", ofAll("rg-1", "IMSGroup", scopedGroup), ""},
		step{"DeleteGroup", params{"GroupName": "scoped"}, ""},
		step{"DeletePolicy", params{"PolicyName": "all"}, "DeleteConflict.Role.Policy"},
		step{"DetachPolicy", ofAll("rg-1", "ServiceRole", scopedRole), ""},
		step{"DeleteRole", params{"RoleName": "scoped"}, ""},
		step{"DeletePolicy", params{"PolicyName": "all"}, ""},
	)
}

// A grant of a resource group counts for the resources of that group, whoever of the user, its group or its role holds it.
func TestGrantsOfResourceGroupsCountInTheGroup(t *testing.T) {
	t.Parallel()
	seed := granted()
	a := &seed.Accounts[0]
	a.Resources = map[string]string{"ecs:instance/i-1": "rg-1", "ecs:instance/i-2": "rg-2"}
	a.Policies = append(a.Policies, Policy{Name: "none", Document: Document(strings.Replace(allowAll, "Allow", "Deny", 1))})
	a.Users = append(
		a.Users,
		User{Name: "joined", Groups: []string{"scoped"}, AccessKeys: []AccessKey{{ID: "joinedkey", Secret: "joinedsecret"}}},
		User{Name: "denied", Policies: []string{"all"}, ResourceGroupPolicies: map[string][]string{"rg-1": {"none"}}, AccessKeys: []AccessKey{{ID: "deniedkey", Secret: "deniedsecret"}}},
	)
	c := start(t, Options{NoListen: true, Seed: seed})
	session := c.must(admin(), "AssumeRole", params{"RoleArn": arn("scoped"), "RoleSessionName": "session"})
	holders := map[string]keys{"user": of("scoped"), "group": of("joined"), "role": session.keys()}
	for who, k := range holders {
		for instance, code := range map[string]string{"i-1": "", "i-2": "Forbidden.RAM", "i-3": "Forbidden.RAM"} {
			out := c.at("ecs.cn-hangzhou.aliyuncs.com", "2014-05-26", "StartInstance", k, params{"InstanceId": instance})
			if out.code() != code {
				t.Errorf("%s, %s: %d %v, want the code %q", who, instance, out.status, out.body, code)
			}
		}
		if got := c.Authorize(k.id, "ecs:StopInstance", "acs:ecs:cn-hangzhou:1:instance/i-1"); got != "Allow" {
			t.Errorf("%s: Authorize says %s", who, got)
		}
	}
	for instance, want := range map[string]string{"i-1": "ExplicitDeny", "i-2": "Allow", "i-3": "Allow"} {
		if got := c.Authorize("deniedkey", "ecs:StopInstance", "acs:ecs:cn-hangzhou:1:instance/"+instance); got != want {
			t.Errorf("a Deny in rg-1 and an Allow of the account, %s: %s, want %s", instance, got, want)
		}
	}
}

// Whoever may attach policies in a resource group may do it in that one; who may attach a policy in the account may
// attach no other.
func TestWhoMayGrantInResourceGroups(t *testing.T) {
	t.Parallel()
	seed := granted()
	a := &seed.Accounts[0]
	attach := `{"Version":"1","Statement":[{"Effect":"Allow","Action":["ram:AttachPolicy","ram:DetachPolicy"],"Resource":["acs:ram:*:1:policy/all","acs:ims:*:1:user/*"]}]}`
	a.Policies = append(a.Policies, Policy{Name: "attach", Document: Document(attach)})
	a.Users = append(
		a.Users,
		User{Name: "there", ResourceGroupPolicies: map[string][]string{"rg-2": {"all"}}, AccessKeys: []AccessKey{{ID: "therekey", Secret: "theresecret"}}},
		User{Name: "named", Policies: []string{"attach"}, AccessKeys: []AccessKey{{ID: "namedkey", Secret: "namedsecret"}}},
	)
	c := start(t, Options{NoListen: true, Seed: seed})
	system := ofAll("rg-2", "IMSUser", scopedUser)
	system["PolicyType"], system["PolicyName"] = "System", "ReadOnlyAccess"
	c.run(
		of("there"),
		step{"GetResourceGroup", params{"ResourceGroupId": "rg-2"}, ""},
		step{"GetResourceGroup", params{"ResourceGroupId": "rg-1"}, "NoPermission"},
		step{"AttachPolicy", system, ""},
		step{"AttachPolicy", ofAll("1", "IMSUser", scopedUser), "NoPermission"},
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", scopedUser), "NoPermission"},
	)
	c.run(
		of("named"),
		step{"AttachPolicy", ofAll("rg-2", "IMSUser", scopedUser), ""},
		step{"DetachPolicy", system, "NoPermission"},
		step{"DetachPolicy", ofAll("rg-1", "ServiceRole", scopedRole), "NoPermission"},
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", scopedUser), ""},
	)
}

// With a group go its grants; one that has resources stays.
func TestDeleteResourceGroup(t *testing.T) {
	t.Parallel()
	seed := granted()
	seed.Accounts[0].Resources = map[string]string{"ecs:instance/i-2": "rg-2"}
	c := start(t, Options{NoListen: true, Seed: seed})
	c.run(
		admin(),
		step{"DeleteResourceGroup", params{"ResourceGroupId": "rg-2"}, "DeleteConflict.ResourceGroup.Resource"},
		step{"DeleteResourceGroup", params{"ResourceGroupId": "1"}, "EntityNotExists.ResourceGroup"},
		step{"GetResourceGroup", params{"ResourceGroupId": "1"}, "EntityNotExists.ResourceGroup"},
		step{"DeleteResourceGroup", params{"ResourceGroupId": "rg-1"}, ""},
		step{"DeleteResourceGroup", params{"ResourceGroupId": "rg-1"}, "EntityNotExists.ResourceGroup"},
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", scopedUser), "EntityNotExists.ResourceGroup"},
		step{"DeletePolicy", params{"PolicyName": "all"}, ""},
		step{"DeleteRole", params{"RoleName": "scoped"}, ""},
	)
}

// The list of attachments lags behind, as others do.
func TestListPolicyAttachmentsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.Propagation.Attachment = time.Minute
		c := start(t, Options{NoListen: true, Seed: granted(), Settings: &settings})
		inRG2 := func() int {
			return len(c.must(admin(), "ListPolicyAttachments", params{"ResourceGroupId": "rg-2"}).list("PolicyAttachments.PolicyAttachment"))
		}
		c.must(admin(), "AttachPolicy", ofAll("rg-2", "IMSUser", scopedUser))
		if n := inRG2(); n != 0 {
			t.Errorf("just attached: %d are listed", n)
		}
		c.Advance(time.Minute)
		c.must(admin(), "DetachPolicy", ofAll("rg-2", "IMSUser", scopedUser))
		if n := inRG2(); n != 1 {
			t.Errorf("just detached: %d are listed", n)
		}
		c.Advance(time.Minute)
		if n := inRG2(); n != 0 {
			t.Errorf("long detached: %d are listed", n)
		}
	})
}

// Where an account has an alias, its id may not do in names of principals.
func TestPrincipalsByAlias(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.PrincipalsByAlias = true
	c := start(t, Options{NoListen: true, Seed: granted(), Settings: &settings})
	c.run(
		admin(),
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", "scoped@1.onaliyun.com"), "InvalidParameter.PrincipalName"},
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", scopedUser), ""},
		step{"ClearAccountAlias", nil, ""},
		step{"AttachPolicy", ofAll("rg-1", "IMSUser", "scoped@1.onaliyun.com"), ""},
	)
}

// A grant of a resource group is no grant for the account.
func TestGrantsOfResourceGroupsAreNarrow(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: granted()})
	c.refused(of("scoped"), "ListUsers", nil, 403, "NoPermission")
	c.must(admin(), "AttachPolicy", ofAll("1", "IMSUser", scopedUser))
	c.must(of("scoped"), "ListUsers", nil)
	if got := c.must(admin(), "ListPoliciesForUser", params{"UserName": "scoped"}).list("Policies.Policy"); len(got) != 1 {
		t.Errorf("an attachment for the account id is not the ordinary one: %v", got)
	}
	u, _ := c.Inventory().User("scoped")
	if want := []PolicyLabel{{"Custom", "all", "rg-1"}, {"Custom", "all", ""}}; !slices.Equal(u.Policies, want) {
		t.Errorf("inventory: %v", u.Policies)
	}
	// RAM attaches and detaches for a resource group too.
	inRG2 := params{"PolicyType": "Custom", "PolicyName": "all", "RoleName": "scoped", "ResourceGroupId": "rg-2"}
	c.run(
		admin(),
		step{"AttachPolicyToRole", inRG2, ""},
		step{"AttachPolicyToRole", inRG2, "EntityAlreadyExists.Role.Policy"},
		step{"DetachPolicyFromRole", inRG2, ""},
		step{"DetachPolicyFromRole", inRG2, "EntityNotExist.Role.Policy"},
	)
}

func TestListPolicyAttachments(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: granted()})
	c.must(admin(), "AttachPolicyToUser", params{"PolicyType": "Custom", "PolicyName": "all", "UserName": "scoped"})
	inRG1 := []string{scopedUser + " rg-1", scopedGroup + " rg-1", scopedRole + " rg-1"}
	for _, tc := range []struct {
		name  string
		p     params
		total string
		want  []string
	}{
		{"all of a policy", params{"PolicyName": "all"}, "4", []string{inRG1[0], scopedUser + " 1", inRG1[1], inRG1[2]}},
		{"a resource group", params{"ResourceGroupId": "rg-1"}, "3", inRG1},
		{"an empty one", params{"ResourceGroupId": "rg-2"}, "0", nil},
		{"the account", params{"ResourceGroupId": "1", "PolicyName": "all"}, "1", []string{scopedUser + " 1"}},
		{"a kind", params{"PolicyName": "all", "PrincipalType": "ServiceRole"}, "1", inRG1[2:]},
		{"a principal by the id of the account", params{"PrincipalName": "scoped@role.1.onaliyunservice.com"}, "1", inRG1[2:]},
		{"a type of policy", params{"PolicyType": "System", "ResourceGroupId": "rg-1"}, "0", nil},
		{"the second page", params{"ResourceGroupId": "rg-1", "PageSize": "2", "PageNumber": "2"}, "3", inRG1[2:]},
		{"behind the last page", params{"ResourceGroupId": "rg-1", "PageNumber": "2"}, "3", nil},
		{"nobody", params{"PrincipalName": "none@corp.onaliyun.com"}, "0", nil},
	} {
		out := c.must(admin(), "ListPolicyAttachments", tc.p)
		var got []string
		for _, record := range out.list("PolicyAttachments.PolicyAttachment") {
			got = append(got, record["PrincipalName"].(string)+" "+record["ResourceGroupId"].(string))
		}
		if out.text("TotalCount") != tc.total || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %s of %s, want %s of %s", tc.name, got, out.text("TotalCount"), tc.want, tc.total)
		}
	}
}

func TestResourceManagerRefuses(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: granted()})
	without := func(name string) params {
		p := ofAll("rg-1", "IMSUser", scopedUser)
		delete(p, name)
		return p
	}
	unknownPolicy := ofAll("rg-1", "IMSUser", scopedUser)
	unknownPolicy["PolicyName"] = "none"
	c.run(
		admin(),
		step{"AttachPolicy", without("ResourceGroupId"), "MissingResourceGroupId"},
		step{"AttachPolicy", without("PrincipalName"), "MissingPrincipalName"},
		step{"AttachPolicy", ofAll("rg-none", "IMSUser", scopedUser), "EntityNotExists.ResourceGroup"},
		step{"AttachPolicy", unknownPolicy, "EntityNotExist.Policy"},
		step{"AttachPolicy", ofAll("rg-1", "IMSUser", scopedUser), "EntityAlreadyExists.User.Policy"},
		step{"DetachPolicy", ofAll("rg-2", "IMSUser", scopedUser), "EntityNotExist.User.Policy"},
		step{"DetachPolicy", ofAll("rg-1", "IMSUser", "none@corp.onaliyun.com"), "EntityNotExist.User"},
		step{"DetachPolicy", ofAll("rg-1", "ServiceRole", scopedUser), "InvalidParameter.PrincipalName"},
		step{"DetachPolicy", ofAll("rg-1", "Somebody", scopedUser), "InvalidParameter.PrincipalType"},
		step{"ListPolicyAttachments", params{"PageSize": "101"}, "InvalidParameter.PageSize"},
		step{"ListPolicyAttachments", params{"ResourceGroupId": "rg-none"}, "EntityNotExists.ResourceGroup"},
		step{"ListPolicyAttachments", params{"PrincipalType": "Somebody"}, "InvalidParameter.PrincipalType"},
	)
	c.refused(of("scoped"), "ListPolicyAttachments", nil, 403, "NoPermission")
	listing := strings.Replace(allowAll, `"Action":"*"`, `"Action":"ram:ListPolicyAttachments"`, 1)
	c.must(admin(), "CreatePolicy", params{"PolicyName": "listing", "PolicyDocument": listing})
	c.must(admin(), "AttachPolicyToUser", params{"PolicyType": "Custom", "PolicyName": "listing", "UserName": "scoped"})
	c.must(of("scoped"), "ListPolicyAttachments", nil)
}
