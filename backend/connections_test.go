package backend_test

import (
	"context"
	"sync"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// Readers share the connections of the mount. There is one for each at a time,
// and a few more on a busy machine: a reader opens one while the one it has just
// used is on its way back.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	const readers, reads = 8, 100
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for range reads {
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/deploy", DisplayName: "token",
				})
				if err != nil || resp.IsError() {
					t.Errorf("%v %v", resp, err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := m.sim.Connections(); n > readers*reads/16 {
		t.Errorf("%d sessions took %d connections", readers*reads, n)
	}
}
