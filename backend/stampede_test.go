package backend_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// 500 static roles are due in the same minute, in an account of which RAM takes
// 20 writes a second and in which somebody else writes too.
func TestStaticRolesStampede(t *testing.T) {
	skipMatrix(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const roles = 500
		seed := seedWith()
		for n := range roles {
			seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{
				Name: fmt.Sprintf("app-%d", n), AccessKeys: []alisim.AccessKey{{ID: fmt.Sprintf("LTAI5tAPP%d", n), Secret: "s"}},
			})
		}
		settings := slow()
		settings.RateLimits = map[string]int{"Ram.write": 20, "Ram.read": 100, "Sts.read": 100}
		m := newTimedMount(t, settings, seed)
		for n := range roles {
			m.must(logical.UpdateOperation, fmt.Sprintf("static-role/app-%d", n), map[string]any{
				"username": fmt.Sprintf("app-%d", n), "access_key": fmt.Sprintf("LTAI5tAPP%d", n), "secret_key": "s",
				"rotation_schedule": "0 12 * * *", "grace_period": "30m",
			})
		}
		time.Sleep(time.Until(time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)) - time.Minute)
		m.sim.ClearJournal()
		began := time.Now().Add(time.Minute)
		// Somebody else takes the better part of the rate for two minutes.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range 120 {
				for range 15 {
					_ = m.callAs(adminKey, "UpdateAccessKey", map[string]string{
						"UserName": "vault", "UserAccessKeyId": alisim.DefaultAccessKeyID, "Status": "Active",
					}, nil)
				}
				time.Sleep(time.Second)
			}
		}()
		var rotated time.Time
		for range 90 {
			m.minutes(1)
			if rotated.IsZero() && m.rotatedRoles(roles) == roles {
				rotated = time.Now()
			}
		}
		<-ended
		created, throttled := map[string]int{}, 0
		perSecond := map[int64]int{}
		for _, c := range m.sim.Journal() {
			if strings.HasPrefix(c.Code, "Throttling") && c.Params["UserName"] != "vault" {
				throttled++
			}
			if c.Action == "CreateAccessKey" && c.Applied {
				created[c.Params["UserName"]]++
			}
			if c.Params["UserName"] != "vault" && (c.Action == "CreateAccessKey" || c.Action == "UpdateAccessKey" || c.Action == "DeleteAccessKey") {
				perSecond[c.Time.Unix()]++
			}
		}
		twice, most := 0, 0
		for _, n := range created {
			if n > 1 {
				twice++
			}
		}
		for _, n := range perSecond {
			most = max(most, n)
		}
		fmt.Printf("TestStaticRolesStampede: roles %d rotated %d twice %d in %v, at most %d writes a second, %d throttled\n",
			roles, len(created), twice, rotated.Sub(began), most, throttled)
		if len(created) != roles || twice != 0 || rotated.IsZero() || rotated.Sub(began) > 15*time.Minute {
			t.Errorf("rotated %d of %d, %d of them twice, at %v", len(created), roles, twice, rotated)
		}
		if most > 20 {
			t.Errorf("%d writes in a second", most)
		}
		m.minutes(60)
		for n := range roles {
			user := fmt.Sprintf("app-%d", n)
			if keys := m.keysOf(user); strings.Contains(keys, ",") || !strings.HasSuffix(keys, " Active") {
				t.Fatalf("%s has the keys %s", user, keys)
			}
		}
		if cred := m.staticCred("app-7"); !m.works(cred, "app-7") {
			t.Error("the key does not work")
		}
	})
}

// rotatedRoles counts the roles whose key is not the one they began with.
func (m *mount) rotatedRoles(roles int) (n int) {
	m.t.Helper()
	for i := range roles {
		var r struct {
			AccessKey string `json:"access_key"`
		}
		if m.stored(fmt.Sprintf("static-role/app-%d", i), &r); !strings.HasPrefix(r.AccessKey, "LTAI5tAPP") {
			n++
		}
	}
	return n
}

// All static roles are read at once, as when all agents start. RAM is asked about
// as many as there is time for; all readers get their key, and soon.
func TestStaticCredsStampede(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const roles = 500
		seed := seedWith()
		for n := range roles {
			seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{
				Name: fmt.Sprintf("app-%d", n), AccessKeys: []alisim.AccessKey{{ID: fmt.Sprintf("LTAI5tAPP%d", n), Secret: "s"}},
			})
		}
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		for n := range roles {
			m.must(logical.UpdateOperation, fmt.Sprintf("static-role/app-%d", n), map[string]any{
				"username": fmt.Sprintf("app-%d", n), "access_key": fmt.Sprintf("LTAI5tAPP%d", n), "secret_key": "s", "rotation_period": "240h",
			})
		}
		time.Sleep(time.Minute)
		began := time.Now()
		var unseen atomic.Int32
		var all sync.WaitGroup
		for n := range roles {
			all.Go(func() {
				cred := m.staticCred(fmt.Sprintf("app-%d", n))
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("a reader waited %s", took)
				}
				for _, warning := range cred.Warnings {
					unseen.Add(1)
					if !strings.Contains(warning, "could not be seen") || strings.Contains(warning, "Wait(") {
						t.Errorf("warned of %q", warning)
					}
				}
			})
		}
		all.Wait()
		fmt.Printf("TestStaticCredsStampede: roles %d not looked up %d\n", roles, unseen.Load())
		if n := unseen.Load(); n == 0 || n == roles {
			t.Errorf("%d of %d could not be looked up", n, roles)
		}
	})
}
