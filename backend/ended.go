package backend

import (
	"context"
	"errors"
	"slices"
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
	endedPerRound = 20              // as one role
	endedInAll    = 100             // at a time
	endedRetry    = 5 * time.Minute // after a failure

	// longestEndedPause is the longest between two tries in an account in which the mount
	// cannot work. It doubles from endedRetry.
	longestEndedPause = time.Hour

	// What is of another account than the mount's, or of one that is closed to it, is
	// tried for so long: nobody may ever let the mount in again. Vault may have been down
	// all that time, so the refusals must last as well.
	otherAccountFor = 7 * 24 * time.Hour // after the end of the lease
	refusalsLast    = 24 * time.Hour     // in the life of this process
)

// endings says when the leases of the index end. It is an image of it, read once
// in the life of a process, in the background. Accounts are worked on beside each
// other, so that one that is down or slow holds up no other.
type endings struct {
	life   context.Context // ends with the mount
	end    context.CancelFunc
	rounds sync.WaitGroup

	mu      sync.Mutex
	inRound bool
	loaded  bool
	of      map[string]ending          // by name of the user or role
	working map[accountRole]int        // how many are being removed, by the role that is assumed for it
	pauses  map[accountRole]endedPause // of those that cannot be assumed
	refused map[place]time.Time        // since when the mount is not let in there
}

type endedPause struct {
	length time.Duration
	until  time.Time
}

// ending is when one of them ends, and what it is.
type ending struct {
	at   time.Time
	kind ram.Kind
	role string // of the engine; "": not known

	as accountRole // by which alone it can be removed

	failed bool // to be removed, at the last try
}

func (e indexEntry) ending() ending {
	return ending{at: e.end(), kind: e.entity().Kind, role: e.Role, as: e.accountRole}
}

func newEndings() *endings {
	life, end := context.WithCancel(context.Background())
	return &endings{life: life, end: end, of: map[string]ending{}, working: map[accountRole]int{}, pauses: map[accountRole]endedPause{}, refused: map[place]time.Time{}}
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
	if lease, known := e.of[name]; known { // else it was revoked meanwhile
		lease.at, lease.failed = next.Add(-endedGrace), true
		e.of[name] = lease
	}
}

func (e *endings) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.of, name)
}

// take takes some of those that have ended, after the grace, by role: none where
// some are being removed, and one where the role could not be assumed. Another role
// of the same account may be open.
func (e *endings) take(now time.Time) (names map[accountRole][]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := endedInAll
	for _, n := range e.working {
		left -= n
	}
	names = map[accountRole][]string{}
	for name, lease := range e.of {
		if now.Sub(lease.at) > endedGrace && e.working[lease.as] == 0 && !e.pauses[lease.as].until.After(now) {
			names[lease.as] = append(names[lease.as], name)
		}
	}
	share := endedPerRound
	if len(names) > 0 {
		share = max(min(share, left/len(names)), 1)
	}
	for as, all := range names {
		n := min(share, len(all), max(left, 0))
		if e.pauses[as].length > 0 {
			n = min(n, 1)
		}
		left -= n
		if names[as] = all[:n]; n == 0 {
			delete(names, as)
			continue
		}
		e.working[as] = n
	}
	return names
}

// leave ends the work as a role. closed tells that it could not be assumed.
func (e *endings) leave(as accountRole, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.working, as)
	if !closed {
		delete(e.pauses, as)
		return
	}
	length := min(max(2*e.pauses[as].length, endedRetry), longestEndedPause)
	e.pauses[as] = endedPause{length, time.Now().Add(length)}
}

// refusedFor is told whether the mount was let in there, and tells for how long it has not
// been, as far as this process has seen.
func (e *endings) refusedFor(in place, refused bool) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !refused {
		delete(e.refused, in)
		return 0
	}
	if _, known := e.refused[in]; !known {
		e.refused[in] = time.Now()
	}
	return time.Since(e.refused[in])
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

// removeEnded removes what leases stood for that are over, and still there, in all
// accounts at once.
func (b *backend) removeEnded(ctx context.Context, s logical.Storage) {
	if err := b.endings.load(ctx, s); err != nil {
		if ctx.Err() == nil {
			b.failures.failed(failedExpiry, "", err, time.Now().Add(vaultTick))
		}
		return
	}
	b.failures.succeeded(failedExpiry, "")
	for as, names := range b.endings.take(time.Now()) {
		b.endings.rounds.Go(func() { b.endings.leave(as, b.removeEndedAs(ctx, s, names)) })
	}
}

// removeEndedAs removes some of them as one role. closed tells that it cannot be assumed.
func (b *backend) removeEndedAs(ctx context.Context, s logical.Storage, names []string) (closed bool) {
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	failures := make([]error, len(names))
	var w ram.Wave
	for n, name := range names {
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
			failures[n] = err
			return nil
		})
	}
	_ = w.Run() // each failure is told
	return slices.ContainsFunc(failures, closedAccount)
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
	refused := errors.As(err, new(*ram.OtherAccount)) || closedAccount(err)
	refusedFor := b.endings.refusedFor(place{entry.AccountID, entry.accountRole}, refused)
	if refused && refusedFor >= refusalsLast && time.Since(entry.end()) > otherAccountFor {
		if err := b.forget(ctx, s, entry.issued); err != nil {
			return err
		}
		b.Logger().Error("giving up what a lease stood for that is over: look in that account whether it is still there", "name", name, "account", entry.AccountID, "error", oneLine(err))
		return nil
	}
	if err != nil {
		return err
	}
	b.Logger().Info("a lease was over and not revoked: what it stood for is removed", "name", name, "ended", entry.end())
	return nil
}
