package backend

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// staticUsers says which static role each RAM user has: a user can have one. It
// is an image of storage.
type staticUsers struct {
	mu     sync.Mutex
	loaded bool
	roles  map[string]string // names by RAM user, in lower case
}

// claim makes the role the one of the RAM user. It returns the role that has the
// user already.
func (u *staticUsers) claim(user, name string) (other string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	user = strings.ToLower(user)
	if other = u.roles[user]; other == "" {
		u.roles[user] = name
	}
	return other
}

func (u *staticUsers) forget(user, name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if user = strings.ToLower(user); u.roles[user] == name {
		delete(u.roles, user)
	}
}

// reload makes the next use read the static roles anew.
func (u *staticUsers) reload() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.loaded = false
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
	names, err := s.List(ctx, staticRolePrefix)
	if err != nil {
		return err
	}
	roles, due := make(map[string]string, len(names)), make(map[string]time.Time, len(names))
	for _, name := range names {
		r, err := load[staticRole](ctx, s, staticRolePrefix+name)
		if err != nil {
			return err
		}
		if r != nil {
			roles[strings.ToLower(r.UserName)], due[name] = name, r.asRotation().Due()
		}
	}
	for name, at := range due {
		b.queue.Put(staticRolePrefix+name, at)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.roles, u.loaded = roles, true
	return nil
}
