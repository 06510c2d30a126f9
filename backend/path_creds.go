package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Lengths of an STS session: the API's bounds, and its default, which every RAM
// role allows (a role's own maximum is 3600 seconds at least).
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxSession     = 12 * time.Hour
)

// Bounds of what one request may take. Vault gives a revocation 90 seconds.
const (
	readTimeout    = 30 * time.Second
	issueTimeout   = 60 * time.Second
	cleanUpTimeout = 60 * time.Second
)

func (b *backend) pathCreds() *framework.Path {
	issue := func(summary string) *framework.PathOperation {
		return &framework.PathOperation{
			Callback: b.issue,
			Summary:  summary,
			Responses: map[int][]framework.Response{http.StatusOK: {{
				Description: http.StatusText(http.StatusOK), Fields: credsResponse(),
			}}},
			// Leases belong to a cluster, so never to the primary of another.
			ForwardPerformanceStandby: true,
		}
	}
	return &framework.Path{
		Pattern:      "creds/" + framework.GenericNameRegex("name"),
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "generate", OperationSuffix: "credentials"},
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the role."},
			"ttl": {
				Type:        framework.TypeDurationSecond,
				Description: "Lifetime of this lease in seconds or as a duration, up to max_ttl of the role and of the mount. Default: ttl of the role.",
			},
			"role_session_name": {
				Type:        framework.TypeString,
				Description: "Sessions: the session name that ActionTrail shows, 2 to 64 letters, digits and . @ - _. Default: made of the display name, the role and random characters.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   issue("Issue credentials for a role."),
			logical.UpdateOperation: issue("Issue credentials for a role, with parameters."),
		},
		HelpSynopsis:    credsHelpSynopsis,
		HelpDescription: credsHelpDescription,
	}
}

func credsResponse() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_key":      {Type: framework.TypeString, Description: "AccessKey ID.", Required: true},
		"secret_key":      {Type: framework.TypeString, Description: "AccessKey secret.", Required: true},
		"security_token":  {Type: framework.TypeString, Description: "Sessions: the token to send with every call."},
		"expiration":      {Type: framework.TypeTime, Description: "Sessions: when STS ends the session, RFC 3339 in UTC."},
		"arn":             {Type: framework.TypeString, Description: "Sessions: ARN of the assumed role."},
		"username":        {Type: framework.TypeString, Description: "RAM users: name of the user."},
		"credential_type": {Type: framework.TypeString, Description: `"ram_role_arn" or "ram_user".`, Required: true},
	}
}

func (b *backend) issue(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if b.readOnlyNode() {
		return nil, logical.ErrReadOnly // before anything is created
	}
	name := data.Get("name").(string)
	r, err := load[role](ctx, req.Storage, rolePrefix+name)
	if err != nil || r == nil {
		return nil, err
	}
	want, err := b.lifetime(r, data)
	if err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	cloud, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if cloud == nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	if r.credentialType() == typeRAMRoleARN {
		session := data.Get("role_session_name").(string)
		if session == "" {
			session = sessionName(req.DisplayName, name)
		}
		return b.issueSession(ctx, cloud, r, want, session)
	}
	if data.Get("role_session_name") != "" {
		return logical.ErrorResponse("role_session_name is for sessions, and the role %q issues RAM users", name), nil
	}
	return b.issueUser(ctx, req, cloud, r, name, want)
}

// lifetime is what a lease is to get: that of the request, else of the role,
// within the maximum of both the role and the mount. Zero: the mount's default.
func (b *backend) lifetime(r *role, data *framework.FieldData) (time.Duration, error) {
	limit := b.System().MaxLeaseTTL()
	if r.MaxTTL > 0 {
		limit = min(limit, r.MaxTTL)
	}
	v, ok := data.GetOk("ttl")
	if !ok || v.(int) == 0 {
		return min(r.TTL, limit), nil
	}
	ttl := time.Duration(v.(int)) * time.Second
	if ttl < 0 || ttl > limit {
		return 0, fmt.Errorf("ttl must be 1 second to %s, the maximum of the role and the mount", limit)
	}
	return ttl, nil
}

var sessionNameForm = regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,64}$`)

func (b *backend) issueSession(ctx context.Context, cloud *cloud, r *role, want time.Duration, session string) (*logical.Response, error) {
	if !sessionNameForm.MatchString(session) {
		return logical.ErrorResponse("role_session_name must be 2 to 64 letters, digits and any of . @ - _"), nil
	}
	if want == 0 {
		want = min(defaultSession, b.System().MaxLeaseTTL())
		if r.MaxTTL > 0 {
			want = min(want, r.MaxTTL)
		}
	}
	duration := min(max(want, minSession), maxSession)
	creds, err := cloud.assumeRole(ctx, r, session, duration)
	var warnings []string
	if duration > defaultSession && hasCode(err, "InvalidParameter.DurationSeconds") {
		// A role of the built-in engine may carry a ttl that never counted.
		warnings = append(warnings, fmt.Sprintf("the RAM role does not allow sessions of %s: this one lasts %s. Lower ttl, or raise MaxSessionDuration of the RAM role", duration, defaultSession))
		creds, err = cloud.assumeRole(ctx, r, session, defaultSession)
	}
	if err != nil {
		return answer("assuming "+r.RoleARN, err)
	}
	left := time.Until(creds.Expiration)
	if left <= 0 {
		return nil, errors.New("the session that STS issued has expired already: check the clock of the Vault server")
	}
	ttl := min(want, left)
	if want < minSession {
		warnings = append(warnings, fmt.Sprintf("the lease ends after %s as asked, but STS gives no session shorter than %s: these keys work until %s",
			want, minSession, creds.Expiration.UTC().Format(time.RFC3339)))
	}
	resp := b.Secret(secretType).Response(map[string]interface{}{
		"access_key":      creds.AccessKeyID,
		"secret_key":      creds.AccessKeySecret,
		"security_token":  creds.SecurityToken,
		"expiration":      creds.Expiration.UTC().Format(time.RFC3339),
		"arn":             creds.RoleARN,
		"credential_type": typeRAMRoleARN,
	}, map[string]interface{}{"role_type": leaseSTS})
	resp.Secret.TTL, resp.Secret.MaxTTL, resp.Secret.Renewable = ttl, ttl, false
	return warned(resp, warnings), nil
}

func (c *cloud) assumeRole(ctx context.Context, r *role, session string, duration time.Duration) (alicreds.Credentials, error) {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return alicreds.Credentials{}, err
	}
	policy := r.Policy
	if policy != "" {
		if policy, err = compactJSON([]byte(policy)); err != nil {
			return alicreds.Credentials{}, err
		}
	}
	return alicreds.AssumeRole(ctx, own.Keys(), alicreds.RAMRoleARNOptions{
		RoleARN:         r.RoleARN,
		RoleSessionName: session,
		Policy:          policy,
		ExternalID:      r.ExternalID,
		SourceIdentity:  r.SourceIdentity,
		Duration:        duration,
		STSOptions:      c.sts,
	})
}

func (b *backend) issueUser(ctx context.Context, req *logical.Request, cloud *cloud, r *role, roleName string, ttl time.Duration) (*logical.Response, error) {
	account, err := cloud.account(ctx)
	if err != nil {
		return answer("asking who this mount is", err)
	}
	u := issued{
		UserName:       userName(req.DisplayName, roleName),
		InlinePolicies: make([]remotePolicy, len(r.InlinePolicies)),
		RemotePolicies: append([]remotePolicy{}, r.RemotePolicies...),
		RAMGroups:      append([]string{}, r.RAMGroups...),
		AccountID:      account,
		CreatedAt:      time.Now().UTC().Truncate(time.Second),
	}
	for i, p := range r.InlinePolicies {
		u.InlinePolicies[i] = remotePolicy{Name: policyName(u.UserName, p.Hash), Type: "Custom"}
	}
	wal, err := putWAL(ctx, req.Storage, u)
	if err != nil {
		return nil, err
	}
	key, err := cloud.create(ctx, u, r.InlinePolicies, b.mark(roleName))
	if err == nil {
		// A request that was given up gets no lease, whatever is answered.
		err = ctx.Err()
	}
	if err != nil {
		b.undo(ctx, req.Storage, cloud, u, wal, err)
		return answer("creating a RAM user", err)
	}
	if err := framework.DeleteWAL(ctx, req.Storage, wal); err != nil {
		// The entry is still there, or may be: without it gone for certain the
		// rollback would delete a user that has a lease.
		u.AccessKeyID = key.AccessKeyID
		b.undo(ctx, req.Storage, cloud, u, wal, err)
		return nil, fmt.Errorf("deleting the WAL entry: %w", err)
	}
	u.AccessKeyID = key.AccessKeyID

	internal := map[string]interface{}{}
	if err := recode(u, &internal); err != nil {
		return nil, err
	}
	internal["role_type"] = leaseRAM
	internal["role_name"] = roleName
	resp := b.Secret(secretType).Response(map[string]interface{}{
		"access_key":      key.AccessKeyID,
		"secret_key":      key.AccessKeySecret,
		"username":        u.UserName,
		"credential_type": typeRAMUser,
	}, internal)
	resp.Secret.TTL, resp.Secret.MaxTTL = ttl, r.MaxTTL
	return resp, nil
}

// create makes what u names, in two waves of parallel calls: user and policies,
// then everything that needs the user. The calls of a wave all end before the
// first failure is returned, so that none is still under way in a clean-up.
func (c *cloud) create(ctx context.Context, u issued, documents []inlinePolicy, mark string) (accessKey, error) {
	var first wave
	first.add(func() error { return c.createUser(ctx, u.UserName, mark) })
	for i, p := range u.InlinePolicies {
		first.add(func() error {
			document, err := compactJSON(documents[i].PolicyDocument)
			if err != nil {
				return err
			}
			return c.createPolicy(ctx, p.Name, document, mark)
		})
	}
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
	for _, p := range u.InlinePolicies {
		attach := visible(func() error { return c.attachPolicy(ctx, u.UserName, p) })
		second.add(func() error { return eventually(ctx, "EntityNotExist.Policy", attach) })
	}
	for _, p := range u.RemotePolicies {
		second.add(visible(func() error { return c.attachPolicy(ctx, u.UserName, p) }))
	}
	for _, group := range u.RAMGroups {
		second.add(visible(func() error { return c.addToGroup(ctx, u.UserName, group) }))
	}
	return key, second.run()
}

// undo cleans up at once after a failed issue, so that a user nobody holds does
// not live until the rollback. The WAL entry goes only when nothing can be left:
// no call may have taken effect unseen, and the clean-up saw everything go.
func (b *backend) undo(ctx context.Context, s logical.Storage, cloud *cloud, u issued, wal string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	err := cloud.cleanUp(ctx, u)
	if err == nil && !openapi.Ambiguous(cause) {
		err = framework.DeleteWAL(ctx, s, wal)
	}
	if err != nil {
		b.Logger().Warn("an unfinished issue is left to the rollback", "username", u.UserName, "error", err)
	}
}

// mark says in RAM where a user or policy comes from: the mount's unique id and
// the role. Comments of a user hold 128 characters.
func (b *backend) mark(roleName string) string {
	mark := "vault " + b.uuid + " " + word(roleName, "._")
	return mark[:min(len(mark), 128)]
}

const credsHelpSynopsis = "Issue Alibaba Cloud credentials for a role."

const credsHelpDescription = `
    vault read alicloud/creds/deploy

The answer holds access_key and secret_key; for a session also security_token
and expiration. The lease says how long they are good for:

  ram_role_arn   A session. Its lease cannot be renewed, and revoking it does
                 not end the session: Alibaba Cloud has no call for that. STS
                 gives 900 seconds at least; with a shorter ttl the lease ends
                 as asked and the answer carries a warning.

  ram_user       A RAM user. Its lease can be renewed up to max_ttl. When it
                 ends or is revoked the user, its AccessKey and its inline
                 policies are deleted at once.

A shorter or longer lease than the role's, within its max_ttl:

    vault write alicloud/creds/deploy ttl=30m
`
