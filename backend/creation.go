package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// mostTaken bounds how many names of policies one request finds taken.
const mostTaken = 5

// creation is what is being created for a request: the WAL knows all of it until
// it is concluded.
type creation struct {
	credsRequest
	b      *backend
	issued issued
	wal    string // id of the entry
	tried  bool   // to create it
}

// begin writes the WAL entry. Nothing may be created before.
func (b *backend) begin(ctx context.Context, c credsRequest, u issued) (*creation, error) {
	wal, err := putWAL(ctx, c.req.Storage, u)
	if err != nil {
		return nil, err
	}
	b.holders.add(u.name(), u.SharedPolicies)
	return &creation{credsRequest: c, b: b, issued: u, wal: wal}, nil
}

// create creates what the plan says, in two waves. The index entry is written
// beside the second one.
func (n *creation) create(ctx context.Context, p ram.Plan) (ram.AccessKey, error) {
	var one *ram.Client // all is created with the same credentials, in the account that the WAL has
	err := n.cloud.Within(ctx, n.issued.AccountID, func(c *ram.Client) error {
		one = c
		return n.first(ctx, c, p)
	})
	if err != nil {
		if one == nil {
			n.issued.notCreated = p.Creates()
		}
		return ram.AccessKey{}, err
	}
	var key ram.AccessKey
	entry := n.issued // without the AccessKeyID, which only the lease needs
	var w ram.Wave
	w.Add(func() error {
		// The lease begins when all this has ended.
		now := time.Now().Add(issueTimeout)
		if err := n.b.saveIssued(ctx, n.req.Storage, indexEntry{entry, now.Add(n.maxTTL), now.Add(n.leaseTTL()), n.name}); err != nil {
			return fmt.Errorf("recording what was issued: %w", err)
		}
		return nil
	})
	w.Add(func() (err error) {
		key, err = one.Equip(ctx, p)
		return err
	})
	err = w.Run()
	n.issued.AccessKeyID = key.ID
	return key, err
}

// leaseTTL is how long the lease lasts at most, if it is not renewed.
func (n *creation) leaseTTL() time.Duration {
	if n.ttl > 0 {
		return n.ttl
	}
	standard := n.b.System().DefaultLeaseTTL()
	if standard <= 0 {
		return n.maxTTL
	}
	return max(standard, defaultSession) // the second for a RAM role
}

// first creates the entity and the policies. A shared policy whose name somebody
// else has taken gets another one.
func (n *creation) first(ctx context.Context, c *ram.Client, p ram.Plan) error {
	for tries := 1; ; tries++ {
		for i, d := range p.Documents {
			p.Documents[i].Exists = d.Shared && n.b.holders.heldByOthers(d.Name)
		}
		id, err := c.Create(ctx, p)
		n.issued.UserID = cmp.Or(id, n.issued.UserID)
		taken, found := errors.AsType[*ram.PolicyTaken](err)
		i := slices.IndexFunc(p.Documents, func(d ram.Document) bool { return found && d.Shared && d.Name == taken.Name })
		if n.issued.notCreated = nil; !n.tried { // later an earlier try may have created it
			n.issued.notCreated = ram.NotCreated(err)
		}
		n.tried = true
		if i < 0 || tries > mostTaken {
			return err
		}
		if err := n.rename(ctx, &p.Documents[i]); err != nil {
			return err
		}
		n.b.Logger().Warn("a policy of this mount is not what it should be, and another is used", "reason", taken, "instead", p.Documents[i].Name)
	}
}

// rename gives the policy of a document another name: first in the WAL, as what is
// to be created. The policy that has the name now is left to whoever made it.
func (n *creation) rename(ctx context.Context, d *ram.Document) error {
	before, u := n.wal, n.issued
	name := n.b.holders.instead(d.Name, policy.Another)
	u.SharedPolicies = replaced(u.SharedPolicies, d.Name, name)
	taken, instead := d.Policy(), d.Policy()
	instead.Name = name
	u.RemotePolicies = replaced(u.RemotePolicies, taken, instead)
	wal, err := putWAL(ctx, n.req.Storage, u)
	if err != nil {
		return err
	}
	n.wal, n.issued = wal, u
	n.b.holders.drop(u.name(), d.Name)
	n.b.holders.add(u.name(), u.SharedPolicies)
	d.Name, d.Mark = name, n.markOf(name, u.AccountID)
	return framework.DeleteWAL(ctx, n.req.Storage, before)
}

// replaced is the list with another element in the place of one.
func replaced[E comparable](list []E, old, with E) []E {
	list = slices.Clone(list)
	for i := range list {
		if list[i] == old {
			list[i] = with
		}
	}
	return list
}

// conclude ends the issue, which failed with err or did not. A response or an
// error means that there is no lease, and that what was created has been removed
// or is left to the rollback.
func (n *creation) conclude(ctx context.Context, doing string, err error) (*logical.Response, error) {
	if err == nil {
		// A request that was given up gets no lease, whatever is answered.
		err = ctx.Err()
	}
	if err != nil {
		n.undo(ctx, err)
		return answer(doing, err)
	}
	n.issued.CreatedAt = time.Now().UTC().Truncate(time.Second) // from now on RAM may need a while to show it all
	if err = framework.DeleteWAL(ctx, n.req.Storage, n.wal); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// The entry is there, or may be: a rollback would take the user away
		// from under its lease.
		n.undo(ctx, err)
		return nil, errors.New(seeAlso("recording what was issued: "+oneLine(err), helpPage+helpNoAnswer))
	}
	return nil, nil
}

// undo cleans up at once after a failure, so that a user nobody holds does not
// live until the rollback. The WAL entry goes only when nothing can be left:
// no call may have taken effect unseen, and the clean-up saw everything go.
func (n *creation) undo(ctx context.Context, cause error) {
	s, u := n.req.Storage, n.issued
	ctx, cancel := cleaningUp(context.WithoutCancel(ctx))
	defer cancel()
	u.CreatedAt = time.Now() // the last call may just have created something
	u.UserID = ""            // nobody has its key, to rename it
	err := n.b.remove(ctx, s, n.cloud, u)
	switch {
	case err == nil && !openapi.Ambiguous(cause):
		err = framework.DeleteWAL(ctx, s, n.wal)
	case err != nil:
		// The deletion of the entry may be what failed, after it took effect.
		if entry, missing := framework.GetWAL(ctx, s, n.wal); entry == nil || missing != nil {
			_, again := putWAL(ctx, s, u)
			err = errors.Join(err, again)
		}
	}
	if err != nil {
		n.b.Logger().Warn("an unfinished issue is left to the rollback", "name", u.name(), "error", err)
	}
}
