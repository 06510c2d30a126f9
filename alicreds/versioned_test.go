package alicreds_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"text/template"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// agentFile is a file that Vault Agent renders from a template of examples/agent,
// and the provider that reads it.
var agentFiles = map[string]func(t *testing.T, path string) alicreds.Provider{
	"config.json": func(t *testing.T, path string) alicreds.Provider {
		return cliProfile(t, alicreds.CLIProfileOptions{Path: path})
	},
	"credentials.ini": func(t *testing.T, path string) alicreds.Provider {
		return profile(t, alicreds.ProfileOptions{Path: path, Getenv: environment()})
	},
	"external.json": func(t *testing.T, path string) alicreds.Provider {
		// A process cannot run on the simulated clock.
		return alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return readPrinted(path) })
	},
}

// readPrinted is an External whose command is cat.
func readPrinted(path string) (alicreds.Credentials, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return alicreds.Credentials{}, err
	}
	var printed struct {
		ID     string    `json:"access_key_id"`
		Secret string    `json:"access_key_secret"`
		Token  string    `json:"sts_token"`
		End    time.Time `json:"expiration"`
	}
	err = json.Unmarshal(text, &printed)
	return alicreds.Credentials{AccessKeyID: printed.ID, AccessKeySecret: printed.Secret, SecurityToken: printed.Token, Expiration: printed.End}, err
}

// render is what the template makes of an answer of Vault.
func render(t *testing.T, name string, data map[string]any) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", "agent", name+".ctmpl"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := template.New(name).Funcs(template.FuncMap{
		"secret": func(string) map[string]any { return map[string]any{"Data": data} },
		"toJSON": func(v any) (string, error) { text, err := json.Marshal(v); return string(text), err },
	}).Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, data); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestAgentNeverServesTheDead: for six hours Vault Agent renders the keys of a
// role anew, and a program that uses them every five seconds, or now and then,
// never gets any that have ended. Sessions are rendered at 0.6 of their life, as
// examples/agent/agent.hcl says, and a RAM user's keys shortly before its max_ttl,
// which is when the Agent can renew the lease no longer.
func TestAgentNeverServesTheDead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		life, after time.Duration // of one rendering; until the next
		session     bool
	}{
		"session of 15 minutes":            {15 * time.Minute, 9 * time.Minute, true},
		"session of 20 minutes":            {20 * time.Minute, 12 * time.Minute, true},
		"session of 30 minutes":            {30 * time.Minute, 18 * time.Minute, true},
		"session of 45 minutes":            {45 * time.Minute, 27 * time.Minute, true},
		"session, agent at its default":    {15 * time.Minute, 13*time.Minute + 30*time.Second, true},
		"RAM user at its max_ttl of 1 h":   {time.Hour, 54 * time.Minute, false},
		"RAM user at its max_ttl of 15 m.": {15 * time.Minute, 13*time.Minute + 30*time.Second, false},
	} {
		for kind, open := range agentFiles {
			for _, pause := range []time.Duration{5 * time.Second, 7 * time.Minute, 59 * time.Minute} {
				t.Run(fmt.Sprintf("%s/%s/used every %v", name, kind, pause), func(t *testing.T) {
					t.Parallel()
					path := file(t, "")
					synctest.Test(t, func(t *testing.T) {
						ends := map[string]time.Time{}
						renderings := 0
						renew := func() {
							renderings++
							id := fmt.Sprintf("LTAI%06d", renderings)
							data := map[string]any{"access_key": id, "secret_key": "s", "expiration": time.Now().Add(tc.life).UTC().Format(time.RFC3339)}
							if tc.session {
								data["security_token"] = "t"
							}
							ends[id] = time.Now().Add(tc.life)
							if err := os.WriteFile(path+".new", []byte(render(t, kind, data)), 0o600); err != nil {
								t.Fatal(err)
							}
							if err := os.Rename(path+".new", path); err != nil {
								t.Fatal(err)
							}
						}
						renew()
						start, next := time.Now(), time.Now().Add(tc.after)
						cache := alicreds.NewCache(open(t, path), alicreds.CacheOptions{})
						defer cache.Close()
						get(t, cache)
						var dead time.Duration
						for use := start; time.Since(start) < 6*time.Hour; {
							use = use.Add(pause)
							for ; !next.After(use); next = next.Add(tc.after) {
								time.Sleep(time.Until(next))
								renew()
							}
							time.Sleep(time.Until(use))
							if got := get(t, cache); !time.Now().Before(ends[got.AccessKeyID]) {
								dead += pause
							}
						}
						if dead != 0 || renderings < 6 {
							t.Errorf("%v of dead keys in six hours and %d renderings", dead, renderings)
						}
						t.Logf("dead seconds %.0f", dead.Seconds())
					})
				})
			}
		}
	}
}

// TestCacheNoticesChanges: a change is noticed within a second and waited for; a
// file that is half written is not believed, and one that stays broken is an
// error after a few seconds.
func TestCacheNoticesChanges(t *testing.T) {
	t.Parallel()
	path, ini := file(t, ""), file(t, "")
	section := func(id string) string {
		return "[default]\ntype = access_key\naccess_key_id = " + id + "\naccess_key_secret = s\n"
	}
	for name, tc := range map[string]struct {
		provider alicreds.Provider
		path     string
		text     func(id string) string
		broken   string
	}{
		"config.json": {cliProfile(t, alicreds.CLIProfileOptions{Path: path}), path, func(id string) string {
			return `{"current": "a", "profiles": [{"name": "a", "mode": "AK", "access_key_id": "` + id + `", "access_key_secret": "s"}]}`
		}, `{"current": "a", "prof`},
		"INI file": {profile(t, alicreds.ProfileOptions{Path: ini}), ini, section, section("x")[:30]},
		"chain": {alicreds.NewChain(alicreds.ChainOptions{}, alicreds.NewEnvironment(environment()), profile(t, alicreds.ProfileOptions{Path: ini})),
			ini, section, section("x")[:30]},
	} {
		synctest.Test(t, func(t *testing.T) {
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(tc.path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wait := func(d time.Duration) { time.Sleep(d) }
			write(tc.text("a"))
			cache := alicreds.NewCache(tc.provider, alicreds.CacheOptions{})
			defer cache.Close()
			step := func(what, want string) {
				t.Helper()
				if got, err := cache.Retrieve(t.Context()); got.AccessKeyID != want || (err == nil) != (want != "") {
					t.Errorf("%s, %s: got %s, %v; want %s", name, what, got.AccessKeyID, err, want)
				}
			}
			step("first", "a")
			write(tc.text("b"))
			wait(time.Second)
			step("changed", "b")
			write(tc.broken)
			wait(time.Second)
			step("half written", "b")
			wait(time.Second)
			step("still", "b")
			write(tc.text("c"))
			wait(time.Second)
			step("written", "c")
			write(tc.broken)
			wait(time.Second)
			step("half written", "c")
			wait(5 * time.Second)
			step("broken", "")
			wait(time.Hour)
			step("for an hour", "")
			write(tc.text("d"))
			wait(30 * time.Second) // a back-off, if there is one
			step("mended", "d")
			if err := os.Remove(tc.path); err != nil {
				t.Fatal(err)
			}
			wait(time.Second)
			step("removed", "d")
			wait(5 * time.Second)
			step("gone", "")
		})
	}
}

// TestVersion: what a profile does not go by does not change its version, nor does
// what it writes back itself.
func TestVersion(t *testing.T) {
	t.Parallel()
	const base = `{"current": "a", "profiles": [{"name": "a", "mode": "ChainableRamRoleArn", "ram_role_arn": "` + roleARN + `", "source_profile": "b"},
		{"name": "b", "mode": "External", "process_command": "x"}, {"name": "c", "mode": "AK"}]}`
	path := file(t, base)
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path})
	first := p.Version(t.Context())
	for change, another := range map[[2]string]bool{
		{`"c", "mode": "AK"`, `"c", "mode": "AK", "access_key_id": "i"`}: false,
		{`"x"`, `"x", "access_key_id": "i", "sts_expiration": 5`}:        false,
		{`"current"`, `"meta_path": "/", "current"`}:                     false,
		{`"x"`, `"y"`}: true,
		{`"source_profile": "b"`, `"source_profile": "c"`}: true,
		{`"current": "a"`, `"current": "b"`}:               true,
		{`}]}`, `}`}:                                       true,
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(base, change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := p.Version(t.Context()) != first; got != another {
			t.Errorf("%s for %s: another version is %t, want %t", change[1], change[0], got, another)
		}
	}
	if v := (alicreds.CLIProfile{}).Version(t.Context()); v != "" {
		t.Errorf("the zero value has the version %q", v)
	}
	if v := (alicreds.Profile{}).Version(t.Context()); v != "" {
		t.Errorf("the zero value has the version %q", v)
	}
}

// TestVersionWriteBack: a profile that has written back what it obtained is not
// asked again for that.
func TestVersionWriteBack(t *testing.T) {
	t.Parallel()
	c, path := modes(t)
	for _, name := range []string{"cloudsso", "oauth", "external", "chain over oauth"} {
		p := cliProfile(t, c.cli(t, path, name))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		version := p.Version(t.Context())
		get(t, p)
		if after, _ := os.ReadFile(path); name != "chain over oauth" && string(after) == string(text) {
			t.Errorf("%s wrote nothing", name)
		}
		if p.Version(t.Context()) != version {
			t.Errorf("%s has another version", name)
		}
	}
}
