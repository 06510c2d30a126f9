package openapi

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CheckEndpoint tells whether Do would accept the endpoint: a host name
// with an optional port, or an https URL of one. Plain http is accepted
// for a loopback host only. User info, a path, a query or a fragment is
// refused.
func CheckEndpoint(endpoint string) error {
	_, err := parseEndpoint(endpoint)
	return err
}

func parseEndpoint(endpoint string) (*url.URL, error) {
	if endpoint == "" {
		return nil, fmt.Errorf("openapi: the endpoint is empty")
	}
	raw := endpoint
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser quotes its input, which may hold a password.
		return nil, fmt.Errorf("openapi: the endpoint is neither a host name nor a URL")
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("openapi: the endpoint must not contain a user name or password")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "", strings.HasSuffix(raw, "#"):
		return nil, fmt.Errorf("openapi: the endpoint must be a host only, without path, query or fragment")
	case !validHost(u.Hostname()):
		return nil, fmt.Errorf("openapi: the endpoint has no valid host name")
	case u.Port() != "" && !validPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		return nil, fmt.Errorf("openapi: the endpoint has no valid port")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("openapi: the endpoint %s must be reached by https; http is for loopback addresses only", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("openapi: the endpoint must be reached by https")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}, nil
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return !strings.Contains(host, "%") // no IPv6 zone
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= 65535
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
