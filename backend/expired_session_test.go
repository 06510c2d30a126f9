package backend_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// A session that is over before it has a lease never gets one, so the RAM role
// that was created for it must not stay.
func TestSessionThatIsOverLeavesNoRAMRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/r", map[string]any{
			"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "ttl": "15m",
		})
		m.fault(alisim.Fault{
			Action: "AssumeRole", Kind: alisim.FaultMalform, Malform: `set:Expiration="` + time.Now().Add(2*time.Second).UTC().Format(time.RFC3339) + `"`,
		})
		m.comeBetween(func(s step, effect func() error) error {
			if s.call == nil && s.op == logical.DeleteOperation {
				time.Sleep(3 * time.Second)
			}
			return effect()
		})
		resp, err := m.request(logical.ReadOperation, "creds/r", nil)
		if err == nil || !strings.Contains(err.Error(), "have expired already: check the clock of the Vault server") {
			t.Fatalf("answer %v, %v", resp, err)
		}
		if created, deleted := len(m.callsAt("CreateRole")), len(m.callsAt("DeleteRole")); created != 1 || deleted != 1 || m.walEntries() != 0 {
			t.Errorf("%d RAM roles created, %d deleted, %d WAL entries", created, deleted, m.walEntries())
		}
	})
}
