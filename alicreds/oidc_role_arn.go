package alicreds

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	typeOIDCRoleARN = "oidc_role_arn"

	maxOIDCToken = 20000 // characters, the limit of AssumeRoleWithOIDC
)

// A TokenSource hands out an OIDC token, a fresh one at each call if it can.
// Errors must not contain the token.
type TokenSource interface {
	// Token is asked at each Retrieve of an OIDCRoleARN. It returns soon after
	// ctx ends.
	Token(ctx context.Context) (string, error)
}

// TokenFile is the path of a file that holds an OIDC token and is read at
// each call: Kubernetes replaces the token long before the pod ends.
type TokenFile string

// Token reads the file. It must be a regular file; what it holds is used only
// if it is a well-formed JWT. A file that was written a moment ago may be half
// written: it is read again until it stays as it is, for a second at most.
func (f TokenFile) Token(ctx context.Context) (string, error) {
	var token string
	var wrong error
	err := readSettled(ctx, string(f), func() (settled, error) {
		text, err := readRegularFile(ctx, string(f), 2*maxOIDCToken)
		if err != nil {
			return whole, err
		}
		token = string(bytes.TrimSpace(text))
		switch {
		case token == "":
			wrong = errors.New("the OIDC token is empty")
		default:
			wrong = checkJWT(token)
		}
		if wrong != nil {
			return broken, nil
		}
		return plausible, nil
	})
	switch {
	case err != nil:
		return "", err
	case wrong != nil:
		return "", fmt.Errorf("%s: %w", string(f), wrong)
	}
	return token, nil
}

// checkJWT keeps anything that is not an OIDC token from being sent.
func checkJWT(token string) error {
	if len(token) > maxOIDCToken {
		return fmt.Errorf("the OIDC token has more than %d characters", maxOIDCToken)
	}
	notJWT := errors.New("the OIDC token is not a JWT: three base64url parts, of which the first is a JSON object")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return notJWT
	}
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || len(decoded) == 0 || strings.ContainsAny(part, "\r\n") {
			return notJWT
		}
		if i == 0 && (decoded[0] != '{' || !json.Valid(decoded)) {
			return notJWT
		}
	}
	return nil
}

// OIDCRoleARNOptions describe the session that AssumeRoleWithOIDC is asked
// for. Limits and defaults are those of RAMRoleARNOptions.
type OIDCRoleARNOptions struct {
	OIDCProviderARN string // acs:ram::<account id>:oidc-provider/<name>

	// As in RAMRoleARNOptions. AssumeRoleWithOIDC takes no external id.
	RoleARN         string
	RoleSessionName string
	Policy          string
	SourceIdentity  string
	Duration        time.Duration

	STSOptions
}

// OIDCRoleARN exchanges an OIDC token for the session of a RAM role, as pods
// with RRSA (RAM Roles for Service Accounts) do. It is the type
// oidc_role_arn and needs no AccessKey.
type OIDCRoleARN struct {
	token   TokenSource
	options sealed[OIDCRoleARNOptions]
}

// NewOIDCRoleARN checks the options. The token is asked for at each
// Retrieve, not here.
func NewOIDCRoleARN(token TokenSource, o OIDCRoleARNOptions) (OIDCRoleARN, error) {
	if token == nil || token == TokenFile("") {
		return OIDCRoleARN{}, failed(typeOIDCRoleARN, "there is no OIDC token file")
	}
	o, err := o.ready()
	if err != nil {
		return OIDCRoleARN{}, &Error{Source: typeOIDCRoleARN, Err: err}
	}
	return OIDCRoleARN{token: token, options: seal(o)}, nil
}

func (o OIDCRoleARNOptions) ready() (OIDCRoleARNOptions, error) {
	if o.RoleSessionName == "" {
		o.RoleSessionName = newSessionName()
	}
	if err := cmp.Or(
		checkOIDCProviderARN(o.OIDCProviderARN),
		CheckRoleARN(o.RoleARN),
		CheckRoleSessionName(o.RoleSessionName),
		checkSessionPolicy(o.Policy),
		checkDuration(o.Duration),
	); err != nil {
		return o, err
	}
	var err error
	o.STSOptions, err = o.STSOptions.ready()
	return o, err
}

// Retrieve starts a session with a token that is fresh from its source. The
// token travels in the body of an unsigned POST.
func (p OIDCRoleARN) Retrieve(ctx context.Context) (Credentials, error) {
	if p.token == nil {
		return Credentials{}, failed(typeOIDCRoleARN, "%w: it has no token source", ErrUnavailable)
	}
	token, err := p.token.Token(ctx)
	if err != nil {
		return Credentials{}, &Error{Source: typeOIDCRoleARN, Err: setUp{err}}
	}
	token = strings.TrimSpace(token)
	if err := checkJWT(token); err != nil {
		return Credentials{}, &Error{Source: typeOIDCRoleARN, Err: err}
	}
	o := p.options()
	params := map[string]string{
		"RoleArn":         o.RoleARN,
		"OIDCProviderArn": o.OIDCProviderARN,
		"OIDCToken":       token,
		"RoleSessionName": o.RoleSessionName,
		"DurationSeconds": seconds(o.Duration),
	}
	for name, value := range map[string]string{"Policy": o.Policy, "SourceIdentity": o.SourceIdentity} {
		if value != "" {
			params[name] = value
		}
	}
	var reply sessionReply
	if err := o.call(ctx, openapi.Request{Action: "AssumeRoleWithOIDC", Params: params}, &reply); err != nil {
		return Credentials{}, &Error{Source: typeOIDCRoleARN, Err: err}
	}
	c, err := reply.credentials(o.RoleARN, typeOIDCRoleARN, o.Duration)
	if err != nil {
		return Credentials{}, failed(typeOIDCRoleARN, "AssumeRoleWithOIDC: %w", err)
	}
	return c, nil
}
