//go:build soak

package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// giveUp is more than Vault takes to give up a lease: six tries, between which it
// waits for 20, 40, 80, 160 and 320 seconds, each half as long up to half as long
// again. No setting shortens that.
const giveUp = 17 * time.Minute

// TestIrrevocableLease waits until Vault itself has given up leases that the peer
// engine cannot revoke, upgrades the mount to ours, and ends them in each way that
// the documentation names. It takes longer than CI has: it is built with the tag
// soak only, and run by make soak.
func TestIrrevocableLease(t *testing.T) {
	m := startPeerMount(t)
	// Without remote_policies, which that engine stores as null and fails to read.
	for _, role := range []string{"stuck", "stuck-many", "stuck-mount"} {
		m.write(t, mount+"/role/"+role, map[string]any{"inline_policies": "[" + policyJSON + "]", "ttl": "1s", "max_ttl": "1s"})
	}
	stuck, many, kept := m.issue("stuck"), []*api.Secret{m.issue("stuck-many"), m.issue("stuck-many")}, m.issue("stuck-mount")
	all := append([]*api.Secret{stuck, kept}, many...)
	expired := time.Now()
	eventually(t, giveUp, "Vault gives up all leases", func() bool { return m.irrevocable() == len(all) })
	took := time.Since(expired)
	for _, lease := range all {
		if listed := m.irrevocableErrors()[lease.LeaseID]; !strings.Contains(listed, "malformed remote_policies internal data") {
			t.Errorf("the error of %s is %q", lease.LeaseID, listed)
		}
		if u := m.userOf(lease); u == nil {
			t.Errorf("RAM has no user of %s", lease.LeaseID)
		}
	}
	fails := strings.Count(m.output.String(), "failed to revoke lease: lease_id="+stuck.LeaseID)
	m.wantStuck(stuck, "malformed remote_policies internal data")

	// The upgrade alone revives nothing, and neither does a revocation that is
	// only queued: it is over when a lease that was queued behind it is.
	m.registerOurs()
	m.change(pluginVersion)
	m.write(t, mount+"/role/fine", map[string]any{"inline_policies": "[" + policyJSON + "]"})
	fine := m.issue("fine")
	for _, lease := range []*api.Secret{stuck, fine} {
		m.run(t, "lease", "revoke", lease.LeaseID)
	}
	eventually(t, startTimeout, "the queued revocation is done", func() bool { return m.userOf(fine) == nil })
	m.wantIrrevocable(all...)

	m.revoke(stuck)
	m.wantIrrevocable(append([]*api.Secret{kept}, many...)...)
	m.run(t, "lease", "revoke", "-sync", "-prefix", mount+"/creds/stuck-many")
	m.wantIrrevocable(kept)
	m.run(t, "secrets", "disable", mount+"/")
	m.wantIrrevocable()

	if left := leftovers(m.seed, m.cloud.Inventory()); !reflect.DeepEqual(left, ours{}) {
		t.Errorf("RAM still holds %v", left)
	}
	fmt.Printf("TestIrrevocableLease: %d leases given up after %v (one of them failed %d times before the last), all revoked after the upgrade, left in RAM %v\n",
		len(all), took.Round(time.Second), fails, leftovers(m.seed, m.cloud.Inventory()))
}

// irrevocable is how many leases Vault has given up.
func (m *upgradedMount) irrevocable() int {
	m.t.Helper()
	secret, err := m.api.Logical().ReadWithDataWithContext(m.t.Context(), "sys/leases/count", map[string][]string{"type": {"irrevocable"}})
	if err != nil || secret == nil {
		m.t.Fatal(secret, err)
	}
	n, err := secret.Data["lease_count"].(json.Number).Int64()
	if err != nil {
		m.t.Fatal(err)
	}
	return int(n)
}

// irrevocableErrors are the leases that Vault has given up, with the last error.
func (m *upgradedMount) irrevocableErrors() map[string]string {
	m.t.Helper()
	secret, err := m.api.Logical().ReadWithDataWithContext(m.t.Context(), "sys/leases", map[string][]string{"type": {"irrevocable"}})
	if err != nil || secret == nil {
		m.t.Fatal(secret, err)
	}
	found := map[string]string{}
	leases, _ := secret.Data["leases"].([]any)
	for _, l := range leases {
		lease := l.(map[string]any)
		found[lease["lease_id"].(string)] = lease["error"].(string)
	}
	return found
}

// wantIrrevocable wants these leases given up, their users in RAM, and no others.
func (m *upgradedMount) wantIrrevocable(leases ...*api.Secret) {
	m.t.Helper()
	if n := m.irrevocable(); n != len(leases) {
		m.t.Errorf("Vault counts %d irrevocable leases, want %d", n, len(leases))
	}
	found := m.irrevocableErrors()
	for _, lease := range leases {
		if found[lease.LeaseID] == "" {
			m.t.Errorf("%s is not among the irrevocable leases %v", lease.LeaseID, found)
		}
	}
	m.wantUsers(leases...)
}
