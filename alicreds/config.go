package alicreds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	envRoleARN          = "ALIBABA_CLOUD_ROLE_ARN"
	envRoleSessionName  = "ALIBABA_CLOUD_ROLE_SESSION_NAME"
	envOIDCProviderARN  = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
	envOIDCToken        = "ALIBABA_CLOUD_OIDC_TOKEN"
	envOIDCTokenFile    = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
	envMetadataRole     = "ALIBABA_CLOUD_ECS_METADATA"
	envMetadataDisabled = "ALIBABA_CLOUD_ECS_METADATA_DISABLED"
	envIMDSv1Disabled   = "ALIBABA_CLOUD_IMDSV1_DISABLED"
	envCredentialsURI   = "ALIBABA_CLOUD_CREDENTIALS_URI"

	// Of the aliyun CLI, for profiles of config.json.
	envExternalID  = "ALIBABA_CLOUD_EXTERNAL_ID"
	envBearerToken = "ALIBABA_CLOUD_BEARER_TOKEN"
)

// Config describes a provider by the name of its type, with the parameters
// of Alibaba Cloud's Credentials tools; New builds it. The JSON names are
// those of the tools.
//
// Parameters that a type does not have are ignored without an error. A RoleARN
// counts for ram_role_arn and oidc_role_arn only. With any other type, default
// too, the program works with the keys that the type finds, not as the role. For
// a role over the chain give [Default] to [NewRAMRoleARN].
//
// Where a variable of the environment is named, it is what an empty field
// means. Config prints no secrets.
type Config struct {
	// Type is access_key, sts, ram_role_arn, oidc_role_arn, ecs_ram_role,
	// rsa_key_pair, credentials_uri, bearer, or default for the chain.
	Type string `json:"type"`

	// access_key, sts, and the source of ram_role_arn, which is temporary
	// keys when a SecurityToken is given.
	AccessKeyID     string `json:"access_key_id"`     // ALIBABA_CLOUD_ACCESS_KEY_ID
	AccessKeySecret string `json:"access_key_secret"` // ALIBABA_CLOUD_ACCESS_KEY_SECRET
	SecurityToken   string `json:"security_token"`    // ALIBABA_CLOUD_SECURITY_TOKEN, for sts only

	// ram_role_arn and oidc_role_arn
	RoleARN         string `json:"role_arn"`          // ALIBABA_CLOUD_ROLE_ARN
	RoleSessionName string `json:"role_session_name"` // ALIBABA_CLOUD_ROLE_SESSION_NAME, or generated
	Policy          string `json:"policy"`
	ExternalID      string `json:"external_id"` // ram_role_arn only

	// RoleSessionExpiration is the duration of a session in seconds; 0 means
	// 3600. SessionExpiration is its other name for rsa_key_pair, and wins.
	RoleSessionExpiration int `json:"role_session_expiration"`
	SessionExpiration     int `json:"session_expiration"`

	// oidc_role_arn
	OIDCProviderARN   string `json:"oidc_provider_arn"`    // ALIBABA_CLOUD_OIDC_PROVIDER_ARN
	OIDCTokenFilePath string `json:"oidc_token_file_path"` // ALIBABA_CLOUD_OIDC_TOKEN_FILE

	// OIDCToken is a token itself, which nobody renews. It wins over a file,
	// and ALIBABA_CLOUD_OIDC_TOKEN over ALIBABA_CLOUD_OIDC_TOKEN_FILE.
	OIDCToken string `json:"oidc_token_raw"`

	// Where STS is: see STSOptions. Host is the other name of STSEndpoint for
	// rsa_key_pair, and wins.
	STSEndpoint          string   `json:"sts_endpoint"`
	STSFallbackEndpoints []string `json:"sts_fallback_endpoints"`
	STSRegionID          string   `json:"sts_region_id"` // ALIBABA_CLOUD_STS_REGION
	EnableVPC            bool     `json:"enable_vpc"`    // ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED is "true"
	Host                 string   `json:"host"`

	// ecs_ram_role. ALIBABA_CLOUD_ECS_METADATA_DISABLED ("true") refuses it.
	RoleName      string `json:"role_name"`       // ALIBABA_CLOUD_ECS_METADATA, or asked for
	DisableIMDSv1 bool   `json:"disable_imds_v1"` // or ALIBABA_CLOUD_IMDSV1_DISABLED is "true"

	// rsa_key_pair
	PublicKeyID    string `json:"public_key_id"`
	PrivateKeyFile string `json:"private_key_file"` // read by New, and again at each Retrieve

	CredentialsURI string `json:"credentials_uri"` // ALIBABA_CLOUD_CREDENTIALS_URI
	BearerToken    string `json:"bearer_token"`    // for bearer; nobody renews it

	// ConnectTimeout and Timeout are in milliseconds; 0 means 5000 to connect and
	// 10000 for a request, and 1000 each for ecs_ram_role.
	ConnectTimeout int `json:"connect_timeout"`
	Timeout        int `json:"timeout"`

	// Proxy is an http, https or socks5 URL, in the place of the
	// environment's. The metadata service is never asked through a proxy.
	Proxy string `json:"proxy"`

	Getenv   func(string) string `json:"-"` // default os.Getenv
	Client   *openapi.Client     `json:"-"` // sends to STS; its own timeouts and proxy count
	Metadata *Metadata           `json:"-"` // for ecs_ram_role and default; its own timeouts count

	cli *cliConfig // of a profile of config.json
}

// String names the type.
func (c Config) String() string { return "Config(" + c.Type + ")" }

// Format prints String for every verb, %#v too.
func (c Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// MarshalJSON encodes String. Only decoding is meant for use.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// LogValue logs String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// UnmarshalJSON decodes an object with the JSON names. It takes the spellings of
// Alibaba Cloud's tools as well: camel case (Python's to_map, Node.js, C#), Go's
// url for credentials_uri, and duration_seconds. What only switches on what is
// always on here is accepted (enable_imds_v2, metadata_token_duration,
// asyncCredentialUpdateEnabled, inAdvanceScale). Any other member is an error:
// what it was meant to say would be lost.
func (c *Config) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return errors.New("the configuration of the credentials is not a JSON object")
	}
	fields := configFields()
	read := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		field, known := fields[foldedName(name)]
		switch {
		case !known:
			return fmt.Errorf("the configuration of the credentials has no member %s", shownName(name))
		case field == "":
			continue
		case read[field]:
			return fmt.Errorf("the configuration of the credentials has the member %s twice, in two spellings", shownName(name))
		}
		read[field] = true
		into := reflect.ValueOf(c).Elem().FieldByName(field)
		if json.Unmarshal(members[name], into.Addr().Interface()) != nil {
			return fmt.Errorf("the member %s of the configuration of the credentials is not of the type %s", shownName(name), into.Type())
		}
	}
	return nil
}

// configFields are the fields of a Config by the folded names of their members;
// "" stands for one that says nothing new.
func configFields() map[string]string {
	fields := map[string]string{
		"url":                          "CredentialsURI",
		"durationseconds":              "RoleSessionExpiration",
		"enableimdsv2":                 "",
		"metadatatokenduration":        "",
		"asynccredentialupdateenabled": "",
		"inadvancescale":               "",
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if name := field.Tag.Get("json"); name != "" && name != "-" {
			fields[foldedName(name)] = field.Name
		}
	}
	return fields
}

// foldedName is what the spellings of a member have in common.
func foldedName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// configType is a value of Config.Type, and the constructor of its provider.
type configType struct {
	name  string
	build func(Config) (Provider, error)
}

// types are in the order in which errors list them.
func (c Config) types() []configType {
	types := []configType{
		{typeAccessKey, Config.accessKey},
		{typeSTS, Config.sts},
		{typeRAMRoleARN, Config.ramRoleARN},
		{typeOIDCRoleARN, Config.oidcRoleARN},
		{typeECSRAMRole, Config.ecsRAMRole},
		{typeRSAKeyPair, Config.rsaKeyPair},
		{typeCredentialsURI, Config.credentialsURI},
		{typeBearer, Config.bearer},
		{typeDefault, Config.defaultChain},
	}
	if c.cli != nil {
		types = append(types, c.cli.types()...)
	}
	return types
}

// New builds the provider that a Config describes, and checks everything
// that can be checked without a call. The provider asks anew at each Retrieve:
// wrap it in a Cache, or use NewCached.
//
// A failure is an *Error, whose Source is the type. For a type that is missing or
// unknown it is another error, which lists those there are.
func New(c Config) (Provider, error) {
	if c.Getenv == nil {
		c.Getenv = processEnvironment
	}
	var names []string
	for _, known := range c.types() {
		if known.name != c.Type {
			names = append(names, known.name)
			continue
		}
		if c.ConnectTimeout < 0 || c.Timeout < 0 {
			return nil, failed(c.Type, "a timeout is negative")
		}
		p, err := known.build(c)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	what := "unknown"
	if c.Type == "" {
		what = "missing"
	}
	return nil, fmt.Errorf("the credential type is %s; it is one of %s", what, strings.Join(names, ", "))
}

// NewCached is New with a Cache around the provider: what the other Credentials
// tools call a client. Close it when the program needs it no longer.
func NewCached(c Config, o CacheOptions) (*Cache, error) {
	p, err := New(c)
	if err != nil {
		return nil, err
	}
	return NewCache(p, o), nil
}

// or is the value, or what the environment has in its place.
func (c Config) or(value, variable string) string {
	return cmp.Or(value, c.Getenv(variable))
}

// source are the keys themselves. It takes no security token from the
// environment, which might belong to other keys than those given here.
func (c Config) source() (Provider, error) {
	id, secret := c.or(c.AccessKeyID, envAccessKeyID), c.or(c.AccessKeySecret, envAccessKeySecret)
	switch {
	case id == "":
		return nil, failed(c.Type, "access_key_id and %s are empty", envAccessKeyID)
	case secret == "":
		return nil, failed(c.Type, "access_key_secret and %s are empty", envAccessKeySecret)
	case c.SecurityToken == "":
		return NewAccessKey(id, secret)
	}
	return NewSTS(id, secret, c.SecurityToken)
}

func (c Config) accessKey() (Provider, error) {
	c.SecurityToken = ""
	return c.source()
}

func (c Config) sts() (Provider, error) {
	c.SecurityToken = c.or(c.SecurityToken, envSecurityToken)
	source, err := c.source()
	if err == nil && c.SecurityToken == "" {
		return nil, failed(c.Type, "security_token and %s are empty", envSecurityToken)
	}
	return source, err
}

func (c Config) ramRoleARN() (Provider, error) {
	chained := c.cli != nil && c.cli.source != nil
	source, err := Provider(nil), error(nil)
	if chained {
		source = c.cli.source
	} else if source, err = c.source(); err != nil {
		return nil, err
	}
	o := RAMRoleARNOptions{
		RoleARN:         c.or(c.RoleARN, envRoleARN),
		RoleSessionName: c.or(c.RoleSessionName, envRoleSessionName),
		Policy:          c.Policy,
		ExternalID:      c.ExternalID,
		Duration:        inUnits(c.RoleSessionExpiration, time.Second),
	}
	if o.RoleARN == "" && !chained {
		return nil, failed(c.Type, "role_arn and %s are empty", envRoleARN)
	}
	if o.STSOptions, err = c.stsOptions(c.STSEndpoint); err != nil {
		return nil, err
	}
	return NewRAMRoleARN(source, o)
}

func (c Config) oidcRoleARN() (Provider, error) {
	token := c.oidcToken()
	o := OIDCRoleARNOptions{
		OIDCProviderARN: c.or(c.OIDCProviderARN, envOIDCProviderARN),
		RoleARN:         c.or(c.RoleARN, envRoleARN),
		RoleSessionName: c.or(c.RoleSessionName, envRoleSessionName),
		Policy:          c.Policy,
		Duration:        inUnits(c.RoleSessionExpiration, time.Second),
	}
	switch {
	case token == nil:
		return nil, failed(c.Type, "oidc_token_file_path and %s are empty", envOIDCTokenFile)
	case o.OIDCProviderARN == "":
		return nil, failed(c.Type, "oidc_provider_arn and %s are empty", envOIDCProviderARN)
	case o.RoleARN == "":
		return nil, failed(c.Type, "role_arn and %s are empty", envRoleARN)
	}
	var err error
	if o.STSOptions, err = c.stsOptions(c.STSEndpoint); err != nil {
		return nil, err
	}
	return NewOIDCRoleARN(token, o)
}

// oidcToken is the token that was given or its file, before those of the
// environment.
func (c Config) oidcToken() TokenSource {
	for _, given := range []struct{ token, file string }{
		{c.OIDCToken, c.OIDCTokenFilePath},
		{c.Getenv(envOIDCToken), c.Getenv(envOIDCTokenFile)},
	} {
		switch {
		case given.token != "":
			return givenToken(seal(given.token))
		case given.file != "":
			return TokenFile(given.file)
		}
	}
	return nil
}

// givenToken is a TokenSource that knows one token.
type givenToken sealed[string]

func (t givenToken) Token(context.Context) (string, error) { return t(), nil }

func (c Config) ecsRAMRole() (Provider, error) {
	if isTrue(c.Getenv(envMetadataDisabled)) {
		return nil, failed(c.Type, "%s is true", envMetadataDisabled)
	}
	o := ECSRAMRoleOptions{
		RoleName:      c.or(c.RoleName, envMetadataRole),
		DisableIMDSv1: c.DisableIMDSv1 || isTrue(c.Getenv(envIMDSv1Disabled)),
		Metadata:      c.Metadata,
	}
	if o.Metadata == nil {
		var err error
		o.Metadata, err = NewMetadata(MetadataOptions{
			ConnectTimeout: inUnits(c.ConnectTimeout, time.Millisecond),
			Timeout:        inUnits(c.Timeout, time.Millisecond),
			DisableIMDSv1:  o.DisableIMDSv1,
		})
		if err != nil {
			return nil, &Error{Source: c.Type, Err: err}
		}
	}
	return NewECSRAMRole(o)
}

func (c Config) rsaKeyPair() (Provider, error) {
	key, path, err := c.privateKey()
	if err != nil {
		return nil, err
	}
	o := RSAKeyPairOptions{Duration: inUnits(cmp.Or(c.SessionExpiration, c.RoleSessionExpiration), time.Second)}
	if o.STSOptions, err = c.stsOptions(cmp.Or(c.Host, c.STSEndpoint)); err != nil {
		return nil, err
	}
	p, err := NewRSAKeyPair(c.PublicKeyID, key, o)
	if err != nil {
		return nil, err
	}
	return p.of(path), nil
}

// privateKey is the text of the key, and its file if it is in one. A
// config.json holds either; any other Config names the file.
func (c Config) privateKey() (text, path string, err error) {
	switch {
	case c.cli != nil:
		if text = c.cli.privateKey; c.PublicKeyID == "" || !isKeyPath(text) {
			return text, "", nil
		}
		path = text
		if text, err = readKeyFile(context.Background(), path); err != nil { // which may be a key with a typo, and is not quoted
			return "", "", failed(c.Type, "private_key is neither a private key nor the path of a file with one: %w", withoutPath(err))
		}
		return text, path, nil
	case c.PublicKeyID == "":
		return "", "", failed(c.Type, "public_key_id is empty")
	case c.PrivateKeyFile == "":
		return "", "", failed(c.Type, "private_key_file is empty")
	}
	if text, err = readKeyFile(context.Background(), c.PrivateKeyFile); err != nil {
		return "", "", &Error{Source: c.Type, Err: fmt.Errorf("%s: %w", c.PrivateKeyFile, withoutPath(err))}
	}
	return text, c.PrivateKeyFile, nil
}

func (c Config) credentialsURI() (Provider, error) {
	uri := c.or(c.CredentialsURI, envCredentialsURI)
	if uri == "" {
		return nil, failed(c.Type, "credentials_uri and %s are empty", envCredentialsURI)
	}
	return NewCredentialsURI(uri, CredentialsURIOptions{
		ConnectTimeout: inUnits(c.ConnectTimeout, time.Millisecond),
		Timeout:        inUnits(c.Timeout, time.Millisecond),
		Proxy:          c.Proxy,
	})
}

func (c Config) bearer() (Provider, error) { return NewBearer(c.BearerToken) }

func (c Config) defaultChain() (Provider, error) {
	sts, err := c.stsOptions(c.STSEndpoint)
	if err != nil {
		return nil, err
	}
	getenv := c.Getenv
	if c.DisableIMDSv1 {
		getenv = func(name string) string {
			if name == envIMDSv1Disabled {
				return "true"
			}
			return c.Getenv(name)
		}
	}
	return Default(DefaultOptions{Getenv: getenv, STSOptions: sts, Metadata: c.Metadata})
}

// stsOptions are completed from the environment.
func (c Config) stsOptions(endpoint string) (STSOptions, error) {
	o := STSOptions{
		Endpoint:          endpoint,
		FallbackEndpoints: c.STSFallbackEndpoints,
		Region:            c.STSRegionID,
		VPC:               c.EnableVPC,
		Client:            c.Client,
	}.FromEnvironment(c.Getenv)
	if o.Client == nil {
		client, err := openapi.New(openapi.Options{
			ConnectTimeout: inUnits(c.ConnectTimeout, time.Millisecond),
			Timeout:        inUnits(c.Timeout, time.Millisecond),
			Proxy:          c.Proxy,
		})
		if err != nil {
			return o, &Error{Source: c.Type, Err: err}
		}
		o.Client = client
	}
	return o, nil
}

// inUnits is bounded so that it cannot overflow: no limit of this package is
// near 2^30 units.
func inUnits(n int, unit time.Duration) time.Duration {
	return time.Duration(max(-1, min(n, 1<<30))) * unit
}
