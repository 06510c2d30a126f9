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
	of      map[string]ending // by name of the user or role
}

// ending is when one of them ends, and what it is.
type ending struct {
	at   time.Time
	kind ram.Kind
	role string // of the engine; "": not known

	failed bool // to be removed, at the last try
}

func (e indexEntry) ending() ending { return ending{at: e.end(), kind: e.entity().Kind, role: e.Role} }

func newEndings() *endings {
	life, end := context.WithCancel(context.Background())
	return &endings{life: life, end: end, of: map[string]ending{}}
}

// note says when the lease of an entry ends.
func (e *endings) note(entry indexEntry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of[entry.name()] = entry.ending()
}

// retry says when to look again at one that is over.
func (e *endings) retry(name string, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lease := e.of[name]
	lease.at, lease.failed = next.Add(-endedGrace), true
	e.of[name] = lease
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
	for name, lease := range e.of {
		if len(names) < endedPerRound && now.Sub(lease.at) > endedGrace {
			names = append(names, name)
		}
	}
	return names
}

// leasesOut counts the leases of RAM users and RAM roles.
type leasesOut struct {
	known   bool // the index has been read
	byType  map[string]int
	byRole  map[string]int // of the engine; "": not known
	overdue int            // that are over, and still there
}

func (e *endings) count(now time.Time) leasesOut {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := leasesOut{known: e.loaded, byType: map[string]int{typeRAMUser: 0, typeRAMRole: 0}, byRole: map[string]int{}}
	types := map[ram.Kind]string{ram.User: typeRAMUser, ram.Role: typeRAMRole}
	for _, lease := range e.of {
		out.byType[types[lease.kind]]++
		out.byRole[lease.role]++
		if lease.failed || now.Sub(lease.at) > endedGrace {
			out.overdue++
		}
	}
	return out
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
	found := map[string]ending{}
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		if err != nil {
			return err
		}
		if entry != nil {
			found[name] = entry.ending()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, lease := range found {
		if _, known := e.of[name]; !known {
			e.of[name] = lease
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
				b.endings.retry(name, next)
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
		b.endings.note(*entry)
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
