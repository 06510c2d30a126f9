package ram

import (
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
)

// Permission is what RAM wants of the policies of whoever makes a call: the
// action, on each of the resources. A resource is what follows the account in an
// ARN, with the parameters of the call in <>.
type Permission struct {
	Action    string
	Resources []string
}

// Permissions has every call of the engine that needs a permission, by the name
// of the call. The resources are those of the table "RAM authentication" in
// Alibaba Cloud's documents: a call that creates or lists names nothing, so no
// policy can narrow it by name. Those of Resource Management are from its document
// "RAM authorization" of resource groups (159974); today's pages tell none.
var Permissions = map[string]Permission{
	"AssumeRole": {"sts:AssumeRole", []string{"role/<RoleName>"}},

	"CreateUser":           {"ram:CreateUser", []string{"user/*"}},
	"GetUser":              {"ram:GetUser", []string{"user/<UserName>"}},
	"DeleteUser":           {"ram:DeleteUser", []string{"user/<UserName>"}},
	"ListUsers":            {"ram:ListUsers", []string{"user/*"}},
	"CreateAccessKey":      {"ram:CreateAccessKey", []string{"user/<UserName>"}},
	"ListAccessKeys":       {"ram:ListAccessKeys", []string{"user/<UserName>"}},
	"UpdateAccessKey":      {"ram:UpdateAccessKey", []string{"user/<UserName>"}},
	"DeleteAccessKey":      {"ram:DeleteAccessKey", []string{"user/<UserName>"}},
	"CreateLoginProfile":   {"ram:CreateLoginProfile", []string{"user/<UserName>"}},
	"DeleteLoginProfile":   {"ram:DeleteLoginProfile", []string{"user/<UserName>"}},
	"GetUserMFAInfo":       {"ram:GetUserMFAInfo", []string{"user/<UserName>"}},
	"UnbindMFADevice":      {"ram:UnbindMFADevice", []string{"user/<UserName>"}},
	"ListPoliciesForUser":  {"ram:ListPoliciesForUser", []string{"user/<UserName>"}},
	"ListGroupsForUser":    {"ram:ListGroupsForUser", []string{"user/<UserName>"}},
	"AddUserToGroup":       {"ram:AddUserToGroup", []string{"user/<UserName>", "group/<GroupName>"}},
	"RemoveUserFromGroup":  {"ram:RemoveUserFromGroup", []string{"user/<UserName>", "group/<GroupName>"}},
	"AttachPolicyToUser":   {"ram:AttachPolicyToUser", []string{"policy/<PolicyName>", "user/<UserName>"}},
	"DetachPolicyFromUser": {"ram:DetachPolicyFromUser", []string{"policy/<PolicyName>", "user/<UserName>"}},

	"DeleteVirtualMFADevice": {"ram:DeleteVirtualMFADevice", []string{"mfa/*"}}, // told by the device's serial number, which the account or its user has made up

	"GetGroup":              {"ram:GetGroup", []string{"group/<GroupName>"}},
	"DetachPolicyFromGroup": {"ram:DetachPolicyFromGroup", []string{"policy/<PolicyName>", "group/<GroupName>"}},

	"CreateRole":           {"ram:CreateRole", []string{"role/*"}},
	"GetRole":              {"ram:GetRole", []string{"role/<RoleName>"}}, // in 2019 it was refused on role/* (F1.2)
	"DeleteRole":           {"ram:DeleteRole", []string{"role/<RoleName>"}},
	"ListRoles":            {"ram:ListRoles", []string{"role/*"}},
	"ListPoliciesForRole":  {"ram:ListPoliciesForRole", []string{"role/<RoleName>"}},
	"AttachPolicyToRole":   {"ram:AttachPolicyToRole", []string{"policy/<PolicyName>", "role/<RoleName>"}},
	"DetachPolicyFromRole": {"ram:DetachPolicyFromRole", []string{"policy/<PolicyName>", "role/<RoleName>"}},

	"CreatePolicy":          {"ram:CreatePolicy", []string{"policy/*"}},
	"GetPolicy":             {"ram:GetPolicy", []string{"policy/<PolicyName>"}},
	"DeletePolicy":          {"ram:DeletePolicy", []string{"policy/<PolicyName>"}},
	"ListPolicies":          {"ram:ListPolicies", []string{"policy/*"}},
	"ListEntitiesForPolicy": {"ram:ListEntitiesForPolicy", []string{"policy/<PolicyName>"}},

	"AttachPolicy":          {"ram:AttachPolicy", []string{"policy/<PolicyName>", allPrincipals}},
	"DetachPolicy":          {"ram:DetachPolicy", []string{"policy/<PolicyName>", allPrincipals}},
	"ListPolicyAttachments": {"ram:ListPolicyAttachments", []string{anyResource}},
	"GetResourceGroup":      {"ram:GetResourceGroup", []string{"resourcegroup/<ResourceGroupId>"}},
	"GetAccountAlias":       {"ram:GetAccountAlias", []string{anyResource}},

	AccountSummary: {"ram:GetAccountSummary", []string{anyResource}},
}

// AccountSummary is the call that tells the quotas. Nothing depends on it.
const AccountSummary = "GetAccountSummary"

// allPrincipals is the resource of all users or roles, by the PrincipalType of the call.
const allPrincipals = "<PrincipalType>"

// anyResource is the resource of calls that no policy can narrow: it must say "*".
const anyResource = "*"

var placeholder = regexp.MustCompile(`<(\w+)>`)

// ARNs are the resources of a call with these parameters in this account. What
// is not among the parameters stays in <>.
func (p Permission) ARNs(account string, params map[string]string) []string {
	arns := make([]string, len(p.Resources))
	for n, resource := range p.Resources {
		if resource == anyResource {
			arns[n] = resource
			continue
		}
		product, owner := "ram", cmp.Or(account, "<account>")
		switch principals := params["PrincipalType"]; {
		case resource == allPrincipals && principals == principalTypes[User]:
			product, resource = "ims", "user/*"
		case resource == allPrincipals && principals == principalTypes[Role]:
			resource = "role/*"
		}
		if strings.HasPrefix(resource, "policy/") && params["PolicyType"] == "System" {
			owner = "system"
		}
		arns[n] = "acs:" + product + ":*:" + owner + ":" + placeholder.ReplaceAllStringFunc(resource, func(name string) string {
			return cmp.Or(params[strings.Trim(name, "<>")], name)
		})
	}
	return arns
}

// Statement is one of a policy: it allows actions on resources.
type Statement struct {
	Effect   string
	Action   oneOrMore
	Resource oneOrMore
}

// Allow makes a statement.
func Allow(actions, resources []string) Statement {
	return Statement{Effect: "Allow", Action: actions, Resource: resources}
}

// String is the statement as it stands in a policy.
func (s Statement) String() string { return asJSON(s) }

// PolicyOf is a policy of these statements.
func PolicyOf(statements ...Statement) string {
	return asJSON(struct {
		Version   string
		Statement []Statement
	}{"1", statements})
}

// TrustStatement is one of a trust policy: it lets a principal assume the role.
func TrustStatement(principal string) string { return asJSON(trust(principal, "")) }

// TrustPolicy is a trust policy of that statement alone, with a condition where there
// is an external id.
func TrustPolicy(principal, externalID string) string {
	return asJSON(struct {
		Version   string
		Statement []trustStatement
	}{"1", []trustStatement{trust(principal, externalID)}})
}

type trustStatement struct {
	Effect, Action string
	Principal      struct{ RAM []string }
	Condition      map[string]map[string]string `json:",omitempty"`
}

func trust(principal, externalID string) trustStatement {
	s := trustStatement{Effect: "Allow", Action: "sts:AssumeRole"}
	s.Principal.RAM = []string{principal}
	if externalID != "" {
		s.Condition = map[string]map[string]string{"StringEquals": {"sts:ExternalId": externalID}}
	}
	return s
}

// oneOrMore is a list whose only element stands alone in JSON, as people write it.
type oneOrMore []string

// MarshalJSON makes a text of one, a list of more.
func (list oneOrMore) MarshalJSON() ([]byte, error) {
	if len(list) == 1 {
		return []byte(asJSON(list[0])), nil
	}
	return []byte(asJSON([]string(list))), nil
}

// asJSON is for values that have a form in JSON. Its < and > stay, as in <account>.
func asJSON(value any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return strings.TrimSuffix(b.String(), "\n")
}
