package backend

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// notConfigured says what to write where.
const notConfigured = "no credentials are configured: write access_key and secret_key to the config path of this mount, " +
	"for example: vault write alicloud/config access_key=... secret_key=..."

// answer turns a failed cloud call into what a handler returns:
//
//   - throttled: the detail, with the sentinel that Vault answers as 502. The
//     sentinel stays bare, because over gRPC only its exact text is recognised.
//   - refused: 400, because Vault's clients repeat every 5xx and would repeat the
//     whole issue for an answer that will not change.
//   - no answer, or a 5xx: an error, which Vault answers as 500.
//
// doing says what was being done, in the words of a user.
func answer(doing string, err error) (*logical.Response, error) {
	detail := doing + ": " + oneLine(err)
	var refused *openapi.Error
	switch {
	case !errors.As(err, &refused):
		return nil, errors.New(detail)
	case refused.Throttled():
		return logical.ErrorResponse(detail), logical.ErrUpstreamRateLimited
	case refused.Temporary() || refused.Code == "":
		return nil, errors.New(detail)
	}
	if fix := fixes[refused.Code]; fix != "" {
		detail = strings.TrimRight(detail, ". ") + ". " + fix
		if !strings.Contains(detail, "troubleshooting.md#") { // an error of alicreds links to its own page
			detail += " See " + helpPage + "#" + helpAnchor(refused.Code)
		}
	}
	return logical.ErrorResponse(detail), nil
}

// helpPage says more about the codes in fixes, each under a heading of its own.
const helpPage = "https://github.com/alicreds/vault-plugin-secrets-alicloud/blob/main/docs/troubleshooting.md"

// helpAnchor is the link of a heading that is a code: small letters, no dots.
func helpAnchor(code string) string { return strings.ToLower(strings.ReplaceAll(code, ".", "")) }

// oneLine prints joined errors on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fixes say what to do about refusals that operators meet.
var fixes = map[string]string{
	"NoPermission": "Grant the action to the principal of this mount (read config/caller-identity to see it); " +
		"to assume a role, the role's trust policy must name that principal too. The root account can never assume a role.",
	"EntityNotExist.Role":              "Check role_arn.",
	"EntityNotExist.Policy":            "Check remote_policies: the policy must exist, and its type must be System or Custom as in RAM.",
	"EntityNotExist.Group":             "Check ram_groups.",
	"InvalidAccessKeyId.NotFound":      "Check access_key in config: the key is unknown or has been deleted.",
	"InvalidAccessKeyId.Inactive":      "Enable the AccessKey of config in RAM, or configure another.",
	"SignatureDoesNotMatch":            "Check secret_key in config.",
	"InvalidSecurityToken.Expired":     "The temporary keys in config have expired: write new ones.",
	"InvalidTimeStamp.Expired":         "Check the clock of the Vault server: more than 15 minutes are not accepted.",
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

// noContent is the response schema of operations that answer 204.
func noContent() map[int][]framework.Response {
	return map[int][]framework.Response{204: {{Description: "No Content"}}}
}
