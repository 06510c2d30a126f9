package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Vault offers unfinished issues every minute, one after the other and always in the
// same order, and gives all of them 90 seconds (DefaultMaxRequestDuration in its
// rollback manager). An account that does not answer would take these from the others.
const (
	firstStall   = vaultTick // doubles up to longestStall
	longestStall = time.Hour
	shortestTry  = 10 * time.Second // after a pause
	stallShare   = 30               // the try after a long pause takes at most that part of it, so that many accounts may stall at once
	slowFailure  = time.Second      // what fails faster is in nobody's way
)

// stalls are the accounts, by the role that is assumed, in which rollbacks wait because
// one of them had no answer in time. The zero value is empty.
type stalls struct {
	mu sync.Mutex
	of map[accountRole]stall
}

type stall struct {
	err   error
	pause time.Duration
	until time.Time // then one rollback is tried, and the others wait for how that ends
}

// attempt rolls back, unless the account stalls. next is when that is of use again after
// an error.
func (s *stalls) attempt(ctx context.Context, as accountRole, rollBack func(context.Context) error) (next time.Time, err error) {
	s.mu.Lock()
	last := s.of[as]
	s.mu.Unlock()
	begun := time.Now()
	if wait := last.until.Sub(begun); wait > 0 {
		return last.until, fmt.Errorf("%s did not answer in time, and is asked again in %s: %w", as.place(), wholeSeconds(wait), last.err)
	}
	try := ctx
	if last.pause > 0 {
		var cancel context.CancelFunc
		try, cancel = context.WithTimeout(ctx, max(shortestTry, last.pause/stallShare))
		defer cancel()
	}
	err = rollBack(try)
	now := time.Now()
	switch {
	case err != nil && ctx.Err() != nil: // the time that Vault gives was over, which says nothing of the account
		return now.Add(vaultTick), err
	case !unanswered(err) || now.Sub(begun) < slowFailure:
		s.end(as)
		return now.Add(vaultTick), err
	}
	pause := min(max(firstStall, 2*last.pause), longestStall)
	s.begin(as, stall{err, pause, now.Add(pause)})
	return now.Add(pause), err
}

func (s *stalls) begin(as accountRole, next stall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[accountRole]stall{}
	}
	for other, old := range s.of {
		if time.Since(old.until) > longestStall {
			delete(s.of, other) // nothing of it is offered any longer
		}
	}
	if _, known := s.of[as]; known || len(s.of) < maxAccounts {
		s.of[as] = next
	}
}

func (s *stalls) end(as accountRole) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, as)
}

// unanswered tells whether err comes of no answer, throttling or an outage: another
// call is likely to wait in vain as well.
func unanswered(err error) bool {
	refused, ok := errors.AsType[*openapi.Error](err)
	return ok && refused.Temporary() || errors.As(err, new(*openapi.NetworkError)) || errors.Is(err, context.DeadlineExceeded)
}
