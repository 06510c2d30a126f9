package openapi_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// TestMain lets the tests run far from UTC, and behind a proxy that no call to
// this machine uses.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("east", 8*60*60)
	for _, name := range []string{"NO_PROXY", "no_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	os.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	os.Exit(m.Run())
}

func pemOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestDoSigned(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		fmt.Fprint(w, `{"RequestId":"`+requestID+`","Role":{"Name":"deploy"}}`)
	})
	r := call(endpoint)
	r.Params["Description"] = "a b*~"
	var out struct{ Role struct{ Name string } }
	if err := c.Do(t.Context(), r, &out); err != nil {
		t.Fatal(err)
	}
	if out.Role.Name != "deploy" {
		t.Errorf("decoded %+v", out)
	}
	if got.Method != "POST" || got.URL.Path != "/" || got.URL.RawQuery != "Description=a%20b%2A~&RoleName=deploy" || len(body) != 0 {
		t.Errorf("sent %s %s with a body of %d bytes", got.Method, got.URL, len(body))
	}
	for name, want := range map[string]string{
		"x-acs-action":         "GetRole",
		"x-acs-version":        "2015-05-01",
		"x-acs-security-token": fakeKeys.SecurityToken,
		"Accept":               "application/json",
		"x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("header %s = %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if a := got.Header.Get("Authorization"); !strings.HasPrefix(a, "ACS3-HMAC-SHA256 Credential="+fakeKeys.AccessKeyID+",SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version,Signature=") {
		t.Errorf("Authorization = %s", a)
	}
	if !strings.Contains(got.UserAgent(), "alicreds") {
		t.Errorf("User-Agent = %s", got.UserAgent())
	}
}

func TestDoAnonymous(t *testing.T) {
	t.Parallel()
	var got *http.Request
	endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_ = r.ParseForm()
		fmt.Fprint(w, good)
	})
	err := c.Do(t.Context(), openapi.Request{
		Endpoint: endpoint, Action: "AssumeRoleWithOIDC", Version: "2015-04-01", Params: map[string]string{"OIDCToken": "a.b.c"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.PostForm.Get("OIDCToken") != "a.b.c" || strings.Contains(got.URL.RawQuery, "OIDCToken") {
		t.Error("the token is not in the form, or also in the URL")
	}
	if got.Header.Get("Authorization") != "" || got.URL.Query().Get("Action") != "AssumeRoleWithOIDC" || got.URL.Query().Get("Version") != "2015-04-01" || got.URL.Query().Get("Format") != "JSON" {
		t.Errorf("sent %s with Authorization %q", got.URL, got.Header.Get("Authorization"))
	}
}

func TestDoRefusesBeforeSending(t *testing.T) {
	t.Parallel()
	endpoint, c := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	for name, change := range map[string]func(*openapi.Request){
		"endpoint":     func(r *openapi.Request) { r.Endpoint = "http://sts.aliyuncs.com" },
		"no action":    func(r *openapi.Request) { r.Action = "" },
		"bad action":   func(r *openapi.Request) { r.Action = "Get Role\n" },
		"no version":   func(r *openapi.Request) { r.Version = "" },
		"no secret":    func(r *openapi.Request) { r.Keys.AccessKeySecret = "" },
		"broken token": func(r *openapi.Request) { r.Keys.SecurityToken = "a\nb" },
	} {
		r := call(endpoint)
		change(&r)
		err := c.Do(t.Context(), r, nil)
		if err == nil || openapi.Ambiguous(err) {
			t.Errorf("%s: Do = %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, call(endpoint), nil); !errors.Is(err, context.Canceled) || openapi.Ambiguous(err) {
		t.Errorf("Do with an ended context = %v", err)
	}
}

func TestNewTrustsOnlyTheGivenCA(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, good) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)

	with, err := openapi.New(openapi.Options{CACertificate: pemOf(server)})
	if err != nil {
		t.Fatal(err)
	}
	defer with.CloseIdleConnections()
	if err := with.Do(t.Context(), call(server.URL), nil); err != nil {
		t.Error(err)
	}

	retries := 0
	without, err := openapi.New(openapi.Options{OnRetry: func(openapi.Retry) { retries++ }})
	if err != nil {
		t.Fatal(err)
	}
	var certificate *tls.CertificateVerificationError
	err = without.Do(t.Context(), call(server.URL), nil)
	if !errors.As(err, &certificate) || openapi.Ambiguous(err) || retries != 0 {
		t.Errorf("Do = %v after %d retries, want one certificate error", err, retries)
	}

	if _, err := openapi.New(openapi.Options{CACertificate: []byte("none")}); err == nil {
		t.Error("New accepts a CA certificate without PEM")
	}
	if _, err := openapi.New(openapi.Options{CACertificate: pemOf(server), HTTP: server.Client()}); err == nil {
		t.Error("New accepts both a CA certificate and an HTTP client")
	}
}

func TestDoRefusesOldTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := openapi.New(openapi.Options{CACertificate: pemOf(server), MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), call(server.URL), nil); err == nil || openapi.Ambiguous(err) {
		t.Errorf("Do = %v, want an unambiguous failure", err)
	}
}

func TestDoReusesConnections(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, good) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := openapi.New(openapi.Options{CACertificate: pemOf(server)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for range 5 {
		if err := c.Do(t.Context(), call(server.URL), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 5 calls, want 1", n)
	}
}

// A server that closes a kept-alive connection under the second request:
// what was written to it may have been executed.
func TestDoOnAStaleConnection(t *testing.T) {
	t.Parallel()
	for _, repeatable := range []bool{false, true} {
		t.Run(fmt.Sprintf("repeatable=%t", repeatable), func(t *testing.T) {
			t.Parallel()
			var arrived atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if arrived.Add(1) == 2 {
					panic(http.ErrAbortHandler)
				}
				fmt.Fprint(w, good)
			}))
			t.Cleanup(server.Close)
			c, err := openapi.New(openapi.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			r := call(server.URL)
			r.Repeatable = repeatable
			if err := c.Do(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
			err = c.Do(t.Context(), r, nil)
			if repeatable && (err != nil || arrived.Load() != 3) {
				t.Errorf("Do = %v after %d requests, want success with the third", err, arrived.Load())
			}
			if !repeatable && (!openapi.Ambiguous(err) || arrived.Load() != 2) {
				t.Errorf("Do = %v after %d requests, want an ambiguous error after the second", err, arrived.Load())
			}
		})
	}
}

// scripted is a transport in memory that reports to httptrace as
// net/http's own does.
type scripted struct {
	steps []func(*http.Request) (*http.Response, error)
	times []time.Time
	dates []string
	seen  map[string]bool
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.times = append(s.times, time.Now())
	s.dates = append(s.dates, r.Header.Get("x-acs-date"))
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[r.Header.Get("x-acs-signature-nonce")] = true
	return s.steps[min(len(s.times), len(s.steps))-1](r)
}

func status(code int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func unreachable(r *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(r.Context()).GetConn(r.URL.Host)
	return nil, errors.New("connection refused")
}

func dropped(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GetConn(r.URL.Host)
	trace.GotConn(httptrace.GotConnInfo{})
	return nil, io.ErrUnexpectedEOF
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestRetries(t *testing.T) {
	t.Parallel()
	ok := status(200, good)
	type steps = []func(*http.Request) (*http.Response, error)
	for name, tc := range map[string]struct {
		steps      steps
		repeatable bool
		retries    int
		attempts   int
		failed     bool
		ambiguous  bool
	}{
		"success":                          {steps: steps{ok}, attempts: 1},
		"throttled":                        {steps: steps{status(400, coded("Throttling.Api")), status(429, coded("Throttling")), status(429, coded("Throttling")), ok}, attempts: 4},
		"throttled without a code":         {steps: steps{status(302, ``), status(429, ``), ok}, repeatable: true, attempts: 3},
		"throttled without a code, once":   {steps: steps{status(302, ``), ok}, attempts: 1, failed: true, ambiguous: true},
		"refused by a filter":              {steps: steps{status(403, `{"blocked":true}`), ok}, repeatable: true, attempts: 1, failed: true, ambiguous: true},
		"a success of a filter":            {steps: steps{status(200, `{"blocked":true}`), ok}, repeatable: true, attempts: 1, failed: true, ambiguous: true},
		"throttled for good":               {steps: steps{status(400, coded("Throttling"))}, attempts: 4, failed: true},
		"no retries wanted":                {steps: steps{status(429, coded("Throttling"))}, retries: -1, attempts: 1, failed: true},
		"ten at most":                      {steps: steps{status(429, coded("Throttling"))}, retries: 1000, attempts: 11, failed: true},
		"refused":                          {steps: steps{status(403, coded("NoPermission"))}, repeatable: true, attempts: 1, failed: true},
		"clock skew":                       {steps: steps{status(400, coded("InvalidTimeStamp.Expired"))}, repeatable: true, attempts: 1, failed: true},
		"unreachable":                      {steps: steps{unreachable, unreachable, ok}, attempts: 3},
		"dropped, repeatable":              {steps: steps{dropped, ok}, repeatable: true, attempts: 2},
		"dropped, once only":               {steps: steps{dropped, ok}, attempts: 1, failed: true, ambiguous: true},
		"500, repeatable":                  {steps: steps{status(500, coded("InternalError")), ok}, repeatable: true, attempts: 2},
		"500, once only":                   {steps: steps{status(500, coded("InternalError")), ok}, attempts: 1, failed: true, ambiguous: true},
		"503, once only":                   {steps: steps{status(503, coded("ServiceUnavailable")), ok}, attempts: 1, failed: true, ambiguous: true},
		"sent twice, repeatable":           {steps: steps{status(400, coded("SignatureNonceUsed")), ok}, repeatable: true, attempts: 2},
		"sent twice, once only":            {steps: steps{status(400, coded("SignatureNonceUsed")), ok}, attempts: 1, failed: true, ambiguous: true},
		"sent twice, then refused":         {steps: steps{status(400, coded("SignatureNonceUsed")), status(404, coded("EntityNotExist.User"))}, repeatable: true, attempts: 2, failed: true, ambiguous: true},
		"unusable answer":                  {steps: steps{status(200, `<html>`), ok}, repeatable: true, attempts: 1, failed: true, ambiguous: true},
		"silent, repeatable":               {steps: steps{silent, ok}, repeatable: true, attempts: 2},
		"silent, once only":                {steps: steps{silent, ok}, attempts: 1, failed: true, ambiguous: true},
		"unreachable, then dropped, once":  {steps: steps{unreachable, dropped, ok}, attempts: 2, failed: true, ambiguous: true},
		"throttled, then refused for good": {steps: steps{status(429, coded("Throttling")), status(404, coded("EntityNotExist.Role"))}, attempts: 2, failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &scripted{steps: tc.steps}
				told := 0
				var ended []openapi.Attempt
				c, err := openapi.New(openapi.Options{
					HTTP: &http.Client{Transport: transport}, MaxRetries: tc.retries,
					OnAttempt: func(a openapi.Attempt) { ended = append(ended, a) },
					OnRetry: func(r openapi.Retry) {
						told++
						if r.Action != "GetRole" || r.Attempt != told || r.Err == nil || r.Wait > 5*time.Second {
							t.Errorf("OnRetry(%+v) as call %d", r, told)
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				r := call("sts.aliyuncs.com")
				r.Repeatable = tc.repeatable
				err = c.Do(t.Context(), r, nil)
				if (err != nil) != tc.failed || openapi.Ambiguous(err) != tc.ambiguous {
					t.Errorf("Do = %v, ambiguous %t", err, openapi.Ambiguous(err))
				}
				if len(transport.times) != tc.attempts || told != tc.attempts-1 {
					t.Errorf("%d attempts, %d told, want %d attempts", len(transport.times), told, tc.attempts)
				}
				if len(ended) != tc.attempts || (ended[len(ended)-1].Err != nil) != tc.failed {
					t.Errorf("OnAttempt was told %+v, want %d attempts", ended, tc.attempts)
				}
				for n, a := range ended {
					if a.Action != r.Action || a.Version != r.Version || n < len(ended)-1 && a.Err == nil {
						t.Errorf("OnAttempt(%+v) as call %d", a, n)
					}
				}
				if len(transport.seen) != tc.attempts {
					t.Errorf("%d nonces for %d attempts", len(transport.seen), tc.attempts)
				}
			})
		})
	}
}

// The service may ask for a pause with whatever it refuses for the moment.
func TestRetryHonoursThePauseAskedFor(t *testing.T) {
	t.Parallel()
	throttled, down := status(400, coded("Throttling.User")), status(503, coded("ServiceUnavailable"))
	for name, tc := range map[string]struct {
		refuse func(*http.Request) (*http.Response, error)
		header []string
		want   time.Duration
	}{
		"time left":                {throttled, []string{"x-ratelimit-user", "Limit:100,Remain:0,TimeLeft:1500", "x-ratelimit-user-api", "TimeLeft:1"}, 1500 * time.Millisecond},
		"time left, long":          {throttled, []string{"x-ratelimit-user", "TimeLeft:99999999"}, 5 * time.Second},
		"time left, negative":      {throttled, []string{"x-ratelimit-user", "TimeLeft:-5"}, 0},
		"time left, no number":     {throttled, []string{"x-ratelimit-user", "TimeLeft:soon"}, 0},
		"retry after":              {throttled, []string{"x-acs-retry-after", "1500"}, 1500 * time.Millisecond},
		"retry after, 503":         {down, []string{"x-acs-retry-after", " 1500 "}, 1500 * time.Millisecond},
		"retry after, 500":         {status(500, ``), []string{"x-acs-retry-after", "1500"}, 1500 * time.Millisecond},
		"retry after, long":        {down, []string{"x-acs-retry-after", "9223372036854775807"}, 5 * time.Second},
		"retry after, longer":      {down, []string{"x-acs-retry-after", "99999999999999999999"}, 5 * time.Second},
		"retry after, negative":    {down, []string{"x-acs-retry-after", "-1500"}, 0},
		"retry after, no number":   {down, []string{"x-acs-retry-after", "1.5s"}, 0},
		"retry after, empty":       {down, []string{"x-acs-retry-after", ""}, 0},
		"both, and the longer one": {throttled, []string{"x-acs-retry-after", "1500", "x-ratelimit-user", "TimeLeft:2500"}, 2500 * time.Millisecond},
		"neither":                  {throttled, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				refuse := func(r *http.Request) (*http.Response, error) {
					res, err := tc.refuse(r)
					for i := 0; i+1 < len(tc.header); i += 2 {
						res.Header.Set(tc.header[i], tc.header[i+1])
					}
					return res, err
				}
				transport := &scripted{steps: []func(*http.Request) (*http.Response, error){refuse, status(200, good)}}
				c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
				if err != nil {
					t.Fatal(err)
				}
				r := call("sts.aliyuncs.com")
				r.Repeatable = true
				if err := c.Do(t.Context(), r, nil); err != nil {
					t.Fatal(err)
				}
				if pause := transport.times[1].Sub(transport.times[0]); pause < tc.want || pause > tc.want+101*time.Millisecond {
					t.Errorf("waited %s, want %s", pause, tc.want)
				}
			})
		})
	}
}

func TestRetrySignsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &scripted{steps: []func(*http.Request) (*http.Response, error){
			status(429, coded("Throttling"), "x-ratelimit-user", "TimeLeft:2000"), status(200, good),
		}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(t.Context(), call("sts.aliyuncs.com"), nil); err != nil {
			t.Fatal(err)
		}
		if transport.dates[0] == transport.dates[1] || len(transport.seen) != 2 {
			t.Errorf("dates %v, %d nonces", transport.dates, len(transport.seen))
		}
	})
}

// No pause is begun that would outlast the caller's deadline, and one that
// fits into it is.
func TestRetryKeepsTheDeadline(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*http.Request) (*http.Response, error){
		"throttled":   status(429, coded("Throttling"), "x-ratelimit-user", "TimeLeft:4000"),
		"unavailable": status(503, ``, "x-acs-retry-after", "4000"),
	} {
		for patience, attempts := range map[time.Duration]int{3 * time.Second: 1, 4500 * time.Millisecond: 2} {
			t.Run(fmt.Sprintf("%s, %s", name, patience), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					transport := &scripted{steps: []func(*http.Request) (*http.Response, error){refuse}}
					c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					start := time.Now()
					r := call("sts.aliyuncs.com")
					r.Repeatable = true
					var refused *openapi.Error
					if err := c.Do(ctx, r, nil); !errors.As(err, &refused) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Do = %v, want the refusal", err)
					}
					if len(transport.times) != attempts {
						t.Errorf("%d attempts, want %d", len(transport.times), attempts)
					}
					if waited := time.Since(start); attempts == 1 && waited != 0 || waited >= patience {
						t.Errorf("waited %s for a retry that could not happen", waited)
					}
				})
			})
		}
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &scripted{steps: []func(*http.Request) (*http.Response, error){status(429, coded("Throttling"), "x-ratelimit-user", "TimeLeft:4000")}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var refused *openapi.Error
		if err := c.Do(ctx, call("sts.aliyuncs.com"), nil); !errors.As(err, &refused) || !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, want the refusal and the cancellation", err)
		}
	})
}

func TestCancelWhileSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &scripted{steps: []func(*http.Request) (*http.Response, error){silent}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r := call("sts.aliyuncs.com")
		r.Repeatable = true
		began := time.Now()
		err = c.Do(ctx, r, nil)
		if !errors.Is(err, context.Canceled) || !openapi.Ambiguous(err) || len(transport.times) != 1 {
			t.Errorf("Do = %v after %d attempts", err, len(transport.times))
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it ended after %s, want at the cancellation", took)
		}
	})
}

// The end of one attempt is not the end of the caller's patience.
func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &scripted{steps: []func(*http.Request) (*http.Response, error){silent}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}, MaxRetries: -1})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = c.Do(t.Context(), call("sts.aliyuncs.com"), nil)
		if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "timed out after 10s") {
			t.Errorf("Do = %v", err)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %s, want 10s", waited)
		}
	})
}

// A refusal says nothing about the attempt before it, of which no answer came.
func TestAmbiguousIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &scripted{steps: []func(*http.Request) (*http.Response, error){
			dropped, status(403, coded("NoPermission")),
		}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		r := call("sts.aliyuncs.com")
		r.Repeatable = true
		err = c.Do(t.Context(), r, nil)
		var refused *openapi.Error
		if !errors.As(err, &refused) || refused.Code != "NoPermission" || openapi.Ambiguous(refused) || !openapi.Ambiguous(err) {
			t.Errorf("Do = %v, ambiguous %t, want the refusal and the doubt", err, openapi.Ambiguous(err))
		}
	})
}

// Clients that were refused together do not come back together.
func TestRetryPausesDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pauses := map[time.Duration]bool{}
		for range 20 {
			transport := &scripted{steps: []func(*http.Request) (*http.Response, error){status(503, ``, "x-acs-retry-after", "1000"), status(200, good)}}
			c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
			if err != nil {
				t.Fatal(err)
			}
			r := call("sts.aliyuncs.com")
			r.Repeatable = true
			if err := c.Do(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
			pauses[transport.times[1].Sub(transport.times[0])] = true
		}
		if len(pauses) < 10 {
			t.Errorf("20 clients waited %v", pauses)
		}
	})
}

// The date that is sent is of UTC wherever the program runs; see TestMain.
func TestDateIsUTC(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]openapi.Keys{"signed": fakeKeys, "anonymous": {}} {
		var sent string
		endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			sent = r.Header.Get("x-acs-date") + r.URL.Query().Get("Timestamp")
			fmt.Fprint(w, good)
		})
		r := call(endpoint)
		r.Keys = keys
		if err := c.Do(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		if at, err := time.Parse("2006-01-02T15:04:05Z", sent); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s: sent %s at %s", name, sent, time.Now().UTC())
		}
	}
}

// A cookie of one answer is not sent with the next call, whatever client is
// given.
func TestNoCookies(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; len(r.Cookies()) > 0 {
			t.Errorf("call %d has the cookie %s", calls, r.Cookies()[0].Name)
		}
		http.SetCookie(w, &http.Cookie{Name: "acw_tc", Value: "fake"})
		fmt.Fprint(w, good)
	}))
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	given := server.Client()
	given.Jar = jar
	c, err := openapi.New(openapi.Options{HTTP: given})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Do(t.Context(), call(server.URL), nil); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 2 || given.Jar == nil {
		t.Errorf("%d calls; the caller's own client lost its jar: %t", calls, given.Jar == nil)
	}
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, good) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := openapi.New(openapi.Options{CACertificate: pemOf(server)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), call(server.URL), nil); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(20 * time.Second): // without the call the client closes it after 25 s
		t.Error("the connection is still open")
	}
}

// The environment's proxy, which TestMain sets, counts where none is given.
func TestProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	c, err := openapi.New(openapi.Options{MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), call("sts.invalid"), nil); err == nil || openapi.Ambiguous(err) || !strings.Contains(err.Error(), "the proxy 127.0.0.1:1: connection refused") {
		t.Errorf("Do = %v, want it to fail at the proxy", err)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	c, err := openapi.New(openapi.Options{Proxy: proxy.URL, MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), call("sts.invalid"), nil); err == nil || openapi.Ambiguous(err) {
		t.Errorf("Do = %v", err)
	}
	if got := <-asked; got != "CONNECT sts.invalid:443" {
		t.Errorf("the proxy was asked to %s", got)
	}
	for _, bad := range []string{"proxy:1", "ftp://proxy", "http://", "http://u:hidden@p\x7f"} {
		if _, err := openapi.New(openapi.Options{Proxy: bad}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("proxy %q: %v", bad, err)
		}
	}
	if _, err := openapi.New(openapi.Options{Proxy: proxy.URL, HTTP: http.DefaultClient}); err == nil {
		t.Error("New accepts both a proxy and an HTTP client")
	}
}
