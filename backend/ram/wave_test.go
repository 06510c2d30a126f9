package ram_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Ten calls are under way at most, whatever a role names.
func TestWaveIsBounded(t *testing.T) {
	t.Parallel()
	for calls, want := range map[int]time.Duration{0: 0, 1: time.Second, 10: time.Second, 11: 2 * time.Second, 35: 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var w ram.Wave
			for range calls {
				w.Add(func() error {
					time.Sleep(time.Second)
					return nil
				})
			}
			began := time.Now()
			if err := w.Run(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("%d calls of a second took %v, want %v", calls, took, want)
			}
		})
	}
}

// A failure does not end the wave: the calls after it are made, and Run returns
// when all have ended.
func TestWaveEndsWithItsLastCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := errors.New("first"), errors.New("second")
		ended := 0
		var w ram.Wave
		w.Add(func() error { return first })
		w.Add(func() error {
			time.Sleep(time.Minute)
			ended++
			return nil
		})
		w.Add(func() error { return second })
		if err := w.Run(); !errors.Is(err, first) || !errors.Is(err, second) {
			t.Errorf("got %v, want both failures", err)
		}
		if ended != 1 {
			t.Error("a call is still under way")
		}
	})
}
