package backend

import (
	"errors"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// Credential types, as the Credentials tools spell them.
const (
	typeAccessKey      = "access_key"
	typeSTS            = "sts"
	typeRAMRoleARN     = "ram_role_arn"
	typeOIDCRoleARN    = "oidc_role_arn"
	typeECSRAMRole     = "ecs_ram_role"
	typeRSAKeyPair     = "rsa_key_pair"
	typeCredentialsURI = "credentials_uri"
	typeBearer         = "bearer"
	typeDefault        = "default"
)

// sourceType is a line in the table of credential types: where credentials come
// from, for a config or for a role with a source of its own.
type sourceType struct {
	name     string
	config   string   // what it is to a config; "": not for a config
	role     bool     // a role may have it, and issues what it holds
	needs    []string // fields
	takes    []string // fields that it can do without
	assumes  bool     // the role in role_arn, which a config has to have
	keyed    bool     // uses access_key and secret_key where they are given
	rotates  bool     // keyed, by a RAM user's AccessKey
	check    func(*source) error
	provider func(*source, settings) (alicreds.Provider, error)
}

// settings are what a provider needs beside its source.
type settings struct {
	ask      sessionRequest
	sts      alicreds.STSOptions
	system   logical.SystemView
	metadata *alicreds.Metadata // of ecs_ram_role and default; nil: one of the provider's own
}

// sourceTypes is the table. A new type is a line here, and its provider in alicreds.
func sourceTypes() []sourceType {
	session := []string{"role_arn", "role_session_name", "policy", "role_session_expiration"}
	return []sourceType{
		{
			name: typeAccessKey, config: "the key in access_key and secret_key", role: true,
			needs: []string{"access_key", "secret_key"}, keyed: true, rotates: true,
			provider: func(s *source, _ settings) (alicreds.Provider, error) {
				return alicreds.NewAccessKey(s.AccessKey, s.SecretKey)
			},
		},
		{
			name: typeSTS, config: "temporary keys, with security_token", role: true,
			needs: []string{"access_key", "secret_key", "security_token"}, keyed: true,
			provider: func(s *source, _ settings) (alicreds.Provider, error) {
				return alicreds.NewSTS(s.AccessKey, s.SecretKey, s.SecurityToken)
			},
		},
		{
			name: typeRAMRoleARN, config: "the role in role_arn, assumed with the keys given",
			assumes: true, keyed: true, rotates: true, provider: assumingProvider,
			// Without keys it uses the default chain, which may ask the metadata service.
			takes: append([]string{"security_token", "external_id", "disable_imds_v1"}, session...),
		},
		{
			name: typeOIDCRoleARN, config: "the role in role_arn, assumed with an OIDC token",
			needs: []string{"oidc_provider_arn"}, assumes: true, check: (*source).checkToken, provider: oidcProvider,
			takes: append([]string{"oidc_token_file_path", "identity_token_audience", "identity_token_ttl"}, session...),
		},
		{
			name: typeECSRAMRole, config: "the role of the ECS instance", role: true, takes: []string{"role_name", "disable_imds_v1"},
			provider: func(s *source, in settings) (alicreds.Provider, error) {
				return alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{RoleName: s.ECSRoleName, DisableIMDSv1: s.DisableIMDSv1, Metadata: in.metadata})
			},
		},
		{
			name: typeRSAKeyPair, config: "a session of an RSA key pair",
			needs: []string{"public_key_id", "private_key"}, takes: []string{"role_session_expiration"},
			provider: func(s *source, in settings) (alicreds.Provider, error) {
				return alicreds.NewRSAKeyPair(s.PublicKeyID, s.PrivateKey, alicreds.RSAKeyPairOptions{Duration: in.ask.duration, STSOptions: in.sts})
			},
		},
		{
			name: typeCredentialsURI, config: "the keys that a URL answers", role: true,
			needs: []string{"credentials_uri"},
			provider: func(s *source, _ settings) (alicreds.Provider, error) {
				return alicreds.NewCredentialsURI(s.CredentialsURI, alicreds.CredentialsURIOptions{RefuseMetadata: true})
			},
		},
		{
			name: typeBearer, role: true,
			needs:    []string{"bearer_token"},
			provider: func(s *source, _ settings) (alicreds.Provider, error) { return alicreds.NewBearer(s.BearerToken) },
		},
		{
			name: typeDefault, takes: []string{"disable_imds_v1"}, config: "the chain of all Credentials tools (environment, OIDC, profiles, instance role, URI)",
			provider: func(_ *source, in settings) (alicreds.Provider, error) {
				return alicreds.Default(alicreds.DefaultOptions{
					STSOptions: in.sts, Getenv: environment, Metadata: in.metadata,
					CLIProfile: alicreds.CLIProfileOptions{ReadOnly: true}, // a server does not change a person's files
				})
			},
		},
	}
}

// uses tells whether a field does something where a config or role has the type.
func (t sourceType) uses(field string) bool {
	return slices.Contains(t.needs, field) || slices.Contains(t.takes, field)
}

// ofSomeTypes tells whether a field is for some types of credentials and not for others.
func ofSomeTypes(field string) bool {
	return slices.ContainsFunc(sourceTypes(), func(t sourceType) bool { return t.uses(field) })
}

func sourceTypeNamed(name string) (t sourceType, known bool) {
	types := sourceTypes()
	n := slices.IndexFunc(types, func(t sourceType) bool { return t.name == name })
	if n < 0 {
		return sourceType{}, false
	}
	return types[n], true
}

// assumingProvider assumes a role with the keys of the source, or with those of
// the default chain where it has none.
func assumingProvider(s *source, in settings) (alicreds.Provider, error) {
	keys, err := s.belowRole(in)
	if err != nil {
		return nil, err
	}
	o := in.ask.assumeRole()
	o.STSOptions = in.sts
	return alicreds.NewRAMRoleARN(keys, o)
}

// belowRole is the provider of the keys that assume the role.
func (s *source) belowRole(in settings) (alicreds.Provider, error) {
	switch {
	case s.SecurityToken != "":
		return s.provider(typeSTS, in)
	case s.AccessKey != "":
		return s.provider(typeAccessKey, in)
	}
	return s.provider(typeDefault, in)
}

func oidcProvider(s *source, in settings) (alicreds.Provider, error) {
	var token alicreds.TokenSource = alicreds.TokenFile(s.OIDCTokenFilePath)
	if s.OIDCTokenFilePath == "" {
		token = identityToken{system: in.system, audience: s.IdentityTokenAudience, ttl: s.IdentityTokenTTL}
	}
	return alicreds.NewOIDCRoleARN(localToken{token}, alicreds.OIDCRoleARNOptions{
		OIDCProviderARN: s.OIDCProviderARN, RoleARN: in.ask.roleARN, RoleSessionName: in.ask.name, Policy: in.ask.policy,
		SourceIdentity: in.ask.sourceIdentity, Duration: in.ask.duration, STSOptions: in.sts,
	})
}

func (s *source) checkToken() error {
	if s.OIDCTokenFilePath == "" && s.IdentityTokenAudience == "" {
		return errors.New("oidc_token_file_path (or identity_token_audience, where Vault issues identity tokens) is required when credential_type is oidc_role_arn")
	}
	return nil
}
