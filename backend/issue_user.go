package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// issueUser issues a RAM user with an AccessKey, deleted when the lease ends.
func (b *backend) issueUser(ctx context.Context, i issuance) (*logical.Response, error) {
	u, documents, resp, err := b.plan(ctx, i)
	if resp != nil || err != nil {
		return resp, err
	}
	u.UserName, u.RAMRole = u.RAMRole, ""
	u.RAMGroups = append([]string{}, i.role.RAMGroups...)
	var key accessKey
	resp, err = b.create(ctx, i, &u, "creating a RAM user", func() (err error) {
		key, err = createUser(ctx, i.cloud, u, documents, i.mark(), b.holders.others)
		u.AccessKeyID = key.AccessKeyID
		return err
	})
	if resp != nil || err != nil {
		return resp, err
	}
	internal, err := u.leaseData(leaseRAM, i.name)
	if err != nil {
		return nil, err
	}
	resp = b.Secret(secretType).Response(map[string]interface{}{
		"access_key":      key.AccessKeyID,
		"secret_key":      key.AccessKeySecret,
		"username":        u.UserName,
		"credential_type": typeRAMUser,
	}, internal)
	resp.Secret.TTL, resp.Secret.MaxTTL = i.want, i.role.MaxTTL
	return resp, nil
}

// createUser makes what u names, in two waves of parallel calls: user and
// policies, then everything that needs the user.
func createUser(ctx context.Context, c *cloud, u issued, documents []policyDocument, mark marks, exists func(string) bool) (accessKey, error) {
	var first wave
	first.add(func() error { return c.createUser(ctx, u.UserName, mark.ofRole) })
	addPolicies(ctx, &first, c, documents, mark, exists)
	if err := first.run(); err != nil {
		return accessKey{}, err
	}

	var key accessKey
	var second wave
	visible := func(call func() error) func() error {
		return func() error { return eventually(ctx, "EntityNotExist.User", call) }
	}
	second.add(visible(func() (err error) {
		key, err = c.createAccessKey(ctx, u.UserName)
		return err
	}))
	addAttachments(ctx, &second, c, u, documents, mark, visible)
	for _, group := range u.RAMGroups {
		second.add(visible(func() error { return c.addToGroup(ctx, u.UserName, group) }))
	}
	return key, second.run()
}

// issueRAMRole issues a session of a RAM role made for it. Deleting the role
// ends the session: it is the only kind of session that can be revoked.
func (b *backend) issueRAMRole(ctx context.Context, i issuance) (*logical.Response, error) {
	want := i.want
	if want == 0 {
		want = min(defaultSession, i.limit)
	}
	duration := min(max(want, minSession), maxSession)
	longest := max(duration, defaultSession)
	if i.role.MaxSessionDuration > 0 {
		longest = i.role.MaxSessionDuration
		duration = min(duration, longest)
	}
	policy, err := render(i.policy, i.req, b.System(), maxSessionPolicy)
	if err != nil {
		return logical.ErrorResponse("policy %s", err), nil
	}
	session := i.session
	if session == "" {
		if session, err = makeSessionName(first(i.role.RoleSessionNameTemplate, i.cloud.sessionTemplate), i.req.DisplayName, i.name); err != nil {
			return logical.ErrorResponse("role_session_name_template: %s", err), nil
		}
	}
	u, documents, resp, err := b.plan(ctx, i)
	if resp != nil || err != nil {
		return resp, err
	}
	who, err := i.cloud.whoami(ctx)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	trust := i.role.TrustPolicy
	if trust == "" {
		trust = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["` + who.principal() + `"]}}]}`
	}
	var creds alicreds.Credentials
	resp, err = b.create(ctx, i, &u, "creating a RAM role", func() error {
		var first wave
		first.add(func() error { return i.cloud.createRole(ctx, u.RAMRole, trust, i.mark().ofRole, longest) })
		addPolicies(ctx, &first, i.cloud, documents, i.mark(), b.holders.others)
		if err := first.run(); err != nil {
			return err
		}
		var second wave
		addAttachments(ctx, &second, i.cloud, u, documents, i.mark(), func(call func() error) func() error {
			return func() error { return eventually(ctx, "EntityNotExist.Role", call) }
		})
		if err := second.run(); err != nil {
			return err
		}
		ask := sessionRequest{
			roleARN: "acs:ram::" + u.AccountID + ":role/" + u.RAMRole, session: session, policy: policy, duration: duration,
			externalID: i.role.ExternalID, sourceIdentity: i.role.SourceIdentity,
		}
		// The new role and its trust policy may take a while to be seen by STS.
		return eventually(ctx, "EntityNotExist.Role", func() error {
			return eventually(ctx, "NoPermission", func() (err error) {
				creds, err = i.cloud.assumeOwn(ctx, ask)
				return err
			})
		})
	})
	if resp != nil || err != nil {
		return resp, err
	}
	resp, err = b.leaseOf(i, creds, want)
	if err != nil || i.role.NoLease {
		return resp, err
	}
	if resp.Secret.InternalData, err = u.leaseData(leaseRAMRole, i.name); err != nil {
		return nil, err
	}
	return resp, nil
}

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
	name, err := makeUserName(first(i.role.UsernameTemplate, i.cloud.usernameTemplate), i.req.DisplayName, i.name)
	if err != nil {
		return issued{}, nil, logical.ErrorResponse("username_template: %s", err), nil
	}
	u := issued{
		RAMRole:        name,
		InlinePolicies: []remotePolicy{},
		RemotePolicies: append([]remotePolicy{}, i.role.RemotePolicies...),
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
		if !contains(documents, d.name) {
			documents = append(documents, d)
			u.SharedPolicies = append(u.SharedPolicies, d.name)
			// The built-in engine, should it ever revoke this lease, must detach
			// and not delete it.
			u.RemotePolicies = append(u.RemotePolicies, remotePolicy{Name: d.name, Type: "Custom"})
		}
	}
	return u, documents, nil, nil
}

func contains(documents []policyDocument, name string) bool {
	for _, d := range documents {
		if d.name == name {
			return true
		}
	}
	return false
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// create runs make, which creates what u names, between the WAL entry and the
// index entry. A response or an error means that there is no lease, and that
// what was created has been removed or is left to the rollback.
func (b *backend) create(ctx context.Context, i issuance, u *issued, doing string, make func() error) (*logical.Response, error) {
	wal, err := putWAL(ctx, i.req.Storage, *u)
	if err != nil {
		return nil, err
	}
	b.holders.add(u.name(), u.SharedPolicies)
	err = make()
	if err == nil {
		// A request that was given up gets no lease, whatever is answered.
		err = ctx.Err()
	}
	if err != nil {
		b.undo(ctx, i.req.Storage, i.cloud, *u, wal, err)
		return answer(doing, err)
	}
	err = saveIssued(ctx, i.req.Storage, *u, time.Now().Add(i.limit))
	if err == nil {
		err = framework.DeleteWAL(ctx, i.req.Storage, wal)
	}
	if err != nil {
		// The entry is there, or may be: a rollback would take the user away
		// from under its lease.
		b.undo(ctx, i.req.Storage, i.cloud, *u, wal, err)
		return nil, fmt.Errorf("recording what was issued: %w", err)
	}
	return nil, nil
}

// undo cleans up at once after a failed issue, so that a user nobody holds does
// not live until the rollback. The WAL entry goes only when nothing can be left:
// no call may have taken effect unseen, and the clean-up saw everything go.
func (b *backend) undo(ctx context.Context, s logical.Storage, cloud *cloud, u issued, wal string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	err := b.remove(ctx, s, cloud, u)
	if err == nil && !openapi.Ambiguous(cause) {
		err = framework.DeleteWAL(ctx, s, wal)
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
		if p.Type != "Custom" || !contains(documents, p.Name) {
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
