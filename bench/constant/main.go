// Constant is a Vault secrets engine that does nothing: a read of creds/<any>
// answers a constant with a lease. It is the floor that bench holds the others
// against: what is left is Vault's and the plugin protocol's own.
package main

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

func main() {
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: factory}); err != nil {
		hclog.New(&hclog.LoggerOptions{Output: os.Stderr}).Error("plugin shutting down", "error", err)
		os.Exit(1)
	}
}

func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{
		Type: "constant",
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
	read := func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
		resp := secret.Response(map[string]interface{}{
			"access_key":     "STS.NTfakefakefakefakefakefak",
			"secret_key":     "fakefakefakefakefakefakefakefakefakefakefake",
			"security_token": string(token),
			"expiration":     "2030-01-01T00:00:00Z",
		}, map[string]interface{}{"role_type": "sts"})
		resp.Secret.TTL, resp.Secret.MaxTTL = time.Hour, time.Hour
		return resp, nil
	}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{{
			Pattern: "(creds/" + framework.GenericNameRegex("name") + "|config)",
			Fields:  map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}},
			// The older of two ways: with Operations the SDK asks Vault for its
			// replication state at each request.
			Callbacks: map[logical.Operation]framework.OperationFunc{logical.ReadOperation: read},
		}},
	}
	return b, b.Setup(ctx, conf)
}

// token is as long as a session's.
var token = func() []byte {
	b := make([]byte, 600)
	for i := range b {
		b[i] = 'x'
	}
	return b
}()
