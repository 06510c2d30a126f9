package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// A RAM role per lease: revoking the lease ends the session at once.
func TestIssueRAMRole(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/batch", map[string]any{
		"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]",
		"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "5m",
	})
	before := m.inventory()
	resp := m.must(logical.ReadOperation, "creds/batch", nil)
	id := m.identity(resp)
	if !strings.HasPrefix(id.ARN, "acs:ram::1234567890123456:assumed-role/vault-token-alice-example-com-batch-") {
		t.Errorf("the keys are those of %s", id.ARN)
	}
	if resp.Secret.TTL != 5*time.Minute || resp.Secret.Renewable || len(resp.Warnings) != 0 {
		t.Errorf("lease %v, renewable %v, warnings %v", resp.Secret.TTL, resp.Secret.Renewable, resp.Warnings)
	}
	trusted := ""
	for _, c := range m.sim.Journal() {
		if c.Action == "CreateRole" {
			trusted = c.Params["AssumeRolePolicyDocument"]
		}
	}
	if !strings.Contains(trusted, `"Principal":{"RAM":["acs:ram::1234567890123456:user/vault"]}`) {
		t.Errorf("the role trusts %s", trusted)
	}
	if _, err := m.revokeLease(resp.Secret); err != nil {
		t.Fatal(err)
	}
	m.unchanged(before)
	if _, err := m.ask(resp); err == nil {
		t.Error("the session outlives its role")
	}
	if resp, err := m.renewLease(resp.Secret); err == nil {
		t.Errorf("renewal: %v %v", resp, err)
	}
}

// Leases of one document share one policy, which goes with the last of them.
func TestInlinePoliciesAreShared(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := map[string]any{"inline_policies": "[" + allowOSS + "]"}
	m.must(logical.UpdateOperation, "role/a", role)
	m.must(logical.UpdateOperation, "role/b", role)
	before := m.inventory()
	var leases []*logical.Secret
	for _, name := range []string{"a", "a", "b"} {
		leases = append(leases, m.must(logical.ReadOperation, "creds/"+name, nil).Secret)
	}
	created := m.inventory().Policies
	if n := len(created) - len(before.Policies); n != 1 {
		t.Fatalf("three leases made %d policies, want 1", n)
	}
	// The built-in engine must detach the policy and not delete it.
	if l := leases[0].InternalData; len(l["inline_policies"].([]any)) != 0 || len(l["remote_policies"].([]any)) != 1 {
		t.Errorf("lease data %v", l)
	}
	for n, lease := range leases {
		if n == 1 {
			m.start() // a new process counts from storage
		}
		if _, err := m.revokeLease(lease); err != nil {
			t.Fatal(err)
		}
		left := len(m.inventory().Policies) - len(before.Policies)
		if want := 1; n < 2 && left != want || n == 2 && left != 0 {
			t.Errorf("after %d revocations %d policies are left", n+1, left)
		}
	}
	m.unchanged(before)
}

// RAM counts who uses a shared policy, too: it is asked to delete it only if
// nobody does. Versions that an administrator added go with it.
func TestSharedPolicyIsNotDeletedFromUnderOthers(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/a", map[string]any{"inline_policies": "[" + allowOSS + "]"})
	before := m.inventory()
	secret := m.must(logical.ReadOperation, "creds/a", nil).Secret
	policy := secret.InternalData["shared_policies"].([]any)[0].(string)
	m.admin("CreatePolicyVersion", map[string]string{"PolicyName": policy, "PolicyDocument": allowOSS, "SetAsDefault": "false"})
	if _, err := m.revokeLease(secret); err != nil {
		t.Fatal(err)
	}
	m.unchanged(before)
	cascades := []string{}
	for _, c := range m.sim.Journal() {
		if c.Action == "DeletePolicy" {
			cascades = append(cascades, c.Params["CascadingDelete"])
		}
	}
	if !reflect.DeepEqual(cascades, []string{"", "true"}) {
		t.Errorf("CascadingDelete of the deletions: %q, want it only after RAM has said that versions are all there is", cascades)
	}
}

// Concurrent issues and revocations of one document: whoever comes or goes, a
// live lease keeps its policy and the last takes it away.
func TestSharedPoliciesUnderConcurrency(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/a", map[string]any{"inline_policies": "[" + allowOSS + "]"})
	before := m.inventory()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/a", DisplayName: "token",
				})
				if err != nil || resp.IsError() {
					t.Errorf("issue: %v %v", resp, err)
					return
				}
				for _, u := range m.inventory().Users {
					if u.Name == resp.Data["username"] && len(u.Policies) != 1 {
						t.Errorf("%s has the policies %v", u.Name, u.Policies)
					}
				}
				if _, err := m.HandleRequest(context.Background(), &logical.Request{Operation: logical.RevokeOperation, Secret: resp.Secret}); err != nil {
					t.Errorf("revocation: %v", err)
				}
			}
		})
	}
	all.Wait()
	m.unchanged(before)
}

// The keys of a session end with its lease: every Allow does, at that second.
func TestExpireWithLease(t *testing.T) {
	t.Parallel()
	const list = `{"Effect":"Allow","Action":"ram:ListUsers","Resource":"*"}`
	for name, tc := range map[string]struct {
		policy  string
		request map[string]any
		ends    []bool
		lease   time.Duration
	}{
		"no policy":                   {"", nil, []bool{true}, 2 * time.Minute},
		"a ttl of the request":        {"", map[string]any{"ttl": "5m"}, []bool{true}, 5 * time.Minute},
		"every Allow, and no Deny":    {"[" + list + `,{"Effect":"Deny","Action":"oss:*","Resource":"*"},` + list + "]", nil, []bool{true, false, true}, 2 * time.Minute},
		"a statement that is no list": {list, nil, []bool{true}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				role := map[string]any{"role_arn": roleARN, "ttl": "2m", "max_ttl": "10m", "expire_with_lease": true}
				if tc.policy != "" {
					role["policy"] = `{"Version":"1","Statement":` + tc.policy + `}`
				}
				m.must(logical.UpdateOperation, "role/deploy", role)
				resp := m.must(logical.UpdateOperation, "creds/deploy", tc.request)
				if len(resp.Warnings) != 0 || resp.Secret.TTL != tc.lease {
					t.Errorf("lease %v, want %v; warnings %v", resp.Secret.TTL, tc.lease, resp.Warnings)
				}
				calls := m.sim.Journal()
				var sent struct {
					Statement []struct {
						Condition struct{ DateLessThan map[string]time.Time }
					}
				}
				if err := json.Unmarshal([]byte(calls[len(calls)-1].Params["Policy"]), &sent); err != nil {
					t.Fatal(err)
				}
				if len(sent.Statement) != len(tc.ends) {
					t.Fatalf("%d statements were sent, want %d", len(sent.Statement), len(tc.ends))
				}
				for n, ends := range tc.ends {
					at, got := sent.Statement[n].Condition.DateLessThan["acs:CurrentTime"]
					if got != ends || ends && !at.Equal(time.Now().Add(tc.lease)) {
						t.Errorf("statement %d ends in %v (%v), want %v (%v)", n, time.Until(at), got, tc.lease, ends)
					}
				}
			})
		})
	}
}

func TestReuseAndNoLease(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m"})
	asked := func() (n int) {
		for _, c := range m.sim.Journal() {
			if c.Action == "AssumeRole" {
				n++
			}
		}
		return n
	}
	var all sync.WaitGroup
	keys := make([]any, 100)
	for n := range keys {
		all.Go(func() {
			resp, err := m.HandleRequest(context.Background(), &logical.Request{Operation: logical.ReadOperation, Path: "creds/deploy", DisplayName: "token"})
			if err != nil || resp.IsError() || resp.Secret == nil {
				t.Errorf("%v %v", resp, err)
				return
			}
			keys[n] = resp.Data["access_key"]
		})
	}
	all.Wait()
	if n := asked(); n != 1 {
		t.Errorf("100 readers made %d calls", n)
	}
	other := m.must(logical.UpdateOperation, "creds/deploy", map[string]any{"ttl": "20m"})
	if other.Data["access_key"] == keys[0] || asked() != 2 {
		t.Error("a request with another lifetime was given the shared session")
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"policy": allowOSS})
	if m.must(logical.ReadOperation, "creds/deploy", nil).Data["access_key"] == keys[0] {
		t.Error("a changed role was given the session of the old one")
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"lease": false})
	if resp := m.must(logical.ReadOperation, "creds/deploy", nil); resp.Secret != nil || resp.Data["security_token"] == nil {
		t.Errorf("without a lease: %v", resp)
	}
	if read := m.must(logical.ReadOperation, "role/deploy", nil).Data; read["lease"] != false || read["reuse_ttl"] != 600.0 {
		t.Errorf("read %v", read)
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"ttl": "30m"})
	if read := m.must(logical.ReadOperation, "role/deploy", nil).Data; read["lease"] != false {
		t.Error("a write without lease changed it")
	}
}

// A shared session serves until reuse_ttl or half of its life has passed, and
// each lease ends with it at the latest.
func TestReuseEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role  map[string]any
		life  time.Duration
		until time.Duration
	}{
		"reuse_ttl":        {map[string]any{"ttl": "1h", "reuse_ttl": "5m"}, time.Hour, 5 * time.Minute},
		"half of the life": {map[string]any{"ttl": "15m", "reuse_ttl": "1h"}, 15 * time.Minute, 7*time.Minute + 30*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				tc.role["role_arn"] = roleARN
				m.must(logical.UpdateOperation, "role/deploy", tc.role)
				began := time.Now()
				first := m.must(logical.ReadOperation, "creds/deploy", nil).Data["access_key"]
				for _, at := range []time.Duration{0, tc.until / 2, tc.until - time.Second} {
					time.Sleep(time.Until(began.Add(at)))
					resp := m.must(logical.ReadOperation, "creds/deploy", nil)
					if resp.Data["access_key"] != first {
						t.Errorf("after %v: another session", at)
					}
					if left := time.Until(began.Add(tc.life)); resp.Secret.TTL != left {
						t.Errorf("after %v: a lease of %v on a session that has %v left", at, resp.Secret.TTL, left)
					}
				}
				time.Sleep(time.Until(began.Add(tc.until)))
				resp := m.must(logical.ReadOperation, "creds/deploy", nil)
				if resp.Data["access_key"] == first || resp.Secret.TTL != tc.life {
					t.Errorf("after %v: a lease of %v, the first session %v", tc.until, resp.Secret.TTL, resp.Data["access_key"] == first)
				}
			})
		})
	}
}

// entities is a Vault where an entity is called as its id.
type entities struct{ logical.StaticSystemView }

func (entities) EntityInfo(id string) (*logical.Entity, error) {
	return &logical.Entity{ID: id, Name: id}, nil
}

// newEntityMount is newMount on such a Vault.
func newEntityMount(t *testing.T) *mount {
	t.Helper()
	m := newMount(t)
	m.start(func(c *logical.BackendConfig) {
		c.System = entities{logical.StaticSystemView{MaxLeaseTTLVal: time.Hour}}
	})
	return m
}

// The names of remote policies, too, are filled in for each requester.
func TestRemotePolicyTemplates(t *testing.T) {
	t.Parallel()
	m := newEntityMount(t)
	m.admin("CreatePolicy", map[string]string{"PolicyName": "home-of-alice", "PolicyDocument": allowOSS})
	m.refused(logical.UpdateOperation, "role/home", map[string]any{"remote_policies": "name:home-{{identity.entity.nam,type:Custom"}, "not well-formed")
	for name, role := range map[string]map[string]any{
		"user": {"remote_policies": []string{"name:home-of-{{identity.entity.name}},type:Custom", "name:AliyunOSSReadOnlyAccess,type:System"}},
		"role": {"credential_type": "ram_role", "remote_policies": "name:home-of-{{identity.entity.name}},type:Custom"},
	} {
		t.Run(name, func(t *testing.T) {
			m.must(logical.UpdateOperation, "role/"+name, role)
			before := m.inventory()
			read := func(entity string) *logical.Response {
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/" + name, EntityID: entity, DisplayName: entity,
				})
				if err != nil {
					t.Fatal(err)
				}
				return resp
			}
			alice := read("alice")
			if alice.IsError() {
				t.Fatal(alice.Error())
			}
			if held := alice.Secret.InternalData["remote_policies"].([]any)[0]; !reflect.DeepEqual(held, map[string]any{"name": "home-of-alice", "type": "Custom"}) {
				t.Errorf("the lease holds %v", held)
			}
			if _, err := m.revokeLease(alice.Secret); err != nil {
				t.Error(err)
			}
			for entity, want := range map[string]string{
				"":  "remote_policies[0] has identity templates, and the token of this request belongs to no entity",
				"*": "remote_policies[0] has the template {{identity.entity.name}}, whose value", "a b": "remote_policies[0] has identity templates whose values make no name of a policy",
				"bob": "EntityNotExist.Policy",
			} {
				if resp := read(entity); !resp.IsError() || !strings.Contains(resp.Error().Error(), want) {
					t.Errorf("%q: %v, want %q", entity, resp, want)
				}
			}
			m.ageWAL()
			if resp, err := m.rollBack(); err != nil || resp.IsError() {
				t.Errorf("rollback: %v %v", resp, err)
			}
			m.unchanged(before)
		})
	}
	m.must(logical.UpdateOperation, "role/home", map[string]any{"remote_policies": "name:{{identity.entity.name}},type:Custom"})
	checks := m.must(logical.ReadOperation, "role/home/check", map[string]any{"details": true}).Data["checks"].([]any)
	for _, c := range checks {
		if on := c.(map[string]any)["on"].(string); strings.Contains(on, "{{") && c.(map[string]any)["result"] != "unknown" {
			t.Errorf("checked under the name of a template: %v", c)
		}
	}
}

// A shared session is for those whose policy and source identity are the same
// once filled in.
func TestReuseKeepsEntitiesApart(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{
		"policy":          {"policy": strings.Replace(allowOSS, `"*"`, `"acs:oss:*:*:home/{{identity.entity.name}}/*"`, 1)},
		"source_identity": {"source_identity": "{{identity.entity.name}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newEntityMount(t)
			fields["role_arn"], fields["reuse_ttl"] = roleARN, "10m"
			m.must(logical.UpdateOperation, "role/home", fields)
			key := func(entity string) any {
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/home", EntityID: entity, DisplayName: entity,
				})
				if err != nil || resp.IsError() {
					t.Fatal(resp, err)
				}
				return resp.Data["access_key"]
			}
			if alice := key("alice"); alice == key("bob") || alice != key("alice") {
				t.Error("sessions are to be shared by entity")
			}
		})
	}
}

func TestRoleARNsAndRequestPolicy(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.createShortRole()
	short := "acs:ram::1234567890123456:role/short"
	m.must(logical.UpdateOperation, "role/many", map[string]any{"role_arns": []string{roleARN, short}})
	if arn := m.must(logical.ReadOperation, "creds/many", nil).Data["arn"]; arn != roleARN {
		t.Errorf("the default is %v", arn)
	}
	if arn := m.must(logical.UpdateOperation, "creds/many", map[string]any{"role_arn": short}).Data["arn"]; arn != short {
		t.Errorf("chose %v", arn)
	}
	m.refused(logical.UpdateOperation, "creds/many", map[string]any{"role_arn": roleARN + "2"}, "role_arn must be one of those of the role")
	m.must(logical.UpdateOperation, "creds/many", map[string]any{"policy": allowOSS})
	m.refused(logical.UpdateOperation, "creds/many", map[string]any{"policy": "{"}, "policy must be a JSON object")
	m.must(logical.UpdateOperation, "role/many", map[string]any{"policy": allowOSS})
	m.refused(logical.UpdateOperation, "creds/many", map[string]any{"policy": allowOSS}, "has a session policy already")
}

// Keys that the role itself holds, with leases that cannot be revoked.
func TestIssueFromSource(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, tc := range map[string]struct {
		role map[string]any
		want map[string]any
	}{
		"access_key": {map[string]any{"access_key": "LTAI5tFAKE", "secret_key": "fake"}, map[string]any{"access_key": "LTAI5tFAKE", "secret_key": "fake"}},
		"sts": {
			map[string]any{"access_key": "STS.FAKE", "secret_key": "fake", "security_token": "token"},
			map[string]any{"access_key": "STS.FAKE", "secret_key": "fake", "security_token": "token"},
		},
		"bearer": {map[string]any{"bearer_token": "fake-bearer"}, map[string]any{"bearer_token": "fake-bearer"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.role["credential_type"] = name
			m.must(logical.UpdateOperation, "role/"+name, tc.role)
			read := m.must(logical.ReadOperation, "role/"+name, nil).Data
			for _, secret := range []string{"secret_key", "security_token", "bearer_token", "private_key"} {
				if _, there := read[secret]; there {
					t.Errorf("%s is read back", secret)
				}
			}
			resp := m.must(logical.ReadOperation, "creds/"+name, nil)
			tc.want["credential_type"] = name
			if !reflect.DeepEqual(resp.Data, tc.want) {
				t.Errorf("got %v, want %v", resp.Data, tc.want)
			}
			if resp.Secret.Renewable {
				t.Error("renewable")
			}
			if _, err := m.revokeLease(resp.Secret); err != nil {
				t.Error(err)
			}
		})
	}
	m.refused(logical.UpdateOperation, "role/x", map[string]any{"credential_type": "oidc_role_arn", "role_arn": roleARN}, "oidc_token_file_path")
	m.refused(logical.UpdateOperation, "role/x", map[string]any{"credential_type": "bearer"}, "bearer_token is required")
	m.refused(logical.UpdateOperation, "role/x", map[string]any{"credential_type": "credentials_uri"}, "credentials_uri is required")
	m.refused(logical.UpdateOperation, "role/x", map[string]any{"credential_type": "ram_role"}, "at least one of inline_policies or remote_policies is required")
}

// Reads of a role of type ecs_ram_role share one session token of the metadata
// service, in both of its modes.
func TestIssueFromMetadata(t *testing.T) {
	t.Parallel()
	m := newSourcesMount(t)
	for name, onlyV2 := range map[string]bool{"v1": false, "v2": true} {
		m.must(logical.UpdateOperation, "role/"+name, map[string]any{"credential_type": "ecs_ram_role", "role_name": "node", "disable_imds_v1": onlyV2})
		for range 3 {
			resp := m.must(logical.ReadOperation, "creds/"+name, nil)
			if id := m.identity(resp); !strings.HasPrefix(id.ARN, "acs:ram::1234567890123456:assumed-role/node/") {
				t.Errorf("%s: the keys are those of %s", name, id.ARN)
			}
		}
	}
	tokens := 0
	for _, c := range m.sim.Journal() {
		if c.Action == "IMDS.Token" {
			tokens++
		}
	}
	if tokens != 2 {
		t.Errorf("6 reads asked for %d session tokens, want one for each mode", tokens)
	}
}

// Both kinds of sessions fill templates in before anything is created.
func TestSourceIdentityTemplates(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "source_identity": "{{identity.entity.name}}"})
	m.must(logical.UpdateOperation, "role/batch", map[string]any{
		"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "source_identity": "{{identity.entity.name}}",
	})
	for _, name := range []string{"deploy", "batch"} {
		m.refused(logical.ReadOperation, "creds/"+name, nil, "source_identity has identity templates, and the token of this request belongs to no entity")
	}
	if made := len(m.inventory().Roles) - len(alisim.DefaultSeed().Accounts[0].Roles); made != 0 {
		t.Errorf("%d roles were made", made)
	}
}

// What a role of type oidc_role_arn says is sent, too.
func TestOIDCSessionSendsWhatTheRoleSays(t *testing.T) {
	t.Parallel()
	m := newSourcesMount(t)
	m.must(logical.UpdateOperation, "role/pod", map[string]any{
		"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN,
		"oidc_token_file_path": m.tokenFile(), "policy": allowOSS, "source_identity": "alice", "ttl": "20m",
		"request_parameters": "role_session_name",
	})
	m.must(logical.UpdateOperation, "creds/pod", map[string]any{"role_session_name": "release-42"})
	calls := m.sim.Journal()
	last := calls[len(calls)-1]
	for key, want := range map[string]string{
		"RoleArn": alisim.DefaultPodRoleARN, "RoleSessionName": "release-42", "DurationSeconds": "1200", "Policy": allowOSS, "SourceIdentity": "alice",
	} {
		if got := last.Params[key]; last.Action != "AssumeRoleWithOIDC" || got != want {
			t.Errorf("%s: %s is %q, want %q", last.Action, key, got, want)
		}
	}
}

func TestNameTemplates(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{
		"username_template": "cfg_{{.RoleName}}", "role_session_name_template": "{{.DisplayName}}", "policy_name_template": "team-x",
	})
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
	resp := m.must(logical.ReadOperation, "creds/ci", nil)
	if u := resp.Data["username"].(string); !strings.HasPrefix(u, "cfg-ci-") || len(u) != len("cfg-ci-")+20 {
		t.Errorf("username %s", u)
	}
	if p := resp.Secret.InternalData["shared_policies"].([]any)[0].(string); !strings.HasPrefix(p, "team-x-") {
		t.Errorf("policy %s", p)
	}
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"username_template": `{{uppercase .DisplayName | truncate 8}}`})
	if u := m.must(logical.ReadOperation, "creds/ci", nil).Data["username"].(string); !strings.HasPrefix(u, "TOKEN-AL-") {
		t.Errorf("username %s", u)
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	if id := m.identity(m.must(logical.ReadOperation, "creds/deploy", nil)); !strings.HasSuffix(id.ARN, "/token-alice@example.com") {
		t.Errorf("session %s", id.ARN)
	}
	m.refused(logical.UpdateOperation, "role/ci", map[string]any{"username_template": "{{.Nope}}"}, "username_template")
	m.refused(logical.UpdateOperation, "config", map[string]any{"username_template": "{{"}, "username_template")
}

// Removing a lease by force leaves what it stood for; tidy finds exactly that.
func TestTidy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		m.must(logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "max_ttl": "1h"})
		before := m.inventory()
		live := m.must(logical.ReadOperation, "creds/ci", nil)
		kept := m.inventory()
		role := m.must(logical.ReadOperation, "creds/batch", nil).Secret.InternalData["ram_role"].(string)
		time.Sleep(time.Hour + tidyGrace + 5*time.Minute) // its lease ended long ago, the other has not
		// This one has left the index, as storage of an older snapshot would have it.
		lost := m.must(logical.ReadOperation, "creds/ci", nil)
		forgotten := lost.Data["username"].(string)
		m.forget(lost.Secret)
		if got := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true}).Data; len(got["users"].([]any)) != 0 || !reflect.DeepEqual(got["roles"], []any{role}) {
			t.Errorf("what is younger than ten minutes is to be spared: %v", got)
		}
		time.Sleep(11 * time.Minute)
		dry := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true}).Data
		if !reflect.DeepEqual(dry["users"], []any{forgotten}) {
			t.Errorf("dry run: %v", dry)
		}
		got := m.must(logical.UpdateOperation, "tidy", nil).Data
		if !reflect.DeepEqual(got["users"], []any{forgotten}) || len(got["failed"].([]any)) != 0 {
			t.Errorf("tidy: %v", got)
		}
		m.unchanged(kept)
		if _, err := m.revokeLease(live.Secret); err != nil {
			t.Fatal(err)
		}
		m.unchanged(before)
	})
}

// What others write into descriptions must not keep tidy from its own.
func TestTidyAmongLongDescriptions(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	for n := range 120 {
		seed.Accounts[0].Policies = append(seed.Accounts[0].Policies, alisim.Policy{
			Name: fmt.Sprintf("theirs-%03d", n), Description: strings.Repeat("\u7b56", 1024), Document: alisim.Document(allowOSS),
		})
	}
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		before := m.inventory()
		lost := m.must(logical.ReadOperation, "creds/ci", nil)
		m.forget(lost.Secret)
		m.restart()
		time.Sleep(11 * time.Minute)
		got := m.must(logical.UpdateOperation, "tidy", nil).Data
		if !reflect.DeepEqual(got["users"], []any{lost.Data["username"]}) || len(got["policies"].([]any)) != 1 || len(got["failed"].([]any)) != 0 {
			t.Errorf("tidy: %v", got)
		}
		m.unchanged(before)
	})
}

// ask asks the simulated cloud whose keys an answer holds.
func (m *mount) ask(resp *logical.Response) (alicreds.Identity, error) {
	keys := openapi.Keys{AccessKeyID: resp.Data["access_key"].(string), AccessKeySecret: resp.Data["secret_key"].(string)}
	if token, ok := resp.Data["security_token"]; ok {
		keys.SecurityToken = token.(string)
	}
	api, err := openapi.New(openapi.Options{HTTP: m.sim.Client(), Timeout: time.Minute})
	if err != nil {
		m.t.Fatal(err)
	}
	return alicreds.CallerIdentity(context.Background(), keys, alicreds.STSOptions{Client: api})
}
