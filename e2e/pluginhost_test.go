package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"
	vaultplugin "github.com/hashicorp/vault/sdk/plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// What a node of Vault Enterprise may do with the mount's storage.
const (
	active    = consts.ReplicationPerformanceDisabled | consts.ReplicationDRDisabled
	primary   = consts.ReplicationPerformancePrimary | consts.ReplicationDRDisabled
	standby   = consts.ReplicationPerformanceStandby | active
	secondary = consts.ReplicationPerformanceSecondary | consts.ReplicationDRDisabled // its active node
)

// A pluginHost is to the plugin what a node of Vault is: it starts the built
// binary and talks to it as Vault does, over the SDK's plugin client, and serves
// storage and the system view. Vault Community runs plugins on its active node
// only, so this is how to see what they do on the others.
type pluginHost struct {
	logical.Backend // the client
	logical.StaticSystemView

	name    string
	program pluginutil.PluginRunner
	state   atomic.Uint32 // a consts.ReplicationState
	cluster *pluginCluster
	local   logical.Storage // the part of the storage that is not replicated
	paths   []string        // prefixes of that part
	output  *output

	process *plugin.Client
	id      string // of this mount among those of the process

	mu      sync.Mutex
	pending []string // keys that others wrote and that it has not been told of
}

// A pluginCluster is what its nodes share.
type pluginCluster struct {
	shared logical.InmemStorage
	nodes  []*pluginHost
}

// start starts one more node, with a process of its own. Standbys share the
// unreplicated part of the storage with the active node of their cluster.
func (c *pluginCluster) start(t *testing.T, name string, state consts.ReplicationState, local logical.Storage) *pluginHost {
	t.Helper()
	binary := need(t, programs.plugin)
	digest, err := hex.DecodeString(sha256Of(t, binary))
	if err != nil {
		t.Fatal(err)
	}
	h := &pluginHost{
		name: name, cluster: c, local: local, output: &output{}, id: rand.Text(),
		program:          pluginutil.PluginRunner{Name: mount, Type: consts.PluginTypeSecrets, Version: pluginVersion, Command: binary, Sha256: digest},
		StaticSystemView: logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour, VersionString: "1.21.2"},
	}
	h.state.Store(uint32(state))
	config := &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: h.output}),
		System: h, StorageView: hostStorage{h}, BackendUUID: "5e0d4d5a-0c5b-4d66-9d3c-3a5a7d0d4f10",
	}
	t.Cleanup(func() {
		if h.process != nil {
			h.process.Kill()
			if !h.process.Exited() {
				t.Errorf("the plugin of %s is still there", name)
			}
		}
		if t.Failed() {
			t.Logf("the plugin of %s printed:\n%s", name, tail(h.output.String(), 4<<10))
		}
	})
	h.Backend, err = vaultplugin.NewBackendV5(t.Context(), mount, consts.PluginTypeSecrets, pluginVersion, h, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Setup(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	h.paths = h.SpecialPaths().LocalStorage
	if err := h.Initialize(t.Context(), &logical.InitializationRequest{Storage: hostStorage{h}}); err != nil {
		t.Fatal(err)
	}
	c.nodes = append(c.nodes, h)
	return h
}

// What NewBackendV5 asks of Vault's plugin catalog.

func (h *pluginHost) LookupPluginVersion(context.Context, string, consts.PluginType, string) (*pluginutil.PluginRunner, error) {
	return &h.program, nil
}

func (h *pluginHost) NewPluginClient(ctx context.Context, config pluginutil.PluginClientConfig) (pluginutil.PluginClient, error) {
	process, err := h.program.RunConfig(ctx, pluginutil.Runner(h), pluginutil.PluginSets(config.PluginSets), pluginutil.HandshakeConfig(config.HandshakeConfig),
		pluginutil.Logger(config.Logger), pluginutil.AutoMTLS(config.AutoMTLS))
	if err != nil {
		return nil, err
	}
	h.process = process
	protocol, err := process.Client()
	if err != nil {
		return nil, err
	}
	client, ok := protocol.(*plugin.GRPCClient)
	if !ok {
		return nil, fmt.Errorf("the plugin speaks %T", protocol)
	}
	if multiplexed, err := pluginutil.MultiplexingSupported(ctx, client.Conn, config.Name); err != nil || !multiplexed {
		return nil, fmt.Errorf("multiplexed %t: %w", multiplexed, err)
	}
	return multiplexedClient{ClientProtocol: protocol, conn: multiplexedConn{client.Conn, h.id}}, nil
}

type multiplexedClient struct {
	plugin.ClientProtocol
	conn multiplexedConn
}

func (c multiplexedClient) Conn() grpc.ClientConnInterface { return c.conn }
func (c multiplexedClient) Reload() error                  { return errors.New("not reloaded here") }

// multiplexedConn names the mount in each call: one process may serve several.
type multiplexedConn struct {
	*grpc.ClientConn
	id string
}

func (c multiplexedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.ClientConn.Invoke(metadata.AppendToOutgoingContext(ctx, pluginutil.MultiplexingCtxKey, c.id), method, args, reply, opts...)
}

func (c multiplexedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.ClientConn.NewStream(metadata.AppendToOutgoingContext(ctx, pluginutil.MultiplexingCtxKey, c.id), desc, method, opts...)
}

// The rest of the system view.

func (h *pluginHost) ReplicationState() consts.ReplicationState {
	return consts.ReplicationState(h.state.Load())
}

// hostStorage is the storage of the mount as a node has it: a standby writes
// nothing, a secondary what is not replicated.
type hostStorage struct{ *pluginHost }

func (s hostStorage) isLocal(key string) bool {
	return slices.ContainsFunc(s.paths, func(path string) bool {
		return key == path || strings.HasSuffix(path, "/") && strings.HasPrefix(key, path)
	})
}

func (s hostStorage) of(key string) logical.Storage {
	if s.isLocal(key) {
		return s.local
	}
	return &s.cluster.shared
}

func (s hostStorage) List(ctx context.Context, prefix string) ([]string, error) {
	return s.of(prefix).List(ctx, prefix)
}

func (s hostStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	return s.of(key).Get(ctx, key)
}

func (s hostStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	if err := s.written(entry.Key); err != nil {
		return err
	}
	return s.of(entry.Key).Put(ctx, entry)
}

func (s hostStorage) Delete(ctx context.Context, key string) error {
	if err := s.written(key); err != nil {
		return err
	}
	return s.of(key).Delete(ctx, key)
}

// written refuses the write, or has it on the list of the nodes that see it.
func (s hostStorage) written(key string) error {
	state := s.ReplicationState()
	if state.HasState(consts.ReplicationPerformanceStandby) || state.HasState(consts.ReplicationPerformanceSecondary) && !s.isLocal(key) {
		return logical.ErrReadOnly
	}
	for _, node := range s.cluster.nodes {
		if node != s.pluginHost && (!s.isLocal(key) || node.local == s.local) {
			node.mu.Lock()
			node.pending = append(node.pending, key)
			node.mu.Unlock()
		}
	}
	return nil
}

// invalidate tells the plugin of each key that another node has written, as
// Vault Enterprise does.
func (h *pluginHost) invalidate(ctx context.Context) (keys []string) {
	h.mu.Lock()
	keys, h.pending = h.pending, nil
	h.mu.Unlock()
	for _, key := range keys {
		h.InvalidateKey(ctx, key)
	}
	return keys
}

// request sends one request, as a client of this node would.
func (h *pluginHost) request(ctx context.Context, op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	req := &logical.Request{
		ID: rand.Text(), Operation: op, Path: path, Data: data, MountPoint: mount + "/", MountType: mount, DisplayName: "token", ClientToken: "token",
	}
	if op == logical.UpdateOperation {
		if checked, exists, err := h.HandleExistenceCheck(ctx, req); err != nil {
			return nil, err
		} else if checked && !exists {
			req.Operation = logical.CreateOperation
		}
	}
	return h.HandleRequest(ctx, req)
}

// must is request where nothing may go wrong.
func (h *pluginHost) must(t *testing.T, op logical.Operation, path string, data map[string]any) *logical.Response {
	t.Helper()
	resp, err := h.request(t.Context(), op, path, data)
	if err != nil || resp.IsError() {
		t.Fatalf("%s: %s %s: %v %v", h.name, op, path, resp.Error(), err)
	}
	return resp
}
