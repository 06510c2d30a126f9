package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// goesOn is the warning of a request that has not seen the end of a rotation.
const goesOn = "The rotation has begun and is not finished: the new key does not work everywhere yet, or an earlier attempt is being cleared up. " +
	"It goes on by itself, within minutes; until then the current key stays in use."

func (b *backend) newQueue() *rotation.Queue {
	return rotation.NewQueue(rotation.Options{Log: b.Logger(), Announce: b.announce, Explain: rotationFailure})
}

// initialize is called when the mount starts on a node, after a failover too:
// what was under way goes on at once.
func (b *backend) initialize(_ context.Context, req *logical.InitializationRequest) error {
	b.beginRound(req.Storage)
	return nil
}

// periodic is called every minute. The work is done beside it, because Vault
// cannot be sealed while the call lasts.
func (b *backend) periodic(_ context.Context, req *logical.Request) error {
	b.beginRound(req.Storage)
	return nil
}

func (b *backend) beginRound(s logical.Storage) {
	if b.WriteSafeReplicationState() {
		b.queue.Begin(rotatedKeys{b, s})
	}
}

// rotatedKeys are the keys of a mount that are rotated: that in config, and
// those of static roles. They are named as they are stored.
type rotatedKeys struct {
	b *backend
	s logical.Storage
}

func (k rotatedKeys) Key(name string) rotation.Key {
	if name == configKey {
		return rootKey(k)
	}
	return staticKey{k.b, k.s, strings.TrimPrefix(name, staticRolePrefix)}
}

// Refresh looks at config each time, which writes change without regard to the
// queue, and at static roles where the queue does not know them.
func (k rotatedKeys) Refresh(ctx context.Context) error {
	if err := k.b.loadStaticRoles(ctx, k.s); err != nil {
		if ctx.Err() == nil {
			k.b.Logger().Warn("reading the static roles failed; their rotation waits", "error", err)
		}
		return err
	}
	due, err := rootKey(k).due(ctx)
	if err != nil {
		due = time.Now() // and the turn says why
	}
	k.b.queue.Put(configKey, due)
	return nil
}
