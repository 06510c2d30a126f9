package openapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// slowest is the rate, in calls per second, below which no refusal brings
	// an action: RAM allows about 10 of its slowest ones.
	slowest = 10

	// A queue goes at what the service granted, less a tenth, and then faster
	// by five calls per second each second until it is refused again.
	backOffShare = 0.9
	growth       = 5

	// catchUp is the share of a second whose calls may go at once after the
	// queue was idle.
	catchUp = 0.1

	// openAfter is how long after the last refusal a queue opens again.
	openAfter = time.Minute

	rateWindow = time.Second // in which grants are counted
)

// queue holds back the calls of one action after the service has refused one
// for its rate. They go first come, first served, at the rate that the
// service has been seen to grant. Until then the queue is open and nothing
// waits: the rates that Alibaba Cloud publishes are defaults, which accounts
// raise by ticket, and which other clients of the account share.
type queue struct {
	lanes   [2]lane       // ordinary calls, and urgent ones
	limiter *rate.Limiter // without a limit while the queue is open

	mu      sync.Mutex
	refusal *Error    // the last one
	refused time.Time // when it came
	resume  time.Time // when the pause ends that the service asked for

	second          time.Time // when the second began that now counts
	granted, before int       // grants in that second, and in the one before it
}

// lane is the order of calls that are alike in urgency. The heads of both lanes ask
// for the next turn.
type lane struct {
	head    chan struct{} // holds one: the call that goes next
	waiting int           // queue.mu guards it
}

func newQueue() *queue {
	q := &queue{limiter: rate.NewLimiter(rate.Inf, 1)}
	for i := range q.lanes {
		q.lanes[i].head = make(chan struct{}, 1)
	}
	return q
}

func (q *queue) lane(urgent bool) *lane {
	if urgent {
		return &q.lanes[1]
	}
	return &q.lanes[0]
}

// queue returns the queue of an action.
func (c *Client) queue(action string) *queue {
	c.queuesMu.Lock()
	defer c.queuesMu.Unlock()
	if c.queues[action] == nil {
		c.queues[action] = newQueue()
	}
	return c.queues[action]
}

func (q *queue) open() bool { return q.limiter.Limit() == rate.Inf }

// wait returns when it is the call's turn, and tells whether it had to queue.
// Where its turn would come after the context's deadline it returns at once,
// with the refusal for which the calls queue.
func (q *queue) wait(ctx context.Context, l *lane) (queued bool, err error) {
	if queued, err = q.enter(ctx, l); !queued {
		return false, err
	}
	defer q.leave(l)
	select {
	case l.head <- struct{}{}:
	case <-ctx.Done():
		return true, ctx.Err()
	}
	defer func() { <-l.head }()
	for {
		left := q.take()
		if left <= 0 {
			return true, nil
		}
		if err := sleep(ctx, left); err != nil {
			return true, err
		}
	}
}

func (q *queue) enter(ctx context.Context, l *lane) (queued bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open() {
		return false, nil
	}
	turn := time.Duration(float64(l.waiting) / float64(q.limiter.Limit()) * float64(time.Second))
	if outlasts(ctx, max(turn, time.Until(q.resume))) {
		return false, unsent{fmt.Errorf("%w (its turn would come too late: %d calls are waiting for theirs)", q.refusal, l.waiting)}
	}
	l.waiting++
	return true, nil
}

func (q *queue) leave(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.waiting--
}

// take lets the call at the head of a lane go, or tells how long it has to wait
// before it asks again. Only heads reserve, so that a new rate counts for all
// others.
func (q *queue) take() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if left := q.resume.Sub(now); left > 0 {
		return left
	}
	turn := q.limiter.ReserveN(now, 1)
	left := turn.DelayFrom(now)
	if left > 0 {
		turn.CancelAt(now)
	}
	return left
}

// grant counts a call that was not refused for its rate.
func (q *queue) grant() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.turnSecond(now)
	q.granted++
	switch limit := q.limiter.Limit(); {
	case q.open():
	case now.Sub(q.refused) > openAfter:
		q.limiter.SetLimitAt(now, rate.Inf)
	default:
		q.setRate(now, limit+growth/limit)
	}
}

// refuse slows the action down, to the same rate for all refusals of calls that
// were sent together. The pause holds back all of the action's calls.
func (q *queue) refuse(refusal *Error, pause time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.turnSecond(now)
	q.setRate(now, rate.Limit(max(slowest, backOffShare*float64(max(q.granted, q.before)))))
	q.refusal, q.refused = refusal, now
	if until := now.Add(pause); until.After(q.resume) {
		q.resume = until
	}
}

func (q *queue) setRate(now time.Time, perSecond rate.Limit) {
	q.limiter.SetLimitAt(now, perSecond)
	q.limiter.SetBurstAt(now, 1+int(perSecond*catchUp))
}

// turnSecond begins a new second of counting where the last one is over.
func (q *queue) turnSecond(now time.Time) {
	switch age := now.Sub(q.second); {
	case age >= 2*rateWindow:
		q.before, q.granted, q.second = 0, 0, now
	case age >= rateWindow:
		q.before, q.granted, q.second = q.granted, 0, now
	}
}

// inTurn makes an attempt when the action's rate and the pool allow it, and
// learns the rate from its outcome. pause is the shortest time before the next
// attempt. Nothing was sent unless made is true.
func (c *call) inTurn(ctx context.Context, attempt int) (pause time.Duration, made bool, err error) {
	if err := c.turn(ctx); err != nil {
		if ctx.Err() != nil {
			err = &NetworkError{Action: c.Action, Host: c.targets[0].Host, Err: ctx.Err()}
		}
		return 0, false, err
	}
	hint, err := c.reach(ctx)
	c.pool.leave(c.urgent)
	pause = wait(attempt, hint)
	var refused *Error
	switch answered := errors.As(err, &refused); {
	case err == nil, answered && !refused.Throttled():
		c.queue.grant()
	case answered && c.retries >= 0: // who wants no repetition wants no queue
		c.queue.refuse(refused, pause)
	}
	return pause, true, err
}

// turn returns when an attempt may be made, and then holds a place in the pool.
func (c *call) turn(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		queued, err := c.queue.wait(ctx, c.queue.lane(c.urgent))
		if err != nil {
			return err
		}
		if err := c.pool.enter(ctx, c.urgent); err != nil {
			return err
		}
		if queued || c.queue.open() {
			return nil
		}
		c.pool.leave(c.urgent) // throttled while the call waited for its place
	}
}
