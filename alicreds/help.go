package alicreds

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// helpPage has one heading for each class and each provider.
const helpPage = "https://github.com/alicreds/vault-plugin-secrets-alicloud/blob/main/docs/alicreds-troubleshooting.md"

// Help is the URL of what the troubleshooting page says about the failure:
// about its class where it is of one, such as a refused signature, and
// otherwise about the provider.
func (e *Error) Help() string {
	anchor := failureClass(e)
	if anchor == "" {
		anchor = e.failing()
	}
	if anchor == "" {
		return helpPage // a provider of the caller's own
	}
	return helpPage + "#" + anchor
}

// failing is the provider where the failure began, or the chain if none of
// its members is set up.
func (e *Error) failing() string {
	provider, _, _ := strings.Cut(e.Source, "/")
	var inner *Error
	if chain := (*ChainError)(nil); errors.As(e.Err, &inner) && !(errors.As(e.Err, &chain) && errors.Is(chain, ErrUnavailable)) {
		return inner.failing()
	}
	if !slices.Contains(providerNames(), provider) {
		return ""
	}
	return provider
}

func providerNames() []string {
	return []string{
		typeAccessKey, typeSTS, typeEnvironment, typeRAMRoleARN, typeOIDCRoleARN, typeECSRAMRole, typeRSAKeyPair,
		typeCredentialsURI, typeBearer, typeCLIProfile, typeProfile, typeCloudSSO, typeOAuth, typeExternal, typeDefault,
	}
}

// A helpClass is a failure whose remedy is the same for every provider, with
// the codes it is known by, if it is a refusal.
type helpClass struct {
	anchor string
	codes  []string // families: "NoPermission" is "NoPermission.Policy", too
}

func helpClasses() []helpClass {
	return []helpClass{
		{"clock", []string{"InvalidTimeStamp"}},
		{"accesskey", []string{"InvalidAccessKeyId"}},
		{"signature", []string{"SignatureDoesNotMatch", "IncompleteSignature"}},
		{"security-token", []string{"InvalidSecurityToken", "MissingSecurityToken"}},
		{"no-permission", []string{"NoPermission", "Forbidden.RAM", "AuthenticationFail.NoPermission"}},
		{"inactive", []string{"Inactive"}},
		{"oidc-token", []string{"AuthenticationFail.OIDCToken"}},
		{"role-not-found", []string{"EntityNotExist.Role"}},
		{"duration", []string{"InvalidParameter.DurationSeconds"}},
		{"log-in-again", []string{"invalid_grant", "invalid_token", "expired_token"}},
		{"throttled", []string{"Throttling"}},
		{"foreign-answer", nil},
		{"no-answer", []string{"SignatureNonceUsed"}},
	}
}

// failureClass is "" for a failure whose text already says what to do.
func failureClass(err error) string {
	var refused *openapi.Error
	var network *openapi.NetworkError
	switch {
	case errors.Is(err, ErrUnavailable):
	case errors.Is(err, errEnded):
		return "clock"
	case errors.As(err, &refused):
		if refused.Action == cloudSSOAction && strings.HasPrefix(refused.Code, "NoPermission") {
			return typeCloudSSO // which assigns access itself: no policy of RAM helps
		}
		for _, class := range helpClasses() {
			for _, code := range class.codes {
				if refused.Code == code || strings.HasPrefix(refused.Code, code+".") {
					return class.anchor
				}
			}
		}
		switch {
		case refused.TokenMissing():
			return "security-token"
		case refused.Status == http.StatusUnauthorized && (refused.Action == cloudSSOAction || refused.Action == oauthExchangeAction):
			return "log-in-again" // these carry nothing but the login's access token
		case refused.Throttled():
			return "throttled"
		case refused.Foreign():
			return "foreign-answer"
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // the caller knows
	case errors.As(err, &network):
		return "no-answer"
	}
	return ""
}
