package backend_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// finding is one line of what a check answers.
type finding struct {
	Action    string `json:"action"`
	On        string `json:"on"`
	NeededFor string `json:"needed_for"`
	Result    string `json:"result"`
	Fix       string `json:"fix"`
}

// checked is what a check answers beside its findings.
type checked struct {
	result, policy, report string
	warnings               []string
}

// check reads role/r/check. It wants the cloud to be as it was before, and no
// call to have taken effect.
func (m *mount) check() (result string, findings []finding) {
	m.t.Helper()
	answer, findings := m.checkAs(logical.ReadOperation, map[string]any{"details": true})
	return answer.result, findings
}

func (m *mount) checkAs(op logical.Operation, data map[string]any) (answer checked, findings []finding) {
	m.t.Helper()
	before, calls := m.sim.Inventory(), len(m.sim.Journal())
	resp := m.must(op, "role/r/check", data)
	if resp.Secret != nil {
		m.t.Error("a check has a lease")
	}
	raw, err := json.Marshal(resp.Data["checks"])
	if err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &findings); err != nil {
		m.t.Fatal(err)
	}
	for _, call := range m.sim.Journal()[calls:] {
		if strings.HasPrefix(call.Action, "Assume") && data["assume"] == true {
			continue
		}
		if call.Applied && !strings.HasPrefix(call.Action, "Get") && !strings.HasPrefix(call.Action, "List") || strings.HasPrefix(call.Action, "Assume") {
			m.t.Errorf("the check did %s %v", call.Action, call.Params)
		}
	}
	after := m.sim.Inventory()
	if data["assume"] == true {
		before.Sessions, after.Sessions = nil, nil
	}
	if !reflect.DeepEqual(before, after) {
		m.t.Errorf("the check changed the cloud from\n%+v to\n%+v", before, after)
	}
	for _, f := range findings {
		if (f.Result == "yes") != (f.Fix == "") {
			m.t.Errorf("%s on %s is %q, with the fix %q", f.Action, f.On, f.Result, f.Fix)
		}
	}
	return checked{resp.Data["result"].(string), resp.Data["policy"].(string), resp.Data["report"].(string), resp.Warnings}, findings
}

// having is the actions with a result.
func having(findings []finding, result string) []string {
	var actions []string
	for _, f := range findings {
		if f.Result == result {
			actions = append(actions, f.Action)
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// TestRoleCheck takes each action in turn out of what docs/least-policy.md
// grants, and wants the check to name it and nothing else.
func TestRoleCheck(t *testing.T) {
	t.Parallel()
	page := readLeastPolicy(t)
	notProbed := []string{"sts:AssumeRole"}
	for name, tc := range map[string]struct {
		sections []string
		role     map[string]any
	}{
		"user":        {[]string{"RAM users"}, leastUser},
		"inline user": {[]string{"RAM users", "Inline policies of RAM users"}, leastInlineUser},
		"group user":  {[]string{"RAM users", "Groups"}, leastGroupUser},
		"role":        {[]string{"RAM roles"}, leastRole},
		"inline role": {[]string{"RAM roles", "Inline policies of RAM roles"}, leastInlineRole},
	} {
		var documents []string
		for _, section := range tc.sections {
			documents = append(documents, page[section].policies...)
		}
		try := func(t *testing.T, documents []string) (string, []finding) {
			m := newLeastMount(t, documents)
			m.must(logical.UpdateOperation, "role/r", tc.role)
			return m.check()
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ok, findings := try(t, documents)
			extras := 0
			for _, f := range findings {
				switch {
				case f.NeededFor == "extras" && f.Result == "no": // nothing grants them here
					extras++
				case f.NeededFor == "quotas" && f.Action == "ram:GetAccountSummary": // nor that, without which leases work
				case f.Result == "no":
					t.Errorf("with all of the policies: %+v", f)
				}
			}
			// Whether the policies and groups exist, and what STS says, is not to be seen with that.
			if doubt := having(findings, "unknown"); ok == "no" || (ok == "yes") != (len(doubt) == 0) || extras == 0 {
				t.Errorf("with all of the policies: %s, in doubt %v, %d extras missing", ok, doubt, extras)
			}
		})
		last := len(documents) - 1
		for _, action := range actionsOf(t, documents[last]) {
			t.Run(name+" without "+action, func(t *testing.T) {
				t.Parallel()
				fewer := slices.Clone(documents)
				fewer[last] = without(t, documents[last], action)
				ok, findings := try(t, fewer)
				switch {
				case slices.Contains(notProbed, action):
					if !slices.Contains(having(findings, "unknown"), action) || ok != "unknown" {
						t.Errorf("%s is not unknown, or the role is %s", action, ok)
					}
				case slices.ContainsFunc(findings, func(f finding) bool {
					return f.Action == action && f.Result == "no" &&
						strings.HasPrefix(f.Fix, "Grant "+action+" on acs:ram:*:") && strings.Contains(f.Fix, " to acs:ram::1234567890123456:user/least, the principal of this mount.")
				}):
					if ok != "no" {
						t.Errorf("the role is said to be %s", ok)
					}
				default:
					t.Errorf("it is not named: %+v", findings)
				}
			})
		}
	}
}

// What is wrong in the cloud and in the role is found, for an administrator.
func TestRoleCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	const other = "acs:ram::6543210987654321:role/deploy"
	statement := func(effect, principal, more string) string {
		return `{"Version":"1","Statement":[{"Effect":"` + effect + `","Action":"sts:AssumeRole","Principal":{"RAM":["` + principal + `"]}` + more + `}]}`
	}
	for name, tc := range map[string]struct {
		trust string // of the role "deploy", whose sessions may last an hour
		role  map[string]any
		want  string // action=result of all that is not yes
		ok    string
	}{
		"good": {"", map[string]any{"role_arn": roleARN}, "sts:AssumeRole=unknown", "unknown"},
		"absent": {
			"", map[string]any{"role_arn": "acs:ram::1234567890123456:role/none"}, "ram:GetRole=no", "no",
		},
		"elsewhere": {"", map[string]any{"role_arn": other}, "ram:GetRole=unknown sts:AssumeRole=unknown", "unknown"},
		"too long": {
			"", map[string]any{"role_arn": roleARN, "ttl": "3h"}, "MaxSessionDuration=no sts:AssumeRole=unknown", "no",
		},
		"one of two": {
			"", map[string]any{"role_arn": roleARN, "role_arns": "acs:ram::1234567890123456:role/none"},
			"ram:GetRole=no sts:AssumeRole=unknown", "no",
		},
		"trusts another": {
			statement("Allow", "acs:ram::1234567890123456:user/bob", ""), map[string]any{"role_arn": roleARN},
			"sts:AssumeRole=unknown trust policy=no", "no",
		},
		"conditions": {
			statement("Allow", "acs:ram::1234567890123456:root", `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`), map[string]any{"role_arn": roleARN},
			"sts:AssumeRole=unknown trust policy=unknown", "unknown",
		},
		"policies": {
			"", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:Custom", "name:AliyunECSReadOnlyAccess,type:System"}, "ram_groups": "readers,nobody"},
			"ram:GetGroup=no ram:GetPolicy=no", "no",
		},
		"resource groups": {
			"", map[string]any{
				"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-none", "name:p-{{identity.entity.name}},type:Custom,resource_group:rg-neither"},
				"inline_policies": "[" + allowOSS + "]", "resource_group": "rg-nor",
			},
			"ram:GetResourceGroup=no ram:GetResourceGroup=no ram:GetResourceGroup=no remote_policies=unknown", "no",
		},
		"source": {"", map[string]any{"credential_type": "ecs_ram_role"}, "ecs_ram_role=unknown", "unknown"},
		"per lease": {
			"", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}, "", "yes",
		},
		"oidc": {
			"", map[string]any{"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": "/run/token"},
			"sts:AssumeRoleWithOIDC=unknown trust policy=unknown", "unknown",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSourcesMount(t)
			update := map[string]string{"RoleName": "deploy", "NewMaxSessionDuration": "3600"}
			if tc.trust != "" {
				update["NewAssumeRolePolicyDocument"] = tc.trust
			}
			m.admin("UpdateRole", update)
			m.must(logical.UpdateOperation, "role/r", tc.role)
			ok, findings := m.check()
			var got []string
			for _, f := range findings {
				if f.Result != "yes" {
					got = append(got, f.Action+"="+f.Result)
				}
			}
			slices.Sort(got)
			if text := strings.Join(got, " "); text != tc.want || ok != tc.ok {
				t.Errorf("got %s %s, want %s %s", ok, text, tc.ok, tc.want)
			}
		})
	}
}

// Keys that do not work are an answer; a cloud that does not is an error.
func TestRoleCheckWithoutKeys(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	if resp := m.must(logical.ReadOperation, "role/none/check", nil); resp != nil {
		t.Errorf("a role that there is not: %v", resp)
	}
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN})
	config := m.simConfig()
	config["secret_key"] = "wrong"
	m.must(logical.UpdateOperation, "config", config)
	ok, findings := m.check()
	if ok != "no" || len(findings) != 1 || findings[0].Result != "no" || !strings.Contains(findings[0].Fix, "SignatureDoesNotMatch") {
		t.Errorf("got %v %+v", ok, findings)
	}
	m.must(logical.UpdateOperation, "config", m.simConfig())
	m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "GetCallerIdentity", Code: "ServiceUnavailable", Status: 503})
	if resp, err := m.request(logical.ReadOperation, "role/r/check", nil); err == nil {
		t.Errorf("got %v, want an error", resp)
	}
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	m.refused(logical.ReadOperation, "role/r/check", nil, "no credentials are configured")
}

// F3.12: with the policy that the check prints, and nothing else, leases of the role
// are issued, renewed, revoked and rolled back; with one action less, not.
func TestRoleCheckPrintsThePolicy(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]map[string]any{
		"session": {"role_arn": roleARN},
		"user":    leastUser, "inline user": leastInlineUser, "group user": leastGroupUser,
		"role": leastRole, "inline role": leastInlineRole,
		"user in groups": leastUserInGroup, "inline user in groups": leastInlineUserInGroup, "role in groups": leastRoleInGroup,
		"console user": leastConsole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := func(policy string, use func(*leastMount) error) (err error) {
				synctest.Test(t, func(t *testing.T) { // an issue has three seconds, on the bubble's clock
					err = use(newTimedLeastMount(t, alisim.DefaultSettings(), []string{policy}))
				})
				return err
			}
			var answer, again checked
			checking := func(into *checked) func(*leastMount) error {
				return func(m *leastMount) error {
					m.must(logical.UpdateOperation, "role/r", role)
					*into, _ = m.checkAs(logical.ReadOperation, nil)
					return nil
				}
			}
			if _ = with("", checking(&answer)); answer.result == "yes" {
				t.Error("nothing is granted, and nothing is missing")
			}
			uses := map[string]func(*leastMount) error{"issue": leastIssue(role)}
			if name != "session" {
				uses["revoke"], uses["rollback"] = revoking(role), rollingBack(role)
			}
			if strings.Contains(name, "user") {
				uses["renew"] = renewing(role)
			}
			if name == "console user" {
				uses["issue"], uses["revoke"] = signingIn(role), revokingLogin(role, false)
			}
			for use, try := range uses {
				if err := with(answer.policy, try); err != nil {
					t.Errorf("%s with the policy %s: %v", use, answer.policy, err)
				}
			}
			if _ = with(answer.policy, checking(&again)); again.result == "no" || again.policy != answer.policy {
				t.Errorf("with the policy %s the role is said to be %s:\n%s", answer.policy, again.result, again.report)
			}
			for _, document := range withoutEach(t, answer.policy) {
				enough := true
				for _, try := range uses {
					enough = with(document, try) == nil && enough
				}
				if enough {
					t.Errorf("the policy has more than is needed: %s does as well", document)
				}
			}
		})
	}
}

// withoutEach is the policy without each of its actions.
func withoutEach(t *testing.T, document string) []string {
	t.Helper()
	var p struct {
		Version   string
		Statement []map[string]any
	}
	if err := json.Unmarshal([]byte(document), &p); err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	var fewer []string
	for _, s := range p.Statement {
		all, ok := s["Action"].([]any)
		if !ok {
			all = []any{s["Action"]}
		}
		for n := range all {
			s["Action"] = slices.Delete(slices.Clone(all), n, n+1)
			some := p
			some.Statement = slices.DeleteFunc(slices.Clone(p.Statement), func(s map[string]any) bool {
				actions, several := s["Action"].([]any)
				return several && len(actions) == 0
			})
			raw, err := json.Marshal(some)
			if err != nil {
				t.Fatal(err)
			}
			if len(some.Statement) == 0 {
				raw = nil // no policy at all
			}
			fewer = append(fewer, string(raw))
		}
		s["Action"] = all
	}
	return fewer
}

// F3.12: what only STS can tell is asked for with assume=true. The session may do
// nothing, and its keys are not answered.
func TestRoleCheckAssumes(t *testing.T) {
	t.Parallel()
	external := `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1234567890123456:root"]},` +
		`"Condition":{"StringEquals":{"sts:ExternalId":"right"}}}]}`
	for name, tc := range map[string]struct {
		role         map[string]any
		trust        string
		fault        string // of AssumeRole
		read, assume string // results
		says         string
	}{
		"good":              {map[string]any{"role_arn": roleARN}, "", "", "unknown", "yes", "yes: sts:AssumeRole on " + roleARN},
		"two":               {map[string]any{"role_arn": roleARN, "role_arns": alisim.DefaultLocalRoleARN}, "", "", "unknown", "yes", "yes: sts:AssumeRole on " + alisim.DefaultLocalRoleARN},
		"elsewhere":         {map[string]any{"role_arn": "acs:ram::6543210987654321:role/deploy"}, "", "", "unknown", "no", "The trust policy of the RAM role must name acs:ram::1234567890123456:user/vault"},
		"conditions, right": {map[string]any{"role_arn": roleARN, "external_id": "right"}, external, "", "unknown", "yes", ""},
		"conditions, wrong": {map[string]any{"role_arn": roleARN, "external_id": "wrong"}, external, "", "unknown", "no", "sts:ExternalId"},
		"STS is away":       {map[string]any{"role_arn": roleARN}, "", "ServiceUnavailable", "unknown", "unknown", "unknown: sts:AssumeRole"},
		"too long":          {map[string]any{"role_arn": roleARN, "ttl": "12h"}, "", "", "no", "no", "lower ttl"},
		"OIDC":              {map[string]any{"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN}, "", "", "unknown", "yes", "yes: trust policy"},
		"a user":            {leastUser, "", "", "yes", "yes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := alisim.SourcesSeed()
			seed.Accounts = append(seed.Accounts, alisim.Account{ID: "6543210987654321", Roles: []alisim.Role{{Name: "deploy", TrustPolicy: alisim.TrustAccount("6543210987654321")}}})
			m := newSeededMount(t, seed)
			config := m.simConfig()
			config["max_retries"] = 0
			m.must(logical.UpdateOperation, "config", config)
			m.admin("UpdateRole", map[string]string{"RoleName": "deploy", "NewMaxSessionDuration": "3600"})
			if tc.trust != "" {
				m.admin("UpdateRole", map[string]string{"RoleName": "deploy", "NewAssumeRolePolicyDocument": tc.trust})
			}
			if name == "OIDC" {
				tc.role["oidc_token_file_path"] = m.tokenFile()
			}
			m.must(logical.UpdateOperation, "role/r", tc.role)
			if answer, _ := m.checkAs(logical.ReadOperation, nil); answer.result != tc.read {
				t.Errorf("read: %s, want %s:\n%s", answer.result, tc.read, answer.report)
			}
			if tc.fault != "" {
				m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "AssumeRole", Code: tc.fault, Status: 503})
			}
			calls := len(m.sim.Journal())
			answer, _ := m.checkAs(logical.UpdateOperation, map[string]any{"assume": true})
			if answer.result != tc.assume || !strings.Contains(answer.report, tc.says) {
				t.Errorf("assume: %s, want %s and %q:\n%s", answer.result, tc.assume, tc.says, answer.report)
			}
			assumed := 0
			for _, call := range m.sim.Journal()[calls:] {
				if !strings.HasPrefix(call.Action, "AssumeRole") {
					continue
				}
				assumed++
				if call.Params["DurationSeconds"] != "900" || call.Params["Policy"] != `{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}` {
					t.Errorf("a session is asked for with %v", call.Params)
				}
			}
			if _, made := tc.role["remote_policies"]; made != (assumed == 0) || made != (len(answer.warnings) == 1) {
				t.Errorf("%d sessions were asked for, with the warnings %q", assumed, answer.warnings)
			}
			for _, session := range m.sim.Inventory().Sessions {
				if text := fmt.Sprintf("%+v", answer); strings.Contains(text, session.AccessKeyID) {
					t.Errorf("the answer has the key of the session: %s", text)
				}
			}
		})
	}
}

// Reading starts no session: a token that may only read could, otherwise.
func TestRoleCheckReadsDoNotAssume(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN})
	m.refused(logical.ReadOperation, "role/r/check", map[string]any{"assume": true}, "it takes a write: vault write alicloud/role/r/check assume=true")
}

// F3.20: the report has a sentence a line, what is missing first, and nothing that
// looks like a program's.
func TestRoleCheckReport(t *testing.T) {
	t.Parallel()
	m := newLeastMount(t, nil)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System", "name:p-{{identity.entity.name}},type:Custom"}})
	answer, _ := m.checkAs(logical.ReadOperation, nil)
	order := 0
	rank := map[string]int{"no": 1, "unknown": 2, "yes": 3}
	for line := range strings.Lines(answer.report) {
		result, _, _ := strings.Cut(line, ":")
		if strings.HasPrefix(line, "no, but leases do without: ram:") {
			continue
		}
		if rank[result] < order || rank[result] == 0 || strings.Contains(line, "map[") {
			t.Errorf("line %q after rank %d", line, order)
		}
		order = rank[result]
	}
	if !strings.Contains(answer.policy, `:policy/p-*"`) || !strings.Contains(answer.report, "no: ram:CreateUser on user vault-* (issue). Grant ") {
		t.Errorf("the policy is %s, and the report\n%s", answer.policy, answer.report)
	}
	// A name that begins with its reader's can begin with anything.
	m.must(logical.UpdateOperation, "role/r", map[string]any{"username_template": "{{.DisplayName}}"})
	if answer, _ := m.checkAs(logical.ReadOperation, nil); !strings.Contains(answer.policy, `:user/*"`) {
		t.Errorf("the policy is %s", answer.policy)
	}
}
