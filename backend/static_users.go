package backend

import (
	"strings"
	"sync"
)

// staticUsers says which static role each RAM user has: a user can have one. It
// is an image of storage.
type staticUsers struct {
	mu     sync.Mutex
	loaded bool
	writes int               // by other nodes, that are known
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
	u.writes++
}
