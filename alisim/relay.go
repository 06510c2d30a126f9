package alisim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A relay holds at most relayQueue chunks of relayChunk bytes per direction of a connection, 4 MiB; then it stops
// reading, as a network with a full buffer does.
const (
	relayChunk = 16 << 10
	relayQueue = 256
)

// Relay is a TCP relay that puts a distance between a client and a server: every byte arrives half a round trip after
// it was sent, in either direction. Bytes travel one behind the other, so a distance costs time and not throughput.
// A connection opens at once, but what the client sends sets out a round trip later, when a TCP handshake over that
// distance would have ended.
type Relay struct {
	target   string
	oneWay   time.Duration
	listener net.Listener
	accepted atomic.Int64
	running  sync.WaitGroup
	done     chan struct{}

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// StartRelay relays from a free port of 127.0.0.1 to target, a loopback host:port, over a round trip of rtt.
// The caller must Close it.
func StartRelay(target string, rtt time.Duration) (*Relay, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, fmt.Errorf("alisim: relay target %q: %w", target, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("alisim: relay target %q is not a loopback address", target)
	}
	if rtt < 0 {
		return nil, errors.New("alisim: the round trip of a relay must not be negative")
	}
	l, err := listenLoopback("")
	if err != nil {
		return nil, err
	}
	r := &Relay{target: target, oneWay: rtt / 2, listener: l, done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	r.running.Go(r.accept)
	return r, nil
}

// Addr returns the host:port to connect to.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// URL returns https:// and Addr, for a relay in front of Server.URL.
func (r *Relay) URL() string { return "https://" + r.Addr() }

// Connections returns how many connections the relay has accepted so far.
func (r *Relay) Connections() int { return int(r.accepted.Load()) }

// Close cuts all connections and returns when the relay's goroutines have ended. Closing twice is harmless.
func (r *Relay) Close() {
	r.mu.Lock()
	if !r.closed {
		close(r.done)
	}
	r.closed = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	_ = r.listener.Close()
	r.running.Wait()
}

func (r *Relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.accepted.Add(1)
		far, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !r.keep(near, far) {
			return
		}
		r.running.Go(func() {
			r.join(near, far)
			r.drop(near, far)
		})
	}
}

// join carries what two connections have for each other, until both have ended. The near one opens now.
func (r *Relay) join(near, far net.Conn) {
	var both sync.WaitGroup
	now := time.Now()
	both.Go(func() { r.carry(far, near, now.Add(2*r.oneWay)) })
	both.Go(func() { r.carry(near, far, now) })
	both.Wait()
}

func (r *Relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.closed {
			_ = c.Close()
			continue
		}
		r.conns[c] = struct{}{}
	}
	return !r.closed
}

func (r *Relay) drop(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(r.conns, c)
	}
}

// parcel is bytes under way and the moment at which they arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// carry moves bytes from src to dst until src ends, and then lets dst see the end, as late as the bytes. None sets out
// before the connection is open.
func (r *Relay) carry(dst, src net.Conn, open time.Time) {
	road := make(chan parcel, relayQueue)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(road)
		buf := make([]byte, relayChunk)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				setOut := time.Now()
				if setOut.Before(open) {
					setOut = open
				}
				road <- parcel{append([]byte(nil), buf[:n]...), setOut.Add(r.oneWay)}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					_ = dst.Close() // a reset, not an end
				}
				return
			}
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range road {
		if wait := time.Until(p.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-r.done:
			}
		}
		if _, err := dst.Write(p.data); err != nil {
			_ = src.Close() // the reader ends, and with it the road
			for range road {
			}
			break
		}
	}
	reading.Wait()
	closeWrite(dst)
}
