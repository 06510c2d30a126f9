package backend

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// accountsAtOnce bounds in how many accounts a request works at a time.
const accountsAtOnce = 8

// recorded is what storage tells of leases.
type recorded struct {
	unfinished []issued     // of the WAL: the rollback's business
	index      []indexEntry // of leases that are out, or were not seen to end
}

func readRecorded(ctx context.Context, s logical.Storage) (r recorded, err error) {
	wal, err := framework.ListWAL(ctx, s)
	if err != nil {
		return r, err
	}
	for _, id := range wal {
		entry, err := framework.GetWAL(ctx, s, id)
		if err != nil {
			return r, err
		}
		var u issued
		if entry != nil && recode(entry.Data, &u) == nil {
			r.unfinished = append(r.unfinished, u)
		}
	}
	names, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return r, err
	}
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		if err != nil {
			return r, err
		}
		if entry != nil {
			r.index = append(r.index, *entry)
		}
	}
	return r, nil
}

// accountRoles are those that roles, static roles and leases name, and none where one
// of them works in the mount's own account.
func (b *backend) accountRoles(ctx context.Context, s logical.Storage) (found []accountRole, err error) {
	all := map[accountRole]bool{}
	names, err := s.List(ctx, rolePrefix)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r, err := b.roles.get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if r != nil && r.roleType.creates != "" {
			all[r.accountRole] = true
		}
	}
	if names, err = s.List(ctx, staticRolePrefix); err != nil {
		return nil, err
	}
	for _, name := range names {
		r, err := load[staticRole](ctx, s, staticRolePrefix+name)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all[r.accountRole] = true
		}
	}
	known, err := readRecorded(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, u := range known.unfinished {
		all[u.accountRole] = true
	}
	for _, entry := range known.index {
		all[entry.accountRole] = true
	}
	for r := range all {
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b accountRole) int {
		return cmp.Or(cmp.Compare(a.AssumeRoleARN, b.AssumeRoleARN), cmp.Compare(a.AssumeRoleExternalID, b.AssumeRoleExternalID))
	})
	return found, nil
}

// eachAtOnce calls f for each, some at a time, and returns when all have ended.
func eachAtOnce[T any](all []T, f func(T)) {
	slots := make(chan struct{}, accountsAtOnce)
	var running sync.WaitGroup
	for _, one := range all {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			f(one)
		})
	}
	running.Wait()
}
