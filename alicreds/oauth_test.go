package alicreds_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func oauth(t *testing.T, tokens alicreds.OAuthTokens, o alicreds.OAuthOptions) alicreds.OAuth {
	t.Helper()
	p, err := alicreds.NewOAuth(tokens, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOAuth logs in at the simulator, whose refresh tokens work once.
func TestOAuth(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := oauth(t, alicreds.OAuthTokens{RefreshToken: alisim.DefaultRefreshToken}, alicreds.OAuthOptions{Site: "cn", HTTP: c.Client()})
	mustNotPrint(t, p, alisim.DefaultRefreshToken)
	for range 2 {
		got := get(t, p)
		if got.Source != "oauth" || got.Expired(time.Now()) {
			t.Errorf("got %s", got)
		}
		if who := c.who(t, got); !strings.Contains(who.ARN, "/local/") {
			t.Errorf("the session is %s's", who.ARN)
		}
	}
	if n := c.calls("OAuth.Token"); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// TestOAuthRenews keeps a login alive over its tokens' ends.
func TestOAuthRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed(), NoListen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		cache := alicreds.NewCache(oauth(t, alicreds.OAuthTokens{RefreshToken: alisim.DefaultRefreshToken},
			alicreds.OAuthOptions{Site: "CN", HTTP: &http.Client{Transport: sim.Transport()}}), alicreds.CacheOptions{})
		defer cache.Close()
		for range 3 * 60 {
			retrieve(t, cache)
			time.Sleep(time.Minute)
		}
	})
}

const (
	oauthTokenJSON   = `{"access_token":"fake-access-2","refresh_token":"fake-refresh-2","expires_in":3600,"token_type":"Bearer"}`
	oauthSessionJSON = `{"requestId":"R","accessKeyId":"STS.fakeid","accessKeySecret":"fake-session-secret",` +
		`"securityToken":"fake-session-token","expiration":"2999-01-01T00:00:00Z"}`
)

// authority is an OAuth server with one answer for each of its two paths.
func authority(t *testing.T, token, exchange http.HandlerFunc) *desk {
	t.Helper()
	return newDesk(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/token":
			token(w, r)
		case "/v1/exchange":
			exchange(w, r)
		default:
			t.Errorf("no such path: %s", r.URL.Path)
		}
	})
}

func (d *desk) paths() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var paths []string
	for _, r := range d.requests {
		paths = append(paths, strings.TrimPrefix(r.URL.Path, "/v1/"))
	}
	return strings.Join(paths, " ")
}

func (d *desk) oauth() alicreds.OAuthOptions {
	return alicreds.OAuthOptions{URL: d.URL, ClientID: "42"}
}

// TestOAuthKeepsRefreshToken: RFC 6749 lets a refresh answer leave the refresh
// token out, which then stays good.
func TestOAuthKeepsRefreshToken(t *testing.T) {
	t.Parallel()
	for name, body := range malformed(t, oauthTokenJSON, "refresh_token") {
		if strings.HasSuffix(name, "of the wrong type") {
			continue
		}
		d := authority(t, answers(200, body), answers(200, oauthSessionJSON))
		o := d.oauth()
		var saved alicreds.OAuthTokens
		o.Save = func(_ context.Context, tokens alicreds.OAuthTokens, _ alicreds.Credentials) error {
			saved = tokens
			return nil
		}
		get(t, oauth(t, alicreds.OAuthTokens{RefreshToken: fakeRefreshToken}, o))
		if saved.RefreshToken != fakeRefreshToken || saved.AccessToken != "fake-access-2" {
			t.Errorf("%s: kept neither or one", name)
		}
	}
}

func TestOAuthRequests(t *testing.T) {
	t.Parallel()
	d := authority(t, answers(200, oauthTokenJSON), answers(200, oauthSessionJSON))
	get(t, oauth(t, alicreds.OAuthTokens{RefreshToken: fakeRefreshToken}, d.oauth()))
	refresh, exchange := d.requests[0], d.requests[1]
	for name, want := range map[string]string{"grant_type": "refresh_token", "refresh_token": fakeRefreshToken, "client_id": "42"} {
		if got := refresh.PostForm.Get(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", refresh.PostForm.Get("Timestamp")); err != nil {
		t.Error(err)
	}
	if refresh.Method != "POST" || refresh.URL.RawQuery != "" || refresh.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("sent %s %s %v", refresh.Method, refresh.URL, refresh.Header)
	}
	if exchange.Method != "POST" || exchange.ContentLength != 0 || exchange.Header.Get("Content-Type") != "application/json" ||
		exchange.Header.Get("Authorization") != "Bearer fake-access-2" {
		t.Errorf("sent %s of %d bytes %v", exchange.Method, exchange.ContentLength, exchange.Header)
	}
}

// TestOAuthLead: an access token is renewed in its last 20 minutes.
func TestOAuthLead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tokens alicreds.OAuthTokens
		want   string
	}{
		"1500 s left":       {alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a", Expiration: time.Now().Add(1500 * time.Second)}, "exchange"},
		"1200 s left":       {alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a", Expiration: time.Now().Add(1200 * time.Second)}, "token exchange"},
		"900 s left":        {alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a", Expiration: time.Now().Add(900 * time.Second)}, "token exchange"},
		"ended":             {alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a", Expiration: time.Now().Add(-time.Second)}, "token exchange"},
		"end unknown":       {alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a"}, "token exchange"},
		"no access token":   {alicreds.OAuthTokens{RefreshToken: "r", Expiration: time.Now().Add(time.Hour)}, "token exchange"},
		"no refresh token":  {alicreds.OAuthTokens{AccessToken: "a", Expiration: time.Now().Add(900 * time.Second)}, "exchange"},
		"neither, no end":   {alicreds.OAuthTokens{AccessToken: "a"}, "exchange"},
		"nothing":           {alicreds.OAuthTokens{}, ""},
		"ended, no refresh": {alicreds.OAuthTokens{AccessToken: "a", Expiration: time.Now().Add(-time.Second)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := authority(t, answers(200, oauthTokenJSON), answers(200, oauthSessionJSON))
			_, err := oauth(t, c.tokens, d.oauth()).Retrieve(t.Context())
			if d.paths() != c.want {
				t.Errorf("called %q, want %q", d.paths(), c.want)
			}
			if c.want == "" {
				wantError(t, err, "log in again")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDefectD19: the exchange's reply is read in both spellings.
func TestDefectD19(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		oauthSessionJSON,
		`{"AccessKeyId":"STS.fakeid","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2999-01-01T00:00:00Z"}`,
	} {
		d := authority(t, answers(200, oauthTokenJSON), answers(200, reply))
		got := get(t, oauth(t, alicreds.OAuthTokens{AccessToken: "a"}, d.oauth()))
		if got.AccessKeyID != "STS.fakeid" || got.SecurityToken == "" || got.Expiration.IsZero() {
			t.Errorf("got %s", got)
		}
	}
}

func TestOAuthChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    alicreds.OAuthOptions
		want string
	}{
		"nothing":          {alicreds.OAuthOptions{}, "the URL: it is empty"},
		"no client":        {alicreds.OAuthOptions{URL: "https://example.com"}, "client id"},
		"no URL":           {alicreds.OAuthOptions{ClientID: "42"}, "the URL: it is empty"},
		"http":             {alicreds.OAuthOptions{URL: "http://example.com", ClientID: "42"}, "https"},
		"unknown site":     {alicreds.OAuthOptions{Site: "EU"}, "CN or INTL"},
		"site and another": {alicreds.OAuthOptions{Site: "CN", URL: "https://example.com"}, "either"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := alicreds.NewOAuth(alicreds.OAuthTokens{}, c.o)
			wantError(t, err, "oauth: ", c.want)
		})
	}
	if _, err := (alicreds.OAuth{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	tokens := alicreds.OAuthTokens{RefreshToken: fakeRefreshToken, AccessToken: fakeAccessToken}
	encoded, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %x %s", tokens, tokens, &tokens, tokens, tokens, tokens, encoded) + tokens.LogValue().String()
	if strings.Contains(text, "fake") || strings.Contains(text, fmt.Sprintf("%x", "fake")) {
		t.Errorf("tokens print: %s", text)
	}
}

func TestOAuthSites(t *testing.T) {
	t.Parallel()
	for site, want := range map[string]string{
		"CN": "oauth.aliyun.com 4038181954557748008", "cn": "oauth.aliyun.com 4038181954557748008",
		"INTL": "oauth.alibabacloud.com 4103531455503354461", "intl": "oauth.alibabacloud.com 4103531455503354461",
	} {
		var asked string
		hosts := roundTripper(func(r *http.Request) (*http.Response, error) {
			if err := r.ParseForm(); err != nil {
				return nil, err
			}
			asked = r.URL.Host + " " + r.PostForm.Get("client_id")
			return nil, errors.New("recorded")
		})
		p := oauth(t, alicreds.OAuthTokens{RefreshToken: "r"}, alicreds.OAuthOptions{Site: site, HTTP: &http.Client{Transport: hosts}})
		if _, err := p.Retrieve(t.Context()); err == nil || asked != want {
			t.Errorf("%s asked %s, want %s (%v)", site, asked, want, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOAuthRefreshRefuses(t *testing.T) {
	t.Parallel()
	bad := map[string]http.HandlerFunc{
		"401":                 answers(401, `{"error":"invalid_client"}`),
		"nothing in it":       answers(200, "{}"),
		"expires_in text":     answers(200, strings.Replace(oauthTokenJSON, "3600", `"3600"`, 1)),
		"expires_in negative": answers(200, strings.Replace(oauthTokenJSON, "3600", "-1", 1)),
		"expires_in 0":        answers(200, strings.Replace(oauthTokenJSON, "3600", "0", 1)),
		"expires_in huge":     answers(200, strings.Replace(oauthTokenJSON, "3600", "9223372036854775807", 1)),
	}
	for name, body := range malformed(t, oauthTokenJSON, "access_token", "refresh_token") {
		if strings.HasPrefix(name, "refresh_token ") && !strings.HasSuffix(name, "of the wrong type") {
			continue // TestOAuthKeepsRefreshToken
		}
		bad[name] = answers(200, body)
	}
	refuses(t, bad, func(url string) error {
		_, err := oauth(t, alicreds.OAuthTokens{RefreshToken: fakeRefreshToken}, alicreds.OAuthOptions{URL: url, ClientID: "42"}).Retrieve(t.Context())
		return err
	})
}

func TestOAuthExchangeRefuses(t *testing.T) {
	t.Parallel()
	bad := map[string]http.HandlerFunc{
		"error field":      answers(200, `{"error":"access_denied","error_description":"fake","requestId":"R"}`),
		"error and keys":   answers(200, strings.Replace(oauthSessionJSON, "{", `{"error":"fake words",`, 1)),
		"nothing in it":    answers(200, "{}"),
		"already expired":  answers(200, strings.Replace(oauthSessionJSON, "2999", "1999", 1)),
		"unreadable error": answers(400, `{"error":{"fake":1}}`),
	}
	for name, body := range malformed(t, oauthSessionJSON, "accessKeyId", "accessKeySecret", "securityToken", "expiration") {
		bad[name] = answers(200, body)
	}
	refuses(t, bad, func(url string) error {
		_, err := oauth(t, alicreds.OAuthTokens{AccessToken: fakeAccessToken}, alicreds.OAuthOptions{URL: url, ClientID: "42"}).Retrieve(t.Context())
		return err
	})
}

func TestOAuthRefusalIsTyped(t *testing.T) {
	t.Parallel()
	d := authority(t, answers(400, `{"error":"invalid_grant","error_description":"fake","requestId":"R1"}`), nil)
	_, err := oauth(t, alicreds.OAuthTokens{RefreshToken: "r"}, d.oauth()).Retrieve(t.Context())
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Code != "invalid_grant" || refused.RequestID != "R1" || refused.Status != 400 {
		t.Errorf("got %v", err)
	}
}

// TestOAuthLoginOver: an access token that is over is refused as expired_token,
// whatever the status, and the failure says where to read what to do.
func TestOAuthLoginOver(t *testing.T) {
	t.Parallel()
	const body = `{"error":"expired_token","error_description":"The access token is expired.","requestId":"R1"}`
	for _, status := range []int{200, 400, 401} {
		d := authority(t, nil, answers(status, body))
		_, err := oauth(t, alicreds.OAuthTokens{AccessToken: fakeAccessToken, Expiration: time.Now().Add(time.Hour)}, d.oauth()).Retrieve(t.Context())
		wantError(t, err, "OAuth exchange: expired_token (HTTP ", "RequestId R1", "#log-in-again")
	}
}

// TestOAuthServicesClock: an access token that the service takes for ended,
// whatever this clock says, is renewed; once.
func TestOAuthServicesClock(t *testing.T) {
	t.Parallel()
	fresh := alicreds.OAuthTokens{AccessToken: "a", RefreshToken: "r", Expiration: time.Now().Add(time.Hour)}
	over := answers(400, `{"error":"expired_token"}`)
	d := authority(t, answers(200, oauthTokenJSON), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer a" {
			over(w, r)
			return
		}
		answers(200, oauthSessionJSON)(w, r)
	})
	get(t, oauth(t, fresh, d.oauth()))
	if got := d.paths(); got != "exchange token exchange" {
		t.Errorf("called %s", got)
	}
	for name, c := range map[string]struct {
		refresh, exchange http.HandlerFunc
		code, calls       string
	}{
		"over again":     {answers(200, oauthTokenJSON), over, "expired_token", "exchange token exchange"},
		"refused":        {answers(400, `{"error":"invalid_grant"}`), over, "invalid_grant", "exchange token"},
		"another reason": {answers(200, oauthTokenJSON), answers(403, `{"error":"access_denied"}`), "access_denied", "exchange"},
	} {
		d := authority(t, c.refresh, c.exchange)
		_, err := oauth(t, fresh, d.oauth()).Retrieve(t.Context())
		wantError(t, err, c.code)
		if got := d.paths(); got != c.calls {
			t.Errorf("%s: called %s, want %s", name, got, c.calls)
		}
	}
}

// TestOAuthOutage: while the token service is down, an access token that
// has not ended is used.
func TestOAuthOutage(t *testing.T) {
	t.Parallel()
	tokens := alicreds.OAuthTokens{RefreshToken: "r", AccessToken: "a", Expiration: time.Now().Add(time.Minute)}
	down := authority(t, answers(503, ""), answers(200, oauthSessionJSON))
	get(t, oauth(t, tokens, down.oauth()))

	refused := authority(t, answers(400, `{"error":"invalid_grant"}`), answers(200, oauthSessionJSON))
	_, err := oauth(t, tokens, refused.oauth()).Retrieve(t.Context())
	wantError(t, err, "invalid_grant")
}

func TestOAuthSave(t *testing.T) {
	t.Parallel()
	d := authority(t, answers(200, oauthTokenJSON), answers(200, oauthSessionJSON))
	o := d.oauth()
	var saved []string
	o.Save = func(ctx context.Context, tokens alicreds.OAuthTokens, session alicreds.Credentials) error {
		saved = append(saved, fmt.Sprintf("%s %s %t %s (%s)", tokens.RefreshToken, tokens.AccessToken,
			time.Until(tokens.Expiration) > 59*time.Minute, session.AccessKeyID, d.paths()))
		return errors.New("disk full")
	}
	p := oauth(t, alicreds.OAuthTokens{RefreshToken: "r"}, o)
	get(t, p) // although Save fails
	want := []string{"fake-refresh-2 fake-access-2 true  (token)", "fake-refresh-2 fake-access-2 true STS.fakeid (token exchange)"}
	if fmt.Sprint(saved) != fmt.Sprint(want) {
		t.Errorf("saved %q, want %q", saved, want)
	}
	get(t, p)
	if got := d.paths(); got != "token exchange exchange" {
		t.Errorf("called %s: the new tokens are to be used", got)
	}
}

// TestOAuthSaveOutlivesItsCaller: the refresh token is spent, whoever has left.
func TestOAuthSaveOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	d := authority(t, answers(200, oauthTokenJSON), answers(200, oauthSessionJSON))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	o, saved := d.oauth(), ""
	o.Save = func(ctx context.Context, tokens alicreds.OAuthTokens, _ alicreds.Credentials) error {
		leave()
		if ctx.Err() == nil {
			saved = tokens.RefreshToken
		}
		return ctx.Err()
	}
	if _, err := oauth(t, alicreds.OAuthTokens{RefreshToken: "r"}, o).Retrieve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if saved != "fake-refresh-2" {
		t.Errorf("saved %q", saved)
	}
}

// TestOAuthConcurrent: a refresh token is sent once, however many ask.
func TestOAuthConcurrent(t *testing.T) {
	t.Parallel()
	d := authority(t, answers(200, oauthTokenJSON), answers(200, oauthSessionJSON))
	p := oauth(t, alicreds.OAuthTokens{RefreshToken: "r"}, d.oauth())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.Retrieve(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(d.paths(), "token"); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Retrieve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestOAuthOvertaken: somebody who takes no turns uses the refresh token up and
// writes its successor. Nobody has to log in again for that.
func TestOAuthOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed(), NoListen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		profile := func(token string) string {
			return `{"profiles":[{"name":"default","mode":"OAuth","oauth_site_type":"CN","oauth_refresh_token":"` + token + `"}]}`
		}
		over := func(path string, transport http.RoundTripper) alicreds.CLIProfile {
			return cliProfile(t, alicreds.CLIProfileOptions{
				Path: path, HTTP: &http.Client{Transport: transport},
				OnWriteError: func(err error) { t.Errorf("writing: %v", err) },
			})
		}
		path := file(t, profile(alisim.DefaultRefreshToken))
		var once sync.Once
		overtaken := roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/v1/token") {
				once.Do(func() { // before ours arrives, another's has
					next := file(t, profile(alisim.DefaultRefreshToken))
					get(t, over(next, sim.Transport()))
					text, err := os.ReadFile(next)
					if err != nil {
						t.Error(err)
					}
					for _, key := range []string{"access_key_id", "access_key_secret", "sts_token"} {
						text = []byte(strings.ReplaceAll(string(text), `"`+key+`"`, `"x_`+key+`"`)) // only the tokens
					}
					time.AfterFunc(150*time.Millisecond, func() {
						if err := os.WriteFile(path, text, 0o600); err != nil {
							t.Error(err)
						}
					})
				})
			}
			return sim.Transport().RoundTrip(r)
		})
		if got := get(t, over(path, overtaken)); got.Source != "cli_profile/oauth" {
			t.Errorf("got %s", got)
		}
	})
}
