package backend

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Vault tries a revocation six times over about ten minutes, and then once a day.
// What the index says is over is removed here as well, every minute, until it is
// gone: a removal can be made any number of times.
const (
	endedGrace    = 5 * time.Minute // after the end of a lease, for Vault's own revocation
	endedPerRound = 20
	endedRetry    = 5 * time.Minute // after a failure

	// What is of another account than the mount's is tried for so long: nobody may
	// ever point the mount at that account again.
	otherAccountFor = 7 * 24 * time.Hour
)

// endings says when the leases of the index end. It is an image of it, read once
// in the life of a process, in the background. It runs one round at a time.
type endings struct {
	life   context.Context // ends with the mount
	end    context.CancelFunc
	rounds sync.WaitGroup

	mu      sync.Mutex
	inRound bool
	loaded  bool
	of      map[string]time.Time // by name of the user or role
}

func newEndings() *endings {
	life, end := context.WithCancel(context.Background())
	return &endings{life: life, end: end, of: map[string]time.Time{}}
}

// note says that the lease of that name ends then.
func (e *endings) note(name string, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of[name] = at
}

func (e *endings) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.of, name)
}

// over returns some of those that have ended, after the grace.
func (e *endings) over(now time.Time) (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, at := range e.of {
		if len(names) < endedPerRound && now.Sub(at) > endedGrace {
			names = append(names, name)
		}
	}
	return names
}

// begin begins a round beside the caller, unless one is under way.
func (e *endings) begin(round func(context.Context)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inRound || e.life.Err() != nil {
		return
	}
	e.inRound = true
	e.rounds.Go(func() {
		defer func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.inRound = false
		}()
		round(e.life)
	})
}

// stop ends the round that is under way, waits for it, and lets no other begin.
func (e *endings) stop() {
	e.mu.Lock()
	e.end()
	e.mu.Unlock()
	e.rounds.Wait()
}

// load reads the index. What was noted meanwhile is newer.
func (e *endings) load(ctx context.Context, s logical.Storage) error {
	e.mu.Lock()
	loaded := e.loaded
	e.mu.Unlock()
	if loaded {
		return nil
	}
	names, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return err
	}
	found := map[string]time.Time{}
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		if err != nil {
			return err
		}
		if entry != nil {
			found[name] = entry.end()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, at := range found {
		if _, known := e.of[name]; !known {
			e.of[name] = at
		}
	}
	e.loaded = true
	return nil
}

// removeEnded removes what leases stood for that are over, and still there.
func (b *backend) removeEnded(ctx context.Context, s logical.Storage) {
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	if err := b.endings.load(ctx, s); err != nil {
		if ctx.Err() == nil {
			b.failures.failed(failedExpiry, "", err, time.Now().Add(vaultTick))
		}
		return
	}
	b.failures.succeeded(failedExpiry, "")
	var w ram.Wave
	for _, name := range b.endings.over(time.Now()) {
		w.Add(func() error {
			err := b.removeEndedOne(ctx, s, name)
			switch {
			case err == nil:
				b.failures.succeeded(failedExpiry, name)
			case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
				next := time.Now().Add(endedRetry)
				b.endings.note(name, next.Add(-endedGrace))
				b.failures.failed(failedExpiry, name, err, next)
			}
			return nil
		})
	}
	_ = w.Run() // each failure is told
}

// removeEndedOne removes one of them. Storage is the truth: the lease may have been
// renewed or revoked.
func (b *backend) removeEndedOne(ctx context.Context, s logical.Storage, name string) error {
	entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
	switch {
	case err != nil:
		return err
	case entry == nil:
		b.endings.forget(name)
		return nil
	case time.Since(entry.end()) <= endedGrace:
		b.endings.note(name, entry.end())
		return nil
	}
	c, err := b.cloud(ctx, s)
	if err != nil {
		return err
	}
	if c == nil {
		return errors.New(b.notConfigured())
	}
	err = b.remove(ctx, s, c, entry.issued)
	if elsewhere, ok := errors.AsType[*ram.OtherAccount](err); ok && time.Since(entry.end()) > otherAccountFor {
		if err := b.forget(ctx, s, entry.issued); err != nil {
			return err
		}
		b.Logger().Error("giving up what a lease stood for that is over: look in that account whether it is still there", "name", name, "account", entry.AccountID, "error", elsewhere)
		return nil
	}
	if err != nil {
		return err
	}
	b.Logger().Info("a lease was over and not revoked: what it stood for is removed", "name", name, "ended", entry.end())
	return nil
}
