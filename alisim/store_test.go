package alisim

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Memory follows the sessions that are alive, not those that ever were; a token that nobody remembers is still expired.
func TestSessionsArePurged(t *testing.T) {
	t.Parallel()
	st := newStore(DefaultSettings())
	begin := time.Now()
	if err := st.plant(DefaultSeed(), begin); err != nil {
		t.Fatal(err)
	}
	target := st.accounts[DefaultAccountID].roles["deploy"]
	for i := range 50_000 {
		now := begin.Add(time.Duration(i) * time.Second)
		st.addSession(&session{keyID: fmt.Sprint("STS.", i), role: target, expires: now.Add(15 * time.Minute)}, now)
	}
	if n := len(st.sessions); n > 12_000 {
		t.Errorf("%d sessions are remembered", n)
	}
	_, _, refused := st.holder("STS.0", st.sessionToken("STS.0"), begin.Add(time.Hour))
	if refused == nil || refused.code != "InvalidSecurityToken.Expired" {
		t.Errorf("got %+v", refused)
	}
}

// Everything at once, for the race detector.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	c := start(t, Options{JournalSize: 20})
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			for i := range 15 {
				name := fmt.Sprintf("u-%d-%d", w, i)
				for _, r := range []*http.Request{
					v3(t.Context(), vaultKeys, "CreateUser", params{"UserName": name}),
					v3(t.Context(), vaultKeys, "CreateAccessKey", params{"UserName": name}),
					v3(t.Context(), vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": name}),
					v3(t.Context(), vaultKeys, "ListUsers", nil),
				} {
					response, err := c.client.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					_ = response.Body.Close()
				}
			}
		})
	}
	workers.Go(func() {
		for range 15 {
			_ = c.AddFault(Fault{Kind: FaultError500, Count: 1})
			c.Advance(time.Second)
			c.Inventory()
			c.Journal()
			c.Authorize(DefaultAccessKeyID, "ram:GetUser", "*")
			_ = c.Configure(c.Settings())
			c.Reset()
		}
	})
	workers.Wait()
}
