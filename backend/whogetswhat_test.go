package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Sessions are shared by readers of one role as it is now, and by nobody else.
func TestSharedSessionBelongsToItsRole(t *testing.T) {
	t.Parallel()
	t.Run("two roles of the engine, one RAM role", func(t *testing.T) {
		t.Parallel()
		m := newMount(t)
		keys := map[any]string{}
		for _, name := range []string{"a", "b"} {
			m.must(logical.UpdateOperation, "role/"+name, map[string]any{"role_arn": roleARN, "reuse_ttl": "10m"})
			resp := m.must(logical.ReadOperation, "creds/"+name, nil)
			keys[resp.Data["access_key"]] = name
			if again := m.must(logical.ReadOperation, "creds/"+name, nil); again.Data["access_key"] != resp.Data["access_key"] {
				t.Errorf("role %s: the session is not shared", name)
			}
		}
		if len(keys) != 2 {
			t.Error("both roles got one session")
		}
	})
	t.Run("another token", func(t *testing.T) {
		t.Parallel()
		m := newSourcesMount(t)
		key := func() any { return m.must(logical.ReadOperation, "creds/pod", nil).Data["access_key"] }
		m.must(logical.UpdateOperation, "role/pod", map[string]any{
			"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN,
			"oidc_token_file_path": m.tokenFile(), "reuse_ttl": "10m",
		})
		first := key()
		if key() != first {
			t.Error("the session is not shared")
		}
		m.must(logical.UpdateOperation, "role/pod", map[string]any{"oidc_token_file_path": m.tokenFile()})
		if key() == first {
			t.Error("a session of the old token was given")
		}
	})
}

// The reader that asked first may leave: the session on its way is for all.
func TestSharedSessionOutlivesItsFirstReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m"})
		m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultHold})
		read := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				resp, err := m.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: "creds/deploy"})
				if err == nil && (resp.IsError() || resp.Secret == nil) {
					err = fmt.Errorf("no lease: %v", resp)
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		ctx, leave := context.WithCancel(t.Context())
		first, second := read(ctx), read(t.Context())
		leave()
		if err := <-first; err == nil {
			t.Error("the reader that left got a session")
		}
		synctest.Wait()
		m.sim.Release()
		if err := <-second; err != nil {
			t.Errorf("the reader that stayed: %v", err)
		}
		if n := len(m.callsAt("AssumeRole")); n != 1 {
			t.Errorf("%d sessions were obtained, want 1", n)
		}
	})
}

// A shared session that cannot be obtained is refused to all who wait, and asked
// for again once the refusal is forgotten.
func TestSharedSessionFailure(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m"})
	m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403, Count: 1})
	m.refused(logical.ReadOperation, "creds/deploy", nil, "NoPermission")
	m.must(logical.UpdateOperation, "role/deploy", nil)
	m.must(logical.ReadOperation, "creds/deploy", nil)
}

// A write of a role while another request reads it from storage: what was read
// before serves that request at most.
func TestRoleReadBeforeAChangeIsNotKept(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "ttl": "30m"})
	changed := false
	m.comeBetween(func(s step, effect func() error) error {
		err := effect()
		if s.op == logical.ReadOperation && s.what == "role/deploy" && !changed {
			changed = true
			m.must(logical.UpdateOperation, "role/deploy", map[string]any{"ttl": "20m"})
		}
		return err
	})
	m.must(logical.ReadOperation, "creds/deploy", nil)
	m.must(logical.ReadOperation, "creds/deploy", nil)
	calls := m.sim.Journal()
	if asked := calls[len(calls)-1].Params["DurationSeconds"]; !changed || asked != "1200" {
		t.Errorf("after the change STS was asked for %s seconds, want 1200", asked)
	}
}

// A node that may not write forwards every request that would have an effect,
// and calls nobody before.
func TestReadOnlyNodeForwards(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]consts.ReplicationState{
		"performance standby": consts.ReplicationPerformanceStandby, "disaster recovery secondary": consts.ReplicationDRSecondary,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			for role, fields := range map[string]map[string]any{
				"deploy": {"role_arn": roleARN},
				"shared": {"role_arn": roleARN, "reuse_ttl": "10m"},
				"ci":     {"ram_groups": "readers"},
				"batch":  {"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"},
				"keys":   {"credential_type": "access_key", "access_key": "LTAI5tFAKE", "secret_key": "fake"},
			} {
				m.must(logical.UpdateOperation, "role/"+role, fields)
			}
			lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
			m.become(state)
			calls := len(m.sim.Journal())
			for what, ask := range map[string]func(*logical.Secret) (*logical.Response, error){"renewal": m.renewLease, "revocation": m.revokeLease} { // F7.2
				if resp, err := ask(lease); err != logical.ErrReadOnly { //nolint:errorlint // must be bare
					t.Errorf("%s: %v %v, want ErrReadOnly", what, resp, err)
				}
			}
			for _, path := range []string{"creds/deploy", "creds/shared", "creds/ci", "creds/batch", "creds/keys", "tidy", "config/rotate-root"} {
				if resp, err := m.request(logical.UpdateOperation, path, nil); err != logical.ErrReadOnly { //nolint:errorlint // must be bare
					t.Errorf("%s: %v %v, want ErrReadOnly", path, resp, err)
				}
			}
			if n := len(m.sim.Journal()) - calls; n != 0 {
				t.Errorf("%d calls were made", n)
			}
		})
	}
}

// Whoever may write a role or the config cannot have the plugin ask the metadata
// service of its machine (F3.9): an address is refused in the write, and what a name
// leads to when it is dialled.
func TestCredentialsURIIsNoMetadataAddress(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"100.100.100.200", "169.254.169.254", "[fe80::1]", "[::ffff:100.100.100.200]"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			fields := map[string]any{"credential_type": "credentials_uri", "credentials_uri": "http://" + host + "/latest/"}
			for _, path := range []string{"role/metadata", "config"} {
				m.refused(logical.UpdateOperation, path, fields, "metadata addresses are refused")
				m.must(logical.UpdateOperation, path, map[string]any{"credential_type": "credentials_uri", "credentials_uri": "http://127.0.0.1:1/keys"})
			}
		})
	}
}

// The default chain may read the aliyun CLI's file of whoever runs Vault; it
// never writes to it.
func TestDefaultChainDoesNotWriteToACLIProfile(t *testing.T) { // not parallel: it changes the environment
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatalf("NOT TESTED: the profile's command is cat: %v", err)
	}
	home := bareEnvironment(t)
	keys := filepath.Join(home, "keys")
	command, _ := json.Marshal(cat + " " + keys)
	profile := filepath.Join(home, ".aliyun", "config.json")
	content := `{"current":"ci","profiles":[{"name":"ci","mode":"External","process_command":` + string(command) + `}]}`
	for file, text := range map[string]string{
		keys: `{"mode":"AK","access_key_id":"` + alisim.DefaultAccessKeyID + `","access_key_secret":"` + alisim.DefaultAccessKeySecret + `"}`, profile: content,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := newEmptyMount(t)
	config := m.simConfig()
	config["access_key"], config["secret_key"], config["credential_type"] = "", "", "default"
	m.must(logical.UpdateOperation, "config", config)
	if arn := m.must(logical.ReadOperation, "config/caller-identity", nil).Data["arn"]; arn != "acs:ram::1234567890123456:user/vault" {
		t.Errorf("the mount is %v", arn)
	}
	if after, err := os.ReadFile(profile); err != nil || string(after) != content {
		t.Errorf("the file was written: %s (%v)", after, err)
	}
	if files, err := os.ReadDir(filepath.Dir(profile)); err != nil || len(files) != 1 {
		t.Errorf("beside it there is %v (%v)", files, err)
	}
}

// A renewal needs nothing of RAM: only a user that has been there and is gone
// ends it, and a Vault that does not say how long leases may be.
func TestRenewalOfAUserThatRAMDoesNotShow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
		lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		m.fault(alisim.Fault{Action: "GetUser", Kind: alisim.FaultRefuse, Code: "EntityNotExist.User", Status: 404})
		time.Sleep(59 * time.Second)
		if resp, err := m.renewLease(lease); err != nil || resp.IsError() {
			t.Errorf("a moment after the issue: %v %v", resp, err)
		}
		time.Sleep(2 * time.Second)
		if resp, err := m.renewLease(lease); err == nil || !strings.Contains(err.Error(), "no longer exists") {
			t.Errorf("later: %v %v", resp, err)
		}
		m.sim.ClearFaults()
		m.start(func(c *logical.BackendConfig) { c.System = &logical.StaticSystemView{} })
		if resp, err := m.renewLease(lease); err == nil || !strings.Contains(err.Error(), "how long the longest lease") {
			t.Errorf("without a maximum: %v %v", resp, err)
		}
	})
}

// The root account can assume no role, so nothing is created for it to assume.
func TestRAMRoleOfTheRootAccount(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].AccessKeys = append(seed.Accounts[0].AccessKeys, alisim.AccessKey{ID: "LTAI5tROOT", Secret: "root"})
	m := newSeededMount(t, seed)
	config := m.simConfig()
	config["access_key"], config["secret_key"] = "LTAI5tROOT", "root"
	m.must(logical.UpdateOperation, "config", config)
	m.must(logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"})
	m.refused(logical.ReadOperation, "creds/batch", nil, "root account, which can assume no role")
	if n := len(m.callsAt("CreateRole")); n != 0 {
		t.Errorf("%d roles were created", n)
	}
}

// A comment in RAM holds 128 characters; the name of a role may be longer.
func TestRoleWithALongName(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	name := strings.Repeat("x", 150)
	m.must(logical.UpdateOperation, "role/"+name, map[string]any{"ram_groups": "readers"})
	m.must(logical.ReadOperation, "creds/"+name, nil)
}

// A session that several readers share is named after none of them.
func TestSharedSessionIsNamedAfterNobody(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for role, named := range map[string]bool{"own": true, "shared": false} {
		fields := map[string]any{"role_arn": roleARN}
		if !named {
			fields["reuse_ttl"] = "10m"
		}
		m.must(logical.UpdateOperation, "role/"+role, fields)
		m.must(logical.ReadOperation, "creds/"+role, nil)
		calls := m.sim.Journal()
		if session := calls[len(calls)-1].Params["RoleSessionName"]; strings.Contains(session, "alice") != named || !strings.Contains(session, role) {
			t.Errorf("role %s: the session is named %s", role, session)
		}
	}
}

// A request may ask for the whole of what its role and mount allow.
func TestTTLAtItsMaximum(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for role, fields := range map[string]map[string]any{
		"of-the-role": {"ram_groups": "readers", "max_ttl": "1h"}, "of-the-mount": {"ram_groups": "readers", "max_ttl": "48h"},
	} {
		m.must(logical.UpdateOperation, "role/"+role, fields)
		most := 3600
		if role == "of-the-mount" {
			most *= 24
		}
		if got := m.must(logical.UpdateOperation, "creds/"+role, map[string]any{"ttl": most}).Secret.TTL; got.Seconds() != float64(most) {
			t.Errorf("%s: a lease of %v", role, got)
		}
		m.refused(logical.UpdateOperation, "creds/"+role, map[string]any{"ttl": most + 1}, "ttl must be 1 second to")
	}
}

// What a request may set is what its role's type has, and it arrives.
func TestRequestParametersOfRAMRole(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/batch", map[string]any{
		"credential_type": "ram_role", "remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "request_parameters": "ttl,policy,role_session_name",
	})
	m.must(logical.UpdateOperation, "creds/batch", map[string]any{"role_session_name": "release-42", "policy": allowOSS, "ttl": "20m"})
	calls := m.sim.Journal()
	last := calls[len(calls)-1]
	for name, want := range map[string]string{"RoleSessionName": "release-42", "Policy": allowOSS, "DurationSeconds": "1200"} {
		if got := last.Params[name]; last.Action != "AssumeRole" || got != want {
			t.Errorf("%s: %s is %q, want %q", last.Action, name, got, want)
		}
	}
}

func TestRequestParametersThatTheRoleDoesNotHave(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	const session, arn, document = "role_session_name", "role_arn", "policy"
	values := map[string]string{session: "alice", arn: roleARN, document: allowOSS}
	for role, tc := range map[string]struct {
		fields  map[string]any
		refused []string
	}{
		"ram_user":   {map[string]any{"ram_groups": "readers"}, []string{session, arn, document}},
		"ram_role":   {map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"}, []string{arn}},
		"access_key": {map[string]any{"credential_type": "access_key", "access_key": "LTAI5tFAKE", "secret_key": "fake"}, []string{session, arn, document}},
	} {
		m.must(logical.UpdateOperation, "role/"+role, tc.fields)
		before := m.inventory()
		for _, field := range tc.refused {
			m.refused(logical.UpdateOperation, "creds/"+role, map[string]any{field: values[field]}, field+" is for sessions")
		}
		m.unchanged(before)
	}
}
