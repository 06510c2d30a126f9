package backend

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// refusal is an answer to the user: what is asked for cannot be done as things
// are. It says what to do.
type refusal = rotation.Refusal

func refuse(format string, args ...any) error { return rotation.Refuse(format, args...) }

// notConfigured says what to write where.
const notConfigured = "no credentials are configured: write access_key and secret_key to the config path of this mount, " +
	"for example: vault write alicloud/config access_key=... secret_key=..."

// answer turns a failed cloud call into what a handler returns:
//
//   - refused by the engine itself: 400, with what to do.
//   - throttled: the detail, with the sentinel that Vault answers as 502. The
//     sentinel stays bare, because over gRPC only its exact text is recognised.
//   - refused: 400, because Vault's clients repeat every 5xx and would repeat the
//     whole issue for an answer that will not change. The same without a token
//     of Vault's server to ask with.
//   - no answer, or a 5xx: an error, which Vault answers as 500.
//
// doing says what was being done, in the words of a user.
func answer(doing string, err error) (*logical.Response, error) {
	var own *refusal
	if errors.As(err, &own) {
		return logical.ErrorResponse(own.Error()), nil
	}
	detail := doing + ": " + explained(err)
	var refused *openapi.Error
	switch {
	case errors.As(err, new(noToken)):
	case !errors.As(err, &refused):
		return nil, errors.New(detail)
	case refused.Throttled():
		return logical.ErrorResponse(detail), logical.ErrUpstreamRateLimited
	case refused.Temporary() || refused.Code == "":
		return nil, errors.New(detail)
	}
	return logical.ErrorResponse(detail), nil
}

// explained prints a failure that does not come from the request, on one line:
// what happened, the fix where there is a short one, and where to read more.
func explained(err error) string {
	var own *refusal
	if errors.As(err, &own) {
		return oneLine(err) // says what to do
	}
	return seeAlso(advised(err), helpOn(err))
}

// advised prints a failure on one line, with the fix where there is a short one.
func advised(err error) string {
	text := oneLine(err)
	var refused *openapi.Error
	if errors.As(err, &refused) && !refused.Temporary() {
		if fix := fixOf(refused); fix != "" {
			text = strings.TrimRight(text, ". ") + ". " + fix
		}
	}
	return text
}

// fixOf says what to do about a refusal, "" where nothing short can be said.
func fixOf(refused *openapi.Error) string {
	code := known(refused)
	if code == ram.NoPermission {
		return grant(refused, "", nil)
	}
	return fixes[code]
}

// known is the code that the refusal is explained under, "" where there is none.
func known(refused *openapi.Error) string {
	code := refused.Code
	family, _, refined := strings.Cut(code, ".")
	switch {
	case ram.Denied(refused), code == "Forbidden.RAM": // the second is that of other products
		return ram.NoPermission
	case refused.TokenMissing():
		return "MissingSecurityToken"
	case fixes[code] != "":
		return code
	case refined && slices.Contains(families, family):
		return family
	}
	return ""
}

// families are codes that services refine in more ways than they document, with
// one fix for all of them. Other codes with a dot are about different things.
var families = []string{"InvalidAccessKeyId", "InvalidSecurityToken", "InvalidTimeStamp"}

// ofSource prints why a source of credentials does not take its fields.
func ofSource(err error) string {
	var source *alicreds.Error
	if !errors.As(err, &source) {
		return oneLine(err)
	}
	return seeAlso(oneLine(err), source.Help())
}

// rotationFailure prints why an attempt to rotate a key failed.
func rotationFailure(err error) string {
	var own *refusal
	if errors.As(err, &own) {
		return own.Error()
	}
	return seeAlso(oneLine(err), helpPage+helpRotation)
}

// seeAlso appends a link, unless the text has one: an error of alicreds may link
// to its own page.
func seeAlso(text, link string) string {
	if strings.Contains(text, "troubleshooting.md#") {
		return text
	}
	return strings.TrimRight(text, ". ") + ". See " + link
}

// helpPage has a heading for each code in fixes, and for the anchors below.
const helpPage = "https://github.com/alicreds/vault-plugin-secrets-alicloud/blob/main/docs/troubleshooting.md"

// Headings of helpPage that errors link to.
const (
	helpThrottling = "#throttling"
	helpNoAnswer   = "#no-answer"
	helpOtherCode  = "#any-other-code"
	helpRotation   = "#rotation"
	helpLeases     = "#leases-that-do-not-end"
)

// helpOn is the link to what is said about a failure.
func helpOn(err error) string {
	var refused *openapi.Error
	var source *alicreds.Error
	switch {
	case errors.Is(err, rotation.ErrKeyGone):
		return helpPage + helpRotation
	case errors.As(err, &refused):
		switch {
		case refused.Throttled():
			return helpPage + helpThrottling
		case refused.Temporary() || refused.Code == "":
			return helpPage + helpNoAnswer
		case known(refused) != "":
			return helpPage + helpAnchor(known(refused))
		}
		return helpPage + helpOtherCode
	case errors.As(err, &source):
		return source.Help()
	}
	return helpPage + helpNoAnswer
}

// helpAnchor is the link of a heading that is a code: small letters, no dots.
func helpAnchor(code string) string { return "#" + strings.ToLower(strings.ReplaceAll(code, ".", "")) }

// oneLine prints joined errors on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fixes say what to do about refusals that operators meet.
var fixes = map[string]string{
	"EntityNotExist.Role":              "Check role_arn.",
	"EntityNotExist.Policy":            "Check remote_policies: the policy must exist, and its type must be System or Custom as in RAM.",
	"EntityNotExist.Group":             "Check ram_groups.",
	"InvalidAccessKeyId":               "Check access_key in config: the key is unknown, has been deleted or is disabled.",
	"InvalidAccessKeyId.NotFound":      "Check access_key in config: the key is unknown or has been deleted.",
	"InvalidAccessKeyId.Inactive":      "Enable the AccessKey of config in RAM, or configure another.",
	"SignatureDoesNotMatch":            "Check secret_key in config.",
	"MissingSecurityToken":             "The AccessKey is temporary (it begins with STS.) and its security_token is missing: give all three parts of it, with credential_type=sts.",
	"InvalidSecurityToken":             "The security_token is not that of the AccessKey, or is cut short: write all three parts of one session together.",
	"InvalidSecurityToken.Expired":     "The temporary keys in config have expired: write new ones.",
	"IncompleteSignature":              "Look at what is between Vault and Alibaba Cloud: a proxy that takes headers away, or an endpoint that is none of theirs.",
	"InvalidTimeStamp":                 "Check the clock of the Vault server, and proxies that change headers.",
	"InvalidTimeStamp.Expired":         "Check the clock of the Vault server: more than 15 minutes are not accepted.",
	"Inactive":                         "RAM, or STS, was never activated in this account: open the RAM console once as the account's owner.",
	"LimitExceeded.User":               "The account is full of RAM users: raise the quota or shorten ttl.",
	"LimitExceeded.Role":               "The account is full of RAM roles: raise the quota, shorten ttl, or use ram_role_arn.",
	"LimitExceeded.Policy":             "The account is full of custom policies: raise the quota, shorten ttl, or use remote_policies.",
	"LimitExceeded.User.Policy":        "Merge the documents of inline_policies, or attach fewer policies.",
	"LimitExceeded.Role.Policy":        "Merge the documents of inline_policies, or attach fewer policies.",
	"LimitExceeded.User.Group":         "Name fewer groups in ram_groups.",
	"MalformedPolicyDocument":          "Check inline_policies.",
	"InvalidParameter.PolicyGrammar":   "Check policy, the session policy of the role.",
	"InvalidParameter.PolicySize":      "Shorten policy, the session policy of the role.",
	"AuthenticationFail.NoPermission":  "Check oidc_provider_arn, and the conditions in the trust policy of the RAM role.",
	"InvalidParameter.DurationSeconds": "Lower ttl, or raise MaxSessionDuration of the RAM role.",
}

// cloudOrAnswer is what handlers that call the cloud begin with.
func (b *backend) cloudOrAnswer(ctx context.Context, s logical.Storage) (*cloud, *logical.Response, error) {
	c, err := b.cloud(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, logical.ErrorResponse(notConfigured), nil
	}
	return c, nil, nil
}

// warned adds warnings to a response, which may be nil. It returns nil, an
// empty answer, where there is nothing to say.
func warned(resp *logical.Response, warnings []string) *logical.Response {
	if len(warnings) == 0 {
		return resp
	}
	if resp == nil {
		resp = &logical.Response{}
	}
	for _, w := range warnings {
		resp.AddWarning(w)
	}
	return resp
}
