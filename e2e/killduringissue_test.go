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
	cloud := startCloud(t)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	seed := cloud.Inventory()

	enable := func(path string) {
		v.enable(t, path, cloud)
		v.write(t, path+"/role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]"})
	}
	enable("count")
	roles := []string{"ci", "batch"}
	calls := countCalls(t, v, cloud, "count", roles...)
	cases := 0
	var again []string
	var interrupted ours
	for _, role := range roles {
		if calls[role] < 4 {
			t.Fatalf("an issue of %s took %d calls", role, calls[role])
		}
		for k := range calls[role] {
			for _, hold := range []string{"before", "after"} {
				path := fmt.Sprintf("kill-%s-%d-%s", role, k+1, hold)
				enable(path)
				interrupted.add(killDuring(t, v, cloud, path, role, alisim.Fault{Kind: alisim.FaultHold, Hold: hold, Skip: k, Count: 1}))
				cases++
			}
			again = append(again, fmt.Sprintf("kill-%s-%d-after/creds/%s", role, k+1, role))
		}
	}
	if len(interrupted.Users) < 4 || len(interrupted.Roles) < 4 {
		t.Errorf("%d kills left only %v: were they kills during an issue?", cases, interrupted)
	}

	left := leftovers(seed, cloud.Inventory())
	for start := time.Now(); !left.empty() && time.Since(start) < 6*rollbackTick; {
		<-time.After(200 * time.Millisecond)
		left = leftovers(seed, cloud.Inventory())
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
	eventually(t, 6*rollbackTick, "with the leases all is gone", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
}

// onlyIssues has a mount ask for no quotas beside its issues: such a call would be
// counted or held in the place of one that an issue waits for.
func (v *vaultServer) onlyIssues(t *testing.T, path string) {
	t.Helper()
	v.write(t, path+"/config", map[string]any{"ims_endpoint": ""})
}

// countCalls is how many calls an issue of each role makes. Nothing may have been killed before: the calls of its
// rollback would be counted.
func countCalls(t *testing.T, v *vaultServer, cloud *alisim.Server, path string, roles ...string) map[string]int {
	t.Helper()
	v.onlyIssues(t, path)
	calls := map[string]int{}
	for _, role := range roles {
		cloud.ClearJournal()
		secret := v.read(t, path+"/creds/"+role)
		calls[role] = len(cloud.Journal())
		v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	}
	return calls
}

// killDuring reads a credential, kills the plugin when the fault holds a call
// of it, and leaves a plugin that runs again. It returns what the issue had created.
func killDuring(t *testing.T, v *vaultServer, cloud *alisim.Server, path, role string, fault alisim.Fault) ours {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	v.onlyIssues(t, path)
	before := cloud.Inventory()
	cloud.ClearJournal()
	if err := cloud.AddFault(fault); err != nil {
		t.Fatal(err)
	}
	issued := make(chan *api.Secret, 1)
	go func() {
		secret, _ := v.api.Logical().ReadWithContext(ctx, path+"/creds/"+role)
		issued <- secret
	}()
	held, err := cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Held })
	if err != nil {
		t.Fatalf("%s: no call was held: %v", path, err)
	}
	created := leftovers(before, cloud.Inventory())
	v.killPlugin(t)
	// It was the caller: its connection has gone, and the call ends without an answer.
	_, err = cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Seq == held.Seq && !c.Held && c.Status == 0 })
	if err != nil {
		t.Fatalf("%s: the held call went on after its caller was killed: %v", path, err)
	}
	// Vault may have repeated the read in a new process: that issue is a whole one.
	if secret := <-issued; secret != nil {
		v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	}
	eventually(t, 3*time.Minute, "the plugin is started again", func() bool {
		_, err := v.api.Logical().ReadWithContext(ctx, path+"/config")
		return err == nil
	})
	return created
}

// killPlugin kills the newest process of the engine.
func (v *vaultServer) killPlugin(t *testing.T) {
	t.Helper()
	pids := v.pluginPIDs(mount)
	if err := syscall.Kill(pids[len(pids)-1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
