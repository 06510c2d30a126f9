package backend

import (
	"cmp"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// grant says what to do about a call that was refused for want of permission, in
// the words of RAM where the refusal tells, and with who and on where it does not.
func grant(refused *openapi.Error, who string, on []string) string {
	denied, p := refused.Denied, ram.Permissions[refused.Action]
	action := cmp.Or(denied.Action, p.Action, "the action")
	if denied.Resource != "" && !slices.Contains(on, denied.Resource) {
		on = []string{denied.Resource}
	}
	if len(on) == 0 {
		on = p.ARNs("", nil)
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
		return "A Deny in a policy (" + cmp.Or(kind, "of a kind that the refusal does not tell") + ") forbids " + what + " to " + who + ". No grant helps: take the Deny out, or narrow it."
	}
	fix := "Grant " + what + " to " + who + "."
	if refused.Action == "AssumeRole" {
		fix += " The trust policy of the RAM role must name that principal too, and an external id there must be in external_id. The root account can never assume a role."
	}
	return fix
}
