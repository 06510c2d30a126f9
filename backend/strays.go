package backend

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// tidyGrace is how long after the end of a lease its revocation may still be on
// its way: Vault tries six times over about ten minutes.
const tidyGrace = time.Hour

// stray is a user, role or policy that no lease stands for.
type stray struct {
	ram.Entity
	issued issued // what is known of a user or role
	absent bool   // RAM does not have it any longer: the index is to forget it
}

// strays compares what carries the mark of this mount with what leases stand for.
// unproven is what carries it and was left alone: anybody can write a mark. It
// takes a proof to believe it, or a lease whose index entry is still there.
func (b *backend) strays(ctx context.Context, s logical.Storage, c *cloud, mark marks) (strays []stray, unproven []ram.Entity, err error) {
	who, err := c.CallerIdentity(ctx)
	if err != nil {
		return nil, nil, err
	}
	own, err := c.principals(ctx, who)
	if err != nil {
		return nil, nil, err
	}
	// The cloud first, the index second: what is issued in between is in the
	// index and not in the list, never the other way round.
	marked, err := c.Marked(ctx, mark.tag)
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, m := range marked {
		there[m.Name] = true
	}
	known, err := b.leases(ctx, s, c, there)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range marked {
		u, ended := known.ended[m.Name]
		ended = ended && u.entity() == m.Entity
		switch {
		case own.include(m.Entity):
			unproven = append(unproven, m.Entity) // whatever is written on it, the mount lives on it
			continue
		case known.live[m.Name], known.policies[m.Name], !ended && time.Since(m.Created).Abs() < b.tidyAge:
			continue
		case !ended && !(made(m.Entity) && mark.prove(m.Comment, m.Entity, who.AccountID)):
			unproven = append(unproven, m.Entity)
			continue
		case !ended:
			u = issuedOf(m.Entity)
		}
		strays = append(strays, stray{Entity: m.Entity, issued: u})
	}
	for name, u := range known.ended {
		if !there[name] && !own.include(u.entity()) {
			strays = append(strays, stray{Entity: u.entity(), issued: u, absent: true})
		}
	}
	return strays, unproven, nil
}

// made tells whether the mount can have given the entity or policy its name.
func made(e ram.Entity) bool {
	if e.Kind == ram.CustomPolicy {
		return policy.MadePolicy(e.Name)
	}
	return policy.Made(e.Name)
}

// removeStrays removes users and roles first, and then the policies that they
// held. It returns what could not be removed, with the reasons.
func (b *backend) removeStrays(ctx context.Context, s logical.Storage, c *cloud, strays []stray) []string {
	failures := make([]error, len(strays))
	var w ram.Wave
	for n, stray := range strays {
		if stray.Kind != ram.CustomPolicy {
			w.Add(func() error {
				failures[n] = b.remove(ctx, s, c, stray.issued)
				return nil
			})
		}
	}
	_ = w.Run() // each failure is kept with its stray
	failed := []string{}
	for n, stray := range strays {
		if stray.Kind == ram.CustomPolicy {
			if err := c.DeleteUnused(ctx, stray.Name); !ram.NotExist(err) {
				failures[n] = err
			}
		}
		if failures[n] != nil {
			failed = append(failed, stray.String()+": "+advised(failures[n]))
		}
	}
	return failed
}

// leases are what the index and the WAL tell of leases, by the names of users,
// roles and policies.
type leases struct {
	live     map[string]bool   // users and roles that have one, or are being created
	policies map[string]bool   // what those use
	ended    map[string]issued // users and roles whose lease has ended
}

func (l *leases) add(u issued) {
	l.live[u.name()] = true
	for _, p := range slices.Concat(u.InlinePolicies, u.RemotePolicies) {
		l.policies[p.Name] = true
	}
}

// leases reads the index and the WAL. The lease of what RAM does not know has
// ended, too: the built-in engine or an administrator deletes without a word to
// the index.
func (b *backend) leases(ctx context.Context, s logical.Storage, c *cloud, there map[string]bool) (leases, error) {
	l := leases{live: map[string]bool{}, policies: map[string]bool{}, ended: map[string]issued{}}
	wal, err := framework.ListWAL(ctx, s)
	if err != nil {
		return l, err
	}
	for _, id := range wal {
		entry, err := framework.GetWAL(ctx, s, id)
		if err != nil {
			return l, err
		}
		var u issued
		if entry != nil && recode(entry.Data, &u) == nil {
			l.add(u) // the rollback's business
		}
	}
	names, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return l, err
	}
	var unseen []issued
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		switch {
		case err != nil:
			return l, err
		case entry == nil:
		case time.Since(entry.EndsBy) > tidyGrace:
			l.ended[name] = entry.issued
		case !there[name] && time.Since(entry.CreatedAt).Abs() > max(b.tidyAge, ram.VisibleWithin):
			unseen = append(unseen, entry.issued)
		default:
			l.add(entry.issued)
		}
	}
	absent := b.absent(ctx, c, unseen)
	for n, u := range unseen {
		if absent[n] {
			l.ended[u.name()] = u
		} else {
			l.add(u) // it has lost its mark
		}
	}
	return l, nil
}

// absent asks RAM which users and roles do not exist.
func (b *backend) absent(ctx context.Context, c *cloud, unseen []issued) []bool {
	absent := make([]bool, len(unseen))
	var w ram.Wave
	for n, u := range unseen {
		w.Add(func() error {
			absent[n], _ = c.Gone(ctx, u.entity(), u.origin()) // who cannot be asked about is there
			return nil
		})
	}
	_ = w.Run() // none fails
	return absent
}
