package backend

import (
	"errors"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// fixOf says what to do about a refusal that is in err, "" where nothing short can
// be said.
func fixOf(err error, refused *openapi.Error) string {
	code := known(refused)
	if code == "EntityNotExist.Role" && errors.As(err, new(*notInAccount)) {
		return "Check assume_role_arn: the account in it has no such RAM role. Letter case counts. If it was deleted and leases need it still, create it again: they are removed as this role only."
	}
	if code == ram.NoPermission {
		return permission(err, refused)
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

// fixes say what to do about refusals that operators meet.
var fixes = map[string]string{
	"EntityNotExist.Role":               "Check role_arn: the account in it has no such RAM role. Letter case counts; aliyun ram ListRoles lists them.",
	"EntityNotExist.Policy":             "Check remote_policies: the policy must exist, and its type must be System (Alibaba Cloud's own) or Custom (yours) as in RAM. aliyun ram ListPolicies lists both.",
	"EntityNotExists.ResourceGroup":     "Check resource_group, and those in remote_policies: the account has no such resource group. aliyun resourcemanager ListResourceGroups lists them.",
	"InvalidParameter.Password.TooWeak": "The password policy of the account (RAM console, Settings) wants more than the password has: with password_policy on the role, let that policy of Vault make passwords of 32 characters with small and capital letters, digits and symbols, or clear it.",
	"EntityNotExist.Group":              "Check ram_groups: letter case counts; aliyun ram ListGroups lists them.",
	"InvalidAccessKeyId":                "Check access_key in config: the key is unknown, has been deleted or is disabled. Write access_key and secret_key together, with verify=true, which tries them first.",
	"InvalidAccessKeyId.NotFound":       "Check access_key in config: the key is unknown or has been deleted. Write access_key and secret_key together, with verify=true, which tries them first.",
	"InvalidAccessKeyId.Inactive":       "Enable the AccessKey of config in RAM, or configure another.",
	"SignatureDoesNotMatch":             "Check secret_key in config: it is not that of access_key. Write both together, with verify=true, which tries them first.",
	"MissingSecurityToken":              "The AccessKey is temporary (it begins with STS.) and its security_token is missing: give all three parts of it, with credential_type=sts.",
	"InvalidSecurityToken":              "The security_token is not that of the AccessKey, or is cut short: write all three parts of one session together.",
	"InvalidSecurityToken.Expired":      "The session is over: where config has temporary keys (credential_type=sts), write new ones. The session of a RAM role ends with the role too; the mount asks for another by itself, and this one was refused as well: see whether the role exists.",
	"IncompleteSignature":               "Look at what is between Vault and Alibaba Cloud: a proxy that takes headers away, or an endpoint that is none of theirs.",
	"InvalidTimeStamp":                  "Check the clock of the Vault server, and proxies that change headers.",
	"InvalidTimeStamp.Expired":          "Check the clock of the Vault server: more than 15 minutes are not accepted.",
	"Inactive":                          "RAM, or STS, was never activated in this account: open the RAM console once as the account's owner.",
	"LimitExceeded.User":                "The account is full of RAM users: raise the quota or shorten ttl.",
	"LimitExceeded.Role":                "The account is full of RAM roles: raise the quota, shorten ttl, or use ram_role_arn.",
	"LimitExceeded.Policy":              "The account is full of custom policies: raise the quota, shorten ttl, or use remote_policies.",
	"LimitExceeded.User.Policy":         "Merge the documents of inline_policies, or attach fewer policies.",
	"LimitExceeded.Role.Policy":         "Merge the documents of inline_policies, or attach fewer policies.",
	"LimitExceeded.User.Group":          "Name fewer groups in ram_groups.",
	"MalformedPolicyDocument":           "Check inline_policies, and trust_policy: the sentence above is RAM's. Effect is Allow or Deny, and each statement has an Action and, but for a trust policy, a Resource.",
	"InvalidParameter.PolicyGrammar":    "Check policy, the session policy of the role.",
	"InvalidParameter.PolicySize":       "Shorten policy, the session policy of the role.",
	"AuthenticationFail.NoPermission":   "Check oidc_provider_arn, and the conditions in the trust policy of the RAM role.",
	"InvalidParameter.DurationSeconds":  "Lower ttl, or raise MaxSessionDuration of the RAM role.",
}
