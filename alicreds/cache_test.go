package alicreds_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// issuer hands out numbered credentials and counts.
type issuer struct {
	life  time.Duration // 0: without expiration
	takes time.Duration
	fail  atomic.Pointer[error]
	calls atomic.Int64
}

func (i *issuer) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	n := i.calls.Add(1)
	select {
	case <-time.After(i.takes):
	case <-ctx.Done():
		return alicreds.Credentials{}, ctx.Err()
	}
	if err := i.fail.Load(); err != nil {
		return alicreds.Credentials{}, *err
	}
	c := alicreds.Credentials{AccessKeyID: string(rune('A' + n - 1)), AccessKeySecret: "fake"}
	if i.life != 0 {
		c.Expiration = time.Now().Add(i.life)
	}
	return c, nil
}

func (i *issuer) breakWith(err error) { i.fail.Store(&err) }
func (i *issuer) mend()               { i.fail.Store(nil) }

func retrieve(t *testing.T, c alicreds.Provider) string {
	t.Helper()
	got, err := c.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Expired(time.Now()) {
		t.Fatalf("the cache returned expired credentials: %s", got)
	}
	synctest.Wait() // a renewal in the background ends before the next look
	return got.AccessKeyID
}

func TestCacheFreshStaleExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		for _, step := range []struct {
			at    time.Duration // since the start
			want  string
			calls int64
		}{
			{0, "A", 1},
			{48*time.Minute - time.Second, "A", 1},    // fresh
			{49*time.Minute + 13*time.Second, "A", 2}, // stale, at the latest: the old one, and a renewal behind
			{49*time.Minute + 14*time.Second, "B", 2}, // its result
			{4 * time.Hour, "C", 3},                   // expired: waits
		} {
			time.Sleep(time.Until(start.Add(step.at)))
			if got := retrieve(t, cache); got != step.want || source.calls.Load() != step.calls {
				t.Errorf("after %s: %s after %d calls, want %s after %d", step.at, got, source.calls.Load(), step.want, step.calls)
			}
		}
	})
}

// start is when every synctest bubble begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCacheShortLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: 10 * time.Minute}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		retrieve(t, cache)
		time.Sleep(8*time.Minute - time.Second)
		retrieve(t, cache)
		if n := source.calls.Load(); n != 1 {
			t.Errorf("%d calls before the last fifth, want 1", n)
		}
		time.Sleep(15 * time.Second)
		retrieve(t, cache)
		if n := source.calls.Load(); n != 2 {
			t.Errorf("%d calls within the last fifth, want 2", n)
		}
	})
}

func TestCacheWithoutExpiration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		if got := retrieve(t, cache); got != "A" {
			t.Errorf("got %s", got)
		}
		time.Sleep(50 * time.Second)
		if got := retrieve(t, cache); got != "A" || source.calls.Load() != 1 {
			t.Errorf("got %s after %d calls", got, source.calls.Load())
		}
		source.breakWith(errors.New("gone"))
		time.Sleep(240 * time.Hour)
		if got := retrieve(t, cache); got != "A" || source.calls.Load() != 2 {
			t.Errorf("got %s after %d calls: they never expire", got, source.calls.Load())
		}
		source.mend()
		time.Sleep(time.Minute)
		retrieve(t, cache)
		if got := retrieve(t, cache); got != "C" {
			t.Errorf("got %s, want the renewed", got)
		}
		time.Sleep(time.Hour)
		if got := retrieve(t, cache); got != "D" {
			t.Errorf("got %s: nobody has asked for an hour, so the old ones may be over", got)
		}
	})
}

// TestCacheBlindFailure: what nobody knows the end of is not lost for a failure,
// and a provider that fails is not asked at each call.
func TestCacheBlindFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{}
		var told int
		cache := alicreds.NewCache(source, alicreds.CacheOptions{OnRefreshError: func(error) { told++ }})
		retrieve(t, cache)
		source.breakWith(errors.New("gone"))
		time.Sleep(time.Hour)
		for range 600 {
			if got := retrieve(t, cache); got != "A" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := source.calls.Load(); n < 3 || n > 12 || told != int(n-1) {
			t.Errorf("%d calls in a minute, %d failures told", n, told)
		}
	})
}

func TestCacheOneFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour, takes: time.Second}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		for round := int64(1); round <= 3; round++ {
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					if _, err := cache.Retrieve(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if n := source.calls.Load(); n != round {
				t.Errorf("round %d: %d calls", round, n)
			}
			time.Sleep(2 * time.Hour)
		}
	})
}

func TestCacheStaleReadersDoNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour, takes: 20 * time.Second}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		if _, err := cache.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		before := time.Now()
		for range 100 {
			if got, err := cache.Retrieve(t.Context()); err != nil || got.AccessKeyID != "A" {
				t.Errorf("got %s, %v", got, err)
			}
		}
		synctest.Wait()
		if waited := time.Since(before); waited != 0 || source.calls.Load() != 2 {
			t.Errorf("waited %s, %d calls, want 2", waited, source.calls.Load())
		}
		cache.Close()
	})
}

// Whoever comes first may leave: the others get what it began.
func TestCacheFlightOutlivesItsFirstCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour, takes: 10 * time.Second}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := cache.Retrieve(first); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first caller got %v", err)
			}
			if waited := time.Since(start); waited != time.Second {
				t.Errorf("the first caller waited %s", waited)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if got, err := cache.Retrieve(t.Context()); err != nil || got.AccessKeyID != "A" {
				t.Errorf("the second caller got %s, %v", got, err)
			}
		})
		all.Wait()
		if n := source.calls.Load(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestCacheFlightIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := alicreds.NewCache(&issuer{takes: time.Hour}, alicreds.CacheOptions{RefreshTimeout: 7 * time.Second})
		if _, err := cache.Retrieve(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(start); waited != 7*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

type contextKey struct{}

func TestCacheFlightKeepsContextValues(t *testing.T) {
	t.Parallel()
	cache := alicreds.NewCache(alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
		return alicreds.Credentials{AccessKeyID: ctx.Value(contextKey{}).(string), AccessKeySecret: "fake"}, nil
	}), alicreds.CacheOptions{})
	got, err := cache.Retrieve(context.WithValue(t.Context(), contextKey{}, "carried"))
	if err != nil || got.AccessKeyID != "carried" {
		t.Errorf("got %q, %v", got.AccessKeyID, err)
	}
}

// An outage shorter than the remaining life is invisible, and is asked
// about at a bounded pace.
func TestCacheOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("outage")
		var told atomic.Int64
		source := &issuer{life: time.Hour}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{OnRefreshError: func(err error) {
			if !errors.Is(err, broken) {
				t.Errorf("told %v", err)
			}
			told.Add(1)
		}})
		retrieve(t, cache)
		source.breakWith(broken)
		time.Sleep(45 * time.Minute)
		asked := []time.Time{}
		for time.Since(start) < time.Hour-time.Second {
			before := source.calls.Load()
			if got := retrieve(t, cache); got != "A" {
				t.Fatalf("got %s", got)
			}
			if source.calls.Load() != before {
				asked = append(asked, time.Now())
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i := 1; i < len(asked); i++ {
			if pause := asked[i].Sub(asked[i-1]); pause < 500*time.Millisecond || pause > 31*time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		if n := len(asked); n < 22 || n > 60 || told.Load() != int64(n) {
			t.Errorf("%d renewals in the last 12 minutes, told of %d", n, told.Load())
		}
		time.Sleep(time.Second)
		if got, err := cache.Retrieve(t.Context()); !errors.Is(err, broken) || got.AccessKeyID != "" {
			t.Errorf("at the expiry: %s, %v", got, err)
		}
		source.mend()
		if got := retrieve(t, cache); got == "A" {
			t.Error("still the expired ones")
		}
	})
}

func TestCacheRefusesWhatIsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]alicreds.Credentials{
		"nothing":   {},
		"no secret": {AccessKeyID: "A"},
		"no id":     {AccessKeySecret: "fake"},
		"expired":   {AccessKeyID: "A", AccessKeySecret: "fake", Expiration: time.Unix(1, 0)},
	} {
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return c, nil }), alicreds.CacheOptions{})
		if got, err := cache.Retrieve(t.Context()); err == nil || got != (alicreds.Credentials{}) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

// Expired credentials from a renewal do not displace valid ones.
func TestCacheKeepsValidOverExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		life := time.Hour
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			defer func() { life = -time.Hour }()
			return alicreds.Credentials{AccessKeyID: "A", AccessKeySecret: "fake", Expiration: time.Now().Add(life)}, nil
		}), alicreds.CacheOptions{})
		retrieve(t, cache)
		time.Sleep(50 * time.Minute)
		for range 3 {
			if got := retrieve(t, cache); got != "A" {
				t.Errorf("got %s", got)
			}
		}
	})
}

// What a service refused is dropped, and only that; not the next within 10 s (F5.1).
func TestCacheInvalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := alicreds.NewCache(&issuer{life: time.Hour}, alicreds.CacheOptions{})
		cache.Invalidate(alicreds.Credentials{})
		retrieve(t, cache)
		for _, step := range []struct {
			after   time.Duration
			refused string // AccessKeyID
			want    string
		}{
			{0, "Z", "A"},
			{0, "", "A"},
			{0, "A", "B"},
			{time.Second, "A", "B"},
			{time.Second, "B", "B"},
			{8 * time.Second, "B", "C"},
			{50 * time.Minute, "C", "D"}, // stale
		} {
			time.Sleep(step.after)
			cache.Invalidate(alicreds.Credentials{AccessKeyID: step.refused, AccessKeySecret: "fake"})
			if got := retrieve(t, cache); got != step.want {
				t.Errorf("after %s was refused: %s, want %s", step.refused, got, step.want)
			}
		}
	})
}

func TestCacheClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour, takes: time.Minute / 2}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := cache.Retrieve(t.Context()); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		cache.Close()
		cache.Close()
		all.Wait()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("Close took %s", waited)
		}
		if _, err := cache.Retrieve(t.Context()); err == nil || source.calls.Load() != 1 {
			t.Errorf("a closed cache asks: %v, %d calls", err, source.calls.Load())
		}
	})
}

// Close returns when the provider has, although that does not heed its context.
func TestCacheCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			ended = true
			return alicreds.Credentials{}, ctx.Err()
		}), alicreds.CacheOptions{})
		go cache.Retrieve(t.Context())
		synctest.Wait()
		cache.Close()
		if waited := time.Since(start); !ended || waited != 3*time.Second {
			t.Errorf("Close returned after %s, the provider has ended: %t", waited, ended)
		}
	})
}

func TestCacheClosedServesWhatIsValid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: time.Hour}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		retrieve(t, cache)
		cache.Close()
		time.Sleep(50 * time.Minute)
		if got := retrieve(t, cache); got != "A" || source.calls.Load() != 1 {
			t.Errorf("got %s after %d calls", got, source.calls.Load())
		}
	})
}

// Processes that began together do not renew together, nor try again together
// after a failure.
func TestCacheRenewalsAreSpread(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		life  time.Duration
		fails bool
	}{
		"expiring":   {life: time.Hour},
		"unexpiring": {},
		"failed":     {life: time.Hour, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				at := map[time.Duration]bool{}
				for range 50 {
					source := &issuer{life: c.life}
					cache := alicreds.NewCache(source, alicreds.CacheOptions{})
					began, step, calls := time.Now(), time.Second, int64(1)
					retrieve(t, cache)
					if c.fails {
						source.breakWith(errors.New("outage"))
						time.Sleep(50 * time.Minute)
						retrieve(t, cache)
						began, step, calls = time.Now(), 10*time.Millisecond, 2
					} else {
						time.Sleep(max(50*time.Second, c.life*13/20))
						step = time.Second / 10
					}
					for source.calls.Load() == calls {
						time.Sleep(step)
						retrieve(t, cache)
					}
					at[time.Since(began)] = true
				}
				if len(at) < 10 {
					t.Errorf("50 renewals at %d different times", len(at))
				}
			})
		})
	}
}

// The monotonic clock stops while a machine is suspended, and the service's
// does not. An expiration is a time of day.
func TestCacheExpirationIsWallTime(t *testing.T) {
	t.Parallel()
	cache := alicreds.NewCache(&issuer{life: time.Hour}, alicreds.CacheOptions{})
	got, err := cache.Retrieve(t.Context())
	if err != nil || got.Expiration != got.Expiration.Round(0) {
		t.Errorf("%s has a reading of the monotonic clock (%v)", got.Expiration, err)
	}
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	cache := alicreds.NewCache(&issuer{life: time.Hour}, alicreds.CacheOptions{})
	ctx := t.Context()
	if _, err := cache.Retrieve(ctx); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := cache.Retrieve(ctx); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per hit", n)
	}
}

func TestCacheRace(t *testing.T) {
	t.Parallel()
	source := &issuer{life: 2 * time.Millisecond}
	cache := alicreds.NewCache(source, alicreds.CacheOptions{})
	defer cache.Close()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 300 {
				if _, err := cache.Retrieve(t.Context()); err != nil && !tooLate(err) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// What ends while it is being cached is an error or an entry that is over. The lives
// begin around what it takes to come back from the provider.
func TestCacheOfWhatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for life := range 5000 * time.Nanosecond {
		cache := alicreds.NewCache(&issuer{life: life}, alicreds.CacheOptions{})
		if _, err := cache.Retrieve(t.Context()); err != nil && !tooLate(err) {
			t.Error(err)
		}
		cache.Close()
	}
}

// tooLate tells whether the credentials had ended when they came.
func tooLate(err error) bool { return strings.Contains(err.Error(), "credentials that expired at") }

// Hits stop at the very expiry, also between renewals that fail.
func TestCacheHitsEndBeforeTheExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{life: 2 * time.Minute}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		retrieve(t, cache)
		source.breakWith(errors.New("outage"))
		for time.Since(start) < 2*time.Minute-time.Millisecond {
			if got := retrieve(t, cache); got != "A" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		if got, err := cache.Retrieve(t.Context()); err == nil {
			t.Errorf("at the expiry: %s", got)
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	cache := alicreds.NewCache(&issuer{life: time.Hour}, alicreds.CacheOptions{})
	ctx := b.Context()
	if _, err := cache.Retrieve(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := cache.Retrieve(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}
