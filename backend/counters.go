package backend

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// counters count what the engine has done for its mount since the process started.
// They are in memory: a restart, a failover and an upgrade begin them anew.
type counters struct {
	since time.Time

	mu      sync.Mutex
	calls   map[apiCall]int
	issued  map[string]int // by credential type
	renewed int
	revoked map[string]int // by what the lease stood for
}

// apiCall is an attempt of a call of Alibaba Cloud, and what came of it.
type apiCall struct{ service, action, result string }

// Results of an apiCall: callResults has them all.
const (
	callDone       = "ok"
	callRefused    = "refused"
	callKeyRefused = "key_refused" // the AccessKey or the token that signed it
	callThrottled  = "throttled"
	callFailed     = "failed" // no answer, none that can be used, or the service is out of order
)

func callResults() []string {
	return []string{callDone, callRefused, callKeyRefused, callThrottled, callFailed}
}

func newCounters() *counters {
	return &counters{since: time.Now(), calls: map[apiCall]int{}, issued: map[string]int{}, revoked: map[string]int{}}
}

// called counts one attempt.
func (c *counters) called(a openapi.Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[apiCall{ram.Product(a.Version), a.Action, resultOf(a.Err)}]++
}

func resultOf(err error) string {
	refused, answered := errors.AsType[*openapi.Error](err)
	switch {
	case err == nil:
		return callDone
	case !answered:
		return callFailed
	case refused.Throttled():
		return callThrottled
	case refused.KeyRefused() || refused.TokenRefused():
		return callKeyRefused
	case refused.Temporary() || refused.Code == "":
		return callFailed
	}
	return callRefused
}

func (c *counters) leaseIssued(credentialType string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued[credentialType]++
}

func (c *counters) leaseRenewed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renewed++
}

// leaseRevoked counts a lease by the role_type in its data.
func (c *counters) leaseRevoked(roleType string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[map[string]string{leaseRAM: typeRAMUser, leaseRAMRole: typeRAMRole, leaseSTS: "session"}[roleType]]++
}

// totals is what counters hold at a moment.
type totals struct {
	calls   map[apiCall]int
	issued  map[string]int
	renewed int
	revoked map[string]int
}

func (c *counters) read() totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	return totals{maps.Clone(c.calls), maps.Clone(c.issued), c.renewed, maps.Clone(c.revoked)}
}
