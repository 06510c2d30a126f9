package backend

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// counted is a Vault that counts what it is asked.
type counted struct {
	logical.StaticSystemView
	asked int
}

func (c *counted) ReplicationState() consts.ReplicationState {
	c.asked++
	return c.StaticSystemView.ReplicationState()
}

func (c *counted) MaxLeaseTTL() time.Duration {
	c.asked++
	return c.StaticSystemView.MaxLeaseTTL()
}

func TestHostIsAskedOnceASecond(t *testing.T) { // not parallel: it counts allocations
	synctest.Test(t, func(t *testing.T) {
		vault := &counted{StaticSystemView: logical.StaticSystemView{MaxLeaseTTLVal: time.Hour, ReplicationStateVal: consts.ReplicationPerformanceDisabled}}
		h := &host{SystemView: vault}
		look := func() (time.Duration, consts.ReplicationState) { return h.MaxLeaseTTL(), h.ReplicationState() }
		for range 10 {
			look()
		}
		if vault.asked != 2 {
			t.Errorf("asked %d times", vault.asked)
		}
		least := testing.AllocsPerRun(100, func() { look() })
		for range 2 { // what ends of a test before allocates too
			least = min(least, testing.AllocsPerRun(100, func() { look() }))
		}
		if least != 0 {
			t.Errorf("%v allocations", least)
		}
		vault.MaxLeaseTTLVal, vault.ReplicationStateVal = time.Minute, consts.ReplicationPerformanceStandby
		time.Sleep(hostMemory) // of the bubble's clock
		if ttl, state := look(); ttl != time.Minute || state != consts.ReplicationPerformanceStandby {
			t.Errorf("a change is not seen: %v %v", ttl, state)
		}
		vault.MaxLeaseTTLVal = 0 // what a failed call looks like
		time.Sleep(hostMemory)
		look()
		vault.MaxLeaseTTLVal = time.Hour
		if ttl, _ := look(); ttl != time.Hour {
			t.Errorf("a failure was kept: %v", ttl)
		}
	})
}
