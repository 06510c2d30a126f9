package backend

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// tagKey keeps what tells this mount in this cluster apart from every other: a
// replicated mount has the same id in several clusters, and each has leases and
// an index of its own. It is local to the cluster.
const tagKey = "tag"

// tag is kept as it was first made: "vault ", the id of the mount, and a random part.
func (b *backend) tag(ctx context.Context, s logical.Storage) (string, error) {
	b.mu.RLock()
	tag := b.ownTag
	b.mu.RUnlock()
	if tag != "" {
		return tag, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	stored, err := load[string](ctx, s, tagKey)
	if err != nil {
		return "", err
	}
	if stored == nil {
		tag = "vault " + b.uuid + " " + strings.ToLower(rand.Text()[:8])
		if err := save(ctx, s, tagKey, &tag); err != nil {
			return "", err
		}
		stored = &tag
	}
	b.ownTag = *stored
	return b.ownTag, nil
}
