package alicreds_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// keysOf are the members of the profile at that place in the list.
func keysOf(t *testing.T, path string, place int) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Profiles []map[string]any }
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	return config.Profiles[place]
}

// writebackCloud has a role that the sessions of logins may assume.
func writebackCloud(t *testing.T) cloud {
	t.Helper()
	seed := alisim.SourcesSeed()
	account := &seed.Accounts[0]
	for i := range account.Roles {
		account.Roles[i].Policies = append(account.Roles[i].Policies, "AliyunSTSAssumeRoleAccess")
	}
	account.Roles = append(account.Roles, alisim.Role{Name: "spoke", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID)})
	return newCloudOf(t, seed)
}

// writebackFile is the fixture, and its text.
func writebackFile(t *testing.T) (path, text string) {
	t.Helper()
	command, err := json.Marshal(commandLine("print", fmt.Sprintf(`{"mode":"AK","access_key_id":%q,"access_key_secret":%q}`,
		alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)))
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(fixture(t, "cli_writeback.json"), `"$COMMAND"`, string(command), 1)
	return file(t, text), text
}

// withoutLines is text but for the lines that contain one of the words.
func withoutLines(text string, words ...string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, `"`+word+`"`) })
	}), "\n")
}

// TestDefectD06: writing changes the keys of the one profile, and no other
// byte, link or mode.
func TestDefectD06(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"oauth", "chain", "chain of chains"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			c := writebackCloud(t)
			target, before := writebackFile(t)
			if err := os.Chmod(target, 0o640); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "config.json")
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			get(t, cliProfile(t, c.cli(t, link, profile)))

			written, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			changed := []string{"oauth_refresh_token", "oauth_access_token", "oauth_access_token_expire", "access_key_id", "access_key_secret", "sts_token", "sts_expiration"}
			// What is new comes behind the last key, which gets a comma.
			after := strings.Replace(withoutLines(string(written), changed...), `"bearer_token": "kept",`, `"bearer_token": "kept"`, 1)
			if want := withoutLines(before, changed...); after != want {
				t.Errorf("got:\n%s\nwant:\n%s", after, want)
			}
			keys := keysOf(t, target, 1)
			for _, key := range changed {
				if v := keys[key]; v == nil || v == "" || v == 0 || v == "old" || v == alisim.DefaultRefreshToken {
					t.Errorf("%s is %v", key, v)
				}
			}
			if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("the link is %v, %v", info, err)
			}
			if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the file is %v, %v", info, err)
			}
			onlyFiles(t, filepath.Dir(target), "file", "file.lock")
		})
	}
}

// onlyFiles wants no others in the directory, and no lock that others may read.
func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
		if info, err := entry.Info(); err != nil || entry.Type().IsRegular() && strings.HasSuffix(entry.Name(), ".lock") && info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("the directory holds %q, want %q", names, want)
	}
}

// TestDefectD08: what an External obtained goes to its own profile, also
// when a chain asked for it.
func TestDefectD08(t *testing.T) {
	t.Parallel()
	c := writebackCloud(t)
	path, before := writebackFile(t)
	get(t, cliProfile(t, c.cli(t, path, "chain over external")))
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	added := fmt.Sprintf(`"sts_expiration": 7, "access_key_id": %q, "access_key_secret": %q}`, alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
	if want := strings.Replace(before, `"sts_expiration": 7}`, added, 1); string(written) != want {
		t.Errorf("got:\n%s\nwant:\n%s", written, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	get(t, cliProfile(t, c.cli(t, path, "external")))
	if again, err := os.Stat(path); err != nil || !os.SameFile(info, again) {
		t.Errorf("the file was written although nothing changed: %v", err)
	}
}

func TestWriteBackExternalExpiration(t *testing.T) {
	t.Parallel()
	in1h := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	command, err := json.Marshal(commandLine("print", `{"mode": "StsToken", "access_key_id": "i<&>", "access_key_secret": "s", "sts_token": "t", "expiration": "`+in1h.Format(time.RFC3339)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, `{"profiles":[{"name":"default","mode":"External","process_command":`+string(command)+`,"sts_token":"old"}]}`)
	get(t, cliProfile(t, alicreds.CLIProfileOptions{Path: path}))
	keys := keysOf(t, path, 0)
	if keys["access_key_id"] != "i<&>" || keys["access_key_secret"] != "s" || keys["sts_token"] != "t" || keys["sts_expiration"] != float64(in1h.Unix()) {
		t.Errorf("got %v", keys)
	}
}

func TestWriteBackReadOnly(t *testing.T) {
	t.Parallel()
	c := writebackCloud(t)
	path, before := writebackFile(t)
	o := c.cli(t, path, "external")
	o.ReadOnly = true
	get(t, cliProfile(t, o))

	o.Profile = "oauth"
	_, err := cliProfile(t, o).Retrieve(t.Context())
	wantError(t, err, "the refresh token is not used")
	if n := c.calls("OAuth.Token"); n != 0 {
		t.Errorf("%d refresh tokens were used up", n)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != before {
		t.Errorf("the file was written, %v", err)
	}
	onlyFiles(t, filepath.Dir(path), "file")

	// An access token that is still good is enough.
	d := authority(t, nil, answers(200, oauthSessionJSON))
	path = file(t, fmt.Sprintf(`{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":"r",
		"oauth_access_token":"a","oauth_access_token_expire":%d}]}`, time.Now().Add(time.Minute).Unix()))
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path, ReadOnly: true, HTTP: d.client()})
	for range 2 {
		get(t, p)
	}
	if d.paths() != "exchange" {
		t.Errorf("called %s", d.paths())
	}
	onlyFiles(t, filepath.Dir(path), "file")

	// What is kept in memory belongs to a login that has been replaced.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"oauth_access_token":"a"`, `"oauth_access_token":"b"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	get(t, p)
	if d.paths() != "exchange exchange" || d.requests[1].Header.Get("Authorization") != "Bearer b" {
		t.Errorf("called %s", d.paths())
	}
}

// client sends every request to the desk, whatever its host.
func (d *desk) client() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		u, err := url.Parse(d.URL)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = u.Scheme, u.Host
		return http.DefaultTransport.RoundTrip(r)
	})}
}

// TestWriteBackFails: the credentials are good all the same, the failure is
// told, no temporary file stays, and the tokens of the login go on in memory.
func TestWriteBackFails(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"lock is a directory": func(path string) error { return os.Mkdir(path+".lock", 0o700) },
		"file is read-only":   func(path string) error { return os.Chmod(path, 0o400) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := writebackCloud(t)
			path, before := writebackFile(t)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			var failures []error
			o := c.cli(t, path, "oauth")
			o.OnWriteError = func(err error) { failures = append(failures, err) }
			p := cliProfile(t, o)
			for range 3 {
				get(t, p)
			}
			if len(failures) == 0 {
				t.Error("nobody was told")
			}
			for _, err := range failures {
				wantError(t, err, "cli_profile/oauth: ", path)
				if strings.Contains(err.Error(), "alisim") {
					t.Errorf("a token is printed: %v", err)
				}
			}
			if n := c.calls("OAuth.Token"); n != 1 {
				t.Errorf("%d refresh tokens were used, want 1", n)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != before {
				t.Errorf("the file was written, %v", err)
			}
			o.Profile, failures = "external", nil
			get(t, cliProfile(t, o))
			if len(failures) != 1 {
				t.Errorf("told of %v", failures)
			}
			wantError(t, errors.Join(failures...), "cli_profile/external: ")
		})
	}
}

// TestWriteBackProfileGone: the file changes while the login is renewed.
func TestWriteBackProfileGone(t *testing.T) {
	t.Parallel()
	var path string
	d := authority(t, answers(200, oauthTokenJSON), func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(path, []byte(configWith("a", "a")), 0o600); err != nil {
			t.Error(err)
		}
		answers(200, oauthSessionJSON)(w, r)
	})
	path = file(t, `{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":"r"}]}`)
	var failures []error
	p := cliProfile(t, alicreds.CLIProfileOptions{Path: path, HTTP: d.client(), OnWriteError: func(err error) { failures = append(failures, err) }})
	get(t, p)
	if len(failures) != 1 {
		t.Fatalf("told of %v", failures)
	}
	wantError(t, failures[0], `it has no profile "default" any more`)
	if text, err := os.ReadFile(path); err != nil || string(text) != configWith("a", "a") {
		t.Errorf("the file holds %s, %v", text, err)
	}
	onlyFiles(t, filepath.Dir(path), "file", "file.lock")
}

// TestWriteBackBeforeUse: a new refresh token is in the file before the
// exchange is asked for, so that a crash there costs no login.
func TestWriteBackBeforeUse(t *testing.T) {
	t.Parallel()
	var path string
	d := authority(t, answers(200, oauthTokenJSON), func(w http.ResponseWriter, r *http.Request) {
		keys := keysOf(t, path, 0)
		if keys["oauth_refresh_token"] != "fake-refresh-2" || keys["oauth_access_token"] != "fake-access-2" {
			t.Errorf("at the exchange the file holds %v", slices.Sorted(maps.Keys(keys)))
		}
		answers(503, "")(w, r)
	})
	path = file(t, `{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":"r"}]}`)
	_, err := cliProfile(t, alicreds.CLIProfileOptions{Path: path, HTTP: d.client()}).Retrieve(t.Context())
	wantError(t, err, "OAuth exchange", "503")
}

// TestWriteBackLoggedInAgain: somebody logs in while the session of the last
// login is under way. The aliyun CLI does so without a lock.
func TestWriteBackLoggedInAgain(t *testing.T) {
	t.Parallel()
	var path string
	config := func(refresh string) string {
		return fmt.Sprintf(`{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":%q,
			"oauth_access_token":"a","oauth_access_token_expire":%d}]}`, refresh, time.Now().Add(time.Hour).Unix())
	}
	d := authority(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(path, []byte(config("of the new login")), 0o600); err != nil {
			t.Error(err)
		}
		answers(200, oauthSessionJSON)(w, r)
	})
	path = file(t, config("of the last login"))
	get(t, cliProfile(t, alicreds.CLIProfileOptions{Path: path, HTTP: d.client()}))
	if keys := keysOf(t, path, 0); keys["oauth_refresh_token"] != "of the new login" || keys["access_key_id"] != "STS.fakeid" {
		t.Errorf("the file holds %v", keys)
	}
}

func TestWriteBackConcurrent(t *testing.T) {
	t.Parallel()
	c := writebackCloud(t)
	path, _ := writebackFile(t)
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			profile := []string{"oauth", "external"}[i%2]
			for range 3 {
				if _, err := cliProfile(t, c.cli(t, path, profile)).Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := c.calls("OAuth.Token"); n != 1 {
		t.Errorf("%d refreshes for one that lasts an hour", n)
	}
	if n := c.calls("OAuth.Exchange"); n != 1 {
		t.Errorf("%d exchanges for a session that lasts an hour", n)
	}
	if id := keysOf(t, path, 2)["access_key_id"]; id != alisim.DefaultAccessKeyID {
		t.Errorf("external has the id %v", id)
	}
}

// TestDefectD07: processes that use one login take turns. Each refresh token
// works once, and every session ends too soon to be shared, so that a lost
// update would end the login.
func TestDefectD07(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	seed := alisim.SourcesSeed()
	seed.Sources.OAuth.AccessTokenLife = 600
	seed.Sources.OAuth.SessionDuration = 900
	c := newCloudOf(t, seed)
	path, before := writebackFile(t)
	ca := file(t, string(c.CACertPEM()))
	const processes, times = 4, 5
	var all sync.WaitGroup
	for range processes {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "ALICREDS_COMMAND", "login", path, c.ProxyURL, ca, fmt.Sprint(times))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	if n := c.calls("OAuth.Token"); n != processes*times {
		t.Errorf("%d refreshes, want %d", n, processes*times)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(written), `"unknown": [ 1.0 , 10000000000000000000001 ],`) || len(written) < len(before) {
		t.Errorf("the file is\n%s", written)
	}
	get(t, cliProfile(t, c.cli(t, path, "oauth"))) // the login goes on
}

// login is one of commands: it uses the login of a config.json.
func login(args []string) int {
	fail := func(err error) int {
		fmt.Println(err)
		return 1
	}
	proxy, err := url.Parse(args[1])
	if err != nil {
		return fail(err)
	}
	ca, err := os.ReadFile(args[2])
	if err != nil {
		return fail(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fail(errors.New("no CA"))
	}
	times, err := strconv.Atoi(args[3])
	if err != nil {
		return fail(err)
	}
	status := 0
	p, err := alicreds.NewCLIProfile(alicreds.CLIProfileOptions{
		Path: args[0], Profile: "oauth", Getenv: environment(),
		HTTP:         &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}},
		OnWriteError: func(err error) { status = fail(err) },
	})
	if err != nil {
		return fail(err)
	}
	for range times {
		if _, err := p.Retrieve(context.Background()); err != nil {
			return fail(err)
		}
	}
	return status
}
