package backend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

// credsRequest is one read of creds/<name>: what an issuer works from.
type credsRequest struct {
	req             *logical.Request
	cloud           *cloud
	role            *role
	name            string        // of the role
	ttl             time.Duration // of the lease; 0: the default
	maxTTL          time.Duration // of the role and the mount
	roleARN         string        // chosen by the request
	roleSessionName string        // of the request; "": made by the engine
	policy          string        // session policy of the request, else of the role
	marks           marks         // of the mount, for what is created
}

// read checks the parameters of the request against the role.
func (c *credsRequest) read(data *framework.FieldData, mountMax time.Duration, system logical.SystemView) error {
	c.maxTTL = mountMax
	if c.role.MaxTTL > 0 {
		c.maxTTL = min(c.maxTTL, c.role.MaxTTL)
	}
	c.ttl = min(c.role.TTL, c.maxTTL)
	for _, p := range requestParameters() {
		v, given := data.GetOk(p.name)
		if !given || v == "" || v == 0 {
			continue
		}
		if err := c.role.checkParameter(c.name, p); err != nil {
			return err
		}
		if p.name == "ttl" {
			if err := c.readTTL(time.Duration(v.(int))*time.Second, system); err != nil {
				return err
			}
		}
	}
	switch {
	case c.roleSessionName != "" && alicreds.CheckRoleSessionName(c.roleSessionName) != nil:
		return errors.New("role_session_name must be 2 to 64 letters, digits and any of . @ - _")
	case c.roleARN != "" && !slices.Contains(c.role.arns(), c.roleARN):
		return fmt.Errorf("role_arn must be one of those of the role %q: %s", c.name, strings.Join(c.role.arns(), ", "))
	case c.policy != "" && c.role.Policy != "":
		return fmt.Errorf("policy: the role %q has a session policy already, and a session takes one only", c.name)
	case c.roleARN == "" && slices.Contains(c.role.roleType.requests, "role_arn"):
		c.roleARN = c.role.arns()[0]
	}
	if c.policy == "" {
		c.policy = c.role.Policy
	} else if err := policy.Check(c.policy, policy.MaxSession); err != nil {
		return fmt.Errorf("policy %w", err)
	}
	return nil
}

// readTTL takes the ttl of the request. Without max_ttl it can only shorten.
func (c *credsRequest) readTTL(ttl time.Duration, system logical.SystemView) error {
	longest, of := c.maxTTL, "the maximum of the role and the mount"
	if c.role.MaxTTL == 0 {
		own := cmp.Or(c.role.TTL, system.DefaultLeaseTTL())
		if c.role.TTL == 0 && c.role.roleType.session {
			own = defaultSession
		}
		if own < longest {
			longest, of = own, "what the role gives without one: max_ttl of the role lets requests have more"
		}
	}
	if ttl < 0 || ttl > longest {
		return fmt.Errorf("ttl must be 1 second to %s, %s", longest, of)
	}
	c.ttl = ttl
	return nil
}

// sessionRequest is what STS is to be asked for, and the lifetime of the lease.
// The session has a name only where the request gives one.
func (c credsRequest) sessionRequest(system logical.SystemView) (ask sessionRequest, ttl time.Duration, err error) {
	if ttl = c.ttl; ttl == 0 {
		ttl = min(defaultSession, c.maxTTL)
	}
	document, err := policy.Render(c.policy, policy.MaxSession, c.req.EntityID, system)
	if err != nil {
		return ask, 0, fmt.Errorf("policy %w", err)
	}
	identity, err := policy.RenderText(c.role.SourceIdentity, c.req.EntityID, system)
	if err != nil {
		return ask, 0, fmt.Errorf("source_identity %w", err)
	}
	return sessionRequest{
		role: c.name, lease: ttl, source: c.role.source,
		roleARN: c.roleARN, name: c.roleSessionName, policy: document, externalID: c.role.ExternalID, sourceIdentity: identity,
		duration: min(max(ttl, minSession), maxSession),
	}, ttl, nil
}

// nameSession names the session after the reader, unless the request does, which
// it may not where there is a template: that says who is who in ActionTrail.
func (c credsRequest) nameSession(ask *sessionRequest, reader string) (err error) {
	template := cmp.Or(c.role.RoleSessionNameTemplate, c.cloud.sessionTemplate)
	switch {
	case ask.name != "" && template != "":
		return refuse("role_session_name: sessions of the role %q are named by a role_session_name_template, of the role or of config, which stands: leave it out", c.name)
	case ask.name != "":
		return nil
	}
	if ask.name, err = policy.SessionName(template, reader, c.name); err != nil {
		return refuse("role_session_name_template: %s", err)
	}
	return nil
}
