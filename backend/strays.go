package backend

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	// tidyGrace is how long after the end of a lease its revocation may still be on
	// its way: Vault tries six times over about ten minutes.
	tidyGrace = time.Hour

	listTimeout = 30 * time.Second // of what one account has
)

// stray is a user, role or policy that no lease stands for.
type stray struct {
	ram.Entity
	issued issued // what is known of a user or role
	absent bool   // RAM does not have it any longer: the index is to forget it
}

// search is for what carries the mark of this mount in one account and has no lease.
type search struct {
	b       *backend
	mount   *cloud
	account string
	as      []accountRole // of those with which the mount can work there; the first that works is taken

	idle bool // nothing that is known was made there

	c      *cloud // what works there
	who    ram.Identity
	own    principals
	marked []ram.Marked
	err    error // why the account could not be looked at

	strays   []stray
	unproven []ram.Entity // anybody can write a mark: it takes a proof to believe it, or a lease whose index entry is still there
	failed   []string     // what could not be removed, with the reasons
}

// searches are one for the mount's own account, which is the first, and one for each
// other that roles, static roles and leases name.
func (b *backend) searches(ctx context.Context, s logical.Storage, c *cloud) ([]*search, error) {
	who, err := c.CallerIdentity(ctx)
	if err != nil {
		return nil, err
	}
	roles, err := b.accountRoles(ctx, s)
	if err != nil {
		return nil, err
	}
	all := []*search{{b: b, mount: c, account: who.AccountID, as: []accountRole{{}}, idle: !slices.Contains(roles, accountRole{})}}
	for _, r := range roles {
		if r.none() {
			continue
		}
		n := slices.IndexFunc(all, func(in *search) bool { return in.account == r.account() })
		if n < 0 {
			n, all = len(all), append(all, &search{b: b, mount: c, account: r.account()})
		}
		all[n].as = append(all[n].as, r)
	}
	return all, nil
}

// list finds out what carries the mark.
func (in *search) list(ctx context.Context, mark marks) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var failures []error
	for _, r := range in.as {
		in.c = in.mount.as(r)
		err := in.listAs(ctx, mark)
		if err == nil {
			return
		}
		failures = append(failures, err)
	}
	in.err = errors.Join(failures...)
}

func (in *search) listAs(ctx context.Context, mark marks) (err error) {
	if in.who, err = in.c.CallerIdentity(ctx); err != nil {
		return err
	}
	if in.own, err = in.c.principals(ctx, in.who); err != nil {
		return err
	}
	in.marked, err = in.c.Marked(ctx, mark.tag)
	return err
}

// compare compares what carries the mark with what leases stand for. Storage is read
// after the cloud was: what is issued in between is in the index and not in the list,
// never the other way round.
func (in *search) compare(ctx context.Context, r recorded, mark marks) {
	there := map[string]bool{}
	for _, m := range in.marked {
		there[m.Name] = true
	}
	known := in.leases(ctx, r, there)
	for _, m := range in.marked {
		u, ended := known.ended[m.Name]
		ended = ended && u.entity() == m.Entity
		switch {
		case in.own.include(m.Entity):
			in.unproven = append(in.unproven, m.Entity) // whatever is written on it, the mount lives on it
			continue
		case known.live[m.Name], known.policies[m.Name], !ended && time.Since(m.Created).Abs() < in.b.tidyAge:
			continue
		case !ended && !(made(m.Entity) && mark.prove(m.Comment, m.Entity, in.who.AccountID)):
			in.unproven = append(in.unproven, m.Entity)
			continue
		case !ended:
			u = issuedOf(m.Entity)
			u.accountRole = in.c.role
		}
		in.strays = append(in.strays, stray{Entity: m.Entity, issued: u})
	}
	for name, u := range known.ended {
		if !there[name] && !in.own.include(u.entity()) {
			in.strays = append(in.strays, stray{Entity: u.entity(), issued: u, absent: true})
		}
	}
}

// made tells whether the mount can have given the entity or policy its name.
func made(e ram.Entity) bool {
	if e.Kind == ram.CustomPolicy {
		return policy.MadePolicy(e.Name)
	}
	return policy.Made(e.Name)
}

// remove removes users and roles first, and then the policies that they held.
func (in *search) remove(ctx context.Context, s logical.Storage) {
	failures := make([]error, len(in.strays))
	var w ram.Wave
	for n, stray := range in.strays {
		if stray.Kind != ram.CustomPolicy {
			w.Add(func() error {
				failures[n] = in.b.remove(ctx, s, in.mount, stray.issued)
				return nil
			})
		}
	}
	_ = w.Run() // each failure is kept with its stray
	for n, stray := range in.strays {
		if stray.Kind == ram.CustomPolicy {
			err := in.c.DeleteUnused(ctx, stray.Name) // what does not exist may be the RAM role of the account
			if errors.As(err, new(*notInAccount)) || !ram.NotExist(err) {
				failures[n] = err
			}
		}
		if failures[n] != nil {
			in.failed = append(in.failed, stray.String()+": "+advised(failures[n]))
		}
	}
}

// leases are what the index and the WAL tell of leases, by the names of users,
// roles and policies, which are the same nowhere.
type leases struct {
	live     map[string]bool   // users and roles that have one, or are being created
	policies map[string]bool   // what those use
	ended    map[string]issued // users and roles of the account whose lease has ended
}

func (l *leases) add(u issued) {
	l.live[u.name()] = true
	for _, p := range slices.Concat(u.InlinePolicies, u.RemotePolicies) {
		l.policies[p.Name] = true
	}
}

// leases sorts what is recorded. The lease of what RAM does not know has ended, too:
// the built-in engine or an administrator deletes without a word to the index.
func (in *search) leases(ctx context.Context, r recorded, there map[string]bool) leases {
	l := leases{live: map[string]bool{}, policies: map[string]bool{}, ended: map[string]issued{}}
	for _, u := range r.unfinished {
		l.add(u)
	}
	var unseen []issued
	for _, entry := range r.index {
		switch {
		case !slices.ContainsFunc(in.as, func(r accountRole) bool { return r == entry.accountRole }):
			l.add(entry.issued) // another search's business
		case time.Since(entry.EndsBy) > tidyGrace:
			l.ended[entry.name()] = entry.issued
		case !there[entry.name()] && time.Since(entry.CreatedAt).Abs() > max(in.b.tidyAge, ram.VisibleWithin):
			unseen = append(unseen, entry.issued)
		default:
			l.add(entry.issued)
		}
	}
	absent := in.absent(ctx, unseen)
	for n, u := range unseen {
		if absent[n] {
			l.ended[u.name()] = u
		} else {
			l.add(u) // it has lost its mark
		}
	}
	return l
}

// absent asks RAM which users and roles do not exist.
func (in *search) absent(ctx context.Context, unseen []issued) []bool {
	absent := make([]bool, len(unseen))
	var w ram.Wave
	for n, u := range unseen {
		w.Add(func() error {
			absent[n], _ = in.c.Gone(ctx, u.entity(), u.origin()) // who cannot be asked about is there
			return nil
		})
	}
	_ = w.Run() // none fails
	return absent
}
