package alicreds_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	envProfile       = "ALIBABA_CLOUD_PROFILE"
	envConfigFile    = "ALIBABA_CLOUD_CONFIG_FILE"
	envNoCLI         = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED"
	envNoExternal    = "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS"
	envSTSEndpoint   = "ALIBABA_CLOUD_STS_ENDPOINT"
	envCredentialsIn = "ALIBABA_CLOUD_CREDENTIALS_FILE"
)

func cliProfile(t *testing.T, o alicreds.CLIProfileOptions) alicreds.CLIProfile {
	t.Helper()
	if o.Getenv == nil {
		o.Getenv = environment()
	}
	p, err := alicreds.NewCLIProfile(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fixture is a file of testdata.
func fixture(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// modes is a cloud, and a config.json with a profile of every mode for it.
func modes(t *testing.T) (cloud, string) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	seed := alisim.SourcesSeed()
	account := &seed.Accounts[0]
	account.Users[0].KeyPairs = []alisim.KeyPair{{ID: "pk-1", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}
	for i := range account.Roles {
		account.Roles[i].Policies = append(account.Roles[i].Policies, "AliyunSTSAssumeRoleAccess")
	}
	account.Roles = append(account.Roles, alisim.Role{Name: "spoke", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID)})
	c := newCloudOf(t, seed)
	issuer, err := c.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{})
	if err != nil {
		t.Fatal(err)
	}
	session := get(t, c.role(t, alicreds.RAMRoleARNOptions{RoleARN: alisim.DefaultLocalRoleARN}))
	text := fixture(t, "cli_modes.json")
	for name, value := range map[string]string{
		"$ID": alisim.DefaultAccessKeyID, "$SECRET": alisim.DefaultAccessKeySecret,
		"$STS_ID": session.AccessKeyID, "$STS_SECRET": session.AccessKeySecret, "$STS_TOKEN": session.SecurityToken,
		"$TOKEN_FILE": file(t, token), "$URI": c.CredentialsURL + "/credentials", "$PRIVATE_KEY": pkcs8(rsaKey()),
		"$COMMAND": commandLine("print", fmt.Sprintf(`{"access_key_id":%q,"access_key_secret":%q}`, alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)),
	} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, `"`+name+`"`, string(encoded))
	}
	return c, file(t, text)
}

func (c cloud) cli(t *testing.T, path, profile string) alicreds.CLIProfileOptions {
	t.Helper()
	metadata := patientMetadata(t, c.IMDSURL, false)
	return alicreds.CLIProfileOptions{
		Path: path, Profile: profile, STSOptions: c.sts, Metadata: metadata, HTTP: c.Client(),
		OnWriteError: func(err error) { t.Errorf("writing: %v", err) },
	}
}

// TestCLIProfileModes wants from every mode what the cloud takes for the
// identity that the profile means.
func TestCLIProfileModes(t *testing.T) {
	t.Parallel()
	const account = "acs:ram::" + alisim.DefaultAccountID + ":"
	const root, user = "cli_profile/", account + "user/" + alisim.DefaultUserName
	c, path := modes(t)
	for profile, want := range map[string]struct{ source, arn string }{
		"ak":                      {"access_key", user},
		"lower case":              {"access_key", user},
		"ststoken":                {"sts", account + "assumed-role/local/"},
		"ramrolearn":              {"ram_role_arn/access_key", account + "assumed-role/deploy/from-the-file"},
		"ramrolearn over sts":     {"ram_role_arn/sts", account + "assumed-role/deploy/s2"},
		"ecs":                     {"ecs_ram_role", account + "assumed-role/node/"},
		"ecs discovered":          {"ecs_ram_role", account + "assumed-role/node/"},
		"oidc":                    {"oidc_role_arn", account + "assumed-role/pod/from-the-file"},
		"chain":                   {"ram_role_arn/access_key", account + "assumed-role/deploy/from-the-file"},
		"chain of chains":         {"ram_role_arn/ram_role_arn/access_key", account + "assumed-role/spoke/alicreds-"},
		"chain over oauth":        {"ram_role_arn/oauth", account + "assumed-role/deploy/alicreds-"},
		"role over instance role": {"ram_role_arn/ecs_ram_role", account + "assumed-role/deploy/from-the-file"},
		"cloudsso":                {"cloud_sso", account + "assumed-role/local/"},
		"oauth":                   {"oauth", account + "assumed-role/local/"},
		"external":                {"external", user},
		"uri":                     {"credentials_uri", account + "assumed-role/local/"},
		"rsa":                     {"rsa_key_pair", user},
		"bearer":                  {"bearer", ""},
	} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			p := cliProfile(t, c.cli(t, path, profile))
			for range 2 {
				got := get(t, p)
				if got.Source != root+want.source {
					t.Errorf("the source is %s, want %s", got.Source, root+want.source)
				}
				if want.arn == "" {
					if got.BearerToken != alisim.DefaultBearerToken {
						t.Errorf("got %s", got)
					}
					continue
				}
				if who := c.who(t, got); !strings.HasPrefix(who.ARN, want.arn) {
					t.Errorf("the keys are those of %s, want %s", who.ARN, want.arn)
				}
			}
			mustNotPrint(t, p, alisim.DefaultAccessKeySecret, alisim.DefaultRefreshToken, alisim.DefaultBearerToken)
		})
	}
}

// TestCLIProfileSTS: where calls go and what they carry.
func TestCLIProfileSTS(t *testing.T) {
	t.Parallel()
	c, path := modes(t)
	for profile, want := range map[string]struct {
		host   string
		params map[string]string
	}{
		"ramrolearn": {"sts-vpc.cn-beijing.aliyuncs.com", map[string]string{
			"DurationSeconds": "900", "Policy": `{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`, "ExternalId": "x:1", "RoleSessionName": "from-the-file"}},
		"ramrolearn over sts":     {"sts.cn-shanghai.aliyuncs.com", map[string]string{"DurationSeconds": "3600", "RoleSessionName": "s2"}},
		"oidc":                    {"sts.aliyuncs.com", map[string]string{"DurationSeconds": "3600"}},
		"chain":                   {"sts.cn-beijing.aliyuncs.com", map[string]string{"ExternalId": "x:1"}},
		"role over instance role": {"sts.aliyuncs.com", map[string]string{"DurationSeconds": "1800"}},
		"rsa":                     {"sts.ap-northeast-1.aliyuncs.com", map[string]string{"DurationSeconds": "900"}},
	} {
		get(t, cliProfile(t, c.cli(t, path, profile)))
		calls := c.Journal()
		last := calls[len(calls)-1]
		if last.Host != want.host {
			t.Errorf("%s calls %s, want %s", profile, last.Host, want.host)
		}
		for name, value := range want.params {
			if last.Params[name] != value {
				t.Errorf("%s sends %s = %s, want %s", profile, name, last.Params[name], value)
			}
		}
	}

	o := c.cli(t, path, "chain of chains")
	o.Getenv = environment(envSTSEndpoint, "sts.eu-central-1.aliyuncs.com", "ALIBABA_CLOUD_STS_REGION", "cn-hangzhou", envSession, "from-env")
	get(t, cliProfile(t, o))
	calls := c.Journal()
	if last := calls[len(calls)-1]; last.Host != "sts.eu-central-1.aliyuncs.com" || last.Params["RoleSessionName"] != "from-env" {
		t.Errorf("called %s as %s", last.Host, last.Params["RoleSessionName"])
	}
}

// TestCLIProfileDefects: a profile that is there and wrong is an error that
// says what is wrong, quotes nothing, and is not taken for another's turn.
func TestCLIProfileDefects(t *testing.T) {
	t.Parallel()
	const relogin = "log in again with `aliyun configure"
	defects := map[string]string{
		"default":                             "has no mode yet",
		"mode unknown":                        "the mode Sdk is not supported",
		"mode not a word":                     "the mode is not supported",
		"mode not a string":                   "the key mode is not a string",
		"anonymous":                           "Anonymous means to send no credentials",
		"ak without id":                       "access_key_id",
		"ak without secret":                   "access_key_secret",
		"ak with a number":                    "the key access_key_id is not a string",
		"sts without token":                   "security_token",
		"role without keys":                   "access_key_id",
		"role without arn":                    "role_arn",
		"role with a bad arn":                 "does not look like acs:ram::",
		"role for 100 s":                      "between 900 and 43200",
		"role for a text":                     "the key expired_seconds is not a whole number",
		"role for ages":                       "the key expired_seconds is not a number of seconds",
		"role with a bad vpc":                 "the key enable_vpc is not true or false",
		"role with a bad endpoint":            "endpoint",
		"role with a bad region":              "region",
		"ecs with a bad role":                 "role name",
		"oidc without token file":             "token_file",
		"oidc without provider":               "oidc_provider_arn",
		"oidc without role":                   "role_arn",
		"chain without source":                "source_profile is empty",
		"chain with a missing source":         `it has no profile "nobody"`,
		"chain with a broken source":          `source_profile "ak without id"`,
		"chain with an empty source":          "has no mode yet",
		"chain of its own":                    "leads in a circle",
		"chain in a circle":                   "leads in a circle",
		"chain in a circle, 2":                "leads in a circle",
		"role over instance role without arn": "role ARN is empty",
		"cloudsso expired":                    relogin,
		"cloudsso without end":                relogin,
		"cloudsso without token":              relogin,
		"cloudsso without account":            "account id",
		"cloudsso without configuration":      "access configuration",
		"cloudsso without url":                "sign-in URL",
		"cloudsso over http":                  "https",
		"cloudsso with a bad url":             "not a URL",
		"oauth without site":                  "oauth_site_type",
		"oauth with another site":             "CN or INTL",
		"oauth without tokens":                relogin,
		"oauth with a bad expiry":             "the key oauth_access_token_expire is not a whole number",
		"external without command":            "the command is empty",
		"external with an open quote":         "quote",
		"uri without uri":                     "credentials_uri",
		"uri with a bad uri":                  "http",
		"rsa without name":                    "public key id",
		"rsa with a bad key":                  "key",
		"bearer without token":                "bearer token is empty",
	}
	path := filepath.Join("testdata", "cli_profile_defects.json")
	var config struct {
		Profiles []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(fixture(t, "cli_profile_defects.json")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Profiles) != len(defects) {
		t.Errorf("%d profiles and %d defects", len(config.Profiles), len(defects))
	}
	for _, profile := range config.Profiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			want, ok := defects[profile.Name]
			if !ok {
				t.Fatal("the table does not know it")
			}
			p := cliProfile(t, alicreds.CLIProfileOptions{Path: path, Profile: profile.Name})
			for range 2 { // nothing is kept of a failure
				_, err := p.Retrieve(t.Context())
				wantError(t, err, "cli_profile: ", path, want)
				if strings.Contains(err.Error(), "fake") || strings.Contains(err.Error(), "LTAI") {
					t.Errorf("the error quotes the file: %v", err)
				}
				if unavailable := errors.Is(err, alicreds.ErrUnavailable); unavailable != (profile.Name == "default") {
					t.Errorf("unavailable is %t: %v", unavailable, err)
				}
			}
		})
	}
}

// TestDefectD12: no error holds a part of the file.
func TestDefectD12(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"empty":                "it is not JSON from line 1 on",
		"not_json":             "it is not JSON from line 3 on",
		"truncated":            "it is not JSON",
		"two_documents":        "it is not JSON",
		"array":                "it is not a JSON object",
		"null":                 "it is not a JSON object",
		"profiles_missing":     "it has no profiles",
		"profiles_empty":       "it has no profiles",
		"profiles_null":        "it has no profiles",
		"profiles_object":      "it has no profiles",
		"profiles_of_strings":  `it has no profile "default"`,
		"current_missing":      `it has no profile "gone"`,
		"current_not_a_string": "its key current is not a string",
	}
	fixtures, err := filepath.Glob("testdata/cli_config/*.json")
	if err != nil || len(fixtures) != len(want) {
		t.Fatal(fixtures, err)
	}
	for _, path := range fixtures {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, ok := want[name]
			if !ok {
				t.Fatal("the table does not know it")
			}
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: path}).Retrieve(t.Context())
			wantError(t, err, path, text)
			if strings.Contains(err.Error(), "fake") || errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// configWith is a config.json with profiles of mode AK by those names.
func configWith(current string, names ...string) string {
	var profiles []string
	for _, name := range names {
		profiles = append(profiles, fmt.Sprintf(`{"name": %q, "mode": "AK", "access_key_id": %q, "access_key_secret": "s"}`, name, "of "+name))
	}
	return fmt.Sprintf("{\"current\": %q, \"profiles\": [\n%s]}", current, strings.Join(profiles, ",\n"))
}

func TestCLIProfileChoice(t *testing.T) {
	t.Parallel()
	path := file(t, configWith("two", "default", "one", "two"))
	noCurrent := file(t, strings.Replace(configWith("", "default", "one"), `"current": "", `, "", 1))
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".aliyun"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".aliyun", "config.json"), []byte("\ufeff"+configWith("home", "home")), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		o           alicreds.CLIProfileOptions
		env         []string
		want        string // id, or text of the error
		unavailable bool
	}{
		"current":                {alicreds.CLIProfileOptions{Path: path}, nil, "of two", false},
		"variable":               {alicreds.CLIProfileOptions{Path: path}, []string{envProfile, "one"}, "of one", false},
		"argument":               {alicreds.CLIProfileOptions{Path: path, Profile: "default"}, []string{envProfile, "one"}, "of default", false},
		"no current":             {alicreds.CLIProfileOptions{Path: noCurrent}, nil, "of default", false},
		"variable, absent":       {alicreds.CLIProfileOptions{Path: path}, []string{envProfile, "gone"}, `no profile "gone"`, true},
		"argument, absent":       {alicreds.CLIProfileOptions{Path: path, Profile: "gone"}, nil, `no profile "gone"`, false},
		"odd name":               {alicreds.CLIProfileOptions{Path: path, Profile: "a\nb"}, nil, "no profile (of an odd name)", false},
		"path in a variable":     {alicreds.CLIProfileOptions{}, []string{envConfigFile, path, "HOME", home}, "of two", false},
		"path twice":             {alicreds.CLIProfileOptions{Path: path}, []string{envConfigFile, noCurrent}, "of two", false},
		"home":                   {alicreds.CLIProfileOptions{}, []string{"HOME", home, "USERPROFILE", home}, "of home", false},
		"home, no file":          {alicreds.CLIProfileOptions{}, []string{"HOME", none, "USERPROFILE", none}, filepath.Join(none, ".aliyun", "config.json"), true},
		"no home":                {alicreds.CLIProfileOptions{}, nil, "no home directory", true},
		"no file":                {alicreds.CLIProfileOptions{Path: none}, nil, none, false},
		"no file, by a variable": {alicreds.CLIProfileOptions{}, []string{envConfigFile, none}, none, false},
		"directory":              {alicreds.CLIProfileOptions{Path: home}, nil, "not a regular file", false},
		"disabled":               {alicreds.CLIProfileOptions{Path: path}, []string{envNoCLI, "True"}, envNoCLI, true},
		"not disabled":           {alicreds.CLIProfileOptions{Path: path}, []string{envNoCLI, "1"}, "of two", false},
		"too large":              {alicreds.CLIProfileOptions{Path: file(t, configWith("a", "a")+strings.Repeat(" ", 1<<20))}, nil, "1 MiB", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.o.Getenv = environment(tc.env...)
			got, err := cliProfile(t, tc.o).Retrieve(t.Context())
			switch {
			case err == nil && got.AccessKeyID != tc.want:
				t.Errorf("got %s, want %s", got.AccessKeyID, tc.want)
			case err != nil:
				wantError(t, err, tc.want)
				if errors.Is(err, alicreds.ErrUnavailable) != tc.unavailable {
					t.Errorf("unavailable is not %t: %v", tc.unavailable, err)
				}
			}
		})
	}
	if _, err := (alicreds.CLIProfile{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	if _, err := alicreds.NewCLIProfile(alicreds.CLIProfileOptions{STSOptions: alicreds.STSOptions{Endpoint: "http://example.com"}}); err == nil {
		t.Error("a bad endpoint was accepted")
	}
}

// TestCLIProfileNoticesChanges, also those that keep size and time.
func TestCLIProfileNoticesChanges(t *testing.T) {
	t.Parallel()
	path := file(t, configWith("a", "a"))
	var profile string
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path, Getenv: func(name string) string {
		return map[string]string{envProfile: profile}[name]
	}})
	then := time.Now().Add(-time.Hour)
	for _, step := range []struct{ text, want string }{
		{configWith("a", "a"), "of a"},
		{configWith("b", "b"), "of b"}, // as long as before
		{"{", ""},
		{"{", ""},
		{configWith("c", "c", "d"), "of c"},
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Retrieve(t.Context()); got.AccessKeyID != step.want || (err == nil) != (step.want != "") {
			t.Errorf("got %s, %v; want %s", got.AccessKeyID, err, step.want)
		}
	}
	profile = "d"
	if got := get(t, p); got.AccessKeyID != "of d" {
		t.Errorf("got %s after another profile was chosen", got.AccessKeyID)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := p.Retrieve(t.Context())
	if wantError(t, err, "there is no file "+path); errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("got %v after the file that was named was removed", err)
	}
}

func TestCLIProfileEnvironmentFillsIn(t *testing.T) {
	t.Parallel()
	path := file(t, `{"profiles": [{"name": "default", "mode": "AK"}]}`)
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path, Getenv: environment(envID, "i", envSecret, "s", envToken, "t")})
	if got := get(t, p); got.AccessKeyID != "i" || got.SecurityToken != "" {
		t.Errorf("got %s", got)
	}
}

func TestCLIProfileExternalRefused(t *testing.T) {
	t.Parallel()
	ran := filepath.Join(t.TempDir(), "ran")
	command, err := json.Marshal(commandLine("count", ran, goodOutput))
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, `{"profiles": [{"name": "default", "mode": "External", "process_command": `+string(command)+`}]}`)
	for value, refused := range map[string]bool{"1": true, "true": true, "TRUE": true, "": false, "0": false, "no": false} {
		_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: path, ReadOnly: true, Getenv: environment(envNoExternal, value)}).Retrieve(t.Context())
		if refused {
			wantError(t, err, envNoExternal)
			if errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("a profile that is forbidden is passed over: %v", err)
			}
		} else if err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
	if lines, err := os.ReadFile(ran); err != nil || strings.Count(string(lines), "\n") != 3 {
		t.Errorf("the command left %q, %v; it is to run 3 times", lines, err)
	}
}

// TestDefectD14: profiles that are each other's source are an error, as are
// too many of them.
func TestDefectD14(t *testing.T) {
	t.Parallel()
	for length, works := range map[int]bool{3: true, 16: true, 17: false, 500: false} {
		profiles := []string{`{"name": "0", "mode": "AK", "access_key_id": "i", "access_key_secret": "s"}`}
		for i := 1; i <= length; i++ {
			profiles = append(profiles, fmt.Sprintf(`{"name": "%d", "mode": "ChainableRamRoleArn", "source_profile": "%d", "ram_role_arn": %q}`, i, i-1, roleARN))
		}
		d := newDesk(t, answers(200, sessionJSON()))
		path := file(t, `{"profiles": [`+strings.Join(profiles, ",")+`]}`)
		_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: path, Profile: fmt.Sprint(length), STSOptions: d.sts(t)}).Retrieve(t.Context())
		if works && err != nil {
			t.Errorf("%d sources: %v", length, err)
		}
		if !works {
			wantError(t, err, "more than 16 profiles are linked by source_profile")
		}
	}
	path := filepath.Join("testdata", "cli_profile_defects.json")
	_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: path, Profile: "chain in a circle"}).Retrieve(t.Context())
	wantError(t, err, "leads in a circle")
}

// TestCLIProfileKeptSession: the session that the CLI wrote down is used.
func TestCLIProfileKeptSession(t *testing.T) {
	t.Parallel()
	for mode, keys := range map[string]string{
		"CloudSSO": `"cloud_sso_sign_in_url": "https://signin-fixture.alibabacloudsso.com", "cloud_sso_account_id": "1", "cloud_sso_access_config": "c",
			"access_token": "fake", "cloud_sso_access_token_expire": 1`,
		"OAuth": `"oauth_site_type": "CN", "oauth_refresh_token": "fake"`,
	} {
		for left, works := range map[time.Duration]bool{time.Hour: true, time.Minute: true, -time.Second: false} {
			c := newCloud(t)
			path := file(t, fmt.Sprintf(`{"profiles": [{"name": "default", "mode": %q, %s, "access_key_id": "kept", "access_key_secret": "s",
				"sts_token": "t", "sts_expiration": %d}]}`, mode, keys, time.Now().Add(left).Unix()))
			o := c.cli(t, path, "")
			got, err := cliProfile(t, o).Retrieve(t.Context())
			if works && (err != nil || got.AccessKeyID != "kept" || got.Expiration.IsZero()) || !works && err == nil {
				t.Errorf("%s with %s left: %s, %v", mode, left, got, err)
			}
			if left == time.Hour && len(c.Journal()) != 0 {
				t.Errorf("%s: a call was made for a session that is good for an hour", mode)
			}
		}
	}
}

// TestCLIProfileConcurrent, while the file changes.
func TestCLIProfileConcurrent(t *testing.T) {
	t.Parallel()
	path := file(t, configWith("a", "a", "b"))
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				if i == 0 {
					next := path + ".next"
					if err := os.WriteFile(next, []byte(configWith([]string{"a", "b"}[j%2], "a", "b")), 0o600); err != nil {
						t.Error(err)
					}
					if err := os.Rename(next, path); err != nil {
						t.Error(err)
					}
				}
				got, err := p.Retrieve(context.Background())
				if err != nil || !slices.Contains([]string{"of a", "of b"}, got.AccessKeyID) {
					t.Errorf("got %s, %v", got.AccessKeyID, err)
				}
			}
		})
	}
	all.Wait()
}
