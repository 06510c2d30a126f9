package alicreds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
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
)

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
type Metadata struct {
	http     *http.Client
	endpoint string
	onlyV2   bool

	mu    sync.Mutex
	token sealed[string]
	until time.Time
	role  string
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

// get reads an item, with a token if there is one. A token that was kept and
// is refused is replaced once. A new one that is refused, or an item that
// fails with it, is asked for without a token, unless that is disabled.
//
// 403 for the token and, unless disabled, for the item without one means that
// the service is switched off for the instance.
func (m *Metadata) get(ctx context.Context, path string) ([]byte, error) {
	for replaced := false; ; replaced = true {
		token, kept, err := m.sessionToken(ctx)
		if err != nil {
			return nil, err
		}
		body, err := m.request(ctx, http.MethodGet, path, token)
		if err == nil || ctx.Err() != nil {
			return body, err
		}
		var refused *openapi.Error
		if token == "" && errors.As(err, &refused) && refused.Status == http.StatusForbidden {
			return nil, fmt.Errorf("%w: %w", errMetadataOff, err)
		}
		if token == "" {
			return nil, err
		}
		if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
			m.forget(token)
			if kept && !replaced {
				continue
			}
		}
		if m.onlyV2 || unreachable(err) {
			return nil, err
		}
		if body, again := m.request(ctx, http.MethodGet, path, ""); again == nil {
			return body, nil
		}
		return nil, err
	}
}

// sessionToken is "" when the service has none and IMDSv1 may be used. kept
// tells that it is from an earlier call.
func (m *Metadata) sessionToken(ctx context.Context) (token string, kept bool, err error) {
	m.mu.Lock()
	known, until := m.token, m.until
	m.mu.Unlock()
	if known != nil && time.Now().Before(until) {
		return known(), true, nil
	}
	asked := time.Now()
	body, err := m.request(ctx, http.MethodPut, "/latest/api/token", "")
	token = strings.TrimSpace(string(body))
	if err == nil && (token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })) {
		token, err = "", errors.New("the answer is not a token")
	}
	switch {
	case err == nil:
		m.mu.Lock()
		m.token, m.until = seal(token), asked.Add(metadataTokenLife-metadataTokenMargin)
		m.mu.Unlock()
		return token, false, nil
	case ctx.Err() != nil || m.onlyV2 || unreachable(err):
		var refused *openapi.Error
		if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
			err = fmt.Errorf("%w: %w", errMetadataOff, err)
		}
		return "", false, fmt.Errorf("%w: %w", errSessionToken, err)
	default:
		return "", false, nil
	}
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
	return send(m.http, r, metadataAction)
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

// unreachable tells that there was no connection: not on ECS, most likely.
func unreachable(err error) bool {
	var network *openapi.NetworkError
	return errors.As(err, &network) && !network.Sent
}
