package alicreds_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Fifty workers that go on asking for a role that may not be assumed do not make a
// process call STS without a pause. What mends it counts within half a minute.
func TestCacheRemembersRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim, err := alisim.Start(alisim.Options{NoListen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		if err := sim.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}); err != nil {
			t.Fatal(err)
		}
		api, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: sim.Transport()}})
		if err != nil {
			t.Fatal(err)
		}
		key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
		if err != nil {
			t.Fatal(err)
		}
		role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{RoleARN: alisim.DefaultRoleARN, STSOptions: alicreds.STSOptions{Client: api}})
		if err != nil {
			t.Fatal(err)
		}
		cache := alicreds.NewCache(role, alicreds.CacheOptions{})
		defer cache.Close()
		var workers sync.WaitGroup
		end := time.Now().Add(2 * time.Minute)
		for range 50 {
			workers.Go(func() {
				for time.Now().Before(end) {
					_, err := cache.Retrieve(t.Context())
					var refused *openapi.Error
					if !errors.As(err, &refused) || refused.Code != "NoPermission" {
						t.Errorf("a worker gets %v", err)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		workers.Wait()
		if n := len(sim.Journal()); n < 6 || n > 14 {
			t.Errorf("%d calls in 2 min, want one after 1 s, 2 s, 4 s ... 30 s", n)
		}
		sim.ClearFaults()
		mended := time.Now()
		for {
			if _, err := cache.Retrieve(t.Context()); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(mended); took > 31*time.Second {
			t.Errorf("the failure hid what mended it for %s", took)
		}
	})
}

// What may pass by itself, or costs nothing to look at, is asked for each time.
func TestCacheRemembersNothingElse(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"no answer":  &openapi.NetworkError{Action: "AssumeRole", Host: "sts", Err: errors.New("timed out")},
		"throttled":  &openapi.Error{Code: "Throttling.User", Status: 400},
		"outage":     &openapi.Error{Status: 503},
		"not set up": fmt.Errorf("%w: %w", alicreds.ErrUnavailable, &openapi.Error{Status: 404}),
		"a file":     errors.New("no such profile"),
	} {
		asked := 0
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			asked++
			return alicreds.Credentials{}, failure
		}), alicreds.CacheOptions{})
		for range 3 {
			if _, err := cache.Retrieve(t.Context()); !errors.Is(err, failure) {
				t.Errorf("%s: %v", name, err)
			}
		}
		cache.Close()
		if asked != 3 {
			t.Errorf("%s: asked %d times, want 3", name, asked)
		}
	}
}

// keptFile is a provider whose keys come from a file that has versions.
type keptFile struct {
	version string
	asked   int
	result  func(version string) (alicreds.Credentials, error)
}

func (f *keptFile) Version(context.Context) string { return f.version }

func (f *keptFile) Retrieve(context.Context) (alicreds.Credentials, error) {
	f.asked++
	return f.result(f.version)
}

var refusal = &openapi.Error{Code: "NoPermission", Status: 403}

// Whoever mends the file that led to a refusal does not wait for its memory to end; a
// file that stays as it is costs no calls.
func TestCacheForgetsRefusalsOfAChangedFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &keptFile{version: "1", result: func(version string) (alicreds.Credentials, error) {
			if version != "mended" {
				return alicreds.Credentials{}, refusal
			}
			return alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s"}, nil
		}}
		cache := alicreds.NewCache(source, alicreds.CacheOptions{})
		defer cache.Close()
		for range 3000 { // 5 min: the pauses are 15 s and more
			_, _ = cache.Retrieve(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		if source.asked > 30 {
			t.Errorf("asked %d times for a file that stays", source.asked)
		}
		for _, tc := range []struct {
			version string
			works   bool
		}{{"2", false}, {"mended", true}} {
			before := source.asked
			source.version = tc.version
			time.Sleep(1100 * time.Millisecond)
			if _, err := cache.Retrieve(t.Context()); (err == nil) != tc.works || source.asked != before+1 {
				t.Errorf("a second after the change to %q: asked %d times, %v", tc.version, source.asked-before, err)
			}
		}
	})
}

// A refusal from before Invalidate says nothing about what comes after it: the first
// who needs new credentials asks for them.
func TestCacheForgetsRefusalsWithInvalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused, asked := false, 0
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			asked++
			if refused {
				return alicreds.Credentials{}, refusal
			}
			return alicreds.Credentials{AccessKeyID: fmt.Sprint(asked), AccessKeySecret: "s", Expiration: time.Now().Add(time.Hour)}, nil
		}), alicreds.CacheOptions{})
		defer cache.Close()
		first := get(t, cache)
		refused = true
		for range 50 { // into the last minutes, in which renewals fail in the background
			time.Sleep(time.Minute)
			get(t, cache)
			synctest.Wait()
		}
		time.Sleep(31 * time.Second)
		get(t, cache)
		synctest.Wait() // refused a moment ago
		refused = false
		cache.Invalidate(first)
		if c, err := cache.Retrieve(t.Context()); err != nil || c.AccessKeyID == first.AccessKeyID {
			t.Errorf("after Invalidate: %s, %v", c, err)
		}
	})
}

// New credentials that are refused as well are not asked for without a pause by
// whoever invalidates again and again.
func TestCacheInvalidateDoesNotEndThePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		cache := alicreds.NewCache(alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			if asked++; asked > 1 {
				return alicreds.Credentials{}, refusal
			}
			return alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", Expiration: time.Now().Add(time.Hour)}, nil
		}), alicreds.CacheOptions{})
		defer cache.Close()
		first := get(t, cache)
		for range 1200 {
			cache.Invalidate(first)
			_, _ = cache.Retrieve(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		if asked > 15 {
			t.Errorf("asked %d times in 2 min", asked)
		}
	})
}
