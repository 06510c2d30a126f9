package backend

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// maxAccounts bounds the accounts in which the mount is ready to work. The one that
// is longest unused makes room; it costs a session to work there again.
const maxAccounts = 500

// accounts are the clouds that work in accounts, by the role that is assumed. The
// zero value is empty.
type accounts struct {
	mu     sync.Mutex
	of     map[accountRole]*accountCloud
	closed bool
}

type accountCloud struct {
	*cloud
	used time.Time
}

// as is the cloud as the principal that works in the account of the role, c itself
// for none. It calls nothing. Sessions are renewed when they are used, so that an
// account that nobody works in costs nothing.
func (c *cloud) as(r accountRole) *cloud {
	if r == c.role {
		return c
	}
	in, surplus := c.accounts.get(r, c.newAccount)
	if surplus != nil {
		surplus.Close() // requests that hold it go on with it
	}
	return in
}

// get returns the cloud of an account, made where there is none, and what is to be
// closed because it is not kept.
func (a *accounts) get(r accountRole, make func(accountRole) *cloud) (in, surplus *cloud) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept := a.of[r]; kept != nil {
		kept.used = time.Now()
		return kept.cloud, nil
	}
	in = make(r)
	if a.closed {
		return in, in // nobody else would
	}
	if a.of == nil {
		a.of = map[accountRole]*accountCloud{}
	}
	if len(a.of) >= maxAccounts {
		oldest := slices.MinFunc(slices.Collect(maps.Values(a.of)), func(a, b *accountCloud) int { return a.used.Compare(b.used) })
		surplus = oldest.cloud
		delete(a.of, surplus.role)
	}
	a.of[r] = &accountCloud{in, time.Now()}
	return in, surplus
}

func (a *accounts) close() {
	a.mu.Lock()
	of := a.of
	a.of, a.closed = nil, true
	a.mu.Unlock()
	for _, in := range of {
		in.Close()
	}
}

// newAccount makes the cloud of an account. It shares the connections of c. Its calls
// queue apart, because Alibaba Cloud counts the calls of each account: one that is
// throttled or slow holds up no other. Two roles of one account queue apart as well.
func (c *cloud) newAccount(r accountRole) *cloud {
	o := c.options
	o.API = o.API.Apart()
	o.STS.Client = o.API
	own := newOwnCredentials(accountSession{c.Client, r, c.sessionName}, watch{c.told, failedAccount, r.AssumeRoleARN})
	o.Own = own
	client := ram.New(o)
	return &cloud{
		own: own, below: append([]*ram.Client{c.Client}, c.below...), Client: client, role: r, quotas: newQuotas(client), pace: newPace(),
		usernameTemplate: c.usernameTemplate, sessionTemplate: c.sessionTemplate, policyNameTemplate: c.policyNameTemplate,
	}
}
