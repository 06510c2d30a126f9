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

// plan names everything that an issue will create: nothing exists yet.
func (b *backend) plan(ctx context.Context, i issuance, kind ram.Kind) (issued, ram.Plan, *logical.Response, error) {
	refuse := func(format string, args ...any) (issued, ram.Plan, *logical.Response, error) {
		return issued{}, ram.Plan{}, logical.ErrorResponse(format, args...), nil
	}
	who, err := i.cloud.Whoami(ctx)
	if err != nil {
		resp, err := answer("asking who this mount is", err)
		return issued{}, ram.Plan{}, resp, err
	}
	if who.IdentityType == "Account" && kind == ram.Role {
		return refuse("the keys of config are those of the root account, which can assume no role: configure those of a RAM user")
	}
	name, err := policy.UserName(cmp.Or(i.role.UsernameTemplate, i.cloud.usernameTemplate), i.req.DisplayName, i.name)
	if err != nil {
		return refuse("username_template: %s", err)
	}
	remote, err := i.remotePolicies(b.System())
	if err != nil {
		return refuse("%s", err)
	}
	mark := i.mark()
	p := ram.Plan{
		Entity: ram.Entity{Kind: kind, Name: name}, Mark: mark.ofRole, Policies: remote, Groups: append([]string{}, i.role.RAMGroups...),
	}
	u := issuedOf(p.Entity)
	u.InlinePolicies, u.RemotePolicies, u.RAMGroups = []ram.Policy{}, slices.Clone(remote), p.Groups
	u.AccountID, u.CreatedAt = who.AccountID, time.Now().UTC().Truncate(time.Second)
	for n, inline := range i.role.InlinePolicies {
		document, err := policy.Render(string(inline.PolicyDocument), policy.MaxDocument, i.req.EntityID, b.System())
		if err != nil {
			return refuse("inline_policies[%d] %s", n, err)
		}
		d := ram.Document{Text: document, Mark: mark.ofMount, Shared: !i.role.PolicyPerLease}
		if !d.Shared {
			d.Name = policy.OwnName(name, inline.Hash)
			u.InlinePolicies = append(u.InlinePolicies, ram.Policy{Name: d.Name, Type: "Custom"})
			p.Documents = append(p.Documents, d)
			continue
		}
		d.Name = policy.SharedName(i.cloud.policyNameTemplate, i.name, i.tag, document)
		if slices.Contains(u.SharedPolicies, d.Name) {
			continue
		}
		p.Documents = append(p.Documents, d)
		u.SharedPolicies = append(u.SharedPolicies, d.Name)
		// The built-in engine, should it ever revoke this lease, must detach and
		// not delete it.
		u.RemotePolicies = append(u.RemotePolicies, ram.Policy{Name: d.Name, Type: "Custom"})
	}
	return u, p, nil, nil
}

// remotePolicies are those of the role, with the templates in their names filled in.
func (i issuance) remotePolicies(system logical.SystemView) ([]ram.Policy, error) {
	policies := append([]ram.Policy{}, i.role.RemotePolicies...)
	for n, p := range policies {
		if !templated(p) {
			continue
		}
		name, err := policy.RenderText(p.Name, i.req.EntityID, system)
		if err != nil {
			return nil, fmt.Errorf("remote_policies[%d] %w", n, err)
		}
		if !policy.IsName(name) {
			return nil, fmt.Errorf("remote_policies[%d] has identity templates whose values make no name of a policy: %d letters, digits and hyphens at most", n, policy.MaxName)
		}
		policies[n].Name = name
	}
	return policies, nil
}

// issuing is an issue under way: the WAL knows all that it makes until it is
// concluded.
type issuing struct {
	b    *backend
	i    issuance
	made issued
	wal  string
}

// begin writes the WAL entry. Nothing may be created before.
func (b *backend) begin(ctx context.Context, i issuance, u issued) (*issuing, error) {
	wal, err := putWAL(ctx, i.req.Storage, u)
	if err != nil {
		return nil, err
	}
	b.holders.add(u.name(), u.SharedPolicies)
	return &issuing{b: b, i: i, made: u, wal: wal}, nil
}

// create creates what the plan says, in two waves. The index entry is written
// beside the second one.
func (n *issuing) create(ctx context.Context, p ram.Plan) (ram.AccessKey, error) {
	for d := range p.Documents {
		p.Documents[d].Exists = p.Documents[d].Shared && n.b.holders.others(p.Documents[d].Name)
	}
	if err := n.i.cloud.Create(ctx, p); err != nil {
		return ram.AccessKey{}, err
	}
	var key ram.AccessKey
	entry := n.made // without the AccessKeyID, which only the lease needs
	var w ram.Wave
	w.Add(func() error {
		// The lease begins when all this has ended.
		if err := saveIssued(ctx, n.i.req.Storage, entry, time.Now().Add(issueTimeout+n.i.limit)); err != nil {
			return fmt.Errorf("recording what was issued: %w", err)
		}
		return nil
	})
	w.Add(func() (err error) {
		key, err = n.i.cloud.Equip(ctx, p)
		return err
	})
	err := w.Run()
	n.made.AccessKeyID = key.ID
	return key, err
}

// conclude ends the issue, which failed with err or did not. A response or an
// error means that there is no lease, and that what was created has been removed
// or is left to the rollback.
func (n *issuing) conclude(ctx context.Context, doing string, err error) (*logical.Response, error) {
	if err == nil {
		// A request that was given up gets no lease, whatever is answered.
		err = ctx.Err()
	}
	if err != nil {
		n.undo(ctx, err)
		return answer(doing, err)
	}
	n.made.CreatedAt = time.Now().UTC().Truncate(time.Second) // from now on RAM may need a while to show it all
	if err = framework.DeleteWAL(ctx, n.i.req.Storage, n.wal); err == nil {
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

// undo cleans up at once after a failed issue, so that a user nobody holds does
// not live until the rollback. The WAL entry goes only when nothing can be left:
// no call may have taken effect unseen, and the clean-up saw everything go.
func (n *issuing) undo(ctx context.Context, cause error) {
	s, u := n.i.req.Storage, n.made
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	u.CreatedAt = time.Now() // the last call may just have created something
	err := n.b.remove(ctx, s, n.i.cloud, u)
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

// marks say in RAM where something comes from: which mount of which cluster,
// and for a user or role, for which role of the engine. Comments of a user hold
// 128 characters.
type marks struct{ ofMount, ofRole string }

func (i issuance) mark() marks {
	mark := i.tag + " " + i.name
	return marks{i.tag, mark[:min(len(mark), 128)]}
}
