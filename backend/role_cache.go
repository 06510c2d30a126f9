package backend

import (
	"context"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// maxCachedRoles bounds the memory of roleCache; roles beyond it are read from
// storage each time.
const maxCachedRoles = 10_000

// roleCache holds decoded roles, for issuing: a read of storage is a call to
// Vault and back. The zero value is empty. What it returns must not be changed.
type roleCache struct {
	mu    sync.RWMutex
	epoch int // counts the calls of forget
	roles map[string]*role
}

// get returns the role, nil where there is none.
func (c *roleCache) get(ctx context.Context, s logical.Storage, name string) (*role, error) {
	c.mu.RLock()
	r, epoch := c.roles[name], c.epoch
	c.mu.RUnlock()
	if r != nil {
		return r, nil
	}
	r, err := loadRole(ctx, s, name)
	if err != nil || r == nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was read before a change must not be kept after it.
	if c.epoch == epoch && len(c.roles) < maxCachedRoles {
		if c.roles == nil {
			c.roles = map[string]*role{}
		}
		c.roles[name] = r
	}
	return r, nil
}

// forget follows a change of the role, here or on another node.
func (c *roleCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	delete(c.roles, name)
}
