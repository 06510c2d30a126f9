package alicreds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	typeOAuth = "oauth"

	oauthRefreshAction  = "OAuth token refresh"
	oauthExchangeAction = "OAuth exchange"

	// An access token is renewed in the last 20 minutes, as by all of
	// Alibaba Cloud's tools.
	oauthRefreshLead = 20 * time.Minute

	// RFC 6749 lets expires_in be left out. All of Alibaba Cloud's tools
	// that have a default take this one.
	oauthDefaultLife = time.Hour
)

// oauthSites are where a login of the aliyun CLI came from, with the id the
// CLI is registered under there. They are the same in all of its tools.
var oauthSites = map[string]struct{ url, client string }{
	"CN":   {"https://oauth.aliyun.com", "4038181954557748008"},
	"INTL": {"https://oauth.alibabacloud.com", "4103531455503354461"},
}

// OAuthTokens are what a login in the browser obtained. They print nothing.
type OAuthTokens struct {
	RefreshToken string    // may be empty: the login then ends with the access token
	AccessToken  string    // what sessions are obtained with
	Expiration   time.Time // of the access token; zero when it is not known
}

// String tells nothing.
func (OAuthTokens) String() string { return "OAuthTokens(****)" }

// Format prints String for every verb, %#v too.
func (t OAuthTokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalJSON encodes String.
func (t OAuthTokens) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// LogValue logs String.
func (t OAuthTokens) LogValue() slog.Value { return slog.StringValue(t.String()) }

// OAuthOptions of an OAuth.
type OAuthOptions struct {
	Site string // "CN" or "INTL", in any case: where the login came from

	URL, ClientID string // in place of a Site: both

	// Save is told about new tokens before they are used, with zero
	// Credentials, and again with the session that was obtained with them. A refresh token
	// is good for one use: whoever keeps the old one has to log in again.
	// When Save fails, Retrieve does not, and the OAuth goes on with the new
	// tokens.
	Save func(ctx context.Context, t OAuthTokens, session Credentials) error

	HTTP *http.Client // default: connects within 5 s, answers within 10 s
}

// OAuth exchanges the tokens of a login in the browser for a session. It is
// the mode OAuth of the aliyun CLI, which logs in. An access token in its last
// 20 minutes is renewed with the refresh token, which is replaced as well if the
// answer has another.
type OAuth struct {
	login sealed[*oauthLogin]
}

// oauthLogin is an OAuth's configuration. What changes is in the store.
type oauthLogin struct {
	url, client string
	http        *http.Client
	store       *oauthStore
}

// NewOAuth checks the options and sends nothing. The tokens are kept in
// memory.
func NewOAuth(tokens OAuthTokens, o OAuthOptions) (OAuth, error) {
	return newOAuth(newOAuthMemory(tokens, o.Save), o)
}

func newOAuth(store *oauthStore, o OAuthOptions) (OAuth, error) {
	l := &oauthLogin{url: o.URL, client: o.ClientID, http: loginClient(o.HTTP), store: store}
	if o.Site != "" {
		site, ok := oauthSites[strings.ToUpper(o.Site)]
		if !ok {
			return OAuth{}, failed(typeOAuth, "the site must be CN or INTL")
		}
		if o.URL != "" || o.ClientID != "" {
			return OAuth{}, failed(typeOAuth, "give either a site or a URL and a client id")
		}
		l.url, l.client = site.url, site.client
	}
	host, err := loginHost(l.url)
	switch {
	case err != nil:
		return OAuth{}, failed(typeOAuth, "the URL: %w", err)
	case l.client == "":
		return OAuth{}, failed(typeOAuth, "the client id is empty")
	}
	l.url = host
	return OAuth{login: seal(l)}, nil
}

// Retrieve returns the kept session while it is good for more than 15
// minutes, and otherwise a new one.
func (p OAuth) Retrieve(ctx context.Context) (Credentials, error) {
	if p.login == nil {
		return Credentials{}, failed(typeOAuth, "%w: it has no login", ErrUnavailable)
	}
	c, err := p.login().session(ctx)
	if err != nil {
		return Credentials{}, &Error{Source: typeOAuth, Err: err}
	}
	c.Source = typeOAuth
	return c, nil
}

func (l *oauthLogin) session(ctx context.Context) (Credentials, error) {
	kept, err := l.store.read(ctx)
	switch {
	case err != nil:
		return Credentials{}, err
	case kept.session.validFor(storedSessionLead):
		return kept.session, nil
	}
	if err := kept.tokens.over(true); err != nil && !kept.session.validFor(0) {
		return Credentials{}, err // which needs no turn
	}
	turn, err := l.store.begin(ctx)
	if err == nil {
		defer turn.end()
		kept = turn.oauthRecord
		if kept.session.validFor(storedSessionLead) { // somebody else was faster
			return kept.session, nil
		}
		err = l.renew(ctx, turn)
		if failureClass(err) == "log-in-again" && turn.overtaken(ctx) {
			if kept = turn.oauthRecord; kept.session.validFor(storedSessionLead) {
				return kept.session, nil
			}
			err = l.renew(ctx, turn)
		}
	}
	switch {
	case err == nil:
		return turn.session, nil
	case kept.session.validFor(0):
		return kept.session, nil
	}
	return Credentials{}, err
}

// renew gets a session, and an access token before if need be.
func (l *oauthLogin) renew(ctx context.Context, turn *oauthTurn) error {
	if err := turn.tokens.over(turn.mayRenew); err != nil {
		return err
	}
	renewable := turn.mayRenew && turn.tokens.RefreshToken != ""
	if renewable && (turn.tokens.AccessToken == "" || time.Until(turn.tokens.Expiration) <= oauthRefreshLead) {
		renewable = false // once is enough
		if err := l.renewTokens(ctx, turn); err != nil && (turn.tokens.accessOver() || !(&Error{Err: err}).Temporary()) {
			return err
		}
	}
	session, err := l.exchange(ctx, turn.tokens.AccessToken)
	if renewable && failureClass(err) == "log-in-again" { // the service's clock is the one that counts
		if err := l.renewTokens(ctx, turn); err != nil {
			return err
		}
		session, err = l.exchange(ctx, turn.tokens.AccessToken)
	}
	if err != nil {
		return err
	}
	turn.session = session
	turn.keep(ctx)
	return nil
}

// renewTokens keeps the new tokens before anything else can fail.
func (l *oauthLogin) renewTokens(ctx context.Context, turn *oauthTurn) error {
	tokens, err := l.refresh(ctx, turn.tokens.RefreshToken)
	if err == nil {
		turn.tokens = tokens
		turn.keep(ctx)
	}
	return err
}

func (t OAuthTokens) accessOver() bool {
	return t.AccessToken == "" || !t.Expiration.IsZero() && !time.Now().Before(t.Expiration)
}

// over tells why the tokens cannot obtain a session.
func (t OAuthTokens) over(mayRenew bool) error {
	const again = "log in again with `aliyun configure --mode OAuth`"
	switch {
	case !t.accessOver(), t.RefreshToken != "" && mayRenew:
		return nil
	case t.RefreshToken != "":
		return fmt.Errorf("the access token has ended, and the refresh token is not used because its successor could not be written to the file: allow writing, or %s", again)
	case t.AccessToken == "":
		return fmt.Errorf("there is neither an access token nor a refresh token: %s", again)
	}
	return fmt.Errorf("the login ended at %s and there is no refresh token: %s", t.Expiration.UTC().Format(time.RFC3339), again)
}

// refresh uses up a refresh token. It is never repeated: the token is used up
// also when the answer is lost.
func (l *oauthLogin) refresh(ctx context.Context, token string) (OAuthTokens, error) {
	asked := time.Now()
	var reply struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    *int64 `json:"expires_in"`
	}
	err := post(ctx, l.http, oauthRefreshAction, l.url+"/v1/token", formHeader(), url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {token},
		"client_id":     {l.client},
		"Timestamp":     {asked.UTC().Format("2006-01-02T15:04:05Z")},
	}.Encode(), &reply)
	switch {
	case err != nil:
		return OAuthTokens{}, err
	case reply.AccessToken == "":
		return OAuthTokens{}, errors.New(oauthRefreshAction + ": the reply has no access_token")
	case reply.ExpiresIn != nil && (*reply.ExpiresIn <= 0 || *reply.ExpiresIn > int64(maxTokenLife/time.Second)):
		return OAuthTokens{}, errors.New(oauthRefreshAction + ": the reply's expires_in is not a number of seconds from now")
	}
	life := oauthDefaultLife
	if reply.ExpiresIn != nil {
		life = time.Duration(*reply.ExpiresIn) * time.Second
	}
	// RFC 6749 lets the refresh token be left out: the old one goes on.
	return OAuthTokens{RefreshToken: cmp.Or(reply.RefreshToken, token), AccessToken: reply.AccessToken, Expiration: asked.Add(life)}, nil
}

const maxTokenLife = 10 * 365 * 24 * time.Hour

func formHeader() http.Header {
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}

// exchange turns an access token into a session. The reply's names come in
// camel case or in Pascal case, which are one to encoding/json.
func (l *oauthLogin) exchange(ctx context.Context, accessToken string) (Credentials, error) {
	var reply struct {
		temporaryKeys
		Error     string `json:"error"`
		RequestID string `json:"requestId"`
	}
	err := post(ctx, l.http, oauthExchangeAction, l.url+"/v1/exchange", http.Header{
		"Authorization": {"Bearer " + accessToken},
		"Content-Type":  {"application/json"},
	}, "", &reply)
	switch {
	case err != nil:
		return Credentials{}, err
	case reply.Error != "":
		return Credentials{}, &openapi.Error{Action: oauthExchangeAction, Status: http.StatusOK, Code: codeWord(reply.Error), RequestID: plainWord(reply.RequestID, 64)}
	}
	c, err := reply.temporaryKeys.credentials()
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", oauthExchangeAction, err)
	}
	return c, nil
}
