package alicreds

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const maxReply = 64 << 10 // of an answer's body, and of its headers

// noRedirects makes a client return a redirect as the answer it is.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// send performs one request outside of the OpenAPI: to the metadata service
// or a credentials URI. Failures are *openapi.NetworkError, and any status
// but 200 an *openapi.Error, beside which the answer is returned too. Neither
// error holds the URL or the answer.
func send(client *http.Client, r *http.Request, action string) ([]byte, error) {
	var sent atomic.Bool
	traced := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	}))
	noAnswer := func(err error) error {
		if r.Context().Err() != nil {
			err = r.Context().Err()
		}
		return openapi.Unanswered(action, r.URL.Host, sent.Load(), err)
	}
	res, err := client.Do(traced)
	if err != nil {
		return nil, noAnswer(err)
	}
	defer res.Body.Close()
	sent.Store(true) // a transport of the caller's own may not say so
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, noAnswer(err)
	case res.StatusCode/100 == 3:
		return nil, fmt.Errorf("%s: the answer is a redirect, which is not followed (HTTP %d)", action, res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return body, &openapi.Error{Action: action, Status: res.StatusCode}
	case len(body) > maxReply:
		return nil, errors.New(action + ": the answer is larger than 64 KiB")
	}
	return body, nil
}
