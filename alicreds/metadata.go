package alicreds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	metadataEndpoint = "http://100.100.100.200"
	metadataAction   = "instance metadata"
	metadataTimeout  = time.Second

	metadataTokenLife   = 21600 * time.Second // the most the service grants
	metadataTokenMargin = time.Minute
	metadataTokenPause  = 5 * time.Minute // until a token that was not answered is asked for again

	metadataPatience = 6 // times the timeout, for everything that one Retrieve asks
)

// metadataPauses are those before a failure that may pass is asked again.
var metadataPauses = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond}

// MetadataOptions of a Metadata. The zero value is the ECS metadata service.
type MetadataOptions struct {
	Endpoint       string        // for tests; default http://100.100.100.200
	ConnectTimeout time.Duration // default 1 s
	Timeout        time.Duration // one request, once connected or not; default 1 s
	DisableIMDSv1  bool          // ask with a token or not at all
}

// Metadata is a client of the ECS metadata service. It keeps the session
// token for its six hours and the name of the instance's role; share one. It
// never goes through a proxy and follows no redirect.
//
// What is not answered in time, cut off, throttled (429) or a failure of the
// service's own (5xx) is asked again after 0.25 s and after another 0.5 s.
//
// The answer to the request for a token does not reach a container whose
// instance has a hop limit of 1 (HttpPutResponseHopLimit). Where the service
// answers without a token, the token is then not asked for during 5 minutes.
type Metadata struct {
	http     *http.Client
	endpoint string
	onlyV2   bool
	patience time.Duration

	mu       sync.Mutex
	token    sealed[string]
	until    time.Time
	silence  error     // why there was no answer to the request for a token
	silent   time.Time // until when it is not asked for
	role     string
	answered bool // there is a metadata service
}

var (
	errSessionToken = errors.New("no IMDSv2 session token")
	errMetadataOff  = errors.New("the metadata service is switched off")
)

// Format prints what a Metadata is and nothing of what it holds.
func (m *Metadata) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Metadata")) }

// NewMetadata checks the options and asks nothing.
func NewMetadata(o MetadataOptions) (*Metadata, error) {
	if o.Endpoint == "" {
		o.Endpoint = metadataEndpoint
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("the metadata endpoint is not an http URL of a host")
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = metadataTimeout
	}
	if o.Timeout <= 0 {
		o.Timeout = metadataTimeout
	}
	return &Metadata{
		endpoint: u.Scheme + "://" + u.Host,
		onlyV2:   o.DisableIMDSv1,
		patience: metadataPatience * max(o.Timeout, o.ConnectTimeout),
		http: &http.Client{
			CheckRedirect: noRedirects,
			Timeout:       max(o.Timeout, o.ConnectTimeout),
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext,
				ResponseHeaderTimeout:  o.Timeout,
				MaxResponseHeaderBytes: maxReply,
				MaxIdleConns:           2,
				IdleConnTimeout:        10 * time.Second,
			},
		},
	}, nil
}

// get reads an item, and asks again where the failure may pass.
func (m *Metadata) get(ctx context.Context, path string) ([]byte, error) {
	for _, pause := range metadataPauses {
		body, err := m.ask(ctx, path)
		if err == nil || !m.mayPass(err) {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
	return m.ask(ctx, path)
}

// ask reads an item, with a token if there is one. A token that was kept and
// is refused is replaced once. A new one that is refused, or an item that
// fails with it, is asked for without a token, unless that is disabled.
//
// 403 for the token and, unless disabled, for the item without one means that
// the service is switched off for the instance.
func (m *Metadata) ask(ctx context.Context, path string) ([]byte, error) {
	for replaced := false; ; replaced = true {
		token, kept, err := m.sessionToken(ctx)
		if err != nil && (ctx.Err() != nil || m.onlyV2 || unreachable(err)) {
			return nil, withoutToken(err)
		}
		if err != nil {
			body, again, err := m.askWithout(ctx, path, kept, err)
			if again && !replaced {
				continue
			}
			return body, err
		}
		body, err := m.request(ctx, http.MethodGet, path, token)
		if err == nil || ctx.Err() != nil {
			return body, err
		}
		if hasStatus(err, http.StatusUnauthorized, http.StatusForbidden) {
			m.forget(token)
			if kept && !replaced {
				continue
			}
		}
		if _, unanswered := errors.AsType[*openapi.NetworkError](err); m.onlyV2 || unanswered || hasStatus(err, http.StatusTooManyRequests) {
			return nil, err
		}
		if body, again := m.request(ctx, http.MethodGet, path, ""); again == nil {
			return body, nil
		}
		return nil, err
	}
}

// askWithout reads an item without the token that noToken tells the fate of. again
// tells that the service wants the token, which was not asked for this time.
func (m *Metadata) askWithout(ctx context.Context, path string, kept bool, noToken error) (body []byte, again bool, err error) {
	_, silent := errors.AsType[*openapi.NetworkError](noToken)
	body, err = m.request(ctx, http.MethodGet, path, "")
	switch refused := hasStatus(err, http.StatusUnauthorized, http.StatusForbidden); {
	case err == nil && silent && !kept:
		m.beSilent(noToken)
	case refused && kept:
		m.beSilent(nil)
		again = true
		err = fmt.Errorf("%w: %w", withoutToken(noToken), err)
	case refused && hasStatus(noToken, http.StatusForbidden):
		err = fmt.Errorf("%w: %w", errMetadataOff, err)
	case refused:
		err = fmt.Errorf("%w: %w", withoutToken(noToken), err)
	case silent && unreachable(err):
		err = noToken // somebody took its connection
	}
	return body, again, err
}

// sessionToken is one of an earlier call if it was kept, and so may the error be.
func (m *Metadata) sessionToken(ctx context.Context) (token string, kept bool, err error) {
	m.mu.Lock()
	known, until, silence, silent := m.token, m.until, m.silence, m.silent
	m.mu.Unlock()
	asked := time.Now()
	switch {
	case known != nil && asked.Before(until):
		return known(), true, nil
	case silence != nil && asked.Before(silent):
		return "", true, silence
	}
	body, err := m.request(ctx, http.MethodPut, "/latest/api/token", "")
	if err != nil {
		return "", false, err
	}
	token = strings.TrimSpace(string(body))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", false, errors.New("the answer is not a token")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token, m.until, m.silence = seal(token), asked.Add(metadataTokenLife-metadataTokenMargin), nil
	return token, false, nil
}

// beSilent remembers that a token is not answered, and forgets it for nil.
func (m *Metadata) beSilent(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silence, m.silent = why, time.Now().Add(metadataTokenPause)
}

// withoutToken is the failure of an item that needs the token.
func withoutToken(err error) error {
	network, unanswered := errors.AsType[*openapi.NetworkError](err)
	switch {
	case unanswered && network.Sent:
		return fmt.Errorf("%w: %w: in a container the answer needs a hop limit of 2 or more, so set the instance's HttpPutResponseHopLimit to 2 (ECS ModifyInstanceMetadataOptions)", errSessionToken, err)
	case hasStatus(err, http.StatusForbidden):
		return fmt.Errorf("%w: %w: %w", errSessionToken, errMetadataOff, err)
	}
	return fmt.Errorf("%w: %w", errSessionToken, err)
}

func (m *Metadata) forget(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.token != nil && m.token() == token {
		m.token = nil
	}
}

func (m *Metadata) request(ctx context.Context, method, path, token string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, m.endpoint+path, nil)
	if err != nil {
		return nil, errors.New(metadataAction + ": the request cannot be made")
	}
	if method == http.MethodPut {
		r.Header.Set("X-aliyun-ecs-metadata-token-ttl-seconds", fmt.Sprintf("%.0f", metadataTokenLife.Seconds()))
	}
	if token != "" {
		r.Header.Set("X-aliyun-ecs-metadata-token", token)
	}
	body, err := send(m.http, r, metadataAction)
	if _, unanswered := errors.AsType[*openapi.NetworkError](err); !unanswered {
		m.mu.Lock()
		m.answered = true
		m.mu.Unlock()
	}
	return body, err
}

// roleName is the RAM role attached to the instance. kept tells that it is from an
// earlier call.
func (m *Metadata) roleName(ctx context.Context) (role string, kept bool, err error) {
	m.mu.Lock()
	role = m.role
	m.mu.Unlock()
	if role != "" {
		return role, true, nil
	}
	body, err := m.get(ctx, securityCredentials)
	if err != nil {
		return "", false, err
	}
	role = strings.TrimSpace(string(body))
	if !roleName(role) {
		return "", false, fmt.Errorf("%s: the name of the instance's role is not one", metadataAction)
	}
	m.mu.Lock()
	m.role = role
	m.mu.Unlock()
	return role, false, nil
}

func (m *Metadata) forgetRole() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.role = ""
}

// absent tells that there was no connection, and never was: not on ECS, most likely.
func (m *Metadata) absent(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return unreachable(err) && !m.answered
}

// mayPass tells that the same request may be answered a moment later.
func (m *Metadata) mayPass(err error) bool {
	if _, unanswered := errors.AsType[*openapi.NetworkError](err); unanswered {
		return !m.absent(err)
	}
	refused, ok := errors.AsType[*openapi.Error](err)
	return ok && refused.Temporary()
}

// unreachable tells that the request was not sent.
func unreachable(err error) bool {
	network, ok := errors.AsType[*openapi.NetworkError](err)
	return ok && !network.Sent
}

func hasStatus(err error, statuses ...int) bool {
	refused, ok := errors.AsType[*openapi.Error](err)
	return ok && slices.Contains(statuses, refused.Status)
}
