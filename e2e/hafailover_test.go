package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	haClients = 8
	haPhase   = 40               // leases that must be issued between two events
	haWALAge  = 20 * time.Second // longer than an issue takes on a busy machine
)

// TestHAFailover lets eight clients issue and revoke leases at all three nodes of
// a cluster while the plugin is upgraded, the leader is killed (SIGKILL), and the
// plugin goes back to the version of before. No lease that a client holds may be
// lost, what was written on the leader is followed by the next one, and in the
// end, when every lease is revoked and Vault has rolled back, nothing may be left
// in RAM but what was issued in full and whose answer the killed server took with
// it: Vault has no lease of that, so it is left to tidy, and counted.
func TestHAFailover(t *testing.T) {
	began := time.Now()
	const backend = "github.com/alicreds/vault-plugin-secrets-alicloud/backend"
	built := map[string]string{}
	for _, version := range []string{pluginVersion, newerVersion} {
		file, err := goBuild("..", ".", "ha-"+version, "-X "+backend+".version="+version+" -X "+backend+".walMinAge="+haWALAge.String())
		if err != nil {
			t.Fatal(err)
		}
		built[version] = file
	}
	h := &haLoad{soak: soak{cloud: startCloud(t), said: map[string]int{}, held: map[string]string{}, given: map[string]time.Time{}}, cluster: startCluster(t, 3)}
	leader := h.cluster.awaitLeader(t)
	h.v = leader.vaultServer
	for version, file := range built {
		leader.registerFile(t, mount, "alicloud-"+version, file, version)
	}
	leader.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+pluginVersion, mount)
	leader.write(t, mount+"/config", engineConfig(h.cloud))
	for _, r := range soakRoles {
		leader.write(t, mount+"/role/"+r.name, r.role)
	}
	seed := h.cloud.Inventory()
	started := time.Since(began)

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for n := range haClients {
		clients.Go(func() { h.client(ctx, n) })
	}
	stop := sync.OnceFunc(func() { cancel(); clients.Wait() })
	defer stop()
	h.await(t, "under the first version")

	h.change(t, newerVersion)
	h.await(t, "under the new version")

	// Written on the leader, which has used what was there before.
	leader.write(t, mount+"/role/late", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}})
	leader.write(t, mount+"/config", map[string]any{"username_template": "late-{{.RoleName}}"})
	from := time.Now()
	leader.kill()
	killed := time.Now()
	h.kills = append(h.kills, span{from, killed})
	next := h.cluster.awaitLeader(t)
	elected := time.Since(killed)
	rollback := killed.Add(elected) // Vault rolls back every minute from here
	h.v = next.vaultServer
	h.wantVersion(t, newerVersion)
	h.wantFollowed(t, "late-late-")
	h.await(t, "after the failover")

	h.change(t, pluginVersion)
	// Through a standby, which has the leader do it.
	for _, node := range h.cluster.nodes {
		if !node.down && node != next {
			node.write(t, mount+"/config", map[string]any{"username_template": "later-{{.RoleName}}"})
		}
	}
	h.wantFollowed(t, "later-late-")
	h.await(t, "back under the first version")
	stop()
	loaded := time.Since(began) - started
	for rollback.Before(time.Now().Add(haWALAge)) { // the first that meets all that was left
		rollback = rollback.Add(time.Minute)
	}

	h.wantNoneLost(t)
	lost := h.lost(t)
	leases := h.revokeAll(t)
	t.Parallel() // the load is over, the rest waits
	left := leftovers(seed, h.cloud.Inventory())
	byTidy, orphans := h.judge(left) // a lease that Vault never heard of: tidy finds it
	for limit := 20 * time.Second; !left.empty() && time.Until(rollback) > -limit; {
		<-time.After(200 * time.Millisecond)
		left = leftovers(seed, h.cloud.Inventory())
		if byTidy, orphans = h.judge(left); len(orphans) > 0 {
			limit = 3 * time.Minute // on a busy machine a rollback may be late
		}
	}
	fmt.Printf("TestHAFailover: 3 nodes, %d clients, %v of load, %d cloud calls; new leader after %v; clients were told: %v\n",
		haClients, loaded.Round(time.Second), h.cloudCalls(), elected.Round(100*time.Millisecond), h.told())
	fmt.Printf("TestHAFailover: %d leases revoked in the end, lost %d, orphans %d, cut off before Vault had the answer and left to tidy %d; %v in all\n",
		leases, lost, len(orphans), byTidy, time.Since(began).Round(time.Second))
	if len(orphans) > 0 {
		t.Errorf("RAM still holds %v", orphans)
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound} {
		if n := h.said[fmt.Sprintf("issue: %d", status)]; n > 0 {
			t.Errorf("%d issues were answered %d", n, status)
		}
	}
}

// haLoad is the load of the soak test on a cluster. Its v is the leader; kills
// are also the reloads.
type haLoad struct {
	soak
	cluster *vaultCluster
}

// client issues and revokes, at one node until that fails it, then at the next.
func (h *haLoad) client(ctx context.Context, n int) {
	dice := rand.New(rand.NewPCG(uint64(n), 11))
	var leases []string
	for ctx.Err() == nil {
		// Not cut short when the load ends: what comes of it would not be known.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), soakPatience)
		at := h.cluster.nodes[n%len(h.cluster.nodes)].api
		var err error
		if len(leases) >= soakHolds || len(leases) > 0 && dice.IntN(10) < 4 {
			lease := leases[0]
			leases = leases[1:]
			h.release(lease)
			_, err = at.Logical().WriteWithContext(limited, "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": true})
			h.tell(limited, "revoke", "revoked", err)
		} else {
			role := []string{"session", "user", "user", "role"}[dice.IntN(4)]
			var secret *api.Secret
			secret, err = at.Logical().ReadWithContext(limited, mount+"/creds/"+role)
			if err == nil && secret == nil { // a standby of OpenBao that does not know the mount yet answers 404
				err = errors.New("nothing there")
			}
			if h.tell(limited, "issue", "issued", err); err == nil {
				h.hold(secret)
				leases = append(leases, secret.LeaseID)
			}
		}
		cancel()
		if err != nil {
			n++
			<-time.After(50 * time.Millisecond)
		}
	}
}

func (h *haLoad) tell(ctx context.Context, doing, done string, err error) {
	if err != nil {
		h.failed(ctx, doing, err)
		return
	}
	h.count(done)
}

func (h *haLoad) issued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said["issued"]
}

// await waits for leases that are issued from now on.
func (h *haLoad) await(t *testing.T, when string) {
	t.Helper()
	from := h.issued()
	eventually(t, 5*time.Minute, fmt.Sprintf("%d leases are issued %s", haPhase, when), func() bool { return h.issued() >= from+haPhase })
}

// change rolls the mount to another version, as docs/release.md says.
func (h *haLoad) change(t *testing.T, version string) {
	t.Helper()
	from := time.Now()
	h.v.run(t, "secrets", "tune", "-plugin-version="+version, mount+"/")
	h.v.run(t, "write", "sys/plugins/reload/backend", "mounts="+mount+"/", "scope=global")
	h.kills = append(h.kills, span{from, time.Now()})
	h.wantVersion(t, version)
}

func (h *haLoad) wantVersion(t *testing.T, version string) {
	t.Helper()
	if got := h.v.read(t, "sys/mounts/"+mount).Data["running_plugin_version"]; got != version {
		t.Fatalf("the mount runs %v, want %s", got, version)
	}
}

// wantFollowed wants every node to issue as the role and config say now.
func (h *haLoad) wantFollowed(t *testing.T, prefix string) {
	t.Helper()
	for _, node := range h.cluster.nodes {
		if node.down {
			continue
		}
		var name string
		eventually(t, startTimeout, node.name+" issues", func() bool {
			secret, err := node.api.Logical().ReadWithContext(t.Context(), mount+"/creds/late")
			if err != nil || secret == nil {
				return false
			}
			name, _ = secret.Data["username"].(string)
			_, err = node.api.Logical().WriteWithContext(t.Context(), "sys/leases/revoke", map[string]any{"lease_id": secret.LeaseID, "sync": true})
			return err == nil
		})
		if !strings.HasPrefix(name, prefix) {
			t.Errorf("%s issued %q, want %s...", node.name, name, prefix)
		}
	}
}

// lost counts the leases that a client holds and Vault does not know.
func (h *haLoad) lost(t *testing.T) int {
	t.Helper()
	lost := 0
	for lease := range h.held {
		if _, err := h.v.api.Logical().WriteWithContext(t.Context(), "sys/leases/lookup", map[string]any{"lease_id": lease}); err != nil {
			lost++
			t.Errorf("the lease %s is held, and lost: %v", lease, err)
		}
	}
	return lost
}
