package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// Attempt is one sending of a call to one endpoint, for Options.OnAttempt. A call
// that is repeated, or goes on to another endpoint, makes several.
type Attempt struct {
	Action  string // of the Request
	Version string // of the Request: that of the service's API
	Err     error  // nil: done; else *Error or *NetworkError, or what kept the request from being sent
}

// attempt sends the request once to one endpoint, with a nonce and date of its
// own. hint is the pause that a refusal asks for.
func (c *call) attempt(ctx context.Context, target *url.URL) (hint time.Duration, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	traced, sent := traceSending(limited)
	noAnswer := func(err error) error {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case limited.Err() != nil:
			err = timeoutError{after: c.timeout}
		}
		return Unanswered(c.Action, target.Host, sent.Load(), err)
	}

	request, err := c.request(traced, target)
	if err != nil {
		return 0, err
	}
	res, err := c.http.Do(request)
	if err != nil {
		if !sent.Load() && ctx.Err() == nil {
			c.outages.add(target.Host)
		}
		return 0, noAnswer(err)
	}
	defer res.Body.Close()
	c.outages.remove(target.Host)
	body, err := readAnswer(res)
	switch {
	case err != nil:
		return 0, noAnswer(err)
	case len(body) > maxAnswer:
		return 0, unusable(c.Action, res, nil, tooLarge)
	case res.StatusCode != http.StatusOK && res.StatusCode < 300:
		return 0, unusable(c.Action, res, body, neither)
	case res.StatusCode != http.StatusOK:
		return pauseAskedFor(res.Header), refusal(c.Action, res, body)
	}
	return 0, success(c.Action, res, body, c.out)
}

// traceSending watches whether the request may have left. A transport that
// reports nothing counts as having sent. net/http may take another connection
// when it wrote nothing to the first.
func traceSending(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := &atomic.Bool{}
	sent.Store(true)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	}), sent
}

// readAnswer reads one byte more than an answer may have.
func readAnswer(res *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := res.ContentLength; n > 0 && n <= maxAnswer {
		b.Grow(int(n) + bytes.MinRead) // what ReadFrom wants free at the end
	}
	_, err := b.ReadFrom(io.LimitReader(res.Body, maxAnswer+1))
	return b.Bytes(), err
}

// success decodes an answer with status 200. It is one only with a RequestId in
// it and without a Code: whatever else comes with that status is from something
// between here and the service, and tells nothing of what the service did.
func success(action string, res *http.Response, body []byte, out any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) || !json.Valid(body) {
		return unusable(action, res, body, "the answer is not a JSON object")
	}
	var marks struct {
		RequestID string `json:"RequestId"`
		Code      any
	}
	switch err := json.Unmarshal(body, &marks); {
	case err != nil || !isRequestID(marks.RequestID):
		return unusable(action, res, body, noRequestID)
	case marks.Code != nil && marks.Code != "":
		return unusable(action, res, body, neither)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && identifier(wrong.Field) != "" {
			return unusable(action, res, body, "the answer's field "+wrong.Field+" has the wrong type")
		}
		return unusable(action, res, body, "the answer has not the expected form")
	}
	return nil
}

// timeoutError is the end of one attempt, as opposed to that of the
// caller's context.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("timed out after %s", e.after) }
func (timeoutError) Timeout() bool   { return true }
