package alicreds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

const (
	envID       = "ALIBABA_CLOUD_ACCESS_KEY_ID"
	envSecret   = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
	envToken    = "ALIBABA_CLOUD_SECURITY_TOKEN"
	envRole     = "ALIBABA_CLOUD_ROLE_ARN"
	envSession  = "ALIBABA_CLOUD_ROLE_SESSION_NAME"
	envProvider = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
	envFile     = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
	envURI      = "ALIBABA_CLOUD_CREDENTIALS_URI"
	envMetadata = "ALIBABA_CLOUD_ECS_METADATA"
	envNoIMDS   = "ALIBABA_CLOUD_ECS_METADATA_DISABLED"
	envNoIMDSv1 = "ALIBABA_CLOUD_IMDSV1_DISABLED"
)

// build makes the provider of a Config in an environment of its own.
func build(c alicreds.Config, env ...string) (alicreds.Provider, error) {
	c.Getenv = environment(env...)
	return alicreds.New(c)
}

func mustBuild(t *testing.T, c alicreds.Config, env ...string) alicreds.Provider {
	t.Helper()
	p, err := build(c, env...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(t *testing.T, p alicreds.Provider) alicreds.Credentials {
	t.Helper()
	c, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	key := file(t, pkcs8(rsaKey()))
	badKey := file(t, "hidden words")
	role := alicreds.Config{Type: "ram_role_arn", AccessKeyID: "i", AccessKeySecret: "s", RoleARN: roleARN}
	oidc := alicreds.Config{Type: "oidc_role_arn", OIDCTokenFilePath: "f", OIDCProviderARN: providerARN, RoleARN: roleARN}
	rsa := alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: key}
	with := func(c alicreds.Config, change func(*alicreds.Config)) alicreds.Config {
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		c    alicreds.Config
		env  []string
		want string
	}{
		"no type":            {alicreds.Config{}, nil, "the credential type is missing; it is one of access_key, sts, ram_role_arn, oidc_role_arn, ecs_ram_role, rsa_key_pair, credentials_uri, bearer, default"},
		"unknown type":       {alicreds.Config{Type: "sdk"}, nil, "the credential type is unknown; it is one of access_key, sts, ram_role_arn, oidc_role_arn, ecs_ram_role, rsa_key_pair, credentials_uri, bearer, default"},
		"case of the type":   {alicreds.Config{Type: "Access_Key"}, nil, "unknown"},
		"id":                 {alicreds.Config{Type: "access_key"}, nil, "access_key: access_key_id and ALIBABA_CLOUD_ACCESS_KEY_ID are empty"},
		"secret":             {alicreds.Config{Type: "access_key", AccessKeyID: "i"}, nil, "access_key: access_key_secret and ALIBABA_CLOUD_ACCESS_KEY_SECRET are empty"},
		"sts id":             {alicreds.Config{Type: "sts"}, nil, "sts: access_key_id and"},
		"sts token":          {alicreds.Config{Type: "sts", AccessKeyID: "i", AccessKeySecret: "s"}, nil, "sts: security_token and ALIBABA_CLOUD_SECURITY_TOKEN are empty"},
		"role keys":          {alicreds.Config{Type: "ram_role_arn", RoleARN: roleARN}, nil, "ram_role_arn: access_key_id and"},
		"role":               {with(role, func(c *alicreds.Config) { c.RoleARN = "" }), nil, "ram_role_arn: role_arn and ALIBABA_CLOUD_ROLE_ARN are empty"},
		"role form":          {with(role, func(c *alicreds.Config) { c.RoleARN = "x" }), nil, "does not look like"},
		"role duration":      {with(role, func(c *alicreds.Config) { c.RoleSessionExpiration = 100 }), nil, "between 900 and 43200"},
		"role duration huge": {with(role, func(c *alicreds.Config) { c.RoleSessionExpiration = 1 << 62 }), nil, "between 900 and 43200"},
		"role duration < 0":  {with(role, func(c *alicreds.Config) { c.RoleSessionExpiration = -1 }), nil, "between 900 and 43200"},
		"timeout":            {with(role, func(c *alicreds.Config) { c.Timeout = -1 }), nil, "ram_role_arn: a timeout is negative"},
		"connect timeout":    {with(role, func(c *alicreds.Config) { c.ConnectTimeout = -1 }), nil, "ram_role_arn: a timeout is negative"},
		"proxy":              {with(role, func(c *alicreds.Config) { c.Proxy = "hidden" }), nil, "the proxy is not"},
		"endpoint":           {with(role, func(c *alicreds.Config) { c.STSEndpoint = "http://sts.example" }), nil, "https"},
		"fallback endpoint":  {with(role, func(c *alicreds.Config) { c.STSFallbackEndpoints = []string{"http://sts.example"} }), nil, "https"},
		"oidc file":          {with(oidc, func(c *alicreds.Config) { *c = alicreds.Config{Type: c.Type} }), nil, "oidc_role_arn: oidc_token_file_path and"},
		"oidc provider":      {with(oidc, func(c *alicreds.Config) { c.OIDCProviderARN, c.RoleARN = "", "" }), nil, "oidc_role_arn: oidc_provider_arn and"},
		"oidc role":          {with(oidc, func(c *alicreds.Config) { c.RoleARN, c.RoleSessionExpiration = "", 100 }), nil, "oidc_role_arn: role_arn and"},
		"oidc duration":      {with(oidc, func(c *alicreds.Config) { c.RoleSessionExpiration = 100 }), nil, "between 900 and 43200"},
		"oidc proxy":         {with(oidc, func(c *alicreds.Config) { c.Proxy = "hidden" }), nil, "the proxy is not"},
		"metadata off":       {alicreds.Config{Type: "ecs_ram_role"}, []string{envNoIMDS, "True"}, "ecs_ram_role: ALIBABA_CLOUD_ECS_METADATA_DISABLED is true"},
		"metadata role":      {alicreds.Config{Type: "ecs_ram_role", RoleName: "a/b"}, nil, "1 to 64"},
		"rsa id":             {alicreds.Config{Type: "rsa_key_pair"}, nil, "rsa_key_pair: public_key_id is empty"},
		"rsa file":           {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = "" }), nil, "rsa_key_pair: private_key_file is empty"},
		"rsa absent file":    {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = key + "x" }), nil, key + "x"},
		"rsa directory":      {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = filepath.Dir(key) }), nil, "not a regular file"},
		"rsa device":         {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = os.DevNull }), nil, "not a regular file"},
		"rsa large file":     {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = file(t, strings.Repeat("x", 70000)) }), nil, "16 KiB"},
		"rsa key":            {with(rsa, func(c *alicreds.Config) { c.PrivateKeyFile = badKey }), nil, "not PEM"},
		"rsa duration":       {with(rsa, func(c *alicreds.Config) { c.SessionExpiration = 100 }), nil, "between 900 and 3600"},
		"rsa other name":     {with(rsa, func(c *alicreds.Config) { c.RoleSessionExpiration = 100 }), nil, "between 900 and 3600"},
		"rsa host":           {with(rsa, func(c *alicreds.Config) { c.Host = "http://sts.example" }), nil, "https"},
		"rsa proxy":          {with(rsa, func(c *alicreds.Config) { c.Proxy = "hidden" }), nil, "the proxy is not"},
		"uri":                {alicreds.Config{Type: "credentials_uri"}, nil, "credentials_uri: credentials_uri and ALIBABA_CLOUD_CREDENTIALS_URI are empty"},
		"uri form":           {alicreds.Config{Type: "credentials_uri", CredentialsURI: "file:///hidden"}, nil, "not an http or https URL"},
		"bearer":             {alicreds.Config{Type: "bearer"}, nil, "bearer: the bearer token is empty"},
		"default":            {alicreds.Config{Type: "default", STSEndpoint: "http://sts.example"}, nil, "https"},
		"default proxy":      {alicreds.Config{Type: "default", Proxy: "hidden"}, nil, "the proxy is not"},
	} {
		p, err := build(tc.c, tc.env...)
		if err == nil || p != nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") || errors.Is(err, alicreds.ErrUnavailable) {
			t.Errorf("%s: %v, %v, want %s", name, p, err, tc.want)
		}
	}
}

func TestConfigReadsTheToolsNames(t *testing.T) {
	t.Parallel()
	var c alicreds.Config
	err := json.Unmarshal([]byte(`{"type":"sts","access_key_id":"i","access_key_secret":"s","security_token":"t","enable_imds_v2":true,"duration_seconds":1}`), &c)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, mustBuild(t, c)); got.AccessKeyID != "i" || got.AccessKeySecret != "s" || got.SecurityToken != "t" {
		t.Errorf("got %s", got)
	}
}

// A token wins over a file, and what is given over the environment.
func TestConfigTakesATokenItself(t *testing.T) {
	t.Parallel()
	sts := newDesk(t, answers(200, sessionJSON()))
	const given, inFile, inEnvironment = "eyJhIjoiZ2l2ZW4ifQ.e30.AA", "eyJhIjoiZmlsZSJ9.e30.AA", "eyJhIjoiZW52In0.e30.AA"
	path := file(t, inFile)
	for _, tc := range []struct {
		token, file string
		env         []string
		want        string
	}{
		{given, "", nil, given},
		{given, path, []string{"ALIBABA_CLOUD_OIDC_TOKEN", inEnvironment}, given},
		{"", path, []string{"ALIBABA_CLOUD_OIDC_TOKEN", inEnvironment}, inFile},
		{"", "", []string{"ALIBABA_CLOUD_OIDC_TOKEN", inEnvironment, envFile, path}, inEnvironment},
		{"", "", []string{envFile, path}, inFile},
	} {
		c := alicreds.Config{Type: "oidc_role_arn", OIDCToken: tc.token, OIDCTokenFilePath: tc.file,
			OIDCProviderARN: providerARN, RoleARN: roleARN, STSEndpoint: sts.URL}
		get(t, mustBuild(t, c, tc.env...))
		sts.mu.Lock()
		if got := sts.requests[len(sts.requests)-1].PostForm.Get("OIDCToken"); got != tc.want {
			t.Errorf("%v: sent %s, want %s", tc, got, tc.want)
		}
		sts.mu.Unlock()
	}
	p := mustBuild(t, alicreds.Config{Type: "oidc_role_arn", OIDCToken: given, OIDCProviderARN: providerARN, RoleARN: roleARN})
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, p); strings.Contains(text, given) {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestConfigUsesTheProcessEnvironment(t *testing.T) {
	t.Setenv(envID, "from the environment")
	t.Setenv(envSecret, "s")
	p, err := alicreds.New(alicreds.Config{Type: "access_key"})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, p); got.AccessKeyID != "from the environment" {
		t.Errorf("got %s", got)
	}
}

func TestConfigNeverPrints(t *testing.T) {
	t.Parallel()
	c := alicreds.Config{
		Type: "access_key", AccessKeyID: fakeID, AccessKeySecret: fakeSecret, SecurityToken: fakeToken, BearerToken: "fake-bearer",
		Proxy: "http://u:fake-proxy@p", CredentialsURI: "http://h/fake-path",
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		text := fmt.Sprintf(format+format+format, c, &c, struct{ C alicreds.Config }{c}) + string(encoded) + c.LogValue().String()
		if strings.Contains(text, "fake") || strings.Contains(text, "FAKE") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

// TestConfigFromJSON: the spellings of other tools mean the same, and nothing
// that somebody wrote is lost without a word.
func TestConfigFromJSON(t *testing.T) {
	t.Parallel()
	want := alicreds.Config{Type: "ram_role_arn", AccessKeyID: "i", AccessKeySecret: "s", RoleARN: roleARN, RoleSessionExpiration: 900, ExternalID: "x", EnableVPC: true}
	for name, text := range map[string]string{
		"ours":    `{"type":"ram_role_arn","access_key_id":"i","access_key_secret":"s","role_arn":"` + roleARN + `","role_session_expiration":900,"external_id":"x","enable_vpc":true}`,
		"camel":   `{"type":"ram_role_arn","accessKeyId":"i","accessKeySecret":"s","roleArn":"` + roleARN + `","roleSessionExpiration":900,"externalId":"x","enableVpc":true}`,
		"Pascal":  `{"Type":"ram_role_arn","AccessKeyId":"i","AccessKeySecret":"s","RoleArn":"` + roleARN + `","durationSeconds":900,"ExternalId":"x","EnableVpc":true,"enableIMDSv2":true,"policy":null}`,
		"seconds": `{"type":"ram_role_arn","access_key_id":"i","access_key_secret":"s","role_arn":"` + roleARN + `","duration_seconds":900,"externalId":"x","enable_vpc":true,"inAdvanceScale":0.9}`,
	} {
		var got alicreds.Config
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var uri alicreds.Config
	if err := json.Unmarshal([]byte(`{"type":"credentials_uri","url":"http://127.0.0.1/"}`), &uri); err != nil || uri.CredentialsURI != "http://127.0.0.1/" {
		t.Errorf("url: %v", err)
	}
	for text, want := range map[string]string{
		`{"role":"x"}`:                             `no member "role"`,
		`{"oidc_token":"fake-token"}`:              `no member "oidc_token"`, // Go means a path, and others the token
		`{"role_arn":"a","roleArn":"b"}`:           "twice",
		`{"role_session_expiration":"fake-value"}`: "role_session_expiration",
		`{"timeout":1.5}`:                          "timeout",
		`["fake-value"]`:                           "not a JSON object",
		`{"fake\nvalue":1}`:                        "odd name",
	} {
		var c alicreds.Config
		err := json.Unmarshal([]byte(text), &c)
		if wantError(t, err, want); strings.Contains(err.Error(), "fake") {
			t.Errorf("%s is quoted: %v", text, err)
		}
	}
}

// TestConfigDefaultIMDSv2: the chain heeds the field as ecs_ram_role does.
func TestConfigDefaultIMDSv2(t *testing.T) {
	t.Parallel()
	for _, only := range []bool{false, true} {
		i := newInstance(t)
		metadata := patientMetadata(t, i.URL, false)
		i.noTokens = 404 // it knows version 1 only
		p := mustBuild(t, alicreds.Config{Type: "default", DisableIMDSv1: only, Metadata: metadata})
		if _, err := p.Retrieve(t.Context()); (err != nil) != only {
			t.Errorf("DisableIMDSv1 %t: %v", only, err)
		}
	}
}

// TestKeysWithWhiteSpace: a line feed behind a key comes from its file, and one
// in it is named. None of it reaches a signature.
func TestKeysWithWhiteSpace(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]func(id, secret, token string) (alicreds.Provider, error){
		"config": func(id, secret, token string) (alicreds.Provider, error) {
			return build(alicreds.Config{Type: "sts", AccessKeyID: id, AccessKeySecret: secret, SecurityToken: token})
		},
		"env": func(id, secret, token string) (alicreds.Provider, error) {
			return alicreds.NewEnvironment(environment(envID, id, envSecret, secret, envToken, token)), nil
		},
		"config.json": func(id, secret, token string) (alicreds.Provider, error) {
			return cliProfile(t, alicreds.CLIProfileOptions{Path: file(t, `{"profiles":[{"name":"default","mode":"StsToken","access_key_id":`+quoted(t, id)+
				`,"access_key_secret":`+quoted(t, secret)+`,"sts_token":`+quoted(t, token)+`}]}`)}), nil
		},
		"command": func(id, secret, token string) (alicreds.Provider, error) {
			return external(t, alicreds.ExternalOptions{}, "print", `{"mode":"StsToken","access_key_id":`+quoted(t, id)+
				`,"access_key_secret":`+quoted(t, secret)+`,"sts_token":`+quoted(t, token)+`}`), nil
		},
	} {
		retrieve := func(id, secret, token string) (alicreds.Credentials, error) {
			provider, err := p(id, secret, token)
			if err != nil {
				return alicreds.Credentials{}, err
			}
			return provider.Retrieve(t.Context())
		}
		got, err := retrieve("id\n", " fake-secret\r\n", "\tfake-token\n")
		if err != nil || got.AccessKeyID != "id" || got.AccessKeySecret != "fake-secret" || got.SecurityToken != "fake-token" {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
		_, err = retrieve("id", "fake-\nsecret", "fake-token")
		if wantError(t, err, "the AccessKey secret has a control character in it (U+000A)"); strings.Contains(err.Error(), "fake") {
			t.Errorf("%s quotes: %v", name, err)
		}
	}
}
