package backend

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// source is where credentials come from: the part that a config and a role have
// in common. Which of its fields count depends on CredentialType.
type source struct {
	CredentialType        string        `json:"credential_type,omitempty"`
	AccessKey             string        `json:"access_key,omitempty"`
	SecretKey             string        `json:"secret_key,omitempty"`
	SecurityToken         string        `json:"security_token,omitempty"`
	BearerToken           string        `json:"bearer_token,omitempty"`
	OIDCProviderARN       string        `json:"oidc_provider_arn,omitempty"`
	OIDCTokenFilePath     string        `json:"oidc_token_file_path,omitempty"`
	IdentityTokenAudience string        `json:"identity_token_audience,omitempty"`
	IdentityTokenTTL      time.Duration `json:"identity_token_ttl,omitempty"`
	ECSRoleName           string        `json:"role_name,omitempty"`
	DisableIMDSv1         bool          `json:"disable_imds_v1,omitempty"`
	CredentialsURI        string        `json:"credentials_uri,omitempty"`
	PublicKeyID           string        `json:"public_key_id,omitempty"`
	PrivateKey            string        `json:"private_key,omitempty"`
}

// key is the AccessKey of the source.
func (s *source) key() ram.AccessKey { return ram.AccessKey{ID: s.AccessKey, Secret: s.SecretKey} }

// sourceFields is the table of the fields of all sources. A path leaves out what
// none of its types uses. Identity tokens have the fields of pluginidentityutil in
// Vault's SDK, whose functions know maps of schemas, without an order, alone.
func sourceFields() fields[source] {
	return fields[source]{
		ofKey(text("access_key", func(s *source) *string { return &s.AccessKey }, "access_key, sts, ram_role_arn: AccessKey ID."), func(s *source) string { return s.AccessKey }),
		ofKey(secret("secret_key", func(s *source) *string { return &s.SecretKey }, "access_key, sts, ram_role_arn: AccessKey secret. Never read back."), func(s *source) string { return s.SecretKey }),
		ofKey(secret("security_token", func(s *source) *string { return &s.SecurityToken }, "sts: token of temporary keys. Never read back."), func(s *source) string { return s.SecurityToken }),
		ofKey(secret("bearer_token", func(s *source) *string { return &s.BearerToken }, "bearer: the token. Never read back."), func(s *source) string { return s.BearerToken }),
		text("oidc_provider_arn", func(s *source) *string { return &s.OIDCProviderARN }, "oidc_role_arn: acs:ram::<account>:oidc-provider/<name>."),
		text("oidc_token_file_path", func(s *source) *string { return &s.OIDCTokenFilePath },
			"oidc_role_arn: file on the Vault server with the OIDC token, read again for each session. What is not a well-formed JWT is never sent."),
		text("identity_token_audience", func(s *source) *string { return &s.IdentityTokenAudience },
			"oidc_role_arn without a token file: audience of Vault's own identity token. Vault Enterprise issues them; elsewhere use a file."),
		seconds("identity_token_ttl", func(s *source) *time.Duration { return &s.IdentityTokenTTL }, "Lifetime of Vault's identity token in seconds; 0 means 3600."),
		text("role_name", func(s *source) *string { return &s.ECSRoleName },
			"ecs_ram_role: RAM role of the ECS instance that Vault runs on; empty: whichever is attached."),
		boolean("disable_imds_v1", func(s *source) *bool { return &s.DisableIMDSv1 },
			"ecs_ram_role: use the metadata service in its hardened mode (IMDSv2) or not at all."),
		text("credentials_uri", func(s *source) *string { return &s.CredentialsURI },
			"credentials_uri: http or https URL that answers temporary keys as JSON, at most 64 KiB. Redirects are not "+
				"followed, and link-local and metadata addresses are refused.").answers(func(s *source) any { return shownURI(s.CredentialsURI) }).checked((*source).checkURI),
		text("public_key_id", func(s *source) *string { return &s.PublicKeyID }, "rsa_key_pair: id of the public key."),
		secret("private_key", func(s *source) *string { return &s.PrivateKey }, "rsa_key_pair: private key as PEM, not a path. Never read back."),
	}
}

// ofKey is a part of somebody's keys.
func ofKey(f field[source], at func(*source) string) field[source] {
	return f.checked(func(s *source) error { return checkKey(f.name, at(s)) })
}

// checkKey refuses what no key has in it. White space at its ends is trimmed before.
func checkKey(name, key string) error {
	at := strings.IndexFunc(key, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	if at < 0 {
		return nil
	}
	r, _ := utf8.DecodeRuneInString(key[at:])
	what, named := map[rune]string{' ': "a blank", '\t': "a tab", '\n': "a line feed", '\r': "a carriage return"}[r]
	if !named {
		what = fmt.Sprintf("the character %U", r)
	}
	return fmt.Errorf("%s has %s in it, which no key has: was it pasted with what stands beside it, or broken over two lines?", name, what)
}

// redacted takes the place of the parts of a URI that may be secret, in answers.
const redacted = "redacted"

// shownURI is a URI as it is read back: a query or a user name may be a token.
func shownURI(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return redacted
	}
	if u.User != nil {
		u.User = url.User(redacted)
	}
	if u.RawQuery != "" {
		u.RawQuery = redacted
	}
	if u.Fragment != "" {
		u.Fragment = redacted
	}
	return u.String()
}

// checkURI refuses what was read and written back.
func (s *source) checkURI() error {
	if u, err := url.Parse(s.CredentialsURI); err == nil && (u.RawQuery == redacted || u.User.String() == redacted || u.Fragment == redacted) {
		return errors.New("credentials_uri: its query is not read back, and \"redacted\" is what an answer has in its place: give the whole URI, or leave the field out to keep what is stored")
	}
	return nil
}

// matchKeys keeps the parts of a key together in a write: an AccessKey has its
// own secret and its own token.
func (s *source) matchKeys(before source, data *framework.FieldData) error {
	_, newKey := data.GetOk("access_key")
	_, newSecret := data.GetOk("secret_key")
	_, newToken := data.GetOk("security_token")
	t, _ := sourceTypeNamed(s.CredentialType)
	switch {
	case !newSecret && s.AccessKey != before.AccessKey && s.AccessKey != "" && s.SecretKey != "":
		return errors.New("secret_key is required with a new access_key: the secret that is stored belongs to another")
	case !newKey || newToken || s.SecurityToken == "":
	case slices.Contains(t.needs, "security_token"):
		return errors.New("security_token is required with a new access_key when credential_type is sts: a token belongs to its key")
	default:
		s.SecurityToken = ""
	}
	return nil
}

// forgetKey keeps of a key what a write gives: in a role of users access_key has another
// meaning than in the other types.
func (s *source) forgetKey(data *framework.FieldData) {
	for _, f := range sourceFields() {
		if _, given := data.GetOk(f.name); !given && slices.Contains([]string{"access_key", "secret_key", "security_token"}, f.name) {
			*f.text(s) = ""
		}
	}
}

// validate checks the fields that the type needs.
func (s *source) validate(t string) error {
	kind, known := sourceTypeNamed(t)
	if !known {
		return nil // said where the type is
	}
	if kind.keyed && strings.HasPrefix(s.AccessKey, "STS.") && s.SecurityToken == "" {
		return errors.New("access_key begins with STS., so it is temporary and needs its token: give access_key, secret_key and security_token, with credential_type=sts")
	}
	if kind.check != nil {
		if err := kind.check(s); err != nil {
			return err
		}
	}
	for _, f := range sourceFields() {
		if slices.Contains(kind.needs, f.name) && *f.text(s) == "" {
			return fmt.Errorf("%s is required when credential_type is %s", f.name, t)
		}
	}
	return nil
}

// provider makes the provider of a config, or of a role's own source.
func (s *source) provider(t string, in settings) (alicreds.Provider, error) {
	kind, known := sourceTypeNamed(t)
	if !known {
		return nil, fmt.Errorf("credential_type %q is not known", t)
	}
	return kind.provider(s, in)
}

// environment is that of the process, with the names that Vault's built-in engine
// reads where the usual ones are not set.
func environment(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	switch name {
	case "ALIBABA_CLOUD_ACCESS_KEY_ID":
		return os.Getenv("ALICLOUD_ACCESS_KEY")
	case "ALIBABA_CLOUD_ACCESS_KEY_SECRET":
		return os.Getenv("ALICLOUD_SECRET_KEY")
	case "ALIBABA_CLOUD_SECURITY_TOKEN":
		return os.Getenv("ALICLOUD_ACCESS_KEY_STS_TOKEN")
	}
	return ""
}
