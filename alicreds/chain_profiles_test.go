package alicreds_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// home is a home directory with a config.json, an INI file, or both.
func home(t *testing.T, config, ini string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{".aliyun/config.json": config, ".alibabacloud/credentials": ini} {
		if text == "" {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"HOME", dir, "USERPROFILE", dir}
}

const iniKeys = "[default]\ntype=access_key\naccess_key_id=of ini\naccess_key_secret=s\n[both]\ntype=access_key\naccess_key_id=of ini, both\naccess_key_secret=s\n"

// TestDefaultProfiles: where profiles stand in the default chain, and what
// makes it pass on or stop.
func TestDefaultProfiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config, ini string
		env         []string
		want        string // id, or text of the error
		source      string
	}{
		"both":                        {configWith("a", "a"), iniKeys, nil, "of a", "default/cli_profile/access_key"},
		"keys in variables":           {configWith("a", "a"), iniKeys, []string{envID, "of env", envSecret, "s"}, "of env", "default/env"},
		"config.json disabled":        {configWith("a", "a"), iniKeys, []string{envNoCLI, "true"}, "of ini", "default/profile/access_key"},
		"no config.json":              {"", iniKeys, nil, "of ini", "default/profile/access_key"},
		"config.json not filled in":   {`{"current":"default","profiles":[{"name":"default","mode":""}]}`, iniKeys, nil, "of ini", "default/profile/access_key"},
		"profile of the INI file":     {configWith("a", "a"), iniKeys, []string{envProfile, "both"}, "of ini, both", "default/profile/access_key"},
		"profile of config.json":      {configWith("a", "a", "both"), iniKeys, []string{envProfile, "both"}, "of both", "default/cli_profile/access_key"},
		"profile of neither":          {configWith("a", "a"), iniKeys, []string{envProfile, "gone"}, `ALIBABA_CLOUD_PROFILE asks for the profile "gone", which no file has`, ""},
		"INI section disabled":        {"", "[default]\nenable=false\n", nil, "STS.fakeid", "default/ecs_ram_role"},
		"neither":                     {"", "", nil, "STS.fakeid", "default/ecs_ram_role"},
		"config.json is broken":       {"{", iniKeys, nil, "it is not JSON from line 1 on", ""},
		"config.json lacks keys":      {`{"profiles":[{"name":"default","mode":"AK"}]}`, iniKeys, nil, "access_key_id", ""},
		"current profile is gone":     {configWith("gone", "a"), iniKeys, nil, `no profile "gone"`, ""},
		"INI file is broken":          {"", "[default", nil, "line 1", ""},
		"INI section has wrong type":  {"", "[default]\ntype=sdk\n", nil, "the type sdk", ""},
		"source is not set up either": {`{"profiles":[{"name":"default","mode":"ChainableRamRoleArn","source_profile":"a","ram_role_arn":"` + roleARN + `"},{"name":"a"}]}`, iniKeys, nil, "has no mode yet", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := place(t, newInstance(t), append(tc.env, home(t, tc.config, tc.ini)...)...)
			got, err := chain.Retrieve(t.Context())
			if tc.source == "" {
				wantError(t, err, tc.want)
				if errors.Is(err, alicreds.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || got.AccessKeyID != tc.want || got.Source != tc.source {
				t.Errorf("got %s, %v; want %s from %s", got, err, tc.want, tc.source)
			}
		})
	}
	_, err := place(t, offECS(t), envProfile, "gone").Retrieve(t.Context())
	wantError(t, err, "cli_profile: not set up: there is no file ", "profile: not set up: there is no file ")
	if text := err.Error(); strings.Index(text, "cli_profile") > strings.Index(text, "\n  - profile") {
		t.Errorf("in another order: %v", err)
	}
}

// TestDefectD17: what reads profiles starts nothing that goes on by itself,
// and sees the environment as it is when it is asked.
func TestDefectD17(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine stays
		path := file(t, configWith("a", "a", "b"))
		profile := "a"
		getenv := func(name string) string { return map[string]string{envProfile: profile, envConfigFile: path}[name] }
		chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: getenv})
		if err != nil {
			t.Fatal(err)
		}
		alone := cliProfile(t, alicreds.CLIProfileOptions{Getenv: getenv})
		for _, profile = range []string{"a", "b"} {
			if got := get(t, chain); got.AccessKeyID != "of "+profile {
				t.Errorf("the chain has %s, want %s", got.AccessKeyID, profile)
			}
			if got := get(t, alone); got.AccessKeyID != "of "+profile {
				t.Errorf("the profile has %s, want %s", got.AccessKeyID, profile)
			}
		}
	})
}
