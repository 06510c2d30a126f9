package backend

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// roleCheck collects the checks of one role, and runs them at once.
type roleCheck struct {
	ctx    context.Context // of the one request that it serves
	cloud  *cloud
	system logical.SystemView
	role   *role
	name   string
	who    ram.Identity
	mount  ram.Identity // with assume_role_arn: who assumes that; who works there
	closed bool         // it cannot be assumed
	needs  needs        // what the mount must be allowed for the role
	checks []func() []finding

	// assume asks STS for a session of a RAM role; nil: it is not asked for.
	assume   func(arn string) error
	howToAsk string // a command, where assume is nil

	// Names that a user or role, and a policy, of a lease could have, and what
	// covers their like.
	entity, custom string
	patterns       *strings.Replacer

	templates []ram.Policy // policies whose names are filled in for each reader, with * for that
}

// pattern covers the names that begin as this one does, as the policies of
// docs/least-policy.md do. other is a name for somebody else: all names where the
// two begin otherwise.
func pattern(name, other string) string {
	first, _, _ := strings.Cut(name, "-")
	if second, _, _ := strings.Cut(other, "-"); first != second {
		return "*"
	}
	return first + "-*"
}

func (c *roleCheck) run() findings {
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

// response is what was found, as people and, with details, programs read it.
func (c *roleCheck) response(found findings, data *framework.FieldData) *logical.Response {
	answer := map[string]interface{}{
		"result": found.result(), "principal": c.who.ARN, "policy": c.needs.policy(), "report": found.report(),
	}
	if c.mount.ARN != "" {
		answer["principal"] = c.mount.ARN
		assume := needs{}
		assume.add("sts:AssumeRole", ram.RoleResource(c.role.AssumeRoleARN))
		answer["assume_policy"], answer["trust_policy"] = assume.policy(), ram.TrustPolicy(c.mount.Principal(), c.role.AssumeRoleExternalID)
	}
	if data.Get("details").(bool) {
		answer["checks"] = found
	}
	return &logical.Response{Data: answer}
}

func (c *roleCheck) add(check func() []finding) { c.checks = append(c.checks, check) }

func (c *roleCheck) note(f finding) { c.add(func() []finding { return []finding{f} }) }

// asAccountRole makes all further checks in the account of the role's assume_role_arn,
// if that can be assumed.
func (c *roleCheck) asAccountRole(found *findings) {
	in := c.role.accountRole
	c.mount, c.cloud = c.who, c.cloud.as(in)
	c.who = ram.Identity{Identity: alicreds.Identity{AccountID: in.account(), ARN: in.AssumeRoleARN, IdentityType: "AssumedRoleUser"}}
	f := finding{Action: "sts:AssumeRole", On: in.AssumeRoleARN, NeededFor: "everything", Result: checkYes}
	who, err := c.cloud.CallerIdentity(c.ctx)
	switch {
	case err == nil:
		c.who = who
	case c.mount.IdentityType == "Account":
		f.Result, f.Fix, c.closed = checkNo, rootAssumes, true
	default:
		f.Result, f.Fix, c.closed = verdict(err), explained(err), true
	}
	*found = append(*found, f)
}

// source is for roles that hand out what their source has.
func (c *roleCheck) source() {
	c.note(finding{Action: c.role.roleType.name, NeededFor: "issue", Result: checkUnknown,
		Fix: "The role hands out what its source has, which only reading creds/" + c.name + " shows. The mount itself needs no permission for it."})
}

// session checks the RAM roles that AssumeRole is asked for.
func (c *roleCheck) session() {
	for _, arn := range c.role.arns() {
		c.needs.add("sts:AssumeRole", ram.RoleResource(arn))
		c.add(func() []finding { return c.ramRoleOf(arn, c.assumeRole(arn), c.trust) })
	}
}

// sessionWithOIDC checks those that AssumeRoleWithOIDC is asked for.
func (c *roleCheck) sessionWithOIDC() {
	trust := func(string) (result, fix string) {
		return checkUnknown, "The trust policy must name " + c.role.OIDCProviderARN + " as a Federated principal, and its conditions must suit the token."
	}
	for _, arn := range c.role.arns() {
		c.add(func() []finding {
			f := finding{Action: "sts:AssumeRoleWithOIDC", On: arn, NeededFor: "issue"}
			return c.ramRoleOf(arn, c.asked(f, "It needs no permission, but the trust policy must name the provider."), trust)
		})
	}
}

// assumeRole is a finding about AssumeRole of an existing role.
func (c *roleCheck) assumeRole(arn string) finding {
	f := finding{Action: "sts:AssumeRole", On: arn, NeededFor: "issue"}
	if c.who.IdentityType == "Account" {
		f.Result, f.Fix = checkNo, rootAssumes
		return f
	}
	return c.asked(f, "The principal needs what is in policy.")
}

const rootAssumes = "The root account can assume no role: write the AccessKey of a RAM user to config."

// asked is the finding with what STS says, or how to ask it.
func (c *roleCheck) asked(f finding, needed string) finding {
	if c.assume == nil {
		f.Result, f.Fix = checkUnknown, "Only STS can tell. To ask it for a session of 900 seconds that may do nothing: "+c.howToAsk+". "+needed
		return f
	}
	err := c.assume(f.On)
	if f.Result = verdict(err); err != nil {
		f.Fix = explained(err)
	}
	return f
}

// verdict is what the answer of STS to AssumeRole says of it.
func verdict(err error) string {
	refused, answered := errors.AsType[*openapi.Error](err)
	switch {
	case err == nil:
		return checkYes
	case answered && !refused.Temporary() && refused.Code != "" || errors.As(err, new(noToken)):
		return checkNo
	}
	return checkUnknown
}

// trust tells whether a trust policy lets the mount assume its role.
func (c *roleCheck) trust(document string) (result, fix string) {
	result = trusts(document, c.who.Principal(), c.who.AccountID)
	return result, map[string]string{
		checkNo:      "The trust policy of the role must have this statement: " + ram.TrustStatement(c.who.Principal()) + ".",
		checkUnknown: "The trust policy has conditions or forms that are not judged here: compare it with external_id and " + c.who.Principal() + ".",
	}[result]
}

// ramRoleOf looks at an existing RAM role.
func (c *roleCheck) ramRoleOf(arn string, assume finding, trust func(document string) (result, fix string)) []finding {
	exists := finding{Action: "ram:GetRole", On: arn, NeededFor: "issue"}
	trusted := finding{Action: "trust policy", On: arn, NeededFor: "issue"}
	longest := finding{Action: "MaxSessionDuration", On: arn, NeededFor: "issue"}
	var out struct {
		Role struct {
			AssumeRolePolicyDocument string
			MaxSessionDuration       int
		}
	}
	account, roleName, _ := strings.Cut(strings.TrimPrefix(arn, "acs:ram::"), ":role/")
	looked := account == c.who.AccountID
	if looked {
		err := c.cloud.Call(c.ctx, true, "GetRole", map[string]string{"RoleName": roleName}, &out)
		exists.Result, exists.Fix = c.looked(err, "ram:GetRole", "There is no such RAM role: check role_arn and role_arns.")
		looked = err == nil
	} else {
		exists.Result, exists.Fix = checkUnknown, "It is a role of another account, which cannot be looked at from here."
	}
	if looked {
		trusted.Result, trusted.Fix = trust(out.Role.AssumeRolePolicyDocument)
	} else if assume.Result == checkUnknown && assume.Action == "sts:AssumeRole" {
		assume.Fix += " The trust policy of the RAM role must name it: " + ram.TrustStatement(c.who.Principal()) + "."
	}
	allowed := time.Duration(out.Role.MaxSessionDuration) * time.Second
	switch {
	case c.role.TTL <= defaultSession: // which every RAM role allows
		longest.Result = checkYes
	case allowed == 0:
		longest.Result, longest.Fix = checkUnknown, fmt.Sprintf("ttl is %s. If the RAM role allows less, sessions last %s, with a warning.", c.role.TTL, defaultSession)
	case c.role.TTL > allowed:
		longest.Result, longest.Fix = checkNo, fmt.Sprintf("ttl is %s and the RAM role allows %s: lower ttl, or raise MaxSessionDuration.", c.role.TTL, allowed)
	default:
		longest.Result = checkYes
	}
	if assume.Result == checkYes { // which proves the rest
		for _, f := range []*finding{&exists, &trusted} {
			if f.Result == checkUnknown {
				f.Result, f.Fix = checkYes, ""
			}
		}
	}
	found := []finding{exists}
	if looked {
		found = append(found, trusted)
	}
	if exists.Result == checkNo && assume.Result == checkUnknown {
		return found // there is nothing to ask for
	}
	return append(found, longest, assume)
}

// template is what an identity template fills in.
var template = regexp.MustCompile(`\{\{.*?\}\}`)

// leaveOutTemplates takes out the policies that depend on who reads credentials.
func (c *roleCheck) leaveOutTemplates() {
	literal := *c.role
	literal.RemotePolicies = nil
	for _, p := range c.role.RemotePolicies {
		if !templated(p) {
			literal.RemotePolicies = append(literal.RemotePolicies, p)
			continue
		}
		c.note(finding{Action: "remote_policies", On: p.Type + " policy " + p.Name, NeededFor: "issue", Result: checkUnknown,
			Fix: "Its name depends on who reads credentials."})
		p.Name = template.ReplaceAllString(p.Name, "*")
		c.templates = append(c.templates, p)
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

// resourceGroups checks those that the role names.
func (c *roleCheck) resourceGroups() {
	groups := []string{c.role.ResourceGroup}
	for _, p := range slices.Concat(c.role.RemotePolicies, c.templates) {
		groups = append(groups, p.ResourceGroup)
	}
	slices.Sort(groups)
	groups = slices.DeleteFunc(slices.Compact(groups), func(id string) bool { return id == "" })
	if len(groups) > 0 && !c.role.ConsoleLogin { // a login needs the alias in any case
		c.alias()
	}
	for _, group := range groups {
		c.add(func() []finding {
			err := c.cloud.Call(c.ctx, true, "GetResourceGroup", map[string]string{"ResourceGroupId": group}, nil)
			result, fix := c.looked(err, "ram:GetResourceGroup", "There is no such resource group: check resource_group, and those in remote_policies.")
			return []finding{{"ram:GetResourceGroup", "resource group " + group, "issue", result, fix}}
		})
	}
}

// alias finds out whether the account has one, by which alone Resource Management may
// know its users and roles.
func (c *roleCheck) alias() {
	alias, err := c.cloud.AccountAlias(c.ctx)
	f := finding{Action: "ram:GetAccountAlias", NeededFor: "issue", Result: checkYes}
	switch {
	case err == nil && alias == "":
		return // leases need not ask
	case ram.Denied(err):
		f.Result, f.Fix = checkUnknown, "In an account that has an alias, leases in resource groups may need it."
	case err != nil:
		f.Result, f.Fix = checkUnknown, explained(err)
	default:
		c.need("GetAccountAlias", nil)
	}
	c.note(f)
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
	if c.role.issuesKey() {
		c.probe("issue", "CreateAccessKey", "user "+user, map[string]string{"UserName": user})
	}
	c.probe("renew", "GetUser", "user "+user, map[string]string{"UserName": user})
	keys, listing, extras := "revoke", "rollback", forExtras
	if c.role.ConsoleLogin {
		extras = "revoke" // a user who signs in may have an MFA device
		c.consoleLogin()
	}
	if !c.role.issuesKey() {
		keys, listing = forExtras, "revoke" // which keys the user has is not known by then
	}
	c.probe(keys, "DeleteAccessKey", "user "+user, map[string]string{"UserName": user, "UserAccessKeyId": "LTAI5tNoSuchKey"})
	c.probe("revoke", "DeleteUser", "user "+user, map[string]string{"UserName": user})
	c.probe(listing, "ListAccessKeys", "user "+user, map[string]string{"UserName": user})
	c.policies(ram.User)
	for _, group := range c.role.RAMGroups {
		both := map[string]string{"UserName": user, "GroupName": group}
		c.probe("issue", "AddUserToGroup", "group "+group, both)
		c.probe("revoke", "RemoveUserFromGroup", "group "+group, both)
	}
	for _, action := range []string{"ListPoliciesForUser", "ListGroupsForUser"} {
		c.probe(forExtras, action, "user "+user, map[string]string{"UserName": user})
	}
	for _, action := range []string{"DeleteLoginProfile", "UnbindMFADevice"} {
		c.probe(extras, action, "user "+user, map[string]string{"UserName": user})
	}
	c.quotas()
	c.probe(forExtras, "UpdateAccessKey", "user "+user, map[string]string{"UserName": user, "UserAccessKeyId": "LTAI5tNoSuchKey", "Status": "Inactive"})
}

// consoleLogin probes what a login to the console needs.
func (c *roleCheck) consoleLogin() {
	c.passwordPolicy()
	c.probe("issue", "GetAccountAlias", "the account", nil)
	c.probe("issue", "CreateLoginProfile", "user "+c.entity, map[string]string{"UserName": c.entity, "Password": strongPassword()})
	c.probe(forExtras, "GetUserMFAInfo", "user "+c.entity, map[string]string{"UserName": c.entity})
	c.probe(forExtras, "DeleteVirtualMFADevice", "virtual MFA devices", map[string]string{"SerialNumber": "acs:ram::" + c.who.AccountID + ":mfa/" + c.entity})
}

// passwordPolicy finds out whether Vault makes passwords by that of the role. They are
// thrown away.
func (c *roleCheck) passwordPolicy() {
	if c.role.PasswordPolicy == "" {
		return
	}
	c.add(func() []finding {
		f := finding{Action: "password_policy", On: c.role.PasswordPolicy, NeededFor: "issue", Result: checkYes}
		if _, err := c.role.newPassword(c.ctx, c.system); err != nil {
			f.Result, f.Fix = checkNo, explained(err)
		}
		return []finding{f}
	})
}

// ramRole probes what RAM roles need.
func (c *roleCheck) ramRole() {
	name := c.entity
	c.probe("issue", "CreateRole", "role "+name, map[string]string{"RoleName": name, "AssumeRolePolicyDocument": malformed})
	c.probe("revoke", "DeleteRole", "role "+name, map[string]string{"RoleName": name})
	c.policies(ram.Role)
	c.quotas()
	c.probe(forExtras, "ListPoliciesForRole", "role "+name, map[string]string{"RoleName": name})
	c.need("AssumeRole", map[string]string{"RoleName": name})
	assume := finding{Action: "sts:AssumeRole", On: "role " + name, NeededFor: "issue", Result: checkUnknown,
		Fix: "Only issuing can tell: STS may say that a role does not exist before it looks at permissions. The principal needs what is in policy."}
	if c.who.IdentityType == "Account" {
		assume.Result, assume.Fix = checkNo, rootAssumes
	}
	c.note(assume)
}

// quotas asks for the quotas of the account that the role works in, of which an issue
// warns. Status tells those of the mount's own account.
func (c *roleCheck) quotas() {
	c.add(func() []finding {
		f := finding{Action: "ram:" + ram.AccountSummary, NeededFor: forQuotas, Result: checkYes}
		switch _, err := c.cloud.Quotas(c.ctx); {
		case err == nil:
		case ram.Denied(err):
			f.Result, f.Fix = checkNo, "Leases do without. With it, an issue warns at 90 % of a quota, and status and metrics tell those of the mount's own account: see \"Quotas\" in docs/least-policy.md."
		default:
			return nil // nothing is missing
		}
		return []finding{f}
	})
}

// policies probes what attaching policies to a user or role, and those made of
// inline_policies, need.
func (c *roleCheck) policies(kind ram.Kind) {
	custom := c.custom
	attached := c.role.RemotePolicies
	if len(c.role.InlinePolicies) > 0 {
		attached = append(slices.Clone(attached), ram.Policy{Name: custom, Type: "Custom", ResourceGroup: c.role.ResourceGroup})
		c.probe("issue", "CreatePolicy", "policy "+custom, map[string]string{"PolicyName": custom, "PolicyDocument": malformed})
		c.probe("revoke", "DeletePolicy", "policy "+custom, map[string]string{"PolicyName": custom})
		if !c.role.PolicyPerLease {
			c.probe(forExtras, "GetPolicy", "policy "+custom, map[string]string{"PolicyName": custom, "PolicyType": "Custom"})
		}
	}
	for _, p := range attached {
		attach, detach, params := c.attachment(kind, p)
		on := p.Type + " policy " + p.Name
		if p.ResourceGroup != "" {
			on += " in " + p.ResourceGroup
		}
		c.probe("issue", attach, on, params)
		c.probe("revoke", detach, on, params)
	}
	for _, p := range c.templates {
		attach, detach, params := c.attachment(kind, p)
		c.need(attach, params)
		c.need(detach, params)
	}
	c.resourceGroups()
}

// attachment are the calls that attach the policy and detach it, and their parameters.
func (c *roleCheck) attachment(kind ram.Kind, p ram.Policy) (attach, detach string, params map[string]string) {
	e := ram.Entity{Kind: kind, Name: c.entity}
	if p.ResourceGroup != "" {
		return "AttachPolicy", "DetachPolicy", ram.GrantParams(p, e, c.who.AccountID)
	}
	return "AttachPolicyTo" + string(kind), "DetachPolicyFrom" + string(kind),
		map[string]string{string(kind) + "Name": e.Name, "PolicyName": p.Name, "PolicyType": p.Type}
}

// need notes what the mount must be allowed for a call.
func (c *roleCheck) need(call string, params map[string]string) {
	p := ram.Permissions[call]
	for _, arn := range p.ARNs(c.who.AccountID, params) {
		c.needs.add(p.Action, c.patterns.Replace(arn))
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
	if neededFor != forExtras {
		c.need(action, params)
	}
	c.add(func() []finding {
		f := finding{Action: "ram:" + action, On: c.patterns.Replace(on), NeededFor: neededFor, Result: checkYes}
		err := c.cloud.Call(c.ctx, true, action, params, nil)
		refused, answered := errors.AsType[*openapi.Error](err)
		switch {
		case err == nil:
		case !answered || refused.Temporary():
			f.Result, f.Fix = checkUnknown, explained(err)
		case ram.Denied(refused):
			f.Result, f.Fix = checkNo, c.patterns.Replace(permission(err, refused))
			if neededFor != forExtras { // policy has the statement
				f.Fix, _, _ = strings.Cut(f.Fix, toAdd)
			}
		case refused.NotExist(), strings.HasPrefix(refused.Code, "InvalidParameter"), strings.HasPrefix(refused.Code, "Malformed"),
			strings.HasPrefix(refused.Code, "EntityAlreadyExists"), strings.HasPrefix(refused.Code, "LimitExceeded"):
		default:
			f.Result, f.Fix = checkUnknown, explained(err)
		}
		return []finding{f}
	})
}
