package differential

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const turnsEach = 20

// TestWriteBackTogether: the libraries take turns on one config.json, each of
// which ends what is kept there, so that it has to be renewed and written back.
// Once alicreds is killed after it has written new tokens and before it has their
// session. No login is lost; alicreds loses nothing that others have written.
func TestWriteBackTogether(t *testing.T) {
	b := newBed(t)
	libraries := b.libraries(t)
	for name, tc := range map[string]struct {
		profile string
		held    string // the call that obtains a session, and that alicreds is killed in
		unable  string // a library that cannot do it, as differential.golden knows
	}{
		"OAuth": {`"mode": "OAuth", "oauth_site_type": "CN", "oauth_refresh_token": "` + alisim.DefaultRefreshToken + `"`, "OAuth.Exchange", ""},
		"CloudSSO": {`"mode": "CloudSSO", "cloud_sso_sign_in_url": "https://signin-cn-shanghai.alibabacloudsso.com/alisim/login", ` +
			`"cloud_sso_account_id": "` + alisim.DefaultAccountID + `", "cloud_sso_access_config": "` + alisim.DefaultAccessConfiguration + `", ` +
			`"access_token": "` + alisim.DefaultCloudSSOToken + `", "cloud_sso_access_token_expire": {in an hour, unix}`,
			"CloudSSO.CloudCredentials", nodeName},
		"External": {`"mode": "External", "process_command": "cat '{home}/keys'"`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b.cloud.Reset()
			home := t.TempDir()
			fill := b.filler(t, setup{}, home)
			path := filepath.Join(home, cliFile)
			write(t, filepath.Join(home, "keys"), fill(`{"mode": "StsToken", "access_key_id": "{hub id}", "access_key_secret": "{hub secret}", "sts_token": "{hub token}", "expiration": "{in 10 min}"}`))
			write(t, path, fill(`{
	"current": "default",
	"profiles": [
		{"name": "default", `+tc.profile+`},
		{"name": "other", "mode": "AK", "access_key_id": "{id}", "access_key_secret": "{secret}"}
	]
}`))
			able := slices.DeleteFunc(slices.Clone(libraries), func(l library) bool { return l.name == tc.unable })
			lostLogins, lostKeys, turns := 0, 0, turnsEach*len(able)
			q := Question{Config: chain, Asks: 1, MetadataURL: b.cloud.IMDSURL}
			for turn := range turns {
				l := able[turn%len(able)]
				endKept(t, path)
				before := readConfig(t, path)
				if l.name == ourName && turn/len(able) == turnsEach/2 && tc.held != "" {
					b.killHeld(t, l, q, home, tc.held)
					before = nil
				}
				outcome := b.ask(t, l, q, home, "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true")
				if !strings.HasPrefix(outcome, "ok ") {
					lostLogins++
					t.Errorf("turn %d, %s: %s", turn, l.name, outcome)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode().Perm() != 0o600 {
					t.Fatalf("turn %d, %s: the mode is %v", turn, l.name, info.Mode())
				}
				after := readConfig(t, path)
				if l.name == ourName && before != nil && !reflect.DeepEqual(withoutKept(before), withoutKept(after)) {
					lostKeys++
					t.Errorf("turn %d: before\n%v\nafter\n%v", turn, before, after)
				}
			}
			sessions := 0
			for _, call := range b.cloud.Journal() {
				if call.Action == tc.held {
					sessions++
				}
			}
			if tc.held != "" && sessions < turns {
				t.Errorf("%d sessions in %d turns", sessions, turns)
			}
			t.Logf("%d turns of %d libraries, %d logins lost, %d keys of others lost", turns, len(able), lostLogins, lostKeys)
		})
	}
}

// killHeld asks a library, and kills it while a call has no answer.
func (b *bed) killHeld(t *testing.T, l library, q Question, home, action string) {
	t.Helper()
	b.cloud.AddFault(alisim.Fault{Action: action, Kind: alisim.FaultHold, Count: 1})
	defer b.cloud.ClearFaults()
	ctx, cancel := context.WithTimeout(t.Context(), childTime)
	defer cancel()
	cmd := b.command(ctx, t, l, q, home, "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.cloud.WaitFor(ctx, func(c alisim.Call) bool { return c.Held && c.Action == action }); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b.cloud.Release()
}

// keptKeys are what the libraries write into a profile.
var keptKeys = regexp.MustCompile(`^(access_key_id|access_key_secret|sts_token|sts_expiration|oauth_(access|refresh)_token(_expire)?)$`)

// ends are when what is kept is over.
var ends = regexp.MustCompile(`("(?:sts_expiration|oauth_access_token_expire)":\s*)\d+`)

// endKept ends what is kept in the file, and adds keys that no library knows.
func endKept(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := ends.ReplaceAllString(string(text), "${1}1")
	if !strings.Contains(changed, `"x_unknown"`) {
		changed = regexp.MustCompile(`("name":\s*"(default|other)")`).ReplaceAllString(changed, `$1, "x_unknown": {"a": [1.50, "ü"]}`)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readConfig(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return config
}

// withoutKept is the configuration but for what may be written into the profile
// that everybody uses.
func withoutKept(config map[string]any) map[string]any {
	for _, profile := range config["profiles"].([]any) {
		keys := profile.(map[string]any)
		for key := range keys {
			if keys["name"] == "default" && keptKeys.MatchString(key) {
				delete(keys, key)
			}
		}
	}
	return config
}
