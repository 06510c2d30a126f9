package backend

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// issued is what was, or was about to be, created for one lease: the content of
// a WAL entry, of the index, and of the lease itself. Its JSON form is the
// lease's, of which username, access_key_id and the first two lists are those of
// Vault's built-in engine. Lists may be null or missing in a lease of that
// engine.
type issued struct {
	UserName       string       `json:"username"`
	RAMRole        string       `json:"ram_role,omitempty"` // instead of a user
	AccessKeyID    string       `json:"access_key_id"`
	InlinePolicies []ram.Policy `json:"inline_policies"`           // this lease's: deleted
	RemotePolicies []ram.Policy `json:"remote_policies"`           // others': detached
	SharedPolicies []string     `json:"shared_policies,omitempty"` // those of RemotePolicies that are the mount's
	RAMGroups      []string     `json:"ram_groups"`
	LoginProfile   bool         `json:"login_profile,omitempty"` // the user signs in to the console
	MFADevices     []string     `json:"mfa_devices,omitempty"`   // of the index: virtual ones of the user that a removal was about to unbind
	AccountID      string       `json:"account_id"`
	accountRole                 // as which it was made
	UserID         string       `json:"user_id,omitempty"` // RAM's, of the user; a WAL entry and a lease of a version before have none
	CreatedAt      time.Time    `json:"created_at"`

	notCreated []ram.Entity // what of it there cannot be, while the request that was to create it lasts
}

// name is that of the user or the role; neither is ever used twice.
func (u issued) name() string { return u.UserName + u.RAMRole }

// issuedOf is a user or role of which nothing but the name is known.
func issuedOf(e ram.Entity) issued {
	if e.Kind == ram.Role {
		return issued{RAMRole: e.Name}
	}
	return issued{UserName: e.Name}
}

// entity is the user or role.
func (u issued) entity() ram.Entity {
	if u.RAMRole != "" {
		return ram.Entity{Kind: ram.Role, Name: u.RAMRole}
	}
	return ram.Entity{Kind: ram.User, Name: u.UserName}
}

func (u issued) origin() ram.Origin {
	return ram.Origin{AccountID: u.AccountID, UserID: u.UserID, At: u.CreatedAt}
}

// created is what is to be removed.
func (u issued) created() ram.Created {
	made := func(policies []ram.Policy) []ram.Policy {
		return slices.DeleteFunc(slices.Clone(policies), func(p ram.Policy) bool { return p.Type == "Custom" && u.policyNeverMade(p.Name) })
	}
	return ram.Created{
		Entity: u.entity(), NeverMade: u.neverMade(u.entity()), AccessKeyID: u.AccessKeyID, Login: u.LoginProfile,
		Policies: made(u.RemotePolicies), OwnPolicies: made(u.InlinePolicies), Groups: u.RAMGroups, Origin: u.origin(),
	}
}

func (u issued) neverMade(e ram.Entity) bool { return slices.Contains(u.notCreated, e) }

func (u issued) policyNeverMade(name string) bool {
	return u.neverMade(ram.Entity{Kind: ram.CustomPolicy, Name: name})
}

// issuedPrefix begins the index of what leases stand for, one entry for each
// RAM user and RAM role: a plugin cannot list its leases. It is local to the
// cluster, as leases are.
const issuedPrefix = "issued/"

type indexEntry struct {
	issued
	EndsBy    time.Time `json:"ends_by"`             // no lease lasts longer, however often it is renewed
	LeaseEnds time.Time `json:"lease_ends,omitzero"` // if it is not renewed; zero: of a version before this field
	Role      string    `json:"role,omitempty"`      // of the engine; "": of a version before this field, or of no lease
}

// end is when the lease ends at the latest, as things are.
func (e indexEntry) end() time.Time {
	if e.LeaseEnds.IsZero() || e.EndsBy.Before(e.LeaseEnds) {
		return e.EndsBy
	}
	return e.LeaseEnds
}

// indexed is the entry of u. What has none, such as a lease of Vault's built-in
// engine, is answered one that is not stored yet and whose lease is over.
func (b *backend) indexed(ctx context.Context, s logical.Storage, u issued) (indexEntry, error) {
	entry, err := load[indexEntry](ctx, s, issuedPrefix+u.name())
	if entry == nil {
		now := time.Now()
		entry = &indexEntry{issued: u, EndsBy: now, LeaseEnds: now}
	}
	return *entry, err
}

func (b *backend) saveIssued(ctx context.Context, s logical.Storage, entry indexEntry) error {
	entry.EndsBy, entry.LeaseEnds = entry.EndsBy.UTC().Truncate(time.Second), entry.LeaseEnds.UTC().Truncate(time.Second)
	if err := save(ctx, s, issuedPrefix+entry.name(), &entry); err != nil {
		return err
	}
	b.endings.note(entry)
	return nil
}

// prolong moves the ends of an entry before a renewal. None comes earlier: the
// renewal may yet fail.
func (b *backend) prolong(ctx context.Context, s logical.Storage, u issued, leaseEnds, endsBy time.Time) error {
	entry, err := load[indexEntry](ctx, s, issuedPrefix+u.name())
	if err != nil || entry == nil {
		return err
	}
	ends := *entry
	if endsBy.After(ends.EndsBy) {
		ends.EndsBy = endsBy
	}
	if leaseEnds.After(ends.LeaseEnds) {
		ends.LeaseEnds = leaseEnds
	}
	return b.saveIssued(ctx, s, ends)
}
