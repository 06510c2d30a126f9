package alicreds_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// complete puts the rows together, and fails unless they are 001 to 130.
func complete(t *testing.T, lists ...[]row) []row {
	t.Helper()
	rows := slices.Concat(lists...)
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.number, b.number) })
	var numbers, want []string
	for _, r := range rows {
		numbers = append(numbers, r.number)
		if r.says == "" || r.test == nil {
			t.Errorf("row %s says or tests nothing", r.number)
		}
	}
	for n := range 130 {
		want = append(want, fmt.Sprintf("%03d", n+1))
	}
	if !slices.Equal(numbers, want) {
		t.Errorf("the rows are %q", numbers)
	}
	return rows
}

// profileRows are the rows about profiles, and about the providers that only
// profiles reach.
func profileRows() []row {
	inline := func(t *testing.T, keys string) alicreds.CLIProfile {
		t.Helper()
		return cliProfile(t, alicreds.CLIProfileOptions{Path: file(t, `{"profiles": [{"name": "default", `+keys+`}]}`)})
	}
	broken := func(t *testing.T, name, want string) {
		t.Helper()
		_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: filepath.Join("testdata", "cli_config", name+".json")}).Retrieve(t.Context())
		wantError(t, err, name, want)
	}
	section := func(t *testing.T, text string) (alicreds.Credentials, error) {
		t.Helper()
		return profile(t, alicreds.ProfileOptions{Path: file(t, text)}).Retrieve(t.Context())
	}
	login := func(t *testing.T, tokens alicreds.OAuthTokens, token, exchange http.HandlerFunc) (string, error) {
		t.Helper()
		d := authority(t, token, exchange)
		_, err := oauth(t, tokens, d.oauth()).Retrieve(t.Context())
		return d.paths(), err
	}
	// as runs tests that stand elsewhere.
	type tests = map[string]func(*testing.T)
	as := func(all tests) func(*testing.T) {
		return func(t *testing.T) {
			for name, test := range all {
				t.Run(name, test)
			}
		}
	}
	const names = "the Source is built of credential types: cli_profile/access_key"
	return []row{
		{"085", "config.json disabled by a variable", "it is seen at each call, and makes a chain ask the next provider", func(t *testing.T) {
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: file(t, configWith("a", "a")), Getenv: environment(envNoCLI, "True")}).Retrieve(t.Context())
			wantError(t, err, envNoCLI)
		}},
		{"086", "profile: argument, variable, current", "", func(t *testing.T) {
			path := file(t, configWith("three", "one", "two", "three"))
			for want, o := range map[string]alicreds.CLIProfileOptions{
				"of one":   {Profile: "one", Getenv: environment(envProfile, "two")},
				"of two":   {Getenv: environment(envProfile, "two")},
				"of three": {},
			} {
				o.Path = path
				if got := get(t, cliProfile(t, o)); got.AccessKeyID != want {
					t.Errorf("got %s, want %s", got.AccessKeyID, want)
				}
			}
		}},
		{"087", "config.json missing, not JSON, without profiles, without the profile", "", func(t *testing.T) {
			none := filepath.Join(t.TempDir(), "none.json")
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: none}).Retrieve(t.Context())
			wantError(t, err, none)
			broken(t, "not_json", "not JSON")
			broken(t, "profiles_empty", "no profiles")
			broken(t, "current_missing", `no profile "gone"`)
		}},
		{"088", "no home directory", "", func(t *testing.T) {
			_, err := cliProfile(t, alicreds.CLIProfileOptions{}).Retrieve(t.Context())
			wantError(t, err, "no home directory")
		}},
		{"089", "path: argument, variable", "", func(t *testing.T) {
			one, two := file(t, configWith("one", "one")), file(t, configWith("two", "two"))
			if got := get(t, cliProfile(t, alicreds.CLIProfileOptions{Getenv: environment(envConfigFile, two)})); got.AccessKeyID != "of two" {
				t.Errorf("got %s", got)
			}
			if got := get(t, cliProfile(t, alicreds.CLIProfileOptions{Path: one, Getenv: environment(envConfigFile, two)})); got.AccessKeyID != "of one" {
				t.Errorf("got %s", got)
			}
		}},
		{"090", "each mode has its provider", names + "; a RamRoleArn may have an sts_token, and letter case does not matter, as with the aliyun CLI", func(t *testing.T) {
			c, path := modes(t)
			for profile, source := range map[string]string{
				"ak": "access_key", "lower case": "access_key", "ststoken": "sts", "ramrolearn": "ram_role_arn/access_key", "ramrolearn over sts": "ram_role_arn/sts",
				"ecs": "ecs_ram_role", "oidc": "oidc_role_arn", "chain": "ram_role_arn/access_key", "cloudsso": "cloud_sso", "oauth": "oauth", "external": "external",
			} {
				if got := get(t, cliProfile(t, c.cli(t, path, profile))); got.Source != "cli_profile/"+source {
					t.Errorf("%s is %s", profile, got.Source)
				}
			}
			_, err := inline(t, `"mode": "RamRoleArn", "ram_role_arn": "`+roleARN+`"`).Retrieve(t.Context())
			wantError(t, err, "access_key_id")
		}},
		{"091", "a chain without its source, and with it", names, func(t *testing.T) {
			_, err := inline(t, `"mode": "ChainableRamRoleArn", "source_profile": "gone", "ram_role_arn": "`+roleARN+`"`).Retrieve(t.Context())
			wantError(t, err, `source_profile "gone"`)
			c, path := modes(t)
			if got := get(t, cliProfile(t, c.cli(t, path, "chain of chains"))); got.Source != "cli_profile/ram_role_arn/ram_role_arn/access_key" {
				t.Errorf("got %s", got.Source)
			}
		}},
		{"092", "an unsupported mode is named", "a mode that does not look like one is not quoted", func(t *testing.T) {
			_, err := inline(t, `"mode": "Sdk"`).Retrieve(t.Context())
			wantError(t, err, "mode Sdk")
		}},
		{"093", "the sites of OAuth", "a profile without oauth_site_type is an error, because a token must not be sent to the wrong site", as(tests{"as": TestOAuthSites})},
		{"094", "a CloudSSO login that has ended", "", func(t *testing.T) {
			_, err := inline(t, `"mode": "CloudSSO", "cloud_sso_sign_in_url": "https://a.example.com", "cloud_sso_account_id": "1",
				"cloud_sso_access_config": "c", "access_token": "t", "cloud_sso_access_token_expire": 1`).Retrieve(t.Context())
			wantError(t, err, "log in again")
		}},
		{"095", "OAuth writes seven keys to its own profile", "", func(t *testing.T) {
			for _, name := range []string{"oauth", "chain", "chain of chains"} {
				c := writebackCloud(t)
				path, _ := writebackFile(t)
				chain := fmt.Sprint(keysOf(t, path, 3), keysOf(t, path, 4))
				get(t, cliProfile(t, c.cli(t, path, name)))
				keys := keysOf(t, path, 1)
				for _, key := range []string{"oauth_refresh_token", "oauth_access_token", "access_key_id", "access_key_secret", "sts_token"} {
					if s, ok := keys[key].(string); !ok || s == "" || s == alisim.DefaultRefreshToken || s == "old" {
						t.Errorf("%s is not new", key)
					}
				}
				for _, key := range []string{"oauth_access_token_expire", "sts_expiration"} {
					if n, ok := keys[key].(float64); !ok || int64(n) < time.Now().Unix() {
						t.Errorf("%s is %v", key, keys[key])
					}
				}
				if fmt.Sprint(keysOf(t, path, 3), keysOf(t, path, 4)) != chain {
					t.Error("a profile of the chain changed")
				}
			}
		}},
		{"096", "writing fails", "Retrieve does not: OnWriteError is told", func(t *testing.T) {
			for name, spoil := range map[string]func(path string) error{
				"not writable": func(path string) error { return os.Mkdir(path+".lock", 0o700) },
				"profile gone": func(path string) error { return os.WriteFile(path, []byte(configWith("a", "a")), 0o600) },
			} {
				var path string
				d := authority(t, answers(200, oauthTokenJSON), func(w http.ResponseWriter, r *http.Request) {
					if err := spoil(path); err != nil && !errors.Is(err, os.ErrExist) {
						t.Error(err)
					}
					answers(200, oauthSessionJSON)(w, r)
				})
				path = file(t, `{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":"r"}]}`)
				if name == "not writable" {
					if err := spoil(path); err != nil {
						t.Fatal(err)
					}
				}
				failures := 0
				get(t, cliProfile(t, alicreds.CLIProfileOptions{Path: path, HTTP: d.client(), OnWriteError: func(error) { failures++ }}))
				if failures == 0 {
					t.Errorf("%s: nobody was told", name)
				}
				onlyFiles(t, filepath.Dir(path), "file", "file.lock")
			}
		}},
		{"097", "ten write at once", "", as(tests{"as": TestWriteBackConcurrent})},
		{"098", "mode and separators", "", func(t *testing.T) {
			c := writebackCloud(t)
			path, _ := writebackFile(t)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			get(t, cliProfile(t, c.cli(t, path, "oauth")))
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
				t.Errorf("the file is %v, %v", info, err)
			}
			home := t.TempDir()
			_, err := cliProfile(t, alicreds.CLIProfileOptions{Getenv: environment("HOME", home, "USERPROFILE", home)}).Retrieve(t.Context())
			wantError(t, err, home+string(filepath.Separator)+".aliyun"+string(filepath.Separator)+"config.json")
		}},
		{"099", "External writes keys, token and expiration", "", as(tests{
			"with expiration": TestWriteBackExternalExpiration,
			"without":         TestDefectD08, // the one in the file stays
		})},
		{"100", "the provider of a profile fails, and works", names, func(t *testing.T) {
			_, err := inline(t, `"mode": "External", "process_command": "'/nowhere/at all'"`).Retrieve(t.Context())
			wantError(t, err, "cli_profile: ", "external: the command's program was not found")
			if got := get(t, inline(t, `"mode": "AK", "access_key_id": "i", "access_key_secret": "s"`)); got.Source != "cli_profile/access_key" {
				t.Errorf("got %s", got)
			}
		}},

		{"101", "section: argument, variable, default", "", func(t *testing.T) {
			path := file(t, iniKeys+"[one]\ntype=access_key\naccess_key_id=of one\naccess_key_secret=s\n")
			for want, o := range map[string]alicreds.ProfileOptions{
				"of one":       {Profile: "one", Getenv: environment(envProfile, "both")},
				"of ini, both": {Getenv: environment(envProfile, "both")},
				"of ini":       {},
			} {
				o.Path = path
				if got := get(t, profile(t, o)); got.AccessKeyID != want {
					t.Errorf("got %s, want %s", got.AccessKeyID, want)
				}
			}
		}},
		{"102", "section, type, key or value missing, type unknown", "", func(t *testing.T) {
			for text, want := range map[string]string{
				"[other]": `no section "default"`, "[default]": "no type", "[default]\ntype=access_key\naccess_key_id=i": "access_key_secret",
				"[default]\ntype=access_key\naccess_key_id=\naccess_key_secret=s": "access_key_id", "[default]\ntype=sdk": "type sdk",
			} {
				_, err := section(t, text)
				wantError(t, err, want)
			}
		}},
		{"103", "types of a section", "all types are supported, and those of the public Config too", as(tests{"as": TestProfileTypes})},
		{"104", "INI file missing, a directory, in a variable", "", func(t *testing.T) {
			none := filepath.Join(t.TempDir(), "none")
			_, err := profile(t, alicreds.ProfileOptions{Path: none}).Retrieve(t.Context())
			wantError(t, err, none)
			_, err = profile(t, alicreds.ProfileOptions{Path: t.TempDir()}).Retrieve(t.Context())
			wantError(t, err, "not a regular file")
			if got := get(t, profile(t, alicreds.ProfileOptions{Getenv: environment(envCredentialsIn, file(t, iniKeys))})); got.AccessKeyID != "of ini" {
				t.Errorf("got %s", got)
			}
		}},
		{"105", "a second call uses the same provider", "as long as the file is the same: a change is noticed", func(t *testing.T) {
			sts, o := types(t)
			o.Path = file(t, "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\nrole_arn="+roleARN)
			p := profile(t, o)
			get(t, p)
			get(t, p)
			if a, b := sts.requests[0].Form.Get("RoleSessionName"), sts.requests[1].Form.Get("RoleSessionName"); a != b || a == "" {
				t.Errorf("sessions %q and %q", a, b)
			}
			t.Run("changed", TestProfileNoticesChanges)
		}},
		{"109", "a chain of roles from config.json", names, func(t *testing.T) {
			c, path := modes(t)
			chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment(envConfigFile, path, envProfile, "chain of chains"), STSOptions: c.sts})
			if err != nil {
				t.Fatal(err)
			}
			if got := get(t, chain); got.Source != "default/cli_profile/ram_role_arn/ram_role_arn/access_key" {
				t.Errorf("got %s", got)
			}
		}},

		{"111", "CloudSSO checks its login, URL, account and configuration", "", as(tests{"as": TestCloudSSOChecks})},
		{"112", "CloudSSO answers", "", as(tests{"bad": TestCloudSSORefuses, "good": TestCloudSSO})},
		{"113", "OAuth needs client and URL, and no tokens to be built", "", func(t *testing.T) {
			t.Run("as", TestOAuthChecks)
			oauth(t, alicreds.OAuthTokens{}, alicreds.OAuthOptions{Site: "CN"})
		}},
		{"114", "an access token is renewed in its last 20 minutes", "", as(tests{"as": TestOAuthLead})},
		{"115", "without refresh token the exchange is all", "an access token that is known to have ended is not sent", func(t *testing.T) {
			if paths, err := login(t, alicreds.OAuthTokens{AccessToken: "a", Expiration: time.Now().Add(time.Minute)}, nil, answers(200, oauthSessionJSON)); err != nil || paths != "exchange" {
				t.Errorf("called %s, %v", paths, err)
			}
		}},
		{"116", "the refresh fails", "an access token that has not ended is used through an outage", as(tests{"as": TestOAuthRefreshRefuses})},
		{"117", "the exchange fails", "", as(tests{"as": TestOAuthExchangeRefuses})},
		{"118", "the callback gets tokens, keys and ends, and its error does no harm", "it is called after the refresh too, so that a failed exchange loses no refresh token", as(tests{"as": TestOAuthSave})},
		{"119", "a kept session is used until it ends", "a new one is asked for in the last 15 minutes, and the kept one serves until the end when there is none", as(tests{"as": TestCLIProfileKeptSession})},
		{"120", "a sign-in URL that is none", "", func(t *testing.T) {
			_, err := alicreds.NewCloudSSO("t", cloudSSOOptions("https://a b:c"))
			wantError(t, err, "not a URL")
		}},

		{"121", "an empty command", "a blank one is refused when it is built as well", func(t *testing.T) {
			for _, command := range []string{"", " \t"} {
				_, err := alicreds.NewExternal(command, alicreds.ExternalOptions{})
				wantError(t, err, "empty")
			}
		}},
		{"122", "keys and sessions of a command", "", as(tests{"as": TestExternal})},
		{"123", "commands that fail", "", as(tests{"as": TestExternalRefuses})},
		{"124", "a command runs once for credentials that are good for an hour", "an expiration that cannot be read is an error; without one a Cache runs the command every minute that it is used, and an External at each call", func(t *testing.T) {
			for expiration, runs := range map[string]int{time.Now().Add(time.Hour).UTC().Format(time.RFC3339): 1, "": 1} {
				ran := filepath.Join(t.TempDir(), "ran")
				p := external(t, alicreds.ExternalOptions{}, "count", ran,
					fmt.Sprintf(`{"access_key_id":"i","access_key_secret":"s","expiration":%q}`, expiration))
				cache := alicreds.NewCache(p, alicreds.CacheOptions{})
				get(t, cache)
				get(t, cache)
				cache.Close()
				get(t, p)
				if lines, err := os.ReadFile(ran); err != nil || strings.Count(string(lines), "\n") != runs+1 {
					t.Errorf("the command left %q, %v", lines, err)
				}
			}
		}},
		{"125", "a command that takes too long", "the limit is named, and its children are ended too: TestDefectD13", func(t *testing.T) {
			began := time.Now()
			_, err := external(t, alicreds.ExternalOptions{Timeout: 500 * time.Millisecond}, "hang").Retrieve(t.Context())
			wantError(t, err, "longer than 500ms")
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		}},
		{"126", "splitting a command", "TestSplitCommand has the rules one by one, those of Windows too", func(t *testing.T) {
			p, err := alicreds.NewExternal("'"+os.Args[0]+"' ALICREDS_COMMAND\targuments \"a b\"'c d' two\\ words \"\" e\\\nf", alicreds.ExternalOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := get(t, p); runtime.GOOS != "windows" && got.AccessKeyID != "a bc d|two words||ef" {
				t.Errorf("the command got %s", got.AccessKeyID)
			}
			for _, command := range []string{"get 'a", `get "a`} {
				_, err := alicreds.NewExternal(command, alicreds.ExternalOptions{})
				wantError(t, err, "quote")
			}
		}},
		{"127", "arguments arrive, and many may ask at once", "", as(tests{"arguments": TestExternalArguments, "many": TestExternalConcurrent})},
	}
}
