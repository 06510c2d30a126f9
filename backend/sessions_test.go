package backend

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// A reader that comes while another one's session arrives must not obtain a
// second one.
func TestSessionsAreObtainedOnce(t *testing.T) {
	t.Parallel()
	for round := range 5000 {
		var s sessions
		var obtained atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, _, err := s.get(context.Background(), sessionRequest{roleARN: "acs:ram::1234567890123456:role/deploy"}, time.Minute, func(context.Context) (alicreds.Credentials, bool, error) {
					obtained.Add(1)
					return alicreds.Credentials{Expiration: time.Now().Add(time.Hour)}, false, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := obtained.Load(); n != 1 {
			t.Fatalf("round %d: 8 readers obtained %d sessions", round, n)
		}
	}
}

// Beyond the bound of the memory a reader gets a session of its own. What serves
// nobody any longer makes room.
func TestSharedSessionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s sessions
		asked := 0
		ask := func(n int) {
			_, _, err := s.get(t.Context(), sessionRequest{name: strconv.Itoa(n)}, time.Minute, func(context.Context) (alicreds.Credentials, bool, error) {
				asked++
				return alicreds.Credentials{Expiration: time.Now().Add(time.Hour)}, false, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for n := range maxShared + 1 {
			ask(n)
		}
		ask(maxShared - 1) // kept
		ask(maxShared)     // not kept
		if asked != maxShared+2 || len(s.shared) != maxShared {
			t.Errorf("%d sessions were obtained and %d are kept, want %d and %d", asked, len(s.shared), maxShared+2, maxShared)
		}
		time.Sleep(2 * time.Minute)
		ask(maxShared)
		ask(maxShared)
		if asked != maxShared+3 || len(s.shared) != 1 {
			t.Errorf("after a while %d sessions were obtained and %d are kept, want %d and 1", asked, len(s.shared), maxShared+3)
		}
	})
}

// F5.13: the monotonic clock stands still while a machine is suspended, and Go
// compares times by it where both have its reading.
func TestSharedSessionsGoByTheTimeOfDay(t *testing.T) {
	t.Parallel()
	var s sessions
	begun := time.Now()
	ask := sessionRequest{name: "alice"}
	get := func() {
		if _, _, err := s.get(t.Context(), ask, time.Hour, func(context.Context) (alicreds.Credentials, bool, error) {
			return alicreds.Credentials{Expiration: begun.Round(0).Add(time.Hour)}, false, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	get()
	shared := s.shared[ask]
	if shared.obtained != shared.obtained.Round(0) {
		t.Error("the session is remembered with the reading of the monotonic clock")
	}
	for at, want := range map[time.Duration]bool{-time.Minute: false, 0: true, 29 * time.Minute: true, 31 * time.Minute: false, 2 * time.Hour: false} {
		if got := shared.serves(time.Hour, func() time.Time { return shared.obtained.Add(at) }); got != want {
			t.Errorf("%s later it serves: %v, want %v", at, got, want)
		}
	}
}

// Roles beyond the bound of the memory are read from storage each time.
func TestRoleCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c roleCache
	s := &logical.InmemStorage{}
	for n := range maxCachedRoles + 1 {
		name := strconv.Itoa(n)
		if err := save(t.Context(), s, rolePrefix+name, &role{RoleARN: "acs:ram::1234567890123456:role/deploy"}); err != nil {
			t.Fatal(err)
		}
		if r, err := c.get(t.Context(), s, name); err != nil || r == nil {
			t.Fatal(r, err)
		}
	}
	if len(c.roles) != maxCachedRoles {
		t.Errorf("%d roles are kept, want %d", len(c.roles), maxCachedRoles)
	}
}
