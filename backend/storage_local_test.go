package backend_test

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Leases belong to a cluster, and so does all that is stored about them. What
// people write is the same in all clusters, holds keys, and is wrapped by the seal.
func TestStorageIsDeclared(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
	m.must(logical.ReadOperation, "creds/ci", nil)
	m.unfinished("ci")
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
	keys, err := logical.CollectKeys(t.Context(), m.storage)
	if err != nil {
		t.Fatal(err)
	}
	type declared struct{ local, sealWrapped bool }
	want := map[string]declared{
		"issued": {local: true}, "wal": {local: true}, "tag": {local: true}, "mark_secret": {local: true, sealWrapped: true},
		"config": {sealWrapped: true}, "role": {sealWrapped: true}, "static-role": {sealWrapped: true},
	}
	among := func(prefixes []string, key string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	}
	seen := map[string]bool{}
	for _, key := range keys {
		kind, _, _ := strings.Cut(key, "/")
		seen[kind] = true
		special := m.SpecialPaths()
		got := declared{among(special.LocalStorage, key), among(special.SealWrapStorage, key)}
		if kept, known := want[kind]; !known || got != kept {
			t.Errorf("%s is stored as %+v, want %+v (known here: %t)", key, got, kept, known)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("stored are %v, want one of each of %v", seen, want)
	}
}

// The mount works with one session of its own until that nears its end.
func TestMountsCredentialsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "config", map[string]any{
			"credential_type": "ram_role_arn", "role_arn": roleARN, "role_session_name": "the-mount", "role_session_expiration": "1h",
		})
		own := func() (n int) {
			for range 5 {
				m.must(logical.ReadOperation, "config/caller-identity", nil)
			}
			for _, c := range m.sim.Journal() {
				if c.Action == "AssumeRole" && c.Params["RoleSessionName"] == "the-mount" {
					n++
				}
			}
			return n
		}
		if n := own(); n != 1 {
			t.Errorf("5 requests made %d sessions of the mount, want 1", n)
		}
		time.Sleep(time.Hour)
		if n := own(); n != 2 {
			t.Errorf("10 requests, 5 of them an hour later, made %d sessions of the mount, want 2", n)
		}
	})
}

// What verify has seen work is what is stored, or nothing is.
func TestVerifyNoticesAnotherWrite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		other   map[string]any
		refused bool
	}{
		"of the keys":      {map[string]any{"access_key": "LTAI5tOTHER", "secret_key": "other"}, true},
		"of another field": {map[string]any{"region": "cn-beijing"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.fault(alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultHold})
				answered := make(chan *logical.Response)
				go func() {
					resp, err := m.HandleRequest(context.Background(), &logical.Request{
						Operation: logical.UpdateOperation, Path: "config", Data: map[string]any{"username_template": "x", "verify": true},
					})
					if err != nil {
						t.Error(err)
					}
					answered <- resp
				}()
				synctest.Wait()
				m.must(logical.UpdateOperation, "config", tc.other)
				m.sim.Release()
				resp := <-answered
				if resp.IsError() != tc.refused || tc.refused && !strings.Contains(resp.Error().Error(), "another write changed the keys") {
					t.Errorf("answer %v", resp)
				}
				read := m.config()
				for field, want := range tc.other {
					if field != "secret_key" && read[field] != want {
						t.Errorf("%s is %v, want %v", field, read[field], want)
					}
				}
				if stored := read["username_template"] == "x"; stored == tc.refused {
					t.Errorf("username_template is %v", read["username_template"])
				}
			})
		})
	}
}

// Writes of different fields of config at the same time, each with its read,
// keep each other's.
func TestConfigWritesKeepEachOther(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	writes := map[string]any{
		"region": "cn-beijing", "resource_manager_endpoint": "resourcemanager.example.com", "sts_endpoint": "sts.example.com", "ram_endpoint": "ram.example.com",
		"username_template": "x", "policy_name_template": "y", "role_session_name_template": "z", "max_retries": 2.0,
	}
	m.comeBetween(linger(len(writes)))
	var all sync.WaitGroup
	for field, value := range writes {
		all.Go(func() {
			resp, err := m.HandleRequest(context.Background(), &logical.Request{
				Operation: logical.UpdateOperation, Path: "config", Data: map[string]any{field: value},
			})
			if err != nil || resp.IsError() {
				t.Errorf("%s: %v %v", field, resp, err)
			}
		})
	}
	all.Wait()
	read := m.config()
	for field, want := range writes {
		if read[field] != want {
			t.Errorf("%s reads %v, want %v: another write took it away", field, read[field], want)
		}
	}
}

// A write of config comes between the read and the write of each step of a
// rotation. It waits there, and both are kept.
func TestConfigWriteWithinAStepOfARotation(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	fields := []string{"username_template", "policy_name_template", "role_session_name_template"}
	var written []string
	var others sync.WaitGroup
	m.comeBetween(func(s step, effect func() error) error {
		if s.op == logical.UpdateOperation && s.what == "config" && len(written) < len(fields) {
			field := fields[len(written)]
			written = append(written, field)
			done := make(chan struct{})
			others.Go(func() {
				defer close(done)
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.UpdateOperation, Path: "config", Data: map[string]any{field: "x"}, Storage: m.storage, // nothing comes between
				})
				if err != nil || resp.IsError() {
					t.Errorf("%s: %v %v", field, resp, err)
				}
			})
			for range 50_000 { // it ends now, or waits for this step
				select {
				case <-done:
					return effect()
				default:
					runtime.Gosched()
				}
			}
		}
		return effect()
	})
	key := m.must(logical.UpdateOperation, "config/rotate-root", map[string]any{}).Data["access_key"]
	others.Wait()
	m.comeBetween(nil)
	read := m.config()
	if len(written) < 2 || read["access_key"] != key || key == alisim.DefaultAccessKeyID {
		t.Errorf("after %d steps config has key %v, the rotation answered %v", len(written), read["access_key"], key)
	}
	for _, field := range written {
		if read[field] != "x" {
			t.Errorf("%s reads %q: a step of the rotation took it away", field, read[field])
		}
	}
}

// Everything the engine does and cannot do, with a log of all levels.
func TestNoSecretInTheLog(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.logged = &bytes.Buffer{}
	m.start()
	m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 0})
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	secrets := []string{"bearer-of-a-role", "secret-of-a-role"}
	for role, fields := range map[string]map[string]any{
		"deploy": {"role_arn": roleARN},
		"shared": {"role_arn": roleARN, "reuse_ttl": "10m"},
		"ci":     {"inline_policies": "[" + allowOSS + "]"},
		"batch":  {"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]"},
		"keys":   {"credential_type": "access_key", "access_key": "LTAI5tFAKE", "secret_key": secrets[1]},
		"bearer": {"credential_type": "bearer", "bearer_token": secrets[0]},
	} {
		m.must(logical.UpdateOperation, "role/"+role, fields)
		for _, kind := range []alisim.FaultKind{"", alisim.FaultRefuse, alisim.FaultError500, alisim.FaultApplyThenDrop} {
			if kind != "" {
				m.fault(alisim.Fault{Kind: kind, Skip: 1})
			}
			resp, err := m.request(logical.ReadOperation, "creds/"+role, nil)
			if err == nil && !resp.IsError() {
				_, _ = m.renewLease(resp.Secret)
				_, _ = m.revokeLease(resp.Secret)
			}
			m.sim.ClearFaults()
			_, _ = m.rollBack()
		}
	}
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
	m.must(logical.UpdateOperation, "rotate-role/app", nil)
	m.must(logical.UpdateOperation, "config/rotate-root", nil)
	m.must(logical.UpdateOperation, "tidy", nil)
	m.rest()

	secrets = append(secrets, m.sim.Secrets()...)
	if len(secrets) < 10 || m.logged.Len() == 0 {
		t.Fatalf("%d secrets, and a log of %d bytes", len(secrets), m.logged.Len())
	}
	for _, secret := range secrets {
		if strings.Contains(m.logged.String(), secret) {
			t.Errorf("the log holds a secret: %s", m.logged)
		}
	}
}
