package backend

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	quotaTimeout = 5 * time.Second
	quotaWarning = 90 // percent that are used

	// How old what is known may be: for a person who reads status, for a scrape of
	// metrics, and for a warning.
	quotaForStatus  = 10 * time.Second
	quotaForMetrics = 5 * time.Minute
	quotaForWarning = time.Hour

	// quotaDenied is how long neither a scrape nor an issue asks again where the mount
	// may not.
	quotaDenied = time.Hour
)

// quotas are those of the mount's account, as far as it may ask for them. They are
// asked for when somebody reads status, and beside what reads metrics or issues a RAM
// user or RAM role, which wait for nothing.
type quotas struct {
	ram  *ram.Client
	life context.Context // ends with the client
	end  context.CancelFunc
	asks sync.WaitGroup

	turn sync.Mutex // held while they are asked for

	mu     sync.Mutex
	ended  bool
	asking bool // in the background
	known  []ram.Quota
	at     time.Time // of known; zero: nothing is
	tried  time.Time
	err    error // of the last try
}

func newQuotas(c *ram.Client) *quotas {
	life, end := context.WithCancel(context.Background())
	return &quotas{ram: c, life: life, end: end}
}

// close ends what is asked in the background, and waits for it.
func (q *quotas) close() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.end()
	q.asks.Wait()
}

// read is what is known, when it was asked, and why the last try failed.
func (q *quotas) read() (known []ram.Quota, at time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.known, q.at, q.err
}

// ask asks, unless that was done a moment ago.
func (q *quotas) ask(ctx context.Context) {
	q.turn.Lock()
	defer q.turn.Unlock()
	if q.tries(quotaForStatus) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, quotaTimeout)
	defer cancel()
	known, err := q.ram.Quotas(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tried, q.err = time.Now(), err
	switch {
	case err == nil:
		q.known, q.at = known, q.tried
	case ram.Denied(err):
		q.known, q.at = nil, time.Time{}
	}
}

// tries tells whether the last try is younger than that.
func (q *quotas) tries(age time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.tried.IsZero() && time.Since(q.tried) < age
}

// begin asks beside the caller, where what is known is older than age.
func (q *quotas) begin(age time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ram.Denied(q.err) {
		age = max(age, quotaDenied)
	}
	if q.ended || q.asking || !q.tried.IsZero() && time.Since(q.tried) < age {
		return
	}
	q.asking = true
	q.asks.Go(func() {
		q.ask(q.life)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.asking = false
	})
}

// warnings name the quotas that are nearly used up, as was last told.
func (q *quotas) warnings() (warnings []string) {
	known, at, _ := q.read()
	if time.Since(at) > quotaForWarning {
		return nil
	}
	for _, quota := range known {
		if quota.Limit > 0 && quota.Used*100 >= quota.Limit*quotaWarning {
			warnings = append(warnings, fmt.Sprintf("the account has %d of the %d RAM %s that it may have: delete what is not needed, or have the quota raised",
				quota.Used, quota.Limit, quota.Of))
		}
	}
	return warnings
}
