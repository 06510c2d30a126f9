package backend

import (
	"context"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// maxShared bounds the sessions that are kept for reuse; beyond it each reader
// gets one of its own.
const maxShared = 4_000

// sessions keeps sessions for reuse_ttl, in memory. The zero value is empty.
type sessions struct {
	mu     sync.Mutex
	shared map[sessionRequest]*sharedSession
	closed bool
}

// sharedSession is a session that is kept, or on its way.
type sharedSession struct {
	readers int  // that wait; sessions.mu guards it
	kept    bool // for later readers, until close
	cancel  context.CancelFunc
	arrived chan struct{} // closed once the rest is set

	creds     alicreds.Credentials
	shortened bool
	err       error
	obtained  time.Time
}

// serves tells whether the session may go to one more reader: while it is on its
// way, within reuse_ttl, and while the better part of its life is left.
func (s *sharedSession) serves(reuse time.Duration, clock func() time.Time) bool {
	select {
	case <-s.arrived:
	default:
		return true
	}
	now := clock() // after the session has arrived, or that could lie ahead
	life := s.creds.Expiration.Sub(s.obtained)
	return s.err == nil && !now.Before(s.obtained) && now.Before(s.obtained.Add(min(reuse, life/2)))
}

// get returns the session that was obtained for the same request, or obtains
// one, once for all who ask at the same time. What is obtained outlives the
// reader that asked first, and readers altogether until close.
func (s *sessions) get(ctx context.Context, ask sessionRequest, reuse time.Duration,
	obtain func(context.Context) (alicreds.Credentials, bool, error),
) (alicreds.Credentials, bool, error) {
	s.mu.Lock()
	shared := s.shared[ask]
	if shared == nil || !shared.serves(reuse, wallClock) {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
		shared = &sharedSession{arrived: make(chan struct{}), cancel: cancel}
		s.keep(ask, shared, reuse)
		go func() {
			defer close(shared.arrived)
			defer cancel()
			shared.creds, shared.shortened, shared.err = obtain(limited)
			shared.obtained = wallClock()
		}()
	}
	shared.readers++
	s.mu.Unlock()
	defer s.leave(shared)
	select {
	case <-shared.arrived:
		return shared.creds, shared.shortened, shared.err
	case <-ctx.Done():
		return alicreds.Credentials{}, false, ctx.Err()
	}
}

// keep keeps the session where there is room, which those that serve nobody any
// longer make.
func (s *sessions) keep(ask sessionRequest, shared *sharedSession, reuse time.Duration) {
	if len(s.shared) >= maxShared {
		for key, old := range s.shared {
			if !old.serves(reuse, wallClock) {
				delete(s.shared, key)
			}
		}
	}
	if s.shared == nil {
		s.shared = map[sessionRequest]*sharedSession{}
	}
	if len(s.shared) < maxShared && !s.closed {
		s.shared[ask], shared.kept = shared, true
	}
}

// leave ends what nobody waits for any longer, unless it is kept.
func (s *sessions) leave(shared *sharedSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared.readers--
	if shared.readers == 0 && !shared.kept {
		shared.cancel()
	}
}

// close ends what is on its way to nobody. It keeps nothing for later readers.
func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, shared := range s.shared {
		shared.kept = false
		if shared.readers == 0 {
			shared.cancel()
		}
	}
	s.shared = nil
}

// wallClock is the time without the reading of the monotonic clock, by which Go
// would compare it, and which stands still while a machine is suspended.
func wallClock() time.Time { return time.Now().Round(0) }
