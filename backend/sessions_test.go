package backend

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// A reader that comes while another one's session arrives must not obtain a
// second one.
func TestSessionsAreObtainedOnce(t *testing.T) {
	t.Parallel()
	for round := range 5000 {
		var s sessions
		var obtained atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, _, err := s.get(context.Background(), sessionRequest{roleARN: "acs:ram::1234567890123456:role/deploy"}, time.Minute, func(context.Context) (alicreds.Credentials, bool, error) {
					obtained.Add(1)
					return alicreds.Credentials{Expiration: time.Now().Add(time.Hour)}, false, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := obtained.Load(); n != 1 {
			t.Fatalf("round %d: 8 readers obtained %d sessions", round, n)
		}
	}
}
