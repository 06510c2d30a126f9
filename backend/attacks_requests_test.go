package backend_test

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// attackSharedSessionOfAnotherTTL asks for lives that STS does not give, and gets
// a session that somebody else asked for with another.
func attackSharedSessionOfAnotherTTL(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m", "max_ttl": "24h"})
	key := func(ttl string) any {
		return m.must(logical.ReadOperation, "creds/deploy", map[string]any{"ttl": ttl}).Data["access_key"]
	}
	for _, two := range [][2]string{{"60s", "120s"}, {"13h", "14h"}, {"30m", "40m"}} {
		first := key(two[0])
		if first == key(two[1]) {
			t.Errorf("requests for %s and for %s share a session, which leases.md denies", two[0], two[1])
		}
		if first != key(two[0]) {
			t.Errorf("two requests for %s do not share a session", two[0])
		}
	}
}
