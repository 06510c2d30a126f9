package backend

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// permission says what to do about a call that was refused for want of permission:
// what to write into which policy, where a grant helps, and what else where not.
func permission(err error, refused *openapi.Error) string {
	if text := notByRAM[refused.Action]; text != "" {
		return text
	}
	d := denied{AccessDenied: refused.Denied, assume: refused.Action == "AssumeRole"}
	p := ram.Permissions[refused.Action]
	d.action = cmp.Or(d.Action, p.Action, "the action")
	own, ofMount := errors.AsType[*ram.Denial](err)
	if ofMount {
		d.resources, d.roleARN, d.externalID = slices.Clone(own.Resources), own.RoleARN, own.ExternalID
	} else {
		d.resources = p.ARNs("", nil)
	}
	if d.Resource != "" && !slices.Contains(d.resources, d.Resource) {
		d.resources = []string{d.Resource} // RAM knows better; else it names the first of several
	}
	for n, arn := range d.resources {
		d.resources[n] = likeIt(arn)
	}
	d.principal, d.who = principalOf(err, refused.Denied)
	d.sent = "external_id"
	if errors.As(err, new(*notInAccount)) {
		d.sent = "assume_role_external_id"
	}
	if d.assume && ofMount && own.Who.IdentityType == "Account" {
		return "The root account can assume no role: write the AccessKey of a RAM user to config, one that may sts:AssumeRole."
	}
	return d.fix()
}

// notByRAM are calls whose refusal no policy of RAM changes, by their names in errors.
var notByRAM = map[string]string{
	"CloudSSO sign-in": "CloudSSO, and not RAM, decides this: its administrator must assign the access configuration of the profile to the user who is logged in, " +
		"in the account of the profile. Or choose another with aliyun configure --mode CloudSSO.",
	"AssumeRoleWithOIDC": fixes["AuthenticationFail.NoPermission"],
}

// denied is a call that was refused for want of permission, in the words of the
// advice.
type denied struct {
	openapi.AccessDenied
	action    string // as policies spell it
	resources []string
	principal string // its ARN; "": not known
	who       string // the same for a sentence

	assume              bool // AssumeRole, which two policies must allow
	roleARN, externalID string
	sent                string // the field that the external id comes from
}

// toAdd begins the statement that a grant is.
const toAdd = " The statement to add to a policy that it has: "

func (d denied) fix() string {
	what := d.action
	if len(d.resources) > 0 {
		what += " on " + strings.Join(d.resources, " and on ")
	}
	explicit := d.NoPermissionType == "ExplicitDeny"
	switch kind := d.PolicyType; {
	case kind == "ControlPolicy":
		return "A control policy of the resource directory does not allow " + what + ": no grant in this account helps. Ask who manages the directory."
	case kind == "SessionPolicy":
		return "The session policy of this mount's own session does not allow " + what + ": no grant helps. Look at policy in config, or at whoever made the session."
	case kind == "AssumeRolePolicy" && explicit:
		return "The trust policy of the RAM role denies it to " + d.who + ": take the Deny out of the trust policy."
	case kind == "AssumeRolePolicy":
		return d.trust()
	case explicit:
		return "A Deny in a policy (" + cmp.Or(kind, "of a kind that the refusal does not tell") + ") forbids " + what + " to " + d.who +
			". No grant helps: take the Deny out, or narrow it."
	}
	fix := "Grant " + what + " to " + d.who + "."
	if len(d.resources) > 0 {
		fix += toAdd + ram.Allow([]string{d.action}, d.resources).String() + "."
	}
	if d.assume {
		return fix + " " + d.trust()
	}
	return fix
}

// trust says what the role's side of AssumeRole must have.
func (d denied) trust() string {
	text := "The trust policy of the RAM role must name " + d.who
	if d.principal != "" {
		text += ", in " + cmp.Or(d.roleARN, "the role") + ": " + ram.TrustStatement(d.principal)
	}
	if d.externalID != "" {
		return text + ". The " + d.sent + " that was sent must be the one in its condition on sts:ExternalId, letter by letter."
	}
	return text + ". No external id was sent: if the trust policy has a condition on sts:ExternalId, write that id to " + d.sent + "."
}

// principalOf is who was refused, as an ARN where that is known, and for a sentence.
func principalOf(err error, refusal openapi.AccessDenied) (arn, who string) {
	if own, ok := errors.AsType[*ram.Denial](err); ok && own.Who.ARN != "" {
		return own.Who.Principal(), own.Who.Principal() + ", the principal of this mount"
	}
	// A session of config's own role is asked for with other keys than the mount works with.
	source, _ := errors.AsType[*alicreds.Error](err)
	ofKeys := source != nil && strings.Contains(source.Source, "/")
	name := refusal.PrincipalDisplayName
	if name != "" && strings.Trim(name, "0123456789") == "" {
		name = "the RAM user with the id " + name
	}
	switch {
	case ofKeys && name != "":
		return "", name + ", whose keys the config of this mount has or finds"
	case ofKeys:
		return "", "whoever the keys belong to that the config of this mount has or finds"
	case name != "":
		return "", name + ", the principal of this mount"
	}
	return "", "the principal of this mount (read config/caller-identity to see it)"
}

// ofLease is a resource whose name was made for one lease.
var ofLease = regexp.MustCompile(`(:(?:user|role|policy)/[A-Za-z0-9]+-)(?:[A-Za-z0-9-]*-)?(?:[a-z2-7]{20}(?:-[0-9A-Za-z-]+)?|[0-9a-f]{8}-[0-9a-f]{32})$`)

// likeIt is the resource, or all that are like it where it is of one lease.
func likeIt(arn string) string { return ofLease.ReplaceAllString(arn, "${1}*") }
