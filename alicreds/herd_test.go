package alicreds_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestHerd lets 10,000 goroutines meet an expired session at once, and the
// first of them leave before the answer comes: one call to STS serves the
// others.
func TestHerd(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 goroutines")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 10_000
		cloud, err := alisim.Start(alisim.Options{NoListen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer cloud.Close()
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: cloud.Transport()}})
		if err != nil {
			t.Fatal(err)
		}
		key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
		if err != nil {
			t.Fatal(err)
		}
		role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{
			RoleARN:    alisim.DefaultRoleARN,
			STSOptions: alicreds.STSOptions{Client: client},
		})
		if err != nil {
			t.Fatal(err)
		}
		cache := alicreds.NewCache(role, alicreds.CacheOptions{})
		defer cache.Close()
		expired, err := cache.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(expired.Expiration))
		cloud.SetLatency(time.Second)
		before := len(cloud.Journal())

		impatient, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if c, err := cache.Retrieve(impatient); !errors.Is(err, context.Canceled) {
				t.Errorf("the first caller got %s, %v", c, err)
			}
		})
		synctest.Wait() // it has begun the call
		var served sync.Map
		var refused atomic.Int64
		for range callers - 1 {
			all.Go(func() {
				c, err := cache.Retrieve(t.Context())
				if err != nil || c.Expired(time.Now()) {
					refused.Add(1)
				}
				served.Store(c.AccessKeyID, c)
			})
		}
		synctest.Wait() // they all wait
		leave()
		all.Wait()

		if n := refused.Load(); n > 0 {
			t.Errorf("%d of %d callers were not served", n, callers-1)
		}
		sessions := 0
		served.Range(func(any, any) bool { sessions++; return true })
		if calls := len(cloud.Journal()) - before; calls != 1 || sessions != 1 {
			t.Errorf("%d calls, %d sessions, want 1 of each", calls, sessions)
		}
		if _, ok := served.Load(expired.AccessKeyID); ok {
			t.Error("the expired session was served")
		}
	})
}
