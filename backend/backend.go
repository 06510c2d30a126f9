// Package backend is the Vault secrets engine for Alibaba Cloud.
//
// A read of creds/<role> issues short-lived, leased credentials: a session of a
// RAM role (ram_role_arn), or a RAM user that is deleted when its lease ends
// (ram_user). What is created in the cloud is named first, written to Vault's
// write-ahead log second and created third; revocation of a lease and rollback
// of an unfinished issue are one idempotent clean-up. An existing RAM user can
// have a static role, which rotates its AccessKey; so can the mount itself.
//
// Here is what Vault sees: paths, roles, leases, storage. The package ram below
// speaks with RAM and STS, rotation replaces keys, and policy knows documents
// and names. The paths, and the files they are in, are listed in newBackend.
package backend

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

type backend struct {
	*framework.Backend

	uuid string                 // of the mount, for marking what it creates
	path atomic.Pointer[string] // of the mount, as the last request came: it can be moved

	roles   roleCache
	holders holders       // of shared policies
	tidyAge time.Duration // spared by tidy: an issue that is under way may have just created it

	metadata map[bool]*alicreds.Metadata // by disable_imds_v1; keeps the session tokens of the metadata service

	configWrite sync.Mutex // held by writes of config, over their read and write, never over a call to the cloud

	roleWrite   sync.Mutex // the same of roles
	staticWrite sync.Mutex // and of static roles

	stalls      stalls          // of rollbacks
	endings     *endings        // of leases
	queue       *rotation.Queue // of rotations
	staticUsers staticUsers
	presences   presences // of their keys
	announcer   announcer
	failures    *failures // in the background
	counters    *counters // of what was done
	tidied      atomic.Pointer[tidied]
	http        *http.Client      // nil: made from config
	keys        alicreds.Provider // nil: made from config

	making   sync.Mutex   // the client; taken before mu
	mu       sync.RWMutex // guards the following; never held over a call to the cloud
	client   *cloud       // nil until needed, and after config has changed
	resets   int          // how often that was
	cleaned  bool         // the mount has gone, but for requests that are not over
	ownMarks marks        // without a tag until needed
}

// Factory makes the engine for one mount.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	return newBackend(ctx, conf, options{})
}

// options say how the engine reaches the world. Vault gets the zero value.
type options struct {
	HTTP     *http.Client             // to the cloud; nil: made from config
	Keys     alicreds.Provider        // the mount's own credentials; nil: made from config
	Metadata alicreds.MetadataOptions // whether IMDSv1 is disabled is up to config and roles
}

func newBackend(ctx context.Context, conf *logical.BackendConfig, o options) (logical.Backend, error) {
	minAge, err := walAge()
	if err != nil {
		return nil, err
	}
	b := &backend{tidyAge: 2 * minAge, metadata: map[bool]*alicreds.Metadata{}, counters: newCounters(), http: o.HTTP, keys: o.Keys}
	for _, onlyV2 := range []bool{false, true} {
		o.Metadata.DisableIMDSv1 = onlyV2
		if b.metadata[onlyV2], err = alicreds.NewMetadata(o.Metadata); err != nil {
			return nil, err
		}
	}
	b.Backend = &framework.Backend{
		Help:        backendHelp,
		BackendType: logical.TypeLogical,
		Paths: []*framework.Path{
			b.pathConfig(),               // path_config.go
			b.pathConfigCallerIdentity(), // path_config_caller_identity.go
			b.pathConfigRotateRoot(),     // path_config_rotate.go
			b.pathRole(),                 // path_roles.go
			b.pathRoles(),                // path_roles.go
			b.pathRoleCheck(),            // path_role_check.go
			b.pathCreds(),                // path_creds.go
			b.pathStaticRole(),           // path_static_roles.go
			b.pathStaticRoles(),          // path_static_roles.go
			b.pathStaticCred(),           // path_static_creds.go
			b.pathRotateRole(),           // path_static_creds.go
			b.pathTidy(),                 // path_tidy.go
			b.pathStatus(),               // path_status.go
			b.pathMetrics(),              // path_metrics.go
		},
		Secrets: []*framework.Secret{b.secret()}, // lease.go: renew, revoke
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{configKey, rolePrefix, staticRolePrefix, markSecretKey}, // roles of some types hold keys
			LocalStorage:    []string{framework.WALPrefix, issuedPrefix, tagKey, markSecretKey},
		},
		WALRollback:       b.rollback, // wal.go
		WALRollbackMinAge: minAge,
		InitializeFunc:    b.initialize, // rotation.go
		PeriodicFunc:      b.periodic,   // rotation.go
		Invalidate:        b.invalidate,
		Clean:             b.clean,
		RunningVersion:    Version(),
	}
	if conf != nil {
		b.uuid = conf.BackendUUID
		if conf.System != nil {
			own := *conf
			own.System = &host{SystemView: conf.System} // host.go
			conf = &own
		}
	}
	if err := b.Setup(ctx, conf); err != nil {
		return nil, err
	}
	b.failures = newFailures(b.Logger(), b.mountPath)
	b.endings = newEndings()
	b.queue = b.newQueue()
	return b, nil
}

// HandleExistenceCheck looks at the path alone. The framework would also hold
// the fields to their types, and Vault logs a failure of that with the value.
func (b *backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (found, exists bool, err error) {
	if len(req.Path) > maxPath { // HandleRequest refuses it
		return false, false, nil
	}
	return b.Backend.HandleExistenceCheck(ctx, &logical.Request{Operation: req.Operation, Path: req.Path, Storage: req.Storage})
}

// HandleRequest refuses what cannot be meant before the framework reads it.
func (b *backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if req.MountPoint != "" {
		b.path.Store(&req.MountPoint)
	}
	switch refusal, err := b.refusalOf(ctx, req); { // request_checks.go
	case err != nil:
		return nil, err
	case refusal != "":
		return logical.ErrorResponse(refusal), nil
	}
	return b.Backend.HandleRequest(ctx, req)
}

// clean is called when the mount goes, or the node is no longer the active one.
func (b *backend) clean(context.Context) {
	b.endings.stop()
	b.queue.Stop()
	b.mu.Lock()
	b.cleaned = true
	b.mu.Unlock()
	b.resetCloud()
}

// invalidate is called on a node when another one changed the storage.
func (b *backend) invalidate(_ context.Context, key string) {
	if name, ok := strings.CutPrefix(key, rolePrefix); ok {
		b.forgetRole(name)
	}
	switch {
	case key == configKey:
		b.resetCloud()
	case strings.HasPrefix(key, staticRolePrefix):
		b.staticUsers.reload()
	}
}

// readOnlyNode tells whether a write is bound to fail here, so that the request
// can be forwarded before it has had an effect in the cloud.
func (b *backend) readOnlyNode() bool {
	state := b.System().ReplicationState()
	return state.HasState(consts.ReplicationPerformanceStandby) || state.HasState(consts.ReplicationDRSecondary)
}

const backendHelp = `
Issues short-lived, leased Alibaba Cloud credentials.

    vault write alicloud/config access_key=LTAI... secret_key=...
    vault write alicloud/role/deploy role_arn=acs:ram::1234567890123456:role/deploy ttl=1h
    vault read  alicloud/creds/deploy

Roles issue sessions of a RAM role (role_arn), which end by themselves; or RAM
users (remote_policies, inline_policies, ram_groups) and RAM roles
(credential_type=ram_role), which are deleted when their lease ends or is
revoked. "vault path-help alicloud/role/name" and "vault path-help
alicloud/config" tell more, and so do these pages of the source:

    docs/api.md               every field, with examples
    docs/leases.md            what revoking each type does
    docs/least-policy.md      what the mount must be allowed
    docs/troubleshooting.md   errors, their causes and fixes
    docs/monitoring.md        status, metrics, alerts
    docs/messages.md          every message
`
