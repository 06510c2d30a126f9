package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestRotationFailover kills the leader of a three-node cluster in the middle of
// a rotation of a static role, at its worst moment: RAM has made the key, and
// the answer is on its way. The new leader clears up and finishes; who reads
// static-cred meanwhile, on any node, always gets a key that works.
func TestRotationFailover(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy"})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	cluster := startCluster(t, 3)
	leader := cluster.awaitLeader(t)
	leader.register(t, mount, need(t, programs.plugin), pluginVersion)
	leader.run(t, "secrets", "enable", "-plugin-version="+pluginVersion, mount)
	config := engineConfig(cloud)
	config["timeout"] = "60s" // the call that is held outlasts what the readers do meanwhile
	leader.write(t, mount+"/config", config)
	leader.write(t, mount+"/static-role/legacy", map[string]any{"username": "legacy", "rotation_period": "24h", "grace_period": "1h"})
	first := leader.read(t, mount+"/static-cred/legacy").Data["access_key"].(string)

	for _, node := range cluster.nodes { // a standby of OpenBao learns of a mount a moment later
		eventually(t, startTimeout, node.name+" knows the mount", func() bool {
			secret, err := node.api.Logical().ReadWithContext(t.Context(), mount+"/static-cred/legacy")
			return err == nil && secret != nil
		})
	}
	const enough = 30 // reads, of the key before and of the key after; the call is not held for long
	readers := startReaders(t, cluster, cloud)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := cloud.AddFault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultHold, Hold: "after", Count: 1}); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = leader.api.Logical().WriteWithContext(ctx, mount+"/rotate-role/legacy", nil) // never answered
	}()
	if _, err := cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Held }); err != nil {
		t.Fatal(err)
	}
	stray := strayKey(cloud, first)
	eventually(t, 3*time.Minute, "readers read", func() bool { return readers.good.Load() >= enough })
	before := readers.good.Load()
	leader.kill()
	killed := time.Now()
	next := cluster.awaitLeader(t)
	if next == leader {
		t.Fatal("the leader is the one that was killed")
	}
	elected := time.Since(killed)
	var second string
	eventually(t, 5*time.Minute, "the new leader finishes the rotation", func() bool {
		secret, err := next.api.Logical().ReadWithContext(ctx, mount+"/static-cred/legacy")
		if err != nil || secret == nil {
			return false
		}
		second, _ = secret.Data["access_key"].(string)
		return second != first
	})
	finished := time.Since(killed)
	eventually(t, time.Minute, "readers see the new key", func() bool { return readers.last.Load() == second })
	after := readers.good.Load()
	eventually(t, 3*time.Minute, "readers go on reading", func() bool { return readers.good.Load() >= after+enough })
	readers.stop()

	user, _ := cloud.Inventory().User("legacy")
	var keys []string
	for _, k := range user.AccessKeys {
		keys = append(keys, k.ID)
	}
	fmt.Printf("TestRotationFailover: reads %d failed %d tried again %d; new leader after %v, rotation finished after %v\n",
		readers.good.Load(), readers.bad.Load(), readers.again.Load(), elected.Round(100*time.Millisecond), finished.Round(100*time.Millisecond))
	if want := first + " " + second; strings.Join(keys, " ") != want || stray == "" || second == stray {
		t.Errorf("RAM holds %v, want %s (the stray was %s)", keys, want, stray)
	}
	if readers.bad.Load() != 0 || readers.good.Load() <= before {
		t.Errorf("%d reads without a working key, %d with, %d of them before the kill", readers.bad.Load(), readers.good.Load(), before)
	}
}

// strayKey is the key of the user that nobody was told of.
func strayKey(cloud *alisim.Server, known string) string {
	user, _ := cloud.Inventory().User("legacy")
	for _, k := range user.AccessKeys {
		if k.ID != known {
			return k.ID
		}
	}
	return ""
}

// credReaders read static-cred and try what they get, until they are stopped.
type credReaders struct {
	good, bad, again atomic.Int64
	last             atomic.Value // AccessKey ID of the last good read
	stop             func()
}

func startReaders(t *testing.T, cluster *vaultCluster, cloud *alisim.Server) *credReaders {
	t.Helper()
	client, err := openapi.New(openapi.Options{CACertificate: cloud.CACertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	r := &credReaders{}
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			node := cluster.nodes[n%len(cluster.nodes)]
			secret, err := node.api.Logical().ReadWithContext(ctx, mount+"/static-cred/legacy")
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && noLeader(err):
				r.again.Add(1)
				<-time.After(20 * time.Millisecond)
				continue
			case err != nil || secret == nil:
				r.bad.Add(1)
				t.Errorf("a read of %s: %v %v", node.name, secret, err)
				continue
			}
			id, _ := secret.Data["access_key"].(string)
			key, _ := secret.Data["secret_key"].(string)
			who, err := alicreds.CallerIdentity(ctx, openapi.Keys{AccessKeyID: id, AccessKeySecret: key}, alicreds.STSOptions{Endpoint: cloud.URL, Client: client})
			if ctx.Err() != nil {
				return
			}
			if err != nil || !strings.HasSuffix(who.ARN, ":user/legacy") {
				r.bad.Add(1)
				t.Errorf("a read of %s gave a key that does not work: %v %v", node.name, who.ARN, err)
				continue
			}
			r.good.Add(1)
			r.last.Store(id)
			<-time.After(5 * time.Millisecond)
		}
	}()
	return r
}
