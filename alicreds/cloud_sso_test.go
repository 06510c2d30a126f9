package alicreds_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	signInURL        = "https://signin-fixture.alibabacloudsso.com/start?x=1"
	fakeAccessToken  = "fake-access-token"
	fakeRefreshToken = "fake-refresh-token"
)

func cloudSSOOptions(url string) alicreds.CloudSSOOptions {
	return alicreds.CloudSSOOptions{
		SignInURL: url, AccountID: "1234567890123456", AccessConfig: alisim.DefaultAccessConfiguration,
		AccessTokenExpiration: time.Now().Add(time.Hour),
	}
}

func cloudSSO(t *testing.T, token string, o alicreds.CloudSSOOptions) alicreds.CloudSSO {
	t.Helper()
	p, err := alicreds.NewCloudSSO(token, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCloudSSO(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	o := cloudSSOOptions(signInURL)
	o.HTTP = c.Client()
	p := cloudSSO(t, alisim.DefaultCloudSSOToken, o)
	got := get(t, p)
	if got.Source != "cloud_sso" || got.Expired(time.Now()) || got.Expiration.IsZero() {
		t.Errorf("got %s", got)
	}
	if who := c.who(t, got); !strings.Contains(who.ARN, "/local/") {
		t.Errorf("the session is %s's", who.ARN)
	}
	mustNotPrint(t, p, alisim.DefaultCloudSSOToken)
}

// TestCloudSSOLoginOver: whatever the code, a 401 is about the access token.
func TestCloudSSOLoginOver(t *testing.T) {
	t.Parallel()
	o := cloudSSOOptions(signInURL)
	o.HTTP = newCloud(t).Client()
	_, err := cloudSSO(t, fakeAccessToken, o).Retrieve(t.Context())
	wantError(t, err, "(HTTP 401", "#log-in-again")
}

const cloudSSOJSON = `{"CloudCredential":{"AccessKeyId":"STS.fakeid","AccessKeySecret":"fake-session-secret",` +
	`"SecurityToken":"fake-session-token","Expiration":"2999-01-01T00:00:00Z"},"RequestId":"6894B13B-0000-5000-8000-000000000000"}`

// TestDefectD20: the request says which account and configuration it is for.
func TestDefectD20(t *testing.T) {
	t.Parallel()
	var body string
	d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(sent)
		answers(200, cloudSSOJSON)(w, r)
	})
	get(t, cloudSSO(t, fakeAccessToken, cloudSSOOptions(d.URL+"/start/me?a=b")))
	r := d.only(t)
	if want := `{"AccessConfigurationId":"` + alisim.DefaultAccessConfiguration + `","AccountId":"1234567890123456"}`; body != want {
		t.Errorf("sent %s, want %s", body, want)
	}
	if r.Method != "POST" || r.RequestURI != "/cloud-credentials" ||
		r.Header.Get("Authorization") != "Bearer "+fakeAccessToken || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("sent %s %s %v", r.Method, r.RequestURI, r.Header)
	}
}

func TestCloudSSOChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token string
		spoil func(*alicreds.CloudSSOOptions)
		want  string
	}{
		"no URL":           {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.SignInURL = "" }, "the sign-in URL: it is empty"},
		"bad URL":          {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.SignInURL = "https://a b:c" }, "not a URL"},
		"http":             {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.SignInURL = "http://example.com" }, "https"},
		"ftp":              {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.SignInURL = "ftp://example.com" }, "https"},
		"password":         {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.SignInURL = "https://a:fake@example.com" }, "password"},
		"no account":       {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.AccountID = "" }, "account id"},
		"no configuration": {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.AccessConfig = "" }, "access configuration"},
		"no token":         {"", func(*alicreds.CloudSSOOptions) {}, "log in again"},
		"no expiration":    {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.AccessTokenExpiration = time.Time{} }, "log in again"},
		"expired":          {fakeAccessToken, func(o *alicreds.CloudSSOOptions) { o.AccessTokenExpiration = time.Now().Add(-time.Second) }, "log in again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := cloudSSOOptions(signInURL)
			c.spoil(&o)
			_, err := alicreds.NewCloudSSO(c.token, o)
			wantError(t, err, "cloud_sso: ", c.want)
			if errors.Is(err, alicreds.ErrUnavailable) || strings.Contains(err.Error(), "fake") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := (alicreds.CloudSSO{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
}

// refuses sends answers that no login may be fooled by, and checks what all
// errors have in common.
func refuses(t *testing.T, bad map[string]http.HandlerFunc, retrieve func(url string) error) {
	t.Helper()
	for name, answer := range map[string]http.HandlerFunc{
		"not JSON":  answers(200, "<html>fake-session-secret</html>"),
		"null":      answers(200, "null"),
		"array":     answers(200, "[]"),
		"string":    answers(200, `"fake-session-secret"`),
		"empty":     answers(200, ""),
		"too large": answers(200, `{"a":"`+strings.Repeat("x", 64<<10)+`"}`),
		"201":       answers(201, cloudSSOJSON),
		"400":       answers(400, `{"error":"fake session secret!","requestId":"R1"}`),
		"500":       answers(500, "fake-session-secret"),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		bad[name] = answer
	}
	for name, answer := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answer)
			err := retrieve(d.URL)
			if err == nil {
				t.Fatal("no error")
			}
			for _, secret := range []string{"fake", d.URL} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes %q: %v", secret, err)
				}
			}
			if errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("it is set up, and says otherwise: %v", err)
			}
			d.only(t)
		})
	}
}

func TestCloudSSORefuses(t *testing.T) {
	t.Parallel()
	bad := map[string]http.HandlerFunc{"no credential": answers(200, "{}"), "null credential": answers(200, `{"CloudCredential":null}`)}
	for name, body := range malformed(t, cloudSSOJSON, "CloudCredential", "CloudCredential.AccessKeyId",
		"CloudCredential.AccessKeySecret", "CloudCredential.SecurityToken", "CloudCredential.Expiration") {
		bad[name] = answers(200, body)
	}
	refuses(t, bad, func(url string) error {
		_, err := cloudSSO(t, fakeAccessToken, cloudSSOOptions(url)).Retrieve(t.Context())
		return err
	})
}

func TestCloudSSORefusalIsTyped(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(403, `{"ErrorCode":"AccessConfigurationNotAssigned","ErrorMessage":"fake","RequestId":"6894B13B-0000-5000-8000-000000000000"}`))
	_, err := cloudSSO(t, fakeAccessToken, cloudSSOOptions(d.URL)).Retrieve(t.Context())
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Code != "AccessConfigurationNotAssigned" || refused.RequestID != "6894B13B-0000-5000-8000-000000000000" || refused.Status != 403 {
		t.Errorf("got %v", err)
	}
}

func TestCloudSSOKeptSession(t *testing.T) {
	t.Parallel()
	session := alicreds.Credentials{AccessKeyID: "kept", AccessKeySecret: "s", SecurityToken: "t"}
	for name, c := range map[string]struct {
		left   time.Duration
		status int
		token  time.Duration
		want   string
		calls  int
	}{
		"good":                                {time.Hour, 200, time.Hour, "kept", 0},
		"good, login over":                    {time.Hour, 200, -time.Hour, "kept", 0},
		"ends soon":                           {10 * time.Minute, 200, time.Hour, "STS.fakeid", 1},
		"ends soon, no other":                 {10 * time.Minute, 503, time.Hour, "kept", 1},
		"ends soon, login over":               {10 * time.Minute, 200, -time.Hour, "kept", 0},
		"ended":                               {-time.Second, 200, time.Hour, "STS.fakeid", 1},
		"ended, no other: it is never served": {-time.Second, 503, time.Hour, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answers(c.status, cloudSSOJSON))
			o := cloudSSOOptions(d.URL)
			o.Session = session
			o.Session.Expiration = time.Now().Add(c.left)
			o.AccessTokenExpiration = time.Now().Add(c.token)
			got, err := cloudSSO(t, fakeAccessToken, o).Retrieve(t.Context())
			if got.AccessKeyID != c.want || (err == nil) != (c.want != "") || len(d.requests) != c.calls {
				t.Errorf("got %s, %v after %d calls", got, err, len(d.requests))
			}
			if err == nil && got.Source != "cloud_sso" {
				t.Errorf("its source is %s", got.Source)
			}
		})
	}
}
