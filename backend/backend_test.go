package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// mount is the engine on a storage in memory, with the simulated cloud.
type mount struct {
	*backend
	t       *testing.T
	storage logical.Storage
	sim     *alisim.Server
	logged  *bytes.Buffer
}

// newMount starts a simulator of its own and an engine that is configured for it.
func newMount(t *testing.T) *mount {
	t.Helper()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", m.simConfig())
	return m
}

func newEmptyMount(t *testing.T) *mount {
	t.Helper()
	return newSeededMount(t, alisim.DefaultSeed())
}

// newSourcesMount is newMount with something behind every door that hands out
// keys; the instance's is the simulator's.
func newSourcesMount(t *testing.T) *mount {
	t.Helper()
	m := newSeededMount(t, alisim.SourcesSeed())
	m.must(logical.UpdateOperation, "config", m.simConfig())
	return m
}

func newSeededMount(t *testing.T, seed alisim.Seed) *mount {
	t.Helper()
	sim, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	m := &mount{t: t, storage: &logical.InmemStorage{}, sim: sim}
	m.backend = m.start(m.storage)
	for onlyV2 := range m.metadata {
		if m.metadata[onlyV2], err = alicreds.NewMetadata(alicreds.MetadataOptions{
			Endpoint: sim.IMDSURL, DisableIMDSv1: onlyV2, ConnectTimeout: time.Minute, Timeout: time.Minute, // see simConfig
		}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// logger keeps what is logged where a test asks for it.
func (m *mount) logger() hclog.Logger {
	if m.logged == nil {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: m.logged})
}

// start makes an engine over a storage, as a new plugin process does.
func (m *mount) start(storage logical.Storage) *backend {
	m.t.Helper()
	b, err := Factory(context.Background(), &logical.BackendConfig{
		Logger:      m.logger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
		StorageView: storage,
		BackendUUID: "11111111-2222-3333-4444-555555555555",
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { b.Cleanup(context.Background()) })
	return b.(*backend)
}

func (m *mount) simConfig() map[string]any {
	return map[string]any{
		"access_key":   alisim.DefaultAccessKeyID,
		"secret_key":   alisim.DefaultAccessKeySecret,
		"sts_endpoint": m.sim.URL,
		"ram_endpoint": m.sim.URL,

		"resource_manager_endpoint": m.sim.URL,

		"ca_certificate": string(m.sim.CACertPEM()),

		// The simulator answers at once, but a busy machine may not get to it.
		"connect_timeout": "60s", "timeout": "60s",
	}
}

// request sends one request. The answer has been through JSON, as on the wire,
// and a good one has been held to the schema that the path declares.
func (m *mount) request(op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	m.t.Helper()
	req := &logical.Request{
		Operation: op, Path: path, Data: throughJSON(m.t, data), Storage: m.storage,
		MountPoint: "alicloud/", DisplayName: "token-alice@example.com",
	}
	if op == logical.UpdateOperation || op == logical.CreateOperation {
		exists, found, err := m.HandleExistenceCheck(context.Background(), req)
		if err != nil {
			m.t.Fatalf("existence check of %s: %v", path, err)
		}
		if exists && !found {
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := m.backend.HandleRequest(context.Background(), req)
	if err == nil && resp != nil && !resp.IsError() {
		schema.ValidateResponse(m.t, schema.GetResponseSchema(m.t, m.Route(path), req.Operation), resp, true)
	}
	return m.onTheWire(resp), err
}

// HandleRequest is the backend's, over the wire: for tests with more to say of
// a request than request takes, or that make many at once.
func (m *mount) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	sent := *req
	sent.Data = throughJSON(m.t, req.Data)
	if req.Secret != nil {
		secret := *req.Secret
		secret.InternalData = throughJSON(m.t, secret.InternalData)
		sent.Secret = &secret
	}
	resp, err := m.backend.HandleRequest(ctx, &sent)
	return m.onTheWire(resp), err
}

// must is request where nothing but a good answer will do.
func (m *mount) must(op logical.Operation, path string, data map[string]any) *logical.Response {
	m.t.Helper()
	resp, err := m.request(op, path, data)
	if err != nil || resp.IsError() {
		m.t.Fatalf("%s %s: %v %v", op, path, resp, err)
	}
	return resp
}

// refused is request where the answer must be an error that holds text.
func (m *mount) refused(op logical.Operation, path string, data map[string]any, text string) {
	m.t.Helper()
	resp, err := m.request(op, path, data)
	if err != nil || !resp.IsError() {
		m.t.Fatalf("%s %s %v: got %v %v, want an error answer", op, path, data, resp, err)
	}
	if got := resp.Error().Error(); !strings.Contains(got, text) {
		m.t.Errorf("%s %s: the answer %q does not say %q", op, path, got, text)
	}
}

// onTheWire does to a response what the plugin protocol does.
func (m *mount) onTheWire(resp *logical.Response) *logical.Response {
	if resp == nil {
		return nil
	}
	resp.Data = throughJSON(m.t, resp.Data)
	if resp.Secret != nil {
		resp.Secret.InternalData = throughJSON(m.t, resp.Secret.InternalData)
	}
	return resp
}

func throughJSON(t *testing.T, data map[string]any) map[string]any {
	t.Helper()
	if data == nil {
		return nil
	}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// renewLease and revokeLease are what Vault sends about a lease.
func (m *mount) renewLease(secret *logical.Secret) (*logical.Response, error) {
	return m.HandleRequest(context.Background(), &logical.Request{Operation: logical.RenewOperation, Secret: secret, Storage: m.storage})
}

func (m *mount) revokeLease(secret *logical.Secret) (*logical.Response, error) {
	return m.HandleRequest(context.Background(), &logical.Request{Operation: logical.RevokeOperation, Secret: secret, Storage: m.storage})
}

// rollBack is what Vault sends every minute; WAL entries of any age are due.
func (m *mount) rollBack() (*logical.Response, error) {
	return m.HandleRequest(context.Background(), &logical.Request{
		Operation: logical.RollbackOperation, Storage: m.storage, Data: map[string]any{"immediate": true},
	})
}
