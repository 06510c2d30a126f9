package backend

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// permission is what RAM wants of the policies of whoever makes a call: the
// action, on each of the resources. A resource is what follows the account in an
// ARN, with the parameters of the call in <>.
type permission struct {
	action    string
	resources []string
}

// permissions has every call of this mount that needs a permission. The resources
// are those of the table "RAM authentication" in Alibaba Cloud's documents: a call
// that creates or lists names nothing, so no policy can narrow it by name.
// Resource Management publishes none for its calls.
var permissions = map[string]permission{
	"AssumeRole": {"sts:AssumeRole", []string{"role/<RoleName>"}},

	"CreateUser":           {"ram:CreateUser", []string{"user/*"}},
	"GetUser":              {"ram:GetUser", []string{"user/<UserName>"}},
	"DeleteUser":           {"ram:DeleteUser", []string{"user/<UserName>"}},
	"ListUsers":            {"ram:ListUsers", []string{"user/*"}},
	"CreateAccessKey":      {"ram:CreateAccessKey", []string{"user/<UserName>"}},
	"ListAccessKeys":       {"ram:ListAccessKeys", []string{"user/<UserName>"}},
	"UpdateAccessKey":      {"ram:UpdateAccessKey", []string{"user/<UserName>"}},
	"DeleteAccessKey":      {"ram:DeleteAccessKey", []string{"user/<UserName>"}},
	"DeleteLoginProfile":   {"ram:DeleteLoginProfile", []string{"user/<UserName>"}},
	"UnbindMFADevice":      {"ram:UnbindMFADevice", []string{"user/<UserName>"}},
	"ListPoliciesForUser":  {"ram:ListPoliciesForUser", []string{"user/<UserName>"}},
	"ListGroupsForUser":    {"ram:ListGroupsForUser", []string{"user/<UserName>"}},
	"AddUserToGroup":       {"ram:AddUserToGroup", []string{"user/<UserName>", "group/<GroupName>"}},
	"RemoveUserFromGroup":  {"ram:RemoveUserFromGroup", []string{"user/<UserName>", "group/<GroupName>"}},
	"AttachPolicyToUser":   {"ram:AttachPolicyToUser", []string{"policy/<PolicyName>", "user/<UserName>"}},
	"DetachPolicyFromUser": {"ram:DetachPolicyFromUser", []string{"policy/<PolicyName>", "user/<UserName>"}},

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

	"ListPolicyAttachments": {"ram:ListPolicyAttachments", []string{"*"}},
	"DetachPolicy":          {"ram:DetachPolicy", []string{"*"}},
}

var placeholder = regexp.MustCompile(`<(\w+)>`)

// arns are the resources of a call with these parameters in this account. What
// is not among the parameters stays in <>.
func (p permission) arns(account string, params map[string]string) []string {
	arns := make([]string, len(p.resources))
	for n, resource := range p.resources {
		owner := cmp.Or(account, "<account>")
		if strings.HasPrefix(resource, "policy/") && params["PolicyType"] == "System" {
			owner = "system"
		}
		arns[n] = "acs:ram:*:" + owner + ":" + placeholder.ReplaceAllStringFunc(resource, func(name string) string {
			return cmp.Or(params[strings.Trim(name, "<>")], name)
		})
	}
	return arns
}

// grant says what to do about a call that was refused for want of permission, in
// the words of RAM where the refusal tells, and with who and on where it does not.
func grant(refused *openapi.Error, who string, on []string) string {
	denied, p := refused.Denied, permissions[refused.Action]
	action := cmp.Or(denied.Action, p.action, "the action")
	if denied.Resource != "" && !slices.Contains(on, denied.Resource) {
		on = []string{denied.Resource}
	}
	if len(on) == 0 {
		on = p.arns("", nil)
	}
	what := action
	if len(on) > 0 {
		what += " on " + strings.Join(on, " and on ")
	}
	if who == "" {
		who = "the principal of this mount (read config/caller-identity to see it)"
		if denied.PrincipalDisplayName != "" {
			who = denied.PrincipalDisplayName + ", the principal of this mount"
		}
	}
	explicit := denied.NoPermissionType == "ExplicitDeny"
	switch kind := denied.PolicyType; {
	case kind == "ControlPolicy":
		return "A control policy of the resource directory does not allow " + what + ": no grant in this account helps. Ask who manages the directory."
	case kind == "SessionPolicy":
		return "The session policy of this mount's own session does not allow " + what + ": no grant helps. Look at policy in config, or at whoever made the session."
	case kind == "AssumeRolePolicy" && explicit:
		return "The trust policy of the RAM role denies it to " + who + ": take the Deny out of the trust policy."
	case kind == "AssumeRolePolicy":
		return "The trust policy of the RAM role must name " + who + ", and its conditions, such as an external id, must hold: compare external_id."
	case explicit:
		return "A policy (" + cmp.Or(kind, "of a kind that the refusal does not tell") + ") denies " + what + " to " + who + " with Deny: a grant does not help. Take the Deny out, or narrow it."
	}
	fix := "Grant " + what + " to " + who + "."
	if refused.Action == "AssumeRole" {
		fix += " The trust policy of the RAM role must name that principal too, and an external id there must be in external_id. The root account can never assume a role."
	}
	return fix
}
