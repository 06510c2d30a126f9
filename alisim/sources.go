package alisim

import (
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sources is what hands out sessions beside STS: the metadata service of an ECS instance, a credentials URI, CloudSSO
// and OAuth. It reads and writes as JSON with the field names in snake case; durations are seconds.
type Sources struct {
	Instance        Instance         `json:"instance"`
	CredentialsURIs []CredentialsURI `json:"credentials_uris"`
	CloudSSO        CloudSSO         `json:"cloud_sso"`
	OAuth           OAuth            `json:"oauth"`
}

// What SourcesSeed adds to DefaultSeed. The tokens open nothing but a simulator.
const (
	DefaultNodeRoleARN         = "acs:ram::1234567890123456:role/node"  // of the ECS instance
	DefaultPodRoleARN          = "acs:ram::1234567890123456:role/pod"   // trusts DefaultOIDCProviderARN
	DefaultLocalRoleARN        = "acs:ram::1234567890123456:role/local" // of the credentials URI, CloudSSO and OAuth
	DefaultOIDCProviderARN     = "acs:ram::1234567890123456:oidc-provider/alisim"
	DefaultIssuerName          = "alisim" // of the issuer that DefaultOIDCProviderARN registers
	DefaultAudience            = "sts.aliyuncs.com"
	DefaultSubject             = "system:serviceaccount:default:app"
	DefaultAccessConfiguration = "ac-alisim00000000000000"
	DefaultCloudSSOToken       = "alisim-is-not-a-real-cloudsso-token"
	DefaultRefreshToken        = "alisim-is-not-a-real-refresh-token"
	DefaultBearerToken         = "alisim-is-not-a-real-bearer-token"
	OAuthClientCN              = "4038181954557748008" // client id of the CLI at oauth.aliyun.com
	OAuthClientIntl            = "4103531455503354461" // and at oauth.alibabacloud.com
)

// SourcesSeed is DefaultSeed with something behind every door: a role "node" attached to the ECS instance, an OIDC
// provider whose service account "default/app" may assume the role "pod", and a role "local" that the path /credentials
// of the credentials URI, the CloudSSO access configuration and the OAuth grant of the Chinese site lead to.
func SourcesSeed() Seed {
	seed := DefaultSeed()
	a := &seed.Accounts[0]
	a.Users[0].BearerTokens = []BearerToken{{Token: DefaultBearerToken}}
	a.OIDCProviders = []OIDCProvider{{
		Name: "alisim", IssuerURL: "https://" + issuerHost + "/" + DefaultIssuerName, ClientIDs: []string{DefaultAudience},
	}}
	a.Roles = append(a.Roles,
		Role{
			Name: "node", Description: "Of the ECS instance.", Policies: []string{"AliyunOSSReadOnlyAccess"},
			TrustPolicy: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":["ecs.aliyuncs.com"]}}]}`,
		},
		Role{
			Name: "pod", Description: "Of the service accounts of a cluster.", Policies: []string{"AliyunOSSReadOnlyAccess"},
			TrustPolicy: Document(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",` +
				`"Principal":{"Federated":["` + DefaultOIDCProviderARN + `"]},` +
				`"Condition":{"StringEquals":{"oidc:iss":"https://` + issuerHost + "/" + DefaultIssuerName + `","oidc:aud":"` + DefaultAudience + `"},` +
				`"StringLike":{"oidc:sub":"system:serviceaccount:default:*"}}}]}`),
		},
		Role{
			Name: "local", Description: "Of people and of local agents.", Policies: []string{"AliyunOSSReadOnlyAccess"},
			TrustPolicy: TrustAccount(DefaultAccountID),
		},
	)
	seed.Sources = &Sources{
		Instance:        Instance{RoleARN: DefaultNodeRoleARN},
		CredentialsURIs: []CredentialsURI{{Path: "/credentials", RoleARN: DefaultLocalRoleARN}},
		CloudSSO: CloudSSO{
			AccessTokens:         []AccessToken{{Token: DefaultCloudSSOToken}},
			AccessConfigurations: []AccessConfiguration{{ID: DefaultAccessConfiguration, RoleARN: DefaultLocalRoleARN}},
		},
		OAuth: OAuth{Grants: []OAuthGrant{{ClientID: OAuthClientCN, RefreshToken: DefaultRefreshToken, RoleARN: DefaultLocalRoleARN}}},
	}
	return seed
}

// Sources returns what hands out sessions as it is configured now.
func (s *Server) Sources() Sources {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return s.store.sources.config.clone()
}

// SetSources replaces the configuration of what hands out sessions; Reset brings back that of the seed. Sessions and
// tokens handed out before stay good, and a token that is used up does not come back by being listed again.
func (s *Server) SetSources(config Sources) error {
	if err := config.validate(); err != nil {
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.setSources(config)
	return nil
}

// sourceState is the state behind Sources, guarded by the lock of the store.
type sourceState struct {
	config        Sources
	providers     map[string]*oidcProvider    // by ARN
	keyPairs      map[string]*keyPair         // by id
	bearers       map[string]*bearerHolder    // by token
	metadata      map[string]time.Time        // tokens of the metadata service and their ends
	instance      instanceKeys                // what the metadata service answers at the moment
	ssoTokens     map[string]time.Time        // zero: has no end
	devices       map[string]*device          // by device code
	refreshTokens map[string]OAuthGrant       // those that still work
	accessTokens  map[string]oauthAccessToken // of OAuth
	seen          map[string]bool             // configured tokens that were taken over before
}

func newSourceState() sourceState {
	return sourceState{
		providers: map[string]*oidcProvider{}, keyPairs: map[string]*keyPair{}, bearers: map[string]*bearerHolder{},
		metadata: map[string]time.Time{}, ssoTokens: map[string]time.Time{}, devices: map[string]*device{},
		refreshTokens: map[string]OAuthGrant{}, accessTokens: map[string]oauthAccessToken{}, seen: map[string]bool{},
	}
}

// setSources takes over a configuration that was found good.
func (st *store) setSources(config Sources) {
	config = config.clone()
	state := &st.sources
	state.config = config
	fresh := func(token string) bool {
		if token == "" || state.seen[token] {
			return false
		}
		state.seen[token] = true
		st.secrets = append(st.secrets, token)
		return true
	}
	for _, t := range config.CloudSSO.AccessTokens {
		if fresh(t.Token) {
			state.ssoTokens[t.Token] = t.Expiration
		}
	}
	for _, g := range config.OAuth.Grants {
		if fresh(g.RefreshToken) {
			state.refreshTokens[g.RefreshToken] = g
		}
		if fresh(g.AccessToken) {
			state.accessTokens[g.AccessToken] = oauthAccessToken{grant: g, expires: g.AccessTokenExpiration}
		}
	}
}

// checkIdentities refuses seeded OIDC providers, key pairs and bearer tokens that are not right.
func (st *store) checkIdentities(seed Seed) error {
	taken := map[string]bool{}
	for _, a := range seed.Accounts {
		for _, p := range a.OIDCProviders {
			arn := p.arn(a.ID)
			if taken[arn] || st.sources.providers[arn] != nil {
				return fmt.Errorf("alisim: seed: the OIDC provider name %q is taken", p.Name)
			}
			taken[arn] = true
			if err := p.validate(); err != nil {
				return err
			}
		}
		for _, u := range a.Users {
			for _, k := range u.KeyPairs {
				if _, err := k.parse(); err != nil {
					return fmt.Errorf("alisim: seed: key pair of user %s: %w", u.Name, err)
				}
				if taken[k.ID] || st.sources.keyPairs[k.ID] != nil {
					return fmt.Errorf("alisim: seed: the key pair id %q is taken", k.ID)
				}
				taken[k.ID] = true
			}
			for _, b := range u.BearerTokens {
				if b.Token == "" || taken["bearer "+b.Token] || st.sources.bearers[b.Token] != nil {
					return fmt.Errorf("alisim: seed: a bearer token of user %s is empty or taken", u.Name)
				}
				taken["bearer "+b.Token] = true
			}
		}
	}
	if seed.Sources != nil {
		return seed.Sources.validate()
	}
	return nil
}

// plantIdentities adds the OIDC providers, key pairs and bearer tokens of an account whose users are planted.
func (st *store) plantIdentities(a *account, in Account) {
	for _, p := range in.OIDCProviders {
		p.ClientIDs, p.Fingerprints = slices.Clone(p.ClientIDs), slices.Clone(p.Fingerprints)
		st.sources.providers[p.arn(a.id)] = &oidcProvider{OIDCProvider: p, account: a, arn: p.arn(a.id)}
	}
	for _, u := range in.Users {
		for _, k := range u.KeyPairs {
			public, _ := k.parse() // checked
			st.sources.keyPairs[k.ID] = &keyPair{id: k.ID, user: a.users[u.Name], public: public}
		}
		for _, b := range u.BearerTokens {
			st.sources.bearers[b.Token] = &bearerHolder{user: a.users[u.Name], expires: b.Expiration}
			st.secrets = append(st.secrets, b.Token)
		}
	}
}

type keyPair struct {
	id     string
	user   *user
	public *rsa.PublicKey
}

type bearerHolder struct {
	user    *user
	expires time.Time // zero: has no end
}

func (c Sources) clone() Sources {
	c.Instance.Items = maps.Clone(c.Instance.Items)
	c.CredentialsURIs = slices.Clone(c.CredentialsURIs)
	c.CloudSSO.AccessTokens = slices.Clone(c.CloudSSO.AccessTokens)
	c.CloudSSO.AccessConfigurations = slices.Clone(c.CloudSSO.AccessConfigurations)
	c.OAuth.Grants = slices.Clone(c.OAuth.Grants)
	return c
}

func (c Sources) validate() error {
	if err := c.Instance.validate(); err != nil {
		return err
	}
	for i, u := range c.CredentialsURIs {
		switch {
		case !strings.HasPrefix(u.Path, "/"):
			return fmt.Errorf("alisim: the path %q of a credentials URI does not start with a slash", u.Path)
		case slices.ContainsFunc(c.CredentialsURIs[:i], func(o CredentialsURI) bool { return o.Path == u.Path }):
			return fmt.Errorf("alisim: the path %q of a credentials URI is there twice", u.Path)
		case !roleARNPattern.MatchString(u.RoleARN):
			return fmt.Errorf("alisim: %q is no ARN of a role", u.RoleARN)
		case u.Duration < 0:
			return fmt.Errorf("alisim: the duration of the credentials URI %s is negative", u.Path)
		}
	}
	for _, ac := range c.CloudSSO.AccessConfigurations {
		if ac.ID == "" || !roleARNPattern.MatchString(ac.RoleARN) || ac.Duration < 0 {
			return fmt.Errorf("alisim: the access configuration %q needs an id, the ARN of a role and no negative duration", ac.ID)
		}
	}
	if c.CloudSSO.AccessTokenLife < 0 || c.OAuth.AccessTokenLife < 0 || c.OAuth.SessionDuration < 0 {
		return fmt.Errorf("alisim: a duration of CloudSSO or OAuth is negative")
	}
	for _, g := range c.OAuth.Grants {
		if !roleARNPattern.MatchString(g.RoleARN) {
			return fmt.Errorf("alisim: %q is no ARN of a role", g.RoleARN)
		}
	}
	return nil
}

// roleByARN finds a role that exists at the moment.
func (st *store) roleByARN(arn string, now time.Time) *role {
	parts := roleARNPattern.FindStringSubmatch(arn)
	if parts == nil {
		return nil
	}
	a := st.accounts[parts[1]]
	if a == nil {
		return nil
	}
	if ro := a.roles[parts[2]]; ro != nil && !now.Before(ro.from) {
		return ro
	}
	return nil
}

// grant makes a session of a role for a service that does not go through AssumeRole and its limits.
func (st *store) grant(ro *role, name string, life time.Duration, now time.Time) *session {
	se := &session{
		keyID: newSessionKeyID(), role: ro, name: name, expires: now.Add(life).Truncate(time.Second),
	}
	st.addSession(se, now)
	return se
}

// keys are the fields of a session that all services answer, in the spelling of STS.
func (st *store) keyFields(se *session) object {
	return object{
		{"AccessKeyId", se.keyID},
		{"AccessKeySecret", st.sessionSecret(se.keyID)},
		{"Expiration", stamp(se.expires)},
		{"SecurityToken", st.sessionToken(se.keyID)},
	}
}

// newCall starts the journal entry of a call to a door other than the gateway.
func (s *Server) newCall(r *http.Request, service, action string) *Call {
	return &Call{
		Time: s.Now(), RequestID: newRequestID(), Service: service, Action: action, Host: r.Host, RemoteAddr: r.RemoteAddr,
		Connection: connectionOf(r.Context()), Signature: "anonymous", Params: map[string]string{"path": r.URL.Path},
	}
}

// jsonAnswer encodes an answer of a door that knows JSON only.
func jsonAnswer(status int, code string, o object) answer {
	return answer{
		status: status, code: code, header: http.Header{"Content-Type": {"application/json;charset=utf-8"}}, body: o.json(nil),
	}
}

// textAnswer is an answer in plain text.
func textAnswer(status int, text string) answer {
	a := answer{status: status, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body: []byte(text)}
	if status >= 400 {
		a.code = http.StatusText(status)
	}
	return a
}

// seconds returns n seconds, or those of the default if n is 0.
func seconds(n, standard int) time.Duration {
	if n == 0 {
		n = standard
	}
	return time.Duration(n) * time.Second
}

// bearerOf returns the token of an Authorization header.
func bearerOf(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// keepSecret remembers a secret for Secrets.
func (st *store) keepSecret(secret string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.secrets = append(st.secrets, secret)
}
