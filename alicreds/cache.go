package alicreds

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	// Credentials are renewed this long before they expire, or in the last
	// fifth of their life if that is shorter. Alibaba Cloud's own tools for
	// Python and Node.js use the same 15 minutes.
	earliestRefresh = 15 * time.Minute
	refreshShare    = 5

	// Credentials without an expiration may end all the same, and whoever
	// handed them out may have new ones. They are asked for again in the
	// background at this pace, and waited for when nobody has for longer.
	unexpiringRefresh = time.Minute
	unexpiringTrust   = 5 * time.Minute

	// The files that credentials came from are looked at this often. Old ones
	// are handed out for so long after a change that cannot be read: it may
	// be half written.
	versionPace  = time.Second
	changedTrust = 5 * time.Second

	// Credentials that are refused are dropped once in this time: new ones that
	// are refused too must not be asked for without end.
	refusalPace = 10 * time.Second

	firstBackOff   = time.Second
	longestBackOff = 30 * time.Second

	defaultRefreshTimeout = time.Minute
)

// CacheOptions of a Cache. The zero value is useful.
type CacheOptions struct {
	// RefreshTimeout bounds one call of the provider. Default 1 min.
	RefreshTimeout time.Duration

	// OnRefreshError is told about failures to renew credentials that are
	// still valid, which Retrieve does not return. It must not block.
	OnRefreshError func(error)
}

// Cache keeps what a provider obtained, and is a Provider itself. It is the
// only type of this package with state; share one between goroutines.
//
// Credentials are fresh, then stale, then expired. Fresh ones are returned
// without a lock or an allocation. Stale ones, in the last 15 minutes or the
// last fifth of their life, are returned too, while one renewal runs in the
// background; when it fails, the next begins after up to 30 s. Expired ones
// are never returned: every caller waits for the one renewal that is under
// way, and stops waiting when its own context ends. The renewal itself goes
// on then, for RefreshTimeout at most.
//
// Credentials without an expiration never expire here, and are renewed in
// the background every minute, or waited for when they were not renewed for
// five: what nobody knows the end of may be over.
//
// When there are none to return and a service has definitely refused new ones, it
// is not asked again for 1 s, then 2 s, and so on up to 30 s. Whoever asks
// meanwhile gets that failure at once, so what mends it counts up to 30 s later;
// a new Cache remembers nothing. Neither does one whose file has changed since, see
// Versioned, nor does a refusal outlive Invalidate. Other failures are not remembered.
//
// Where the provider is Versioned, Retrieve notices within a second that the
// file which the credentials came from has changed, and waits for the new ones.
// If these cannot be had it goes on with the old ones for 5 s, because the
// file may be half written, and then fails as the provider does.
type Cache struct {
	provider Provider
	options  CacheOptions

	current atomic.Pointer[entry]
	denied  atomic.Pointer[denial]

	mu        sync.Mutex
	flight    *flight
	refusedAt time.Time // when credentials were dropped
	closed    bool

	open    context.Context // ends with Close
	close   context.CancelFunc
	running sync.WaitGroup
}

// entry is what one renewal obtained. Its credentials never change, so that
// hits read them without a lock.
type entry struct {
	credentials Credentials
	refused     atomic.Bool // by a service
	staleAt     time.Time
	trustUntil  time.Time // then they are waited for although they do not expire; may be zero

	seen seen

	next     atomic.Int64 // Unix nanoseconds before which no renewal begins
	failures int          // of the renewals since; Cache.mu guards it
}

// seen is the version of a Versioned provider from before it was asked.
type seen struct {
	version   string
	nextLook  atomic.Int64 // Unix nanoseconds before which the version is not looked at
	changedAt atomic.Int64 // Unix nanoseconds when it was found to be another; 0: it is not
}

// denial is the last failure of the provider, where a service refused.
type denial struct {
	err   error
	until time.Time // the provider is not asked before, unless its version changes
	times int       // since the last success
	seen  seen
}

// flight is one call of the provider, for all who wait.
type flight struct {
	done        chan struct{}
	credentials Credentials // once done, unless err says why not
	err         error
}

// NewCache wraps a provider. Nothing is asked for before the first Retrieve.
func NewCache(p Provider, o CacheOptions) *Cache {
	if o.RefreshTimeout <= 0 {
		o.RefreshTimeout = defaultRefreshTimeout
	}
	c := &Cache{provider: p, options: o}
	c.open, c.close = context.WithCancel(context.Background())
	return c
}

// Format prints what a Cache is and nothing of what it holds.
func (c *Cache) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Cache")) }

// Retrieve returns valid credentials, from memory if it can. Its error is that of
// the provider. Those of the Cache itself are no [*Error]: ctx ended while it waited
// (context.DeadlineExceeded or context.Canceled), the Cache is closed, or what the
// provider returned is empty or has expired.
func (c *Cache) Retrieve(ctx context.Context) (Credentials, error) {
	now := time.Now()
	e := c.current.Load()
	if e != nil {
		c.look(ctx, &e.seen, now)
	}
	if e != nil && e.good(now) {
		if !now.Before(e.staleAt) {
			c.renew(ctx, e, now)
		}
		return e.credentials, nil
	}
	if d := c.denied.Load(); d != nil {
		c.look(ctx, &d.seen, now)
	}
	f, valid := c.join(ctx)
	if valid != nil {
		return valid.credentials, nil
	}
	select {
	case <-f.done:
		if f.err != nil && e != nil && e.trusted(time.Now()) {
			return e.credentials, nil
		}
		return f.credentials, f.err
	case <-ctx.Done():
		return Credentials{}, fmt.Errorf("waiting for credentials: %w", ctx.Err())
	}
}

// look notices that the provider has another version than before.
func (c *Cache) look(ctx context.Context, s *seen, now time.Time) {
	v, ok := c.provider.(Versioned)
	next := s.nextLook.Load()
	if !ok || now.UnixNano() < next || s.changedAt.Load() != 0 || !s.nextLook.CompareAndSwap(next, now.Add(versionPace).UnixNano()) {
		return
	}
	if v.Version(ctx) != s.version {
		s.changedAt.CompareAndSwap(0, now.UnixNano())
	}
}

// good tells whether the entry may be handed out without waiting.
func (e *entry) good(now time.Time) bool {
	blind := !e.trustUntil.IsZero() && !now.Before(e.trustUntil) && now.UnixNano() >= e.next.Load()
	return !e.credentials.Expired(now) && e.seen.changedAt.Load() == 0 && !e.refused.Load() && !blind
}

// trusted tells whether the entry may be handed out after a failure to renew it.
func (e *entry) trusted(now time.Time) bool {
	changed := e.seen.changedAt.Load()
	return !e.credentials.Expired(now) && !e.refused.Load() && (changed == 0 || now.Sub(time.Unix(0, changed)) < changedTrust)
}

// Invalidate drops credentials that a service refused although they have not
// expired: its role was made anew, or its key deleted. The next Retrieve waits for
// new ones, and is not answered with an earlier failure. Credentials other than the current ones are gone already. Those that
// come within 10 s of such a refusal stay, because the next would be refused as well.
func (c *Cache) Invalidate(refused Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.current.Load()
	now := time.Now()
	if e == nil || e.refused.Load() || e.credentials.Keys() != refused.Keys() || e.credentials.BearerToken != refused.BearerToken || now.Sub(c.refusedAt) < refusalPace {
		return
	}
	c.refusedAt = now
	e.refused.Store(true)
	c.denied.Store(nil)
}

// Close ends a renewal that is under way and waits for it. Afterwards
// Retrieve returns what is still valid and fails when nothing is.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.close()
	c.running.Wait()
}

// renew starts a renewal in the background unless there is one already, or
// the last one failed a moment ago.
func (c *Cache) renew(ctx context.Context, e *entry, now time.Time) {
	next := e.next.Load()
	if now.UnixNano() < next || !e.next.CompareAndSwap(next, math.MaxInt64) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight == nil && c.current.Load() == e {
		c.start(ctx)
	}
}

// join returns the renewal to wait for, or an entry that became good in the
// meantime.
func (c *Cache) join(ctx context.Context) (*flight, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight != nil {
		return c.flight, nil
	}
	if e := c.current.Load(); e != nil && e.good(time.Now()) {
		return nil, e
	}
	if d := c.denied.Load(); d != nil && time.Now().Before(d.until) && d.seen.changedAt.Load() == 0 && !c.closed {
		f := &flight{done: make(chan struct{}), err: fmt.Errorf("%w (remembered: asked again in %s)", d.err, time.Until(d.until).Round(time.Millisecond))}
		close(f.done)
		return f, nil
	}
	return c.start(ctx), nil
}

// isDenied tells whether a service has refused, and would again.
func isDenied(err error) bool {
	refused, ok := errors.AsType[*openapi.Error](err)
	return ok && !refused.Temporary() && !errors.Is(err, ErrUnavailable)
}

var errClosed = errors.New("the credentials cache is closed")

// start begins a renewal; c.mu is held. It takes the values of the caller's
// context but not its cancellation, because others wait for the renewal, too.
func (c *Cache) start(ctx context.Context) *flight {
	f := &flight{done: make(chan struct{})}
	if c.closed {
		c.land(f, Credentials{}, "", errClosed)
		return f
	}
	c.flight = f
	c.running.Go(func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.RefreshTimeout)
		defer cancel()
		defer context.AfterFunc(c.open, cancel)()
		version := c.version(limited)
		credentials, err := c.provider.Retrieve(limited)
		if version == "" { // a chain knows whom it asks only now
			version = c.version(limited)
		}
		if err == nil {
			err = checkUsable(credentials)
		}
		c.mu.Lock()
		hidden := c.land(f, credentials, version, err)
		c.mu.Unlock()
		if err != nil && hidden && c.options.OnRefreshError != nil {
			c.options.OnRefreshError(err)
		}
	})
	return f
}

// version is that of a Versioned provider.
func (c *Cache) version(ctx context.Context) string {
	if v, ok := c.provider.(Versioned); ok {
		return v.Version(ctx)
	}
	return ""
}

// land publishes the outcome; c.mu is held. hidden tells that Retrieve goes on
// to return valid credentials, so that nobody sees a failure.
func (c *Cache) land(f *flight, credentials Credentials, version string, err error) (hidden bool) {
	c.flight = nil
	defer close(f.done)
	if err == nil {
		e := newEntry(credentials)
		e.seen.version = version
		f.credentials = e.credentials
		c.current.Store(e)
		c.denied.Store(nil)
		return true
	}
	f.err = err
	if isDenied(err) {
		d := &denial{err: err, times: 1, seen: seen{version: version}}
		if before := c.denied.Load(); before != nil {
			d.times += before.times
		}
		d.until = time.Now().Add(backOff(d.times))
		c.denied.Store(d)
	}
	e := c.current.Load()
	if e == nil {
		return false
	}
	e.failures++
	e.next.Store(time.Now().Add(backOff(e.failures)).UnixNano())
	return e.trusted(time.Now())
}

func newEntry(c Credentials) *entry {
	now := time.Now().Round(0) // all is wall clock time, also across a suspended machine
	c.Expiration = c.Expiration.Round(0)
	if c.Expiration.IsZero() {
		return &entry{credentials: c, staleAt: now.Add(earlier(unexpiringRefresh)), trustUntil: now.Add(unexpiringTrust)}
	}
	window := max(0, min(earliestRefresh, c.Expiration.Sub(now)/refreshShare)) // they may have ended since they were looked at
	return &entry{credentials: c, staleAt: c.Expiration.Add(-earlier(window))}
}

// earlier takes up to a tenth off, so that many processes that began
// together do not renew together.
func earlier(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}

// backOff doubles from 1 s to 30 s; half of it is random.
func backOff(failures int) time.Duration {
	d := longestBackOff
	if failures < 6 {
		d = min(d, firstBackOff<<(failures-1))
	}
	return d/2 + rand.N(d/2+1)
}

// checkUsable refuses credentials that no request can be signed with.
func checkUsable(c Credentials) error {
	switch {
	case c.BearerToken == "" && (c.AccessKeyID == "" || c.AccessKeySecret == ""):
		return fmt.Errorf("the provider returned no credentials")
	case c.Expired(time.Now()):
		return fmt.Errorf("the provider returned credentials that expired at %s", c.Expiration.UTC().Format(time.RFC3339))
	}
	return nil
}
