package alisim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const allowAll = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// step is one call and what it must answer.
type step struct {
	action string
	p      params
	code   string // empty: succeeds
}

func (c *cloud) run(k keys, steps ...step) {
	c.t.Helper()
	for i, s := range steps {
		if out := c.call(k, s.action, s.p); out.code() != s.code {
			c.t.Fatalf("step %d, %s %v: got %d %q, want %q: %v", i+1, s.action, s.p, out.status, out.code(), s.code, out.body)
		}
	}
}

func admin() keys { return of("admin") }

// Every refusal that a single call can meet.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	c.run(
		admin(),
		step{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
		step{"CreateGroup", params{"GroupName": "g"}, ""},
	)
	long := func(n int) string { return strings.Repeat("x", n) }
	trust := string(TrustAccount("1"))
	attach := func(more ...string) params {
		p := params{"PolicyType": "Custom", "PolicyName": "p", "UserName": "nobody", "GroupName": "g", "RoleName": "open"}
		for i := 0; i < len(more); i += 2 {
			p[more[i]] = more[i+1]
		}
		return p
	}
	for _, s := range []step{
		{"CreateUser", nil, "MissingUserName"},
		{"CreateUser", params{"UserName": "admin"}, "EntityAlreadyExists.User"},
		{"CreateUser", params{"UserName": "a b"}, "InvalidParameter.UserName.InvalidChars"},
		{"CreateUser", params{"UserName": long(65)}, "InvalidParameter.UserName.Length"},
		{"CreateUser", params{"UserName": "u", "DisplayName": long(129)}, "InvalidParameter.DisplayName.Length"},
		{"CreateUser", params{"UserName": "u", "Comments": long(129)}, "InvalidParameter.Comments.Length"},
		{"CreateUser", params{"UserName": "u", "Email": "x"}, "InvalidParameter.Email.Format"},
		{"CreateUser", params{"UserName": "u", "MobilePhone": "x"}, "InvalidParameter.MobilePhone.Format"},
		{"GetUser", params{"UserName": "none"}, "EntityNotExist.User"},
		{"UpdateUser", params{"UserName": "none"}, "EntityNotExist.User"},
		{"UpdateUser", params{"UserName": "nobody", "NewUserName": "admin"}, "EntityAlreadyExists.User"},
		{"UpdateUser", params{"UserName": "nobody", "NewUserName": "a b"}, "InvalidParameter.NewUserName.InvalidChars"},
		{"UpdateUser", params{"UserName": "nobody", "NewEmail": "x"}, "InvalidParameter.NewEmail.Format"},
		{"DeleteUser", params{"UserName": "none"}, "EntityNotExist.User"},
		{"ListUsers", params{"MaxItems": "0"}, "InvalidParameter.MaxItems"},
		{"ListUsers", params{"MaxItems": "1001"}, "InvalidParameter.MaxItems"},
		{"ListUsers", params{"Marker": "?"}, "InvalidParameter.Marker"},

		{"CreateAccessKey", params{"UserName": "none"}, "EntityNotExist.User"},
		{"ListAccessKeys", params{"UserName": "none"}, "EntityNotExist.User"},
		{"UpdateAccessKey", params{"UserName": "nobody", "UserAccessKeyId": "none", "Status": "Active"}, "EntityNotExist.User.AccessKey"},
		{"UpdateAccessKey", params{"UserName": "nobody", "UserAccessKeyId": "nobodykey", "Status": "active"}, "InvalidParameter.Status"},
		{"DeleteAccessKey", params{"UserName": "nobody", "UserAccessKeyId": "adminkey"}, "EntityNotExist.User.AccessKey"},
		{"DeleteAccessKey", params{"UserName": "none", "UserAccessKeyId": "adminkey"}, "EntityNotExist.User"},
		{"DeleteAccessKey", params{"UserName": "nobody"}, "MissingUserAccessKeyId"},
		{"GetAccessKeyLastUsed", params{"UserName": "nobody", "UserAccessKeyId": "none"}, "EntityNotExist.User.AccessKey"},

		{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, "EntityAlreadyExists.Policy"},
		{"CreatePolicy", params{"PolicyName": "AdministratorAccess", "PolicyDocument": allowAll}, "EntityAlreadyExists.Policy"},
		{"CreatePolicy", params{"PolicyName": "a_b", "PolicyDocument": allowAll}, "InvalidParameter.PolicyName.InvalidChars"},
		{"CreatePolicy", params{"PolicyName": long(129), "PolicyDocument": allowAll}, "InvalidParameter.PolicyName.Length"},
		{"CreatePolicy", params{"PolicyName": "q", "PolicyDocument": long(6145)}, "InvalidParameter.PolicyDocument.Length"},
		{"CreatePolicy", params{"PolicyName": "q", "PolicyDocument": allowAll, "Description": long(1025)}, "InvalidParameter.Description.Length"},
		{"CreatePolicy", params{"PolicyName": "q", "PolicyDocument": "{}"}, "MalformedPolicyDocument"},
		{"CreatePolicy", params{"PolicyName": "q", "PolicyDocument": allowAll, "Tag.1.Key": "acs:x"}, "InvalidParameter.Tag"},
		{"GetPolicy", params{"PolicyType": "Custom", "PolicyName": "none"}, "EntityNotExist.Policy"},
		{"GetPolicy", params{"PolicyType": "Custom", "PolicyName": "AdministratorAccess"}, "EntityNotExist.Policy"},
		{"GetPolicy", params{"PolicyType": "custom", "PolicyName": "p"}, "InvalidParameter.PolicyType"},
		{"DeletePolicy", params{"PolicyName": "none"}, "EntityNotExist.Policy"},
		{"DeletePolicy", params{"PolicyName": "AdministratorAccess"}, "EntityNotExist.Policy"},
		{"DeletePolicy", params{"PolicyName": "p", "CascadingDelete": "maybe"}, "InvalidParameter.CascadingDelete"},
		{"CreatePolicyVersion", params{"PolicyName": "none", "PolicyDocument": allowAll}, "EntityNotExist.Policy"},
		{"CreatePolicyVersion", params{"PolicyName": "p", "PolicyDocument": "x"}, "MalformedPolicyDocument"},
		{"CreatePolicyVersion", params{"PolicyName": "p", "PolicyDocument": allowAll, "RotateStrategy": "x"}, "InvalidParameter.RotateStrategy"},
		{"GetPolicyVersion", params{"PolicyType": "Custom", "PolicyName": "p", "VersionId": "v9"}, "EntityNotExist.Policy.Version"},
		{"GetPolicyVersion", params{"PolicyType": "Custom", "PolicyName": "p", "VersionId": "9"}, "InvalidParameter.VersionId.Format"},
		{"SetDefaultPolicyVersion", params{"PolicyName": "p", "VersionId": "v9"}, "EntityNotExist.Policy.Version"},
		{"DeletePolicyVersion", params{"PolicyName": "p", "VersionId": "v1"}, "DeleteConflict.Policy.Version.Default"},
		{"ListPolicies", params{"PolicyType": "x"}, "InvalidParameter.PolicyType"},
		{"ListEntitiesForPolicy", params{"PolicyType": "Custom", "PolicyName": "none"}, "EntityNotExist.Policy"},
		{"DecodeDiagnosticMessage", params{"EncodedDiagnosticMessage": "?"}, "InvalidParameter.EncodedDiagnosticMessage"},

		{"AttachPolicyToUser", attach("UserName", "none"), "EntityNotExist.User"},
		{"AttachPolicyToUser", attach("PolicyName", "none"), "EntityNotExist.Policy"},
		{"AttachPolicyToUser", attach("PolicyType", "x"), "InvalidParameter.PolicyType"},
		{"AttachPolicyToUser", attach("PolicyType", ""), "MissingPolicyType"},
		{"DetachPolicyFromUser", attach(), "EntityNotExist.User.Policy"},
		{"DetachPolicyFromUser", attach("PolicyName", "none"), "EntityNotExist.Policy"},
		{"DetachPolicyFromUser", attach("UserName", "none"), "EntityNotExist.User"},
		{"AttachPolicyToGroup", attach("GroupName", "none"), "EntityNotExist.Group"},
		{"DetachPolicyFromGroup", attach(), "EntityNotExist.Group.Policy"},
		{"AttachPolicyToRole", attach("RoleName", "none"), "EntityNotExist.Role"},
		{"DetachPolicyFromRole", attach(), "EntityNotExist.Role.Policy"},
		{"ListPoliciesForUser", params{"UserName": "none"}, "EntityNotExist.User"},
		{"ListPoliciesForGroup", params{"GroupName": "none"}, "EntityNotExist.Group"},
		{"ListPoliciesForRole", params{"RoleName": "none"}, "EntityNotExist.Role"},

		{"CreateGroup", params{"GroupName": "g"}, "EntityAlreadyExists.Group"},
		{"CreateGroup", params{"GroupName": "a b"}, "InvalidParameter.GroupName.InvalidChars"},
		{"GetGroup", params{"GroupName": "none"}, "EntityNotExist.Group"},
		{"UpdateGroup", params{"GroupName": "g", "NewGroupName": "assumers"}, "EntityAlreadyExists.Group"},
		{"DeleteGroup", params{"GroupName": "none"}, "EntityNotExist.Group"},
		{"AddUserToGroup", params{"UserName": "none", "GroupName": "g"}, "EntityNotExist.User"},
		{"AddUserToGroup", params{"UserName": "nobody", "GroupName": "none"}, "EntityNotExist.Group"},
		{"AddUserToGroup", params{"UserName": "member", "GroupName": "assumers"}, "EntityAlreadyExists.User.Group"},
		{"RemoveUserFromGroup", params{"UserName": "nobody", "GroupName": "g"}, "EntityNotExist.User.Group"},
		{"ListGroupsForUser", params{"UserName": "none"}, "EntityNotExist.User"},
		{"ListUsersForGroup", params{"GroupName": "none"}, "EntityNotExist.Group"},

		{"CreateRole", params{"RoleName": "open", "AssumeRolePolicyDocument": trust}, "EntityAlreadyExists.Role"},
		{"CreateRole", params{"RoleName": "a_b", "AssumeRolePolicyDocument": trust}, "InvalidParameter.RoleName.InvalidChars"},
		{"CreateRole", params{"RoleName": long(65), "AssumeRolePolicyDocument": trust}, "InvalidParameter.RoleName.Length"},
		{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": allowAll}, "MalformedPolicyDocument"},
		{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": long(6145)}, "InvalidParameter.AssumeRolePolicyDocument.Length"},
		{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": trust, "MaxSessionDuration": "3599"}, "InvalidParameter.MaxSessionDuration"},
		{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": trust, "MaxSessionDuration": "43201"}, "InvalidParameter.MaxSessionDuration"},
		{"CreateRole", params{"RoleName": "r"}, "MissingAssumeRolePolicyDocument"},
		{"GetRole", params{"RoleName": "none"}, "EntityNotExist.Role"},
		{"UpdateRole", params{"RoleName": "open", "NewAssumeRolePolicyDocument": "{}"}, "MalformedPolicyDocument"},
		{"UpdateRole", params{"RoleName": "open", "NewMaxSessionDuration": "1"}, "InvalidParameter.NewMaxSessionDuration"},
		{"DeleteRole", params{"RoleName": "none"}, "EntityNotExist.Role"},
		{"DeleteRole", params{"RoleName": "open"}, "DeleteConflict.Role.Policy"},

		{"CreateLoginProfile", params{"UserName": "none", "Password": "abcDEF123!"}, "EntityNotExist.User"},
		{"CreateLoginProfile", params{"UserName": "nobody", "Password": "12345678"}, "InvalidParameter.Password.TooWeak"},
		{"CreateLoginProfile", params{"UserName": "nobody", "Password": "abcDEF123!", "MFABindRequired": "x"}, "InvalidParameter.MFABindRequired"},
		{"GetLoginProfile", params{"UserName": "nobody"}, "EntityNotExist.User.LoginProfile"},
		{"UpdateLoginProfile", params{"UserName": "nobody"}, "EntityNotExist.User.LoginProfile"},
		{"DeleteLoginProfile", params{"UserName": "nobody"}, "EntityNotExist.User.LoginProfile"},
		{"UnbindMFADevice", params{"UserName": "nobody"}, "EntityNotExist.User.MFADevice"},
		{"GetUserMFAInfo", params{"UserName": "nobody"}, "EntityNotExist.User.MFADevice"},
		{"DeleteVirtualMFADevice", params{"SerialNumber": "none"}, "EntityNotExist.VirtualMFADevice"},

		{"TagResources", params{"ResourceType": "user", "ResourceNames.1": "nobody", "Tag.1.Key": "k"}, "InvalidParameter.ResourceType"},
		{"TagResources", params{"ResourceType": "role", "ResourceNames.1": "none", "Tag.1.Key": "k"}, "EntityNotExist.Role"},
		{"TagResources", params{"ResourceType": "policy", "ResourceNames.1": "none", "Tag.1.Key": "k"}, "EntityNotExist.Policy"},
		{"TagResources", params{"ResourceType": "role", "Tag.1.Key": "k"}, "MissingResourceNames"},
		{"TagResources", params{"ResourceType": "role", "ResourceNames.1": "open"}, "MissingTag"},
		{"TagResources", params{"ResourceType": "role", "ResourceNames.1": "open", "Tag.1.Key": "https://x"}, "InvalidParameter.Tag"},
	} {
		t.Run(s.action+" "+s.code, func(t *testing.T) {
			t.Parallel()
			c.in(t).run(admin(), s)
		})
	}
}

// A user holds on to life while anything is attached to it.
func TestDeleteConflicts(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	custom := func(more ...string) params {
		p := params{"PolicyType": "Custom", "PolicyName": "p"}
		for i := 0; i < len(more); i += 2 {
			p[more[i]] = more[i+1]
		}
		return p
	}
	u := params{"UserName": "u"}
	device := "acs:ram::1:mfa/d"
	c.run(
		admin(),
		step{"CreateUser", u, ""},
		step{"CreateGroup", params{"GroupName": "g"}, ""},
		step{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
		step{"AddUserToGroup", params{"UserName": "u", "GroupName": "g"}, ""},
		step{"AttachPolicyToUser", custom("UserName", "u"), ""},
		step{"AttachPolicyToUser", custom("UserName", "u"), "EntityAlreadyExists.User.Policy"},
		step{"AttachPolicyToGroup", custom("GroupName", "g"), ""},
		step{"AttachPolicyToGroup", custom("GroupName", "g"), "EntityAlreadyExists.Group.Policy"},
		step{"AttachPolicyToRole", custom("RoleName", "open"), ""},
		step{"AttachPolicyToRole", custom("RoleName", "open"), "EntityAlreadyExists.Role.Policy"},
		step{"CreateLoginProfile", params{"UserName": "u", "Password": "abcDEF123!", "PasswordResetRequired": "true"}, ""},
		step{"CreateLoginProfile", params{"UserName": "u", "Password": "abcDEF123!"}, "EntityAlreadyExists.User.LoginProfile"},
		step{"UpdateLoginProfile", params{"UserName": "u", "PasswordResetRequired": "false"}, ""},
		step{"GetLoginProfile", u, ""},
		step{"CreateVirtualMFADevice", params{"VirtualMFADeviceName": "d"}, ""},
		step{"CreateVirtualMFADevice", params{"VirtualMFADeviceName": "d"}, "EntityAlreadyExists.VirtualMFADevice"},
		step{"BindMFADevice", params{"UserName": "u", "SerialNumber": device, "AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}, ""},
		step{"DeleteVirtualMFADevice", params{"SerialNumber": device}, "DeleteConflict.VirtualMFADevice.User"},
		step{"ListVirtualMFADevices", nil, ""},
		step{"GetUserMFAInfo", u, ""},

		step{"DeleteGroup", params{"GroupName": "g"}, "DeleteConflict.Group.User"},
		step{"DeleteUser", u, "DeleteConflict.User.Group"},
		step{"RemoveUserFromGroup", params{"UserName": "u", "GroupName": "g"}, ""},
		step{"DeleteGroup", params{"GroupName": "g"}, "DeleteConflict.Group.Policy"},
	)
	k := c.must(admin(), "CreateAccessKey", u).text("AccessKey.AccessKeyId")
	c.run(
		admin(),
		step{"DeleteUser", u, "DeleteConflict.User.AccessKey"},
		step{"DeleteAccessKey", params{"UserName": "u", "UserAccessKeyId": k}, ""},
		step{"DeleteUser", u, "DeleteConflict.User.LoginProfile"},
		step{"DeleteLoginProfile", u, ""},
		step{"DeleteUser", u, "DeleteConflict.User.MFADevice"},
		step{"UnbindMFADevice", u, ""},
		step{"DeleteVirtualMFADevice", params{"SerialNumber": device}, ""},
		step{"DeleteUser", u, "DeleteConflict.User.Policy"},
		step{"DeletePolicy", params{"PolicyName": "p"}, "DeleteConflict.Policy.User"},
		step{"DetachPolicyFromUser", custom("UserName", "u"), ""},
		step{"DeletePolicy", params{"PolicyName": "p"}, "DeleteConflict.Policy.Group"},
		step{"DetachPolicyFromGroup", custom("GroupName", "g"), ""},
		step{"DeletePolicy", params{"PolicyName": "p"}, "DeleteConflict.Role.Policy"},
		step{"DetachPolicyFromRole", custom("RoleName", "open"), ""},
		step{"CreatePolicyVersion", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
		step{"DeletePolicy", params{"PolicyName": "p"}, "DeleteConflict.Policy.Version"},
		step{"DeletePolicy", params{"PolicyName": "p", "CascadingDelete": "true"}, ""},
		step{"DeleteGroup", params{"GroupName": "g"}, ""},
		step{"DeleteUser", u, ""},
		step{"GetUser", u, "EntityNotExist.User"},
	)
	inv := c.Inventory()
	if !slices.Contains(inv.Bin.Users, "u") || !slices.Contains(inv.Bin.AccessKeys, k) {
		t.Errorf("recycle bin %+v", inv.Bin)
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.Quotas = Quotas{
		Users: 6, AccessKeysPerUser: 2, Groups: 3, GroupsPerUser: 1, Roles: 9, CustomPolicies: 5, PolicyVersions: 2,
		PolicyDocumentLength: 500, SystemPoliciesPerUser: 1, CustomPoliciesPerUser: 2, SystemPoliciesPerEntity: 1, CustomPoliciesPerEntity: 1,
	}
	c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
	policy := func(name string) step {
		return step{"CreatePolicy", params{"PolicyName": name, "PolicyDocument": allowAll}, ""}
	}
	attach := func(to, kind, name, entity, code string) step {
		return step{"AttachPolicyTo" + to, params{"PolicyType": kind, "PolicyName": name, to + "Name": entity}, code}
	}
	c.run(
		admin(),
		step{"CreateUser", params{"UserName": "u"}, ""},
		step{"CreateUser", params{"UserName": "v"}, "LimitExceeded.User"},
		step{"CreateAccessKey", params{"UserName": "u"}, ""},
		step{"CreateAccessKey", params{"UserName": "u"}, ""},
		step{"CreateAccessKey", params{"UserName": "u"}, "LimitExceeded.User.AccessKey"},
		step{"CreateGroup", params{"GroupName": "g"}, ""},
		step{"CreateGroup", params{"GroupName": "h"}, ""},
		step{"CreateGroup", params{"GroupName": "i"}, "LimitExceeded.Group"},
		step{"AddUserToGroup", params{"UserName": "u", "GroupName": "g"}, ""},
		step{"AddUserToGroup", params{"UserName": "u", "GroupName": "h"}, "LimitExceeded.User.Group"},
		step{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": string(TrustAccount("1"))}, ""},
		step{"CreateRole", params{"RoleName": "s", "AssumeRolePolicyDocument": string(TrustAccount("1"))}, "LimitExceeded.Role"},
		policy("p1"), policy("p2"), policy("p3"),
		step{"CreatePolicy", params{"PolicyName": "p4", "PolicyDocument": allowAll}, "LimitExceeded.Policy"},
		attach("User", "Custom", "p1", "u", ""),
		attach("User", "Custom", "p2", "u", ""),
		attach("User", "Custom", "p3", "u", "LimitExceeded.User.Policy"),
		attach("User", "System", "ReadOnlyAccess", "u", ""),
		attach("User", "System", "AliyunOSSFullAccess", "u", "LimitExceeded.User.Policy"),
		attach("Group", "Custom", "p1", "g", ""),
		attach("Group", "Custom", "p2", "g", "LimitExceeded.Group.Policy"),
		attach("Role", "Custom", "p1", "r", ""),
		attach("Role", "Custom", "p2", "r", "LimitExceeded.Role.Policy"),
		attach("Role", "System", "ReadOnlyAccess", "r", ""),
		attach("Role", "System", "AliyunOSSFullAccess", "r", "LimitExceeded.Role.Policy"),
		step{"CreatePolicyVersion", params{"PolicyName": "p1", "PolicyDocument": allowAll}, ""},
		step{"CreatePolicyVersion", params{"PolicyName": "p1", "PolicyDocument": allowAll}, "LimitExceeded.Policy.Version"},
		step{"CreatePolicyVersion", params{"PolicyName": "p1", "PolicyDocument": allowAll, "SetAsDefault": "true", "RotateStrategy": "DeleteOldestNonDefaultVersionWhenLimitExceeded"}, ""},
		step{"DeletePolicyVersion", params{"PolicyName": "p1", "VersionId": "v2"}, "EntityNotExist.Policy.Version"},
		step{"DeletePolicyVersion", params{"PolicyName": "p1", "VersionId": "v1"}, ""},
		step{"GetPolicyVersion", params{"PolicyType": "Custom", "PolicyName": "p1", "VersionId": "v3"}, ""},
	)
}

func TestPaging(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	c := start(t, Options{NoListen: true, Settings: &settings})
	for i := range 11 {
		c.must(vaultKeys, "CreateUser", params{"UserName": fmt.Sprintf("u%02d", i)})
	}
	all := func(p params) (names []string, pages int) {
		for {
			out := c.must(vaultKeys, "ListUsers", p)
			pages++
			for _, u := range out.list("Users.User") {
				names = append(names, u["UserName"].(string))
			}
			if out.text("IsTruncated") != "true" {
				return names, pages
			}
			p["Marker"] = out.text("Marker")
		}
	}
	if names, pages := all(params{}); len(names) != 12 || pages != 1 {
		t.Errorf("%d pages with %v", pages, names)
	}
	if names, pages := all(params{"MaxItems": "5"}); len(names) != 12 || pages != 3 || !slices.IsSorted(names) {
		t.Errorf("%d pages with %v", pages, names)
	}
	settings.PageLimit = 2
	if err := c.Configure(settings); err != nil {
		t.Fatal(err)
	}
	if names, pages := all(params{"MaxItems": "5"}); len(names) != 12 || pages != 6 {
		t.Errorf("%d pages with %v", pages, names)
	}
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	// A caller without UserName means itself.
	first := c.must(admin(), "CreateAccessKey", nil)
	k := keys{id: first.text("AccessKey.AccessKeyId"), secret: first.text("AccessKey.AccessKeySecret")}
	c.must(k, "GetUser", params{"UserName": "admin"})
	if used := c.must(admin(), "GetAccessKeyLastUsed", params{"UserAccessKeyId": k.id}).text("AccessKeyLastUsed.LastUsedDate"); used == "" {
		t.Error("never used")
	}
	list := c.must(admin(), "ListAccessKeys", nil)
	if n := len(list.list("AccessKeys.AccessKey")); n != 2 || strings.Contains(fmt.Sprint(list.body), k.secret) {
		t.Errorf("keys %v", list.body)
	}
	c.must(admin(), "UpdateAccessKey", params{"UserAccessKeyId": k.id, "Status": "Inactive"})
	c.refused(k, "GetUser", params{"UserName": "admin"}, 400, "InvalidAccessKeyId.Inactive")
	c.must(admin(), "UpdateAccessKey", params{"UserAccessKeyId": k.id, "Status": "Active"})
	c.must(k, "GetUser", params{"UserName": "admin"})
	c.must(admin(), "DeleteAccessKey", params{"UserAccessKeyId": k.id})
	c.refused(k, "GetUser", params{"UserName": "admin"}, 404, "InvalidAccessKeyId.NotFound")
	// The account has keys of its own; a role has none.
	root := c.must(of("root"), "CreateAccessKey", nil)
	c.must(of("root"), "DeleteAccessKey", params{"UserAccessKeyId": root.text("AccessKey.AccessKeyId")})
	session := c.must(admin(), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}).keys()
	c.refused(session, "CreateAccessKey", nil, 400, "MissingUserName")
}

func TestReads(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	c.run(
		admin(),
		step{"CreateUser", params{"UserName": "u", "DisplayName": "U", "Comments": "made by a test"}, ""},
		step{"UpdateUser", params{"UserName": "u", "NewUserName": "w", "NewComments": ""}, ""},
		step{"AddUserToGroup", params{"UserName": "w", "GroupName": "assumers"}, ""},
		step{"UpdateGroup", params{"GroupName": "assumers", "NewGroupName": "hoppers", "NewComments": "c"}, ""},
		step{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": string(TrustAccount("1")), "MaxSessionDuration": "7200", "Tag.1.Key": "k", "Tag.1.Value": "v"}, ""},
		step{"UpdateRole", params{"RoleName": "r", "NewDescription": "d", "NewMaxSessionDuration": "3600", "NewAssumeRolePolicyDocument": string(TrustAccount("2"))}, ""},
		step{"AttachPolicyToRole", params{"RoleName": "r", "PolicyType": "System", "PolicyName": "ReadOnlyAccess"}, ""},
		step{"TagResources", params{"ResourceType": "role", "ResourceNames.1": "r", "ResourceNames.2": "open", "Tag.1.Key": "k2", "Tag.1.Value": "v2"}, ""},
		step{"UntagResources", params{"ResourceType": "role", "ResourceNames.1": "open", "TagKey.1": "k2"}, ""},
		step{"SetDefaultPolicyVersion", params{"PolicyName": "only-hop", "VersionId": "v1"}, ""},
	)
	for _, tc := range []struct {
		action string
		p      params
		path   string
		want   string
	}{
		{"GetUser", params{"UserName": "w"}, "User.DisplayName", "U"},
		{"GetUser", params{"UserName": "w"}, "User.Comments", ""},
		{"GetGroup", params{"GroupName": "hoppers"}, "Group.Comments", "c"},
		{"GetRole", params{"RoleName": "r"}, "Role.MaxSessionDuration", "3600"},
		{"GetRole", params{"RoleName": "r"}, "Role.Arn", "acs:ram::1:role/r"},
		{"GetRole", params{"RoleName": "r"}, "Role.AssumeRolePolicyDocument", string(TrustAccount("2"))},
		{"GetPolicy", params{"PolicyType": "System", "PolicyName": "ReadOnlyAccess"}, "Policy.AttachmentCount", "1"},
		{"GetPolicy", params{"PolicyType": "Custom", "PolicyName": "only-hop"}, "DefaultPolicyVersion.VersionId", "v1"},
		{"GetPolicy", params{"PolicyType": "Custom", "PolicyName": "only-hop"}, "DefaultPolicyVersion.IsDefaultVersion", "true"},
	} {
		if got := c.must(admin(), tc.action, tc.p).text(tc.path); got != tc.want {
			t.Errorf("%s %v: %s is %q, want %q", tc.action, tc.p, tc.path, got, tc.want)
		}
	}
	for _, tc := range []struct {
		action string
		p      params
		path   string
		want   int
	}{
		{"ListUsers", nil, "Users.User", 6},
		{"ListGroups", nil, "Groups.Group", 1},
		{"ListRoles", nil, "Roles.Role", 9},
		{"ListPolicies", params{"PolicyType": "Custom"}, "Policies.Policy", 2},
		{"ListPolicyVersions", params{"PolicyType": "Custom", "PolicyName": "only-hop"}, "PolicyVersions.PolicyVersion", 1},
		{"ListPoliciesForUser", params{"UserName": "admin"}, "Policies.Policy", 2},
		{"ListPoliciesForGroup", params{"GroupName": "hoppers"}, "Policies.Policy", 1},
		{"ListPoliciesForRole", params{"RoleName": "r"}, "Policies.Policy", 1},
		{"ListGroupsForUser", params{"UserName": "w"}, "Groups.Group", 1},
		{"ListUsersForGroup", params{"GroupName": "hoppers"}, "Users.User", 2},
		{"ListEntitiesForPolicy", params{"PolicyType": "System", "PolicyName": "AliyunSTSAssumeRoleAccess"}, "Groups.Group", 1},
		{"ListEntitiesForPolicy", params{"PolicyType": "System", "PolicyName": "AdministratorAccess"}, "Users.User", 1},
		{"ListEntitiesForPolicy", params{"PolicyType": "System", "PolicyName": "ReadOnlyAccess"}, "Roles.Role", 1},
		{"ListTagResources", params{"ResourceType": "role"}, "TagResources.TagResource", 2},
		{"ListTagResources", params{"ResourceType": "role", "ResourceNames.1": "open"}, "TagResources.TagResource", 0},
		{"ListTagResources", params{"ResourceType": "policy"}, "TagResources.TagResource", 0},
	} {
		if got := len(c.must(admin(), tc.action, tc.p).list(tc.path)); got != tc.want {
			t.Errorf("%s %v: %d entries, want %d", tc.action, tc.p, got, tc.want)
		}
	}
}

// Rights belong to an entity, not to its name.
func TestNamesakesInheritNothing(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	old := c.must(admin(), "GetUser", params{"UserName": "nobody"}).text("User.UserId")
	c.run(
		admin(),
		step{"DeleteAccessKey", params{"UserName": "nobody", "UserAccessKeyId": "nobodykey"}, ""},
		step{"DeleteUser", params{"UserName": "nobody"}, ""},
		step{"CreateUser", params{"UserName": "nobody"}, ""},
	)
	if now := c.must(admin(), "GetUser", params{"UserName": "nobody"}).text("User.UserId"); now == old {
		t.Error("the same id")
	}
}

// A right to one resource is no right to another, and a call that joins two needs both.
func TestResources(t *testing.T) {
	t.Parallel()
	doc := Document(`{"Version":"1","Statement":[
		{"Effect":"Allow","Action":["ram:GetUser","ram:AttachPolicyToUser","ram:CreateAccessKey"],"Resource":["acs:ram:*:1:user/lease-*"]},
		{"Effect":"Allow","Action":"ram:AttachPolicyToUser","Resource":"acs:ram:*:system:policy/ReadOnly*"},
		{"Effect":"Allow","Action":"ram:List*","Resource":"acs:ram:*:1:user/*"}]}`)
	c := start(t, Options{NoListen: true, Seed: Seed{Accounts: []Account{{
		ID: "1", Policies: []Policy{{Name: "p", Document: doc}},
		Users: []User{{Name: "u", AccessKeys: []AccessKey{{ID: "ukey", Secret: "usecret"}}, Policies: []string{"p"}}, {Name: "lease-1"}},
	}}}})
	c.run(
		of("u"),
		step{"GetUser", params{"UserName": "lease-1"}, ""},
		step{"GetUser", params{"UserName": "u"}, "NoPermission"},
		step{"CreateAccessKey", params{"UserName": "lease-1"}, ""},
		step{"CreateAccessKey", nil, "NoPermission"},
		step{"ListUsers", nil, ""},
		step{"ListRoles", nil, "NoPermission"},
		step{"AttachPolicyToUser", params{"PolicyType": "System", "PolicyName": "ReadOnlyAccess", "UserName": "lease-1"}, ""},
		step{"AttachPolicyToUser", params{"PolicyType": "System", "PolicyName": "AdministratorAccess", "UserName": "lease-1"}, "NoPermission"},
		step{"AttachPolicyToUser", params{"PolicyType": "System", "PolicyName": "ReadOnlyAccess", "UserName": "u"}, "NoPermission"},
		step{"AttachPolicyToUser", params{"PolicyType": "Custom", "PolicyName": "p", "UserName": "lease-1"}, "NoPermission"},
	)
}

// F1.1, F1.20: what makes an entity is asked about every entity of the kind, with the asterisk itself, so a right to names
// of one form is none.
func TestCreationIsNotAuthorizedByName(t *testing.T) {
	t.Parallel()
	trust := string(TrustAccount("1"))
	for _, tc := range []struct {
		action string
		kind   string
		p      params
	}{
		{"CreateUser", "user", params{"UserName": "vault-1"}},
		{"CreateGroup", "group", params{"GroupName": "vault-1"}},
		{"CreateRole", "role", params{"RoleName": "vault-2", "AssumeRolePolicyDocument": trust}},
		{"CreatePolicy", "policy", params{"PolicyName": "vault-1", "PolicyDocument": allowAll}},
		{"CreateVirtualMFADevice", "mfa", params{"VirtualMFADeviceName": "vault-1"}},
	} {
		for pattern, code := range map[string]string{
			"acs:ram:*:*:" + tc.kind + "/vault-*": "NoPermission",
			"acs:ram:*:*:" + tc.kind + "/vault-?": "NoPermission",
			"acs:ram:*:2:" + tc.kind + "/*":       "NoPermission",
			"acs:ram:*:1:" + tc.kind + "/*":       "",
			"acs:ram::*:" + tc.kind + "/*":        "",
			"*":                                   "",
		} {
			c := start(t, Options{NoListen: true, Seed: onlyAllowed(tc.action, pattern)})
			if out := c.call(of("u"), tc.action, tc.p); out.code() != code {
				t.Errorf("%s with a right to %s: %q, want %q", tc.action, pattern, out.code(), code)
			}
		}
	}
}

// onlyAllowed is account 1 with a user u who may do one action on one resource, and the role vault-1.
func onlyAllowed(action, resource string) Seed {
	doc := Document(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:` + action + `","Resource":"` + resource + `"}]}`)
	return Seed{Accounts: []Account{{
		ID:       "1",
		Policies: []Policy{{Name: "p", Document: doc}},
		Users:    []User{{Name: "u", AccessKeys: []AccessKey{{ID: "ukey", Secret: "usecret"}}, Policies: []string{"p"}}},
		Roles:    []Role{{Name: "vault-1", TrustPolicy: TrustAccount("1")}},
	}}}
}

// F1.2: GetRole asks for the role or, by setting, for all of them.
func TestResourceOfGetRole(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		all     bool
		pattern string
		code    string
	}{
		{false, "acs:ram:*:1:role/vault-*", ""},
		{false, "acs:ram:*:1:role/other", "NoPermission"},
		{true, "acs:ram:*:1:role/vault-*", "NoPermission"},
		{true, "acs:ram:*:1:role/*", ""},
	} {
		settings := DefaultSettings()
		settings.GetRoleOnAllRoles = tc.all
		c := start(t, Options{NoListen: true, Seed: onlyAllowed("GetRole", tc.pattern), Settings: &settings})
		if out := c.call(of("u"), "GetRole", params{"RoleName": "vault-1"}); out.code() != tc.code {
			t.Errorf("all %t, right to %s: %q, want %q", tc.all, tc.pattern, out.code(), tc.code)
		}
	}
}

// F1.9, F1.22: which of the two codes it is, is a setting.
func TestCodeOfAPolicyThatARoleHas(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"": "DeleteConflict.Role.Policy", PolicyOfRole: "DeleteConflict.Role.Policy", PolicyOfRoleListed: "DeleteConflict.Policy.Role",
	} {
		settings := DefaultSettings()
		settings.PolicyOfRoleCode = setting
		c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
		c.run(
			admin(),
			step{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
			step{"AttachPolicyToRole", params{"PolicyType": "Custom", "PolicyName": "p", "RoleName": "open"}, ""},
			step{"DeletePolicy", params{"PolicyName": "p"}, want},
		)
	}
	settings := DefaultSettings()
	settings.PolicyOfRoleCode = "DeleteConflict"
	if err := start(t, Options{NoListen: true}).Configure(settings); err == nil {
		t.Error("a code that DeletePolicy has nowhere is accepted")
	}
}
