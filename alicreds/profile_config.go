package alicreds

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Both files of profiles become a Config, which New builds the provider of.
// What is in this file is the way from the one to the other.

// profileKey is where a Config has the value of a key.
type profileKey struct {
	into any    // *string, *bool, *int or *time.Time
	cli  string // the key's name in config.json; "" where it has none
	ini  string // its names in the INI file, of which the first that is not empty counts
}

// profileKeys are the parameters of a Config by their names in the two files.
func (c *Config) profileKeys() []profileKey {
	keys := []profileKey{
		{&c.AccessKeyID, "access_key_id", "access_key_id"},
		{&c.AccessKeySecret, "access_key_secret", "access_key_secret"},
		{&c.SecurityToken, "sts_token", "security_token sts_token"},
		{&c.RoleARN, "ram_role_arn", "role_arn"},
		{&c.RoleSessionName, "ram_session_name", "role_session_name"},
		{&c.Policy, "policy", "policy"},
		{&c.ExternalID, "external_id", "external_id"},
		{&c.RoleSessionExpiration, "expired_seconds", "role_session_expiration duration_seconds"},
		{&c.SessionExpiration, "", "session_expiration"},
		{&c.OIDCProviderARN, "oidc_provider_arn", "oidc_provider_arn"},
		{&c.OIDCTokenFilePath, "oidc_token_file", "oidc_token_file_path"},
		{&c.STSEndpoint, "sts_endpoint", "sts_endpoint"},
		{&c.STSRegionID, "sts_region", "sts_region_id sts_region region_id"},
		{&c.EnableVPC, "enable_vpc", "enable_vpc"},
		{&c.Host, "", "host"},
		{&c.RoleName, "ram_role_name", "role_name"},
		{&c.DisableIMDSv1, "", "disable_imds_v1"},
		{&c.PublicKeyID, "key_pair_name", "public_key_id"},
		{&c.PrivateKeyFile, "", "private_key_file"},
		{&c.CredentialsURI, "credentials_uri", "credentials_uri"},
		{&c.BearerToken, "bearer_token", "bearer_token"},
		{&c.ConnectTimeout, "", "connect_timeout"},
		{&c.Timeout, "", "timeout"},
		{&c.Proxy, "", "proxy"},
	}
	if c.cli == nil {
		return keys
	}
	return append(keys, []profileKey{
		{&c.cli.sessionExpiration, "sts_expiration", ""},
		{&c.cli.sourceProfile, "source_profile", ""},
		{&c.cli.privateKey, "private_key", ""},
		{&c.cli.command, "process_command", ""},
		{&c.cli.accessToken, "access_token", ""},
		{&c.cli.cloudSSO.SignInURL, "cloud_sso_sign_in_url", ""},
		{&c.cli.cloudSSO.AccountID, "cloud_sso_account_id", ""},
		{&c.cli.cloudSSO.AccessConfig, "cloud_sso_access_config", ""},
		{&c.cli.cloudSSO.AccessTokenExpiration, "cloud_sso_access_token_expire", ""},
		{&c.cli.site, "oauth_site_type", ""},
		{&c.cli.tokens.RefreshToken, "oauth_refresh_token", ""},
		{&c.cli.tokens.AccessToken, "oauth_access_token", ""},
		{&c.cli.tokens.Expiration, "oauth_access_token_expire", ""},
	}...)
}

// readCLI takes those keys of a profile of config.json that are named.
func (c *Config) readCLI(profile map[string]json.RawMessage, names string) error {
	wanted := strings.Fields(names)
	for _, key := range c.profileKeys() {
		if raw, ok := profile[key.cli]; ok && slices.Contains(wanted, key.cli) {
			if err := fromJSON(key.cli, raw, key.into); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromJSON decodes the value of a key. Null is the zero value.
func fromJSON(key string, raw json.RawMessage, into any) error {
	form, err := "a string", error(nil)
	switch into := into.(type) {
	case *bool:
		form, err = "true or false", json.Unmarshal(raw, into)
	case *int:
		form, err = "a whole number", json.Unmarshal(raw, into)
		if most := int(maxTokenLife / time.Second); err == nil && (*into > most || *into < -most) {
			form, err = "a number of seconds", errors.New("out of range")
		}
	case *time.Time: // in seconds since 1970; without one it is not known
		var seconds int64
		form, err = "a whole number", json.Unmarshal(raw, &seconds)
		if seconds > 0 {
			*into = time.Unix(seconds, 0)
		}
	default:
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("the key %s is not %s", key, form)
	}
	return nil
}

// readINI takes the keys of a section.
func (c *Config) readINI(section map[string]string) error {
	for _, key := range c.profileKeys() {
		for name := range strings.FieldsSeq(key.ini) {
			if section[name] == "" {
				continue
			}
			if err := fromText(name, section[name], key.into); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func fromText(key, value string, into any) (err error) {
	switch into := into.(type) {
	case *string:
		*into = value
	case *int:
		n, err := strconv.ParseInt(value, 10, 32) // keeps durations in nanoseconds from overflowing
		if err != nil {
			return fmt.Errorf("the key %s is not a whole number", key)
		}
		*into = int(n)
	case *bool:
		if *into = isTrue(value); !*into && !strings.EqualFold(value, "false") {
			return fmt.Errorf("the key %s is neither true nor false", key)
		}
	}
	return nil
}

// complete fills in what neither file says: where STS is, and the rest of what
// the program brings.
func (c *Config) complete(sts STSOptions, metadata *Metadata, getenv func(string) string, sessionName string) {
	c.STSEndpoint = cmp.Or(c.STSEndpoint, sts.Endpoint)
	c.STSFallbackEndpoints = sts.FallbackEndpoints
	c.STSRegionID = cmp.Or(c.STSRegionID, sts.Region)
	c.EnableVPC = c.EnableVPC || sts.VPC
	c.RoleSessionName = cmp.Or(c.RoleSessionName, getenv(envRoleSessionName), sessionName)
	c.Client, c.Metadata, c.Getenv = sts.Client, metadata, getenv
}

// builtProfile keeps the provider of the profile that was asked for last,
// until its file changes.
type builtProfile struct {
	mu       sync.Mutex
	from     [sha256.Size]byte
	provider Provider
}

func (b *builtProfile) get(path, name string, text []byte, build func() (Provider, error)) (Provider, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := sha256.Sum256(slices.Concat([]byte(strconv.Quote(path)+strconv.Quote(name)), text))
	if b.provider != nil && from == b.from {
		return b.provider, nil
	}
	provider, err := build()
	if err == nil {
		b.from, b.provider = from, provider
	}
	return provider, err
}

// versionOf is a Version: that of what is said, or of the failure to find it.
func versionOf(err error, describe func(say func(...string))) string {
	sum := sha256.New()
	say := func(words ...string) {
		for _, word := range words {
			io.WriteString(sum, strconv.Quote(word))
		}
	}
	if err != nil {
		say("error", err.Error())
	} else {
		describe(say)
	}
	return string(sum.Sum(nil))
}

// retrieveProfile obtains the credentials of the profile that current finds:
// its provider, and where it is for errors.
func retrieveProfile(ctx context.Context, kind string, current func(context.Context) (Provider, string, error)) (Credentials, error) {
	provider, where, err := current(ctx)
	if err != nil {
		return Credentials{}, &Error{Source: kind, Err: err}
	}
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return Credentials{}, failed(kind, "%s: %w", where, setUp{err})
	}
	c.Source = kind + "/" + c.Source
	return c, nil
}
