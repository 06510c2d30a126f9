package backend_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

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

// check reads role/r/check. It wants the cloud to be as it was before, and no
// call to have taken effect.
func (m *mount) check() (ok bool, findings []finding) {
	m.t.Helper()
	before, calls := m.sim.Inventory(), len(m.sim.Journal())
	resp := m.must(logical.ReadOperation, "role/r/check", nil)
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
		if call.Applied && !strings.HasPrefix(call.Action, "Get") && !strings.HasPrefix(call.Action, "List") || strings.HasPrefix(call.Action, "Assume") {
			m.t.Errorf("the check did %s %v", call.Action, call.Params)
		}
	}
	if after := m.sim.Inventory(); !reflect.DeepEqual(before, after) {
		m.t.Errorf("the check changed the cloud from\n%+v to\n%+v", before, after)
	}
	for _, f := range findings {
		if (f.Result == "yes") != (f.Fix == "") {
			m.t.Errorf("%s on %s is %q, with the fix %q", f.Action, f.On, f.Result, f.Fix)
		}
	}
	return resp.Data["ok"].(bool), findings
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
		try := func(t *testing.T, documents []string) (bool, []finding) {
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
				case f.Result == "no":
					t.Errorf("with all of the policies: %+v", f)
				}
			}
			if !ok || extras == 0 {
				t.Errorf("with all of the policies: ok %v, %d extras missing", ok, extras)
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
					if !slices.Contains(having(findings, "not checked"), action) {
						t.Errorf("%s is not among those that are not checked", action)
					}
				case slices.ContainsFunc(findings, func(f finding) bool {
					return f.Action == action && f.Result == "no" &&
						strings.HasPrefix(f.Fix, "Grant "+action+" on acs:ram:*:") && strings.Contains(f.Fix, " to acs:ram::1234567890123456:user/least, the principal of this mount.")
				}):
					if ok {
						t.Error("the role is said to be ok")
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
		ok    bool
	}{
		"good": {"", map[string]any{"role_arn": roleARN}, "sts:AssumeRole=not checked", true},
		"absent": {
			"", map[string]any{"role_arn": "acs:ram::1234567890123456:role/none"}, "ram:GetRole=no sts:AssumeRole=not checked", false,
		},
		"elsewhere": {"", map[string]any{"role_arn": other}, "ram:GetRole=not checked sts:AssumeRole=not checked", true},
		"too long": {
			"", map[string]any{"role_arn": roleARN, "ttl": "3h"}, "MaxSessionDuration=no sts:AssumeRole=not checked", false,
		},
		"one of two": {
			"", map[string]any{"role_arn": roleARN, "role_arns": "acs:ram::1234567890123456:role/none"},
			"ram:GetRole=no sts:AssumeRole=not checked sts:AssumeRole=not checked", false,
		},
		"trusts another": {
			statement("Allow", "acs:ram::1234567890123456:user/bob", ""), map[string]any{"role_arn": roleARN},
			"sts:AssumeRole=not checked trust policy=no", false,
		},
		"conditions": {
			statement("Allow", "acs:ram::1234567890123456:root", `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`), map[string]any{"role_arn": roleARN},
			"sts:AssumeRole=not checked trust policy=unknown", true,
		},
		"policies": {
			"", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:Custom", "name:AliyunECSReadOnlyAccess,type:System"}, "ram_groups": "readers,nobody"},
			"ram:GetGroup=no ram:GetPolicy=no", false,
		},
		"source": {"", map[string]any{"credential_type": "ecs_ram_role"}, "ecs_ram_role=not checked", true},
		"per lease": {
			"", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}, "", true,
		},
		"oidc": {
			"", map[string]any{"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": "/run/token"},
			"sts:AssumeRoleWithOIDC=not checked trust policy=not checked", true,
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
				t.Errorf("got %v %s, want %v %s", ok, text, tc.ok, tc.want)
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
	if ok || len(findings) != 1 || findings[0].Result != "no" || !strings.Contains(findings[0].Fix, "SignatureDoesNotMatch") {
		t.Errorf("got %v %+v", ok, findings)
	}
	m.must(logical.UpdateOperation, "config", m.simConfig())
	m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "GetCallerIdentity", Code: "ServiceUnavailable", Status: 503})
	if resp, err := m.request(logical.ReadOperation, "role/r/check", nil); err == nil {
		t.Errorf("got %v, want an error", resp)
	}
	m.must(logical.DeleteOperation, "config", nil)
	m.refused(logical.ReadOperation, "role/r/check", nil, "no credentials are configured")
}
