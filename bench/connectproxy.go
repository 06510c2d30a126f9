package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// connectProxy leads a client with hard-coded host names to one address: it
// answers CONNECT at once, so that a distance behind it delays TLS and no more.
type connectProxy struct {
	target string
	url    string
	server *http.Server

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil: closed
}

// startConnectProxy listens on a free loopback port. The caller must close it.
func startConnectProxy(target string) (*connectProxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &connectProxy{target: target, url: "http://" + listener.Addr().String(), conns: map[net.Conn]struct{}{}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	far, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(r.Context(), "tcp", p.target)
	if err != nil {
		http.Error(w, "the simulator does not answer", http.StatusBadGateway)
		return
	}
	near, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	defer p.drop(near, far)
	if p.keep(near, far) != nil {
		return
	}
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		carry(far, buffered) // what came with the request is in there
		_ = far.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		carry(near, far)
		_ = near.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

// carry copies until src ends. It hides that both are sockets, for which
// io.Copy would take two more files each: thousands of tunnels stay open.
func carry(dst io.Writer, src io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 4<<10))
}

func (p *connectProxy) keep(conns ...net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return net.ErrClosed
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return nil
}

func (p *connectProxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *connectProxy) close() error {
	p.mu.Lock()
	var err error
	for c := range p.conns {
		err = errors.Join(err, c.Close())
	}
	p.conns = nil
	p.mu.Unlock()
	return errors.Join(err, p.server.Shutdown(context.Background()))
}
