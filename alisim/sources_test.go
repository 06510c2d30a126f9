package alisim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCredentialsURI(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		got := c.ask("GET", c.CredentialsURL+"/credentials", "")
		if got.status != 200 || got.code() != "Success" {
			t.Fatalf("%d %v", got.status, got.body)
		}
		if who := c.must(got.flatKeys(), "GetCallerIdentity", nil); !strings.Contains(who.text("Arn"), "assumed-role/local/") {
			t.Errorf("%v", who.body)
		}
		if out := c.ask("GET", c.CredentialsURL+"/other", ""); out.status != 404 || out.code() != "NotFound" {
			t.Errorf("%d %v", out.status, out.body)
		}
		if out := c.ask("POST", c.CredentialsURL+"/credentials", ""); out.status != 405 {
			t.Errorf("%d %v", out.status, out.body)
		}
		for how, field := range map[string]string{"remove:AccessKeySecret": "AccessKeySecret", "set:SecurityToken=null": "SecurityToken"} {
			if err := c.AddFault(Fault{Action: "CredentialsURI.Get", Kind: FaultMalform, Malform: how, Count: 1}); err != nil {
				t.Fatal(err)
			}
			if out := c.ask("GET", c.CredentialsURL+"/credentials", ""); out.status != 200 || out.text(field) != "" {
				t.Errorf("%s: %v", how, out.body)
			}
		}
		config := c.Sources()
		config.CredentialsURIs[0].RoleARN = "acs:ram::1234567890123456:role/gone"
		if err := c.SetSources(config); err != nil {
			t.Fatal(err)
		}
		if out := c.ask("GET", c.CredentialsURL+"/credentials", ""); out.status != 404 || out.code() != "EntityNotExist.Role" {
			t.Errorf("%d %v", out.status, out.body)
		}
	})
}

const ssoOrigin = "https://signin-cn-shanghai.alibabacloudsso.com"

func (c *cloud) sso(origin, path, token string, body params) result {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	headers := []string{"Content-Type", "application/json", "Accept", "application/json"}
	if token != "" {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	return c.ask("POST", origin+path, string(text), headers...)
}

func TestCloudSSO(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		good := params{"AccountId": DefaultAccountID, "AccessConfigurationId": DefaultAccessConfiguration}
		origins := []string{ssoOrigin}
		if c.URL != "" {
			origins = append(origins, c.URL)
		}
		for _, origin := range origins {
			out := c.sso(origin, "/cloud-credentials", DefaultCloudSSOToken, good)
			k := keys{out.text("CloudCredential.AccessKeyId"), out.text("CloudCredential.AccessKeySecret"), out.text("CloudCredential.SecurityToken")}
			if out.status != 200 || out.text("RequestId") == "" {
				t.Fatalf("%d %v", out.status, out.body)
			}
			c.must(k, "GetCallerIdentity", nil)
		}
		with := func(name, value string) params {
			p := maps.Clone(good)
			p[name] = value
			return p
		}
		for _, test := range []struct {
			name, token string
			body        params
			status      int
			code        string
		}{
			{"no token", "", good, 401, "InvalidAccessTokenError"},
			{"unknown token", "no", good, 401, "InvalidAccessTokenError"},
			{"account", DefaultCloudSSOToken, with("AccountId", "2"), 403, "NoPermissionError"},
			{"configuration", DefaultCloudSSOToken, with("AccessConfigurationId", "ac-2"), 403, "NoPermissionError"},
			{"no account", DefaultCloudSSOToken, with("AccountId", ""), 400, "InvalidParameterError"},
			{"no body", DefaultCloudSSOToken, nil, 400, "InvalidParameterError"},
		} {
			out := c.sso(ssoOrigin, "/cloud-credentials", test.token, test.body)
			if out.status != test.status || out.text("ErrorCode") != test.code || out.text("ErrorMessage") == "" || out.text("RequestId") == "" {
				t.Errorf("%s: %d %v", test.name, out.status, out.body)
			}
		}
		if out := c.sso(ssoOrigin, "/nothing", "", good); out.status != 404 {
			t.Errorf("%d %v", out.status, out.body)
		}
	})
}

func TestCloudSSOLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seed := SourcesSeed()
		seed.Sources.CloudSSO.ManualApproval = true
		c := start(t, Options{NoListen: true, Seed: seed})
		const verifier = "a-verifier-of-a-test"
		sum := sha256.Sum256([]byte(verifier))
		login := func() result {
			return c.sso(ssoOrigin, "/device-authorization", "", params{
				"PortalUrl": ssoOrigin + "/x/login", "ClientId": "app-x", "CodeChallengeMethod": "S256",
				"CodeChallenge": base64.RawURLEncoding.EncodeToString(sum[:]),
			})
		}
		poll := func(device, verifier string) result {
			return c.sso(ssoOrigin, "/token", "", params{
				"ClientId": "app-x", "DeviceCode": device, "CodeVerifier": verifier,
				"GrantType": "urn:ietf:params:oauth:grant-type:device_code",
			})
		}
		begun := login()
		device := begun.text("DeviceCode")
		if begun.status != 200 || device == "" || begun.text("Interval") != "5" {
			t.Fatalf("%d %v", begun.status, begun.body)
		}
		if out := poll(device, verifier); out.status != 400 || out.text("ErrorCode") != "AuthorizationPending" {
			t.Errorf("%d %v", out.status, out.body)
		}
		if err := c.ApproveDevice(begun.text("UserCode")); err != nil {
			t.Fatal(err)
		}
		if out := poll(device, "wrong"); out.text("ErrorCode") != "InvalidParameterError" {
			t.Errorf("%d %v", out.status, out.body)
		}
		got := poll(device, verifier)
		if got.status != 200 || got.text("ExpiresIn") != "28800" {
			t.Fatalf("%d %v", got.status, got.body)
		}
		if out := poll(device, verifier); out.text("ErrorCode") != "InvalidDeviceCodeError" {
			t.Errorf("a device code works twice: %d %v", out.status, out.body)
		}
		good := params{"AccountId": DefaultAccountID, "AccessConfigurationId": DefaultAccessConfiguration}
		if out := c.sso(ssoOrigin, "/cloud-credentials", got.text("AccessToken"), good); out.status != 200 {
			t.Errorf("%d %v", out.status, out.body)
		}
		late := login()
		time.Sleep(8 * time.Hour)
		if out := c.sso(ssoOrigin, "/cloud-credentials", got.text("AccessToken"), good); out.text("ErrorCode") != "AccessTokenExpiredError" {
			t.Errorf("%d %v", out.status, out.body)
		}
		if out := poll(late.text("DeviceCode"), verifier); out.text("ErrorCode") != "InvalidDeviceCodeError" {
			t.Errorf("%d %v", out.status, out.body)
		}
		if c.ApproveDevice("NONE-SUCH") == nil {
			t.Error("approved nothing")
		}
		c.noSecretsInJournal()
	})
}

// noSecretsInJournal looks for everything secret in all that the journal keeps.
func (c *cloud) noSecretsInJournal() {
	c.t.Helper()
	text := fmt.Sprintf("%+v", c.Journal())
	for _, secret := range c.Secrets() {
		if strings.Contains(text, secret) {
			c.t.Errorf("the journal holds %q", secret)
		}
	}
}

func (c *cloud) oauth(origin string, form params) result {
	c.t.Helper()
	values := url.Values{}
	for name, value := range form {
		values.Set(name, value)
	}
	return c.ask("POST", origin+"/v1/token", values.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		const cn, intl = "https://oauth.aliyun.com", "https://oauth.alibabacloud.com"
		form := func(client, token string) params {
			return params{"grant_type": "refresh_token", "client_id": client, "refresh_token": token, "Timestamp": "2026-01-01T00:00:00Z"}
		}
		for _, test := range []struct {
			name, origin string
			form         params
			status       int
			code         string
		}{
			{"client of the other site", cn, form(OAuthClientIntl, DefaultRefreshToken), 401, "invalid_client"},
			{"unknown client", cn, form("1", DefaultRefreshToken), 401, "invalid_client"},
			{"grant of the other site", intl, form(OAuthClientIntl, DefaultRefreshToken), 400, "invalid_grant"},
			{"unknown token", cn, form(OAuthClientCN, "no"), 400, "invalid_grant"},
			{"no token", cn, form(OAuthClientCN, ""), 400, "invalid_request"},
			{"grant type", cn, params{"grant_type": "password"}, 400, "unsupported_grant_type"},
		} {
			out := c.oauth(test.origin, test.form)
			if out.status != test.status || out.text("error") != test.code || out.text("error_description") == "" || out.text("requestId") == "" {
				t.Errorf("%s: %d %v", test.name, out.status, out.body)
			}
		}
		first := c.oauth(cn, form(OAuthClientCN, DefaultRefreshToken))
		if first.status != 200 || first.text("expires_in") != "3600" || first.text("token_type") != "Bearer" {
			t.Fatalf("%d %v", first.status, first.body)
		}
		if again := c.oauth(cn, form(OAuthClientCN, DefaultRefreshToken)); again.text("error") != "invalid_grant" {
			t.Errorf("a refresh token works twice: %v", again.body)
		}
		second := c.oauth(cn, form(OAuthClientCN, first.text("refresh_token")))
		if second.status != 200 || second.text("access_token") == first.text("access_token") {
			t.Errorf("%d %v", second.status, second.body)
		}
		exchange := func(token string) result {
			return c.ask("POST", cn+"/v1/exchange", "", "Authorization", "Bearer "+token, "Content-Type", "application/json")
		}
		out := exchange(second.text("access_token"))
		k := keys{out.text("accessKeyId"), out.text("accessKeySecret"), out.text("securityToken")}
		if out.status != 200 || out.text("expiration") == "" || out.text("requestId") == "" {
			t.Fatalf("%d %v", out.status, out.body)
		}
		c.must(k, "GetCallerIdentity", nil)

		// The setting changes the answer, and does not bring back the token that is used up.
		config := c.Sources()
		config.OAuth.PascalCase, config.OAuth.ReuseRefreshTokens = true, true
		if err := c.SetSources(config); err != nil {
			t.Fatal(err)
		}
		if out := exchange(second.text("access_token")); out.text("AccessKeyId") == "" || out.text("accessKeyId") != "" {
			t.Errorf("%v", out.body)
		}
		if out := c.oauth(cn, form(OAuthClientCN, DefaultRefreshToken)); out.text("error") != "invalid_grant" {
			t.Errorf("a used token came back: %v", out.body)
		}
		for range 2 {
			if out := c.oauth(cn, form(OAuthClientCN, second.text("refresh_token"))); out.text("refresh_token") != second.text("refresh_token") {
				t.Errorf("%v", out.body)
			}
		}
		c.Advance(time.Hour)
		// F1.29
		if out := exchange(second.text("access_token")); out.status != 401 || out.text("error") != "expired_token" {
			t.Errorf("%d %v", out.status, out.body)
		}
		if out := exchange("no"); out.status != 401 || out.text("error") != "invalid_token" {
			t.Errorf("%d %v", out.status, out.body)
		}
		c.noSecretsInJournal()
	})
}

// pair returns a key pair as the cloud and as its owner know it.
func pair(t *testing.T, id string) (KeyPair, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return KeyPair{ID: id, PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, key
}

func TestGenerateSessionAccessKey(t *testing.T) {
	t.Parallel()
	public, private := pair(t, "LTPK.alisim")
	_, other := pair(t, "x")
	seed := DefaultSeed()
	seed.Accounts[0].Users[0].KeyPairs = []KeyPair{public}
	c := start(t, Options{NoListen: true, Seed: seed})
	// ask signs with an RSA key as credentials-go does, or, without one, as the others do.
	ask := func(key *rsa.PrivateKey, action string, change func(params)) result {
		t.Helper()
		r := v1(t.Context(), "GET", keys{id: public.ID, secret: "x"}, action, nil, func(p params) {
			p["SignatureMethod"], p["SignatureType"], p["DurationSeconds"] = "SHA256withRSA", "PRIVATEKEY", "900"
			if change != nil {
				change(p)
			}
		})
		query := r.URL.Query()
		r.URL.Scheme, r.URL.Host, r.Host = "https", "sts.ap-northeast-1.aliyuncs.com", "sts.ap-northeast-1.aliyuncs.com"
		if key != nil {
			query.Del("Signature")
			p := params{}
			for name := range query {
				p[name] = query.Get(name)
			}
			digest := sha256.Sum256([]byte("GET&%2F&" + rfc3986(sortedQuery(p))))
			value, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			query.Set("Signature", base64.StdEncoding.EncodeToString(value))
		}
		r.URL.RawQuery = query.Encode()
		return send(t, c.client, r)
	}
	out := ask(private, "GenerateSessionAccessKey", func(p params) { p["Version"] = stsVersion })
	k := keys{id: out.text("SessionAccessKey.SessionAccessKeyId"), secret: out.text("SessionAccessKey.SessionAccessKeySecret")}
	if out.status != 200 || k.secret == "" || out.text("SessionAccessKey.Expiration") == "" {
		t.Fatalf("%d %v", out.status, out.body)
	}
	if !slices.Contains(c.Secrets(), k.secret) {
		t.Error("the secret is not among the secrets")
	}
	if who := c.must(k, "GetCallerIdentity", nil); who.text("Arn") != "acs:ram::1234567890123456:user/vault" {
		t.Errorf("%v", who.body)
	}
	if u, _ := c.Inventory().User("vault"); len(u.AccessKeys) != 1 {
		t.Errorf("keys of the user: %v", u.AccessKeys)
	}
	for _, test := range []struct {
		name   string
		key    *rsa.PrivateKey
		action string
		change func(params)
		status int
		code   string
	}{
		{"another key", other, "GenerateSessionAccessKey", nil, 400, "SignatureDoesNotMatch"},
		{"HMAC under the type PRIVATEKEY", nil, "GenerateSessionAccessKey", func(p params) { p["SignatureMethod"] = "HMAC-SHA1" }, 400, "InvalidSignatureMethod"},
		{"HMAC", nil, "GenerateSessionAccessKey", func(p params) { p["SignatureMethod"], p["SignatureType"] = "HMAC-SHA1", "" }, 400, "InvalidParameter"},
		{"unknown pair", private, "GenerateSessionAccessKey", func(p params) { p["AccessKeyId"] = "no" }, 404, "InvalidAccessKeyId.NotFound"},
		{"too long", private, "GenerateSessionAccessKey", func(p params) { p["DurationSeconds"] = "3601" }, 400, "InvalidParameter.DurationSeconds"},
		{"too short", private, "GenerateSessionAccessKey", func(p params) { p["DurationSeconds"] = "899" }, 400, "InvalidParameter.DurationSeconds"},
		{"another action", private, "GetCallerIdentity", nil, 400, "InvalidParameter"},
	} {
		out := ask(test.key, test.action, func(p params) {
			p["Version"] = stsVersion
			if test.change != nil {
				test.change(p)
			}
		})
		if out.status != test.status || out.code() != test.code {
			t.Errorf("%s: %d %v", test.name, out.status, out.body)
		}
	}
	c.Advance(15 * time.Minute)
	c.refused(k, "GetCallerIdentity", nil, 404, "InvalidAccessKeyId.NotFound")
}

func TestBearerToken(t *testing.T) {
	t.Parallel()
	seed := SourcesSeed()
	seed.Accounts[0].Users[0].BearerTokens = append(seed.Accounts[0].Users[0].BearerTokens,
		BearerToken{Token: "ends", Expiration: time.Now().Add(time.Hour)})
	c := start(t, Options{NoListen: true, Seed: seed})
	byV1 := func(token, action string) result {
		version, host := versionOf(action)
		return c.ask("GET", "https://"+host+"/?"+sortedQuery(params{
			"Action": action, "Version": version, "Format": "JSON", "SignatureType": "BEARERTOKEN", "BearerToken": token,
			"SignatureNonce": nonce(), "Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05Z"),
			"AccessKeyId": "", "SignatureMethod": "", "SignatureVersion": "1.0", "Signature": "",
		}), "")
	}
	byV3 := func(token, action string, headers ...string) result {
		version, host := versionOf(action)
		return c.ask("POST", "https://"+host+"/?SignatureType=BEARERTOKEN", "", append([]string{
			"x-acs-action", action, "x-acs-version", version, "x-acs-bearer-token", token, "x-acs-signature-nonce", nonce(),
			"x-acs-date", time.Now().UTC().Format("2006-01-02T15:04:05Z"),
		}, headers...)...)
	}
	for name, ask := range map[string]func(string, string) result{
		"V1": byV1, "V3": func(token, action string) result { return byV3(token, action) },
	} {
		if who := ask(DefaultBearerToken, "GetCallerIdentity"); who.text("Arn") != "acs:ram::1234567890123456:user/vault" {
			t.Errorf("%s: %d %v", name, who.status, who.body)
		}
		for _, test := range []struct{ token, action, code string }{
			{"no", "GetCallerIdentity", "InvalidBearerToken"},
			{DefaultBearerToken, "ListUsers", "InvalidParameter"},
		} {
			if out := ask(test.token, test.action); out.status != 400 || out.code() != test.code {
				t.Errorf("%s: %+v: %d %v", name, test, out.status, out.body)
			}
		}
	}
	if out := byV3(DefaultBearerToken, "GetCallerIdentity", "x-acs-date", "2020-01-01T00:00:00Z"); out.code() != "InvalidTimeStamp.Expired" {
		t.Errorf("%d %v", out.status, out.body)
	}
	c.Advance(time.Hour)
	if out := byV3("ends", "GetCallerIdentity"); out.code() != "InvalidBearerToken.Expired" {
		t.Errorf("%d %v", out.status, out.body)
	}
	if calls := c.Journal(); calls[0].Signature != "bearer" || calls[0].Principal == "" {
		t.Errorf("%+v", calls[0])
	}
	c.noSecretsInJournal()
}

// TestResetOfSources sees that what a test changed does not reach the next one.
func TestResetOfSources(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	token := c.metadataToken("21600")
	form := params{"grant_type": "refresh_token", "client_id": OAuthClientCN, "refresh_token": DefaultRefreshToken}
	if out := c.oauth("https://oauth.aliyun.com", form); out.status != 200 {
		t.Fatal(out)
	}
	if err := c.SetInstance(Instance{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	c.issuer().SetUntrusted(true)
	c.Reset()
	if out := c.ask("GET", c.IMDSURL+keysPath, "", tokenHeader, token); out.status != 401 {
		t.Errorf("a token of before: %d", out.status)
	}
	if out := c.ask("GET", c.IMDSURL+keysPath, ""); out.raw() != "node" {
		t.Errorf("role %v", out.body)
	}
	if out := c.oauth("https://oauth.aliyun.com", form); out.status != 200 {
		t.Errorf("refresh token after Reset: %v", out.body)
	}
	if out := c.withOIDC(c.token(IdentityToken{}), nil); out.status != 200 {
		t.Errorf("%d %v", out.status, out.body)
	}
}

func TestSourcesAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	arn := DefaultRoleARN
	for name, bad := range map[string]Sources{
		"role of the instance": {Instance: Instance{RoleARN: "x"}},
		"path":                 {CredentialsURIs: []CredentialsURI{{Path: "x", RoleARN: arn}}},
		"path twice":           {CredentialsURIs: []CredentialsURI{{Path: "/x", RoleARN: arn}, {Path: "/x", RoleARN: arn}}},
		"role of a path":       {CredentialsURIs: []CredentialsURI{{Path: "/x"}}},
		"access configuration": {CloudSSO: CloudSSO{AccessConfigurations: []AccessConfiguration{{RoleARN: arn}}}},
		"grant":                {OAuth: OAuth{Grants: []OAuthGrant{{RoleARN: "x"}}}},
		"life":                 {OAuth: OAuth{AccessTokenLife: -1}},
	} {
		if c.SetSources(bad) == nil {
			t.Errorf("took a bad %s", name)
		}
		if _, err := Start(Options{NoListen: true, Seed: Seed{Accounts: DefaultSeed().Accounts, Sources: &bad}}); err == nil {
			t.Errorf("took a seed with a bad %s", name)
		}
	}
	public, _ := pair(t, "p")
	for name, u := range map[string]User{
		"key pair":        {Name: "u", KeyPairs: []KeyPair{{ID: "p", PublicKey: "x"}}},
		"key pair id":     {Name: "u", KeyPairs: []KeyPair{{PublicKey: public.PublicKey}}},
		"key pair twice":  {Name: "u", KeyPairs: []KeyPair{public, public}},
		"bearer token":    {Name: "u", BearerTokens: []BearerToken{{}}},
		"token twice":     {Name: "u", BearerTokens: []BearerToken{{Token: "a"}, {Token: "a"}}},
		"key pair no RSA": {Name: "u", KeyPairs: []KeyPair{{ID: "p", PublicKey: string(c.CACertPEM())}}},
	} {
		if c.Seed(Seed{Accounts: []Account{{ID: "7", Users: []User{u}}}}) == nil {
			t.Errorf("took a bad %s", name)
		}
	}
}

func TestSeedTokensDoNotPrint(t *testing.T) {
	t.Parallel()
	seed := SourcesSeed()
	seed.Sources.OAuth.Grants[0].AccessToken = "also-secret"
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		text := fmt.Sprintf(verb, seed) + fmt.Sprintf(verb, *seed.Sources)
		for _, secret := range []string{DefaultBearerToken, DefaultCloudSSOToken, DefaultRefreshToken, DefaultAccessKeySecret, "also-secret"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints %s", verb, secret)
			}
		}
	}
}

// TestHostsOfTheCloud sees that the client reaches what it should and nothing else.
func TestHostsOfTheCloud(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		for target, want := range map[string]int{
			"https://oauth.aliyun.com/":       404,
			"https://oauth.alibabacloud.com/": 404,
			ssoOrigin + "/":                   404,
			"http://100.100.100.200/":         404,
			c.IMDSURL + "/":                   404,
			c.CredentialsURL + "/":            404,
			"https://" + issuerHost + "/none": 404,
			"https://sts.aliyuncs.com/":       400,
		} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := c.client.Do(r)
			if err != nil {
				t.Errorf("%s: %v", target, err)
				continue
			}
			if readAll(t, response); response.StatusCode != want {
				t.Errorf("%s: %d, want %d", target, response.StatusCode, want)
			}
		}
		for _, target := range []string{"https://example.com/", "http://169.254.169.254/", "https://aliyun.com/"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response, err := c.client.Do(r); err == nil {
				_ = response.Body.Close()
				t.Errorf("reached %s", target)
			}
		}
	})
}
