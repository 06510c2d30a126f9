package backend_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// F1.10: what the advice makes of the detail of a refusal.
func TestAdviceOnDenials(t *testing.T) {
	t.Parallel()
	const role = "acs:ram:*:1234567890123456:role/deploy"
	for name, tc := range map[string]struct {
		refused openapi.Error
		want    string
		not     string
	}{
		"no detail": {
			openapi.Error{Action: "CreateUser"},
			"Grant ram:CreateUser on acs:ram:*:<account>:user/* to the principal of this mount", "A Deny",
		},
		"RAM's sentence": {
			openapi.Error{Action: "CreateRole", Denied: openapi.AccessDenied{Action: "ram:CreateRole", Resource: "acs:ram:*:1000000000000001:role/*"}},
			"Grant ram:CreateRole on acs:ram:*:1000000000000001:role/* to the principal of this mount", "<account>",
		},
		"who": {
			openapi.Error{Action: "CreateUser", Denied: openapi.AccessDenied{
				Action: "ram:CreateUser", PrincipalDisplayName: "vault:mount", NoPermissionType: "ImplicitDeny", PolicyType: "AccountLevelIdentityBasedPolicy",
			}},
			"Grant ram:CreateUser on acs:ram:*:<account>:user/* to vault:mount", "A Deny",
		},
		"explicit": {
			openapi.Error{Action: "DeleteUser", Denied: openapi.AccessDenied{NoPermissionType: "ExplicitDeny", PolicyType: "AccountLevelIdentityBasedPolicy"}},
			"A Deny in a policy (AccountLevelIdentityBasedPolicy) forbids ram:DeleteUser on acs:ram:*:<account>:user/<UserName> to the principal of this mount", "Grant",
		},
		"control policy": {
			openapi.Error{Action: "CreateUser", Denied: openapi.AccessDenied{NoPermissionType: "ExplicitDeny", PolicyType: "ControlPolicy"}},
			"A control policy of the resource directory does not allow ram:CreateUser", "Grant",
		},
		"control policy that does not allow": {
			openapi.Error{Action: "CreateUser", Denied: openapi.AccessDenied{NoPermissionType: "ImplicitDeny", PolicyType: "ControlPolicy"}},
			"A control policy of the resource directory does not allow ram:CreateUser", "Grant",
		},
		"session policy": {
			openapi.Error{Action: "CreateUser", Denied: openapi.AccessDenied{NoPermissionType: "ImplicitDeny", PolicyType: "SessionPolicy"}},
			"The session policy of this mount's own session does not allow ram:CreateUser", "Grant",
		},
		"trust policy": {
			openapi.Error{Action: "AssumeRole", Denied: openapi.AccessDenied{NoPermissionType: "ImplicitDeny", PolicyType: "AssumeRolePolicy", Resource: role}},
			"The trust policy of the RAM role must name the principal of this mount", "Grant",
		},
		"trust policy with a Deny": {
			openapi.Error{Action: "AssumeRole", Denied: openapi.AccessDenied{NoPermissionType: "ExplicitDeny", PolicyType: "AssumeRolePolicy"}},
			"take the Deny out of the trust policy", "Grant",
		},
		"AssumeRole, which side is not known": {
			openapi.Error{Action: "AssumeRole"},
			"The trust policy of the RAM role must name the principal of this mount", "A Deny",
		},
		"a call and a kind that are not known": {
			openapi.Error{Action: "Later", Denied: openapi.AccessDenied{NoPermissionType: "ImplicitDeny", PolicyType: "LaterPolicy"}},
			"Grant the action to the principal of this mount", "A Deny",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.refused.Code, tc.refused.Status = ram.NoPermission, 403
			got := backend.Explained(&tc.refused)
			if !strings.Contains(got, tc.want) || strings.Contains(got, tc.not) || !strings.HasSuffix(got, "#nopermission") {
				t.Errorf("the advice is %q, want %q and not %q", got, tc.want, tc.not)
			}
		})
	}
}

// The advice of the mount itself, where the cloud tells of a Deny.
func TestExplicitDenyIsNotAnsweredWithGrant(t *testing.T) {
	t.Parallel()
	m := newLeastMount(t, []string{`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ram:CreateUser","Resource":"*"}]}`})
	m.must(logical.UpdateOperation, "role/r", leastUser)
	m.refused(logical.ReadOperation, "creds/r", nil, "forbids ram:CreateUser on acs:ram:*:")
}

// F1.5, F1.6, F1.8: families of codes have advice, whatever their suffix.
func TestAdviceOnFamiliesOfCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[string][2]string{
		"InvalidAccessKeyId":             {"Check access_key in config", "#invalidaccesskeyid"},
		"InvalidAccessKeyId.NotFound":    {"Check access_key in config", "#invalidaccesskeyidnotfound"},
		"InvalidAccessKeyId.Inactive":    {"Enable the AccessKey", "#invalidaccesskeyidinactive"},
		"InvalidAccessKeyId.Later":       {"Check access_key in config", "#invalidaccesskeyid"},
		"NoPermission.Later":             {"Grant ram:CreateUser", "#nopermission"},
		"IncompleteSignature":            {"proxy", "#incompletesignature"},
		"InvalidTimeStamp.Format":        {"clock", "#invalidtimestamp"},
		"Inactive":                       {"never activated", "#inactive"},
		"MissingSecurityToken":           {"security_token is missing", "#missingsecuritytoken"},
		"InvalidSecurityToken.Malformed": {"security_token", "#invalidsecuritytoken"},
		"InvalidSecurityToken.Expired":   {"session is over", "#invalidsecuritytokenexpired"},
		"LimitExceeded.User.Policy":      {"inline_policies", "#limitexceededuserpolicy"},
		"EntityNotExist.Policy.Version":  {"", "#any-other-code"},
		"LimitExceeded.User.AccessKey":   {"", "#any-other-code"},
		"InvalidDomainName.Format":       {"", "#any-other-code"},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.must(logical.UpdateOperation, "role/r", leastUser)
			m.fault(alisim.Fault{Action: "CreateUser", Kind: alisim.FaultRefuse, Code: code, Status: 400})
			resp, err := m.request(logical.ReadOperation, "creds/r", nil)
			if err != nil || !resp.IsError() {
				t.Fatalf("got %v %v", resp, err)
			}
			if got := resp.Error().Error(); !strings.Contains(got, code) || !strings.Contains(got, want[0]) || !strings.HasSuffix(got, want[1]) {
				t.Errorf("the answer is %q, want %q", got, want)
			}
		})
	}
}

// A revocation that is refused says what to do, too.
func TestAdviceOnRefusedRevocations(t *testing.T) {
	t.Parallel()
	m := newLeastMount(t, []string{`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ram:DeleteUser","Resource":"*"}]}`})
	secret := m.lease(leastUser)
	m.as(leastKey, nil)
	_, err := m.revokeLease(secret)
	if err == nil || !strings.Contains(err.Error(), "forbids ram:DeleteUser on acs:ram:*:") || !strings.HasSuffix(err.Error(), "#leases-that-do-not-end") {
		t.Errorf("the revocation fails with %v", err)
	}
}

// What is there already was made by an earlier attempt, however the code is spelled.
func TestWhatIsThereAlreadyIsMade(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"EntityAlreadyExists.User.Policy", "EntityAlreadyExist.User.Policy"} {
		m := newMount(t)
		m.must(logical.UpdateOperation, "role/r", leastUser)
		m.fault(alisim.Fault{Action: "AttachPolicyToUser", Kind: alisim.FaultRefuse, Code: code, Status: 409})
		m.must(logical.ReadOperation, "creds/r", nil)
	}
}

var adviceStatement = regexp.MustCompile(`The statement to add to a policy that it has: (\{.*?\})\.(?: |$)`)

// F3.13: whoever has nothing and pastes what each refusal says gets there, without
// a right on anything of another name.
func TestPastedAdviceIsEnough(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]map[string]any{
		"session": {"role_arn": roleARN}, "user": leastUser, "inline user": leastInlineUser, "group user": leastGroupUser,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newLeastMount(t, nil)
			m.must(logical.UpdateOperation, "role/r", role)
			pasted := 0
			for {
				resp, err := m.request(logical.ReadOperation, "creds/r", nil)
				if err == nil && !resp.IsError() {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				advice := adviceStatement.FindStringSubmatch(resp.Error().Error())
				if advice == nil || !strings.Contains(resp.Error().Error(), " to "+leastARN+", the principal of this mount.") {
					t.Fatalf("the answer has no statement to paste, or not for whom: %v", resp.Error())
				}
				if strings.Contains(advice[1], `:*"`) {
					t.Errorf("the statement is wider than needed: %s", advice[1])
				}
				if pasted++; pasted > 10 {
					t.Fatalf("pasted 10 statements, and still: %v", resp.Error())
				}
				policy := "pasted-" + strconv.Itoa(pasted)
				m.admin("CreatePolicy", map[string]string{"PolicyName": policy, "PolicyDocument": `{"Version":"1","Statement":[` + advice[1] + `]}`})
				m.admin("AttachPolicyToUser", map[string]string{"PolicyName": policy, "PolicyType": "Custom", "UserName": "least"})
				m.must(logical.UpdateOperation, "role/r", role) // so that no refusal is remembered
			}
			if pasted == 0 {
				t.Error("nothing was missing")
			}
		})
	}
}

// F3.13: AssumeRole is allowed by two sides, and an external id belongs to one.
func TestAdviceOnAssumeRole(t *testing.T) {
	t.Parallel()
	const allowed = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`
	const named = `The trust policy of the RAM role must name ` + leastARN + `, the principal of this mount, in ` + roleARN +
		`: {"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["` + leastARN + `"]}}.`
	external := `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1234567890123456:root"]},` +
		`"Condition":{"StringEquals":{"sts:ExternalId":"right"}}}]}`
	for name, tc := range map[string]struct {
		key        [2]string
		trust      string
		externalID string
		want       []string
		not        string
	}{
		"not granted":        {leastKey, "", "", []string{`Grant sts:AssumeRole on acs:ram:*:1234567890123456:role/deploy to ` + leastARN, named}, "A Deny"},
		"no external id":     {leastKey, external, "", []string{named, "No external id was sent", "write that id to external_id"}, "Grant "},
		"a wrong one":        {leastKey, external, "wrong", []string{named, "The external_id that was sent must be the one in its condition"}, "Grant "},
		"a key of the owner": {[2]string{"LTAI5tROOT", "root-secret"}, "", "", []string{"The root account can assume no role: write the AccessKey of a RAM user to config"}, "Grant "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			documents := []string{allowed}
			if name == "not granted" {
				documents = nil
			}
			seed := leastSeed(documents)
			seed.Accounts[0].AccessKeys = []alisim.AccessKey{{ID: "LTAI5tROOT", Secret: "root-secret"}}
			m := startedLeastMount(newSeededMount(t, seed))
			if tc.trust != "" {
				m.admin("UpdateRole", map[string]string{"RoleName": "deploy", "NewAssumeRolePolicyDocument": tc.trust})
			}
			m.as(tc.key, nil)
			role := map[string]any{"role_arn": roleARN}
			if tc.externalID != "" {
				role["external_id"] = tc.externalID
			}
			m.must(logical.UpdateOperation, "role/r", role)
			for _, want := range tc.want {
				m.refused(logical.ReadOperation, "creds/r", nil, want)
			}
			if resp, _ := m.request(logical.ReadOperation, "creds/r", nil); strings.Contains(resp.Error().Error(), tc.not) {
				t.Errorf("the answer has %q: %v", tc.not, resp.Error())
			}
		})
	}
}

// F3.13: what another service decides is not advised with a grant in RAM.
func TestAdviceOnOtherServices(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{
		"CloudSSO sign-in":   "CloudSSO, and not RAM, decides this",
		"AssumeRoleWithOIDC": "Check oidc_provider_arn",
	} {
		refused := &openapi.Error{Action: action, Code: ram.NoPermission, Status: 403}
		got := backend.Explained(&alicreds.Error{Source: "default/cli_profile/cloud_sso", Err: refused})
		if !strings.Contains(got, want) || strings.Contains(got, "Grant ") {
			t.Errorf("%s: the advice is %q, want %q", action, got, want)
		}
	}
	// The role of config is asked for by other keys than the mount works with.
	refused := &openapi.Error{Action: "AssumeRole", Code: ram.NoPermission, Status: 403}
	got := backend.Explained(&alicreds.Error{Source: "ram_role_arn/access_key", Err: refused})
	if !strings.Contains(got, "whoever the keys belong to that the config of this mount has or finds") {
		t.Errorf("the advice on config's own role is %q", got)
	}
}
