package alisim

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// connectProxy is an HTTP CONNECT proxy that sends port 443 of the cloud's host names to the simulator and refuses
// everything else, so that a client with hard-coded hosts can be pointed at the simulator and reaches nothing real.
type connectProxy struct {
	target string

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	copies sync.WaitGroup
}

func newConnectProxy(target string) *connectProxy {
	return &connectProxy{target: target, conns: map[net.Conn]struct{}{}}
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || port != "443" || !cloudHost(host) {
		http.Error(w, "alisim: only CONNECT to port 443 of hosts of the cloud", http.StatusForbidden)
		return
	}
	upstream, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(r.Context(), "tcp", p.target)
	if err != nil {
		http.Error(w, "alisim: the simulator does not answer", http.StatusBadGateway)
		return
	}
	client, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		_ = upstream.Close()
		http.Error(w, "alisim: the connection cannot be tunnelled", http.StatusInternalServerError)
		return
	}
	if !p.keep(client, upstream) {
		return
	}
	defer p.drop(client, upstream)
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var done sync.WaitGroup
	done.Go(func() {
		tunnel(upstream, buffered)
		closeWrite(upstream)
	})
	done.Go(func() {
		tunnel(client, upstream)
		closeWrite(client)
	})
	done.Wait()
}

// tunnel copies until either side hangs up. It hides that both are sockets, for which io.Copy takes two more files each:
// there are clients that keep a connection open for each call.
func tunnel(dst io.Writer, src io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 4<<10))
}

func closeWrite(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// keep registers the two ends of a tunnel for close; false, with both closed, means that it is too late.
func (p *connectProxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	if p.closed {
		return false
	}
	p.copies.Add(1)
	return true
}

func (p *connectProxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
	p.copies.Done()
}

// close cuts every tunnel and waits for their ends.
func (p *connectProxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.copies.Wait()
}

// hostOf returns the host of a host[:port], in lower case.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.ToLower(host)
}
