package backend

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/time/rate"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Bounds of the rotations of one mount. RAM allows 20 writes and 100 reads a
// second to an account, which has other users too.
const (
	rotationWrites  = 10 // calls that change RAM, a second
	rotationReads   = 40 // calls that do not, a second
	rotationWorkers = 8

	// Vault ticks every minute; a round begins nothing after roundTime.
	roundTime = 50 * time.Second
	turnTime  = 45 * time.Second // of one key in a round

	firstPause, longestPause = 5 * time.Second, time.Minute // when throttled
	firstRetry, longestRetry = time.Minute, time.Hour       // after a failure of one key
)

// rotations is the queue of what is to be rotated, and who works on it. Times
// and steps are in storage; this is their image on the active node, made anew
// by every process.
type rotations struct {
	life   context.Context // ends with the mount
	end    context.CancelFunc
	rounds sync.WaitGroup
	writes *rate.Limiter
	reads  *rate.Limiter

	mu       sync.Mutex
	inRound  bool
	ended    bool
	loaded   bool                     // the next two hold all static roles
	due      map[string]time.Time     // by name; zero: nothing is
	users    map[string]string        // RAM user in lower case to name of its role
	busy     map[string]chan struct{} // keys that are being worked on; closed when that is over
	pause    time.Duration            // the last one
	pausedTo time.Time
}

func newRotations() *rotations {
	life, end := context.WithCancel(context.Background())
	return &rotations{
		life: life, end: end,
		writes: rate.NewLimiter(rotationWrites, 1), reads: rate.NewLimiter(rotationReads, 1),
		due: map[string]time.Time{}, users: map[string]string{}, busy: map[string]chan struct{}{},
	}
}

// stop ends the round that is under way and waits for it.
func (r *rotations) stop() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.end()
	r.rounds.Wait()
}

// take waits until nobody works on the key.
func (r *rotations) take(ctx context.Context, name string) (release func(), err error) {
	for {
		r.mu.Lock()
		taken := r.busy[name]
		if taken == nil {
			defer r.mu.Unlock()
			return r.hold(name), nil
		}
		r.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, refuse("a rotation of %s is under way: try again in a minute", name)
		}
	}
}

// tryTake returns nil where somebody works on the key.
func (r *rotations) tryTake(name string) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[name] != nil {
		return nil
	}
	return r.hold(name)
}

func (r *rotations) hold(name string) (release func()) {
	done := make(chan struct{})
	r.busy[name] = done
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, name)
		close(done)
	}
}

// schedule says when a static role is due.
func (r *rotations) schedule(name string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.due[name]; known {
		r.due[name] = at
	}
}

// claim makes the role the one of the RAM user. It returns the role that has the user already.
func (r *rotations) claim(user, name string) (other string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user = strings.ToLower(user)
	if other = r.users[user]; other != "" {
		return other
	}
	r.users[user], r.due[name] = name, time.Time{}
	return ""
}

func (r *rotations) forget(user, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.due, name)
	if user = strings.ToLower(user); r.users[user] == name {
		delete(r.users, user)
	}
}

// reload makes the next round read the static roles anew.
func (r *rotations) reload() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = false
}

// ready returns the static roles that are due, and when the next one will be,
// zero for never.
func (r *rotations) ready(now time.Time) (names []string, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, at := range r.due {
		switch {
		case at.IsZero():
		case !now.Before(at):
			names = append(names, name)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return names, next
}

// throttled makes everybody pause, longer each time.
func (r *rotations) throttled() (until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.pausedTo) {
		return r.pausedTo // told by another worker of the same round
	}
	r.pause = min(max(2*r.pause, firstPause), longestPause)
	r.pausedTo = now.Add(r.pause)
	return r.pausedTo
}

func (r *rotations) answeredWell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pause = 0
}

func (r *rotations) pausedUntil() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pausedTo
}

// initialize is called when the mount starts on a node, after a failover too:
// what was under way goes on at once.
func (b *backend) initialize(_ context.Context, req *logical.InitializationRequest) error {
	b.startRound(req.Storage)
	return nil
}

// periodic is called every minute. The work is done beside it, because Vault
// cannot be sealed while the call lasts.
func (b *backend) periodic(_ context.Context, req *logical.Request) error {
	b.startRound(req.Storage)
	return nil
}

func (b *backend) startRound(s logical.Storage) {
	r := b.rotations
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inRound || r.ended || !b.WriteSafeReplicationState() {
		return
	}
	r.inRound = true
	r.rounds.Go(func() {
		defer func() {
			r.mu.Lock()
			r.inRound = false
			r.mu.Unlock()
		}()
		b.round(r.life, s)
	})
}

// round works on what is due, and on what becomes due meanwhile, and begins
// nothing after roundTime. The keys that are not reached are still due then.
func (b *backend) round(ctx context.Context, s logical.Storage) {
	if !b.WriteSafeReplicationState() {
		return
	}
	end := time.Now().Add(roundTime)
	if err := b.loadStaticRoles(ctx, s); err != nil {
		if ctx.Err() == nil {
			b.Logger().Warn("reading the static roles failed; their rotation waits", "error", err)
		}
		return
	}
	config := time.Now() // the config is looked at first
	for ctx.Err() == nil && time.Now().Before(end) {
		now := time.Now()
		if until := b.rotations.pausedUntil(); now.Before(until) {
			if until.After(end) || ram.Pause(ctx, until.Sub(now)) != nil {
				return
			}
			continue
		}
		if !config.IsZero() && !now.Before(config) {
			config = b.turn(ctx, rootKey{b, s}, configKey)
		}
		names, next := b.rotations.ready(now)
		if len(names) > 0 {
			b.work(ctx, s, names, end)
			continue
		}
		if !config.IsZero() && (next.IsZero() || config.Before(next)) {
			next = config
		}
		if next.IsZero() || !next.Before(end) || ram.Pause(ctx, max(time.Until(next), time.Millisecond)) != nil {
			return
		}
	}
}

// work takes a turn on each of the static roles, a few at a time.
func (b *backend) work(ctx context.Context, s logical.Storage, names []string, end time.Time) {
	queue := make(chan string)
	var workers sync.WaitGroup
	for range min(rotationWorkers, len(names)) {
		workers.Go(func() {
			for name := range queue {
				k := staticKey{b, s, name}
				b.rotations.schedule(name, b.turn(ctx, k, staticRolePrefix+name))
			}
		})
	}
	for _, name := range names {
		now := time.Now()
		if ctx.Err() != nil || now.After(end) || now.Before(b.rotations.pausedUntil()) {
			break
		}
		queue <- name
	}
	close(queue)
	workers.Wait()
}

// turn takes one key as far as it gets, and returns when its next turn is.
func (b *backend) turn(ctx context.Context, k rotatedKey, name string) time.Time {
	release := b.rotations.tryTake(name)
	if release == nil {
		return time.Now().Add(firstPause) // a request works on it
	}
	defer release()
	limited, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	next, switched, err := advance(limited, k, demand{})
	if root, ok := k.(rootKey); ok && err == nil {
		var again time.Time
		if again, err = root.undoSuperseded(limited); next.IsZero() || !again.IsZero() && again.Before(next) {
			next = again
		}
	}
	if switched {
		b.rotations.answeredWell()
		b.announce(ctx, name, "rotate", nil)
	}
	switch {
	case err == nil:
		return next
	case ctx.Err() != nil || errors.Is(err, errKeyGone):
		return time.Now().Add(time.Second)
	case throttled(err):
		return b.rotations.throttled()
	}
	return b.failed(ctx, k, name, err)
}

func throttled(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && refused.Throttled()
}

// failed stores why, and returns when to try again.
func (b *backend) failed(ctx context.Context, k rotatedKey, name string, err error) time.Time {
	now := time.Now().UTC()
	retry := now.Add(firstRetry)
	s, loadErr := k.load(ctx)
	if loadErr != nil || s == nil {
		b.Logger().Warn("rotation failed and will be repeated", "key", name, "error", err)
		return retry
	}
	f := failure{Reason: rotationFailure(err), At: now, Attempts: 1}
	if s.Failure != nil {
		f.Attempts = s.Failure.Attempts + 1
	}
	f.RetryAt = now.Add(min(firstRetry<<min(f.Attempts-1, 10), longestRetry))
	b.Logger().Warn("rotation failed and will be repeated", "key", name, "attempts", f.Attempts, "next", f.RetryAt, "error", err)
	b.announce(ctx, name, "rotate-fail", err)
	var refused *refusal
	final := errors.As(err, &refused) // a request was told, or would be
	if k.change(ctx, s.current.ID, func(s *keyState) {
		if s.Failure = &f; final {
			s.RequestedAt = time.Time{}
		}
	}) != nil {
		return retry
	}
	return f.RetryAt
}

// rotateNow rotates on request: it waits for the new key to work, up to a limit,
// beyond which the next rounds go on. It returns whether the key was switched.
func (b *backend) rotateNow(ctx context.Context, k rotatedKey, name string, want demand) (switched bool, err error) {
	// What was begun is brought to a point where it is stored, whether or not
	// the client still waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotateTimeout)
	defer cancel()
	release, err := b.rotations.take(ctx, name)
	if err != nil {
		return false, err
	}
	defer release()
	for {
		next, switched, err := advance(ctx, k, want)
		switch {
		case switched:
			b.announce(ctx, name, "rotate", nil)
			return true, err
		case err != nil:
			return false, err
		case next.IsZero():
			return false, nil
		}
		deadline, _ := ctx.Deadline()
		if next.After(deadline.Add(-turnReserve)) {
			return false, nil
		}
		if err := ram.Pause(ctx, time.Until(next)); err != nil {
			return false, nil
		}
	}
}

const (
	rotateTimeout = 30 * time.Second
	turnReserve   = 5 * time.Second // for one more look at the new key
)
