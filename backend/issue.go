package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// policyDocument is a custom policy that an issue needs.
type policyDocument struct {
	name     string
	document string
	shared   bool
}

// plan names everything an issue will create: nothing exists yet.
func (b *backend) plan(ctx context.Context, i issuance) (issued, []policyDocument, *logical.Response, error) {
	who, err := i.cloud.whoami(ctx)
	if err != nil {
		resp, err := answer("asking who this mount is", err)
		return issued{}, nil, resp, err
	}
	if who.IdentityType == "Account" && i.role.credentialType() == typeRAMRole {
		return issued{}, nil, logical.ErrorResponse("the keys of config are those of the root account, which can assume no role: configure those of a RAM user"), nil
	}
	name, err := makeUserName(cmp.Or(i.role.UsernameTemplate, i.cloud.usernameTemplate), i.req.DisplayName, i.name)
	if err != nil {
		return issued{}, nil, logical.ErrorResponse("username_template: %s", err), nil
	}
	remote, err := i.remotePolicies(b.System())
	if err != nil {
		return issued{}, nil, logical.ErrorResponse(err.Error()), nil
	}
	u := issued{
		RAMRole:        name,
		InlinePolicies: []remotePolicy{},
		RemotePolicies: remote,
		RAMGroups:      []string{},
		AccountID:      who.AccountID,
		CreatedAt:      time.Now().UTC().Truncate(time.Second),
	}
	var documents []policyDocument
	for n, p := range i.role.InlinePolicies {
		document, err := render(string(p.PolicyDocument), i.req, b.System(), maxPolicyDocument)
		if err != nil {
			return issued{}, nil, logical.ErrorResponse("inline_policies[%d] %s", n, err), nil
		}
		if i.role.PolicyPerLease {
			d := policyDocument{name: policyName(name, p.Hash), document: document}
			documents = append(documents, d)
			u.InlinePolicies = append(u.InlinePolicies, remotePolicy{Name: d.name, Type: "Custom"})
			continue
		}
		d := policyDocument{name: sharedPolicyName(i.cloud.policyNameTemplate, i.name, i.tag, document), document: document, shared: true}
		if !named(documents, d.name) {
			documents = append(documents, d)
			u.SharedPolicies = append(u.SharedPolicies, d.name)
			// The built-in engine, should it ever revoke this lease, must detach
			// and not delete it.
			u.RemotePolicies = append(u.RemotePolicies, remotePolicy{Name: d.name, Type: "Custom"})
		}
	}
	return u, documents, nil, nil
}

// remotePolicies are those of the role, with the templates in their names filled in.
func (i issuance) remotePolicies(system logical.SystemView) ([]remotePolicy, error) {
	policies := append([]remotePolicy{}, i.role.RemotePolicies...)
	for n, p := range policies {
		if !p.templated() {
			continue
		}
		name, err := renderString(p.Name, i.req, system)
		if err != nil {
			return nil, fmt.Errorf("remote_policies[%d] %w", n, err)
		}
		foreign := strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(alphanumeric+"-", r) })
		if foreign || len(name) > maxPolicyName {
			return nil, fmt.Errorf("remote_policies[%d] has identity templates whose values make no name of a policy: %d letters, digits and hyphens at most", n, maxPolicyName)
		}
		policies[n].Name = name
	}
	return policies, nil
}

func named(documents []policyDocument, name string) bool {
	return slices.ContainsFunc(documents, func(d policyDocument) bool { return d.name == name })
}

// create runs build, which creates what u names, between the writing and the
// deletion of the WAL entry. build calls record along the way, beside whatever
// it waits for: it writes the index entry. A response or an error means that
// there is no lease, and that what was created has been removed or is left to
// the rollback.
func (b *backend) create(ctx context.Context, i issuance, u *issued, doing string, build func(record func() error) error) (*logical.Response, error) {
	wal, err := putWAL(ctx, i.req.Storage, *u)
	if err != nil {
		return nil, err
	}
	b.holders.add(u.name(), u.SharedPolicies)
	entry := *u // without the AccessKeyID, which only the lease needs
	err = build(func() error {
		// The lease begins when all this has ended.
		if err := saveIssued(ctx, i.req.Storage, entry, time.Now().Add(issueTimeout+i.limit)); err != nil {
			return fmt.Errorf("recording what was issued: %w", err)
		}
		return nil
	})
	if err == nil {
		// A request that was given up gets no lease, whatever is answered.
		err = ctx.Err()
	}
	if err != nil {
		b.undo(ctx, i.req.Storage, i.cloud, *u, wal, err)
		return answer(doing, err)
	}
	u.CreatedAt = time.Now().UTC().Truncate(time.Second) // from now on RAM may need a while to show it all
	if err = framework.DeleteWAL(ctx, i.req.Storage, wal); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// The entry is there, or may be: a rollback would take the user away
		// from under its lease.
		b.undo(ctx, i.req.Storage, i.cloud, *u, wal, err)
		return nil, errors.New(seeAlso("recording what was issued: "+oneLine(err), helpPage+helpNoAnswer))
	}
	return nil, nil
}

// undo cleans up at once after a failed issue, so that a user nobody holds does
// not live until the rollback. The WAL entry goes only when nothing can be left:
// no call may have taken effect unseen, and the clean-up saw everything go.
func (b *backend) undo(ctx context.Context, s logical.Storage, cloud *cloud, u issued, wal string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	u.CreatedAt = time.Now() // the last call may just have created something
	err := b.remove(ctx, s, cloud, u)
	switch {
	case err == nil && !openapi.Ambiguous(cause):
		err = framework.DeleteWAL(ctx, s, wal)
	case err != nil:
		// The deletion of the entry may be what failed, after it took effect.
		if entry, missing := framework.GetWAL(ctx, s, wal); entry == nil || missing != nil {
			_, again := putWAL(ctx, s, u)
			err = errors.Join(err, again)
		}
	}
	if err != nil {
		b.Logger().Warn("an unfinished issue is left to the rollback", "name", u.name(), "error", err)
	}
}

// addPolicies adds the creation of the custom policies that do not exist yet.
func addPolicies(ctx context.Context, w *wave, c *cloud, documents []policyDocument, mark marks, exists func(string) bool) {
	for _, d := range documents {
		if !d.shared || !exists(d.name) {
			w.add(func() error { return c.createPolicy(ctx, d.name, d.document, mark.ofMount) })
		}
	}
}

// addAttachments adds the attachment of all policies to the user or role.
func addAttachments(ctx context.Context, w *wave, c *cloud, u issued, documents []policyDocument, mark marks, visible func(func() error) func() error) {
	for _, p := range u.RemotePolicies {
		if p.Type != "Custom" || !named(documents, p.Name) {
			w.add(visible(func() error { return c.attach(ctx, u, p) }))
		}
	}
	for _, d := range documents {
		attach := visible(func() error { return c.attach(ctx, u, remotePolicy{Name: d.name, Type: "Custom"}) })
		w.add(func() error {
			return eventually(ctx, "EntityNotExist.Policy", func() error {
				err := attach()
				if d.shared && hasCode(err, "EntityNotExist.Policy") {
					// The last lease before this one took it away just now.
					if again := c.createPolicy(ctx, d.name, d.document, mark.ofMount); again != nil {
						return again
					}
				}
				return err
			})
		})
	}
}

// marks say in RAM where something comes from: which mount of which cluster,
// and for a user or role, for which role of the engine. Comments of a user hold
// 128 characters.
type marks struct{ ofMount, ofRole string }

func (i issuance) mark() marks {
	mark := joinNonEmpty(" ", i.tag, word(i.name, "._"))
	return marks{i.tag, mark[:min(len(mark), 128)]}
}
