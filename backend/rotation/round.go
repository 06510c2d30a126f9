package rotation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	workers = 8

	// perAccount of them work in one account: one that is slow leaves some to the
	// others.
	perAccount = 6

	// Vault ticks every minute; a round begins nothing after roundTime.
	roundTime = 50 * time.Second
	turnTime  = 45 * time.Second // of one key in a round

	firstRetry, longestRetry = time.Minute, time.Hour // after a failure of one key
)

// Source is where a round finds the keys.
type Source interface {
	// Refresh puts into the queue what it may not know of storage. An error ends
	// the round.
	Refresh(ctx context.Context) error
	// Key is the key of a name in the queue.
	Key(name string) Key
}

// Begin begins a round, unless one is under way. It does not wait for its end.
func (q *Queue) Begin(s Source) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.inRound || q.life.Err() != nil {
		return
	}
	q.inRound = true
	q.rounds.Go(func() {
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.inRound = false
		}()
		q.round(q.life, s)
	})
}

// round works on what is due, and on what becomes due meanwhile, and begins
// nothing after roundTime. The keys that are not reached are still due then.
func (q *Queue) round(ctx context.Context, s Source) {
	end := time.Now().Add(roundTime)
	if err := s.Refresh(ctx); err != nil {
		if ctx.Err() == nil {
			q.Ended("", err, end)
		}
		return
	}
	q.Ended("", nil, time.Time{})
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { q.work(ctx, s, end) })
	}
	all.Wait()
}

// work takes one key after the other.
func (q *Queue) work(ctx context.Context, s Source, end time.Time) {
	for ctx.Err() == nil && time.Now().Before(end) {
		name, release, again := q.takeDue()
		switch {
		case name != "":
			q.move(name, q.turn(ctx, s.Key(name)))
			release()
		case again.IsZero() || !again.Before(end) || ram.Pause(ctx, time.Until(again)) != nil:
			return
		}
	}
}

// turn takes one key as far as it gets, and returns when its next turn is.
func (q *Queue) turn(ctx context.Context, k Key) time.Time {
	limited, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	next, switched, err := advance(limited, k, Demand{})
	if switched {
		q.notThrottled(k.Name())
		q.Announce(ctx, k.Name(), nil)
	}
	var unclean error
	if err == nil {
		var again time.Time
		again, unclean = k.CleanUp(limited)
		next = Earliest(next, again)
	}
	failure := errors.Join(err, unclean) // one of the two
	refused, answered := errors.AsType[*openapi.Error](failure)
	switch {
	case failure == nil:
	case ctx.Err() != nil || errors.Is(failure, ErrKeyGone):
		return time.Now().Add(time.Second)
	case answered && refused.Throttled():
		next = q.throttled(k.Name())
	case err != nil:
		return q.failed(ctx, k, err)
	}
	q.Ended(k.Name(), failure, next)
	return next
}

// failed stores why, and returns when to try again.
func (q *Queue) failed(ctx context.Context, k Key, err error) (retry time.Time) {
	now := time.Now()
	r, unread := k.Load(ctx)
	if unread != nil || r == nil {
		q.Ended(k.Name(), err, now.Add(firstRetry))
		return now.Add(firstRetry)
	}
	f := r.Failure.Again(q.Explain(err), now)
	retry = now.Add(f.pause()) // by the monotonic clock, for as long as this process lives
	q.Ended(k.Name(), err, retry)
	q.Announce(ctx, k.Name(), err)
	final := errors.As(err, new(*Refusal)) // a request was told, or would be
	if k.Change(ctx, r.Current.ID, func(r *Rotation) {
		if r.Failure = f; final {
			r.RequestedAt = time.Time{}
		}
	}) != nil {
		return now.Add(firstRetry)
	}
	return retry
}
