package alisim

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
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

// there and back: how long it takes until everything sent has returned.
func roundTrip(t *testing.T, r *Relay, payload []byte) time.Duration {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = c.Close() }()
	begin := time.Now()
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
	const rtt, slack = 100 * time.Millisecond, 2 * time.Second // of a busy machine
	r := startRelay(t, rtt)
	// One round trip opens the connection.
	if took := roundTrip(t, r, []byte("hello")); took < 2*rtt || took > 2*rtt+slack {
		t.Errorf("an echo over %v took %v", rtt, took)
	}
	if n := r.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Many chunks, and many connections, travel at the same time: the whole costs the opening, one round trip and a little more.
func TestRelayOverlap(t *testing.T) {
	t.Parallel()
	const rtt = time.Second // long beside what a busy machine adds
	r := startRelay(t, rtt)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB, 64 chunks
	begin := time.Now()
	var transfers sync.WaitGroup
	for range 4 {
		transfers.Go(func() { roundTrip(t, r, payload) })
	}
	transfers.Wait()
	if took := time.Since(begin); took < 2*rtt || took > 7*rtt { // one after the other they take eight
		t.Errorf("four transfers of 64 chunks over %v took %v", rtt, took)
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
