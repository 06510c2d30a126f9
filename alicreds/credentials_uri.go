package alicreds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
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
	// metadata services of clouds, whatever name or IPv6 form leads there.
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

// isMetadata tells whether the address leads to a service that hands out the keys of
// the machine, or that only the machine itself is meant to reach.
func isMetadata(addr netip.Addr) bool {
	addr = addr.WithZone("")
	refused := func(addr netip.Addr) bool {
		return addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() || addr.IsInterfaceLocalMulticast() || addr.IsUnspecified() ||
			slices.Contains(metadataAddresses, addr.String())
	}
	return refused(addr) || addr != netip.IPv6Loopback() && slices.ContainsFunc(embeddedIPv4(addr), refused)
}

// metadataAddresses are those of clouds that are not link-local.
var metadataAddresses = []string{
	"100.100.100.200", // Alibaba Cloud
	"fd00:ec2::254",   // AWS
	"168.63.129.16",   // Azure
	"192.0.0.192",     // Oracle
	"fd20:ce::254",    // Google
}

// embeddedIPv4 are the IPv4 addresses that the kernel, a translator or a tunnel may
// make of an IPv6 one.
func embeddedIPv4(addr netip.Addr) (embedded []netip.Addr) {
	if !addr.Is6() {
		return nil
	}
	b := addr.As16()
	for _, form := range []struct {
		prefix string
		at     [4]int // of its bytes
		xor    byte
	}{
		{"::/96", [4]int{12, 13, 14, 15}, 0},           // IPv4-compatible
		{"::ffff:0:0:0/96", [4]int{12, 13, 14, 15}, 0}, // IPv4-translated
		{"64:ff9b::/96", [4]int{12, 13, 14, 15}, 0},    // NAT64, RFC 6052
		{"64:ff9b:1::/48", [4]int{12, 13, 14, 15}, 0},  // RFC 8215
		{"64:ff9b:1::/48", [4]int{6, 7, 9, 10}, 0},     // the same, by RFC 6052 for this length,
		{"64:ff9b:1::/48", [4]int{7, 9, 10, 11}, 0},    // for a /56 in it,
		{"64:ff9b:1::/48", [4]int{9, 10, 11, 12}, 0},   // and for a /64
		{"2002::/16", [4]int{2, 3, 4, 5}, 0},           // 6to4
		{"2001::/32", [4]int{4, 5, 6, 7}, 0},           // Teredo: the server
		{"2001::/32", [4]int{12, 13, 14, 15}, 0xff},    // and the client
	} {
		if netip.MustParsePrefix(form.prefix).Contains(addr) {
			var v4 [4]byte
			for n, at := range form.at {
				v4[n] = b[at] ^ form.xor
			}
			embedded = append(embedded, netip.AddrFrom4(v4))
		}
	}
	if addr.Is4In6() {
		embedded = append(embedded, addr.Unmap())
	}
	return embedded
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
