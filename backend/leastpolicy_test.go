package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// leastSections are the sections of docs/least-policy.md that have a policy:
// what other sections they need, and what is tried with them, by the page's words.
var leastSections = map[string]struct {
	needs []string
	tries map[string]func(*leastMount) error
}{
	"Sessions": {nil, map[string]func(*leastMount) error{"issue": leastIssue(map[string]any{"role_arn": roleARN})}},
	"RAM users": {nil, map[string]func(*leastMount) error{
		"issue": leastIssue(leastUser), "renew": renewing(leastUser), "revoke": revoking(leastUser), "rollback": rollingBack(leastUser),
	}},
	"Inline policies of RAM users": {[]string{"RAM users"}, map[string]func(*leastMount) error{
		"issue": leastIssue(leastInlineUser), "revoke": revoking(leastInlineUser), "rollback": rollingBack(leastInlineUser),
	}},
	"Groups": {[]string{"RAM users"}, map[string]func(*leastMount) error{
		"issue": leastIssue(leastGroupUser), "revoke": revoking(leastGroupUser), "rollback": rollingBack(leastGroupUser),
	}},
	"RAM roles": {nil, map[string]func(*leastMount) error{
		"issue": leastIssue(leastRole), "revoke": revoking(leastRole), "rollback": rollingBack(leastRole),
	}},
	"Inline policies of RAM roles": {[]string{"RAM roles"}, map[string]func(*leastMount) error{
		"issue": leastIssue(leastInlineRole), "revoke": revoking(leastInlineRole), "rollback": rollingBack(leastInlineRole),
	}},
	"Policies in resource groups": {
		[]string{"RAM users", "RAM roles", "Inline policies of RAM users", "Inline policies of RAM roles"},
		map[string]func(*leastMount) error{
			"issue":    each(leastIssue, leastUserInGroup, leastInlineUserInGroup, leastRoleInGroup),
			"revoke":   each(revoking, leastUserInGroup, leastInlineUserInGroup, leastRoleInGroup),
			"rollback": each(rollingBack, leastUserInGroup, leastInlineUserInGroup, leastRoleInGroup),
			"alias":    underAlias(leastUserInGroup),
		},
	},
	"Console login": {[]string{"RAM users"}, map[string]func(*leastMount) error{
		"issue": signingIn(leastConsole), "revoke": revokingLogin(leastConsole, false), "rollback": rollingBack(leastConsole),
		"extras": revokingLogin(leastConsole, true),
	}},
	"Shared inline policies": {
		[]string{"RAM users", "Inline policies of RAM users"},
		map[string]func(*leastMount) error{"sharing": sharingPolicies},
	},
	"Clean-up of what others added": {[]string{"RAM users", "RAM roles"}, map[string]func(*leastMount) error{"extras": revokingExtras}},
	"Clean-up of policies that others use": {
		[]string{"RAM users", "Inline policies of RAM users"},
		map[string]func(*leastMount) error{"extras": revokingUsedPolicy},
	},
	"Clean-up of grants in resource groups": {
		[]string{"RAM users", "RAM roles", "Clean-up of what others added"},
		map[string]func(*leastMount) error{"extras": revokingGrants},
	},
	"Quotas": {nil, map[string]func(*leastMount) error{"quotas": readingQuotas}},
	"Tidy": {
		[]string{"RAM users", "RAM roles", "Inline policies of RAM users", "Inline policies of RAM roles", "Clean-up of what others added"},
		map[string]func(*leastMount) error{"tidy": tidying},
	},
}

var (
	leastUser       = map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "1h"}
	leastInlineUser = map[string]any{"inline_policies": "[" + allowOSS + "]"}
	leastGroupUser  = map[string]any{"ram_groups": "readers"}
	leastConsole    = map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "console_login": true}
	leastRole       = map[string]any{"credential_type": "ram_role", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}}
	leastInlineRole = map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"}

	leastUserInGroup       = map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-theirs"}, "ttl": "1h"}
	leastInlineUserInGroup = map[string]any{"inline_policies": "[" + allowOSS + "]", "resource_group": "rg-theirs"}
	leastRoleInGroup       = map[string]any{"credential_type": "ram_role", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-theirs"}}
)

// TestLeastPolicy holds docs/least-policy.md to what it says: with the policies
// of a section everything works, and without any one of its actions that stops
// working, and only that, which the page names.
func TestLeastPolicy(t *testing.T) {
	t.Parallel()
	page := readLeastPolicy(t)
	for heading, section := range leastSections {
		own := page[heading]
		if len(own.policies) != 1 {
			t.Errorf("the section %q has %d policies, want 1", heading, len(own.policies))
			continue
		}
		var documents []string
		granted := map[string]bool{} // by what the section needs
		for _, needed := range section.needs {
			for _, document := range page[needed].policies {
				documents = append(documents, document)
				for _, action := range actionsOf(t, document) {
					granted[action] = true
				}
			}
		}
		actions := actionsOf(t, own.policies[0])
		for action := range own.breaks {
			switch {
			case slices.Contains(actions, action):
			case granted[action]:
				actions = append(actions, action)
			default:
				t.Errorf("%s: the table names %s, which the policy does not grant", heading, action)
			}
		}
		for _, action := range actions {
			if len(own.breaks[action]) == 0 {
				t.Errorf("%s: the table does not say what %s is for", heading, action)
			}
		}
		documents = append(documents, own.policies[0])
		try := func(t *testing.T, word string, documents []string) (err error) {
			synctest.Test(t, func(t *testing.T) { // a refusal may be waited out, on the bubble's clock
				m := newTimedLeastMount(t, alisim.DefaultSettings(), documents)
				err = section.tries[word](m)
				m.listed()
			})
			return err
		}
		for word := range section.tries {
			t.Run(heading+"/"+word, func(t *testing.T) {
				t.Parallel()
				if err := try(t, word, documents); err != nil {
					t.Errorf("%s does not work with the policy: %v", word, err)
				}
			})
			for _, action := range actions {
				t.Run(heading+"/"+word+" without "+action, func(t *testing.T) {
					t.Parallel()
					fewer, last := slices.Clone(documents), len(documents)-1
					if slices.Contains(actionsOf(t, fewer[last]), action) {
						fewer[last] = without(t, fewer[last], action)
					} else {
						for n, document := range fewer {
							fewer[n] = without(t, document, action)
						}
					}
					err := try(t, word, fewer)
					switch breaks := slices.Contains(own.breaks[action], word); {
					case breaks && err == nil:
						t.Errorf("%s works: the action is not needed for it", word)
					case !breaks && err != nil:
						t.Errorf("%s does not work, which the page does not say: %v", word, err)
					}
				})
			}
		}
	}
	for heading, s := range page {
		if len(s.policies) > 0 && leastSections[heading].tries == nil {
			t.Errorf("the policy of the section %q is not tried", heading)
		}
	}
}

// What needs no permission is issued with none.
func TestLeastPolicyIsNothing(t *testing.T) {
	t.Parallel()
	m := newLeastMount(t, nil)
	m.as(leastKey, map[string]any{"verify": true})
	if arn := m.must(logical.ReadOperation, "config/caller-identity", nil).Data["arn"]; arn != "acs:ram::1234567890123456:user/least" {
		t.Errorf("the mount is %v", arn)
	}
	m.as(leastKey, map[string]any{"verify": true})
	m.refused(logical.ReadOperation, "creds/none", nil, "NoPermission")
	for name, role := range map[string]map[string]any{
		"access_key":      {"access_key": "LTAI5tFAKE", "secret_key": "fake"},
		"sts":             {"access_key": "STS.FAKE", "secret_key": "fake", "security_token": "token"},
		"bearer":          {"bearer_token": "fake-bearer"},
		"ecs_ram_role":    {},
		"credentials_uri": {"credentials_uri": m.sim.CredentialsURL + "/credentials"},
		"oidc_role_arn": {
			"role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": m.tokenFile(),
		},
	} {
		role["credential_type"] = name
		m.must(logical.UpdateOperation, "role/"+name, role)
		m.must(logical.ReadOperation, "creds/"+name, nil)
	}
}

// TestLeastPolicyInTheGroupAlone is the block for policies in resource groups, given
// to the mount in one group: there it works, and the mount's key can attach nothing
// anywhere else.
func TestLeastPolicyInTheGroupAlone(t *testing.T) {
	t.Parallel()
	page := readLeastPolicy(t)
	seed := leastSeed(page["RAM users"].policies)
	a := &seed.Accounts[0]
	a.ResourceGroups = append(a.ResourceGroups, "rg-others")
	a.Policies = append(a.Policies, alisim.Policy{Name: "engine-in-groups", Document: alisim.Document(page["Policies in resource groups"].policies[0])})
	a.Users[len(a.Users)-1].ResourceGroupPolicies = map[string][]string{"rg-theirs": {"engine-in-groups"}}
	m := startedLeastMount(newSeededMount(t, seed))
	before := m.inventory()
	m.must(logical.UpdateOperation, "role/r", leastUserInGroup)
	lease := m.must(logical.ReadOperation, "creds/r", nil).Secret
	for _, scope := range []string{"rg-others", alisim.DefaultAccountID} {
		err := m.callAs(leastKey, "AttachPolicy", ram.GrantParams(
			ram.Policy{Name: "AliyunOSSReadOnlyAccess", Type: "System", ResourceGroup: scope}, ram.Entity{Kind: ram.User, Name: nameOf(lease)}, alisim.DefaultAccountID), nil)
		if !ram.Denied(err) {
			t.Errorf("AttachPolicy in %s: %v", scope, err)
		}
	}
	m.must(logical.UpdateOperation, "role/r", map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-others"})
	m.refused(logical.ReadOperation, "creds/r", nil, "Grant ram:AttachPolicy on acs:ram:*:system:policy/AliyunOSSReadOnlyAccess")
	m.age(lease.InternalData)
	if resp, err := m.revokeLease(lease); err != nil || resp.IsError() {
		t.Fatalf("revoke: %v %v", resp, err)
	}
	m.unchanged(before)
}

// each tries several roles one after the other.
func each(try func(map[string]any) func(*leastMount) error, roles ...map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		for _, role := range roles {
			if err := try(role)(m); err != nil {
				return err
			}
			m.as(leastKey, nil)
		}
		return nil
	}
}

// underAlias issues and revokes in an account with an alias, by which alone Resource Management
// knows its users.
func underAlias(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		settings := m.sim.Settings()
		settings.PrincipalsByAlias = true
		if err := m.sim.Configure(settings); err != nil {
			m.t.Fatal(err)
		}
		m.admin("SetAccountAlias", map[string]string{"AccountAlias": "corp"})
		if err := leastIssue(role)(m); err != nil {
			return err
		}
		return revoking(role)(m)
	}
}

// TestLeastPolicyWithGetRoleOnAllRoles is tidy on a cloud that asks GetRole on
// role/*, as two reports of 2019 have it (F1.2).
func TestLeastPolicyWithGetRoleOnAllRoles(t *testing.T) {
	t.Parallel()
	page := readLeastPolicy(t)
	var documents []string
	for _, heading := range append(leastSections["Tidy"].needs, "Tidy") {
		documents = append(documents, page[heading].policies...)
	}
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.GetRoleOnAllRoles = true
		if err := tidying(newTimedLeastMount(t, settings, documents)); err != nil {
			t.Error(err)
		}
	})
}

// TestLeastPolicyAsksForWhatRAMAsks holds the resources of the page to the table
// of permissions: each is one that RAM asks for by some action of its statement,
// and an action that RAM asks on everything of a kind is not narrowed by name.
func TestLeastPolicyAsksForWhatRAMAsks(t *testing.T) {
	t.Parallel()
	asked := map[string][]string{} // by action
	for _, p := range ram.Permissions {
		asked[p.Action] = p.Resources
	}
	for heading, section := range readLeastPolicy(t) {
		for _, document := range section.policies {
			for _, s := range decodePolicy(t, document).Statement {
				resources, ok := s.Resource.([]any)
				if !ok {
					resources = []any{s.Resource}
				}
				for _, a := range s.Action.([]any) {
					if len(asked[a.(string)]) == 0 {
						t.Errorf("%s: the table of ram.Permissions lacks %s", heading, a)
					}
					useful := slices.ContainsFunc(resources, func(r any) bool { return serves(r.(string), asked[a.(string)]) })
					if !useful {
						t.Errorf("%s: %s is granted on %v, and RAM asks for it on %v", heading, a, resources, asked[a.(string)])
					}
				}
				for _, r := range resources {
					useful := slices.ContainsFunc(s.Action.([]any), func(a any) bool { return serves(r.(string), asked[a.(string)]) })
					if !useful {
						t.Errorf("%s: no action of %v is asked on %s", heading, s.Action, r)
					}
				}
			}
		}
	}
}

// serves tells whether a pattern in a policy can match one of the resources that
// RAM asks about.
func serves(pattern string, resources []string) bool {
	if pattern == "*" {
		return true
	}
	product, _, _ := strings.Cut(strings.TrimPrefix(pattern, "acs:"), ":")
	pattern = pattern[strings.LastIndex(pattern, ":")+1:]
	return slices.ContainsFunc(resources, func(r string) bool {
		if r == "*" {
			return pattern == "*"
		}
		if r == "<PrincipalType>" { // of AttachPolicy and DetachPolicy
			return product == "ims" && pattern == "user/*" || product == "ram" && pattern == "role/*"
		}
		kind, name, _ := strings.Cut(r, "/")
		if product == "ims" {
			return false
		}
		if name == "*" {
			return pattern == r
		}
		return strings.HasPrefix(pattern, kind+"/")
	})
}

// TestPermissionsAreThoseOfTheCloud asks the cloud, as a user without rights and
// then with a right on the first resource, what it asks for by each call.
func TestPermissionsAreThoseOfTheCloud(t *testing.T) {
	t.Parallel()
	params := map[string]string{
		"UserName": "u", "RoleName": "r", "GroupName": "g", "PolicyName": "p", "PolicyType": "Custom",
		"RoleArn": "acs:ram::1234567890123456:role/r", "RoleSessionName": "session",
		"ResourceGroupId": "rg-theirs", "PrincipalType": "IMSUser", "PrincipalName": "u@1234567890123456.onaliyun.com",
	}
	for call, p := range ram.Permissions {
		if p.Resources[0] == "*" {
			continue // what the cloud asks for is not known
		}
		want := p.ARNs(alisim.DefaultAccountID, params)
		var granted []string
		for _, resource := range want {
			m := newLeastMount(t, granted)
			err := m.callAs(leastKey, call, callParams(call, params), nil)
			var refused *openapi.Error
			switch {
			case !errors.As(err, &refused) || refused.Code != ram.NoPermission:
				t.Errorf("%s with %v: %v", call, granted, err)
			case refused.Denied.Action != p.Action || refused.Denied.Resource != resource && p.Action != "sts:AssumeRole":
				t.Errorf("%s: the cloud asks for %+v, the table has %s on %s", call, refused.Denied, p.Action, resource)
			}
			granted = []string{fmt.Sprintf(`{"Version":"1","Statement":[{"Effect":"Allow","Action":%q,"Resource":%q}]}`, p.Action, resource)}
		}
	}
}

// callParams adds what a call needs beside names.
func callParams(call string, names map[string]string) map[string]string {
	params := maps.Clone(names)
	maps.Copy(params, map[string]string{
		"UserAccessKeyId": "LTAI5tNoSuchKey", "Status": "Inactive", "PolicyDocument": allowOSS, "Password": "abcDEF123!",
		"SerialNumber":             "acs:ram::" + alisim.DefaultAccountID + ":mfa/*",
		"AssumeRolePolicyDocument": string(alisim.TrustAccount(alisim.DefaultAccountID)),
	})
	if call != "DeleteVirtualMFADevice" {
		delete(params, "SerialNumber")
	}
	if strings.HasPrefix(call, "List") && !strings.Contains(call, "For") && call != "ListAccessKeys" {
		return nil
	}
	return params
}

// What the resources of the page keep away, with all of its policies together.
// The sections on resource groups say of themselves what they do not keep away.
func TestLeastPolicyNarrows(t *testing.T) {
	t.Parallel()
	var all []string
	for heading, s := range readLeastPolicy(t) {
		if heading != "Clean-up of grants in resource groups" && heading != "Policies in resource groups" {
			all = append(all, s.policies...)
		}
	}
	m := newLeastMount(t, all)
	m.as(adminKey, nil)
	m.call("CreateUser", map[string]string{"UserName": "alice"})
	m.call("CreatePolicy", map[string]string{"PolicyName": "ours", "PolicyDocument": allowOSS})
	m.call("CreateGroup", map[string]string{"GroupName": "admins"})
	m.as(leastKey, nil)
	m.must(logical.UpdateOperation, "role/user", leastUser)
	user := m.must(logical.ReadOperation, "creds/user", nil).Data["username"].(string)
	trust := string(alisim.TrustAccount(alisim.DefaultAccountID))
	// Creation cannot be narrowed by name (F1.1). What comes of it is worth nothing.
	for action, params := range map[string]map[string]string{
		"CreateUser":   {"UserName": "mallory"},
		"CreateRole":   {"RoleName": "mallory", "AssumeRolePolicyDocument": trust},
		"CreatePolicy": {"PolicyName": "mallory", "PolicyDocument": allowOSS},
	} {
		m.call(action, params)
	}
	for n, tc := range []struct {
		action string
		params map[string]string
	}{
		{"CreateAccessKey", map[string]string{"UserName": "mallory"}},
		{"CreateLoginProfile", map[string]string{"UserName": "mallory", "Password": "Fake-Passw0rd!"}},
		{"AttachPolicyToUser", map[string]string{"UserName": "mallory", "PolicyName": "AliyunOSSReadOnlyAccess", "PolicyType": "System"}},
		{"AddUserToGroup", map[string]string{"UserName": "mallory", "GroupName": "readers"}},
		{"DeleteUser", map[string]string{"UserName": "mallory"}},
		{"AttachPolicyToRole", map[string]string{"RoleName": "mallory", "PolicyName": "AliyunOSSReadOnlyAccess", "PolicyType": "System"}},
		{"DeleteRole", map[string]string{"RoleName": "mallory"}},
		{"AttachPolicyToUser", map[string]string{"UserName": user, "PolicyName": "mallory", "PolicyType": "Custom"}},
		{"DeletePolicy", map[string]string{"PolicyName": "mallory"}},
		{"DeleteUser", map[string]string{"UserName": "alice"}},
		{"CreateAccessKey", map[string]string{"UserName": "alice"}},
		{"CreateAccessKey", map[string]string{"UserName": alisim.DefaultUserName}},
		{"CreateAccessKey", map[string]string{"UserName": "least"}},
		{"UpdateRole", map[string]string{"RoleName": "deploy", "NewAssumeRolePolicyDocument": trust}},
		{"DeleteRole", map[string]string{"RoleName": "deploy"}},
		{"CreatePolicyVersion", map[string]string{"PolicyName": "ours", "PolicyDocument": allowOSS}},
		{"DeletePolicy", map[string]string{"PolicyName": "ours"}},
		{"AttachPolicyToUser", map[string]string{"UserName": user, "PolicyName": "AdministratorAccess", "PolicyType": "System"}},
		{"AttachPolicyToUser", map[string]string{"UserName": user, "PolicyName": "ours", "PolicyType": "Custom"}},
		{"AttachPolicyToUser", map[string]string{"UserName": "alice", "PolicyName": "AliyunOSSReadOnlyAccess", "PolicyType": "System"}},
		{"AttachPolicyToRole", map[string]string{"RoleName": "deploy", "PolicyName": "AliyunOSSReadOnlyAccess", "PolicyType": "System"}},
		{"AddUserToGroup", map[string]string{"UserName": user, "GroupName": "admins"}},
		{"AddUserToGroup", map[string]string{"UserName": "alice", "GroupName": "readers"}},
	} {
		if err := m.callAs(leastKey, tc.action, tc.params, nil); !ram.HasCode(err, "NoPermission") {
			t.Errorf("%d: %s %v: got %v, want NoPermission", n, tc.action, tc.params, err)
		}
	}
	m.must(logical.UpdateOperation, "role/pod", map[string]any{"role_arn": alisim.DefaultLocalRoleARN})
	m.refused(logical.ReadOperation, "creds/pod", nil, "NoPermission")
}

// Of the real cloud the demo needs what its help prints.
func TestDemoHelpAgreesWithThePage(t *testing.T) {
	t.Parallel()
	help, err := os.ReadFile("../scripts/demo")
	if err != nil {
		t.Fatal(err)
	}
	text, _, found := strings.Cut(string(help), "\nset -")
	_, text, found2 := strings.Cut(text, "{\"Version\"")
	if !found || !found2 {
		t.Fatal("the help of scripts/demo has no policy")
	}
	printed := regexp.MustCompile(`"(ram|sts):\w+"`).FindAllString(text, -1)
	page := readLeastPolicy(t)
	var want []string
	for _, heading := range []string{"Sessions", "RAM users", "Inline policies of RAM users", "Clean-up of what others added"} {
		for _, action := range actionsOf(t, page[heading].policies[0]) {
			if action != "ram:ListPoliciesForRole" && action != "ram:DetachPolicyFromRole" { // the demo has no ram_role
				want = append(want, `"`+action+`"`)
			}
		}
	}
	slices.Sort(printed)
	slices.Sort(want)
	if want = slices.Compact(want); !reflect.DeepEqual(slices.Compact(printed), want) {
		t.Errorf("scripts/demo -help prints\n%v\nwant\n%v", printed, want)
	}
}

// leastSection is one section of the page.
type leastSection struct {
	policies []string
	breaks   map[string][]string // action to words
}

func readLeastPolicy(t *testing.T) map[string]leastSection {
	t.Helper()
	text, err := os.ReadFile("../docs/least-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]leastSection{}
	quoted := regexp.MustCompile("`((?:ram|sts):[A-Za-z]+)`")
	words := regexp.MustCompile(`issue|renew|revoke|rollback|extras|sharing|tidy|quotas|alias`)
	for part := range strings.SplitSeq("\n"+string(text), "\n## ") {
		heading, body, _ := strings.Cut(part, "\n")
		s := leastSection{breaks: map[string][]string{}}
		for block := range strings.SplitSeq(body, "```json\n") {
			if document, _, closed := strings.Cut(block, "\n```"); closed && strings.HasPrefix(document, "{") {
				s.policies = append(s.policies, document)
			}
		}
		for line := range strings.SplitSeq(body, "\n") {
			cells := strings.Split(line, "|")
			if len(cells) != 4 {
				continue
			}
			what, _, _ := strings.Cut(cells[2], ":")
			for _, action := range quoted.FindAllStringSubmatch(cells[1], -1) {
				s.breaks[action[1]] = words.FindAllString(what, -1)
			}
		}
		page[heading] = s
	}
	return page
}

// statement is what the policies of the page are made of.
type statement struct {
	Effect           string
	Action, Resource any
}

type policyForm struct {
	Version   string
	Statement []statement
}

func decodePolicy(t *testing.T, document string) policyForm {
	t.Helper()
	var p policyForm
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	for n := range p.Statement {
		if one, ok := p.Statement[n].Action.(string); ok {
			p.Statement[n].Action = []any{one}
		}
	}
	return p
}

func actionsOf(t *testing.T, document string) []string {
	t.Helper()
	var actions []string
	for _, s := range decodePolicy(t, document).Statement {
		for _, a := range s.Action.([]any) {
			actions = append(actions, a.(string))
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// without takes one action out of the document, "" when none is left.
func without(t *testing.T, document, action string) string {
	t.Helper()
	p := decodePolicy(t, document)
	p.Statement = slices.DeleteFunc(p.Statement, func(s statement) bool { return len(s.Action.([]any)) == 1 && s.Action.([]any)[0] == action })
	for n, s := range p.Statement {
		p.Statement[n].Action = slices.DeleteFunc(s.Action.([]any), func(a any) bool { return a == action })
	}
	if len(p.Statement) == 0 {
		return ""
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// leastMount is a mount that can work as an administrator, who arranges things,
// or as the RAM user "least", who has the policies under test and nothing else.
type leastMount struct {
	*mount
	key [2]string // of whom it works as
}

var (
	adminKey = [2]string{alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret}
	leastKey = [2]string{"LTAI5tLEASTFAKEFAKEFAKE", "least-is-not-a-real-secret-000"}
)

const leastARN = "acs:ram::1234567890123456:user/least"

func newLeastMount(t *testing.T, documents []string) *leastMount {
	t.Helper()
	return startedLeastMount(newSeededMount(t, leastSeed(documents)))
}

// toThePresent is for the beginning of a synctest bubble, whose clock says 2000:
// RAM had no policies of its own then.
func toThePresent() { time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) }

// newTimedLeastMount is newLeastMount for a synctest bubble.
func newTimedLeastMount(t *testing.T, settings alisim.Settings, documents []string) *leastMount {
	t.Helper()
	toThePresent()
	return startedLeastMount(newTimedMount(t, settings, leastSeed(documents)))
}

func leastSeed(documents []string) alisim.Seed {
	seed := alisim.SourcesSeed()
	a := &seed.Accounts[0]
	least := alisim.User{Name: "least", AccessKeys: []alisim.AccessKey{{ID: leastKey[0], Secret: leastKey[1]}}}
	for n, document := range documents {
		if document != "" {
			name := fmt.Sprintf("least-%d", n)
			a.Policies = append(a.Policies, alisim.Policy{Name: name, Document: alisim.Document(document)})
			least.Policies = append(least.Policies, name)
		}
	}
	a.Users = append(a.Users, least)
	a.ResourceGroups = append(a.ResourceGroups, "rg-theirs")
	return seed
}

func startedLeastMount(m *mount) *leastMount {
	m.t.Helper()
	lm := &leastMount{mount: m}
	lm.as(leastKey, nil)
	lm.must(logical.UpdateOperation, "role/none", map[string]any{"role_arn": roleARN})
	return lm
}

// listed wants each call of the user "least" in the table of permissions.
func (m *leastMount) listed() {
	m.t.Helper()
	for _, call := range m.sim.Journal() {
		if _, ok := ram.Permissions[call.Action]; !ok && call.Principal == leastARN && call.Action != "GetCallerIdentity" {
			m.t.Errorf("the table of ram.Permissions lacks %s", call.Action)
		}
	}
}

// as makes the mount work with another key.
func (m *leastMount) as(key [2]string, more map[string]any) {
	m.t.Helper()
	m.key = key
	data := map[string]any{}
	if !m.timed {
		data = m.simConfig()
	}
	data["access_key"], data["secret_key"], data["max_retries"] = key[0], key[1], 0
	for k, v := range more {
		data[k] = v
	}
	m.must(logical.UpdateOperation, "config", data)
}

// call makes a RAM call as whoever the mount is.
func (m *leastMount) call(action string, params map[string]string) {
	m.t.Helper()
	if err := m.callAs(m.key, action, params, nil); err != nil {
		m.t.Fatalf("%s: %v", action, err)
	}
}

// tokenFile writes an OIDC token for the pod role.
func (m *mount) tokenFile() string {
	m.t.Helper()
	issuer, err := m.sim.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		m.t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{})
	if err != nil {
		m.t.Fatal(err)
	}
	name := filepath.Join(m.t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(token), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return name
}

// lease issues as an administrator, and goes on as least.
func (m *leastMount) lease(role map[string]any) *logical.Secret {
	m.t.Helper()
	m.as(adminKey, nil)
	m.must(logical.UpdateOperation, "role/r", role)
	return m.must(logical.ReadOperation, "creds/r", nil).Secret
}

func leastIssue(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		m.must(logical.UpdateOperation, "role/r", role)
		// A missing right to assume a new role looks like one that is not known yet.
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		resp, err := m.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: "creds/r", DisplayName: "token"})
		if err != nil {
			return err
		}
		if resp.IsError() {
			return resp.Error()
		}
		_, err = m.ask(resp)
		return err
	}
}

func renewing(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		secret := m.lease(role)
		m.as(leastKey, nil)
		if resp, err := m.renewLease(secret); err != nil || resp.IsError() {
			m.t.Errorf("renewal of a user that is there: %v %v", resp, err)
		}
		m.as(adminKey, nil)
		if _, err := m.revokeLease(secret); err != nil {
			m.t.Fatal(err)
		}
		m.age(secret.InternalData)
		m.as(leastKey, nil)
		if _, err := m.renewLease(secret); err == nil {
			return errors.New("a user that is gone was renewed")
		}
		return nil
	}
}

func revoking(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		before := m.inventory()
		secret := m.lease(role)
		m.as(leastKey, nil)
		if _, err := m.revokeLease(secret); err != nil {
			return err
		}
		m.unchanged(before)
		return nil
	}
}

// signingIn issues a login to the console, and signs in.
func signingIn(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		m.must(logical.UpdateOperation, "role/r", role)
		resp, err := m.request(logical.ReadOperation, "creds/r", nil)
		if err != nil {
			return err
		}
		if resp.IsError() {
			return resp.Error()
		}
		if said := m.signIn(resp); said != alisim.SignInDone {
			m.t.Errorf("the sign-in page says %s", said)
		}
		return nil
	}
}

// revokingLogin ends a lease whose user has bound an MFA device. That may stay in the
// account, or goes too, although RAM's answer to the first try is lost.
func revokingLogin(role map[string]any, deviceToo bool) func(*leastMount) error {
	return func(m *leastMount) error {
		before := m.inventory()
		secret := m.lease(role)
		m.bindDevice(secret.InternalData["username"].(string), "phone")
		m.as(leastKey, nil)
		if deviceToo {
			m.fault(alisim.Fault{Action: "UnbindMFADevice", Kind: alisim.FaultApplyThenDrop, Count: 1})
			_, _ = m.revokeLease(secret)
		}
		if _, err := m.revokeLease(secret); err != nil {
			return err
		}
		after := m.inventory()
		if deviceToo && len(after.MFA) > 0 {
			return fmt.Errorf("%q is left", after.MFA)
		}
		before.MFA = after.MFA
		m.unchanged(before)
		return nil
	}
}

// rollingBack cleans up after an issue that ended with its last call, when
// nothing could be removed at once.
func rollingBack(role map[string]any) func(*leastMount) error {
	return func(m *leastMount) error {
		m.as(adminKey, nil)
		m.must(logical.UpdateOperation, "role/r", role)
		before := m.inventory()
		for _, last := range []string{"CreateAccessKey", "CreateLoginProfile", "AssumeRole"} {
			m.fault(alisim.Fault{Kind: alisim.FaultApplyThenDrop, Action: last})
		}
		for _, removal := range []string{
			"ListAccessKeys", "DeleteAccessKey", "DeleteLoginProfile", "DetachPolicyFromUser", "DetachPolicy", "RemoveUserFromGroup", "DeleteUser", "DetachPolicyFromRole", "DeleteRole", "DeletePolicy",
		} {
			m.fault(alisim.Fault{Kind: alisim.FaultError500, Action: removal})
		}
		if resp, err := m.request(logical.ReadOperation, "creds/r", nil); err == nil && !resp.IsError() {
			m.t.Fatal("credentials were issued all the same")
		}
		m.sim.ClearFaults()
		if wal, _ := framework.ListWAL(context.Background(), m.storage); len(wal) != 1 || reflect.DeepEqual(m.inventory(), before) {
			m.t.Fatalf("%d WAL entries: there is nothing to roll back", len(wal))
		}
		m.ageWAL()
		m.as(leastKey, nil)
		if resp, err := m.rollBack(); err != nil || resp.IsError() {
			return fmt.Errorf("%v %w", resp, err)
		}
		m.unchanged(before)
		return nil
	}
}

// revokingExtras ends leases whose user or role somebody gave something more.
// sharingPolicies wants the policy of a lease for one of the next process.
func sharingPolicies(m *leastMount) error {
	m.must(logical.UpdateOperation, "role/r", leastInlineUser)
	first := sharedPolicy(m.must(logical.ReadOperation, "creds/r", nil).Secret)
	m.start()
	if second := sharedPolicy(m.must(logical.ReadOperation, "creds/r", nil).Secret); second != first {
		return fmt.Errorf("policy %s instead of %s", second, first)
	}
	return nil
}

func revokingExtras(m *leastMount) error {
	m.as(adminKey, nil)
	m.call("CreatePolicy", map[string]string{"PolicyName": "theirs", "PolicyDocument": allowOSS})
	for n, add := range []func(user string){
		func(user string) { m.call("CreateAccessKey", map[string]string{"UserName": user}) },
		func(user string) {
			m.call("AttachPolicyToUser", map[string]string{"UserName": user, "PolicyName": "ReadOnlyAccess", "PolicyType": "System"})
			m.call("AttachPolicyToUser", map[string]string{"UserName": user, "PolicyName": "theirs", "PolicyType": "Custom"})
		},
		func(user string) {
			m.call("AddUserToGroup", map[string]string{"UserName": user, "GroupName": "readers"})
		},
		func(user string) {
			m.call("CreateLoginProfile", map[string]string{"UserName": user, "Password": "Fake-Passw0rd!"})
		},
		func(user string) {
			m.call("CreateVirtualMFADevice", map[string]string{"VirtualMFADeviceName": "theirs"})
			m.call("BindMFADevice", map[string]string{
				"SerialNumber": "acs:ram::1234567890123456:mfa/theirs", "UserName": user, "AuthenticationCode1": "111111", "AuthenticationCode2": "222222",
			})
		},
		func(string) {
			m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "DeleteAccessKey", Count: 1, Code: "DeleteConflict.User.AccessKey", Status: 409})
		},
	} {
		secret := m.lease(leastUser)
		add(secret.InternalData["username"].(string))
		m.as(leastKey, nil)
		if _, err := m.revokeLease(secret); err != nil {
			return fmt.Errorf("extra %d: %w", n, err)
		}
	}
	secret := m.lease(leastRole)
	m.call("AttachPolicyToRole", map[string]string{"RoleName": secret.InternalData["ram_role"].(string), "PolicyName": "theirs", "PolicyType": "Custom"})
	m.as(leastKey, nil)
	if _, err := m.revokeLease(secret); err != nil {
		return fmt.Errorf("of a role: %w", err)
	}
	return nil
}

// revokingGrants ends leases whose user or role somebody gave something for the
// resources of one group, with and without an alias of the account.
func revokingGrants(m *leastMount) error {
	for _, role := range []map[string]any{leastUser, leastRole} {
		before := m.inventory()
		secret := m.lease(role)
		m.grant(secret.InternalData, "ReadOnlyAccess", "System")
		m.as(leastKey, nil)
		if _, err := m.revokeLease(secret); err != nil {
			return err
		}
		m.unchanged(before)
	}
	return nil
}

// grant attaches a policy to the user or role of a lease for one resource group.
func (m *leastMount) grant(lease map[string]any, policy, kind string) {
	m.t.Helper()
	if user, _ := lease["username"].(string); user != "" {
		m.grantFor("rg-theirs", ram.Policy{Name: policy, Type: kind}, "IMSUser", user+"@1234567890123456.onaliyun.com")
		return
	}
	m.grantFor("rg-theirs", ram.Policy{Name: policy, Type: kind}, "ServiceRole", lease["ram_role"].(string)+"@role.1234567890123456.onaliyunservice.com")
}

// revokingUsedPolicy ends a lease whose own policy somebody attached elsewhere.
func revokingUsedPolicy(m *leastMount) error {
	m.as(adminKey, nil)
	m.call("CreateUser", map[string]string{"UserName": "alice"})
	before := m.inventory()
	secret := m.lease(map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
	policy := secret.InternalData["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
	for kind, name := range map[string]string{"User": "alice", "Group": "readers", "Role": "deploy"} {
		m.call("AttachPolicyTo"+kind, map[string]string{kind + "Name": name, "PolicyName": policy, "PolicyType": "Custom"})
	}
	m.as(leastKey, nil)
	if _, err := m.revokeLease(secret); err != nil {
		return err
	}
	m.unchanged(before)
	return nil
}

// readingQuotas reads them in status.
func readingQuotas(m *leastMount) error {
	m.asksForQuotas()
	if told := fmt.Sprint(m.status()["quotas"]); !strings.HasPrefix(told, "users ") {
		return errors.New(told)
	}
	return nil
}

// tidying removes a user and a role that neither lease nor index knows of.
func tidying(m *leastMount) error {
	before := m.inventory()
	for _, role := range []map[string]any{leastUser, leastInlineUser, leastRole, leastInlineRole} {
		m.forget(m.lease(role))
	}
	// And what is left of a role that somebody deleted, of which only the index knows.
	secret := m.lease(leastInlineRole)
	gone := secret.InternalData["ram_role"].(string)
	for _, p := range secret.InternalData["remote_policies"].([]any) {
		held := p.(map[string]any)
		m.call("DetachPolicyFromRole", map[string]string{"RoleName": gone, "PolicyName": held["name"].(string), "PolicyType": held["type"].(string)})
	}
	m.call("DeleteRole", map[string]string{"RoleName": gone})
	m.stored(issuedPrefix+gone, &map[string]any{})
	m.as(leastKey, nil)
	m.restart()
	time.Sleep(11 * time.Minute) // what was made a moment ago would be spared
	resp, err := m.request(logical.UpdateOperation, "tidy", nil)
	switch {
	case err != nil:
		return err
	case resp.IsError():
		return resp.Error()
	case len(resp.Data["failed"].([]any)) > 0:
		return fmt.Errorf("%v", resp.Data["failed"])
	case !reflect.DeepEqual(m.inventory(), before):
		return errors.New("something is left")
	}
	return nil
}
