package openapi

import (
	"net/url"
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

// targets are the request's endpoints, those that were reachable first.
func (c *Client) targets(r Request) ([]*url.URL, error) {
	targets := make([]*url.URL, 0, 1+len(r.Fallbacks))
	for _, endpoint := range append([]string{r.Endpoint}, r.Fallbacks...) {
		target, err := c.endpoint(endpoint)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	if len(targets) == 1 {
		return targets, nil
	}
	var reachable, down []*url.URL
	for _, target := range targets {
		if c.outages.has(target.Host) {
			down = append(down, target)
		} else {
			reachable = append(reachable, target)
		}
	}
	return append(reachable, down...), nil
}
