package backend

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// maxShared bounds the sessions that are kept for reuse; beyond it each reader
// gets one of its own.
const maxShared = 10_000

// sessions keeps sessions for reuse_ttl, in memory. The zero value is empty.
type sessions struct {
	mu     sync.Mutex
	kept   map[[sha256.Size]byte]keptSession
	flight singleflight.Group
}

type keptSession struct {
	creds     alicreds.Credentials
	shortened bool
	obtained  time.Time
}

// serves tells whether the session may go to one more reader: within reuse_ttl,
// and while the better part of its life is left.
func (k keptSession) serves(reuse time.Duration, now time.Time) bool {
	life := k.creds.Expiration.Sub(k.obtained)
	return now.Before(k.obtained.Add(reuse)) && now.Before(k.obtained.Add(life/2))
}

// get returns the session kept under key, or obtains one, once for all who ask
// at the same time. What is obtained outlives the reader that asked first.
func (s *sessions) get(ctx context.Context, key [sha256.Size]byte, reuse time.Duration,
	obtain func(context.Context) (alicreds.Credentials, bool, error),
) (alicreds.Credentials, bool, error) {
	if kept, ok := s.find(key, reuse); ok {
		return kept.creds, kept.shortened, nil
	}
	result := s.flight.DoChan(string(key[:]), func() (any, error) {
		// The flight before this one may have landed since.
		if kept, ok := s.find(key, reuse); ok {
			return kept, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
		defer cancel()
		creds, shortened, err := obtain(ctx)
		if err != nil {
			return nil, err
		}
		kept := keptSession{creds: creds, shortened: shortened, obtained: time.Now()}
		s.keep(key, kept, reuse)
		return kept, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return alicreds.Credentials{}, false, r.Err
		}
		kept := r.Val.(keptSession)
		return kept.creds, kept.shortened, nil
	case <-ctx.Done():
		return alicreds.Credentials{}, false, ctx.Err()
	}
}

// find returns the session kept under key, if it serves one more reader.
func (s *sessions) find(key [sha256.Size]byte, reuse time.Duration) (keptSession, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, ok := s.kept[key]
	return kept, ok && kept.serves(reuse, time.Now())
}

func (s *sessions) keep(key [sha256.Size]byte, kept keptSession, reuse time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= maxShared {
		for k, old := range s.kept {
			if !old.serves(reuse, kept.obtained) {
				delete(s.kept, k)
			}
		}
	}
	if s.kept == nil {
		s.kept = map[[sha256.Size]byte]keptSession{}
	}
	if len(s.kept) < maxShared {
		s.kept[key] = kept
	}
}
