package openapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// quota is a service that grants so many calls in each second, after a delay.
type quota struct {
	perSecond int
	took      time.Duration

	mu      sync.Mutex
	second  int64
	granted int

	calls, inFlight, most atomic.Int64
}

func (q *quota) RoundTrip(*http.Request) (*http.Response, error) {
	q.calls.Add(1)
	if n := q.inFlight.Add(1); n > q.most.Load() {
		q.most.Store(n)
	}
	defer q.inFlight.Add(-1)
	time.Sleep(q.took) // of the bubble's clock
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now().Unix(); now != q.second {
		q.second, q.granted = now, 0
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(good))}
	if q.granted++; q.granted > q.perSecond {
		answer.StatusCode = http.StatusBadRequest
		answer.Body = io.NopCloser(strings.NewReader(coded("Throttling.User")))
	}
	return answer, nil
}

// A burst far beyond the rate is served to the last call, at nearly that rate,
// and hardly any call is refused on the way.
func TestBurstQueues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const calls, perSecond = 2000, 100
		service := &quota{perSecond: perSecond, took: 20 * time.Millisecond}
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: service}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if err := client.Do(ctx, call("sts.aliyuncs.com"), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > calls/perSecond*1300*time.Millisecond {
			t.Errorf("%d calls at %d per second took %v", calls, perSecond, took)
		}
		if n := service.calls.Load(); n > calls*12/10 {
			t.Errorf("%d calls were sent %d times", calls, n)
		}
		if n := service.most.Load(); n > 64 {
			t.Errorf("%d calls were in flight", n)
		}
	})
}

// A call whose turn would come after its deadline is refused at once, with the
// refusal of the service.
func TestQueueRefusesWhatComesTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &quota{perSecond: 5}
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: service}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var all sync.WaitGroup
		var served, refused atomic.Int64
		var longest atomic.Int64
		for range 500 {
			all.Go(func() {
				began := time.Now()
				err := client.Do(ctx, call("sts.aliyuncs.com"), nil)
				var e *openapi.Error
				switch {
				case err == nil:
					served.Add(1)
				case errors.As(err, &e) && e.Throttled() && !openapi.Ambiguous(err):
					refused.Add(1)
				default:
					t.Error(err)
				}
				if took := int64(time.Since(began)); took > longest.Load() {
					longest.Store(took)
				}
			})
		}
		all.Wait()
		if served.Load() < 30 || served.Load()+refused.Load() != 500 {
			t.Errorf("%d served, %d refused", served.Load(), refused.Load())
		}
		if time.Duration(longest.Load()) > 10*time.Second {
			t.Errorf("a call took %v, beyond its deadline", time.Duration(longest.Load()))
		}
	})
}

// The refusal for which others queue says nothing about calls that were never
// sent, whatever else happened to the call that met it.
func TestQueueRefusalIsNotAmbiguous(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){
			"a": dropped, "b": status(429, ``),
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		r := call("a")
		r.Fallbacks, r.Repeatable = []string{"b"}, true
		soon, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		if err := client.Do(soon, r, nil); !openapi.Ambiguous(err) {
			t.Errorf("Do = %v, want doubt about the call that was dropped", err)
		}
		soon, cancel = context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		var refused *openapi.Error
		if err := client.Do(soon, r, nil); !errors.As(err, &refused) || !refused.Throttled() || openapi.Ambiguous(err) {
			t.Errorf("Do = %v, want the refusal for the rate and no doubt", err)
		}
	})
}

// Other actions do not wait, and a minute after the last refusal nothing does.
func TestQueueEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &quota{perSecond: 1}
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: service}})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Do(t.Context(), call("sts.aliyuncs.com"), nil); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := client.Do(soon, call("sts.aliyuncs.com"), nil); err == nil {
			t.Fatal("the second call of a second was granted")
		}
		service.perSecond = 1000
		other := call("sts.aliyuncs.com")
		other.Action = "GetUser"
		began := time.Now()
		if err := client.Do(t.Context(), other, nil); err != nil || time.Since(began) != 0 {
			t.Errorf("another action waited %v, %v", time.Since(began), err)
		}
		time.Sleep(2 * time.Minute)
		for range 2 { // the first of them ends it
			began = time.Now()
			for range 100 {
				if err := client.Do(t.Context(), call("sts.aliyuncs.com"), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("100 calls took %v", took)
		}
	})
}

// What is queued after a refusal goes at nine tenths of what was granted in a
// second, never more slowly than ten per second, and what came late may make up
// for a tenth of a second only.
func TestQueueRate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		granted  int // per second, for three seconds
		idle     time.Duration
		calls    int
		from, to time.Duration // when the last of the calls is sent
	}{
		// 9 calls at 45 per second after the first, of which up to 100 ms are made up for
		"fifty per second": {50, 0, 10, 90 * time.Millisecond, 210 * time.Millisecond},
		// 4 calls at 10 per second, and soon faster
		"none": {0, 0, 5, 200 * time.Millisecond, 410 * time.Millisecond},
		// 10 t + 5/2 t² calls in t seconds
		"many": {0, 0, 100, 4 * time.Second, 5 * time.Second},
		// 9 calls; of the 5 s that nobody used no more than 100 ms count
		"after a rest": {0, 5 * time.Second, 10, 550 * time.Millisecond, 910 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				answer := status(200, good)
				began := time.Now()
				var last atomic.Int64 // since began
				client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){"sts.aliyuncs.com": func(r *http.Request) (*http.Response, error) {
					last.Store(int64(time.Since(began)))
					return answer(r)
				}}}}})
				if err != nil {
					t.Fatal(err)
				}
				for range 3 * tc.granted {
					if err := client.Do(t.Context(), call("sts.aliyuncs.com"), nil); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second / time.Duration(tc.granted))
				}
				answer = status(429, ``)
				soon, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
				defer cancel()
				if err := client.Do(soon, call("sts.aliyuncs.com"), nil); err == nil {
					t.Fatal("not throttled")
				}
				answer = status(200, good)
				time.Sleep(100*time.Millisecond + tc.idle) // the pause after the refusal
				rested := time.Since(began)
				var all sync.WaitGroup
				for range tc.calls {
					all.Go(func() {
						if err := client.Do(t.Context(), call("sts.aliyuncs.com"), nil); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if took := time.Duration(last.Load()) - rested; took < tc.from || took > tc.to {
					t.Errorf("%d calls took %s, want %s to %s", tc.calls, took, tc.from, tc.to)
				}
			})
		})
	}
}
