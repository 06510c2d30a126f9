package alicreds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cliMode is a mode of a profile, as the aliyun CLI spells it.
type cliMode struct {
	name    string
	kind    string // its Config.Type
	keys    string // that are read
	written string // those of them that are written back

	// more sets what is not in the profile itself, which has that name.
	more func(b cliBuild, name string, c *Config) error
}

// The modes of the aliyun CLI.
const (
	modeAK         = "AK"
	modeSTSToken   = "StsToken"
	modeRAMRoleARN = "RamRoleArn"
	modeRSAKeyPair = "RsaKeyPair"
	modeECSRAMRole = "EcsRamRole"
	modeExternal   = "External"
	modeOIDC       = "OIDC"
	modeCloudSSO   = "CloudSSO"
	modeBearer     = "BearerToken"
)

const (
	keptKeys = "access_key_id access_key_secret sts_token sts_expiration "
	stsKeys  = "sts_endpoint sts_region enable_vpc "

	// settingKeys say how, not with what: they alone set nothing up.
	settingKeys = stsKeys + "expired_seconds policy external_id ram_session_name"

	roleKeys     = "ram_role_arn ram_session_name expired_seconds policy external_id " + stsKeys
	cloudSSOKeys = "cloud_sso_sign_in_url cloud_sso_account_id cloud_sso_access_config access_token cloud_sso_access_token_expire " + keptKeys
	loginKeys    = "oauth_refresh_token oauth_access_token oauth_access_token_expire "
	oauthKeys    = "oauth_site_type " + loginKeys + keptKeys
)

func cliModes() []cliMode {
	return []cliMode{
		{modeAK, typeAccessKey, "access_key_id access_key_secret", "", nil},
		{modeSTSToken, typeSTS, "access_key_id access_key_secret sts_token", "", nil},
		{modeRAMRoleARN, typeRAMRoleARN, "access_key_id access_key_secret sts_token " + roleKeys, "", nil},
		{"ChainableRamRoleArn", typeRAMRoleARN, "source_profile " + roleKeys, "", cliBuild.setSourceProfile},
		{"RamRoleArnWithRoleName", typeRAMRoleARN, "ram_role_name " + roleKeys, "", cliBuild.setInstanceRole},
		{modeECSRAMRole, typeECSRAMRole, "ram_role_name", "", nil},
		{modeOIDC, typeOIDCRoleARN, "oidc_provider_arn oidc_token_file " + roleKeys, "", nil},
		{modeCloudSSO, typeCloudSSO, cloudSSOKeys, keptKeys, cliBuild.setCloudSSO},
		{"OAuth", typeOAuth, oauthKeys, loginKeys + keptKeys, cliBuild.setLogin},
		{modeExternal, typeExternal, "process_command", "", cliBuild.setExternal},
		{"CredentialsURI", typeCredentialsURI, "credentials_uri", "", cliBuild.allowURI},
		{modeRSAKeyPair, typeRSAKeyPair, "key_pair_name private_key expired_seconds " + stsKeys, "", nil},
		{modeBearer, typeBearer, "bearer_token", "", nil},
		{"Anonymous", "", "", "", cliBuild.refuseAnonymous},
	}
}

// mode is the mode that the profile names, or else the one that its keys tell.
func (p cliProfile) mode() string {
	var named string
	if raw, ok := p["mode"]; ok && fromJSON("mode", raw, &named) != nil {
		return ""
	}
	return cmp.Or(named, p.recognisedMode())
}

// recognisedMode is the mode of a profile that does not name one, by the keys
// that it has. The first that fits counts, in the order of the aliyun CLI
// (AutoModeRecognition).
func (p cliProfile) recognisedMode() string {
	for _, known := range []struct{ mode, keys string }{
		{modeSTSToken, "access_key_id access_key_secret sts_token"},
		{modeRAMRoleARN, "access_key_id access_key_secret ram_role_arn"},
		{modeAK, "access_key_id access_key_secret"},
		{modeRSAKeyPair, "private_key key_pair_name"},
		{modeECSRAMRole, "ram_role_name"},
		{modeExternal, "process_command"},
		{modeOIDC, "oidc_provider_arn oidc_token_file ram_role_arn"},
		{modeCloudSSO, "cloud_sso_sign_in_url"},
		{modeBearer, "bearer_token"},
	} {
		if p.has(known.keys) {
			return known.mode
		}
	}
	return ""
}

// credentialKey is a key that somebody filled in who wanted credentials of
// this profile, or "".
func (p cliProfile) credentialKey() string {
	for _, mode := range cliModes() {
		for key := range strings.FieldsSeq(mode.keys) {
			if p.has(key) && !slices.Contains(strings.Fields(settingKeys), key) {
				return key
			}
		}
	}
	return ""
}

// setSourceProfile makes another profile sign.
func (b cliBuild) setSourceProfile(name string, c *Config) error {
	next := c.cli.sourceProfile
	b.sources = append(slices.Clip(b.sources), name)
	switch {
	case next == "":
		return errors.New("the key source_profile is empty")
	case slices.Contains(b.sources, next):
		return fmt.Errorf("the source_profile %s leads in a circle", shownName(next))
	case len(b.sources) > maxSourceProfiles:
		return fmt.Errorf("more than %d profiles are linked by source_profile", maxSourceProfiles)
	}
	var err error
	if c.cli.source, err = b.provider(next); err != nil {
		return fmt.Errorf("source_profile %s: %w", shownName(next), setUp{err})
	}
	return nil
}

// setInstanceRole makes the instance's role sign.
func (b cliBuild) setInstanceRole(_ string, c *Config) (err error) {
	instance := *c
	instance.Type = typeECSRAMRole
	c.cli.source, err = New(instance)
	return err
}

func (b cliBuild) setLogin(name string, c *Config) error {
	if c.cli.site == "" {
		return errors.New("the key oauth_site_type is empty; it is CN or INTL")
	}
	id := strconv.Quote(b.path) + strconv.Quote(name)
	if b.logins[id] == nil {
		b.logins[id] = newOAuthFile(b.path, name, b.CLIProfileOptions)
	}
	c.cli.login = b.logins[id]
	return nil
}

func (b cliBuild) setExternal(name string, c *Config) error {
	if externalRefused(b.Getenv) {
		return fmt.Errorf("%s forbids running a command", envExternalRefused)
	}
	c.cli.external = ExternalOptions{Timeout: b.ExternalTimeout, Stderr: b.ExternalStderr}
	if !b.ReadOnly {
		c.cli.external.Save = b.saveSession(name, typeExternal)
	}
	return nil
}

func (b cliBuild) setCloudSSO(name string, c *Config) error {
	if b.ReadOnly {
		return nil
	}
	save := b.saveSession(name, typeCloudSSO)
	c.cli.cloudSSO.Save = func(ctx context.Context, obtained Credentials) error {
		obtained.Expiration = obtained.Expiration.Add(-storedSessionMargin)
		return save(ctx, obtained)
	}
	return nil
}

// saveSession writes what a profile obtained into it.
func (b cliBuild) saveSession(name, kind string) func(context.Context, Credentials) error {
	file, onWriteError := configFile{path: b.path}, b.OnWriteError
	return func(ctx context.Context, obtained Credentials) error {
		err := file.change(ctx, name, sessionFields(obtained))
		if err != nil && onWriteError != nil {
			onWriteError(&Error{Source: typeCLIProfile + "/" + kind, Err: err})
		}
		return err
	}
}

func (b cliBuild) allowURI(string, *Config) error { return allowURI(b.Getenv) }

// allowURI heeds a switch that the aliyun CLI documents for commands and
// credentials URIs alike.
func allowURI(getenv func(string) string) error {
	if externalRefused(getenv) {
		return fmt.Errorf("%s forbids asking a credentials URI", envExternalRefused)
	}
	return nil
}

func externalRefused(getenv func(string) string) bool {
	v := getenv(envExternalRefused)
	return isTrue(v) || v == "1"
}

func (cliBuild) refuseAnonymous(string, *Config) error {
	return errors.New("the mode Anonymous means to send no credentials, so there are none to obtain")
}

// cliConfig are the parameters of a Config that only a profile of config.json
// has.
type cliConfig struct {
	sessionExpiration time.Time // of the Config's keys, where they are the kept session of a login

	sourceProfile string
	source        Provider // signs in place of the Config's keys

	privateKey string // PEM, in place of the Config's file

	command  string
	external ExternalOptions

	accessToken string
	cloudSSO    CloudSSOOptions

	site   string
	tokens OAuthTokens
	login  *oauthStore

	http *http.Client
}

// types are the values of Config.Type for which config.json has more.
func (*cliConfig) types() []configType {
	return []configType{
		{typeCloudSSO, Config.cloudSSO},
		{typeOAuth, Config.oauth},
		{typeExternal, Config.external},
	}
}

func (c Config) cloudSSO() (Provider, error) {
	o := c.cli.cloudSSO
	o.Session, o.HTTP = c.keptSession(), c.cli.http
	return NewCloudSSO(c.cli.accessToken, o)
}

func (c Config) oauth() (Provider, error) {
	return newOAuth(c.cli.login, OAuthOptions{Site: c.cli.site, HTTP: c.cli.http})
}

func (c Config) external() (Provider, error) { return NewExternal(c.cli.command, c.cli.external) }

// keptSession is what a profile keeps for a login.
func (c Config) keptSession() Credentials {
	return Credentials{
		AccessKeyID:     c.AccessKeyID,
		AccessKeySecret: c.AccessKeySecret,
		SecurityToken:   c.SecurityToken,
		Expiration:      c.cli.sessionExpiration,
	}
}

// sessionFields are the keys under which a profile keeps a session. When
// nobody knows when it ends, what is written there about an earlier one stays.
func sessionFields(c Credentials) []jsonField {
	fields := []jsonField{
		{"access_key_id", jsonText(c.AccessKeyID)},
		{"access_key_secret", jsonText(c.AccessKeySecret)},
		{"sts_token", jsonText(c.SecurityToken)},
	}
	if !c.Expiration.IsZero() {
		fields = append(fields, jsonField{"sts_expiration", strconv.AppendInt(nil, c.Expiration.Unix(), 10)})
	}
	return fields
}
