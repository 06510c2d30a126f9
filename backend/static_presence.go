package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// A snapshot of Vault's storage that is restored brings back keys that have been
// rotated away since, and people delete keys by hand. So a reader of static-cred
// is told when RAM does not have the key. RAM is asked about a key once an hour.
const (
	presenceKept    = time.Hour
	doubtKept       = time.Minute // where RAM did not say that all is well
	presenceTimeout = 5 * time.Second
)

// presence is what RAM said of the key of a static role.
type presence struct {
	key  string // its ID
	at   time.Time
	gone string // "" or why no reader is helped with it
	warn string // "" or what to know
}

func (p presence) counts(key string, now time.Time) bool {
	kept := presenceKept
	if p.gone != "" || p.warn != "" {
		kept = doubtKept
	}
	return p.key == key && now.Sub(p.at) < kept
}

// presences are the last ones, by name of the role.
type presences struct {
	mu sync.Mutex
	of map[string]*lastPresence
}

// lastPresence is held by whoever asks; other readers of the role wait for it.
type lastPresence struct {
	mu sync.Mutex
	presence
}

func (p *presences) last(role string) *lastPresence {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]*lastPresence{}
	}
	if p.of[role] == nil {
		p.of[role] = &lastPresence{}
	}
	return p.of[role]
}

// presence tells whether RAM still has the key, asking it where the last answer is
// too old. A new key may not be visible yet.
func (k staticKey) presence(ctx context.Context, r *staticRole) presence {
	if ram.Unseen(r.Rotation.LastRotated) {
		return presence{}
	}
	last := k.b.presences.last(k.name)
	last.mu.Lock()
	defer last.mu.Unlock()
	if !last.counts(r.AccessKey, time.Now()) {
		last.presence = k.askPresence(ctx, r)
	}
	return last.presence
}

func (k staticKey) askPresence(ctx context.Context, r *staticRole) presence {
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	p := presence{key: r.AccessKey, at: time.Now()}
	var listed []ram.AccessKey
	keys, err := k.b.userKeys(ctx, k.s, r.user(r.Rotation.AccountID))
	if err == nil {
		listed, err = keys.List(ctx)
	}
	n := slices.IndexFunc(listed, func(known ram.AccessKey) bool { return known.ID == r.AccessKey })
	switch {
	case ram.HasCode(err, "EntityNotExist.User"):
		p.gone = fmt.Sprintf("RAM user %s no longer exists, and its AccessKey %s with it: create the user, or delete static-role/%s", r.UserName, r.AccessKey, k.name)
	case err != nil:
		p.warn = fmt.Sprintf("It could not be seen whether RAM still has AccessKey %s: %s", r.AccessKey, explained(err))
	case n < 0:
		p.gone = k.mend(r, listed)
	case listed[n].Status == "Inactive":
		p.warn = fmt.Sprintf("AccessKey %s is inactive, and RAM refuses it: somebody disabled it. Enable it in RAM, or have another one made: vault write -f %srotate-role/%s",
			r.AccessKey, k.b.mountPath(), k.name)
	}
	return p
}

// mend says why the key of the role is gone, and how it gets one that works.
func (k staticKey) mend(r *staticRole, listed []ram.AccessKey) string {
	var others []string
	for _, other := range listed {
		others = append(others, other.ID+" ("+other.Status+")")
	}
	first := ""
	if len(others) > 0 {
		first = fmt.Sprintf("RAM user %s has %s, whose secret is not stored: delete in RAM what nothing uses. Then ", r.UserName, strings.Join(others, " and "))
	}
	return fmt.Sprintf("AccessKey %s of RAM user %s no longer exists: somebody deleted it, or a snapshot of Vault's storage from before its rotation was restored. "+
		"%shave a new one made: vault write -f %srotate-role/%s", r.AccessKey, r.UserName, first, k.b.mountPath(), k.name)
}
