package openapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	Action  string        // of the Request
	Attempt int           // the attempt that failed, from 1
	Wait    time.Duration // before the next one, at least: throttled calls queue
	Err     error         // *Error, or *NetworkError (one for each endpoint, joined)
}

// repeat makes attempts until one succeeds or another is of no use, not
// allowed, or too late.
func (c *call) repeat(ctx context.Context) error {
	var failure error // of the attempt before
	for attempt := 1; ; attempt++ {
		pause, made, err := c.inTurn(ctx, attempt)
		switch {
		case err == nil:
			return nil
		case !made && ctx.Err() != nil && failure != nil:
			return gaveUp(failure, ctx.Err())
		}
		err = afterDoubt(failure, err)
		if !made || ctx.Err() != nil || attempt > c.retries || !c.mayRepeat(attempt, err) {
			return err
		}
		failure = err
		if c.onRetry != nil {
			c.onRetry(Retry{Action: c.Action, Attempt: attempt, Wait: pause, Err: err})
		}
		if isThrottled(err) {
			continue // and queue
		}
		if outlasts(ctx, pause) {
			return err
		}
		if ended := sleep(ctx, pause); ended != nil {
			return gaveUp(err, ended)
		}
	}
}

// mayRepeat tells whether another attempt may help and does no harm.
func (c *call) mayRepeat(attempt int, err error) bool {
	return retryable(attempt, err) && (c.Repeatable || !Ambiguous(err))
}

// retryable tells whether another attempt may succeed. Of several endpoints one is
// enough.
func retryable(attempt int, err error) bool {
	switch e := err.(type) { // errors.As would stop at the first of joined errors
	case nil:
		return false
	case *Error:
		return e.Temporary() || e.issuerSilent()
	case *NetworkError:
		return !permanent(attempt, e)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return retryable(attempt, err) })
	}
	return retryable(attempt, errors.Unwrap(err))
}

// permanent names the network failures that a repetition does not cure: a
// certificate that is not trusted, and a name that does not exist at the second
// time of asking, because name servers fail in that way, too.
func permanent(attempt int, err *NetworkError) bool {
	return isA[*tls.CertificateVerificationError](err) || noSuchHost(err) && attempt > 1
}

// wait is the pause before the next attempt: full jitter over a doubling
// range, and never less than the service asked for (within maxWait).
func wait(attempt int, hint time.Duration) time.Duration {
	limit := min(baseWait<<(attempt-1), maxWait)
	return min(hint+rand.N(limit), maxWait)
}

// outlasts tells whether a pause would end after the caller's deadline.
func outlasts(ctx context.Context, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= pause
}

// sleep returns early, with an error, when the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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

func isThrottled(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Throttled()
}
