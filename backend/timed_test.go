package backend_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// newTimedMount is a mount for a synctest bubble: the engine, the cloud and the
// test share the bubble's clock, and no socket is open.
func newTimedMount(t *testing.T, settings alisim.Settings, seed alisim.Seed) *mount {
	t.Helper()
	sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: seed, Settings: &settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return newTimedMountIn(t, sim)
}

// newTimedMountIn is one more mount in the same cloud.
func newTimedMountIn(t *testing.T, sim *alisim.Server) *mount {
	t.Helper()
	return configured(&mount{t: t, process: newProcess(sim, &logical.InmemStorage{}), timed: true})
}

func configured(m *mount) *mount {
	m.t.Helper()
	m.start()
	m.must(logical.UpdateOperation, "config", map[string]any{
		"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret, "max_retries": 0,
		"ram_endpoint": "ram.aliyuncs.com", // see asksForQuotas
	})
	return m
}

// handedFor is how long a mount keeps the keys that it is handed.
const handedFor = time.Second

// handed are keys that are handed out for a moment: those of the mount's own account
// until moved, and then those of the other one.
type handed struct {
	own, other alicreds.Credentials
	moved      atomic.Bool
}

func (h *handed) Retrieve(context.Context) (alicreds.Credentials, error) {
	c := h.own
	if h.moved.Load() {
		c = h.other
	}
	c.Expiration = time.Now().Add(handedFor)
	return c, nil
}

// newMovingMountIn is a mount that is handed the keys of users, in a cloud of twoAccounts.
func newMovingMountIn(t *testing.T, sim *alisim.Server) *mount {
	t.Helper()
	return newHandedMountIn(t, sim, &handed{
		own:   alicreds.Credentials{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret},
		other: alicreds.Credentials{AccessKeyID: otherKey, AccessKeySecret: otherSecret},
	})
}

func newHandedMountIn(t *testing.T, sim *alisim.Server, keys *handed) *mount {
	t.Helper()
	m := &mount{t: t, process: newProcess(sim, &logical.InmemStorage{}), timed: true, options: backend.Options{Keys: keys}}
	m.process.keys = keys
	return configured(m)
}

// minutes passes time as Vault does: with a tick every minute.
func (m *mount) minutes(n int) {
	m.t.Helper()
	for range n {
		time.Sleep(time.Minute)
		if resp, err := m.rollBack(); (err != nil || resp.IsError()) && !m.isDead() {
			m.t.Fatalf("tick: %v %v", resp, err)
		}
		m.rest()
	}
}

// rest waits for the round that a tick has begun.
func (m *mount) rest() { backend.Rest(m.Backend) }

// restart makes a new process over the same storage.
func (m *mount) restart() {
	m.t.Helper()
	m.Cleanup(context.Background())
	m.process = m.next()
	m.start()
	if err := m.Initialize(context.Background(), &logical.InitializationRequest{Storage: m.process}); err != nil {
		m.t.Fatal(err)
	}
}

// keysOf lists what RAM holds of a user, as "id status".
func (m *mount) keysOf(user string) string {
	m.t.Helper()
	u, ok := m.sim.Inventory().User(user)
	if !ok {
		m.t.Fatalf("there is no user %s", user)
	}
	keys := make([]string, 0, len(u.AccessKeys))
	for _, k := range u.AccessKeys {
		keys = append(keys, k.ID+" "+k.Status)
	}
	return strings.Join(keys, ", ")
}

// works tells whether the keys of an answer are those of the user.
func (m *mount) works(resp *logical.Response, user string) bool {
	m.t.Helper()
	k := ram.AccessKey{ID: resp.Data["access_key"].(string), Secret: resp.Data["secret_key"].(string)}
	return m.keyWorks(k, alisim.DefaultAccountID, user) == nil
}

// keyWorks asks STS whether it takes the key, for that user's of the account.
func (m *mount) keyWorks(k ram.AccessKey, account, user string) error {
	api, err := openapi.New(openapi.Options{HTTP: m.sim.Client(), Timeout: time.Minute})
	if err != nil {
		return err
	}
	c := ram.New(ram.Options{STS: alicreds.STSOptions{Client: api}})
	return c.Probe(context.Background(), k, account, user)
}

// slow is a cloud where keys take 20 s to be known everywhere.
func slow() alisim.Settings {
	s := alisim.DefaultSettings()
	s.Propagation.AccessKey = 20 * time.Second
	return s
}

// seedWith is the default seed with further RAM users, who may do nothing.
func seedWith(users ...alisim.User) alisim.Seed {
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, users...)
	return seed
}
