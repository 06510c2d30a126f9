package alicreds_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestCLIProfileRecognisesModes: a profile without a mode means what the aliyun
// CLI takes it for.
func TestCLIProfileRecognisesModes(t *testing.T) {
	t.Parallel()
	c, _ := modes(t)
	issuer, err := c.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{})
	if err != nil {
		t.Fatal(err)
	}
	const keys = `"access_key_id": "` + alisim.DefaultAccessKeyID + `", "access_key_secret": "` + alisim.DefaultAccessKeySecret + `"`
	const role = `"ram_role_arn": "` + alisim.DefaultRoleARN + `"`
	for name, tc := range map[string]struct{ keys, want string }{
		"keys":             {keys, "access_key"},
		"empty mode":       {`"mode": "", ` + keys, "access_key"},
		"null mode":        {`"mode": null, ` + keys, "access_key"},
		"session":          {keys + `, "sts_token": "t"`, "sts"},
		"session and role": {keys + `, "sts_token": "t", ` + role, "sts"},
		"role":             {keys + ", " + role, "ram_role_arn/access_key"},
		"instance":         {`"ram_role_name": "node"`, "ecs_ram_role"},
		"keys of the CLI":  {`"Access_Key_Id": "i", "ACCESS_KEY_SECRET": "s"`, "access_key"},
		"login of CloudSSO": {`"cloud_sso_sign_in_url": "` + signInURL + `", "cloud_sso_account_id": "1234567890123456", "cloud_sso_access_config": "` +
			alisim.DefaultAccessConfiguration + `", "access_token": "` + alisim.DefaultCloudSSOToken + `", "cloud_sso_access_token_expire": 32472144000`, "cloud_sso"},
		"token file": {`"oidc_provider_arn": "` + alisim.DefaultOIDCProviderARN + `", "oidc_token_file": ` + quoted(t, file(t, token)) +
			`, "ram_role_arn": "` + alisim.DefaultPodRoleARN + `"`, "oidc_role_arn"},
		"bearer token": {`"bearer_token": "b"`, "bearer"},
		"command":      {`"process_command": ` + quoted(t, commandLine("print", `{"access_key_id":"i","access_key_secret":"s"}`)), "external"},
	} {
		path := file(t, `{"profiles": [{"name": "default", `+tc.keys+`}]}`)
		if got := get(t, cliProfile(t, c.cli(t, path, ""))); got.Source != "cli_profile/"+tc.want {
			t.Errorf("%s: from %s, want %s", name, got.Source, tc.want)
		}
	}
}

// TestCLIProfileLetterCase: keys have no letter case, for reading and for
// writing back.
func TestCLIProfileLetterCase(t *testing.T) {
	t.Parallel()
	c := writebackCloud(t)
	path := file(t, `{"Current": "b", "Profiles": [{"name": "a", "mode": "AK"},
	{"Name": "b", "MODE": "OAuth", "OAuth_Site_Type": "CN", "OAuth_Refresh_Token": "`+alisim.DefaultRefreshToken+`"}]}`)
	if got := get(t, cliProfile(t, c.cli(t, path, ""))); got.Source != "cli_profile/oauth" {
		t.Errorf("got %s", got)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), alisim.DefaultRefreshToken) || strings.Contains(string(text), `"oauth_refresh_token"`) {
		t.Errorf("the token is not where it was:\n%s", text)
	}
}

// TestCLIProfileVariables: what a profile lacks comes from the variables of the
// aliyun CLI, in its order.
func TestCLIProfileVariables(t *testing.T) {
	t.Parallel()
	c, _ := modes(t)
	path := file(t, `{"profiles": [{"name": "default", "mode": "RamRoleArn"}, {"name": "b", "mode": "BearerToken"}]}`)
	o := c.cli(t, path, "")
	o.Getenv = environment("ALICLOUD_ACCESS_KEY_ID", alisim.DefaultAccessKeyID, "ALIBABACLOUD_ACCESS_KEY_SECRET", alisim.DefaultAccessKeySecret,
		"ALIBABACLOUD_ROLE_ARN", alisim.DefaultRoleARN, "ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1234567890123456:role/other",
		"ALIBABA_CLOUD_EXTERNAL_ID", "x:1", "ALIBABA_CLOUD_STS_ENDPOINT", " http://sts.cn-beijing.aliyuncs.com/ ")
	got := get(t, cliProfile(t, o))
	calls := c.Journal()
	last := calls[len(calls)-1]
	if got.RoleARN != alisim.DefaultRoleARN || last.Params["ExternalId"] != "x:1" || last.Host != "sts.cn-beijing.aliyuncs.com" {
		t.Errorf("got %s of %s from %s with ExternalId %q", got, got.RoleARN, last.Host, last.Params["ExternalId"])
	}
	o.Profile, o.Getenv = "b", environment("ALIBABA_CLOUD_BEARER_TOKEN", "t")
	if got := get(t, cliProfile(t, o)); got.BearerToken != "t" {
		t.Errorf("got %s", got)
	}
}

// TestExternalSwitch: the switch stops commands and credentials URIs, wherever
// a file or a variable asks for them.
func TestExternalSwitch(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	uri := c.CredentialsURL + "/credentials"
	config := `{"profiles": [{"name": "default", "mode": "CredentialsURI", "credentials_uri": "` + uri + `"}]}`
	over := `{"profiles": [{"name": "default", "mode": "ChainableRamRoleArn", "source_profile": "u", "ram_role_arn": "` + alisim.DefaultRoleARN +
		`"}, {"name": "u", "mode": "CredentialsURI", "credentials_uri": "` + uri + `"}]}`
	for name, env := range map[string][]string{
		"config.json":      home(t, config, ""),
		"source_profile":   home(t, over, ""),
		"INI file":         home(t, "", "[default]\ntype=credentials_uri\ncredentials_uri="+uri+"\n"),
		"variable":         {envNoIMDS, "true", "ALIBABA_CLOUD_CREDENTIALS_URI", uri},
		"variable, config": append(home(t, `{"profiles": [{"name": "default", "mode": "CredentialsURI"}]}`, ""), "ALIBABA_CLOUD_CREDENTIALS_URI", uri),
	} {
		for _, value := range []string{"", "no", "1", "True"} {
			chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment(append(env, envNoExternal, value)...), STSOptions: c.sts})
			if err != nil {
				t.Fatal(err)
			}
			_, err = chain.Retrieve(t.Context())
			if refused := value == "1" || value == "True"; refused {
				if wantError(t, err, envNoExternal+" forbids"); errors.Is(err, alicreds.ErrUnavailable) {
					t.Errorf("%s: a chain would go on after %v", name, err)
				}
			} else if err != nil && name != "source_profile" {
				t.Errorf("%s, %q: %v", name, value, err)
			}
		}
	}
}

// TestCloudSSOWriteBack: a session is kept in the file for the next process, as
// ending 5 s earlier.
func TestCloudSSOWriteBack(t *testing.T) {
	t.Parallel()
	c, path := modes(t)
	first := get(t, cliProfile(t, c.cli(t, path, "cloudsso")))
	kept := keysOf(t, path, 12)
	if kept["access_key_id"] != first.AccessKeyID || kept["sts_expiration"] != float64(first.Expiration.Add(-5*time.Second).Unix()) {
		t.Errorf("kept %v of a session until %s", kept, first.Expiration)
	}
	asked := c.calls("CloudSSO.CloudCredentials")
	if second := get(t, cliProfile(t, c.cli(t, path, "cloudsso"))); second.AccessKeyID != first.AccessKeyID || c.calls("CloudSSO.CloudCredentials") != asked {
		t.Errorf("the next process asked anew")
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := c.cli(t, file(t, strings.ReplaceAll(string(before), first.AccessKeyID, "")), "cloudsso")
	o.ReadOnly = true
	get(t, cliProfile(t, o))
	if after, _ := os.ReadFile(o.Path); string(after) != strings.ReplaceAll(string(before), first.AccessKeyID, "") {
		t.Error("ReadOnly wrote")
	}
}

func quoted(t *testing.T, s string) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestProfilesHalfWritten: not everybody replaces a file at once. Who reads it
// meanwhile waits for the rest.
func TestProfilesHalfWritten(t *testing.T) {
	t.Parallel()
	config := configWith("a", "a", "b", "c")
	const ini = "[default]\ntype = access_key\naccess_key_id = of a\naccess_key_secret = fake-secret\n"
	for name, tc := range map[string]struct {
		open        func(t *testing.T, path string) alicreds.Provider
		text, begun string
	}{
		"config.json, empty":      {aCLIProfile, config, ""},
		"config.json, half":       {aCLIProfile, config, config[:len(config)/2]},
		"INI file, empty":         {anINIProfile, ini, ""},
		"INI file, half a secret": {anINIProfile, ini, ini[:len(ini)-5]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, err := tc.open(t, fileInTheMaking(t, tc.begun, tc.text)).Retrieve(t.Context())
				if err != nil || got.AccessKeyID != "of a" || got.AccessKeySecret != "fake-secret" && got.AccessKeySecret != "s" {
					t.Errorf("got %s, %v", got, err)
				}
			})
		})
	}
}

func aCLIProfile(t *testing.T, path string) alicreds.Provider {
	return cliProfile(t, alicreds.CLIProfileOptions{Path: path})
}

func anINIProfile(t *testing.T, path string) alicreds.Provider {
	return profile(t, alicreds.ProfileOptions{Path: path})
}

// fileInTheMaking is a file that somebody has begun just now. All of the text is there
// 30 ms later, by the clock of the test's bubble, which is that of the file's times too.
func fileInTheMaking(t *testing.T, begun, text string) string {
	t.Helper()
	path := file(t, begun)
	stamp := func() {
		if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
			t.Error(err)
		}
	}
	stamp()
	time.AfterFunc(30*time.Millisecond, func() {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		stamp()
	})
	return path
}
