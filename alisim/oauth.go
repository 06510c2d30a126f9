package alisim

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// OAuth is the authorization server of both sites, oauth.aliyun.com and oauth.alibabacloud.com; at the simulator's URL
// it knows the clients of both. A refresh token works once: the answer brings the next one.
type OAuth struct {
	Grants          []OAuthGrant `json:"grants,omitempty"`
	AccessTokenLife int          `json:"access_token_life,omitempty"` // seconds; default 3600
	SessionDuration int          `json:"session_duration,omitempty"`  // of exchanged sessions, in seconds; default 3600
	PascalCase      bool         `json:"pascal_case,omitempty"`       // /v1/exchange answers AccessKeyId instead of accessKeyId
	// ReuseRefreshTokens leaves a refresh token alive when it is used, and hands out no other.
	ReuseRefreshTokens bool `json:"reuse_refresh_tokens,omitempty"`
}

// OAuthGrant is the consent of a person to work through a client, whose sessions are those of a role.
type OAuthGrant struct {
	ClientID              string    `json:"client_id,omitempty"`              // default OAuthClientCN
	RefreshToken          string    `json:"refresh_token,omitempty"`          // single use
	AccessToken           string    `json:"access_token,omitempty"`           // optional
	AccessTokenExpiration time.Time `json:"access_token_expiration,omitzero"` // zero: never
	RoleARN               string    `json:"role_arn"`
}

// String leaves the tokens out.
func (g OAuthGrant) String() string { return "OAuthGrant{" + g.ClientID + " " + g.RoleARN + "}" }

// GoString leaves the tokens out.
func (g OAuthGrant) GoString() string { return g.String() }

// LogValue leaves the tokens out.
func (g OAuthGrant) LogValue() slog.Value { return slog.StringValue(g.String()) }

type oauthAccessToken struct {
	grant   OAuthGrant
	expires time.Time // zero: has no end
}

// oauthClient says whether a host knows a client.
func oauthClient(host, id string) bool {
	switch host {
	case oauthHostCN:
		return id == OAuthClientCN
	case oauthHostIntl:
		return id == OAuthClientIntl
	}
	return id == OAuthClientCN || id == OAuthClientIntl
}

// serveOAuth is the door of the authorization server. Its actions are OAuth.Token and OAuth.Exchange.
func (s *Server) serveOAuth(w http.ResponseWriter, r *http.Request) {
	action := map[string]string{"/v1/token": "OAuth.Token", "/v1/exchange": "OAuth.Exchange"}[r.URL.Path]
	c := s.newCall(r, "OAuth", action)
	deny := func(p *problem) answer {
		return jsonAnswer(p.status, p.code, object{{"error", p.code}, {"error_description", p.message}, {"requestId", c.RequestID}})
	}
	var form url.Values
	var malformed *problem
	if action == "OAuth.Token" {
		form, malformed = readForm(r)
	}
	for _, name := range []string{"grant_type", "client_id", "refresh_token"} {
		switch {
		case name == "refresh_token" && form.Has(name):
			c.Params[name] = "[redacted]"
		case form.Has(name):
			c.Params[name] = form.Get(name)
		}
	}
	s.exchange(w, r, c, door{
		deny: deny,
		apply: func() answer {
			switch {
			case action == "":
				return deny(refuse(http.StatusNotFound, "not_found", "There is nothing at this path."))
			case r.Method != http.MethodPost:
				return deny(refuse(http.StatusMethodNotAllowed, "invalid_request", "Only POST is served."))
			}
			if malformed != nil {
				return deny(malformed)
			}
			now := s.Now()
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			if action == "OAuth.Exchange" {
				a, refused := s.store.exchangeToken(bearerOf(r), c, now)
				if refused != nil {
					return deny(refused)
				}
				return a
			}
			out, refused := s.store.refreshGrant(form, hostOf(r.Host), c, now)
			if refused != nil {
				return deny(refused)
			}
			return jsonAnswer(http.StatusOK, "", out)
		},
	})
}

// readForm reads a form body; no body is an empty form.
func readForm(r *http.Request) (url.Values, *problem) {
	if r.Body == nil {
		return url.Values{}, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || len(body) == 0 {
		return url.Values{}, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil, refuse(http.StatusBadRequest, "invalid_request", "The body is not a form.")
	}
	return form, nil
}

func (st *store) refreshGrant(form url.Values, host string, c *Call, now time.Time) (object, *problem) {
	switch {
	case form.Get("grant_type") != "refresh_token":
		return nil, refuse(http.StatusBadRequest, "unsupported_grant_type", "Only refresh_token is served.")
	case form.Get("refresh_token") == "":
		return nil, refuse(http.StatusBadRequest, "invalid_request", "refresh_token is mandatory.")
	case !oauthClient(host, form.Get("client_id")):
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "The client is unknown at this site.")
	}
	old := form.Get("refresh_token")
	grant, alive := st.sources.refreshTokens[old]
	if grant.ClientID == "" {
		grant.ClientID = OAuthClientCN
	}
	if !alive || grant.ClientID != form.Get("client_id") {
		return nil, refuse(http.StatusBadRequest, "invalid_grant", "The refresh token is invalid, expired or used.")
	}
	config := st.sources.config.OAuth
	refresh := old
	if !config.ReuseRefreshTokens {
		refresh = "alisim-refresh-" + randomText(40)
		delete(st.sources.refreshTokens, old)
		st.sources.refreshTokens[refresh] = grant
	}
	life := seconds(config.AccessTokenLife, 3600)
	access := "alisim-access-" + randomText(40)
	st.sources.accessTokens[access] = oauthAccessToken{grant: grant, expires: now.Add(life)}
	st.secrets = append(st.secrets, refresh, access)
	c.Applied = true
	return object{
		{"access_token", access},
		{"token_type", "Bearer"},
		{"expires_in", int(life / time.Second)},
		{"refresh_token", refresh},
		{"scope", "/internal/ram/usersts"},
	}, nil
}

func (st *store) exchangeToken(token string, c *Call, now time.Time) (answer, *problem) {
	access, known := st.sources.accessTokens[token]
	switch {
	case !known:
		return answer{}, refuse(http.StatusUnauthorized, "invalid_token", "The access token is invalid.")
	case !access.expires.IsZero() && !now.Before(access.expires):
		return answer{}, refuse(http.StatusUnauthorized, "expired_token", "The access token is expired.")
	}
	c.Signature = "token"
	ro := st.roleByARN(access.grant.RoleARN, now)
	if ro == nil {
		return answer{}, refuse(http.StatusForbidden, "access_denied", "The identity of the grant does not exist any more.")
	}
	se := st.grant(ro, "oauth-user", seconds(st.sources.config.OAuth.SessionDuration, 3600), now)
	c.Applied, c.Principal = true, se.principal().arn()
	a := jsonAnswer(http.StatusOK, "", append(st.keyFields(se), field{"RequestId", c.RequestID}))
	if !st.sources.config.OAuth.PascalCase {
		a = a.malform("camel_case")
	}
	return a, nil
}
