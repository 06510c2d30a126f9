package backend_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// mount is the engine in a process with a storage in memory, and the simulated
// cloud. Tests act through requests, and look at the storage.
type mount struct {
	logical.Backend
	*process
	t       *testing.T
	options backend.Options
	timed   bool   // calls of the cloud are steps of the process: no socket is open
	at      string // path of the mount; "": alicloud/
	logged  *bytes.Buffer
}

// What the engine stores, and what it is marked with.
const (
	issuedPrefix = "issued/"
	tidyGrace    = time.Hour // after the end of a lease
)

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
	m := &mount{t: t, process: newProcess(sim, &logical.InmemStorage{}), options: backend.Options{
		Metadata: alicreds.MetadataOptions{Endpoint: sim.IMDSURL, ConnectTimeout: time.Minute, Timeout: time.Minute}, // see simConfig
	}}
	m.start()
	return m
}

// logger keeps what is logged where a test asks for it.
func (m *mount) logger() hclog.Logger {
	if m.logged == nil {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: m.logged})
}

// start makes a new engine over the same storage, as another process or node
// does, with changes to what Vault tells it.
func (m *mount) start(changes ...func(*logical.BackendConfig)) {
	m.t.Helper()
	conf := &logical.BackendConfig{
		Logger:      m.logger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
		StorageView: m.process,
		BackendUUID: "11111111-2222-3333-4444-555555555555",
	}
	for _, change := range changes {
		change(conf)
	}
	if m.timed {
		m.options.HTTP = &http.Client{Transport: m.process}
	}
	b, err := backend.New(context.Background(), conf, m.options)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { b.Cleanup(context.Background()) })
	m.Backend = b
}

// stored decodes what is stored under a key. It wants something to be there.
func (m *mount) stored(key string, value any) {
	m.t.Helper()
	entry, err := m.storage.Get(context.Background(), key)
	if err != nil || entry == nil {
		m.t.Fatalf("nothing is stored under %s: %v", key, err)
	}
	if err := entry.DecodeJSON(value); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mount) simConfig() map[string]any {
	return map[string]any{
		"access_key":   alisim.DefaultAccessKeyID,
		"secret_key":   alisim.DefaultAccessKeySecret,
		"sts_endpoint": m.sim.URL,
		"ram_endpoint": m.sim.URL,

		"resource_manager_endpoint": m.sim.URL, // and no ims_endpoint: see asksForQuotas

		"ca_certificate": string(m.sim.CACertPEM()),

		// The simulator answers at once, but a busy machine may not get to it.
		"connect_timeout": "60s", "timeout": "60s",
	}
}

// asksForQuotas has the mount ask for quotas, which a test that counts calls does not
// want: they are asked for beside an issue. With ram_endpoint alone it is not known where
// to ask.
func (m *mount) asksForQuotas() {
	m.t.Helper()
	ims := "ims.aliyuncs.com"
	if !m.timed {
		ims = m.sim.URL
	}
	m.must(logical.UpdateOperation, "config", map[string]any{"ims_endpoint": ims})
}

// request sends one request. The answer has been through JSON, as on the wire,
// and a good one has been held to the schema that the path declares.
func (m *mount) request(op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	m.t.Helper()
	req := &logical.Request{
		Operation: op, Path: path, Data: throughJSON(m.t, data), Storage: m.process,
		MountPoint: cmp.Or(m.at, "alicloud/"), DisplayName: "token-alice@example.com",
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
	resp, err := m.Backend.HandleRequest(context.Background(), req)
	if err == nil && resp != nil && !resp.IsError() {
		schema.ValidateResponse(m.t, schema.GetResponseSchema(m.t, m.route(path), req.Operation), resp, true)
	}
	return m.onTheWire(resp), err
}

// HandleRequest is the backend's, over the wire: for tests with more to say of
// a request than request takes, or that make many at once.
func (m *mount) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	sent := *req
	if sent.Storage == nil {
		sent.Storage = m.process
	}
	sent.Data = throughJSON(m.t, req.Data)
	if req.Secret != nil {
		secret := *req.Secret
		secret.InternalData = throughJSON(m.t, secret.InternalData)
		sent.Secret = &secret
	}
	resp, err := m.Backend.HandleRequest(ctx, &sent)
	return m.onTheWire(resp), err
}

// route is the path that serves a request.
func (m *mount) route(path string) *framework.Path {
	return m.Backend.(interface {
		Route(path string) *framework.Path
	}).Route(path)
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
	return m.HandleRequest(context.Background(), &logical.Request{Operation: logical.RenewOperation, Secret: secret})
}

func (m *mount) revokeLease(secret *logical.Secret) (*logical.Response, error) {
	return m.HandleRequest(context.Background(), &logical.Request{Operation: logical.RevokeOperation, Secret: secret})
}

// rollBack is what Vault sends every minute; WAL entries of any age are due.
func (m *mount) rollBack() (*logical.Response, error) {
	return m.HandleRequest(context.Background(), &logical.Request{
		Operation: logical.RollbackOperation, Data: map[string]any{"immediate": true},
	})
}
