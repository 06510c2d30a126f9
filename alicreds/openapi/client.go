// Package openapi signs and sends Alibaba Cloud's RPC-style API calls.
//
// A [Client] is made once and shared, because it holds the connections. [Client.Do]
// makes one call:
//
//	client, err := openapi.New(openapi.Options{})
//	if err != nil {
//		return err
//	}
//	var answer struct{ User struct{ UserName string } }
//	err = client.Do(ctx, openapi.Request{
//		Endpoint:   "ram.aliyuncs.com",
//		Action:     "GetUser",
//		Version:    "2015-05-01",
//		Params:     map[string]string{"UserName": "alice"},
//		Keys:       keys, // Credentials.Keys of package alicreds
//		Repeatable: true, // to read twice does no harm
//	}, &answer)
//
// # What it does by itself
//
// A Client bounds every wait and every answer (64 KiB), follows no redirect, and
// repeats a failed call up to three times, but only where that cannot do harm:
// see Request.Repeatable. It slows down to the rate that a service grants. Its
// connections go through the proxy of the environment; [Options] have another.
//
// # Errors
//
// An [*Error] is the service's refusal, or an answer that cannot be used. A
// [*NetworkError] means that no answer came. Neither holds keys, tokens,
// signatures, bodies or URLs. Any other error of Do is of the Request itself, and
// nothing was sent. [Ambiguous] tells whether a call that failed may have taken
// effect.
//
// # Which products
//
// STS, RAM and Resource Management, and products that answer as they do: with
// HTTP 200, a RequestId and no Code when they have done what was asked, and with
// another status when they refuse. A product that answers every call with HTTP
// 200 and a Code, if only "OK", such as the Short Message Service and the Cloud
// Call Center, always ends in an Error: such an answer is not told from one that
// a gateway on the way has made up. ROA-style calls (a path for each resource)
// are not made at all.
//
// # Signatures
//
// Calls are signed with ACS3-HMAC-SHA256, or with SHA256withRSA where a Request
// has a private key. The first is held to the vector that Alibaba Cloud publishes
// for it.
package openapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"
)

const (
	defaultConnectTimeout = 5 * time.Second
	defaultTimeout        = 10 * time.Second
	maxAnswer             = 64 << 10

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

	UserAgent string        // default "AlibabaCloud (<os>; <arch>) alicreds"
	OnRetry   func(Retry)   // told about each repetition; must not block
	OnAttempt func(Attempt) // told how each attempt ended; must not block
}

// Client sends calls. It is safe for concurrent use; share one, because it
// holds the connections.
type Client struct {
	http      *http.Client
	timeout   time.Duration
	retries   int
	userAgent string
	onRetry   func(Retry)
	onAttempt func(Attempt)
	outages   *outages
	pools     pools

	queuesMu sync.Mutex
	queues   map[string]*queue // by action
}

// New checks the options and makes a Client. It sends nothing. It fails for a
// proxy that is no URL, certificates that are no PEM, and either beside HTTP.
func New(o Options) (*Client, error) {
	c := &Client{
		timeout:   o.Timeout,
		retries:   min(o.MaxRetries, maxRetries),
		userAgent: o.UserAgent,
		onRetry:   o.OnRetry,
		onAttempt: o.OnAttempt,
		outages:   &outages{},
		queues:    map[string]*queue{},
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
		OnProxyConnectResponse: ProxyAnswer,
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    connect,
		MaxIdleConns:           4 * maxInFlight,
		MaxIdleConnsPerHost:    maxInFlight,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswer,
	}, nil
}

// Apart returns a Client with the settings and the connections of c, whose calls
// wait behind none of c's: it has places and queues of its own. Services limit the
// calls of an account, so it is for the credentials of another one.
func (c *Client) Apart() *Client {
	return &Client{
		http: c.http, timeout: c.timeout, retries: c.retries, userAgent: c.userAgent, onRetry: c.onRetry, onAttempt: c.onAttempt,
		outages: c.outages, queues: map[string]*queue{},
	}
}

// CloseIdleConnections closes connections that no call uses at the moment.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Do sends the call and decodes the JSON object of a good answer (HTTP 200)
// into out, which may be nil. It repeats failed attempts as Options.MaxRetries
// and Request.Repeatable allow, with a pause of up to 5 s in between, within
// which it is as long as the service asks for, and never starts a pause that
// would end after the context's deadline. After a call was throttled, all of that
// action queue for as long as that lasts. 64 attempts at one service are under way
// at a time; others wait. [Urgent] calls have some of that to themselves.
//
// A failure is an [*Error] or a [*NetworkError], one for each endpoint, joined,
// where there are Fallbacks; errors.As finds them. Where the context ended, its error
// is wrapped as well. Another error names what is wrong with the request, which
// was then not sent.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	targets, err := c.targets(r)
	if err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return (&call{
		Client: c, Request: r, out: out, targets: targets,
		queue: c.queue(r.Action), pool: c.pools.pool(service{r.Endpoint, r.Version}), urgent: isUrgent(ctx),
	}).repeat(ctx)
}

// call is one Do. Each of its concerns is a layer: repeat decides about
// another attempt, inTurn waits for the service's rate and for a place, reach
// goes over the endpoints, and attempt sends to one of them.
type call struct {
	*Client
	Request
	out     any
	targets []*url.URL // the next to be tried is the first
	queue   *queue
	pool    *pool
	urgent  bool
}
