package openapi

import (
	"sync"
	"time"
)

const (
	outageMemory = time.Minute
	maxOutages   = 64
)

// outages remembers the hosts that could not be reached, so that a site
// that has opened one of several endpoints pays the connect timeout once a
// minute and not on every call.
type outages struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (o *outages) add(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until == nil || len(o.until) >= maxOutages {
		o.until = map[string]time.Time{}
	}
	o.until[host] = time.Now().Add(outageMemory)
}

func (o *outages) remove(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.until, host)
}

func (o *outages) has(host string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Now().Before(o.until[host])
}
