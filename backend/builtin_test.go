package backend_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// What Vault's built-in engine takes or says, and callers may count on.

func TestPoliciesMayEndInBraces(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	const conditional = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}],"Note":{"a":{"b":{}}}}`
	m.must(logical.CreateOperation, "role/ci", map[string]any{"inline_policies": "[" + conditional + "]"})
	m.must(logical.CreateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "policy": conditional})
	m.refused(logical.CreateOperation, "role/bad", map[string]any{"role_arn": roleARN, "policy": strings.Replace(conditional, "*", "{{identity.entity.name", 1)}, "identity template")
}

func TestMessagesOfTheBuiltInEngine(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.CreateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	m.refused(logical.ReadOperation, "creds/deploy", nil, "unable to create secret because no credentials are configured")
	for policy, want := range map[string]string{
		"name:A":                 "policy type is required in name:A",
		"type:System":            "policy name is required in type:System",
		"name:A:B,type:System":   "unable to recognize pair in name:A:B",
		"name:A,type:System,x:y": "invalid key: x",
	} {
		m.refused(logical.CreateOperation, "role/ci", map[string]any{"remote_policies": []string{policy}}, want)
	}
	// Vault answers 400 to what storage refuses, where its words come alone.
	m.storage = logical.NewStorageView(m.storage, "")
	if _, err := m.request(logical.ReadOperation, "role/a..b", nil); err == nil || err.Error() != logical.ErrRelativePath.Error() {
		t.Errorf("a name with two dots: %v", err)
	}
}

// The Terraform provider changes a role from one kind to the other with the
// fields it knows: those it does not know must neither be lost nor stop it.
func TestChangeOfKindKeepsOtherFields(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	terraform := func(arn, inline string, remote ...string) map[string]any {
		return map[string]any{"role_arn": arn, "inline_policies": inline, "remote_policies": remote, "ttl": 0, "max_ttl": 0}
	}
	users, session := terraform("", "["+allowOSS+"]", "name:A,type:Custom"), terraform(roleARN, "[]")
	m.must(logical.CreateOperation, "role/r", session)
	extra := map[string]any{"role_arns": roleARN + "-2", "external_id": "corp-1", "policy": allowOSS, "source_identity": "x", "reuse_ttl": 60}
	m.must(logical.UpdateOperation, "role/r", extra)
	m.must(logical.UpdateOperation, "role/r", users)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"ram_groups": "readers", "policy_per_lease": true})
	for range 2 {
		for want, write := range map[string]map[string]any{"ram_role_arn": session, "ram_user": users} {
			m.must(logical.UpdateOperation, "role/r", write)
			role := m.must(logical.ReadOperation, "role/r", nil).Data
			if role["credential_type"] != want || len(role["ram_groups"].([]any)) != 1 || len(role["role_arns"].([]any)) != 1 || role["external_id"] != "corp-1" {
				t.Errorf("after %v the role is %v", write, role)
			}
		}
	}
	// In one write they do contradict each other.
	session["ram_groups"], users["role_arns"] = "readers", roleARN
	m.refused(logical.UpdateOperation, "role/r", session, "ram_groups must be blank")
	m.refused(logical.UpdateOperation, "role/r", users, "role_arns must be blank")
}

// A read of creds/<name> without the role is Vault's own 404; a write is ours to answer.
func TestUnknownRole(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	if resp, err := m.request(logical.ReadOperation, "creds/nobody", nil); resp != nil || err != nil {
		t.Errorf("read: %v %v", resp, err)
	}
	_, err := m.request(logical.UpdateOperation, "creds/nobody", nil)
	var coded logical.HTTPCodedError
	if !errors.As(err, &coded) || coded.Code() != http.StatusNotFound || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("write: %v, want a 404 that names the role", err)
	}
}

// A first write of config says where credentials come from.
func TestFirstConfig(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.refused(logical.UpdateOperation, "config", map[string]any{}, "access_key is required")
	m.refused(logical.UpdateOperation, "config", map[string]any{"region": "cn-beijing"}, "access_key is required")
	m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "", "secret_key": ""})
	m.must(logical.UpdateOperation, "config", map[string]any{"region": "cn-beijing"})
	if c := m.must(logical.ReadOperation, "config", nil).Data; c["credential_type"] != "default" || c["region"] != "cn-beijing" {
		t.Errorf("config: %v", c)
	}
	m = newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "default"})
}

// A renewal needs the role and nothing else.
func TestRenewWithoutConfig(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.CreateOperation, "role/ci", map[string]any{"ram_groups": "readers", "max_ttl": "20m"})
	secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	resp, err := m.renewLease(secret)
	if err != nil || resp.IsError() {
		t.Fatalf("renewal: %v %v", resp, err)
	}
	// Above its maximum, Vault would warn of a TTL that nobody asked for.
	if resp.Secret.TTL != 20*time.Minute || resp.Secret.MaxTTL != 20*time.Minute {
		t.Errorf("renewed to %v of %v", resp.Secret.TTL, resp.Secret.MaxTTL)
	}
	m.must(logical.DeleteOperation, "role/ci", nil)
	if _, err := m.renewLease(secret); err == nil || err.Error() != "role ci has been deleted so no further renewals are allowed" {
		t.Errorf("renewal without the role: %v", err)
	}
}
