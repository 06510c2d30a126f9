package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestWaitUntilUsable reads keys of a cloud that takes seconds to know a new one: with
// wait_until_usable the key works at once when it is handed out; with too short a wait
// the answer says so. A plugin that is killed while it waits leaves nothing behind.
func TestWaitUntilUsable(t *testing.T) {
	t.Parallel() // it waits most of the time
	v, cloud := startEngine(t)
	ca := writeCA(t, cloud)
	knowsKeysAfter := func(delay time.Duration) {
		t.Helper()
		settings := alisim.DefaultSettings()
		settings.Propagation.AccessKey = delay
		if err := cloud.Configure(settings); err != nil {
			t.Fatal(err)
		}
	}
	seed := cloud.Inventory()
	// A cloud that is to know the key in time takes seconds. One that is not takes far longer than a busy machine
	// needs for a case, until its clock is put forward.
	const soon, late = 4 * time.Second, 2 * time.Minute
	for name, tc := range map[string]struct {
		wait    string
		delay   time.Duration
		works   bool
		warning bool
	}{
		"at-once": {"0", late, false, false},
		"waits":   {"30s", soon, true, false},
		"too-few": {"1s", late, false, true},
	} {
		knowsKeysAfter(tc.delay)
		v.write(t, mount+"/role/"+name, map[string]any{"inline_policies": "[" + policyJSON + "]", "ttl": "10m", "wait_until_usable": tc.wait})
		begun := time.Now()
		lease := v.read(t, mount+"/creds/"+name)
		took := time.Since(begun)
		_, err := whoami(t, cloud, ca, keysOf(lease.Data))
		fmt.Printf("TestWaitUntilUsable: wait %s answered after %v, usable %t\n", tc.wait, took.Round(100*time.Millisecond), err == nil)
		if works := err == nil; works != tc.works {
			t.Errorf("%s: answered after %v, the key works: %t: %v", name, took, works, err)
		}
		if tc.works && took < tc.delay {
			t.Errorf("%s: answered after %v, and the cloud takes %v", name, took, tc.delay)
		}
		if warned := strings.Contains(strings.Join(lease.Warnings, "\n"), "wait_until_usable"); warned != tc.warning {
			t.Errorf("%s: warnings %q", name, lease.Warnings)
		}
		if tc.delay == late {
			cloud.Advance(late) // a key that RAM does not show yet cannot be deleted either
		}
		eventually(t, time.Minute, "the lease ends", func() bool { return v.try(t, "lease", "revoke", "-sync", lease.LeaseID).code == 0 })
	}

	knowsKeysAfter(late)
	cloud.ClearJournal()
	issued := make(chan *api.Secret, 1)
	go func() {
		lease, _ := v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/waits")
		issued <- lease
	}()
	if _, err := cloud.WaitFor(t.Context(), func(c alisim.Call) bool { return c.Action == "GetCallerIdentity" && c.Code == alisim.UnknownKey }); err != nil {
		t.Fatal(err)
	}
	knowsKeysAfter(0)
	v.killPlugin(t)
	cloud.Advance(late)
	if lease := <-issued; lease != nil { // Vault repeated the read in a new process
		eventually(t, time.Minute, "the lease ends", func() bool { return v.try(t, "lease", "revoke", "-sync", lease.LeaseID).code == 0 })
	}
	eventually(t, 6*time.Minute, "with the rollback all is gone", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
	fmt.Printf("TestWaitUntilUsable: killed while it waits, orphans %d\n", len(leftovers(seed, cloud.Inventory()).Users))
}
