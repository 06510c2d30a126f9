package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	keys := func(more map[string]any) map[string]any {
		data := map[string]any{"access_key": "LTAI5tFAKE", "secret_key": "fake-secret"}
		for k, v := range more {
			data[k] = v
		}
		return data
	}
	for name, tc := range map[string]struct {
		data map[string]any
		want string
	}{
		"no access_key":         {map[string]any{"secret_key": "s"}, "access_key is required"},
		"no secret_key":         {map[string]any{"access_key": "a"}, "secret_key is required"},
		"sts without token":     {keys(map[string]any{"credential_type": "sts"}), "security_token is required"},
		"role without arn":      {keys(map[string]any{"credential_type": "ram_role_arn"}), "role_arn is required"},
		"malformed role_arn":    {keys(map[string]any{"credential_type": "ram_role_arn", "role_arn": "vault"}), "acs:ram::"},
		"unknown type":          {keys(map[string]any{"credential_type": "iam"}), `credential_type "iam" is not known`},
		"unknown network":       {keys(map[string]any{"network": "lan"}), `network "lan" is not known`},
		"vpc without region":    {keys(map[string]any{"network": "vpc"}), "network=vpc needs a region"},
		"plain http":            {keys(map[string]any{"sts_endpoint": "http://sts.example.com"}), "sts_endpoint: "},
		"endpoint with path":    {keys(map[string]any{"ram_endpoint": "https://ram.example.com/x"}), "ram_endpoint: "},
		"endpoint with user":    {keys(map[string]any{"sts_endpoint": "https://user:pw@sts.example.com"}), "sts_endpoint: "},
		"bad fallback":          {keys(map[string]any{"sts_fallback_endpoints": "https://a.example.com?x=1"}), "sts_fallback_endpoints: "},
		"not a certificate":     {keys(map[string]any{"ca_certificate": "PEM"}), "certificate"},
		"too many retries":      {keys(map[string]any{"max_retries": 11}), "max_retries must be 0 to 10"},
		"timeout of an hour":    {keys(map[string]any{"timeout": 3600}), "timeout must be 0 to 60 seconds"},
		"sessions of a minute":  {keys(map[string]any{"credential_type": "ram_role_arn", "role_arn": roleARN, "role_session_expiration": 60}), "900"},
		"session name too long": {keys(map[string]any{"credential_type": "ram_role_arn", "role_arn": roleARN, "role_session_name": strings.Repeat("x", 65)}), "64"},
	} {
		t.Run(name, func(t *testing.T) {
			m.refused(logical.UpdateOperation, "config", tc.data, tc.want)
			if entry, _ := m.storage.Get(context.Background(), "config"); entry != nil {
				t.Error("a refused config was stored")
			}
		})
	}
}

func TestConfigKeepsWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{
		"access_key": "LTAI5tFAKE", "secret_key": "one", "region": "cn-beijing", "network": "vpc", "max_retries": 0,
		"timeout": "20s", "credential_type": "ram_role_arn", "role_arn": roleARN, "external_id": "partner-7",
	})
	// What the Terraform provider sends, and all it sends.
	if resp := m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tFAKE-updated", "secret_key": "two"}); resp != nil {
		t.Errorf("the answer is %v, want none (204)", resp)
	}
	read := m.must(logical.ReadOperation, "config", nil).Data
	for field, want := range map[string]any{
		"access_key": "LTAI5tFAKE-updated", "region": "cn-beijing", "network": "vpc", "max_retries": 0.0, "timeout": 20.0,
		"credential_type": "ram_role_arn", "role_arn": roleARN, "external_id": "partner-7",
	} {
		if read[field] != want {
			t.Errorf("%s reads %v, want %v", field, read[field], want)
		}
	}
	for _, hidden := range []string{"secret_key", "security_token"} {
		if _, there := read[hidden]; there {
			t.Errorf("%s is read back", hidden)
		}
	}
}

func TestConfigTokenBelongsToItsKey(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "sts", "access_key": "STS.one", "secret_key": "s", "security_token": "t"})
	m.refused(logical.UpdateOperation, "config", map[string]any{"access_key": "STS.two", "secret_key": "s"}, "security_token is required with a new access_key")
}

// A key and its secret belong together: of a new key the old secret is none.
func TestKeyBelongsToItsSecret(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tONE", "secret_key": "one"})
	m.must(logical.UpdateOperation, "role/r", map[string]any{"credential_type": "access_key", "access_key": "LTAI5tONE", "secret_key": "one"})
	for _, path := range []string{"config", "role/r"} {
		m.refused(logical.UpdateOperation, path, map[string]any{"access_key": "LTAI5tTWO"}, "secret_key is required with a new access_key")
		m.must(logical.UpdateOperation, path, map[string]any{"access_key": "LTAI5tONE"})
		m.must(logical.UpdateOperation, path, map[string]any{"secret_key": "corrected"})
		m.must(logical.UpdateOperation, path, map[string]any{"access_key": "LTAI5tTWO", "secret_key": "two"})
	}
}

func TestConfigOfTheBuiltInEngine(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.put("config", `{"access_key":"LTAI5tFAKE","secret_key":"s"}`)
	if read := m.must(logical.ReadOperation, "config", nil).Data; read["access_key"] != "LTAI5tFAKE" || read["credential_type"] != "access_key" {
		t.Errorf("read %v", read)
	}
	m.must(logical.UpdateOperation, "config", map[string]any{"secret_key": "new"})
	entry, _ := m.storage.Get(context.Background(), "config")
	var stored map[string]any
	if err := json.Unmarshal(entry.Value, &stored); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(stored) != "map[access_key:LTAI5tFAKE secret_key:new]" {
		t.Errorf("stored %v: the built-in engine knows these two keys only", stored)
	}
}

func TestConfigVerify(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	wrong := m.simConfig()
	wrong["secret_key"], wrong["verify"] = "wrong", true
	m.refused(logical.UpdateOperation, "config", wrong, "SignatureDoesNotMatch")
	if resp := m.must(logical.ReadOperation, "config", nil); resp != nil {
		t.Fatalf("stored in spite of the refusal: %v", resp)
	}
	right := m.simConfig()
	right["verify"] = true
	m.must(logical.UpdateOperation, "config", right)
}

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.refused(logical.ReadOperation, "config/caller-identity", nil, "vault write alicloud/config")
	m.must(logical.UpdateOperation, "config", m.simConfig())
	id := m.must(logical.ReadOperation, "config/caller-identity", nil).Data
	if id["account_id"] != "1234567890123456" || id["arn"] != "acs:ram::1234567890123456:user/vault" || id["source"] != "access_key" || id["identity_type"] != "RAMUser" {
		t.Errorf("got %v", id)
	}
	as := m.simConfig()
	as["credential_type"], as["role_arn"], as["role_session_name"] = "ram_role_arn", roleARN, "vault-1"
	m.must(logical.UpdateOperation, "config", as)
	id = m.must(logical.ReadOperation, "config/caller-identity", nil).Data
	if id["arn"] != "acs:ram::1234567890123456:assumed-role/deploy/vault-1" || id["source"] != "access_key -> ram_role_arn" {
		t.Errorf("as a role: %v", id)
	}
}

// The client that a node keeps must follow a change made here, deleted here, or
// made on another node.
func TestConfigChangeIsFollowed(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	arn := func() any { return m.must(logical.ReadOperation, "config/caller-identity", nil).Data["arn"] }
	before := arn()

	other := m.simConfig()
	other["credential_type"], other["role_arn"], other["role_session_name"] = "ram_role_arn", roleARN, "vault-1"
	delete(other, "connect_timeout") // stored in another unit
	delete(other, "timeout")
	raw, _ := json.Marshal(other)
	m.put("config", string(raw))
	if arn() != before {
		t.Error("the client was made anew without need")
	}
	m.InvalidateKey(context.Background(), "config")
	if arn() == before {
		t.Error("the change on another node was not followed")
	}
	m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "access_key"})
	if arn() != before {
		t.Error("the write was not followed")
	}
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	m.refused(logical.ReadOperation, "config/caller-identity", nil, "no credentials are configured")
}

// bareEnvironment hides what whoever runs the tests has in variables and at home, and
// returns a home in its place.
func bareEnvironment(t *testing.T) (home string) {
	t.Helper()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") || strings.HasPrefix(name, "ALICLOUD_") {
			t.Setenv(name, "")
		}
	}
	home = t.TempDir()
	for _, name := range []string{"HOME", "USERPROFILE"} {
		t.Setenv(name, home)
	}
	return home
}

// No keys given: the surroundings decide, by the usual names and by those of the
// built-in engine. Given keys win over both.
func TestConfigAmbient(t *testing.T) {
	for name, variables := range map[string][2]string{
		"usual names":                  {"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"},
		"names of the built-in engine": {"ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newEmptyMount(t)
			bareEnvironment(t)
			t.Setenv(variables[0], alisim.DefaultAccessKeyID)
			t.Setenv(variables[1], alisim.DefaultAccessKeySecret)
			ambient := m.simConfig()
			ambient["access_key"], ambient["secret_key"] = "", ""
			m.must(logical.UpdateOperation, "config", ambient)
			if read := m.must(logical.ReadOperation, "config", nil).Data; read["credential_type"] != "default" {
				t.Errorf("credential_type %v", read["credential_type"])
			}
			if id := m.must(logical.ReadOperation, "config/caller-identity", nil).Data; id["source"] != "env -> default" {
				t.Errorf("source %v", id["source"])
			}
			t.Setenv(variables[0], "LTAI5tANOTHER")
			m.must(logical.UpdateOperation, "config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
			if id := m.must(logical.ReadOperation, "config/caller-identity", nil).Data; id["source"] != "access_key" {
				t.Errorf("source %v: the environment won over given keys", id["source"])
			}
		})
	}
}

// F3.3: a config that something needs is not deleted by mistake.
func TestDeletingConfigInUseIsRefused(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/r", leastUser)
	secret := m.must(logical.ReadOperation, "creds/r", nil).Secret
	m.refused(logical.DeleteOperation, "config", nil, "1 RAM users and roles of leases and 0 static roles need this config")
	m.refused(logical.DeleteOperation, "config", map[string]any{"force": false}, "First vault lease revoke -prefix alicloud/creds")
	if _, err := m.revokeLease(secret); err != nil {
		t.Fatal(err)
	}
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
	m.refused(logical.DeleteOperation, "config", nil, "0 RAM users and roles of leases and 1 static roles need this config")
	if m.must(logical.ReadOperation, "config", nil) == nil {
		t.Error("the config is gone")
	}
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	if m.must(logical.ReadOperation, "config", nil) != nil {
		t.Error("the config is still there")
	}
}

// F3.10: a field without effect is refused, as in roles, and a change of the type
// keeps what the new one uses.
func TestConfigRefusesWhatItsTypeDoesNotUse(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	values := map[string]any{
		"role_arn": roleARN, "role_session_name": "vault", "external_id": "partner-7", "policy": sessionPolicy, "role_session_expiration": "1h",
		"security_token": "CAIS", "oidc_provider_arn": "acs:ram::1234567890123456:oidc-provider/ack", "oidc_token_file_path": "/run/token",
		"identity_token_audience": "vault", "identity_token_ttl": "1h", "role_name": "node", "disable_imds_v1": true,
		"credentials_uri": "http://localhost:8080/", "public_key_id": "LTAI5tPUBLIC", "private_key": "PEM",
	}
	for field, value := range values {
		m.refused(logical.UpdateOperation, "config", map[string]any{field: value}, field+" has no effect when credential_type is access_key: leave it out, or give credential_type (")
		empty := any("")
		if value == true {
			empty = false
		} else if value == "1h" {
			empty = 0
		}
		m.must(logical.UpdateOperation, "config", map[string]any{field: empty})
	}
	m.must(logical.UpdateOperation, "config", map[string]any{
		"credential_type": "ram_role_arn", "role_arn": roleARN, "external_id": "partner-7", "policy": sessionPolicy, "role_session_expiration": "1h",
	})
	m.must(logical.UpdateOperation, "config", map[string]any{
		"credential_type": "oidc_role_arn", "oidc_provider_arn": values["oidc_provider_arn"], "oidc_token_file_path": "/run/token",
	})
	read := m.config()
	for field, want := range map[string]any{"role_arn": roleARN, "policy": sessionPolicy, "role_session_expiration": 3600.0, "external_id": "", "access_key": alisim.DefaultAccessKeyID} {
		if read[field] != want {
			t.Errorf("after the change of the type %s is %v, want %v", field, read[field], want)
		}
	}
	// The Terraform provider writes keys whatever the type.
	m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "other"})
}

const sessionPolicy = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:*","Resource":"*"}]}`

// rootAndOther is the default seed with a root account's key, and a second account.
func rootAndOther() alisim.Seed {
	seed := alisim.DefaultSeed()
	seed.Accounts[0].AccessKeys = []alisim.AccessKey{{ID: "LTAI5tROOT", Secret: "root"}}
	seed.Accounts = append(seed.Accounts, alisim.Account{ID: "6543210987654321", Users: []alisim.User{
		{Name: "vault", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tOTHER", Secret: "other"}}},
	}})
	return seed
}

// F3.6: whoever asks who the mount is hears of the root account.
func TestVerifiedRootKeyIsWarnedOf(t *testing.T) {
	t.Parallel()
	m := newSeededMount(t, rootAndOther())
	m.must(logical.UpdateOperation, "config", m.simConfig())
	root := map[string]any{"access_key": "LTAI5tROOT", "secret_key": "root", "verify": true}
	if resp := m.must(logical.UpdateOperation, "config", root); resp == nil || !strings.Contains(strings.Join(resp.Warnings, "\n"), "Create a RAM user") {
		t.Errorf("answered %v", resp)
	}
}

// F3.3: who points config at another account while something is out is told how much.
func TestConfigOfAnotherAccountIsWarnedOf(t *testing.T) {
	t.Parallel()
	other := map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "other"}
	verified := map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "other", "verify": true}
	const users, static = "1 RAM users and roles of leases and 0 static roles are out in account 1234567890123456", "0 RAM users and roles of leases and 1 static roles are out"
	for name, tc := range map[string]struct {
		out   string
		write map[string]any
		want  string // "": no warning
		calls int
	}{
		"nothing is out":             {"", verified, "", 2}, // one of the credentials before, as in the first write alone
		"not asked":                  {"user", other, users + ", and credentials of another account can neither", 0},
		"asked":                      {"user", verified, users + ", and these credentials are of account 6543210987654321", 1},
		"a role of that account":     {"user", map[string]any{"credential_type": "ram_role_arn", "role_arn": "acs:ram::6543210987654321:role/vault"}, "these credentials are of account 6543210987654321", 0},
		"a role of the same account": {"user", map[string]any{"credential_type": "ram_role_arn", "role_arn": alisim.DefaultRoleARN}, "", 0},
		"the same, asked":            {"user", map[string]any{"verify": true}, "", 1},
		"the same":                   {"user", map[string]any{"region": "cn-beijing", "access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret}, "", 0},
		"a static role":              {"static", other, static, 0},
		"a static role, asked":       {"static", verified, static, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSeededMount(t, rootAndOther())
			m.must(logical.UpdateOperation, "config", m.simConfig())
			switch tc.out {
			case "user":
				m.must(logical.UpdateOperation, "role/r", leastUser)
				m.must(logical.ReadOperation, "creds/r", nil)
			case "static":
				m.admin("CreateUser", map[string]string{"UserName": "app"})
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"})
			}
			before := len(m.sim.Journal())
			resp := m.must(logical.UpdateOperation, "config", tc.write)
			said := ""
			if resp != nil {
				said = strings.Join(resp.Warnings, "\n")
			}
			if tc.want == "" && strings.Contains(said, "are out") || !strings.Contains(said, tc.want) {
				t.Errorf("warned %q, want %q", said, tc.want)
			}
			if n := len(m.sim.Journal()) - before; n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
		})
	}
}

// F5.16: a key as a file or a clipboard has it. White space at its ends does not count;
// inside, the character is named, and the key is not.
func TestKeysWithWhiteSpace(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	var made struct {
		AccessKey struct{ AccessKeyId, AccessKeySecret string }
	}
	if err := m.callAs(adminKey, "CreateAccessKey", map[string]string{"UserName": "app"}, &made); err != nil {
		t.Fatal(err)
	}
	id, secret := made.AccessKey.AccessKeyId, made.AccessKey.AccessKeySecret
	for what, path := range map[string]struct {
		path string
		data map[string]any
	}{
		"config":        {"config", map[string]any{}},
		"a role":        {"role/r", map[string]any{"credential_type": "access_key"}},
		"temporary":     {"role/s", map[string]any{"credential_type": "sts", "security_token": "CAIS"}},
		"a bearer":      {"role/b", map[string]any{"credential_type": "bearer", "bearer_token": "7f3a-9b21"}},
		"a static role": {"static-role/app", map[string]any{"username": "app", "rotation_period": "720h"}},
	} {
		switch {
		case what == "config":
			path.data["access_key"], path.data["secret_key"] = alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret
		case path.data["bearer_token"] == nil:
			path.data["access_key"], path.data["secret_key"] = id, secret
		}
		for _, field := range []string{"access_key", "secret_key", "security_token", "bearer_token"} {
			good, given := path.data[field].(string)
			if !given {
				continue
			}
			for inside, name := range map[string]string{"\n": "a line feed", "\r\n": "a carriage return", "\t": "a tab", " ": "a blank", "\u00a0": "the character U+00A0", "\x00": "the character U+0000"} {
				path.data[field] = good[:2] + inside + good[2:]
				resp, _ := m.request(logical.UpdateOperation, path.path, path.data)
				if !resp.IsError() || !strings.HasPrefix(resp.Error().Error(), field+" has "+name+" in it") || strings.Contains(resp.Error().Error(), good[2:]) {
					t.Errorf("%s: %s with %q: %v", what, field, inside, resp)
				}
			}
			path.data[field] = " \t" + good + "\r\n"
		}
		m.must(logical.UpdateOperation, path.path, path.data)
	}
	if read := m.must(logical.ReadOperation, "creds/r", nil).Data; read["access_key"] != id || read["secret_key"] != secret {
		t.Errorf("the role issues %q", read["access_key"])
	}
	if read := m.config(); read["access_key"] != alisim.DefaultAccessKeyID {
		t.Errorf("config has %q", read["access_key"])
	}
	if read := m.must(logical.ReadOperation, "static-cred/app", nil).Data; read["access_key"] != id || read["secret_key"] != secret {
		t.Errorf("the static role has %q", read["access_key"])
	}
}

// F3.17: a write that is wrong in several ways is refused with the same words each time.
func TestWrongWritesAreRefusedAlike(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for what, write := range map[string]struct {
		path string
		data map[string]any
	}{
		"unknown fields":   {"config", map[string]any{"regoin": "x", "acces_key": "x", "netwrok": "x", "tiemout": 1}},
		"wrong types":      {"config", map[string]any{"timeout": "x", "max_retries": "x", "strict_names": "x", "connect_timeout": "x", "rotation_period": "x"}},
		"wrong values":     {"config", map[string]any{"region": "x y", "network": "x", "sts_endpoint": "http://x", "max_retries": 99, "timeout": 999, "username_template": "{{"}},
		"without effect":   {"config", map[string]any{"policy": "{}", "role_arn": "x", "external_id": "x", "role_name": "x", "credentials_uri": "x"}},
		"in wrong places":  {"config", map[string]any{"secret_key": "LTAIx", "ca_certificate": "x.pem", "timeout": "1ms", "rotation_period": "1ms"}},
		"of a role":        {"role/r", map[string]any{"role_arn": "x", "external_id": "x", "policy": "{", "ttl": "2h", "max_ttl": "1h", "source_identity": "{{x"}},
		"without its type": {"role/r", map[string]any{"role_arn": roleARN, "ram_groups": "x", "trust_policy": "{}", "username_template": "x", "bearer_token": "x", "remote_policies": "name:x,type:System"}},
		"of a static role": {"static-role/s", map[string]any{"username": "a b", "rotation_period": "1s", "rotation_schedule": "x", "grace_period": "1s", "access_key": "a b", "secret_key": "a b"}},
	} {
		var first string
		for n := range 50 {
			resp, err := m.request(logical.UpdateOperation, write.path, write.data)
			said := fmt.Sprint(err)
			if resp.IsError() {
				said = fmt.Sprint(resp.Error(), err)
			} else if err == nil {
				t.Fatalf("%s: not refused", what)
			}
			if n == 0 {
				first = said
			}
			if said != first {
				t.Errorf("%s: %q, and at another time %q", what, first, said)
				break
			}
		}
	}
}
