package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

func (b *backend) pathRoleCheck() *framework.Path {
	return &framework.Path{
		Pattern:      rolePrefix + framework.GenericNameRegex("name") + "/check",
		DisplayAttrs: display("check", "role"),
		Fields: map[string]*framework.FieldSchema{
			"name": {Type: framework.TypeLowerCaseString, Description: "Name of the role."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: operation(b.checkRole, "Say what is missing for a role to work. Issues nothing and changes nothing.", map[string]*framework.FieldSchema{
				"ok":        {Type: framework.TypeBool, Description: "Nothing that was checked, and that leases need, is missing.", Required: true},
				"principal": {Type: framework.TypeString, Description: "ARN of who this mount is; empty if its own credentials do not work.", Required: true},
				"checks": {Type: framework.TypeSlice, Required: true, Description: `What was checked, each with action, on, needed_for, ` +
					`result ("yes", "no", "unknown" or "not checked") and fix.`},
			}),
		},
		HelpSynopsis: "What is missing for a role to work.",
		HelpDescription: `
Asks Alibaba Cloud, without issuing a credential and without changing anything,
whether the mount's own credentials work, whether the RAM roles, policies and
groups that the role names exist, and which ram.Permissions the mount lacks for it.

    vault read -format=json alicloud/role/ci/check

A permission to create, change or delete is probed with a request that cannot
take effect: on a user, role or policy of a random name that does not exist, or
with a value that RAM documents as invalid. A refusal with NoPermission means
that the permission is missing; any other refusal, that it is there. What cannot
be probed like that, such as sts:AssumeRole, is "not checked".

Permissions that are only needed to clean up what others added ("extras") do not
make a role fail, and neither do those to look, such as ram:GetPolicy: without
them the answer is "unknown".
`,
	}
}

// The answers of one check.
const (
	checkYes     = "yes"
	checkNo      = "no"
	checkUnknown = "unknown"
	checkNot     = "not checked"
)

// finding is one line of the answer. NeededFor is in the words of
// docs/least-policy.md.
type finding struct {
	Action    string `json:"action"`
	On        string `json:"on"`
	NeededFor string `json:"needed_for"`
	Result    string `json:"result"`
	Fix       string `json:"fix"`
}

// forExtras are the permissions that a lease can do without as long as nobody
// else touches what belongs to it.
const forExtras = "extras"

func (b *backend) checkRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := data.Get("name").(string)
	r, err := loadRole(ctx, req.Storage, name)
	if err != nil || r == nil {
		return nil, err
	}
	cloud, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if resp != nil || err != nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	self := finding{Action: "sts:GetCallerIdentity", NeededFor: "everything", Result: checkYes}
	who, err := cloud.CallerIdentity(ctx)
	if err != nil {
		resp, err := answer("asking who this mount is", err)
		if err != nil || resp == nil {
			return resp, err
		}
		self.Result, self.Fix = checkNo, resp.Error().Error()
		return checked("", []finding{self}), nil
	}
	self.On = who.ARN
	c := roleCheck{ctx: ctx, cloud: cloud, role: r, name: name, who: who}
	if r.kind.creates != "" {
		tag, err := load[string](ctx, req.Storage, tagKey)
		if err != nil {
			return nil, err
		}
		if tag == nil { // nothing was issued yet, and this is no time to begin
			tag = new(string)
		}
		if c.entity, err = policy.UserName(cmp.Or(r.UsernameTemplate, cloud.usernameTemplate), req.DisplayName, name); err != nil {
			return logical.ErrorResponse("username_template: %s", err), nil
		}
		// Of a document that nobody has, so that there is no such policy.
		c.custom = policy.SharedName(cloud.policyNameTemplate, name, *tag, rand.Text())
		if r.PolicyPerLease {
			c.custom = policy.OwnName(c.entity, rand.Text())
		}
		c.patterns = strings.NewReplacer(c.entity, pattern(c.entity), c.custom, pattern(c.custom))
		c.leaveOutTemplates()
		c.existence()
	}
	r.kind.check(&c)
	return checked(who.ARN, append([]finding{self}, c.run()...)), nil
}

func checked(principal string, findings []finding) *logical.Response {
	ok := !slices.ContainsFunc(findings, func(f finding) bool { return f.Result == checkNo && f.NeededFor != forExtras })
	return &logical.Response{Data: map[string]interface{}{"ok": ok, "principal": principal, "checks": findings}}
}

// roleCheck collects the checks of one role, and runs them at once.
type roleCheck struct {
	ctx    context.Context // of the one request that it serves
	cloud  *cloud
	role   *role
	name   string
	who    ram.Identity
	checks []func() []finding

	// Names that a user or role, and a policy, of a lease could have, and what
	// covers their like.
	entity, custom string
	patterns       *strings.Replacer
}

// pattern covers the names that begin as this one does, as the policies of
// docs/least-policy.md do.
func pattern(name string) string {
	first, _, _ := strings.Cut(name, "-")
	return first + "-*"
}

func (c *roleCheck) run() []finding {
	all := make([][]finding, len(c.checks))
	var w ram.Wave
	for n, check := range c.checks {
		w.Add(func() error {
			all[n] = check()
			return nil
		})
	}
	_ = w.Run() // none fails
	return slices.Concat(all...)
}

func (c *roleCheck) add(check func() []finding) { c.checks = append(c.checks, check) }

func (c *roleCheck) note(f finding) { c.add(func() []finding { return []finding{f} }) }

// source is for roles that hand out what their source has.
func (c *roleCheck) source() {
	c.note(finding{Action: c.role.kind.name, NeededFor: "issue", Result: checkNot,
		Fix: "The role hands out what its source has, which only reading creds/" + c.name + " shows."})
}

// session checks the RAM roles that sessions are of.
func (c *roleCheck) session() {
	for _, arn := range c.role.arns() {
		c.add(func() []finding { return c.roleARN(arn) })
	}
}

func (c *roleCheck) roleARN(arn string) []finding {
	oidc := c.role.kind.name == typeOIDCRoleARN
	assume := finding{Action: "sts:AssumeRole", On: arn, NeededFor: "issue", Result: checkNot,
		Fix: "Asking would issue a session. The principal's policy must allow it, see docs/least-policy.md."}
	exists := finding{Action: "ram:GetRole", On: arn, NeededFor: "issue"}
	trust := finding{Action: "trust policy", On: arn, NeededFor: "issue", Result: checkUnknown}
	longest := finding{Action: "MaxSessionDuration", On: arn, NeededFor: "issue", Result: checkUnknown}
	switch {
	case oidc:
		assume.Action, assume.Fix = "sts:AssumeRoleWithOIDC", "Asking would issue a session. It needs no permission, but the trust policy must name the provider."
		trust.Result, trust.Fix = checkNot, "The trust policy must name oidc_provider_arn, and its conditions must suit the token."
	case c.who.IdentityType == "Account":
		assume.Result, assume.Fix = checkNo, "The root account can assume no role: configure the key of a RAM user."
	}
	account, roleName, _ := strings.Cut(strings.TrimPrefix(arn, "acs:ram::"), ":role/")
	if account != c.who.AccountID {
		exists.Result, exists.Fix = checkNot, "It is a role of another account, which cannot be looked at from here."
		return []finding{exists, assume}
	}
	var out struct {
		Role struct {
			AssumeRolePolicyDocument string
			MaxSessionDuration       int
		}
	}
	err := c.cloud.Call(c.ctx, true, "GetRole", map[string]string{"RoleName": roleName}, &out)
	exists.Result, exists.Fix = c.looked(err, "ram:GetRole", "There is no such RAM role: check role_arn and role_arns.")
	if err != nil {
		return []finding{exists, assume}
	}
	if !oidc {
		trust.Result = trusts(out.Role.AssumeRolePolicyDocument, c.who.Principal(), c.who.AccountID)
		trust.Fix = map[string]string{
			checkNo:      "Name " + c.who.Principal() + " as a RAM principal in the trust policy of the role.",
			checkUnknown: "The trust policy has conditions or forms that are not judged here: compare it with external_id and " + c.who.Principal() + ".",
		}[trust.Result]
	}
	if seconds := out.Role.MaxSessionDuration; seconds > 0 {
		longest.Result = checkYes
		if allowed := time.Duration(seconds) * time.Second; c.role.TTL > allowed {
			longest.Result, longest.Fix = checkNo, fmt.Sprintf("ttl is %s and the RAM role allows %s: lower ttl, or raise MaxSessionDuration.", c.role.TTL, allowed)
		}
	}
	return []finding{exists, trust, longest, assume}
}

// leaveOutTemplates takes out the policies that depend on who reads credentials.
func (c *roleCheck) leaveOutTemplates() {
	literal := *c.role
	literal.RemotePolicies = nil
	for _, p := range c.role.RemotePolicies {
		if !templated(p) {
			literal.RemotePolicies = append(literal.RemotePolicies, p)
			continue
		}
		c.note(finding{Action: "remote_policies", On: p.Type + " policy " + p.Name, NeededFor: "issue", Result: checkNot,
			Fix: "Its name depends on who reads credentials."})
	}
	c.role = &literal
}

// existence checks the policies and groups that the role names.
func (c *roleCheck) existence() {
	for _, p := range c.role.RemotePolicies {
		c.add(func() []finding {
			err := c.cloud.Call(c.ctx, true, "GetPolicy", map[string]string{"PolicyName": p.Name, "PolicyType": p.Type}, nil)
			result, fix := c.looked(err, "ram:GetPolicy", "There is no such policy: check its name and its type, System or Custom, in remote_policies.")
			return []finding{{"ram:GetPolicy", p.Type + " policy " + p.Name, "issue", result, fix}}
		})
	}
	for _, group := range c.role.RAMGroups {
		c.add(func() []finding {
			err := c.cloud.Call(c.ctx, true, "GetGroup", map[string]string{"GroupName": group}, nil)
			result, fix := c.looked(err, "ram:GetGroup", "There is no such group: check ram_groups.")
			return []finding{{"ram:GetGroup", "group " + group, "issue", result, fix}}
		})
	}
}

// looked judges a look at something. The right to look is not one that leases need.
func (c *roleCheck) looked(err error, action, absent string) (result, fix string) {
	switch {
	case err == nil:
		return checkYes, ""
	case ram.NotExist(err):
		return checkNo, absent
	case ram.Denied(err):
		return checkUnknown, "Only with " + action + ", which leases do not need, can this be looked at."
	}
	return checkUnknown, explained(err)
}

// user probes what RAM users need.
func (c *roleCheck) user() {
	user := c.entity
	c.probe("issue", "CreateUser", "user "+user, impossibleUser(user))
	c.probe("issue", "CreateAccessKey", "user "+user, map[string]string{"UserName": user})
	c.probe("renew", "GetUser", "user "+user, map[string]string{"UserName": user})
	c.probe("revoke", "DeleteAccessKey", "user "+user, map[string]string{"UserName": user, "UserAccessKeyId": "LTAI5tNoSuchKey"})
	c.probe("revoke", "DeleteUser", "user "+user, map[string]string{"UserName": user})
	c.probe("rollback", "ListAccessKeys", "user "+user, map[string]string{"UserName": user})
	c.policies("User")
	for _, group := range c.role.RAMGroups {
		both := map[string]string{"UserName": user, "GroupName": group}
		c.probe("issue", "AddUserToGroup", "group "+group, both)
		c.probe("revoke", "RemoveUserFromGroup", "group "+group, both)
	}
	for _, action := range []string{"ListPoliciesForUser", "ListGroupsForUser", "DeleteLoginProfile", "UnbindMFADevice"} {
		c.probe(forExtras, action, "user "+user, map[string]string{"UserName": user})
	}
	c.probe(forExtras, "UpdateAccessKey", "user "+user, map[string]string{"UserName": user, "UserAccessKeyId": "LTAI5tNoSuchKey", "Status": "Inactive"})
}

// ramRole probes what RAM roles need.
func (c *roleCheck) ramRole() {
	name := c.entity
	c.probe("issue", "CreateRole", "role "+name, map[string]string{"RoleName": name, "AssumeRolePolicyDocument": malformed})
	c.probe("revoke", "DeleteRole", "role "+name, map[string]string{"RoleName": name})
	c.policies("Role")
	c.probe(forExtras, "ListPoliciesForRole", "role "+name, map[string]string{"RoleName": name})
	assume := finding{Action: "sts:AssumeRole", On: "role " + name, NeededFor: "issue", Result: checkNot,
		Fix: "STS may say that a role does not exist before it looks at permissions. The principal's policy must allow it, see docs/least-policy.md."}
	if c.who.IdentityType == "Account" {
		assume.Result, assume.Fix = checkNo, "The root account can assume no role: configure the key of a RAM user."
	}
	c.note(assume)
}

// policies probes what attaching policies to a user or role, and those made of
// inline_policies, need.
func (c *roleCheck) policies(kind string) {
	custom := c.custom
	attached := c.role.RemotePolicies
	if len(c.role.InlinePolicies) > 0 {
		attached = append(slices.Clone(attached), ram.Policy{Name: custom, Type: "Custom"})
		c.probe("issue", "CreatePolicy", "policy "+custom, map[string]string{"PolicyName": custom, "PolicyDocument": malformed})
		c.probe("revoke", "DeletePolicy", "policy "+custom, map[string]string{"PolicyName": custom})
	}
	for _, p := range attached {
		params := map[string]string{kind + "Name": c.entity, "PolicyName": p.Name, "PolicyType": p.Type}
		c.probe("issue", "AttachPolicyTo"+kind, p.Type+" policy "+p.Name, params)
		c.probe("revoke", "DetachPolicyFrom"+kind, p.Type+" policy "+p.Name, params)
	}
}

// malformed is no policy document to any service.
const malformed = "{"

// impossibleUser is a user that cannot be created for three documented reasons,
// under a name that permissions for its beginning cover.
func impossibleUser(name string) map[string]string {
	return map[string]string{"UserName": name + "!", "Comments": strings.Repeat("!", 1000), "MobilePhone": "!"}
}

// probe asks for something that cannot take effect: the entity has a random name
// that does not exist, or the request is invalid. What RAM says against it tells
// whether it would have been allowed.
func (c *roleCheck) probe(neededFor, action, on string, params map[string]string) {
	c.add(func() []finding {
		f := finding{Action: "ram:" + action, On: on, NeededFor: neededFor, Result: checkYes}
		err := c.cloud.Call(c.ctx, true, action, params, nil)
		var refused *openapi.Error
		switch {
		case err == nil:
		case !errors.As(err, &refused) || refused.Temporary():
			f.Result, f.Fix = checkUnknown, explained(err)
		case ram.Denied(refused):
			fix := grant(refused, c.who.Principal(), ram.Permissions[action].ARNs(c.who.AccountID, params))
			if f.Result, f.Fix = checkNo, c.patterns.Replace(fix); strings.HasPrefix(fix, "Grant ") {
				f.Fix += " docs/least-policy.md has the policies to copy."
			}
		case refused.NotExist(), strings.HasPrefix(refused.Code, "InvalidParameter"), strings.HasPrefix(refused.Code, "Malformed"),
			strings.HasPrefix(refused.Code, "EntityAlreadyExists"), strings.HasPrefix(refused.Code, "LimitExceeded"):
		default:
			f.Result, f.Fix = checkUnknown, explained(err)
		}
		return []finding{f}
	})
}

// trusts tells whether a trust policy lets a principal assume its role. It says
// so only of what is plain: a condition, a wildcard or a form that is not known
// makes it "unknown".
func trusts(document, principal, account string) string {
	var d struct {
		Version   string
		Statement []struct {
			Effect, Sid       string
			Action, Principal any
			Condition         map[string]any
		}
	}
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&d) != nil {
		return checkUnknown
	}
	result, doubt := checkNo, false
	for _, s := range d.Statement {
		byRAM := map[string]any{"RAM": s.Principal} // a wildcard, if it is no map
		if kinds, ok := s.Principal.(map[string]any); ok {
			byRAM = kinds
		}
		named, sure := among(byRAM["RAM"], principal, "acs:ram::"+account+":root")
		does, sureToo := among(s.Action, "sts:AssumeRole", "sts:*", "*")
		if !named || !does {
			continue
		}
		sure = sure && sureToo && len(s.Condition) == 0
		switch {
		case s.Effect == "Deny" && sure:
			return checkNo
		case s.Effect == "Allow" && sure:
			result = checkYes
		case s.Effect == "Allow" && result == checkNo:
			result = checkUnknown
		case s.Effect != "Allow":
			doubt = true
		}
	}
	if doubt && result == checkYes {
		return checkUnknown
	}
	return result
}

// among tells whether a JSON value, a text or a list of texts, has one of the
// names, or may have: letters of another case and wildcards are not sure.
func among(value any, names ...string) (found, sure bool) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	sure = true
	for _, v := range list {
		text, ok := v.(string)
		switch {
		case !ok:
			sure = false
		case slices.Contains(names, text):
			return true, true
		case strings.Contains(text, "*") || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, text) }):
			sure = false
		}
	}
	return !sure, sure
}
