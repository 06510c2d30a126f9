package openapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const told = "hunter2-told-by-the-peer"

// saying is a service that answers every request with those bytes. $SENT becomes
// what the request says of who sent it.
func saying(t *testing.T, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				sent := r.Header.Get("X-Acs-Security-Token") + " " + r.Header.Get("Authorization")
				_, _ = io.WriteString(c, strings.ReplaceAll(answer, "$SENT", sent))
			}()
		}
	}()
	return listener.Addr().String()
}

// wantSilence wants an error that says so, and nothing that was received or sent.
func wantSilence(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if !strings.Contains(err.Error(), says) {
		t.Errorf("it does not say %q: %v", says, err)
	}
	for _, secret := range []string{told, fakeKeys.SecurityToken, fakeKeys.AccessKeyID, "Signature", "internal.example"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is quoted: %s", secret, text)
		}
	}
}

// Nothing that a peer says on its way to being no answer is quoted.
func TestErrorsQuoteNoPeer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ answer, says string }{
		"banner":              {"220 " + told + " ESMTP\r\n", "the answer is not HTTP"},
		"redis":               {"-NOAUTH " + told + "\r\n", "the answer is not HTTP"},
		"reflected banner":    {"denied: $SENT\r\n", "the answer is not HTTP"},
		"status":              {"HTTP/1.1 " + told + " OK\r\n\r\n", "the answer is not HTTP"},
		"reflected status":    {"HTTP/1.1 $SENT\r\n\r\n", "the answer is not HTTP"},
		"version":             {"HTTP/" + told + " 200 OK\r\n\r\n", "the answer is not HTTP"},
		"header":              {"HTTP/1.1 200 OK\r\n" + told + " \x1b[31mline\r\n\r\n", "the answer is not HTTP"},
		"reflected header":    {"HTTP/1.1 400 Bad\r\nyou sent $SENT\r\n\r\n", "the answer is not HTTP"},
		"length":              {"HTTP/1.1 200 OK\r\nContent-Length: " + told + "\r\n\r\n", "the answer is not HTTP"},
		"encoding":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + told + "\r\n\r\n", "the answer is not HTTP"},
		"chunk":               {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + told + "\r\n", "the answer is not HTTP"},
		"location":            {"HTTP/1.1 302 Found\r\nLocation: http://[::1/" + told + "\r\nContent-Length: 0\r\n\r\n", ""},
		"many headers":        {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+told+"\r\n", 4000) + "\r\n", "the headers of the answer are too large"},
		"endless header":      {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat(told, 4000), "the headers of the answer are too large"},
		"cut":                 {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"" + told, "the connection was closed"},
		"nothing":             {"", "the connection was closed"},
		"code of a refusal":   {"HTTP/1.1 403 Forbidden\r\n\r\n{\"Code\":\"" + told + "\"}", "it has no RequestId"},
		"reflected RequestId": {"HTTP/1.1 403 Forbidden\r\nx-acs-request-id: $SENT\r\nContent-Length: 2\r\n\r\n{}", "it has no RequestId"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := openapi.New(openapi.Options{MaxRetries: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			err = c.Do(t.Context(), call("http://"+saying(t, tc.answer)), nil)
			wantSilence(t, err, tc.says)
			if !openapi.Ambiguous(err) {
				t.Error("the request was sent, and nothing is known of it")
			}
		})
	}
}

// whereNobodyListens is an address at which nobody else can listen either, as they could
// where somebody has: it is the near end of a connection.
func whereNobodyListens(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// What keeps a connection from being made has a name, and the certificate of
// whoever is there is not described.
func TestErrorsNameWhatKeepsAConnection(t *testing.T) {
	t.Parallel()
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = nil
	strange.StartTLS()
	t.Cleanup(strange.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	closed := whereNobodyListens(t)
	_, strangePort, _ := net.SplitHostPort(strange.Listener.Addr().String())
	for name, tc := range map[string]struct {
		options  openapi.Options
		endpoint string
		says     string
	}{
		"unknown authority": {openapi.Options{}, strange.URL, "certificate signed by unknown authority"},
		"another host":      {openapi.Options{CACertificate: pemOf(strange)}, "https://localhost:" + strangePort, "the certificate is for another host"},
		"plain HTTP":        {openapi.Options{}, strings.Replace(plain.URL, "http", "https", 1), "the answer is HTTP, and not HTTPS"},
		"no TLS":            {openapi.Options{}, "https://" + saying(t, told), "the connection was closed"},
		"closed port":       {openapi.Options{}, "http://" + closed, "connection refused"},
		// A name of no form, for which no name server is asked.
		"no such host":       {openapi.Options{Proxy: "http://proxy..invalid:3128"}, "https://sts.example", "the proxy: no such host"},
		"closed proxy":       {openapi.Options{Proxy: "http://" + closed}, "https://sts.example", "the proxy " + closed + ": connection refused"},
		"refusing proxy":     {openapi.Options{Proxy: "http://" + saying(t, "HTTP/1.1 403 "+told+"\r\n\r\n")}, "https://sts.example", "the proxy refuses to connect (HTTP 403)"},
		"proxy with keys":    {openapi.Options{Proxy: "http://" + saying(t, "HTTP/1.1 407 "+told+"\r\n\r\n")}, "https://sts.example", "the proxy wants a user name and password (HTTP 407)"},
		"proxy that is none": {openapi.Options{Proxy: "http://" + saying(t, "220 "+told+"\r\n")}, "https://sts.example", "the connection could not be made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.options.MaxRetries = -1
			c, err := openapi.New(tc.options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			err = c.Do(t.Context(), call(tc.endpoint), nil)
			wantSilence(t, err, tc.says)
			if openapi.Ambiguous(err) {
				t.Errorf("nothing was sent: %v", err)
			}
		})
	}
}

// The kinds stay what they are to errors.Is and errors.As.
func TestErrorsKeepTheirKind(t *testing.T) {
	t.Parallel()
	missing := &net.DNSError{Err: told, Name: "internal.example", Server: told, IsNotFound: true}
	for name, tc := range map[string]struct {
		err  error
		says string
		is   func(error) bool
	}{
		"name":        {&net.OpError{Op: "dial", Err: missing}, "no such host", func(err error) bool { return errors.Is(err, missing) }},
		"name server": {&net.DNSError{Err: told, IsTimeout: true}, "timed out", nil},
		"timeout":     {&net.OpError{Op: "read", Err: context.DeadlineExceeded}, "timed out", func(err error) bool { var timeout net.Error; return !errors.As(err, &timeout) || timeout.Timeout() }},
		"certificate": {&tls.CertificateVerificationError{Err: errors.New(told)}, "the certificate is not accepted",
			func(err error) bool { var e *tls.CertificateVerificationError; return errors.As(err, &e) }},
		"handshake": {&net.OpError{Op: "remote error", Err: errors.New(told)}, "the other side refuses the TLS handshake", nil},
		"cancelled": {context.Canceled, "context canceled", func(err error) bool { return errors.Is(err, context.Canceled) }},
		"unknown":   {errors.New(told), "the connection could not be made", nil},
	} {
		err := openapi.Unanswered("GetRole", "sts.aliyuncs.com", false, tc.err)
		wantSilence(t, err, "GetRole: cannot reach sts.aliyuncs.com: "+tc.says)
		if tc.is != nil && !tc.is(err) {
			t.Errorf("%s: %v has lost its kind", name, err)
		}
	}
}

// A name that does not exist is asked for once more, and one that stays unknown, or
// a certificate that is not trusted, ends a call only where that is so of all
// endpoints.
func TestPassingNameFailure(t *testing.T) {
	t.Parallel()
	unknown := func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}
	}
	untrusted := func(*http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: errors.New("untrusted")}
	}
	// passing fails twice, and then answers.
	passing := func(fail func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
		n := 0
		return func(r *http.Request) (*http.Response, error) {
			if n++; n <= 2 {
				return fail(r)
			}
			return status(200, good)(r)
		}
	}
	type hosts = map[string]func(*http.Request) (*http.Response, error)
	for name, tc := range map[string]struct {
		hosts  hosts
		asked  string
		failed bool
	}{
		"one, for good":                          {hosts{"a": unknown}, "a a", true},
		"both, for good":                         {hosts{"a": unknown, "b": unknown}, "a b a b", true},
		"the fallback alone":                     {hosts{"a": passing(unreachable), "b": unknown}, "a b a b a", false},
		"the first alone":                        {hosts{"a": unknown, "b": passing(unreachable)}, "a b a b a b", false},
		"the first is untrusted, the other down": {hosts{"a": untrusted, "b": passing(unreachable)}, "a b a b a b", false},
		"untrusted":                              {hosts{"a": untrusted}, "a", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &byHost{hosts: tc.hosts}
				c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
				if err != nil {
					t.Fatal(err)
				}
				r := call("a")
				if tc.hosts["b"] != nil {
					r.Fallbacks = []string{"b"}
				}
				r.Repeatable = true
				err = c.Do(t.Context(), r, nil)
				if got := strings.Join(transport.asked, " "); got != tc.asked || (err != nil) != tc.failed {
					t.Errorf("asked %s: %v, want %s", got, err, tc.asked)
				}
			})
		})
	}
}
