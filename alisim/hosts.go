package alisim

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Hosts of the cloud that are not below aliyuncs.com, and the one that the issuers of the simulator share.
const (
	metadataHost  = "100.100.100.200" // of the ECS metadata service, HTTP only
	oauthHostCN   = "oauth.aliyun.com"
	oauthHostIntl = "oauth.alibabacloud.com"
	ssoDomain     = ".alibabacloudsso.com"
	issuerHost    = "oidc-ack-alisim.oss-cn-hangzhou.aliyuncs.com" // where ACK keeps the issuers of its clusters
)

// apiHost says whether a host name is one of the RPC style APIs, or an issuer.
func apiHost(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), ".aliyuncs.com")
}

// cloudHost says whether alisim stands in for a host name over TLS.
func cloudHost(name string) bool {
	name = strings.ToLower(name)
	return apiHost(name) || name == oauthHostCN || name == oauthHostIntl || strings.HasSuffix(name, ssoDomain)
}

// serveCloud is the door behind TLS. The services share it: host names tell them apart, and under a loopback address,
// where there is no name, the path does.
func (s *Server) serveCloud(w http.ResponseWriter, r *http.Request) {
	if len(r.Method)+len(r.URL.RequestURI())+len("  HTTP/1.1") > maxRequestLine {
		s.refuseLongLine(w, r)
		return
	}
	name := hostOf(r.Host)
	loopback := !cloudHost(name)
	path := r.URL.Path
	switch {
	case name == issuerHost, loopback && strings.HasPrefix(path, "/oidc/"):
		s.serveIssuer(w, r)
	case name == oauthHostCN, name == oauthHostIntl, loopback && strings.HasPrefix(path, "/v1/"):
		s.serveOAuth(w, r)
	case strings.HasSuffix(name, ssoDomain),
		loopback && ssoPages()[path].action != "":
		s.serveCloudSSO(w, r)
	default:
		s.serveGateway(w, r)
	}
}

// refuseLongLine answers as a web server does that reads no such line: without a code of the cloud.
func (s *Server) refuseLongLine(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(r, "", r.Header.Get("X-Acs-Action"))
	c.Status, c.Code = http.StatusRequestURITooLong, http.StatusText(http.StatusRequestURITooLong)
	s.record(c)
	page := "<html><head><title>414 Request-URI Too Large</title></head><body><h1>414 Request-URI Too Large</h1></body></html>"
	answer{status: c.Status, header: http.Header{"Content-Type": {"text/html"}}, body: []byte(page)}.write(w)
}

// doorOf finds who answers a URL in process; nil means nobody.
func (s *Server) doorOf(u *url.URL) http.Handler {
	origin := u.Scheme + "://" + u.Host
	switch {
	case cloudHost(u.Hostname()), origin == s.URL:
		return s.door
	case u.Hostname() == metadataHost, origin == s.IMDSURL:
		return http.HandlerFunc(s.serveMetadata)
	case origin == s.CredentialsURL:
		return http.HandlerFunc(s.serveCredentialsURI)
	}
	return nil
}

// dialAddress is where a connection to an address of the cloud really goes; false means that it must not be made.
func (s *Server) dialAddress(addr string) (string, bool) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false
	}
	if cloudHost(host) {
		return strings.TrimPrefix(s.URL, "https://"), true
	}
	if host == metadataHost {
		return strings.TrimPrefix(s.IMDSURL, "http://"), true
	}
	ip := net.ParseIP(host)
	return addr, host == "localhost" || ip != nil && ip.IsLoopback()
}
