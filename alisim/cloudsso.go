package alisim

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CloudSSO is a CloudSSO directory: who is signed in, and which access configurations lead to which roles. It answers
// under every host below alibabacloudsso.com, and at the simulator's URL.
type CloudSSO struct {
	AccessTokens         []AccessToken         `json:"access_tokens,omitempty"`
	AccessConfigurations []AccessConfiguration `json:"access_configurations,omitempty"`
	AccessTokenLife      int                   `json:"access_token_life,omitempty"` // of tokens that a login gives, in seconds; default 28800
	// ManualApproval makes a login wait until ApproveDevice; otherwise the first poll after the login page would be shown
	// succeeds.
	ManualApproval bool `json:"manual_approval,omitempty"`
}

// AccessToken is what a sign-in to CloudSSO has given.
type AccessToken struct {
	Token      string    `json:"token"`
	Expiration time.Time `json:"expiration,omitzero"` // zero: never
}

// String leaves the token out.
func (t AccessToken) String() string { return "AccessToken{" + t.Expiration.Format(time.RFC3339) + "}" }

// GoString leaves the token out.
func (t AccessToken) GoString() string { return t.String() }

// LogValue leaves the token out.
func (t AccessToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// AccessConfiguration lets everybody who is signed in work as a role.
type AccessConfiguration struct {
	ID       string `json:"id"` // for example ac-00fixture
	RoleARN  string `json:"role_arn"`
	Duration int    `json:"duration,omitempty"` // of the sessions, in seconds; default 3600
}

const (
	deviceLife     = 10 * time.Minute
	deviceInterval = 5 // seconds
	deviceGrant    = "urn:ietf:params:oauth:grant-type:device_code"
)

// device is a login that is under way.
type device struct {
	userCode  string
	clientID  string
	challenge string
	approved  bool
	expires   time.Time
}

// ApproveDevice lets the login with that user code succeed, as a person would in the browser.
func (s *Server) ApproveDevice(userCode string) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, d := range s.store.sources.devices {
		if d.userCode == userCode {
			d.approved = true
			return nil
		}
	}
	return fmt.Errorf("alisim: no login waits for the user code %q", userCode)
}

// ssoPage is a path of CloudSSO: its action in the journal, the method, and how it is answered.
type ssoPage struct {
	action string
	method string
	handle func(*store, map[string]string, *http.Request, *Call, time.Time) (object, *problem)
}

func ssoPages() map[string]ssoPage {
	return map[string]ssoPage{
		"/cloud-credentials":    {"CloudSSO.CloudCredentials", http.MethodPost, (*store).cloudCredentials},
		"/device-authorization": {"CloudSSO.DeviceAuthorization", http.MethodPost, (*store).authorizeDevice},
		"/token":                {"CloudSSO.Token", http.MethodPost, (*store).deviceToken},

		"/access-assignments/accounts":              {"CloudSSO.ListAccounts", http.MethodGet, (*store).ssoAccounts},
		"/access-assignments/access-configurations": {"CloudSSO.ListAccessConfigurations", http.MethodGet, (*store).ssoConfigurations},
	}
}

// serveCloudSSO is the door of CloudSSO. Its actions are those of ssoPages.
func (s *Server) serveCloudSSO(w http.ResponseWriter, r *http.Request) {
	h, found := ssoPages()[r.URL.Path]
	c := s.newCall(r, "CloudSSO", h.action)
	deny := func(p *problem) answer {
		return jsonAnswer(p.status, p.code, object{{"ErrorCode", p.code}, {"ErrorMessage", p.message}, {"RequestId", c.RequestID}})
	}
	in, malformed := readSSOParams(r)
	for name, value := range in {
		if name == "DeviceCode" || name == "CodeVerifier" {
			value = "[redacted]"
		}
		c.Params[name] = value
	}
	s.exchange(w, r, c, door{
		deny: deny,
		apply: func() answer {
			switch {
			case !found:
				return deny(refuse(http.StatusNotFound, "NotFound", "There is nothing at this path."))
			case r.Method != h.method:
				return deny(refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only "+h.method+" is served."))
			}
			if malformed != nil {
				return deny(malformed)
			}
			now := s.Now()
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			out, refused := h.handle(s.store, in, r, c, now)
			if refused != nil {
				return deny(refused)
			}
			return jsonAnswer(http.StatusOK, "", append(out, field{"RequestId", c.RequestID}))
		},
	})
}

// readSSOParams reads the query of a GET, and a JSON object of strings otherwise.
func readSSOParams(r *http.Request) (map[string]string, *problem) {
	if r.Method == http.MethodGet {
		in := map[string]string{}
		for name := range r.URL.Query() {
			in[name] = r.URL.Query().Get(name)
		}
		return in, nil
	}
	malformed := refuse(http.StatusBadRequest, "InvalidParameterError", "The body is not a JSON object of strings.")
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return nil, refuse(http.StatusBadRequest, "InvalidParameterError", "The content type is not application/json.")
	}
	if r.Body == nil {
		return nil, malformed
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	var in map[string]string
	if err != nil || json.Unmarshal(body, &in) != nil || in == nil {
		return nil, malformed
	}
	return in, nil
}

// ssoRefusal looks at the form of an account id and then at the access token: in this order, as the service does.
func (st *store) ssoRefusal(in map[string]string, r *http.Request, c *Call, now time.Time) *problem {
	end, known := st.sources.ssoTokens[bearerOf(r)]
	switch {
	case strings.Trim(in["AccountId"], "0123456789") != "":
		return invalidChars("AccountId")
	case !known:
		return refuse(http.StatusUnauthorized, "InvalidAccessTokenError", "The access token is invalid.")
	case !end.IsZero() && !now.Before(end):
		return refuse(http.StatusUnauthorized, "AccessTokenExpiredError", "The access token is expired.")
	}
	c.Signature = "token"
	return nil
}

// ssoAccounts lists the accounts in which an access configuration is provisioned.
func (st *store) ssoAccounts(in map[string]string, r *http.Request, c *Call, now time.Time) (object, *problem) {
	if refused := st.ssoRefusal(in, r, c, now); refused != nil {
		return nil, refused
	}
	names := map[string]string{} // by id
	for _, ac := range st.sources.config.CloudSSO.AccessConfigurations {
		id := roleARNPattern.FindStringSubmatch(ac.RoleARN)[1]
		names[id] = id
		if a := st.accounts[id]; a != nil {
			names[id] = a.label()
		}
	}
	part, more, refused := st.ssoPart(in, slices.Sorted(maps.Keys(names)))
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, id := range part {
		list = append(list, object{{"AccountId", id}, {"DisplayName", names[id]}})
	}
	return append(object{{"Accounts", list}}, more...), nil
}

// ssoConfigurations lists the access configurations of an account.
func (st *store) ssoConfigurations(in map[string]string, r *http.Request, c *Call, now time.Time) (object, *problem) {
	if refused := st.ssoRefusal(in, r, c, now); refused != nil {
		return nil, refused
	}
	if in["AccountId"] == "" {
		return nil, refuse(http.StatusBadRequest, "InvalidParameterError", "AccountId is mandatory for this action.")
	}
	var ids []string
	for _, ac := range st.sources.config.CloudSSO.AccessConfigurations {
		if roleARNPattern.FindStringSubmatch(ac.RoleARN)[1] == in["AccountId"] {
			ids = append(ids, ac.ID)
		}
	}
	slices.Sort(ids)
	part, more, refused := st.ssoPart(in, slices.Compact(ids))
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, id := range part {
		list = append(list, object{{"AccessConfigurationId", id}, {"AccessConfigurationName", id}, {"AccessConfigurationDescription", ""}})
	}
	return append(object{{"AccessConfigurationsForAccount", list}}, more...), nil
}

// ssoPart cuts a sorted list by NextToken and MaxResults (1 to 100, default 10).
func (st *store) ssoPart(in map[string]string, names []string) (part []string, more object, refused *problem) {
	limit := 10
	if text := in["MaxResults"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return nil, nil, refuse(http.StatusBadRequest, "InvalidParameterError", "MaxResults must be 1 to 100.")
		}
		limit = n
	}
	if most := st.settings.PageLimit; most > 0 {
		limit = min(limit, most)
	}
	if token := in["NextToken"]; token != "" {
		after, ok := decodeMarker(token)
		if !ok {
			return nil, nil, refuse(http.StatusBadRequest, "InvalidParameterError", "NextToken is invalid.")
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name <= after })
	}
	if len(names) <= limit {
		return names, object{{"IsTruncated", false}}, nil
	}
	return names[:limit], object{{"IsTruncated", true}, {"NextToken", encodeMarker(names[limit-1])}}, nil
}

func (st *store) cloudCredentials(in map[string]string, r *http.Request, c *Call, now time.Time) (object, *problem) {
	if refused := st.ssoRefusal(in, r, c, now); refused != nil {
		return nil, refused
	}
	for _, name := range []string{"AccountId", "AccessConfigurationId"} {
		if in[name] == "" {
			return nil, refuse(http.StatusBadRequest, "InvalidParameterError", name+" is mandatory for this action.")
		}
	}
	configurations := st.sources.config.CloudSSO.AccessConfigurations
	i := slices.IndexFunc(configurations, func(ac AccessConfiguration) bool {
		parts := roleARNPattern.FindStringSubmatch(ac.RoleARN)
		return ac.ID == in["AccessConfigurationId"] && parts[1] == in["AccountId"]
	})
	if i < 0 {
		return nil, refuse(http.StatusForbidden, "NoPermissionError", "The access configuration is not provisioned to you in this account.")
	}
	ro := st.roleByARN(configurations[i].RoleARN, now)
	if ro == nil {
		return nil, refuse(http.StatusNotFound, "EntityNotExistError", "The role of the access configuration does not exist.")
	}
	se := st.grant(ro, "cloudsso-user", seconds(configurations[i].Duration, 3600), now)
	c.Applied, c.Principal = true, se.principal().arn()
	return object{{"CloudCredential", st.keyFields(se)}}, nil
}

func (st *store) authorizeDevice(in map[string]string, _ *http.Request, c *Call, now time.Time) (object, *problem) {
	for _, name := range []string{"PortalUrl", "ClientId", "CodeChallenge"} {
		if in[name] == "" {
			return nil, refuse(http.StatusBadRequest, "InvalidParameterError", name+" is mandatory for this action.")
		}
	}
	if in["CodeChallengeMethod"] != "S256" {
		return nil, refuse(http.StatusBadRequest, "InvalidParameterError", "CodeChallengeMethod must be S256.")
	}
	for code, d := range st.sources.devices {
		if !now.Before(d.expires) {
			delete(st.sources.devices, code)
		}
	}
	d := &device{
		userCode: strings.ToUpper(randomText(4) + "-" + randomText(4)), clientID: in["ClientId"], challenge: in["CodeChallenge"],
		approved: !st.sources.config.CloudSSO.ManualApproval, expires: now.Add(deviceLife),
	}
	code := randomText(40)
	st.sources.devices[code] = d
	st.secrets = append(st.secrets, code)
	c.Applied = true
	return object{
		{"DeviceCode", code},
		{"UserCode", d.userCode},
		{"VerificationUri", in["PortalUrl"] + "/device"},
		{"VerificationUriComplete", in["PortalUrl"] + "/device?user_code=" + d.userCode},
		{"ExpiresIn", int(deviceLife / time.Second)},
		{"Interval", deviceInterval},
	}, nil
}

func (st *store) deviceToken(in map[string]string, _ *http.Request, c *Call, now time.Time) (object, *problem) {
	if in["GrantType"] != deviceGrant {
		return nil, refuse(http.StatusBadRequest, "InvalidParameterError", "GrantType must be "+deviceGrant+".")
	}
	d := st.sources.devices[in["DeviceCode"]]
	sum := sha256.Sum256([]byte(in["CodeVerifier"]))
	switch {
	case d == nil || !now.Before(d.expires) || d.clientID != in["ClientId"]:
		return nil, refuse(http.StatusBadRequest, "InvalidDeviceCodeError", "The device code is invalid or expired.")
	case base64.RawURLEncoding.EncodeToString(sum[:]) != d.challenge:
		return nil, refuse(http.StatusBadRequest, "InvalidParameterError", "CodeVerifier does not match the code challenge.")
	case !d.approved:
		return nil, refuse(http.StatusBadRequest, "AuthorizationPending", "The login is not approved yet.")
	}
	delete(st.sources.devices, in["DeviceCode"])
	life := seconds(st.sources.config.CloudSSO.AccessTokenLife, 28800)
	token := "alisim-sso-" + randomText(40)
	st.sources.ssoTokens[token] = now.Add(life)
	st.secrets = append(st.secrets, token)
	c.Applied = true
	return object{{"AccessToken", token}, {"TokenType", "Bearer"}, {"ExpiresIn", int(life / time.Second)}}, nil
}
