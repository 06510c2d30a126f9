package backend

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

func (b *backend) newQueue() *rotation.Queue {
	return rotation.NewQueue(rotation.Options{Announce: b.announce, Explain: rotationFailure, Ended: b.rotationEnded})
}

// rotationEnded is told how each turn of a key ended.
func (b *backend) rotationEnded(key string, failure error, next time.Time) {
	if failure != nil {
		b.failures.failed(failedRotation, key, failure, next)
		return
	}
	b.failures.succeeded(failedRotation, key)
}

// initialize is called when the mount starts on a node, after a failover too:
// what was under way goes on at once.
func (b *backend) initialize(_ context.Context, req *logical.InitializationRequest) error {
	b.beginRound(req.Storage)
	if !b.readOnlyNode() {
		b.endings.begin(func(ctx context.Context) { _ = b.endings.load(ctx, req.Storage) }) // the round of a minute later tells a failure
	}
	return nil
}

// periodic is called every minute. The work is done beside it, because Vault
// cannot be sealed while the call lasts.
func (b *backend) periodic(_ context.Context, req *logical.Request) error {
	b.failures.look()
	b.beginRound(req.Storage)
	if !b.readOnlyNode() {
		b.endings.begin(func(ctx context.Context) { b.removeEnded(ctx, req.Storage) })
	}
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
		return fmt.Errorf("reading the static roles failed; their rotation waits: %w", err)
	}
	due, err := rootKey(k).due(ctx)
	if err != nil {
		due = time.Now() // and the turn says why
	}
	k.b.queue.Put(configKey, "", due)
	return nil
}

// loadStaticRoles makes staticUsers and the queue from storage, once in the life
// of a process and after another node has written a role. One that is gone stays
// in the queue until its turn finds that out.
func (b *backend) loadStaticRoles(ctx context.Context, s logical.Storage) error {
	u := &b.staticUsers
	u.mu.Lock()
	loaded := u.loaded
	u.mu.Unlock()
	if loaded {
		return nil
	}
	b.staticWrite.Lock()
	defer b.staticWrite.Unlock()
	u.mu.Lock()
	writes := u.writes
	u.mu.Unlock()
	names, err := s.List(ctx, staticRolePrefix)
	if err != nil {
		return err
	}
	roles, queued := make(map[string]string, len(names)), make(map[string]*staticRole, len(names))
	for _, name := range names {
		r, err := load[staticRole](ctx, s, staticRolePrefix+name)
		if err != nil {
			return err
		}
		if r != nil {
			roles[staticUserKey(r.Rotation.AccountID, r.UserName)], queued[name] = name, r
		}
	}
	for name, r := range queued {
		b.queue.Put(staticRolePrefix+name, r.Rotation.AccountID, r.asRotation().Due())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.roles, u.loaded = roles, u.writes == writes // else another node has written meanwhile
	return nil
}
