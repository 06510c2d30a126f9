package openapi

import (
	"context"
	"sync"
)

const (
	// maxInFlight bounds the attempts at one service at a time, and with them
	// the connections. Over a round trip of 200 ms it lets 320 calls a second
	// through; STS allows an account 100.
	maxInFlight = 64

	// reserved of those are kept for urgent calls.
	reserved = maxInFlight / 4
)

type urgency struct{}

// Urgent marks the calls that are made with the context as ones that must not
// wait behind others: clean-up, and what other calls wait for, such as the
// credentials that sign them. A quarter of the 64 attempts that a Client makes at
// one service at a time is kept for them, and where an action queues because the
// service throttles it, they have a queue of their own beside that of the others.
// The service's limits hold for them all the same.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgency{}, true) }

func isUrgent(ctx context.Context) bool { return ctx.Value(urgency{}) != nil }

// service is what a Client calls: an API at a place.
type service struct{ endpoint, version string }

// pools has one for each service, so that one that is slow holds up no other.
type pools struct {
	mu sync.Mutex
	of map[service]*pool
}

func (p *pools) pool(of service) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[service]*pool{}
	}
	if p.of[of] == nil {
		p.of[of] = &pool{make(chan struct{}, maxInFlight), make(chan struct{}, maxInFlight-reserved)}
	}
	return p.of[of]
}

// pool holds a place for each attempt in flight.
type pool struct{ all, ordinary chan struct{} }

// enter waits for a place. Where it returns nil, leave is to be called.
func (p *pool) enter(ctx context.Context, urgent bool) error {
	if !urgent {
		select {
		case p.ordinary <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case p.all <- struct{}{}:
		return nil
	case <-ctx.Done():
		if !urgent {
			<-p.ordinary
		}
		return ctx.Err()
	}
}

func (p *pool) leave(urgent bool) {
	<-p.all
	if !urgent {
		<-p.ordinary
	}
}
