package alicreds

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A goroutine may be held up between its look at the cache and what it does
// about that. These tests are such a goroutine: they do late what Retrieve
// does at once.

// counted returns credentials of an hour after a second.
func counted() (*Cache, *atomic.Int64) {
	var calls atomic.Int64
	return NewCache(ProviderFunc(func(context.Context) (Credentials, error) {
		calls.Add(1)
		time.Sleep(time.Second)
		return Credentials{AccessKeyID: "i", AccessKeySecret: "s", Expiration: time.Now().Add(time.Hour)}, nil
	}), CacheOptions{}), &calls
}

// Whoever saw nothing valid, and comes when there is, asks for nothing.
func TestCacheLateJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, calls := counted()
		defer cache.Close()
		if _, err := cache.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		flight, valid := cache.join(t.Context())
		synctest.Wait()
		if flight != nil || valid == nil || calls.Load() != 1 {
			t.Errorf("it waits (%t) although there are credentials (%t), after %d calls", flight != nil, valid != nil, calls.Load())
		}
	})
}

// Whoever saw stale credentials, and comes when others wait for new ones or
// have them, begins no second renewal.
func TestCacheLateRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, calls := counted()
		defer cache.Close()
		if _, err := cache.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen, when := cache.current.Load(), time.Now().Add(50*time.Minute)
		time.Sleep(2 * time.Hour)
		go cache.Retrieve(t.Context()) // they have expired, so this waits
		synctest.Wait()
		cache.renew(t.Context(), seen, when)
		synctest.Wait()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls while one is under way, want 2", n)
		}
		time.Sleep(time.Minute)
		seen.next.Store(0)
		cache.renew(t.Context(), seen, when)
		synctest.Wait()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls after one has succeeded, want 2", n)
		}
	})
}
