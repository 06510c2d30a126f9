package alisim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const trustUser = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"acs:ram::1:user/%s"}}]}`

// world has two accounts, users with and without rights, and roles that trust in every way.
func world() Seed {
	doc := func(format string, args ...any) Document { return Document(fmt.Sprintf(format, args...)) }
	return Seed{Accounts: []Account{
		{
			ID:         "1",
			AccessKeys: []AccessKey{{ID: "rootkey", Secret: "rootsecret"}},
			Policies: []Policy{
				{Name: "deny-hop", Document: `{"Version":"1","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"acs:ram:*:1:role/denied"}]}`},
				{Name: "only-hop", Document: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"acs:ram::1:role/hop"}]}`},
			},
			Groups: []Group{{Name: "assumers", Policies: []string{"AliyunSTSAssumeRoleAccess"}}},
			Users: []User{
				{Name: "admin", AccessKeys: []AccessKey{{ID: "adminkey", Secret: "adminsecret"}}, Policies: []string{"AdministratorAccess", "deny-hop"}},
				{Name: "nobody", AccessKeys: []AccessKey{{ID: "nobodykey", Secret: "nobodysecret"}}},
				{Name: "member", AccessKeys: []AccessKey{{ID: "memberkey", Secret: "membersecret"}}, Groups: []string{"assumers"}},
				{Name: "narrow", AccessKeys: []AccessKey{{ID: "narrowkey", Secret: "narrowsecret"}}, Policies: []string{"only-hop"}},
				{Name: "asleep", AccessKeys: []AccessKey{{ID: "asleepkey", Secret: "asleepsecret", Status: "Inactive"}}},
			},
			Roles: []Role{
				{Name: "open", TrustPolicy: TrustAccount("1"), Policies: []string{"AdministratorAccess"}},
				{Name: "denied", TrustPolicy: TrustAccount("1")},
				{Name: "hop", TrustPolicy: TrustAccount("1"), Policies: []string{"AliyunSTSAssumeRoleAccess"}, MaxSessionDuration: 7200},
				{Name: "for-admin", TrustPolicy: doc(trustUser, "admin")},
				{Name: "for-hop", TrustPolicy: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1:role/hop"]}}]}`},
				{Name: "for-ecs", TrustPolicy: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":["ecs.aliyuncs.com"]}}]}`},
				{Name: "external", TrustPolicy: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1:root"]},"Condition":{"StringEquals":{"sts:ExternalId":"abc"}}}]}`},
				{Name: "not-nobody", TrustPolicy: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:*","Principal":{"RAM":["acs:ram::1:root"]}},{"Effect":"Deny","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1:user/member"]}}]}`},
			},
		},
		{
			ID:    "2",
			Users: []User{{Name: "other", AccessKeys: []AccessKey{{ID: "otherkey", Secret: "othersecret"}}, Policies: []string{"AdministratorAccess"}}},
			Roles: []Role{{Name: "spoke", TrustPolicy: TrustAccount("1")}},
		},
	}}
}

func of(name string) keys { return keys{id: name + "key", secret: name + "secret"} }

func arn(role string) string { return "acs:ram::1:role/" + role }

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	hop := c.must(of("admin"), "AssumeRole", params{"RoleArn": arn("hop"), "RoleSessionName": "hop"}).keys()
	for _, tc := range []struct {
		name   string
		caller keys
		role   string
		more   params
		code   string // empty: succeeds
		detail string // PolicyType of the refusal
	}{
		{"administrator", of("admin"), arn("open"), nil, "", ""},
		{"member of a group with the right", of("member"), arn("open"), nil, "", ""},
		{"user without policies", of("nobody"), arn("open"), nil, "NoPermission", "AccountLevelIdentityBasedPolicy"},
		{"deny wins over administrator", of("admin"), arn("denied"), nil, "NoPermission", "AccountLevelIdentityBasedPolicy"},
		{"policy for this role", of("narrow"), arn("hop"), nil, "", ""},
		{"policy for another role", of("narrow"), arn("open"), nil, "NoPermission", "AccountLevelIdentityBasedPolicy"},
		{"account itself", of("root"), arn("open"), nil, "NoPermission", ""},
		{"trusted user", of("admin"), arn("for-admin"), nil, "", ""},
		{"untrusted user", of("member"), arn("for-admin"), nil, "NoPermission", "AssumeRolePolicy"},
		{"trust denied", of("member"), arn("not-nobody"), nil, "NoPermission", "AssumeRolePolicy"},
		{"service role", of("admin"), arn("for-ecs"), nil, "NoPermission", "AssumeRolePolicy"},
		{"chained, trusted role", hop, arn("for-hop"), nil, "", ""},
		{"chained, trusted account", hop, arn("open"), nil, "", ""},
		{"chained, trusted user only", hop, arn("for-admin"), nil, "NoPermission", "AssumeRolePolicy"},
		{"another account's role", of("admin"), "acs:ram::2:role/spoke", nil, "", ""},
		{"not the trusted account", of("other"), arn("open"), nil, "NoPermission", "AssumeRolePolicy"},
		{"own account not trusted", of("other"), "acs:ram::2:role/spoke", nil, "NoPermission", "AssumeRolePolicy"},
		{"external id", of("admin"), arn("external"), params{"ExternalId": "abc"}, "", ""},
		{"wrong external id", of("admin"), arn("external"), params{"ExternalId": "abd"}, "NoPermission", "AssumeRolePolicy"},
		{"no external id", of("admin"), arn("external"), nil, "NoPermission", "AssumeRolePolicy"},
		{"no such role", of("admin"), arn("none"), nil, "EntityNotExist.Role", ""},
		{"no such account", of("admin"), "acs:ram::3:role/x", nil, "EntityNotExist.Role", ""},
		{"role arn", of("admin"), "acs:ram::1:user/x", nil, "InvalidParameter.RoleArn", ""},
		{"no role arn", of("admin"), "", nil, "MissingRoleArn", ""},
		{"session name absent", of("admin"), arn("open"), params{"RoleSessionName": ""}, "MissingRoleSessionName", ""},
		{"session name short", of("admin"), arn("open"), params{"RoleSessionName": "a"}, "InvalidParameter.RoleSessionName", ""},
		{"session name alphabet", of("admin"), arn("open"), params{"RoleSessionName": "a b"}, "InvalidParameter.RoleSessionName", ""},
		{"session name longest", of("admin"), arn("open"), params{"RoleSessionName": strings.Repeat("a", 64)}, "", ""},
		{"session name long", of("admin"), arn("open"), params{"RoleSessionName": strings.Repeat("a", 65)}, "InvalidParameter.RoleSessionName", ""},
		{"duration shortest", of("admin"), arn("open"), params{"DurationSeconds": "900"}, "", ""},
		{"duration short", of("admin"), arn("open"), params{"DurationSeconds": "899"}, "InvalidParameter.DurationSeconds", ""},
		{"duration beyond the role", of("admin"), arn("open"), params{"DurationSeconds": "3601"}, "InvalidParameter.DurationSeconds", ""},
		{"duration of the role", of("admin"), arn("hop"), params{"DurationSeconds": "7200"}, "", ""},
		{"duration no number", of("admin"), arn("open"), params{"DurationSeconds": "1h"}, "InvalidParameter.DurationSeconds", ""},
		{"external id alphabet", of("admin"), arn("open"), params{"ExternalId": "a b"}, "InvalidParameter.ExternalId", ""},
		{"source identity alphabet", of("admin"), arn("open"), params{"SourceIdentity": "a b"}, "InvalidParameter.SourceIdentity", ""},
		{"policy grammar", of("admin"), arn("open"), params{"Policy": `{"Version":"2012-10-17","Statement":[]}`}, "InvalidParameter.PolicyGrammar", ""},
		{"policy operator", of("admin"), arn("open"), params{"Policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"a":"b"}}}]}`}, "InvalidParameter.PolicyGrammar", ""},
		{"policy size", of("admin"), arn("open"), params{"Policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:` + strings.Repeat("x", 2048) + `"}]}`}, "InvalidParameter.PolicySize", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := c.in(t)
			p := params{"RoleArn": tc.role, "RoleSessionName": "s1"}
			for k, v := range tc.more {
				p[k] = v
			}
			out := c.call(tc.caller, "AssumeRole", p)
			if out.code() != tc.code {
				t.Fatalf("got %d %q, want %q: %v", out.status, out.code(), tc.code, out.body)
			}
			if got := out.text("AccessDeniedDetail.PolicyType"); got != tc.detail {
				t.Errorf("refused by %q, want %q", got, tc.detail)
			}
			if tc.code == "" && c.must(out.keys(), "GetCallerIdentity", nil).text("IdentityType") != "AssumedRoleUser" {
				t.Error("the session does not work")
			}
		})
	}
}

func TestSourceIdentityIsKept(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	first := c.must(of("admin"), "AssumeRole", params{"RoleArn": arn("hop"), "RoleSessionName": "s1", "SourceIdentity": "alice"})
	if got := first.text("SourceIdentity"); got != "alice" {
		t.Errorf("source identity %q", got)
	}
	second := c.must(first.keys(), "AssumeRole", params{"RoleArn": arn("for-hop"), "RoleSessionName": "s2"})
	if got := second.text("SourceIdentity"); got != "alice" {
		t.Errorf("after a hop: %q", got)
	}
	c.refused(first.keys(), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s3", "SourceIdentity": "bob"}, 403, "NoPermission")
}

func TestSessionPolicyNarrows(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	narrowed := c.must(of("admin"), "AssumeRole", params{
		"RoleArn": arn("open"), "RoleSessionName": "s1",
		"Policy": `{"Version":"1","Statement":[{"Effect":"Allow","NotAction":["ram:Create*","ram:Delete*"],"Resource":"*"},{"Effect":"Deny","Action":"ram:GetUser","Resource":"acs:ram:*:*:user/admin"}]}`,
	}).keys()
	c.must(narrowed, "GetUser", params{"UserName": "nobody"})
	if out := c.refused(narrowed, "GetUser", params{"UserName": "admin"}, 403, "NoPermission"); out.text("AccessDeniedDetail.NoPermissionType") != "ExplicitDeny" {
		t.Errorf("detail %v", out.body)
	}
	out := c.refused(narrowed, "CreateUser", params{"UserName": "x"}, 403, "NoPermission")
	if out.text("AccessDeniedDetail.NoPermissionType") != "ImplicitDeny" {
		t.Errorf("detail %v", out.body)
	}
	message := c.must(of("admin"), "DecodeDiagnosticMessage", params{"EncodedDiagnosticMessage": out.text("AccessDeniedDetail.EncodedDiagnosticMessage")})
	if !strings.Contains(message.text("DecodedDiagnosticMessage"), "ram:CreateUser") {
		t.Errorf("diagnosis %v", message.body)
	}
	// A session policy adds nothing that the role does not have.
	widened := c.must(of("admin"), "AssumeRole", params{
		"RoleArn": arn("hop"), "RoleSessionName": "s1", "Policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	}).keys()
	c.refused(widened, "ListUsers", nil, 403, "NoPermission")
}

func TestSessionDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true, Seed: world()})
		assume := func(role, seconds string) keys {
			return c.must(of("admin"), "AssumeRole", params{"RoleArn": arn(role), "RoleSessionName": "s1", "DurationSeconds": seconds}).keys()
		}
		short, long := assume("open", "900"), assume("hop", "7200")
		c.Advance(15*time.Minute - 2*time.Second)
		c.must(short, "GetCallerIdentity", nil)
		c.Advance(3 * time.Second)
		c.refused(short, "GetCallerIdentity", nil, 400, "InvalidSecurityToken.Expired")
		c.must(long, "GetCallerIdentity", nil)
		if n := len(c.Inventory().Sessions); n != 1 {
			t.Errorf("%d live sessions", n)
		}
		// Deleting the role kills its sessions, and a namesake does not revive them.
		c.refused(of("admin"), "DeleteRole", params{"RoleName": "hop"}, 409, "DeleteConflict.Role.Policy")
		c.must(of("admin"), "DetachPolicyFromRole", params{"RoleName": "hop", "PolicyType": "System", "PolicyName": "AliyunSTSAssumeRoleAccess"})
		c.must(of("admin"), "DeleteRole", params{"RoleName": "hop"})
		c.must(of("admin"), "CreateRole", params{"RoleName": "hop", "AssumeRolePolicyDocument": string(TrustAccount("1"))})
		c.refused(long, "GetCallerIdentity", nil, 400, "InvalidSecurityToken.Expired")
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	one := c.must(of("admin"), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}).keys()
	two := c.must(of("admin"), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}).keys()
	for _, tc := range []struct {
		name   string
		k      keys
		status int
		code   string
	}{
		{"no token", keys{one.id, one.secret, ""}, 400, "MissingSecurityToken"},
		{"another session's token", keys{one.id, one.secret, two.token}, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{"garbage", keys{one.id, one.secret, "garbage"}, 400, "InvalidSecurityToken.Malformed"},
		{"cut token", keys{one.id, one.secret, one.token[:len(one.token)-8]}, 400, "InvalidSecurityToken.Malformed"},
		{"token with a user's key", keys{"adminkey", "adminsecret", one.token}, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{"wrong secret", keys{one.id, two.secret, one.token}, 400, "SignatureDoesNotMatch"},
		{"unknown key", keys{"nokey", "x", ""}, 404, "InvalidAccessKeyId.NotFound"},
		{"inactive key", of("asleep"), 400, "InvalidAccessKeyId.Inactive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := c.in(t)
			c.refused(tc.k, "GetCallerIdentity", nil, tc.status, tc.code)
			if out := send(t, c.client, v1(t.Context(), http.MethodPost, tc.k, "GetCallerIdentity", nil, nil)); out.code() != tc.code {
				t.Errorf("V1: got %s, want %s", out.code(), tc.code)
			}
		})
	}
}

func TestResetKillsSessions(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	k := c.must(of("admin"), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}).keys()
	c.must(of("admin"), "CreateUser", params{"UserName": "new"})
	c.Reset()
	c.refused(k, "GetCallerIdentity", nil, 400, "InvalidSecurityToken.Malformed")
	c.refused(of("admin"), "GetUser", params{"UserName": "new"}, 404, "EntityNotExist.User")
	if n := len(c.Journal()); n != 2 {
		t.Errorf("%d calls in the journal", n)
	}
}

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	root := c.must(of("root"), "GetCallerIdentity", nil)
	if root.text("IdentityType") != "Account" || root.text("Arn") != "acs:ram::1:root" {
		t.Errorf("root: %v", root.body)
	}
	nobody := c.must(of("nobody"), "GetCallerIdentity", nil) // needs no rights
	if nobody.text("IdentityType") != "RAMUser" || nobody.text("UserId") == "" || nobody.text("RoleId") != "" {
		t.Errorf("user: %v", nobody.body)
	}
}

// A session policy with a date is the way to let a session end sooner than its token.
func TestSelfDestructingSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true, Seed: world()})
		end := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		k := c.must(of("admin"), "AssumeRole", params{
			"RoleArn": arn("open"), "RoleSessionName": "s1",
			"Policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"` + end + `"}}}]}`,
		}).keys()
		c.must(k, "ListUsers", nil)
		if got := c.Authorize(k.id, "oss:GetObject", "acs:oss:*:*:bucket/key"); got != "Allow" {
			t.Errorf("before: %s", got)
		}
		time.Sleep(time.Minute)
		c.refused(k, "ListUsers", nil, 403, "NoPermission")
		if got := c.Authorize(k.id, "oss:GetObject", "acs:oss:*:*:bucket/key"); got != "ImplicitDeny" {
			t.Errorf("after: %s", got)
		}
		c.must(k, "GetCallerIdentity", nil)
		time.Sleep(time.Hour)
		c.refused(k, "GetCallerIdentity", nil, 400, "InvalidSecurityToken.Expired")
	})
}

func TestAuthorizeRefusesKeys(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	for id, want := range map[string]string{
		"nokey": "InvalidAccessKeyId.NotFound", "asleepkey": "InvalidAccessKeyId.Inactive", "nobodykey": "ImplicitDeny", "adminkey": "Allow", "rootkey": "Allow",
	} {
		if got := c.Authorize(id, "oss:GetObject", "acs:oss:*:*:b/k"); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
