package alicreds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	typeCredentialsURI = "credentials_uri"

	defaultConnectTimeout = 5 * time.Second
	defaultTimeout        = 10 * time.Second
)

// CredentialsURIOptions of a CredentialsURI. The zero value is useful.
type CredentialsURIOptions struct {
	ConnectTimeout time.Duration // default 5 s
	Timeout        time.Duration // the whole request; default 10 s
	Proxy          string        // URL; default: the proxy of the environment

	// RefuseMetadata refuses to connect to link-local addresses and to the
	// metadata services of Alibaba Cloud and AWS, whatever name leads there.
	// NewCredentialsURI refuses a URI that has such an address in it.
	// It is for URIs that somebody else chose. No proxy is used then, because
	// it would connect in our place.
	RefuseMetadata bool
}

// CredentialsURI reads temporary keys from a URI, such as one of a helper on
// the same machine. It is the type credentials_uri. The reply is
//
//	{"Code": "Success", "AccessKeyId": "...", "AccessKeySecret": "...",
//	 "SecurityToken": "...", "Expiration": "2006-01-02T15:04:05Z"}
//
// with status 200, of up to 64 KiB; Code may be left out, and Expiration where
// nobody knows it; other members are ignored, and redirects are not followed.
type CredentialsURI struct {
	uri  sealed[url.URL] // path and query may be a secret
	http *http.Client
}

// NewCredentialsURI wants an http or https URL without user name. It
// connects to nothing.
func NewCredentialsURI(uri string, o CredentialsURIOptions) (CredentialsURI, error) {
	if uri == "" {
		return CredentialsURI{}, failed(typeCredentialsURI, "the credentials URI is empty")
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return CredentialsURI{}, failed(typeCredentialsURI, "the credentials URI is not an http or https URL without user name")
	}
	proxy, err := proxyOf(o.Proxy)
	switch {
	case err != nil:
		return CredentialsURI{}, &Error{Source: typeCredentialsURI, Err: err}
	case o.RefuseMetadata && o.Proxy != "":
		return CredentialsURI{}, failed(typeCredentialsURI, "metadata addresses cannot be refused behind a proxy")
	case o.RefuseMetadata:
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && isMetadata(addr) {
			return CredentialsURI{}, failed(typeCredentialsURI, "%s: %w, because what they answer is for the machine alone: "+
				"the type ecs_ram_role gives the keys of its RAM role", addr, errMetadataAddress)
		}
		proxy = nil
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout}
	if o.RefuseMetadata {
		dialer.Control = refuseMetadata
	}
	return CredentialsURI{
		uri: seal(*u),
		http: &http.Client{
			CheckRedirect: noRedirects,
			Timeout:       o.Timeout,
			Transport: &http.Transport{
				Proxy:                  proxy,
				OnProxyConnectResponse: openapi.ProxyAnswer,
				DialContext:            dialer.DialContext,
				TLSHandshakeTimeout:    o.ConnectTimeout,
				MaxResponseHeaderBytes: maxReply,
				DisableKeepAlives:      true, // asked once an hour or so
			},
		},
	}, nil
}

// proxyOf is the proxy of the environment when none is given.
func proxyOf(proxy string) (func(*http.Request) (*url.URL, error), error) {
	if proxy == "" {
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		return nil, errors.New("the proxy is not an http, https or socks5 URL")
	}
	return http.ProxyURL(u), nil
}

var errMetadataAddress = errors.New("link-local and metadata addresses are refused")

// refuseMetadata sees the address a name was resolved to, right before the
// connection is made, so that no answer of a name server gets around it.
func refuseMetadata(_, address string, _ syscall.RawConn) error {
	port, err := netip.ParseAddrPort(address)
	if err != nil {
		return errMetadataAddress
	}
	if isMetadata(port.Addr()) {
		return errMetadataAddress
	}
	return nil
}

func isMetadata(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() || addr.IsUnspecified() ||
		addr == netip.AddrFrom4([4]byte{100, 100, 100, 200}) || addr == netip.MustParseAddr("fd00:ec2::254")
}

// Retrieve asks the URI.
func (p CredentialsURI) Retrieve(ctx context.Context) (Credentials, error) {
	if p.uri == nil {
		return Credentials{}, failed(typeCredentialsURI, "%w: it has no URI", ErrUnavailable)
	}
	u := p.uri()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Credentials{}, failed(typeCredentialsURI, "%s: the request cannot be made", u.Host)
	}
	body, err := send(p.http, r, u.Host)
	if err != nil {
		var network *openapi.NetworkError
		if errors.As(err, &network) && errors.Is(err, errMetadataAddress) {
			err = errMetadataAddress
		}
		return Credentials{}, &Error{Source: typeCredentialsURI, Err: err}
	}
	c, err := readCoded(body, false)
	if err != nil {
		return Credentials{}, &Error{Source: typeCredentialsURI, Err: fmt.Errorf("%s: %w", u.Host, err)}
	}
	c.Source = typeCredentialsURI
	return c, nil
}
