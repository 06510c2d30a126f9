// Package alisim is a simulator of Alibaba Cloud for tests: STS, RAM and Resource Management behind the gateway that
// all RPC style APIs share, and everything else that hands out keys, as strict as the documents allow. It verifies
// signatures (V1: HMAC-SHA1 and SHA256withRSA; V3: ACS3-HMAC-SHA256), nonces and clocks, evaluates identity, trust and
// session policies, enforces quotas, name rules and delete conflicts, and lets every token die when its life is over.
// It is not for production, keeps nothing on disk and listens on loopback only.
//
// # In a test
//
//	sim, err := alisim.Start(alisim.Options{})
//	if err != nil {
//		t.Fatal(err)
//	}
//	defer sim.Close()
//	client := sim.Client() // an *http.Client for which https://sts.aliyuncs.com is the simulator
//
// DefaultSeed describes what exists at the start; DefaultAccessKeyID and DefaultAccessKeySecret are the key of an
// administrator. What a test did is read back with Journal and Inventory. Things go wrong with AddFault:
//
//	sim.AddFault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultApplyThenDrop, Count: 1})
//
// A test that wants to stop the world between two calls holds one of them, waits until it is held, does what it must
// (kill the client, look around) and releases it:
//
//	sim.AddFault(alisim.Fault{Action: "AttachPolicyToUser", Kind: alisim.FaultHold, Count: 1})
//	call, err := sim.WaitFor(ctx, func(c alisim.Call) bool { return c.Held })
//	sim.Release()
//
// A call that is held before its effect, and whose client hangs up meanwhile, never takes effect.
//
// # Where keys come from
//
// SourcesSeed puts something behind every other door that hands out keys: the ECS metadata service at IMDSURL, a
// credentials URI at CredentialsURL, CloudSSO and OAuth at URL and their own host names, and AssumeRoleWithOIDC with an
// Issuer that signs tokens, rotates keys and misbehaves on request. All of them hand out sessions of roles in the
// store, so the keys work at the gateway, and all of them know faults, such as answers that lack a field:
//
//	sim, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed()})
//	issuer, err := sim.Issuer(alisim.DefaultIssuerName)
//	token, err := issuer.Sign(alisim.IdentityToken{})
//	sim.AddFault(alisim.Fault{Action: "IMDS.Credentials", Kind: alisim.FaultMalform, Malform: "remove:Expiration"})
//
// # Time
//
// Advance moves the simulator's clock: tokens age, acs:CurrentTime passes, delays elapse. The window of signatures stays
// on the machine's clock, because that is what clients sign with; Settings.ClockSkew makes the gateway's clock wrong.
// Inside a testing/synctest bubble use Transport, which calls the simulator without a socket and therefore on the
// bubble's clock:
//
//	sim, err := alisim.Start(alisim.Options{NoListen: true})
//	client := &http.Client{Transport: sim.Transport()}
//
// # Other processes
//
// Any process reaches the simulator through ProxyURL, an HTTP CONNECT proxy (HTTPS_PROXY), when it trusts CACertPEM
// (SSL_CERT_FILE); the control API at ControlURL does for it what the methods of Server do in Go.
package alisim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is returned by what waits for a server that is closed.
var ErrClosed = errors.New("alisim: server closed")

// Options of Start. The zero value serves DefaultSeed on free ports of 127.0.0.1.
type Options struct {
	Addr        string       // host:port of the cloud (HTTPS); default 127.0.0.1:0. Must be a loopback address
	ControlAddr string       // host:port of the control API (HTTP); default 127.0.0.1:0. Must be a loopback address
	ProxyAddr   string       // host:port of the CONNECT proxy (HTTP); default 127.0.0.1:0. Must be a loopback address
	IMDSAddr    string       // host:port of the ECS metadata service (HTTP); default 127.0.0.1:0. Must be a loopback address
	URIAddr     string       // host:port of the credentials URI (HTTP); default 127.0.0.1:0. Must be a loopback address
	Seed        Seed         // what exists at the start and after Reset; DefaultSeed if Accounts is nil
	Settings    *Settings    // nil: DefaultSettings
	JournalSize int          // calls that the journal keeps; default 100,000
	Log         *slog.Logger // one line per call, without parameters; nil: none
	NoListen    bool         // open no port: only Transport reaches the simulator
	// RTT puts a Relay with that round trip in front of the cloud: URL, ProxyURL and Client then lead through it.
	RTT time.Duration
}

// Server is a running simulator. Its methods may be called from any goroutine.
type Server struct {
	URL        string // of the cloud: https://127.0.0.1:port stands for every host below aliyuncs.com
	ControlURL string // of the control API
	ProxyURL   string // of the CONNECT proxy
	// IMDSURL is where the ECS metadata service is; http://100.100.100.200 without ports.
	IMDSURL string
	// CredentialsURL is where the paths of the credentials URIs are; http://localhost without ports.
	CredentialsURL string

	options  Options
	settings Settings // the ones to go back to
	store    *store
	actions  map[actionKey]*action
	versions map[string]bool // versions of any API
	nonces   nonces
	limits   limits
	faults   faults
	journal  journal
	log      *slog.Logger

	offset      atomic.Int64 // of the simulator's clock from the machine's, in nanoseconds
	connections atomic.Int64

	ca        func() (*authority, error) // made once, on first use
	door      http.Handler               // the cloud
	done      chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup
	closers   []func()

	transportsMu sync.Mutex
	transports   []*http.Transport

	issuersMu    sync.Mutex
	issuers      map[string]*Issuer
	issuerClient func() *http.Client // made once, on first use
}

type actionKey struct{ version, name string }

// Start starts a simulator. The caller must Close it.
func Start(o Options) (*Server, error) {
	if o.Seed.Accounts == nil {
		o.Seed = DefaultSeed()
	}
	settings := DefaultSettings()
	if o.Settings != nil {
		settings = o.Settings.clone()
	}
	if err := settings.validate(); err != nil {
		return nil, err
	}
	if o.JournalSize <= 0 {
		o.JournalSize = 100_000
	}
	s := &Server{
		options:  o,
		settings: settings,
		store:    newStore(settings),
		actions:  map[actionKey]*action{},
		versions: map[string]bool{},
		journal:  journal{limit: o.JournalSize},
		log:      o.Log,
		ca:       sync.OnceValues(newAuthority),
		done:     make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, table := range [][]action{stsActions(), oidcActions(), sessionKeyActions(), ramActions(), resourceManagerActions(), identityManagementActions(), actionTrailActions(), productActions()} {
		for _, a := range table {
			s.actions[actionKey{a.version, a.name}] = &a
			s.versions[a.version] = true
		}
	}
	s.door = http.HandlerFunc(s.serveCloud)
	s.issuerClient = sync.OnceValue(s.Client)
	if err := s.store.plant(o.Seed, s.Now()); err != nil {
		return nil, err
	}
	if o.NoListen {
		s.IMDSURL, s.CredentialsURL = "http://"+metadataHost, "http://localhost"
		return s, nil
	}
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	ca, err := s.ca()
	if err != nil {
		return err
	}
	cloud, err := listenLoopback(s.options.Addr)
	if err != nil {
		return err
	}
	address := cloud.Addr().String()
	s.serve(tls.NewListener(cloud, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: ca.certificate,
	}), s.door)
	if s.options.RTT > 0 {
		relay, err := StartRelay(address, s.options.RTT)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, relay.Close)
		address = relay.Addr()
	}
	s.URL = "https://" + address

	control, err := listenLoopback(s.options.ControlAddr)
	if err != nil {
		return err
	}
	s.ControlURL = "http://" + control.Addr().String()
	s.serve(control, s.controlHandler())

	metadata, err := listenLoopback(s.options.IMDSAddr)
	if err != nil {
		return err
	}
	s.IMDSURL = "http://" + metadata.Addr().String()
	s.serve(metadata, http.HandlerFunc(s.serveMetadata))

	uri, err := listenLoopback(s.options.URIAddr)
	if err != nil {
		return err
	}
	s.CredentialsURL = "http://" + uri.Addr().String()
	s.serve(uri, http.HandlerFunc(s.serveCredentialsURI))

	proxy, err := listenLoopback(s.options.ProxyAddr)
	if err != nil {
		return err
	}
	s.ProxyURL = "http://" + proxy.Addr().String()
	connect := newConnectProxy(address)
	s.closers = append(s.closers, connect.close)
	s.serve(proxy, connect)
	return nil
}

// listenLoopback refuses every address that another machine could reach.
func listenLoopback(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("alisim: address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("alisim: address %q is not a loopback address: the simulator must not be reachable from elsewhere", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("alisim: listen: %w", err)
	}
	return l, nil
}

// serve runs an HTTP server on the listener until Close.
func (s *Server) serve(l net.Listener, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.running.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.running.Done()
			}
		},
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, s.connections.Add(1))
		},
	}
	s.running.Go(func() { _ = server.Serve(l) }) // ends with ErrServerClosed
	s.closers = append(s.closers, func() { _ = server.Close() })
}

type connectionKey struct{}

func connectionOf(ctx context.Context) int64 {
	n, _ := ctx.Value(connectionKey{}).(int64)
	return n
}

// Close stops the simulator: it closes every connection and returns when all its goroutines have ended. Closing twice
// is harmless.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.done)
		for _, c := range s.closers {
			c()
		}
		s.transportsMu.Lock()
		for _, t := range s.transports {
			t.CloseIdleConnections()
		}
		s.transportsMu.Unlock()
		s.running.Wait()
	})
}

// CACertPEM returns the certificate of the authority that signs for the simulator, in PEM.
func (s *Server) CACertPEM() []byte {
	ca, err := s.ca()
	if err != nil {
		return nil // no randomness: Start has failed for the same reason, or nothing listens
	}
	return bytes.Clone(ca.pem)
}

// CertPool returns a pool that holds the authority's certificate and nothing else.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CACertPEM())
	return pool
}

// Client returns a new HTTP client that trusts the simulator, for which every host of the cloud is the simulator (those
// below aliyuncs.com and alibabacloudsso.com, oauth.aliyun.com, oauth.alibabacloud.com, and 100.100.100.200 without
// TLS), and which reaches nothing else but loopback addresses. It follows no redirects. Without ports (NoListen) it uses Transport.
func (s *Server) Client() *http.Client {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if s.options.NoListen {
		client.Transport = s.Transport()
		return client
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.CertPool()},
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			target, ok := s.dialAddress(addr)
			if !ok {
				return nil, fmt.Errorf("alisim: %s is neither a host of the cloud nor a loopback address", addr)
			}
			return dialer.DialContext(ctx, network, target)
		},
	}
	s.transportsMu.Lock()
	s.transports = append(s.transports, transport)
	s.transportsMu.Unlock()
	client.Transport = transport
	return client
}

// Now returns the simulator's time.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }

// Advance moves the simulator's clock forward, or back by a negative d. It does not move the clock of the client: to an
// alicreds.Cache, for one, a session that has ended here is still fresh, and the next call with it is refused. A test
// of what a client does when time passes runs in a testing/synctest bubble, with Transport.
func (s *Server) Advance(d time.Duration) { s.offset.Add(int64(d)) }

// SetNow moves the simulator's clock to a moment.
func (s *Server) SetNow(t time.Time) { s.offset.Store(int64(time.Until(t))) }

// gatewayClock is the clock that timestamps of signatures are held against.
func (s *Server) gatewayClock() time.Time {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return time.Now().Add(s.store.settings.ClockSkew)
}

// rateLimits returns the map itself: Configure replaces it and never changes one.
func (s *Server) rateLimits() map[string]int {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return s.store.settings.RateLimits
}

// Connections returns how many TCP connections the simulator has accepted so far, on all its ports.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Settings returns the knobs as they are now.
func (s *Server) Settings() Settings {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return s.store.settings.clone()
}

// Configure replaces the knobs. Reset brings back those of Start.
func (s *Server) Configure(settings Settings) error {
	if err := settings.validate(); err != nil {
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.settings = settings.clone()
	return nil
}

// Seed adds to what exists. Names must be new; if anything is wrong nothing is added.
func (s *Server) Seed(seed Seed) error { return s.store.plant(seed, s.Now()) }

// Reset makes everything as it was after Start: what exists, settings, clock, latency; journal, faults and nonces are
// empty. Sessions issued before are unknown afterwards. Held calls get no answer.
func (s *Server) Reset() {
	s.offset.Store(0)
	s.faults.clear()
	s.faults.setLatency(0)
	s.faults.release(false)
	fresh := newStore(s.settings)
	_ = fresh.plant(s.options.Seed, s.Now()) // it was good enough for Start
	s.store.replace(fresh)
	s.nonces.forget()
	s.trustIssuers()
	s.journal.forget()
}

// replace takes over the contents of another store that nobody else uses.
func (st *store) replace(fresh *store) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.settings, st.accounts, st.keys, st.roles = fresh.settings, fresh.accounts, fresh.keys, fresh.roles
	st.sessions, st.purgeAt, st.master, st.system = fresh.sessions, fresh.purgeAt, fresh.master, fresh.system
	st.secrets, st.sources = fresh.secrets, fresh.sources
}

// Transport returns a RoundTripper that calls the simulator in process: no socket, no TLS, and the caller's own clock,
// also inside a testing/synctest bubble. It serves the hosts that Client names and the simulator's own URLs, nothing else.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip answers as the server would over TLS. A connection that a fault kills is an io.ErrUnexpectedEOF.
func (t transport) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	door := t.server.doorOf(r.URL)
	if door == nil {
		return nil, fmt.Errorf("alisim: %s is not a host of the cloud", r.URL.Hostname())
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	select {
	case <-t.server.done:
		return nil, ErrClosed
	default:
	}
	in := r.Clone(r.Context())
	in.Header = maps.Clone(r.Header)
	if in.Header == nil {
		in.Header = http.Header{}
	}
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	in.RemoteAddr = "127.0.0.1:0"
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	w := &recorder{header: http.Header{}}
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler: //nolint:errorlint // the sentinel itself is what net/http panics with
			if response, err = nil, r.Context().Err(); err == nil {
				err = io.ErrUnexpectedEOF
			}
		default:
			panic(v)
		}
	}()
	door.ServeHTTP(w, in)
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(bytes.NewReader(w.body.Bytes())),
		ContentLength: int64(w.body.Len()),
		Request:       r,
		TLS:           in.TLS,
	}, nil
}

// recorder is the ResponseWriter of Transport.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
