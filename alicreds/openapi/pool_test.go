package openapi_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// after answers when so much time has passed.
func after(wait time.Duration, answer func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(wait):
			return answer(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// Readers of a slow service, who ask again and again, hold up no other service, and
// no urgent call of their own. What is not urgent waits.
func TestSlowServiceHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		urgent  bool
		host    string
		version string
		within  time.Duration
		apart   bool
		waits   bool
	}{
		"another service":                 {host: "ram", within: 0},
		"another service at that host":    {host: "sts", version: "2019-08-15", within: 9 * time.Second},
		"the same, urgently":              {urgent: true, host: "sts", within: 9 * time.Second},
		"the same, apart":                 {apart: true, host: "sts", within: 9 * time.Second},
		"the same service, behind others": {host: "sts", waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){
					"sts": after(9*time.Second, status(200, good)), "ram": status(200, good),
				}}
				client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
				if err != nil {
					t.Fatal(err)
				}
				flood, end := context.WithCancel(t.Context())
				var readers sync.WaitGroup
				for range 300 {
					readers.Go(func() {
						for flood.Err() == nil {
							_ = client.Do(flood, call("sts"), nil)
						}
					})
				}
				time.Sleep(2 * time.Second)
				r := call(tc.host)
				if tc.version != "" {
					r.Version = tc.version
				}
				ctx := t.Context()
				if tc.urgent {
					ctx = openapi.Urgent(ctx)
				}
				caller := client
				if tc.apart {
					caller = client.Apart()
				}
				began := time.Now()
				if err := caller.Do(ctx, r, nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > tc.within != tc.waits {
					t.Errorf("took %s, the service itself %s", took, tc.within)
				}
				end()
				readers.Wait()
			})
		})
	}
}

// Where an action queues for its rate, an urgent call does not wait for the others.
func TestUrgentCallsQueueApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: &quota{perSecond: 20}}, MaxRetries: 10})
		if err != nil {
			t.Fatal(err)
		}
		took := func(ctx context.Context) time.Duration {
			began := time.Now()
			if err := client.Do(ctx, call("sts"), nil); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		var readers sync.WaitGroup
		for range 400 {
			readers.Go(func() { took(t.Context()) })
		}
		time.Sleep(2 * time.Second)
		var urgent, ordinary time.Duration
		readers.Go(func() { ordinary = took(t.Context()) })
		readers.Go(func() { urgent = took(openapi.Urgent(t.Context())) })
		readers.Wait()
		if urgent > 3*time.Second || ordinary < 10*time.Second { // as a rule 0.1 s and 17 s, by chance
			t.Errorf("an urgent call took %s, another %s", urgent, ordinary)
		}
	})
}

// What is refused for its rate slows down its own account, and no client apart.
func TestThrottledAccountHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		transport := &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){
			"ram": func(r *http.Request) (*http.Response, error) {
				if throttled {
					return status(400, coded("Throttling.User"))(r)
				}
				return status(200, good)(r)
			},
		}}
		one, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		other := one.Apart()
		for range 3 {
			_ = one.Do(t.Context(), call("ram"), nil)
		}
		throttled = false
		took := func(c *openapi.Client) time.Duration {
			t.Helper()
			began := time.Now()
			var all sync.WaitGroup
			for range 60 {
				all.Go(func() {
					if err := c.Do(t.Context(), call("ram"), nil); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			return time.Since(began)
		}
		if slow, fast := took(one), took(other); slow < time.Second || fast > 0 {
			t.Errorf("60 calls took %s of the account that was throttled and %s of the other", slow, fast)
		}
	})
}
