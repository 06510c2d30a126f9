package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// legacyKey is a key that an operator hands over to a static role.
var legacyKey = alisim.AccessKey{ID: "LTAI5tLEGACYLEGACYLEGAC", Secret: "legacy-secret-0123456789012345"}

// TestMountLife does to a mount, with leases out and calls under way, what people
// do to Vault servers: they seal, restart and reload them, pin versions, and move
// mounts. One server lives through it all.
func TestMountLife(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy", AccessKeys: []alisim.AccessKey{legacyKey}})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	c := startCluster(t, 1)
	life := &mountLife{cloud: cloud, cluster: c, v: c.nodes[0].vaultServer}
	life.v.register(t, mount, need(t, programs.plugin), pluginVersion)
	life.v.enable(t, mount, cloud)
	life.v.write(t, mount+"/static-role/legacy", map[string]any{
		"username": "legacy", "rotation_period": "720h", "access_key": legacyKey.ID, "secret_key": legacyKey.Secret,
	})
	life.seed = cloud.Inventory()
	for _, phase := range []struct {
		name string
		run  func(*mountLife, *testing.T)
	}{
		{"sealed during an issue", (*mountLife).sealedDuringIssue},
		{"sealed during a revocation", (*mountLife).sealedDuringRevocation},
		{"an adopted key", (*mountLife).keepsAdoptedKey},
		{"wrapped, by tokens of all kinds", (*mountLife).endsWithItsToken},
		{"pinned and reloaded under load", (*mountLife).pinnedUnderLoad},
		{"moved", (*mountLife).moved},
	} {
		if !t.Run(phase.name, func(t *testing.T) { leaveOut(t); phase.run(life, t) }) {
			return
		}
	}
}

type mountLife struct {
	cloud   *alisim.Server
	cluster *vaultCluster
	v       *vaultServer
	seed    alisim.Inventory
}

// wantGone waits until RAM holds no more than it did at first.
func (l *mountLife) wantGone(t *testing.T, within time.Duration) {
	t.Helper()
	var left ours
	for begun := time.Now(); ; <-time.After(100 * time.Millisecond) {
		if left = leftovers(l.seed, l.cloud.Inventory()); left.empty() {
			return
		}
		if time.Since(begun) > within {
			t.Fatalf("after %v RAM still holds %v", within, left)
		}
	}
}

// sealDuring seals the server while the cloud holds a call, whose effect is there,
// and whose answer comes after the seal. It returns what the client was told.
func (l *mountLife) sealDuring(t *testing.T, action string, request func() error) error {
	t.Helper()
	if err := l.cloud.AddFault(alisim.Fault{Kind: alisim.FaultHold, Action: action, Hold: "after", Count: 1}); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- request() }()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := l.cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Held }); err != nil {
		t.Fatalf("%s was not held: %v", action, err)
	}
	begun := time.Now()
	if err := l.v.api.Sys().SealWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Vault lets requests that are under way end, and ours does with its call.
	if took := time.Since(begun); took > time.Minute { // Vault ends requests after 90 s
		t.Errorf("the seal took %v", took)
	}
	l.cloud.Release()
	err := <-told
	l.cluster.unseal(t, l.cluster.nodes[0])
	l.cluster.awaitLeader(t)
	return err
}

// What an issue has created when the server is sealed is rolled back after it is
// unsealed: nobody was given it.
func (l *mountLife) sealedDuringIssue(t *testing.T) {
	err := l.sealDuring(t, "CreateAccessKey", func() error {
		_, err := l.v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/ci")
		return err
	})
	if err == nil {
		t.Error("a request that the seal has cut off was answered")
	}
	l.wantGone(t, 5*time.Minute)
}

// A revocation that is cut off is made again.
func (l *mountLife) sealedDuringRevocation(t *testing.T) {
	lease := l.v.read(t, mount+"/creds/ci").LeaseID
	_ = l.sealDuring(t, "DeleteUser", func() error {
		return l.v.api.Sys().RevokeWithOptionsWithContext(t.Context(), &api.RevokeOptions{LeaseID: lease, Sync: true})
	})
	eventually(t, 5*time.Minute, "the lease can be revoked", func() bool {
		<-time.After(2 * time.Second) // RAM is asked each time
		return l.v.api.Sys().RevokeWithOptionsWithContext(t.Context(), &api.RevokeOptions{LeaseID: lease, Sync: true}) == nil
	})
	l.wantGone(t, time.Second)
	if list, err := l.v.api.Logical().ListWithContext(t.Context(), "sys/leases/lookup/"+mount+"/creds/ci"); err != nil || list != nil {
		t.Errorf("leases %v, %v", list, err)
	}
}

// A key that was adopted, and is not due, survives whatever makes a new process.
func (l *mountLife) keepsAdoptedKey(t *testing.T) {
	cred := func() string {
		t.Helper()
		var at *api.Secret
		eventually(t, 3*time.Minute, "static-cred answers", func() bool {
			secret, err := l.v.api.Logical().ReadWithContext(t.Context(), mount+"/static-cred/legacy")
			at = secret
			return err == nil && secret != nil
		})
		return fmt.Sprint(at.Data["access_key"], " ", at.Data["last_rotation"], " ", at.Data["next_rotation"])
	}
	before := cred()
	if !strings.HasPrefix(before, legacyKey.ID+" ") {
		t.Fatalf("static-cred has %s", before)
	}
	l.cloud.ClearJournal()
	for _, life := range []struct {
		what string
		does func()
	}{
		{"a reload of the plugin", func() { l.v.run(t, "write", "sys/plugins/reload/backend", "mounts="+mount+"/") }},
		{"seal and unseal", func() {
			if err := l.v.api.Sys().SealWithContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.cluster.unseal(t, l.cluster.nodes[0])
			l.cluster.awaitLeader(t)
		}},
		{"a kill of the server", func() { l.restart(t) }},
	} {
		life.does()
		if after := cred(); after != before {
			t.Errorf("after %s static-cred has %s, and had %s", life.what, after, before)
		}
	}
	for _, call := range l.cloud.Journal() {
		if call.Action == "CreateAccessKey" {
			t.Errorf("a key was made: %v", call.Params)
		}
	}
}

// restart kills the server, and starts it again over its storage.
func (l *mountLife) restart(t *testing.T) {
	t.Helper()
	node := l.cluster.nodes[0]
	node.kill()
	err := node.launch(t, func(ctx context.Context) error {
		_, err := node.api.Sys().SealStatusWithContext(ctx)
		return err
	}, "-config="+filepath.Join(node.home, "vault.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	node.down = false
	l.cluster.unseal(t, node)
	l.cluster.awaitLeader(t)
}

// The lease of a reader ends with its token, of whatever kind; and what is wrapped
// is a lease of whoever wrapped it, opened or not.
func (l *mountLife) endsWithItsToken(t *testing.T) {
	err := l.v.api.Sys().PutPolicyWithContext(t.Context(), "app", `path "`+mount+`/creds/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }`)
	if err != nil {
		t.Fatal(err)
	}
	as := func(token string) *api.Client {
		client, err := l.v.api.Clone()
		if err != nil {
			t.Fatal(err)
		}
		client.SetToken(token)
		return client
	}
	token := func(by *api.Client, of api.TokenCreateRequest) string {
		t.Helper()
		of.Policies = []string{"app"}
		secret, err := by.Auth().Token().CreateWithContext(t.Context(), &of)
		if err != nil {
			t.Fatal(err)
		}
		return secret.Auth.ClientToken
	}
	read := func(by string) {
		t.Helper()
		if _, err := as(by).Logical().ReadWithContext(t.Context(), mount+"/creds/ci"); err != nil {
			t.Fatal(err)
		}
		if leftovers(l.seed, l.cloud.Inventory()).empty() {
			t.Fatal("no user was made")
		}
	}

	wrapping := as(l.v.token)
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "1m" })
	wrapped, err := wrapping.Logical().ReadWithContext(t.Context(), mount+"/creds/ci")
	if err != nil || wrapped.WrapInfo == nil {
		t.Fatalf("%v %v", wrapped, err)
	}
	opened, err := as(wrapped.WrapInfo.Token).Logical().UnwrapWithContext(t.Context(), "")
	if err != nil || opened.Data["secret_key"] == nil || !opened.Renewable {
		t.Errorf("opened: %v %v", slices.Collect(maps.Keys(opened.Data)), err)
	}
	_, err = wrapping.Logical().ReadWithContext(t.Context(), mount+"/creds/ci") // and nobody opens it
	if err != nil {
		t.Fatal(err)
	}
	l.v.run(t, "lease", "revoke", "-sync", "-prefix", mount+"/creds")
	l.wantGone(t, time.Second)

	const short = "15s" // a token that ends before it is used reads nothing
	read(token(l.v.api, api.TokenCreateRequest{Type: "batch", TTL: short}))
	l.wantGone(t, 3*time.Minute)
	read(token(l.v.api, api.TokenCreateRequest{NoParent: true, TTL: short}))
	l.wantGone(t, 3*time.Minute)
	parent := token(l.v.api, api.TokenCreateRequest{TTL: "1h"})
	read(token(as(parent), api.TokenCreateRequest{TTL: "1h"}))
	if err := l.v.api.Auth().Token().RevokeTreeWithContext(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	l.wantGone(t, 3*time.Minute)
}

// pinnedUnderLoad pins a newer version and reloads all mounts while readers issue
// and somebody writes config. Nobody is refused.
func (l *mountLife) pinnedUnderLoad(t *testing.T) {
	newer, err := goBuild("..", ".", "pinned", "-X github.com/alicreds/vault-plugin-secrets-alicloud/backend.version="+newerVersion)
	if err != nil {
		t.Fatal(err)
	}
	l.v.registerFile(t, mount, "alicloud-"+newerVersion, newer, newerVersion)
	// A mount that asks for a version keeps it, whatever is pinned.
	l.v.run(t, "secrets", "tune", "-plugin-version=", mount+"/")
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var issued, configured atomic.Int32
	for n := range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				var err error
				if n == 0 {
					_, err = l.v.api.Logical().WriteWithContext(t.Context(), mount+"/config", map[string]any{"region": ""})
					configured.Add(1)
				} else {
					_, err = l.v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/ci")
					issued.Add(1)
				}
				if err != nil {
					t.Errorf("refused: %v", err)
				}
			}
		})
	}
	more := func() {
		from := issued.Load()
		eventually(t, 3*time.Minute, "leases are issued", func() bool { return issued.Load() > from+20 })
	}
	more()
	l.v.run(t, "write", "sys/plugins/pins/secret/"+mount, "version="+newerVersion)
	l.v.run(t, "plugin", "reload", "-type=secret", "-plugin="+mount)
	more()
	cancel()
	load.Wait()
	if got := l.v.read(t, "sys/mounts/"+mount).Data["running_plugin_version"]; got != newerVersion {
		t.Errorf("the mount runs %v, want %s", got, newerVersion)
	}
	fmt.Printf("TestMountLife: reloaded to a pinned version under load: leases issued %d, writes of config %d\n", issued.Load(), configured.Load())
	l.v.run(t, "lease", "revoke", "-sync", "-prefix", mount+"/creds")
	l.wantGone(t, time.Second)
}

// moved moves the mount with a lease out; what is there works at the new path.
func (l *mountLife) moved(t *testing.T) {
	const to = "teams/cloud/alicloud"
	l.v.read(t, mount+"/creds/ci")
	l.v.run(t, "secrets", "move", mount+"/", to+"/")
	if got := l.v.read(t, to+"/config").Data["access_key"]; got != alisim.DefaultAccessKeyID {
		t.Errorf("config has %v", got)
	}
	l.v.read(t, to+"/creds/ci")
	if got := l.v.read(t, to+"/static-cred/legacy").Data["access_key"]; got != legacyKey.ID {
		t.Errorf("static-cred has %v", got)
	}
	if got := l.v.write(t, to+"/rotate-role/legacy", nil).Data["access_key"]; got == legacyKey.ID {
		t.Error("rotate-role left the old key")
	}
	l.v.run(t, "lease", "revoke", "-sync", "-prefix", to+"/creds")
	l.wantGone(t, time.Second)
	if found := l.v.write(t, to+"/tidy", nil); len(found.Data["users"].([]any)) > 0 {
		t.Errorf("tidy found %v", found.Data)
	}
}
