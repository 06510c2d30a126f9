package backend_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Readers share the connections of the mount: each has one for as long as it waits for
// an answer, and the next one finds it free.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	const readers, rounds = 8, 20
	for range rounds {
		m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultHold, Count: readers})
		var all sync.WaitGroup
		for range readers {
			all.Go(func() {
				resp, err := m.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/deploy", DisplayName: "token",
				})
				if err != nil || resp.IsError() {
					t.Errorf("%v %v", resp, err)
				}
			})
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			all.Wait()
		}()
		m.releaseTogether(ended)
	}
	// A few are lost where the machine stalls for so long that a free one is closed.
	if n := m.sim.Connections(); n > 2*readers {
		t.Errorf("%d sessions took %d connections, want %d", readers*rounds, n, readers)
	}
}

// releaseTogether waits until the calls that a fault holds are all under way at once,
// each on a connection of its own, and lets them go. It returns when who makes them has
// ended.
func (m *mount) releaseTogether(ended <-chan struct{}) {
	for ; ; time.Sleep(time.Millisecond) {
		if len(m.sim.Faults()) == 0 { // the fault has met them all
			m.sim.Release()
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}
