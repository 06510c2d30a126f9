// Package openapi signs and sends Alibaba Cloud RPC-style API calls: those
// of STS and RAM, and of every other product with the same protocol.
//
// A [Client] keeps connections alive, bounds every wait and every answer,
// follows no redirect, and repeats a failed call only where that cannot do
// harm. Failures are [*Error] (the service refused) or [*NetworkError] (no
// answer); neither holds keys, tokens, signatures, bodies or URLs.
//
// Calls are signed with ACS3-HMAC-SHA256. The signer is held to the vector
// Alibaba Cloud publishes for it.
package openapi

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultConnectTimeout = 5 * time.Second
	defaultTimeout        = 10 * time.Second
	maxAnswer             = 64 << 10

	// A policy of 6,144 characters is up to 18 KiB of query. Proxies and
	// gateways refuse a request line of more than 8 KiB; half of that leaves room
	// for one that has less.
	maxQuery = 4 << 10

	// Shorter than the keep-alive of the gateways in front of the services,
	// so that a call rarely meets a connection that was just closed.
	idleTimeout = 25 * time.Second
)

// Options of a Client. The zero value is useful.
type Options struct {
	// HTTP replaces the client's own transport and its settings. Redirects
	// are not followed and cookies are not kept whatever it says.
	HTTP *http.Client

	// CACertificate holds PEM certificates that replace the system's roots,
	// for private endpoints. Not to be combined with HTTP.
	CACertificate []byte

	ConnectTimeout time.Duration // TCP, and TLS again; default 5 s
	Timeout        time.Duration // one attempt; default 10 s

	// MaxRetries is how often a failed attempt is repeated: 0 means 3, a
	// negative number none, and more than 10 means 10. With none, calls do
	// not queue either when the service throttles.
	MaxRetries int

	// Proxy is the URL of an http, https or socks5 proxy, in the place of the
	// environment's. Not to be combined with HTTP.
	Proxy string

	UserAgent string      // default "AlibabaCloud (<os>; <arch>) alicreds"
	OnRetry   func(Retry) // told about each repetition; must not block
}

// Client sends calls. It is safe for concurrent use; share one, because it
// holds the connections.
type Client struct {
	http      *http.Client
	timeout   time.Duration
	retries   int
	userAgent string
	onRetry   func(Retry)
	outages   outages
	slots     chan struct{} // held by attempts

	pacesMu sync.Mutex
	paces   map[string]*pace // by action

	endpointsMu sync.RWMutex
	endpoints   map[string]*url.URL // parsed before; not to be changed
}

// New checks the options and makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	c := &Client{
		timeout:   o.Timeout,
		retries:   min(o.MaxRetries, maxRetries),
		userAgent: o.UserAgent,
		onRetry:   o.OnRetry,
		slots:     make(chan struct{}, maxInFlight),
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if o.MaxRetries == 0 {
		c.retries = defaultRetries
	}
	if c.userAgent == "" {
		c.userAgent = "AlibabaCloud (" + runtime.GOOS + "; " + runtime.GOARCH + ") alicreds"
	}
	if o.HTTP != nil {
		if len(o.CACertificate) > 0 {
			return nil, errors.New("openapi: set the CA certificate in the HTTP client, or leave the HTTP client out")
		}
		if o.Proxy != "" {
			return nil, errors.New("openapi: set the proxy in the HTTP client, or leave the HTTP client out")
		}
		own := *o.HTTP
		c.http = &own
	} else {
		transport, err := newTransport(o)
		if err != nil {
			return nil, err
		}
		c.http = &http.Client{Transport: transport}
	}
	c.http.Jar = nil
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

func newTransport(o Options) (*http.Transport, error) {
	connect := o.ConnectTimeout
	if connect <= 0 {
		connect = defaultConnectTimeout
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CACertificate) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(o.CACertificate) {
			return nil, errors.New("openapi: the CA certificate contains no PEM certificate")
		}
	}
	proxy := http.ProxyFromEnvironment
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
			return nil, errors.New("openapi: the proxy is not an http, https or socks5 URL")
		}
		proxy = http.ProxyURL(u)
	}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    connect,
		MaxIdleConns:           4 * maxInFlight,
		MaxIdleConnsPerHost:    maxInFlight,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswer,
	}, nil
}

// CloseIdleConnections closes connections that no call uses at the moment.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Request is one API call.
type Request struct {
	Endpoint string // "sts.aliyuncs.com" or "https://host:port"; see CheckEndpoint
	Action   string // "AssumeRole"
	Version  string // "2015-04-01"

	// Fallbacks are endpoints of the same service, tried in turn when there
	// is no answer from Endpoint. An answer, whatever it says, ends the
	// search. An endpoint that could not be reached is tried last for a
	// minute.
	Fallbacks []string

	// Params are the call's own parameters. A signed call carries them in
	// the query of a POST, as Alibaba Cloud's own V3 SDKs do, and in a form
	// body when they are more than 4 KiB as a query; an anonymous one in a form
	// body, because they hold a token.
	Params map[string]string
	Keys   Keys

	// PrivateKey signs in the place of Keys.AccessKeySecret, as
	// GenerateSessionAccessKey wants it; Keys.AccessKeyID is then the id of
	// the public key.
	PrivateKey *rsa.PrivateKey

	// Repeatable says that a second execution does no harm. Only such calls
	// are repeated after a failure that may have taken effect.
	Repeatable bool
}

// Do sends the call and decodes the JSON object of a good answer (HTTP 200)
// into out, which may be nil. It repeats failed attempts as Options.MaxRetries
// and Request.Repeatable allow, with a pause of up to 5 s in between, within
// which it is as long as the service asks for, and never starts a pause that
// would end after the context's deadline. After a call was throttled, all of that
// action queue for as long as that lasts.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	targets, err := c.targets(r)
	if err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	queue := c.pace(r.Action)
	at, failures, doubtful := 0, []error(nil), false
	var refusal error // that the call queues for
	for attempt := 1; ; {
		target := targets[at]
		if err := c.turn(ctx, queue); err != nil {
			switch {
			case refusal != nil && ctx.Err() != nil:
				err = gaveUp(refusal, ctx.Err())
			case ctx.Err() != nil:
				err = &NetworkError{Action: r.Action, Host: target.Host, Sent: doubtful, Err: ctx.Err()}
			case doubtful:
				err = earlierError{err}
			}
			return err
		}
		hint, err := c.attempt(ctx, target, r, out)
		<-c.slots
		pause := wait(attempt, hint)
		throttled := isThrottled(err)
		switch {
		case throttled && c.retries >= 0: // who wants no repetition wants no queue
			queue.refuse(err, pause)
		case !throttled && answered(err):
			queue.grant()
		}
		if err == nil {
			return nil
		}
		if doubtful {
			err = earlierError{err}
		}
		doubtful = Ambiguous(err)
		if ctx.Err() != nil || doubtful && !r.Repeatable {
			return err
		}
		var network *NetworkError
		if errors.As(err, &network) {
			failures = append(failures, err)
			if at++; at < len(targets) {
				continue
			}
			at, err, failures = 0, errors.Join(failures...), nil
		}
		if attempt > c.retries || !retryable(err) {
			return err
		}
		if c.onRetry != nil {
			c.onRetry(Retry{Action: r.Action, Attempt: attempt, Wait: pause, Err: err})
		}
		if throttled {
			refusal = err
			attempt++
			continue // and queue
		}
		if slept, cause := sleep(ctx, pause); cause != nil {
			return gaveUp(err, cause)
		} else if !slept {
			return err
		}
		attempt++
	}
}

// turn returns when an attempt may be made, and then holds a slot.
func (c *Client) turn(ctx context.Context, queue *pace) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		queued, err := queue.wait(ctx)
		if err != nil {
			return err
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if queued || !queue.holdsBack() {
			return nil
		}
		<-c.slots // throttled while the call waited for the slot
	}
}

func (r Request) check() error {
	if identifier(r.Action) == "" || identifier(r.Version) == "" {
		return errors.New("openapi: a request needs an Action and a Version")
	}
	if r.PrivateKey != nil {
		if r.Keys.AccessKeyID == "" || r.Keys.AccessKeySecret != "" || r.Keys.SecurityToken != "" {
			return errors.New("openapi: a request signed by a private key needs the id of the public key and no other keys")
		}
		return nil
	}
	return r.Keys.check()
}

// attempt sends once, with a nonce and date of its own. hint is the pause
// that a refusal asks for.
func (c *Client) attempt(ctx context.Context, target *url.URL, r Request, out any) (hint time.Duration, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	// A transport that reports nothing counts as having sent. net/http may
	// take another connection when it wrote nothing to the first.
	var sent atomic.Bool
	sent.Store(true)
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	failed := func(err error) error {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case limited.Err() != nil:
			err = timeoutError{after: c.timeout}
		default:
			err = withoutURL(err)
		}
		return &NetworkError{Action: r.Action, Host: target.Host, Sent: sent.Load(), Err: err}
	}

	request, err := c.request(traced, target, r)
	if err != nil {
		return 0, err
	}
	res, err := c.http.Do(request)
	if err != nil {
		if !sent.Load() && ctx.Err() == nil {
			c.outages.add(target.Host)
		}
		return 0, failed(err)
	}
	defer res.Body.Close()
	c.outages.remove(target.Host)
	body, err := readAnswer(res)
	switch {
	case err != nil:
		return 0, failed(err)
	case len(body) > maxAnswer:
		return 0, unusable(r.Action, res, nil, tooLarge)
	case res.StatusCode != http.StatusOK:
		return pauseAskedFor(res.Header), refusal(r.Action, res, body)
	}
	return 0, decode(r.Action, res, body, out)
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

const form = "application/x-www-form-urlencoded"

func (c *Client) request(ctx context.Context, target *url.URL, r Request) (*http.Request, error) {
	u := *target
	method, body := http.MethodPost, []byte(nil)
	header := http.Header{
		"Accept":     {"application/json"},
		"User-Agent": {c.userAgent},
	}
	switch {
	case r.PrivateKey != nil:
		query, err := rsaQuery(r)
		if err != nil {
			return nil, err
		}
		method, u.RawQuery = http.MethodGet, query
	case r.Keys.anonymous():
		u.RawQuery = encode(map[string]string{
			"Action": r.Action, "Version": r.Version, "Format": "JSON", "Timestamp": timestamp(), "SignatureNonce": nonce(),
		})
		body = []byte(encode(r.Params))
		header["Content-Type"] = []string{form}
	default:
		if params := encode(r.Params); len(params) <= maxQuery {
			u.RawQuery = params
		} else {
			body = []byte(params)
			header["Content-Type"] = []string{form}
		}
		header["X-Acs-Action"] = []string{r.Action}
		header["X-Acs-Version"] = []string{r.Version}
		header["X-Acs-Date"] = []string{timestamp()}
		header["X-Acs-Signature-Nonce"] = []string{nonce()}
		sign(header, r.Keys, u.Host, u.RawQuery, body)
	}
	request := (&http.Request{
		Method: method, URL: &u, Host: u.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if body != nil {
		request.ContentLength = int64(len(body))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		request.Body, _ = request.GetBody()
	}
	return request, nil
}

func decode(action string, res *http.Response, body []byte, out any) error {
	if out == nil {
		out = &struct{}{}
	}
	object := bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, out); !object || errors.As(err, &syntax) {
		return unusable(action, res, body, "the answer is not a JSON object")
	} else if err != nil {
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
