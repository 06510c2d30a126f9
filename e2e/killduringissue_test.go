package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestKillDuringIssue kills the plugin process (SIGKILL) between any two cloud
// calls of the issue of a RAM user or a RAM role: once before the k-th call takes effect, and
// once after, before its answer arrives. Vault then does on its own what it
// always does: it starts the plugin again, and rolls back within a minute.
// Nothing may remain in RAM.
func TestKillDuringIssue(t *testing.T) {
	t.Parallel()
	const rollbackTick = time.Minute
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	kills := &issueKills{v: v, seed: alisim.DefaultSeed(), enable: func(path string, cloud *alisim.Server) {
		v.enable(t, path, cloud)
		v.write(t, path+"/role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]"})
	}}
	cases := 0
	var again []string
	for _, role := range []string{"ci", "batch"} {
		calls := kills.calls(t, role)
		if calls < 4 {
			t.Fatalf("an issue of %s took %d calls", role, calls)
		}
		for k := range calls {
			for _, hold := range []string{"before", "after"} {
				cases++
				again = append(again, kills.kill(t, role, k, hold)+"/creds/"+role)
			}
		}
	}
	if len(kills.created.Users) < 4 || len(kills.created.Roles) < 4 {
		t.Errorf("%d kills left only %v: were they kills during an issue?", cases, kills.created)
	}

	left := kills.left()
	for start := time.Now(); !left.empty() && time.Since(start) < 6*rollbackTick; {
		<-time.After(200 * time.Millisecond)
		left = kills.left()
	}
	fmt.Printf("TestKillDuringIssue: cases %d orphans %d\n", cases, len(left.Users)+len(left.Roles)+len(left.Policies))
	if !left.empty() {
		t.Fatalf("after rollback RAM still holds %v", left)
	}

	// Every mount works again.
	for _, path := range again {
		secret := v.read(t, path)
		v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	}
	// A rollback that found nothing within a minute of the kill is repeated, and its
	// issue holds the policy until then.
	eventually(t, 6*rollbackTick, "with the leases all is gone", func() bool { return kills.left().empty() })
}

// issueKills are kills of the plugin during issues. Each has a mount of its own, and a cloud: calls of the rollback of
// another would be counted or held in the place of those of the issue.
type issueKills struct {
	v      *vaultServer
	seed   alisim.Seed // of each cloud
	enable func(path string, cloud *alisim.Server)

	clouds  []*alisim.Server
	seeded  alisim.Inventory // of each cloud, at first
	created ours             // what the issues had created when they were killed
}

// start mounts the engine at a path, before a cloud of its own.
func (k *issueKills) start(t *testing.T, path string) *alisim.Server {
	t.Helper()
	cloud, err := alisim.Start(alisim.Options{Seed: k.seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	k.clouds, k.seeded = append(k.clouds, cloud), cloud.Inventory()
	k.enable(path, cloud)
	// A call for quotas, beside the issue, would be one of its calls.
	k.v.write(t, path+"/config", map[string]any{"ims_endpoint": ""})
	cloud.ClearJournal()
	return cloud
}

// calls is how many calls the first issue of a mount makes.
func (k *issueKills) calls(t *testing.T, role string) int {
	t.Helper()
	path := "count-" + role
	cloud := k.start(t, path)
	secret := k.v.read(t, path+"/creds/"+role)
	calls := len(cloud.Journal())
	k.v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	return calls
}

// kill reads a credential of a role, kills the plugin when so many calls have been made and the next is held, and
// leaves a plugin that runs again. It returns the path of the mount.
func (k *issueKills) kill(t *testing.T, role string, calls int, hold string) (path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	path = fmt.Sprintf("kill-%s-%d-%s", role, calls+1, hold)
	cloud := k.start(t, path)
	if err := cloud.AddFault(alisim.Fault{Kind: alisim.FaultHold, Hold: hold, Skip: calls, Count: 1}); err != nil {
		t.Fatal(err)
	}
	issued := make(chan *api.Secret, 1)
	go func() {
		secret, _ := k.v.api.Logical().ReadWithContext(ctx, path+"/creds/"+role)
		issued <- secret
	}()
	held, err := cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Held })
	if err != nil {
		t.Fatalf("%s: no call was held: %v", path, err)
	}
	k.created.add(leftovers(k.seeded, cloud.Inventory()))
	k.v.killPlugin(t)
	// It was the caller: its connection has gone, and the call ends without an answer.
	_, err = cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Seq == held.Seq && !c.Held && c.Status == 0 })
	if err != nil {
		t.Fatalf("%s: the held call went on after its caller was killed: %v", path, err)
	}
	// Vault may have repeated the read in a new process: that issue is a whole one.
	if secret := <-issued; secret != nil {
		k.v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	}
	eventually(t, 3*time.Minute, "the plugin is started again", func() bool {
		_, err := k.v.api.Logical().ReadWithContext(ctx, path+"/config")
		return err == nil
	})
	return path
}

// left is what is in all clouds that the seed had not.
func (k *issueKills) left() (left ours) {
	for _, cloud := range k.clouds {
		left.add(leftovers(k.seeded, cloud.Inventory()))
	}
	return left
}

// killPlugin kills the newest process of the engine.
func (v *vaultServer) killPlugin(t *testing.T) {
	t.Helper()
	pids := v.pluginPIDs(mount)
	if err := syscall.Kill(pids[len(pids)-1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
