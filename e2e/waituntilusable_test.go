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
	const delay = 4 * time.Second
	v, cloud := startEngine(t)
	ca := writeCA(t, cloud)
	settings := alisim.DefaultSettings()
	settings.Propagation.AccessKey = delay
	if err := cloud.Configure(settings); err != nil {
		t.Fatal(err)
	}
	seed := cloud.Inventory()
	for name, tc := range map[string]struct {
		wait    string
		works   bool
		warning bool
	}{
		"at-once": {"0", false, false},
		"waits":   {"30s", true, false},
		"too-few": {"1s", false, true},
	} {
		v.write(t, mount+"/role/"+name, map[string]any{"inline_policies": "[" + policyJSON + "]", "ttl": "10m", "wait_until_usable": tc.wait})
		begun := time.Now()
		lease := v.read(t, mount+"/creds/"+name)
		took := time.Since(begun)
		_, err := whoami(t, cloud, ca, keysOf(lease.Data))
		fmt.Printf("TestWaitUntilUsable: wait %s answered after %v, usable %t\n", tc.wait, took.Round(100*time.Millisecond), err == nil)
		switch {
		case tc.works && (err != nil || took < delay):
			t.Errorf("%s: answered after %v: %v", name, took, err)
		case !tc.works && (err == nil && took < delay):
			t.Errorf("%s: the key works after %v, and the cloud takes %v", name, took, delay)
		}
		if warned := strings.Contains(strings.Join(lease.Warnings, "\n"), "wait_until_usable"); warned != tc.warning {
			t.Errorf("%s: warnings %q", name, lease.Warnings)
		}
		// A key that RAM does not show yet cannot be deleted either, and Vault repeats it.
		eventually(t, time.Minute, "the lease ends", func() bool { return v.try(t, "lease", "revoke", "-sync", lease.LeaseID).code == 0 })
	}

	cloud.ClearJournal()
	issued := make(chan *api.Secret, 1)
	go func() {
		lease, _ := v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/waits")
		issued <- lease
	}()
	if _, err := cloud.WaitFor(t.Context(), func(c alisim.Call) bool { return c.Action == "GetCallerIdentity" && c.Code == alisim.UnknownKey }); err != nil {
		t.Fatal(err)
	}
	v.killPlugin(t)
	if lease := <-issued; lease != nil { // Vault repeated the read in a new process
		eventually(t, time.Minute, "the lease ends", func() bool { return v.try(t, "lease", "revoke", "-sync", lease.LeaseID).code == 0 })
	}
	eventually(t, 3*time.Minute, "with the rollback all is gone", func() bool { return leftovers(seed, cloud.Inventory()).empty() })
	fmt.Printf("TestWaitUntilUsable: killed while it waits, orphans %d\n", len(leftovers(seed, cloud.Inventory()).Users))
}
