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
	roles  map[string]string // names by account and RAM user, in lower case
}

// claim makes the role the one of the RAM user. It returns the role that has the
// user already.
func (u *staticUsers) claim(account, user, name string) (other string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := staticUserKey(account, user)
	if other = u.roles[key]; other == "" {
		u.roles[key] = name
	}
	return other
}

func (u *staticUsers) forget(account, user, name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if key := staticUserKey(account, user); u.roles[key] == name {
		delete(u.roles, key)
	}
}

func staticUserKey(account, user string) string { return account + "/" + strings.ToLower(user) }

// reload makes the next use read the static roles anew.
func (u *staticUsers) reload() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.loaded = false
	u.writes++
}
