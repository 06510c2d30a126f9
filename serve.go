package main

import (
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/plugin"
	"google.golang.org/grpc"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// maxMessage bounds what the plugin receives at once, in bytes: twice what the
// engine takes in all fields of a request, for the escapes of JSON. Vault lets a
// request have 32 MiB, and receiving and decoding one takes four times that. What is
// larger is refused before it is received.
const maxMessage = 1 << 20

// serve does what plugin.ServeMultiplex of Vault's SDK does, which takes messages of
// any size.
func serve() error {
	if err := pluginutil.OptionallyEnableMlock(); err != nil {
		return err
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	engine := func(multiplexed bool) goplugin.PluginSet {
		return goplugin.PluginSet{plugin.BackendPluginName: &plugin.GRPCBackendPlugin{
			Factory: backend.Factory, MultiplexingSupport: multiplexed, Logger: logger,
		}}
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig,
		// Of the protocol between Vault and its plugins. Vault has spoken 5 since 1.12.
		VersionedPlugins: map[int]goplugin.PluginSet{4: engine(false), 5: engine(true)},
		Logger:           logger,
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return goplugin.DefaultGRPCServer(append(o, grpc.MaxRecvMsgSize(maxMessage)))
		},
	})
	return nil
}
