package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Documents of the Vault provider's own acceptance tests.
const (
	terraformPolicy        = `{"Statement":[{"Action":["oss:GetObject","oss:PutObject"],"Effect":"Allow","Resource":["acs:oss:*:*:my-bucket/*"]}],"Version":"1"}`
	terraformPolicyUpdated = `{"Statement":[{"Action":["ecs:DescribeInstances","ecs:StartInstance"],"Effect":"Allow","Resource":["*"]}],"Version":"1"}`
	terraformARN           = "acs:ram::123456789012:role/TestRole"
	terraformARNUpdated    = "acs:ram::123456789012:role/UpdatedRole"
)

// TestTerraformCalls makes the calls that the Vault provider for Terraform
// (5.10 and later) makes for vault_mount, vault_alicloud_secret_backend,
// vault_alicloud_secret_backend_role and the ephemeral
// vault_alicloud_access_credentials, in the order of its acceptance tests, and
// holds the answers to what the provider reads out of them.
func TestTerraformCalls(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	ca := writeCA(t, cloud)
	v := startVault(t)
	var flags []string
	for _, variable := range foreignEnviron(cloud, ca) {
		flags = append(flags, "-env="+variable)
	}
	v.register(t, mount, need(t, programs.plugin), pluginVersion, flags...)
	seed := cloud.Inventory()
	tf := &terraform{vaultServer: v, t: t}

	t.Run("vault_mount", func(t *testing.T) {
		tf.t = t
		// No version is given: an external plugin of the name stands in front
		// of the built-in one.
		if err := v.api.Sys().MountWithContext(t.Context(), mount, &api.MountInput{Type: "alicloud", Description: "AliCloud secrets engine for testing"}); err != nil {
			t.Fatal(err)
		}
		if got := v.read(t, "sys/mounts/"+mount).Data["running_plugin_version"]; got != pluginVersion {
			t.Fatalf("the mount runs %v, want %s", got, pluginVersion)
		}
	})

	t.Run("vault_alicloud_secret_backend", func(t *testing.T) {
		tf.t = t
		const key, secret = "LTAI5tTERRAFORM", "terraform-secret"
		if got, _ := v.api.Logical().ReadWithContext(t.Context(), mount+"/config"); got != nil {
			t.Fatalf("a config before any was written: %v", got.Data)
		}
		tf.config(key, secret)
		// What an operator set beside Terraform stays.
		beside := map[string]any{"region": "cn-beijing", "username_template": "tf-{{.RoleName}}", "max_retries": json.Number("1")}
		v.write(t, mount+"/config", beside)
		tf.config(key+"-updated", secret)
		tf.config(key+"-updated", secret+"-updated")
		tf.config(key, secret)
		got := v.read(t, mount+"/config").Data
		for field, want := range beside {
			if !reflect.DeepEqual(got[field], want) {
				t.Errorf("%s is %v after Terraform's writes, want %v", field, got[field], want)
			}
		}
		v.write(t, mount+"/config", map[string]any{"region": "", "username_template": "", "max_retries": 3})
		tf.config(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
		// Destroying it calls nothing; another path is another resource.
	})

	t.Run("vault_alicloud_secret_backend_role", func(t *testing.T) {
		tf.t = t
		oss := map[string]any{"name": "AliyunOSSReadOnlyAccess", "type": "System"}
		ecs := map[string]any{"name": "AliyunECSReadOnlyAccess", "type": "System"}
		rds := map[string]any{"name": "AliyunRDSReadOnlyAccess", "type": "System"}
		type remote = []map[string]any
		for _, step := range []struct {
			of string
			terraformRole
		}{
			{"basic", terraformRole{name: "basic-inline", inline: []string{terraformPolicy}, ttl: 3600, maxTTL: 7200}},
			{"basic", terraformRole{name: "basic-remote", remote: remote{oss}, ttl: 1800}},
			{"basic", terraformRole{name: "basic-role-arn", arn: terraformARN, ttl: 3600}},
			{"basic, updated", terraformRole{name: "basic-inline", inline: []string{terraformPolicyUpdated}, ttl: 7200, maxTTL: 14400}},
			{"basic, updated", terraformRole{name: "basic-remote", remote: remote{ecs, rds}, ttl: 3600}},
			{"basic, updated", terraformRole{name: "basic-role-arn", arn: terraformARNUpdated, ttl: 7200}},
			{"remotePolicy", terraformRole{name: "tf-test-role", remote: remote{oss, ecs}, ttl: 3600, maxTTL: 7200}},
			{"minimal", terraformRole{name: "minimal", arn: terraformARN}},
			{"ttlOnly", terraformRole{name: "ttl.only", arn: terraformARN, ttl: 1800}},
			{"maxTtlOnly", terraformRole{name: "max_ttl_only", arn: terraformARN, maxTTL: 7200}},
			{"multipleRemotePolicies", terraformRole{name: "tf-test-role", remote: remote{oss, ecs, rds}, ttl: 3600, maxTTL: 7200}},
			{"both kinds of policies", terraformRole{name: "tf-test-role", inline: []string{terraformPolicy, terraformPolicyUpdated}, remote: remote{oss}}},
			{"users to session", terraformRole{name: "tf-test-role", arn: terraformARN, ttl: 3600, maxTTL: 14400}},
			{"session to users", terraformRole{name: "tf-test-role", remote: remote{oss}, ttl: 3600, maxTTL: 14400}},
			{"system to inline", terraformRole{name: "tf-test-role", inline: []string{terraformPolicy}}},
			{"a document as a person writes it", terraformRole{name: "tf-test-role", inline: []string{
				`{ "Version": "1", "Statement": [ { "Sid": "<a>&b", "Effect": "Allow", "Action": "oss:*", "Resource": "*", "Condition": {"NumericLessThan": {"acs:n": 12345678901234567890, "acs:m": 1.50}} } ] }`,
			}}},
		} {
			t.Run(step.of+" "+step.name, func(t *testing.T) {
				tf.t = t
				tf.role(step.terraformRole)
			})
		}

		t.Run("fields of ours stay, and never stand in the way", func(t *testing.T) {
			tf.t = t
			session := terraformRole{name: "extras", arn: roleARN, ttl: 3600}
			tf.role(session)
			v.write(t, mount+"/role/extras", map[string]any{"external_id": "corp-1", "policy": terraformPolicy, "role_session_name_template": "tf"})
			session.ttl = 7200
			tf.role(session)
			if got := v.read(t, mount+"/role/extras").Data; got["external_id"] != "corp-1" || got["policy"] != terraformPolicy {
				t.Errorf("after Terraform's write external_id is %v, policy %v", got["external_id"], got["policy"])
			}
			tf.role(terraformRole{name: "extras", remote: remote{oss}})
			v.write(t, mount+"/role/extras", map[string]any{"ram_groups": "readers"})
			tf.role(terraformRole{name: "extras", remote: remote{ecs}})
			tf.role(session)
			v.write(t, mount+"/role/extras", map[string]any{"role_arns": roleARN + "-2"})
			tf.role(terraformRole{name: "extras", inline: []string{terraformPolicy}})
			tf.role(session)
			got := v.read(t, mount+"/role/extras").Data
			if !reflect.DeepEqual(got["ram_groups"], []any{"readers"}) || !reflect.DeepEqual(got["role_arns"], []any{roleARN + "-2"}) {
				t.Errorf("ram_groups is %v, role_arns %v", got["ram_groups"], got["role_arns"])
			}
		})

		t.Run("noCredentialType", func(t *testing.T) {
			_, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/role/none", terraformRole{ttl: 3600}.request(t))
			wantRefusal(t, err, 400, "must include an arn, or at least one of inline_policies or remote_policies")
		})
		t.Run("emptyName", func(t *testing.T) {
			_, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/role/", terraformRole{arn: terraformARN}.request(t))
			wantRefusal(t, err, 405, "unsupported operation")
		})
		t.Run("destroy", func(t *testing.T) {
			for range 2 { // a role that is gone already is fine
				if _, err := v.api.Logical().DeleteWithContext(t.Context(), mount+"/role/extras"); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := v.api.Logical().ReadWithContext(t.Context(), mount+"/role/extras"); got != nil || err != nil {
				t.Errorf("the role reads %v, %v", got, err)
			}
		})
	})

	t.Run("vault_alicloud_access_credentials", func(t *testing.T) {
		tf.t = t
		tf.role(terraformRole{name: "users", inline: []string{terraformPolicy}, remote: []map[string]any{{"name": "AliyunOSSReadOnlyAccess", "type": "System"}}, ttl: 3600, maxTTL: 7200})
		tf.role(terraformRole{name: "sessions", arn: roleARN, ttl: 3600, maxTTL: 7200})

		// Three at once.
		began := time.Now()
		users := []*terraformCredentials{tf.open("users"), tf.open("users"), tf.open("users")}
		session := tf.open("sessions")
		for _, c := range users {
			if c.SecurityToken != "" || c.Expiration != "" || !c.secret.Renewable || c.secret.LeaseDuration != 3600 {
				t.Errorf("a RAM user: security_token %q, expiration %q, lease of %d s, renewable %t", c.SecurityToken, c.Expiration, c.secret.LeaseDuration, c.secret.Renewable)
			}
			if arn, err := whoami(t, cloud, ca, keysOf(c.secret.Data)); err != nil || !strings.Contains(arn, ":user/") {
				t.Errorf("the keys are those of %q, %v", arn, err)
			}
			if renewed, err := v.api.Sys().RenewWithContext(t.Context(), c.secret.LeaseID, 0); err != nil || renewed.LeaseDuration < 3590 {
				t.Errorf("renewed: %+v, %v", renewed, err)
			}
		}
		if at, err := time.Parse(time.RFC3339, session.Expiration); err != nil || session.SecurityToken == "" || at.Before(began.Add(3599*time.Second)) {
			t.Errorf("a session: expiration %q (%v)", session.Expiration, err)
		}
		// Applied again and again.
		for range 4 {
			tf.close(tf.open("users"))
		}
		for _, c := range append(users, session) {
			tf.close(c)
		}
		eventually(t, 3*time.Minute, "what was closed is revoked", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
	})

	t.Run("vault_mount, moved and destroyed", func(t *testing.T) {
		tf.t = t
		kept := tf.open("users")
		if err := v.api.Sys().RemountWithContext(t.Context(), mount, "moved"); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Minute, "the mount is moved", func() bool {
			got, err := v.api.Logical().ReadWithContext(t.Context(), "moved/role/users")
			return err == nil && got != nil
		})
		if got := v.read(t, "moved/config").Data["access_key"]; got != alisim.DefaultAccessKeyID {
			t.Errorf("access_key is %v after the move", got)
		}
		_ = kept // revoked by the move
		v.read(t, "moved/creds/users")
		if err := v.api.Sys().UnmountWithContext(t.Context(), "moved"); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Minute, "with the mount all users went", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
	})
}

// terraform calls as the provider does.
type terraform struct {
	*vaultServer
	t *testing.T
}

// config is create or update of vault_alicloud_secret_backend, and the read
// that follows.
func (tf *terraform) config(accessKey, secretKey string) {
	tf.t.Helper()
	tf.write(tf.t, mount+"/config", map[string]any{"access_key": accessKey, "secret_key": secretKey})
	got := tf.read(tf.t, mount+"/config").Data
	if key, _ := got["access_key"].(string); key != accessKey {
		tf.t.Errorf("access_key reads %q, want %q", key, accessKey)
	}
	if got["secret_key"] != nil {
		tf.t.Error("secret_key is read back")
	}
}

// terraformRole is the state of a vault_alicloud_secret_backend_role.
type terraformRole struct {
	name        string
	arn         string
	inline      []string // documents
	remote      []map[string]any
	ttl, maxTTL int64
}

// request holds all fields always: "" and [] clear.
func (r terraformRole) request(t *testing.T) map[string]any {
	t.Helper()
	documents := []json.RawMessage{}
	for _, d := range r.inline {
		documents = append(documents, json.RawMessage(d))
	}
	inline, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	remote := []string{}
	for _, p := range r.remote {
		remote = append(remote, fmt.Sprintf("name:%s,type:%s", p["name"], p["type"]))
	}
	return map[string]any{"role_arn": r.arn, "inline_policies": string(inline), "remote_policies": remote, "ttl": r.ttl, "max_ttl": r.maxTTL}
}

// role is create or update of a role, and the read that follows, which must give
// the state that was written: anything else is "inconsistent result after apply".
func (tf *terraform) role(want terraformRole) {
	tf.t.Helper()
	tf.write(tf.t, mount+"/role/"+want.name, want.request(tf.t))
	for range 2 { // the read of the apply, and that of the next plan
		data := tf.read(tf.t, mount+"/role/"+want.name).Data
		got := terraformRole{name: want.name}
		got.arn, _ = data["role_arn"].(string)
		inline, isList := data["inline_policies"].([]any)
		if !isList && data["inline_policies"] != nil {
			tf.t.Errorf("inline_policies reads %T", data["inline_policies"])
		}
		for _, p := range inline {
			raw, err := json.Marshal(p.(map[string]any)["policy_document"].(map[string]any))
			if err != nil {
				tf.t.Fatal(err)
			}
			got.inline = append(got.inline, string(raw))
		}
		remote, isList := data["remote_policies"].([]any)
		if !isList && data["remote_policies"] != nil {
			tf.t.Errorf("remote_policies reads %T", data["remote_policies"])
		}
		for _, p := range remote {
			got.remote = append(got.remote, p.(map[string]any))
		}
		got.ttl, got.maxTTL = tf.number(data["ttl"]), tf.number(data["max_ttl"])
		if !sameDocuments(got.inline, want.inline) {
			tf.t.Errorf("inline_policies reads %v, want %v", got.inline, want.inline)
		}
		expected := want
		got.inline, expected.inline = nil, nil
		if !reflect.DeepEqual(got, expected) {
			tf.t.Errorf("the role reads %+v, want %+v", got, expected)
		}
	}
}

// number is the provider's: a JSON number, or nothing.
func (tf *terraform) number(v any) int64 {
	tf.t.Helper()
	number, ok := v.(json.Number)
	if !ok {
		tf.t.Errorf("%v is a %T, want a number", v, v)
	}
	n, err := number.Int64()
	if err != nil {
		tf.t.Error(err)
	}
	return n
}

// sameDocuments compares as the provider does: as JSON, whose numbers are floats.
func sameDocuments(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		var a, b map[string]any
		if json.Unmarshal([]byte(got[i]), &a) != nil || json.Unmarshal([]byte(want[i]), &b) != nil || !reflect.DeepEqual(a, b) {
			return false
		}
	}
	return true
}

// terraformCredentials is what the ephemeral resource reads out of an answer.
type terraformCredentials struct {
	AccessKey     string `json:"access_key"`
	SecretKey     string `json:"secret_key"`
	SecurityToken string `json:"security_token"`
	Expiration    string `json:"expiration"`

	secret *api.Secret
}

func (tf *terraform) open(role string) *terraformCredentials {
	tf.t.Helper()
	secret := tf.read(tf.t, mount+"/creds/"+role)
	raw, err := json.Marshal(secret.Data)
	if err != nil {
		tf.t.Fatal(err)
	}
	c := &terraformCredentials{secret: secret}
	if err := json.Unmarshal(raw, c); err != nil {
		tf.t.Fatal(err)
	}
	if c.AccessKey == "" || c.SecretKey == "" || secret.LeaseID == "" {
		tf.t.Errorf("the answer lacks access_key, secret_key or a lease: %v", secret.LeaseID)
	}
	return c
}

// close does not wait: Vault revokes in the background.
func (tf *terraform) close(c *terraformCredentials) {
	tf.t.Helper()
	if err := tf.api.Sys().RevokeWithContext(tf.t.Context(), c.secret.LeaseID); err != nil {
		tf.t.Error(err)
	}
}
