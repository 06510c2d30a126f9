package backend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// out is what is out and needs the mount's credentials.
type out struct {
	issued map[string]place // RAM users and roles of leases, and of issues that did not end
	static map[string]place // static roles
}

// place is the account that something is in, "" where that is not known, and as which
// role the mount works there.
type place struct {
	account string
	role    accountRole
}

func (o out) none() bool { return len(o.issued)+len(o.static) == 0 }

// accounts are those that something is in.
func (o out) accounts() []string {
	all := map[string]bool{}
	for _, kind := range []map[string]place{o.issued, o.static} {
		for _, in := range kind {
			all[in.account] = true
		}
	}
	delete(all, "")
	return slices.Sorted(maps.Keys(all))
}

// that are those for which it holds.
func (o out) that(holds func(place) bool) out {
	some := out{issued: maps.Clone(o.issued), static: maps.Clone(o.static)}
	not := func(_ string, in place) bool { return !holds(in) }
	maps.DeleteFunc(some.issued, not)
	maps.DeleteFunc(some.static, not)
	return some
}

// out reads the index, the WAL and the static roles.
func (b *backend) out(ctx context.Context, s logical.Storage) (out, error) {
	o := out{issued: map[string]place{}, static: map[string]place{}}
	wal, err := framework.ListWAL(ctx, s)
	if err != nil {
		return o, err
	}
	for _, id := range wal {
		entry, err := framework.GetWAL(ctx, s, id)
		if err != nil {
			return o, err
		}
		if entry == nil {
			continue
		}
		if u, err := readWAL(entry.Kind, entry.Data); err == nil {
			o.issued[u.name()] = place{u.AccountID, u.accountRole}
		}
	}
	issued, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return o, err
	}
	for _, name := range issued {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		if err != nil {
			return o, err
		}
		if entry != nil {
			o.issued[name] = place{entry.AccountID, entry.accountRole}
		}
	}
	static, err := s.List(ctx, staticRolePrefix)
	if err != nil {
		return o, err
	}
	for _, name := range static {
		r, err := load[staticRole](ctx, s, staticRolePrefix+name)
		if err != nil {
			return o, err
		}
		if r != nil {
			o.static[name] = place{r.Rotation.AccountID, r.accountRole}
		}
	}
	return o, nil
}

// otherAccount warns of a write that leaves what is out in an account that the new
// credentials are not of, or may not be. account is theirs where it was asked for. It
// calls nothing, and the write is done: that the storage cannot be read is a warning too.
func (b *backend) otherAccount(ctx context.Context, s logical.Storage, before, c *config, account string) (warnings []string) {
	another := before != nil && !before.samePrincipal(c)
	if account == "" {
		if !another {
			return nil
		}
		account = c.roleAccount()
	}
	all, err := b.out(ctx, s)
	if err != nil {
		return []string{"it could not be counted what is out and needs credentials of the account before: " + oneLine(err)}
	}
	if assumed := all.that(func(in place) bool { return !in.role.none() }); another && !assumed.none() {
		warnings = append(warnings, fmt.Sprintf("%d RAM users and roles of leases and %d static roles are in account %s, where the mount assumes the RAM role of their assume_role_arn: "+
			"let the new principal assume it too, in its own policy and in the trust policy there", len(assumed.issued), len(assumed.static), strings.Join(assumed.accounts(), ", ")))
	}
	o := all.that(func(in place) bool {
		return in.role.none() && (account == "" || in.account != "" && in.account != account)
	})
	if o.none() {
		return warnings
	}
	of := "an account that is not known"
	if accounts := o.accounts(); len(accounts) > 0 {
		of = "account " + strings.Join(accounts, ", ")
	}
	what := fmt.Sprintf("%d RAM users and roles of leases and %d static roles are out in %s", len(o.issued), len(o.static), of)
	if account == "" {
		return append(warnings, what+", and credentials of another account can neither revoke nor rotate them. It was not asked which account these are of: "+
			"vault read "+b.mountPath()+"config/caller-identity tells it, and so does verify=true in the write")
	}
	return append(warnings, what+", and these credentials are of account "+account+", so they can be neither revoked nor rotated: "+
		"write the credentials before again, and revoke the leases and delete the static roles first")
}

// samePrincipal tells whether a write leaves alone who the mount is.
func (c *config) samePrincipal(as *config) bool {
	return c.credentialType() == as.credentialType() && c.source == as.source && c.RoleARN == as.RoleARN
}

// roleAccount is the account of the role that the mount works as, "" where there is none.
func (c *config) roleAccount() string {
	account, _, _ := strings.Cut(strings.TrimPrefix(c.RoleARN, "acs:ram::"), ":")
	return account
}
