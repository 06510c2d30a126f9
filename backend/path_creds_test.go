package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// userRole uses everything a RAM user can be given.
var userRole = map[string]any{
	"inline_policies": "[" + allowOSS + "," + strings.Replace(allowOSS, "Get", "List", 1) + "]",
	"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System", "name:AliyunECSReadOnlyAccess,type:System"},
	"ram_groups":      []string{"readers"},
	"ttl":             "1h", "max_ttl": "8h",
}

func TestIssueUser(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", userRole)
	before := m.inventory()

	resp := m.must(logical.ReadOperation, "creds/ci", nil)
	name := resp.Data["username"].(string)
	if !strings.HasPrefix(name, "vault-token-alice-example-com-ci-") {
		t.Errorf("username %q", name)
	}
	if id := m.identity(resp); id.ARN != "acs:ram::1234567890123456:user/"+name {
		t.Errorf("the keys are those of %s", id.ARN)
	}
	if s := resp.Secret; s.TTL != time.Hour || s.MaxTTL != 8*time.Hour || !s.Renewable {
		t.Errorf("lease %v of %v, renewable %v", s.TTL, s.MaxTTL, s.Renewable)
	}
	if wal, _ := framework.ListWAL(context.Background(), m.storage); len(wal) != 0 {
		t.Errorf("%d WAL entries remain", len(wal))
	}

	renewed, err := m.renewLease(resp.Secret)
	if err != nil || renewed.IsError() || renewed.Secret.TTL != time.Hour || renewed.Secret.MaxTTL != 8*time.Hour {
		t.Errorf("renewal: %v %v", renewed, err)
	}
	if _, err := m.revokeLease(resp.Secret); err != nil {
		t.Fatal(err)
	}
	m.unchanged(before)
	m.age(resp.Secret.InternalData)
	if _, err := m.revokeLease(resp.Secret); err != nil {
		t.Errorf("revoking once more: %v", err)
	}
}

// The keys that the built-in engine's revocation reads, never null.
func TestLeaseDataIsThatOfTheBuiltInEngine(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	data := m.must(logical.ReadOperation, "creds/ci", nil).Secret.InternalData
	for key, want := range map[string]string{
		"secret_type": `"alicloud"`, "role_type": `"ram"`, "role_name": `"ci"`, "inline_policies": `[]`, "remote_policies": `[]`,
	} {
		if got, _ := json.Marshal(data[key]); string(got) != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	for _, key := range []string{"username", "access_key_id"} {
		if s, _ := data[key].(string); s == "" {
			t.Errorf("%s is missing", key)
		}
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	data = m.must(logical.ReadOperation, "creds/deploy", nil).Secret.InternalData
	if data["role_type"] != "sts" || data["secret_type"] != "alicloud" {
		t.Errorf("session: %v", data)
	}
}

// Leases as the built-in engine writes them: no list was set (null), fields of
// ours are missing, and in the last the revocation stopped half-way.
func TestRevokeLeaseOfTheBuiltInEngine(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"null list", "half revoked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
			before := m.inventory()
			secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
			for _, ours := range []string{"ram_groups", "account_id", "created_at"} {
				delete(secret.InternalData, ours)
			}
			secret.InternalData["remote_policies"] = nil
			if name == "half revoked" {
				user := secret.InternalData["username"].(string)
				m.admin("DeleteAccessKey", map[string]string{"UserName": user, "UserAccessKeyId": secret.InternalData["access_key_id"].(string)})
				policy := secret.InternalData["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
				m.admin("DetachPolicyFromUser", map[string]string{"UserName": user, "PolicyName": policy, "PolicyType": "Custom"})
				m.admin("DeletePolicy", map[string]string{"PolicyName": policy, "CascadingDelete": "true"})
			}
			if _, err := m.revokeLease(secret); err != nil {
				t.Fatal(err)
			}
			m.unchanged(before)
		})
	}
}

// What an administrator added to the user, and to our policy, must not keep the
// lease from ending.
func TestRevokeRemovesWhatOthersAdded(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true})
	before := m.inventory()
	resp := m.must(logical.ReadOperation, "creds/ci", nil)
	user := resp.Data["username"].(string)
	policy := resp.Secret.InternalData["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
	for action, params := range map[string]map[string]string{
		"CreateAccessKey":     {"UserName": user},
		"AttachPolicyToUser":  {"UserName": user, "PolicyName": "ReadOnlyAccess", "PolicyType": "System"},
		"AddUserToGroup":      {"UserName": user, "GroupName": "readers"},
		"CreateLoginProfile":  {"UserName": user, "Password": "Fake-Passw0rd!"},
		"CreatePolicyVersion": {"PolicyName": policy, "PolicyDocument": allowOSS},
		"AttachPolicyToGroup": {"GroupName": "readers", "PolicyName": policy, "PolicyType": "Custom"},
	} {
		m.admin(action, params)
	}
	if _, err := m.revokeLease(resp.Secret); err != nil {
		t.Fatal(err)
	}
	m.unchanged(before)
}

// A user that RAM does not show yet must not be taken for one that is gone.
func TestRevokeDoesNotBelieveThatANewUserIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
		secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Code: "EntityNotExist.User", Status: 404, Count: 3})
		if _, err := m.revokeLease(secret); err == nil {
			t.Fatal("the lease is taken for revoked, and the user lives on")
		}
		m.sim.ClearFaults()
		if _, err := m.revokeLease(secret); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRevokeAfterTheAccountChanged(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
	secret.InternalData["username"] = "vault-of-another-account"
	secret.InternalData["account_id"] = "6543210987654321"
	m.age(secret.InternalData)
	_, err := m.revokeLease(secret)
	if err == nil || !strings.Contains(err.Error(), "belongs to account 6543210987654321, but this mount is now configured for account 1234567890123456") {
		t.Errorf("got %v", err)
	}
}

func TestRevokeAndRenewWithoutConfigOrRole(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
	m.must(logical.DeleteOperation, "role/ci", nil)
	if resp, err := m.renewLease(secret); err == nil || !strings.Contains(err.Error(), "role ci has been deleted so no further renewals are allowed") {
		t.Errorf("renewal without the role: %v %v", resp, err)
	}
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	if _, err := m.revokeLease(secret); err == nil || !strings.Contains(err.Error(), "unable to delete access key because no credentials are configured") {
		t.Errorf("revocation without config: %v", err)
	}
	m.must(logical.UpdateOperation, "config", m.simConfig())
	if _, err := m.revokeLease(secret); err != nil {
		t.Error(err)
	}
	m.age(secret.InternalData)
	if resp, err := m.renewLease(secret); err == nil || !strings.Contains(err.Error(), "no longer exists") {
		t.Errorf("renewal of a user that is gone: %v %v", resp, err)
	}
}

func TestIssueSession(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role, request map[string]any
		seconds       string // asked of STS
		lease         time.Duration
		warning       string
	}{
		"default":             {map[string]any{}, nil, "3600", time.Hour, ""},
		"ttl of the role":     {map[string]any{"ttl": "30m"}, nil, "1800", 30 * time.Minute, ""},
		"ttl of the request":  {map[string]any{"ttl": "30m"}, map[string]any{"ttl": "20m"}, "1200", 20 * time.Minute, ""},
		"max_ttl caps":        {map[string]any{"max_ttl": "30m"}, nil, "1800", 30 * time.Minute, ""},
		"below 900 s":         {map[string]any{"ttl": "5m"}, nil, "900", 5 * time.Minute, "no session shorter than 15m0s"},
		"over the RAM role's": {map[string]any{"ttl": "2h", "role_arn": "acs:ram::1234567890123456:role/short"}, nil, "3600", time.Hour, "does not allow sessions of 2h0m0s: this one lasts 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				if tc.role["role_arn"] == nil {
					tc.role["role_arn"] = roleARN
				} else {
					m.createShortRole()
				}
				m.must(logical.UpdateOperation, "role/deploy", tc.role)
				var op logical.Operation = logical.ReadOperation
				if tc.request != nil {
					op = logical.UpdateOperation
				}
				resp := m.must(op, "creds/deploy", tc.request)
				if id := m.identity(resp); !strings.HasPrefix(id.ARN, "acs:ram::1234567890123456:assumed-role/") || !strings.Contains(id.ARN, "/token-alice@example.com-deploy-") {
					t.Errorf("the keys are those of %s", id.ARN)
				}
				if got := resp.Secret.TTL; got != tc.lease || resp.Secret.MaxTTL != got || resp.Secret.Renewable {
					t.Errorf("lease %v of %v, renewable %v; want %v", got, resp.Secret.MaxTTL, resp.Secret.Renewable, tc.lease)
				}
				expiration, err := time.Parse(time.RFC3339, resp.Data["expiration"].(string))
				if err != nil || time.Until(expiration) < resp.Secret.TTL {
					t.Errorf("expiration %v (%v): the lease outlives the session", resp.Data["expiration"], err)
				}
				calls := m.sim.Journal()
				last := calls[len(calls)-2] // before GetCallerIdentity
				if last.Action != "AssumeRole" || last.Params["DurationSeconds"] != tc.seconds {
					t.Errorf("%s with DurationSeconds %s, want %s", last.Action, last.Params["DurationSeconds"], tc.seconds)
				}
				switch warnings := strings.Join(resp.Warnings, "\n"); {
				case tc.warning == "" && warnings != "", !strings.Contains(warnings, tc.warning):
					t.Errorf("warnings %q, want %q", warnings, tc.warning)
				}
				if resp, err := m.renewLease(resp.Secret); err == nil {
					t.Errorf("a session was renewed: %v %v", resp, err)
				}
				if _, err := m.revokeLease(resp.Secret); err != nil {
					t.Errorf("revocation: %v", err)
				}
			})
		})
	}
}

// createShortRole makes the role "short", whose sessions last an hour at most.
func (m *mount) createShortRole() {
	m.t.Helper()
	m.admin("CreateRole", map[string]string{
		"RoleName": "short", "MaxSessionDuration": "3600",
		"AssumeRolePolicyDocument": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1234567890123456:root"]}}]}`,
	})
}

func TestIssueSessionSendsWhatTheRoleSays(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{
		"role_arn": roleARN, "policy": " " + allowOSS + "\n", "external_id": "partner-7", "source_identity": "alice",
		"request_parameters": "role_session_name",
	})
	m.must(logical.UpdateOperation, "creds/deploy", map[string]any{"role_session_name": "release-42"})
	calls := m.sim.Journal()
	got := calls[len(calls)-1].Params
	want := map[string]string{
		"RoleArn": roleARN, "RoleSessionName": "release-42", "DurationSeconds": "3600", "Policy": allowOSS,
		"ExternalId": "partner-7", "SourceIdentity": "alice",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
}

func TestCredsAnswers(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	if resp := m.must(logical.ReadOperation, "creds/none", nil); resp != nil {
		t.Errorf("an unknown role answers %v, want nothing (404)", resp)
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "max_ttl": "1h", "request_parameters": "ttl,role_session_name"})
	m.refused(logical.ReadOperation, "creds/deploy", nil, "write access_key and secret_key to the config path")
	m.must(logical.UpdateOperation, "config", m.simConfig())
	m.refused(logical.UpdateOperation, "creds/deploy", map[string]any{"ttl": "2h"}, "ttl must be 1 second to 1h0m0s")
	m.refused(logical.UpdateOperation, "creds/deploy", map[string]any{"role_session_name": "a b"}, "role_session_name must be 2 to 64")
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	m.refused(logical.UpdateOperation, "creds/ci", map[string]any{"role_session_name": "alice"}, "role_session_name is for sessions")

	m.must(logical.UpdateOperation, "role/gone", map[string]any{"role_arn": "acs:ram::1234567890123456:role/gone"})
	m.refused(logical.ReadOperation, "creds/gone", nil, "Check role_arn")
	m.must(logical.UpdateOperation, "role/policy", map[string]any{"remote_policies": "name:NoSuchPolicy,type:Custom"})
	m.refused(logical.ReadOperation, "creds/policy", nil, "the Custom policy NoSuchPolicy: AttachPolicyToUser: EntityNotExist.Policy")
	m.refused(logical.ReadOperation, "creds/policy", nil, "Check remote_policies")
	// What only the Vault server lacks is as much a matter of the operator.
	notJWT := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(notJWT, []byte("no token"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := map[string]any{"credential_type": "oidc_role_arn", "role_arn": roleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN}
	for file, text := range map[string]string{notJWT: "is not a JWT", notJWT + "2": "no such file"} {
		pod["oidc_token_file_path"] = file
		m.must(logical.UpdateOperation, "role/pod", pod)
		m.refused(logical.ReadOperation, "creds/pod", nil, text)
	}
	pod["oidc_token_file_path"], pod["identity_token_audience"] = "", "alibaba"
	m.must(logical.UpdateOperation, "role/pod", pod)
	m.refused(logical.ReadOperation, "creds/pod", nil, "set oidc_token_file_path instead")
	m.must(logical.UpdateOperation, "role/group", map[string]any{"ram_groups": "nobody"})
	m.refused(logical.ReadOperation, "creds/group", nil, "the group nobody: AddUserToGroup: EntityNotExist.Group")
	m.refused(logical.ReadOperation, "creds/group", nil, "Check ram_groups")
}

// A Vault that does not say how long leases may be must not be guessed at: the
// lease would outlive its session, and tidy would take it for ended.
func TestUnknownMaximumOfTheMount(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "max_ttl": "1h"})
	before := m.inventory()
	m.start(func(c *logical.BackendConfig) { c.System = &logical.StaticSystemView{} })
	for _, name := range []string{"deploy", "ci"} {
		if resp, err := m.request(logical.ReadOperation, "creds/"+name, nil); err == nil || !strings.Contains(err.Error(), "longest lease") {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	m.unchanged(before)
}

// What the cloud answers, and what Vault is to make of it: 400 for refusals, 502
// for throttling, 500 for outages.
func TestCloudErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    alisim.Fault
		sentinel error
		refused  bool
		text     string
	}{
		"refused":   {alisim.Fault{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}, nil, true, "NoPermission (HTTP 403, RequestId "},
		"throttled": {alisim.Fault{Kind: alisim.FaultThrottle, Delay: time.Millisecond}, logical.ErrUpstreamRateLimited, true, "Throttling.User"},
		"302":       {alisim.Fault{Kind: alisim.FaultRedirect302}, logical.ErrUpstreamRateLimited, true, "HTTP 302"},
		"500":       {alisim.Fault{Kind: alisim.FaultError500}, nil, false, "InternalError (HTTP 500, RequestId "},
		"no answer": {alisim.Fault{Kind: alisim.FaultDrop}, nil, false, "no answer from 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 0})
			m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
			m.fault(tc.fault)
			resp, err := m.request(logical.ReadOperation, "creds/deploy", nil)
			if tc.refused != resp.IsError() || tc.refused && err != tc.sentinel || !tc.refused && err == nil { //nolint:errorlint // must be bare
				t.Fatalf("got %v %v", resp, err)
			}
			text := fmt.Sprint(err)
			if tc.refused {
				text = resp.Error().Error()
			}
			if !strings.Contains(text, tc.text) {
				t.Errorf("%q does not say %q", text, tc.text)
			}
			if strings.Contains(text, "Signature=") || strings.Contains(text, "RoleArn=") {
				t.Errorf("%q holds a URL", text)
			}
		})
	}
}

// On a standby nothing may happen in the cloud before the request is forwarded.
func TestStandbyForwardsBeforeItActs(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", userRole)
	calls := len(m.sim.Journal())
	m.comeBetween(func(s step, effect func() error) error {
		if s.op == logical.UpdateOperation {
			return logical.ErrReadOnly
		}
		return effect()
	})
	if _, err := m.request(logical.ReadOperation, "creds/ci", nil); err != logical.ErrReadOnly { //nolint:errorlint // must be bare
		t.Errorf("got %v, want ErrReadOnly", err)
	}
	for _, c := range m.sim.Journal()[calls:] {
		if c.Applied {
			t.Errorf("%s took effect", c.Action)
		}
	}
}

func (m *mount) fault(f alisim.Fault) {
	m.t.Helper()
	if err := m.sim.AddFault(f); err != nil {
		m.t.Fatal(err)
	}
}

// identity asks the simulated cloud whose keys an answer holds.
func (m *mount) identity(resp *logical.Response) alicreds.Identity {
	m.t.Helper()
	id, err := m.ask(resp)
	if err != nil {
		m.t.Fatal(err)
	}
	return id
}

// age makes a lease or WAL entry old enough for the cloud to be believed.
func (m *mount) age(data map[string]any) {
	m.t.Helper()
	created, err := time.Parse(time.RFC3339, data["created_at"].(string))
	if err != nil {
		m.t.Fatal(err)
	}
	data["created_at"] = created.Add(-time.Hour).Format(time.RFC3339)
}

func (m *mount) ageWAL() {
	m.t.Helper()
	ids, err := framework.ListWAL(context.Background(), m.storage)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, id := range ids {
		entry, err := m.storage.Get(context.Background(), framework.WALPrefix+id)
		if err != nil {
			m.t.Fatal(err)
		}
		var wal map[string]any
		if err := json.Unmarshal(entry.Value, &wal); err != nil {
			m.t.Fatal(err)
		}
		m.age(wal["data"].(map[string]any))
		raw, _ := json.Marshal(wal)
		m.put(entry.Key, string(raw))
	}
}

// inventory is what exists in RAM, without what passes by itself.
func (m *mount) inventory() alisim.Inventory {
	all := m.sim.Inventory()
	return alisim.Inventory{Users: all.Users, Groups: all.Groups, Roles: all.Roles, Policies: all.Policies, MFA: all.MFA}
}

func (m *mount) unchanged(before alisim.Inventory) {
	m.t.Helper()
	if got := m.inventory(); !reflect.DeepEqual(got, before) {
		m.t.Errorf("RAM holds\n%+v\nwant\n%+v", got, before)
	}
}
