package alicreds_test

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestOwnIdentity sets each member of the default chain up wrongly, in each
// way, on a machine that has a role. What somebody set up and got wrong is an
// error that says what is wrong, and never the machine's identity.
func TestOwnIdentity(t *testing.T) {
	t.Parallel()
	token := file(t, strings.Join([]string{"e30", "e30", "eA"}, "."))
	const goodINI = "[default]\ntype=access_key\naccess_key_id=of ini\naccess_key_secret=s\n"
	goodConfig := configWith("default", "default")
	profile := func(keys string) string {
		return `{"current": "default", "profiles": [{"name": "default", ` + keys + `}]}`
	}
	rrsa := []string{"ALIBABA_CLOUD_ROLE_ARN", roleARN, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1234567890123456:oidc-provider/ack"}
	none := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		config, ini string
		env         []string
		want        string
	}{
		"env: id only":     {"", "", []string{envID, "i"}, envSecret},
		"env: secret only": {"", "", []string{envSecret, "s"}, envID},

		"oidc: no token file":         {"", "", append(rrsa, envFile, none), "oidc_role_arn"},
		"oidc: a directory":           {"", "", append(rrsa, envFile, filepath.Dir(none)), "not a regular file"},
		"oidc: empty file":            {"", "", append(rrsa, envFile, file(t, "")), "oidc_role_arn"},
		"oidc: not a token":           {"", "", append(rrsa, envFile, file(t, "x")), "not a JWT"},
		"oidc: provider only":         {"", "", []string{"ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "x"}, envFile},
		"oidc: role missing":          {"", "", []string{envFile, token, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "x"}, "role_arn"},
		"profile that no file has":    {goodConfig, goodINI, []string{envProfile, "defualt"}, `ALIBABA_CLOUD_PROFILE asks for the profile "defualt", which no file has`},
		"profile, config.json only":   {goodConfig, "", []string{envProfile, "defualt"}, "which no file has"},
		"profile, INI file only":      {"", goodINI, []string{envProfile, "defualt"}, "which no file has"},
		"profile, no file":            {"", "", []string{envProfile, "prod"}, "which no file has"},
		"profile, CLI's spelling":     {goodConfig, goodINI, []string{"ALIBABACLOUD_PROFILE", "defualt"}, "ALIBABACLOUD_PROFILE asks for"},
		"profile, old spelling":       {"", "", []string{"ALICLOUD_PROFILE", "prod"}, "ALICLOUD_PROFILE asks for"},
		"profile, config.json off":    {goodConfig, "", []string{envProfile, "defualt", envNoCLI, "true"}, "which no file has"},
		"profiles that differ":        {configWith("a", "a", "b"), "", []string{envProfile, "a", "ALIBABACLOUD_PROFILE", "b"}, "ask for different profiles"},
		"profile, no home":            {"", "", []string{"HOME", "", "USERPROFILE", "", envProfile, "prod"}, "which no file has"},
		"config.json named, absent":   {"", "", []string{envConfigFile, none}, "there is no file"},
		"config.json named, INI file": {"", "", []string{envConfigFile, file(t, goodINI)}, envCredentialsIn},
		"config.json a directory":     {"", "", []string{envConfigFile, filepath.Dir(none)}, "not a regular file"},
		"config.json empty":           {" ", "", nil, "not JSON"},
		"config.json half written":    {goodConfig[:len(goodConfig)-9], "", nil, "not JSON"},
		"config.json without list":    {"{}", "", nil, "no profiles"},
		"current gone":                {configWith("gone", "a"), "", nil, `no profile "gone"`},
		"current empty":               {configWith("", "default"), "", nil, "current is empty"},
		"current a number":            {`{"current": 5, "profiles": [{"name": "5"}]}`, "", nil, "current is not a string"},
		"mode with a typo":            {profile(`"mode": "Ecs"`), "", nil, "mode Ecs"},
		"mode missing, half a key":    {profile(`"access_key_id": "i"`), "", nil, "has no mode"},
		"mode missing, a role":        {profile(`"ram_role_arn": "` + roleARN + `"`), "", nil, "has no mode"},
		"mode missing, a source":      {profile(`"source_profile": "a"`), "", nil, "has no mode"},
		"mode missing, a login":       {profile(`"oauth_refresh_token": "r"`), "", nil, "has no mode"},
		"mode missing, a URI":         {profile(`"mode": "", "credentials_uri": "http://127.0.0.1:1/"`), "", nil, "has no mode"},
		"AK without keys":             {profile(`"mode": "AK"`), "", nil, "access_key_id"},
		"StsToken without token":      {profile(`"mode": "StsToken", "access_key_id": "i", "access_key_secret": "s"`), "", nil, "security_token"},
		"key of a wrong type":         {profile(`"mode": "AK", "access_key_id": 5, "access_key_secret": "s"`), "", nil, "not a string"},
		"Anonymous":                   {profile(`"mode": "Anonymous"`), "", nil, "Anonymous"},
		"source that is gone":         {profile(`"mode": "ChainableRamRoleArn", "ram_role_arn": "` + roleARN + `", "source_profile": "gone"`), "", nil, `no profile "gone"`},
		"source that is empty":        {profile(`"mode": "ChainableRamRoleArn", "ram_role_arn": "` + roleARN + `", "source_profile": "a"}, {"name": "a"`), "", nil, "has no mode"},
		"command fails":               {profile(`"mode": "External", "process_command": "false"`), "", nil, "external"},
		"command forbidden":           {profile(`"mode": "External", "process_command": "false"`), "", []string{envNoExternal, "1"}, "forbids"},
		"URI forbidden":               {profile(`"mode": "CredentialsURI", "credentials_uri": "http://127.0.0.1:1/"`), "", []string{envNoExternal, "TRUE"}, "forbids"},
		"login without tokens":        {profile(`"mode": "OAuth", "oauth_site_type": "CN"`), "", nil, "log in again"},
		"key pair without key":        {profile(`"mode": "RsaKeyPair", "key_pair_name": "k"`), "", nil, "private key is empty"},

		"INI file named, absent":      {"", "", []string{envCredentialsIn, none}, "there is no file"},
		"INI file named, config.json": {"", "", []string{envCredentialsIn, file(t, goodConfig)}, envConfigFile},
		"INI file a directory":        {"", "", []string{envCredentialsIn, filepath.Dir(none)}, "not a regular file"},
		"INI half written":            {"", goodINI[:4], nil, "line 1"},
		"INI without type":            {"", "[default]\naccess_key_id=i\naccess_key_secret=s\n", nil, "no type"},
		"INI type with a typo":        {"", "[default]\ntype=access_keys\n", nil, "the type access_keys"},
		"INI without secret":          {"", "[default]\ntype=access_key\naccess_key_id=i\n", nil, "access_key_secret"},
		"INI without role":            {"", "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\n", nil, "role_arn"},
		"INI enable with a typo":      {"", "[default]\nenable=ture\ntype=access_key\n", nil, "enable"},
		"INI key file gone":           {"", "[default]\ntype=rsa_key_pair\npublic_key_id=p\nprivate_key_file=" + none + "\n", nil, "none"},
		"INI URI forbidden":           {"", "[default]\ntype=credentials_uri\ncredentials_uri=http://127.0.0.1:1/\n", []string{envNoExternal, "1"}, "forbids"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := place(t, newInstance(t), append(tc.env, home(t, tc.config, tc.ini)...)...)
			got, err := chain.Retrieve(t.Context())
			if err == nil {
				t.Fatalf("got %s", got)
			}
			if wantError(t, err, tc.want); errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("another chain would go on after %v", err)
			}
		})
	}
}

// TestOwnIdentityExpiredToken: a pod whose token ended is not its node.
func TestOwnIdentityExpiredToken(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	issuer, err := c.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{Defect: alisim.TokenExpired})
	if err != nil {
		t.Fatal(err)
	}
	metadata := patientMetadata(t, c.IMDSURL, false)
	env := []string{"ALIBABA_CLOUD_ROLE_ARN", alisim.DefaultPodRoleARN, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", alisim.DefaultOIDCProviderARN, envFile, file(t, token)}
	chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment(env...), STSOptions: c.sts, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	got, err := chain.Retrieve(t.Context())
	if err == nil {
		t.Fatalf("got %s", got)
	}
	wantError(t, err, "oidc_role_arn", "AuthenticationFail.OIDCToken")
}

// TestOwnIdentityUntouched: what nobody set up keeps nobody from the machine's
// identity.
func TestOwnIdentityUntouched(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config, ini string
		env         []string
	}{
		"nothing":                  {"", "", nil},
		"no home":                  {"", "", []string{"HOME", "", "USERPROFILE", ""}},
		"fresh config.json":        {`{"current": "default", "profiles": [{"name": "default", "mode": "", "output_format": "json", "region_id": "cn-hangzhou", "expired_seconds": 0, "access_key_id": ""}]}`, "", nil},
		"only settings":            {`{"profiles": [{"name": "default", "sts_region": "cn-hangzhou", "expired_seconds": 900}]}`, "", nil},
		"config.json switched off": {configWith("a", "a"), "", []string{envNoCLI, "true"}},
		"another section":          {"", "[other]\ntype=magic\n", nil},
		"section disabled":         {"", "[default]\nenable=false\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := get(t, place(t, newInstance(t), append(tc.env, home(t, tc.config, tc.ini)...)...))
			if got.Source != "default/ecs_ram_role" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestOwnIdentityUnreadable: a file that is there and may not be read was meant
// to be read; a home directory that may not be looked into says nothing.
func TestOwnIdentityUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	env := home(t, configWith("a", "a"), iniKeys)
	dir := env[1]
	for _, name := range []string{".aliyun/config.json", ".alibabacloud/credentials"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if got, err := place(t, newInstance(t), env...).Retrieve(t.Context()); err == nil || errors.Is(err, alicreds.ErrUnavailable) {
			t.Errorf("%s unreadable: got %s, %v", name, got, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if got, err := place(t, newInstance(t), env...).Retrieve(t.Context()); err != nil || got.Source != "default/ecs_ram_role" {
		t.Errorf("home unreadable: got %s, %v", got, err)
	}
	if _, err := place(t, newInstance(t), append(env, envConfigFile, filepath.Join(dir, "x"))...).Retrieve(t.Context()); err == nil {
		t.Error("a named file in it: no error")
	}
}

// TestDefaultProfileOption: one option chooses in both files, and a typo in it
// is an error, too.
func TestDefaultProfileOption(t *testing.T) {
	t.Parallel()
	metadata := patientMetadata(t, newInstance(t).URL, false)
	env := environment(append(home(t, configWith("a", "a", "b"), iniKeys), envProfile, "a")...)
	for name, tc := range map[string]struct{ both, cli, want string }{
		"none":                  {"", "", "of a"},
		"in config.json":        {"b", "", "of b"},
		"in the INI file":       {"both", "", "of ini, both"},
		"by CLIProfile":         {"", "b", "of b"},
		"by CLIProfile, in INI": {"", "both", "of ini, both"},
		"in neither":            {"bb", "", `the option Profile asks for the profile "bb", which no file has`},
	} {
		chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: env, Metadata: metadata,
			Profile: tc.both, CLIProfile: alicreds.CLIProfileOptions{Profile: tc.cli}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := chain.Retrieve(t.Context())
		if err != nil {
			wantError(t, err, tc.want)
		} else if got.AccessKeyID != tc.want {
			t.Errorf("%s: got %s, want %s", name, got.AccessKeyID, tc.want)
		}
	}
}

// TestCustomChainProfile: what holds for the default chain holds for one of a
// program's own, and for one within another.
func TestCustomChainProfile(t *testing.T) {
	t.Parallel()
	cli := cliProfile(t, alicreds.CLIProfileOptions{Path: file(t, configWith("a", "a")), Getenv: environment(envProfile, "gone")})
	other := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
		return alicreds.Credentials{AccessKeyID: "other", AccessKeySecret: "s"}, nil
	})
	for name, chain := range map[string]*alicreds.Chain{
		"one":    alicreds.NewChain(alicreds.ChainOptions{}, cli, other),
		"nested": alicreds.NewChain(alicreds.ChainOptions{}, alicreds.NewChain(alicreds.ChainOptions{}, cli), other),
	} {
		got, err := chain.Retrieve(t.Context())
		if err == nil {
			t.Fatalf("%s: got %s", name, got)
		}
		wantError(t, err, "which no file has")
	}
	if got := get(t, alicreds.NewChain(alicreds.ChainOptions{FallThrough: true}, cli, other)); got.AccessKeyID != "other" {
		t.Errorf("falling through: got %s", got)
	}
}

// TestHomeOfTheUser: without HOME the operating system says where it is, unless
// the program brings an environment of its own.
func TestHomeOfTheUser(t *testing.T) {
	for _, name := range []string{"HOME", "USERPROFILE", envConfigFile, envProfile, envNoCLI} {
		t.Setenv(name, "")
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	p, err := alicreds.NewCLIProfile(alicreds.CLIProfileOptions{Profile: "nobody's", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Retrieve(t.Context())
	wantError(t, err, filepath.Join(u.HomeDir, ".aliyun", "config.json"))
	_, err = cliProfile(t, alicreds.CLIProfileOptions{}).Retrieve(t.Context())
	wantError(t, err, "no home directory")
}
