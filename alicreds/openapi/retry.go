package openapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	defaultRetries = 3
	maxRetries     = 10
	baseWait       = 100 * time.Millisecond
	maxWait        = 5 * time.Second
)

// Retry describes a repetition that is about to happen, for Options.OnRetry.
type Retry struct {
	Action  string
	Attempt int           // the attempt that failed, from 1
	Wait    time.Duration // before the next one, at least: throttled calls queue
	Err     error         // *Error, or *NetworkError (one for each endpoint, joined)
}

// retryable decides about a failed attempt whose repetition does no harm.
func retryable(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Temporary()
	}
	var network *NetworkError
	return errors.As(err, &network) && !permanent(err)
}

// permanent names the network failures that a repetition does not cure: a
// certificate that is not trusted and a name that does not exist. Of
// several endpoints one is enough.
func permanent(err error) bool {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// wait is the pause before the next attempt: full jitter over a doubling
// range, and never less than the service asked for (within maxWait).
func wait(attempt int, hint time.Duration) time.Duration {
	limit := min(baseWait<<(attempt-1), maxWait)
	return min(hint+rand.N(limit), maxWait)
}

// sleep returns false without waiting when the pause would outlast the
// caller's deadline.
func sleep(ctx context.Context, d time.Duration) (bool, error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false, nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// gaveUp keeps both the reason to retry and the reason not to.
func gaveUp(last, cause error) error {
	return fmt.Errorf("%w (not repeated: %w)", last, cause)
}

// pauseAskedFor is how long the service wants to be left alone, up to maxWait:
// x-acs-retry-after, with any code, and "TimeLeft" in the lists k:v,k:v of the
// two x-ratelimit headers of a throttled answer, all of them in milliseconds.
// The longest counts.
func pauseAskedFor(h http.Header) time.Duration {
	longest := milliseconds(h.Get("x-acs-retry-after"))
	for _, name := range []string{"x-ratelimit-user-api", "x-ratelimit-user"} {
		for pair := range strings.SplitSeq(h.Get(name), ",") {
			if key, value, _ := strings.Cut(pair, ":"); strings.EqualFold(strings.TrimSpace(key), "TimeLeft") {
				longest = max(longest, milliseconds(value))
			}
		}
	}
	return longest
}

// milliseconds is between 0, also for what is no number, and maxWait.
func milliseconds(s string) time.Duration {
	ms, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(max(ms, 0), maxWait.Milliseconds())) * time.Millisecond
}

// answered tells whether err, or its absence, is the service's word.
func answered(err error) bool {
	var refused *Error
	return err == nil || errors.As(err, &refused)
}

func isThrottled(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Throttled()
}
