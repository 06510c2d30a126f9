//go:build unix

package alicreds_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestDefectD13: a time limit bounds the wait although a grandchild holds
// standard output, and ends the grandchild too.
func TestDefectD13(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a time limit")
	}
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	// A busy machine may need longer than the limit for the two to start. Then the next limit is longer.
	for limit := 2 * time.Second; ; limit *= 4 {
		began := time.Now()
		_, err := external(t, alicreds.ExternalOptions{Timeout: limit}, "family", pid, "wait").Retrieve(t.Context())
		if took := time.Since(began); took > limit+25*time.Second { // they would stay for a minute
			t.Errorf("it took %s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "longer than "+limit.String()) {
			t.Fatalf("got %v, want an error that names the limit", err)
		}
		if text, err := os.ReadFile(pid); err == nil && len(text) > 0 || limit > 30*time.Second {
			break
		}
	}
	waitGone(t, readPID(t, pid))
}

// TestExternalCancelled: the caller's context ends the whole group.
func TestExternalCancelled(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range time.Tick(10 * time.Millisecond) {
			if text, err := os.ReadFile(pid); err == nil && len(text) > 0 || t.Context().Err() != nil {
				return
			}
		}
	}()
	_, err := external(t, alicreds.ExternalOptions{}, "family", pid, "wait").Retrieve(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waitGone(t, readPID(t, pid))
}

// TestExternalLeavesSomethingRunning: a command that starts a daemon is not
// waited for, and what it printed counts.
func TestExternalLeavesSomethingRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a time limit")
	}
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	c, err := external(t, alicreds.ExternalOptions{}, "family", pid, "end").Retrieve(t.Context())
	if err != nil || c.AccessKeyID != fakeID {
		t.Errorf("got %v, %v", c, err)
	}
	daemon := readPID(t, pid)
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Errorf("what the command left running is gone: %v", err)
	}
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// waitGone waits until a process is gone, or dead and waiting for its parent.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(30 * time.Second) // it would stay for a minute
	for range time.Tick(10 * time.Millisecond) {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("process %d is still there", pid)
		default:
		}
	}
}
