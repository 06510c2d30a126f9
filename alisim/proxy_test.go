package alisim

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// proxyClient is a client as any other process would build it from ProxyURL and CACertPEM.
func proxyClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	proxy, err := url.Parse(s.ProxyURL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: s.CertPool()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := proxyClient(t, s)
	for _, host := range []string{"sts.aliyuncs.com", "sts.cn-beijing.aliyuncs.com", "sts-vpc.cn-beijing.aliyuncs.com"} {
		r := v3(t.Context(), vaultKeys, "GetCallerIdentity", nil)
		r.Host, r.URL.Host = host, host
		resignV3(r, vaultKeys, nil)
		if out := send(t, client, r); out.status != 200 {
			t.Errorf("%s: %v", host, out.body)
		}
	}
	for _, target := range []string{"example.com:443", "sts.aliyuncs.com:80", "127.0.0.1:443", "aliyuncs.com.example.com:443", "nonsense"} {
		if status := connect(t, s, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n"); status != http.StatusForbidden {
			t.Errorf("CONNECT %s: %d", target, status)
		}
	}
	if status := connect(t, s, "GET http://sts.aliyuncs.com/ HTTP/1.1\r\nHost: sts.aliyuncs.com\r\n\r\n"); status != http.StatusForbidden {
		t.Errorf("GET: %d", status)
	}
}

func connect(t *testing.T, s *Server, request string) int {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.ProxyURL[len("http://"):], 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprint(c, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := s.URL[len("https://"):]
	for name, ok := range map[string]bool{
		"127.0.0.1": true, "localhost": true, "sts.aliyuncs.com": true, "sts.cn-beijing.aliyuncs.com": true, "example.com": false,
	} {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: s.CertPool(), ServerName: name})
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	if _, err := s.Client().Get("https://192.0.2.1/"); err == nil {
		t.Error("the client leaves the machine")
	}
}
