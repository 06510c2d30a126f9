package alisim

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo is a server that sends back what it reads.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

func startRelay(t *testing.T, rtt time.Duration) *Relay {
	t.Helper()
	target := echo(t)
	r, err := StartRelay(target, rtt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// roundTrip returns how long it takes to connect and to have everything back. The relay counts from when it accepts,
// which can be before the client knows that it is connected.
func roundTrip(t *testing.T, r *Relay, payload []byte) time.Duration {
	t.Helper()
	begin := time.Now()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = c.Close() }()
	var writing sync.WaitGroup
	writing.Go(func() {
		_, _ = c.Write(payload)
		_ = c.(*net.TCPConn).CloseWrite()
	})
	back, err := io.ReadAll(c)
	took := time.Since(begin)
	writing.Wait()
	if err != nil || !bytes.Equal(back, payload) {
		t.Errorf("%d of %d bytes came back: %v", len(back), len(payload), err)
	}
	return took
}

func TestRelayDelay(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	r := startRelay(t, rtt)
	// One round trip opens the connection.
	if took := roundTrip(t, r, []byte("hello")); took < 2*rtt {
		t.Errorf("an echo over %v took %v", rtt, took)
	}
	if n := r.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Many connections, and many chunks of each, come through whole, and none before its time.
func TestRelayCarriesAll(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	r := startRelay(t, rtt)
	begin := time.Now()
	var transfers sync.WaitGroup
	for range 4 {
		transfers.Go(func() { roundTrip(t, r, manyChunks()) })
	}
	transfers.Wait()
	if took := time.Since(begin); took < 2*rtt {
		t.Errorf("four transfers of 64 chunks over %v took %v", rtt, took)
	}
}

func manyChunks() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 64<<10) } // 1 MiB, 64 chunks

// Many chunks travel at the same time: the whole costs the opening and one round trip, by the clock of a bubble.
func TestRelayOverlap(t *testing.T) {
	t.Parallel()
	const rtt = time.Second
	for name, payload := range map[string][]byte{"a word": []byte("hello"), "64 chunks": manyChunks()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &Relay{oneWay: rtt / 2, done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
				client, near := net.Pipe()
				far, server := net.Pipe()
				var running sync.WaitGroup
				running.Go(func() { _, _ = io.Copy(server, server) })
				running.Go(func() { r.join(near, far) })
				begin := time.Now()
				running.Go(func() { _, _ = client.Write(payload) })
				back := make([]byte, len(payload))
				if _, err := io.ReadFull(client, back); err != nil || !bytes.Equal(back, payload) {
					t.Errorf("what came back is another: %v", err)
				}
				if took := time.Since(begin); took != 2*rtt {
					t.Errorf("%d bytes over %v took %v", len(payload), rtt, took)
				}
				for _, c := range []net.Conn{client, near, far, server} {
					_ = c.Close()
				}
				running.Wait()
			})
		})
	}
}

func TestRelayCloseCutsConnections(t *testing.T) {
	t.Parallel()
	r := startRelay(t, time.Hour)
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("under way for half an hour")); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestRelayRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"192.0.2.1:443", "sts.aliyuncs.com:443", "nonsense"} {
		if r, err := StartRelay(target, 0); err == nil {
			r.Close()
			t.Errorf("relays to %s", target)
		}
	}
}
