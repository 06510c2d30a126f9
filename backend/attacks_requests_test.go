package backend_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// attackSharedSessionOfAnotherTTL asks for lives that STS does not give, and gets
// a session that somebody else asked for with another.
func attackSharedSessionOfAnotherTTL(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m", "max_ttl": "24h"})
	key := func(ttl string) any {
		return m.must(logical.ReadOperation, "creds/deploy", map[string]any{"ttl": ttl}).Data["access_key"]
	}
	for _, two := range [][2]string{{"60s", "120s"}, {"13h", "14h"}, {"30m", "40m"}} {
		first := key(two[0])
		if first == key(two[1]) {
			t.Errorf("requests for %s and for %s share a session, which leases.md denies", two[0], two[1])
		}
		if first != key(two[0]) {
			t.Errorf("two requests for %s do not share a session", two[0])
		}
	}
}

// attackTemplateThatIsNotFilledIn writes a Deny that would mean nothing.
func attackTemplateThatIsNotFilledIn(t *testing.T) {
	m := newEntityMount(t)
	deny := func(template string) string {
		return `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"},` +
			`{"Effect":"Deny","Action":"oss:*","Resource":"acs:oss:*:*:secret/` + template + `/*"}]}`
	}
	lines := deny(`{{\nidentity.entity.name\n}}`)
	for field, role := range map[string]map[string]any{
		"policy":             {"role_arn": roleARN, "policy": lines},
		"inline_policies[0]": {"inline_policies": "[" + lines + "]"},
		"trust_policy":       {"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "trust_policy": deny("{{identity.entity.name}}")},
		"source_identity":    {"role_arn": roleARN, "source_identity": "a{{\nidentity.entity.name\n}}"},
		"remote_policies[0]": {"remote_policies": []string{"name:a-{{\nidentity.entity.name}},type:Custom"}},
	} {
		m.refused(logical.UpdateOperation, "role/r", role, field+" has braces")
	}
	m.must(logical.UpdateOperation, "role/plain", map[string]any{"role_arn": roleARN})
	m.refused(logical.ReadOperation, "creds/plain", map[string]any{"policy": lines}, "policy has braces")
	m.refused(logical.UpdateOperation, "config", map[string]any{
		"credential_type": "ram_role_arn", "role_arn": roleARN, "policy": deny("{{identity.entity.name}}"),
	}, "policy has braces")

	m.must(logical.UpdateOperation, "role/escaped", map[string]any{"role_arn": roleARN, "policy": deny(`\u007b\u007bidentity.entity.name\u007d\u007d`)})
	if resp := m.asReader(logical.Request{Path: "creds/escaped", EntityID: "alice"}); resp.IsError() {
		t.Fatal(resp.Error())
	}
	calls := m.sim.Journal()
	if sent := calls[len(calls)-1].Params["Policy"]; !strings.Contains(sent, "secret/alice/*") {
		t.Errorf("sent: %s", sent)
	}
}

// attackNameThatWidens has a name that is no wildcard, and yet means more.
func attackNameThatWidens(t *testing.T) {
	m := newEntityMount(t)
	m.must(logical.UpdateOperation, "role/home", map[string]any{
		"role_arn": roleARN, "policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"acs:oss:*:*:home/{{identity.entity.name}}/*"}]}`,
	})
	m.must(logical.UpdateOperation, "role/office", map[string]any{
		"inline_policies": `[{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"{{identity.entity.name}}"}}}]}]`,
	})
	before := m.inventory()
	for _, name := range []string{"bob/private", "a/../b", "..", "x,acs:oss:*", "acs:oss:1:2:b", "//", "*", "?"} {
		if resp := m.asReader(logical.Request{Path: "creds/home", EntityID: name}); !resp.IsError() {
			t.Errorf("the home of %q", name)
		}
	}
	for _, name := range []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "0.0.0.0/0,1.2.3.4", "alice"} {
		if resp := m.asReader(logical.Request{Path: "creds/office", EntityID: name}); !resp.IsError() {
			t.Errorf("the office at %q", name)
		}
	}
	m.unchanged(before)
	if resp := m.asReader(logical.Request{Path: "creds/office", EntityID: "203.0.113.7"}); resp.IsError() {
		t.Error(resp.Error())
	}
}

// attackCredentialsURIReadBack may read a role or config, and not what its
// credentials are fetched with.
func attackCredentialsURIReadBack(t *testing.T) {
	m := newMount(t)
	for uri, want := range map[string]string{
		"https://helper.example.com/creds?token=s3cr3t":     "https://helper.example.com/creds?redacted",
		"https://helper.example.com/creds?s3cr3t":           "https://helper.example.com/creds?redacted",
		"https://helper.example.com/creds#s3cr3t":           "https://helper.example.com/creds#redacted",
		"https://helper.example.com:8443/creds":             "https://helper.example.com:8443/creds",
		"https://helper.example.com/creds?a=1&token=s3cr3t": "https://helper.example.com/creds?redacted",
	} {
		for path, fields := range map[string]map[string]any{"role/u": {}, "config": {"access_key": "", "secret_key": ""}} {
			fields["credential_type"], fields["credentials_uri"] = "credentials_uri", uri
			m.must(logical.UpdateOperation, path, fields)
			resp := m.must(logical.ReadOperation, path, nil)
			if got := resp.Data["credentials_uri"]; got != want {
				t.Errorf("%s reads %v, want %s", path, got, want)
			}
			if strings.Contains(fmt.Sprint(resp.Data), "s3cr3t") {
				t.Errorf("%s answers the secret", path)
			}
			if want != uri {
				m.refused(logical.UpdateOperation, path, map[string]any{"credentials_uri": want}, "its query is not read back")
			}
			m.must(logical.UpdateOperation, path, map[string]any{"credential_type": "credentials_uri"}) // another write keeps it
		}
	}
}

// attackPolicyByName is named like the policy of the administrators. Who writes a
// role that takes the whole name of a policy from whoever reads is warned.
func attackPolicyByName(t *testing.T) {
	m := newEntityMount(t)
	warned := func(name string) bool {
		resp := m.must(logical.UpdateOperation, "role/r", map[string]any{"ttl": "1h", "remote_policies": []string{"name:" + name + ",type:Custom", "name:AliyunOSSReadOnlyAccess,type:System"}})
		return resp != nil && len(resp.Warnings) == 1 && strings.HasPrefix(resp.Warnings[0], "remote_policies[0] is an identity template and nothing else")
	}
	for name, want := range map[string]bool{
		"{{identity.entity.name}}": true, "{{identity.entity.name}}{{identity.entity.id}}": true, "team-{{identity.entity.name}}": false, "plain": false,
	} {
		if got := warned(name); got != want {
			t.Errorf("%s: warned %v, want %v", name, got, want)
		}
	}
}
