package openapi

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxInFlight bounds the attempts of one Client at a time, and with them
	// its connections. Over a round trip of 200 ms it lets 320 calls a second
	// through; STS allows an account 100.
	maxInFlight = 64

	// slowest is the rate, in calls per second, below which no refusal brings
	// an action: RAM allows about 10 of its slowest ones.
	slowest = 10

	// A queue goes at what the service granted, less a tenth, and then faster
	// by five calls per second each second until it is refused again.
	backOffShare = 0.9
	growth       = 5

	// unpacedAfter is how long after the last refusal an action is no longer
	// held back.
	unpacedAfter = time.Minute

	rateWindow  = time.Second            // grants are counted by
	longestLead = 100 * time.Millisecond // that a late call may make up for
)

// pace holds back the calls of one action after the service has refused one
// for its rate. They queue, first come, first served, at the rate that the
// service has been seen to grant. Until then nothing waits: the rates that
// Alibaba Cloud publishes are defaults, which accounts raise by ticket, and
// which other clients of the account share.
type pace struct {
	turn chan struct{} // holds one: the call that goes next

	mu      sync.Mutex
	rate    float64   // calls per second; 0: not held back
	next    time.Time // when the next call may go
	waiting int
	refusal error     // the last one
	refused time.Time // when it came

	window          time.Time // the second that now counts
	granted, before int       // grants of that second, and of the one before it
}

func newPace() *pace { return &pace{turn: make(chan struct{}, 1)} }

// pace returns the queue of an action.
func (c *Client) pace(action string) *pace {
	c.pacesMu.Lock()
	defer c.pacesMu.Unlock()
	p := c.paces[action]
	if p == nil {
		if c.paces == nil {
			c.paces = map[string]*pace{}
		}
		p = newPace()
		c.paces[action] = p
	}
	return p
}

// holdsBack tells whether calls have to queue.
func (p *pace) holdsBack() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate != 0
}

// wait returns when the call may go, and whether it had to queue for that.
// Where its turn would come after the context's deadline it returns the
// refusal that made the queue, at once.
func (p *pace) wait(ctx context.Context) (queued bool, err error) {
	p.mu.Lock()
	if p.rate == 0 {
		p.mu.Unlock()
		return false, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		turn := time.Now().Add(time.Duration(float64(p.waiting) / p.rate * float64(time.Second)))
		if turn.Before(p.next) {
			turn = p.next
		}
		if turn.After(deadline) {
			defer p.mu.Unlock()
			return false, fmt.Errorf("%w (its turn would come too late: %d calls are waiting for theirs)", p.refusal, p.waiting)
		}
	}
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
	}()

	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-p.turn }()
	for {
		left := p.take()
		if left <= 0 {
			return true, nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		}
	}
}

// take lets the call at the head of the queue go, or tells for how long not.
func (p *pace) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if left := p.next.Sub(now); left > 0 {
		return left
	}
	if p.rate == 0 {
		return 0
	}
	if late := now.Add(-longestLead); p.next.Before(late) {
		p.next = late
	}
	p.next = p.next.Add(time.Duration(float64(time.Second) / p.rate))
	return 0
}

// grant counts a call that was not refused for its rate.
func (p *pace) grant() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.turnWindow(now)
	p.granted++
	switch {
	case p.rate == 0:
	case now.Sub(p.refused) > unpacedAfter:
		p.rate, p.refusal = 0, nil
	default:
		p.rate += growth / p.rate
	}
}

// refuse slows the action down. Refusals within a second, of calls that were
// sent together, count as one; pause holds back all of the action's calls.
func (p *pace) refuse(err error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.turnWindow(now)
	if p.rate == 0 || now.Sub(p.refused) > rateWindow {
		p.rate = max(slowest, backOffShare*float64(max(p.granted, p.before)))
	}
	p.refusal, p.refused = err, now
	if until := now.Add(pause); until.After(p.next) {
		p.next = until
	}
}

// turnWindow begins a new second of counting where the last one is over.
func (p *pace) turnWindow(now time.Time) {
	switch age := now.Sub(p.window); {
	case age >= 2*rateWindow:
		p.before, p.granted, p.window = 0, 0, now
	case age >= rateWindow:
		p.before, p.granted, p.window = p.granted, 0, now
	}
}
