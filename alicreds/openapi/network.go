package openapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// NetworkError means that no answer arrived.
type NetworkError struct {
	Action string // of the Request
	Host   string // of the endpoint, with its port if it has one
	Sent   bool   // the request may have reached the service

	// Err says why, in the words of this package: the text of net/http's errors
	// may quote what was received. Of the known kinds errors.Is and errors.As find
	// the original, such as a [net.DNSError], and the context's errors.
	Err error
}

// Unanswered makes a NetworkError of what net/http returned. It keeps the kind of
// the failure and none of its text, which may quote the answer and the URL.
func Unanswered(action, host string, sent bool, err error) *NetworkError {
	return &NetworkError{Action: action, Host: host, Sent: sent, Err: inOwnWords(sent, err)}
}

// Error names the action, the host, and whether the call may have taken effect.
func (e *NetworkError) Error() string {
	if e.Sent {
		return fmt.Sprintf("%s: no answer from %s: %v", e.Action, e.Host, e.Err)
	}
	return fmt.Sprintf("%s: cannot reach %s: %v", e.Action, e.Host, e.Err)
}

// Unwrap returns the cause.
func (e *NetworkError) Unwrap() error { return e.Err }

// failure is one of a known kind.
type failure struct {
	text string
	err  error // whose text is not to be printed
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }
func (f *failure) Timeout() bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](f.err)
	return ok && timeout.Timeout()
}

// Format prints the text for every verb, %#v too.
func (f *failure) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.text) }

func inOwnWords(sent bool, err error) error {
	if _, own := err.(timeoutError); own || err == context.Canceled || err == context.DeadlineExceeded {
		return err
	}
	text := kindOf(err)
	switch {
	case text != "":
	case sent:
		return errors.New("the answer is not HTTP")
	default:
		return errors.New("the connection could not be made")
	}
	if proxy, ok := errors.AsType[*net.OpError](err); ok && proxy.Op == "proxyconnect" {
		text = "the proxy" + addressOf(proxy.Err) + ": " + text
	}
	return &failure{text, err}
}

// kindOf is what a failure is called, "" for one of no known kind. The first kind
// counts: those further down hold others.
func kindOf(err error) string {
	for _, kind := range []struct {
		is   func(error) bool
		text string
	}{
		{isA[x509.UnknownAuthorityError], "certificate signed by unknown authority"},
		{isA[x509.HostnameError], "the certificate is for another host"},
		{isExpired, "the certificate has expired or is not valid yet, by the local clock"},
		{isA[x509.SystemRootsError], "no certificate authority is known here"},
		{isA[*tls.CertificateVerificationError], "the certificate is not accepted"},
		{isA[tls.RecordHeaderError], "the answer is not TLS"},
		{isErr(http.ErrSchemeMismatch), "the answer is HTTP, and not HTTPS"},
		{isOp("remote error"), "the other side refuses the TLS handshake"},
		{isOp("local error"), "the TLS handshake failed"},
		{noSuchHost, "no such host"},
		{isTimeout, "timed out"},
		{isA[*net.DNSError], "the name server did not answer"},
		{isErr(io.EOF), "the connection was closed"},
		{isErr(io.ErrUnexpectedEOF), "the connection was closed"},
		{mentions("http: server closed idle connection"), "the connection was closed"},
		{mentions("server response headers exceeded"), "the headers of the answer are too large"},
	} {
		if kind.is(err) {
			return kind.text
		}
	}
	if refused, ok := errors.AsType[proxyRefusal](err); ok {
		return refused.Error()
	}
	if system, ok := errors.AsType[syscall.Errno](err); ok {
		return system.Error() // "connection refused"
	}
	if isOp("dial")(err) {
		return "the connection could not be made"
	}
	return ""
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isErr(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isOp(op string) func(error) bool {
	return func(err error) bool {
		for e, ok := errors.AsType[*net.OpError](err); ok; e, ok = errors.AsType[*net.OpError](e.Err) {
			if e.Op == op {
				return true
			}
		}
		return false
	}
}

func isExpired(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

func noSuchHost(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// mentions is for errors of net/http that have no type.
func mentions(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

// addressOf is where a connection was to go, which is not the peer's word.
func addressOf(err error) string {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && dial.Addr != nil {
		return " " + dial.Addr.String()
	}
	return ""
}

// proxyRefusal is the status with which a proxy refuses to connect.
type proxyRefusal int

func (r proxyRefusal) Error() string {
	if r == http.StatusProxyAuthRequired {
		return "the proxy wants a user name and password (HTTP 407)"
	}
	return fmt.Sprintf("the proxy refuses to connect (HTTP %d)", int(r))
}

// ProxyAnswer is for http.Transport.OnProxyConnectResponse. Where a proxy refuses
// to connect, [Unanswered] then tells the status, and not what the proxy says.
func ProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return proxyRefusal(answer.StatusCode)
	}
	return nil
}
