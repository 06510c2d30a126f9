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

// out is what is out and needs the mount's credentials: each has the account that
// it is in, "" where that is not known.
type out struct {
	issued map[string]string // RAM users and roles of leases, and of issues that did not end
	static map[string]string // static roles
}

func (o out) none() bool { return len(o.issued)+len(o.static) == 0 }

// accounts are those that something is in.
func (o out) accounts() []string {
	all := slices.Concat(slices.Collect(maps.Values(o.issued)), slices.Collect(maps.Values(o.static)))
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(account string) bool { return account == "" })
}

// notIn are those that are known to be in another account.
func (o out) notIn(account string) out {
	here := func(_, in string) bool { return in == "" || in == account }
	maps.DeleteFunc(o.issued, here)
	maps.DeleteFunc(o.static, here)
	return o
}

// out reads the index, the WAL and the static roles.
func (b *backend) out(ctx context.Context, s logical.Storage) (out, error) {
	o := out{issued: map[string]string{}, static: map[string]string{}}
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
			o.issued[u.name()] = u.AccountID
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
			o.issued[name] = entry.AccountID
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
			o.static[name] = r.Rotation.AccountID
		}
	}
	return o, nil
}

// otherAccount warns of a write that leaves what is out in an account that the new
// credentials are not of, or may not be. account is theirs where it was asked for. It
// calls nothing, and the write is done: that the storage cannot be read is a warning too.
func (b *backend) otherAccount(ctx context.Context, s logical.Storage, before, c *config, account string) []string {
	if account == "" {
		if before == nil || before.samePrincipal(c) {
			return nil
		}
		account = c.roleAccount()
	}
	o, err := b.out(ctx, s)
	if err != nil {
		return []string{"it could not be counted what is out and needs credentials of the account before: " + oneLine(err)}
	}
	if account != "" {
		o = o.notIn(account)
	}
	if o.none() {
		return nil
	}
	of := "an account that is not known"
	if accounts := o.accounts(); len(accounts) > 0 {
		of = "account " + strings.Join(accounts, ", ")
	}
	what := fmt.Sprintf("%d RAM users and roles of leases and %d static roles are out in %s", len(o.issued), len(o.static), of)
	if account == "" {
		return []string{what + ", and credentials of another account can neither revoke nor rotate them. It was not asked which account these are of: " +
			"vault read " + b.mountPath() + "config/caller-identity tells it, and so does verify=true in the write"}
	}
	return []string{what + ", and these credentials are of account " + account + ", so they can be neither revoked nor rotated: " +
		"write the credentials before again, and revoke the leases and delete the static roles first"}
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
