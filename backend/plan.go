package backend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// plan names everything that is to be created for the request: nothing exists
// yet. Its error is a refusal, unless it is not known who this mount is.
func (b *backend) plan(ctx context.Context, c credsRequest, kind ram.Kind) (u issued, p ram.Plan, err error) {
	who, err := c.cloud.Whoami(ctx)
	if err != nil {
		return u, p, err
	}
	if who.IdentityType == "Account" && kind == ram.Role {
		return u, p, refuse("the keys of config are those of the root account, which can assume no role: configure those of a RAM user")
	}
	name, err := policy.UserName(cmp.Or(c.role.UsernameTemplate, c.cloud.usernameTemplate), c.req.DisplayName, c.name)
	if err != nil {
		return u, p, refuse("username_template: %s", err)
	}
	remote, err := c.remotePolicies(b.System())
	if err != nil {
		return u, p, refuse("%s", err)
	}
	entity := ram.Entity{Kind: kind, Name: name}
	p = ram.Plan{
		Entity: entity, Mark: c.marks.of(entity, who.AccountID, c.name), Policies: remote, Groups: append([]string{}, c.role.RAMGroups...),
	}
	if kind == ram.Role {
		p.Trust = cmp.Or(c.role.TrustPolicy,
			`{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["`+who.Principal()+`"]}}]}`)
	}
	u = issuedOf(p.Entity)
	u.InlinePolicies, u.RemotePolicies, u.RAMGroups = []ram.Policy{}, slices.Clone(remote), p.Groups
	u.accountRole = c.role.accountRole
	u.AccountID, u.CreatedAt = who.AccountID, time.Now().UTC().Truncate(time.Second)
	return u, p, c.planDocuments(b.System(), &u, &p)
}

// planDocuments adds the inline policies of the role. A document that leases
// share is planned once, however often the role has it.
func (c credsRequest) planDocuments(system logical.SystemView, u *issued, p *ram.Plan) error {
	for n, inline := range c.role.InlinePolicies {
		document, err := policy.Render(string(inline.PolicyDocument), policy.MaxDocument, c.req.EntityID, system)
		if err != nil {
			return refuse("inline_policies[%d] %s", n, err)
		}
		d := ram.Document{Text: document, Shared: !c.role.PolicyPerLease, Group: c.role.ResourceGroup}
		if !d.Shared {
			d.Name = policy.OwnName(p.Entity.Name, inline.Hash)
			u.InlinePolicies = append(u.InlinePolicies, d.Policy())
		} else {
			d.Name = policy.SharedName(c.cloud.policyNameTemplate, c.name, c.marks.tag, u.AccountID, document)
			if slices.Contains(u.SharedPolicies, d.Name) {
				continue
			}
			u.SharedPolicies = append(u.SharedPolicies, d.Name)
			// The built-in engine, should it ever revoke this lease, must detach
			// and not delete it.
			u.RemotePolicies = append(u.RemotePolicies, d.Policy())
		}
		d.Mark = c.markOf(d.Name, u.AccountID)
		p.Documents = append(p.Documents, d)
	}
	return nil
}

// markOf is the mark of a policy that is to be created.
func (c credsRequest) markOf(policy, account string) string {
	return c.marks.of(ram.Entity{Kind: ram.CustomPolicy, Name: policy}, account, "")
}

// remotePolicies are those of the role, with the templates in their names filled in.
func (c credsRequest) remotePolicies(system logical.SystemView) ([]ram.Policy, error) {
	policies := append([]ram.Policy{}, c.role.RemotePolicies...)
	for n, p := range policies {
		if !templated(p) {
			continue
		}
		name, err := policy.RenderText(p.Name, c.req.EntityID, system)
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
