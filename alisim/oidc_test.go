package alisim

import (
	"crypto/sha1"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (c *cloud) issuer() *Issuer {
	c.t.Helper()
	i, err := c.Issuer(DefaultIssuerName)
	if err != nil {
		c.t.Fatal(err)
	}
	return i
}

func (c *cloud) token(t IdentityToken) string {
	c.t.Helper()
	token, err := c.issuer().Sign(t)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// withOIDC calls AssumeRoleWithOIDC as credentials-go does: the protocol in the query, the rest in a form.
func (c *cloud) withOIDC(token string, change params) result {
	c.t.Helper()
	form := url.Values{
		"RoleArn": {DefaultPodRoleARN}, "OIDCProviderArn": {DefaultOIDCProviderARN}, "OIDCToken": {token},
		"RoleSessionName": {"pod"}, "DurationSeconds": {"3600"},
	}
	for name, value := range change {
		form.Set(name, value)
	}
	return c.ask("POST", "https://sts.cn-hangzhou.aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&Timestamp=2026-01-01T00%3A00%3A00Z",
		form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func TestAssumeRoleWithOIDC(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		token := c.token(IdentityToken{})
		form := c.withOIDC(token, params{"SourceIdentity": "app"})
		if form.status != 200 || form.text("SourceIdentity") != "" { // it is a parameter of AssumeRole only
			t.Fatalf("%d %v", form.status, form.body)
		}
		query := url.Values{
			"RoleArn": {DefaultPodRoleARN}, "OIDCProviderArn": {DefaultOIDCProviderARN}, "OIDCToken": {token}, "RoleSessionName": {"pod"},
		}.Encode()
		for name, out := range map[string]result{
			"form":    form,
			"query":   c.ask("POST", "https://sts.aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&"+query, ""),
			"GET":     c.ask("GET", "https://sts.aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&"+query, ""),
			"headers": c.ask("POST", "https://sts.aliyuncs.com/?"+query, "", "x-acs-action", "AssumeRoleWithOIDC", "x-acs-version", "2015-04-01"),
		} {
			if out.status != 200 {
				t.Errorf("%s: %d %v", name, out.status, out.body)
				continue
			}
			if out.text("OIDCTokenInfo.Subject") != DefaultSubject || out.text("OIDCTokenInfo.ClientIds") != DefaultAudience ||
				out.text("OIDCTokenInfo.Issuer") != c.issuer().URL || out.text("OIDCTokenInfo.VerificationInfo") != "Success" {
				t.Errorf("%s: %v", name, out.body["OIDCTokenInfo"])
			}
			who := c.must(out.keys(), "GetCallerIdentity", nil)
			if who.text("Arn") != "acs:ram::1234567890123456:assumed-role/pod/pod" {
				t.Errorf("%s: %v", name, who.body)
			}
		}
		fetches := 0
		for _, call := range c.Journal() {
			if call.Service == "Issuer" {
				fetches++
			}
			for _, value := range call.Params {
				if strings.Contains(value, token) {
					t.Errorf("the journal holds the token: %+v", call)
				}
			}
		}
		if fetches != 2 {
			t.Errorf("%d documents fetched, want the discovery document and the keys once", fetches)
		}
		if !slices.Contains(c.Secrets(), token) {
			t.Error("the token is not among the secrets")
		}
	})
}

func TestAssumeRoleWithOIDCRefusals(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	if err := c.Seed(Seed{Accounts: []Account{{ID: DefaultAccountID, OIDCProviders: []OIDCProvider{
		{Name: "pinned", IssuerURL: c.issuer().URL, ClientIDs: []string{DefaultAudience}, Fingerprints: []string{strings.Repeat("ab", 20)}},
		{Name: "strict", IssuerURL: c.issuer().URL, ClientIDs: []string{DefaultAudience}, IssuanceLimitTime: 1},
		{Name: "nowhere", IssuerURL: "https://oidc-ack-alisim.oss-cn-hangzhou.aliyuncs.com/nowhere", ClientIDs: []string{"x"}},
	}}}}); err != nil {
		t.Fatal(err)
	}
	const fail = "AuthenticationFail."
	provider := func(name string) params {
		return params{"OIDCProviderArn": "acs:ram::1234567890123456:oidc-provider/" + name}
	}
	for _, test := range []struct {
		name    string
		token   IdentityToken
		raw     string
		change  params
		status  int
		code    string
		message string
	}{
		{name: "subject", token: IdentityToken{Subject: "system:serviceaccount:kube-system:x"}, code: fail + "NoPermission", message: "There is no permission"},
		{name: "role that does not trust the provider", change: params{"RoleArn": DefaultRoleARN}, code: fail + "NoPermission", message: "There is no permission"},
		{name: "provider", change: provider("other"), code: fail + "NoPermission", message: "No such OIDC Provider registered."},
		{name: "provider ARN", change: params{"OIDCProviderArn": "other"}, code: fail + "NoPermission", message: "Parameter OIDCProviderArn is not valid"},
		{name: "audience", token: IdentityToken{Defect: TokenOtherAudience}, code: fail + "OIDCToken.AudienceNotMatch", message: "Invalid audience."},
		{name: "expired", token: IdentityToken{Defect: TokenExpired}, code: fail + "OIDCToken.Expired", message: "This JsonWebToken is expired."},
		{name: "issued too long ago", token: IdentityToken{IssuedAt: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(time.Hour)}, change: provider("strict"), code: fail + "OIDCToken.Expired", message: "This JsonWebToken is expired."},
		{name: "empty", raw: "-", code: fail + "OIDCToken.Invalid", message: "The OIDCToken can not empty."},
		{name: "two parts", token: IdentityToken{Defect: TokenTwoParts}, code: fail + "OIDCToken.Invalid", message: "The number of Jwt field should be divided into 3 parts with '.' ."},
		{name: "not base64", token: IdentityToken{Defect: TokenNotBase64}, code: fail + "OIDCToken.Invalid", message: "Cannot decode base64 encoded response(format invalided)."},
		{name: "trailing newline", raw: "\n", code: fail + "OIDCToken.Invalid", message: "Cannot decode base64 encoded response(format invalided)."},
		{name: "HS256", token: IdentityToken{Defect: TokenHS256}, code: fail + "OIDCToken.Invalid", message: "The algorithm HS256 that be specified in Jwt header is unknown."},
		{name: "none", token: IdentityToken{Defect: TokenUnsigned}, code: fail + "OIDCToken.Invalid", message: "The algorithm none that be specified in Jwt header is unknown."},
		{name: "not JSON", token: IdentityToken{Defect: TokenNotJSON}, code: fail + "OIDCToken.Invalid", message: "The Jwt content is invalid that cannot be recognized."},
		{name: "without subject", token: IdentityToken{Claims: map[string]any{"sub": nil}}, code: fail + "OIDCToken.Invalid", message: "The Jwt content is invalid that cannot be recognized."},
		{name: "not yet valid", token: IdentityToken{Defect: TokenNotYetValid}, code: fail + "OIDCToken.Invalid", message: "The Jwt content is invalid that cannot be recognized."},
		{name: "signature", token: IdentityToken{Defect: TokenBadSignature}, code: fail + "OIDCToken.InvalidSignature", message: "OIDC token validate failed: invalid signature."},
		{name: "unknown key", token: IdentityToken{Defect: TokenUnknownKey}, code: fail + "OIDCToken.InvalidSignature", message: "OIDC token validate failed: invalid signature."},
		{name: "issuer", token: IdentityToken{Defect: TokenOtherIssuer}, code: fail + "OIDCToken.IssuerNotMatch", message: "The issuer in the OIDC Token doesn't match the OIDC Provider registered."},
		{name: "no issuer there", token: IdentityToken{Issuer: "https://oidc-ack-alisim.oss-cn-hangzhou.aliyuncs.com/nowhere"}, change: provider("nowhere"), code: fail + "OIDCToken.IssuerConfigurationBroken", message: "Get public keys from OIDC Provider failed, the issuer is https://oidc-ack-alisim.oss-cn-hangzhou.aliyuncs.com/nowhere"},
		{name: "fingerprint", change: provider("pinned"), code: fail + "OIDCToken.PublicKeyFingerprintMismatch"},
		{name: "role", change: params{"RoleArn": "acs:ram::1234567890123456:role/gone"}, status: 404, code: "EntityNotExist.Role", message: "The role not exists: acs:ram::1234567890123456:role/gone. "},
		{name: "role ARN", change: params{"RoleArn": "gone"}, status: 400, code: "InvalidParameter.RoleArn"},
		{name: "duration", change: params{"DurationSeconds": "899"}, status: 400, code: "InvalidParameter.DurationSeconds"},
		{name: "duration beyond the role's", change: params{"DurationSeconds": "3601"}, status: 400, code: "InvalidParameter.DurationSeconds"},
		{name: "without session name", change: params{"RoleSessionName": ""}, status: 400, code: "MissingRoleSessionName"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := c.token(test.token)
			switch test.raw {
			case "-":
				token = ""
			case "\n":
				token += "\n"
			}
			out := c.withOIDC(token, test.change)
			if test.status == 0 {
				test.status = 401
			}
			if out.status != test.status || out.code() != test.code || test.message != "" && out.text("Message") != test.message {
				t.Errorf("got %d %s %q", out.status, out.code(), out.text("Message"))
			}
		})
	}
}

func TestIssuerRotation(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	old := c.token(IdentityToken{})
	assume := func(token string, want string) {
		t.Helper()
		if out := c.withOIDC(token, nil); out.code() != want {
			t.Errorf("got %d %s, want %q", out.status, out.code(), want)
		}
	}
	assume(old, "")
	if err := c.issuer().Rotate(true); err != nil {
		t.Fatal(err)
	}
	kept := c.token(IdentityToken{})
	assume(kept, "")
	assume(old, "")
	if err := c.issuer().Rotate(false); err != nil {
		t.Fatal(err)
	}
	assume(old, "") // its key is still remembered
	c.Advance(keysLife)
	assume(old, "AuthenticationFail.OIDCToken.InvalidSignature")
	assume(c.token(IdentityToken{}), "")
}

func TestIssuerMisbehaves(t *testing.T) {
	t.Parallel()
	const broken = "AuthenticationFail.OIDCToken.IssuerConfigurationBroken"
	for _, test := range []struct {
		fault Fault
		code  string
	}{
		{Fault{Action: "Issuer.JWKS", Kind: FaultError500}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultMalform, Malform: "html"}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultMalform, Malform: "huge"}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultMalform, Malform: `set:n="!"`}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultMalform, Malform: "set:keys=[]"}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultDrop}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultDelay, Delay: time.Minute}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultMalform, Malform: "stall"}, broken},
		{Fault{Action: "Issuer.Discovery", Kind: FaultError500}, broken},
		{Fault{Action: "Issuer.Discovery", Kind: FaultMalform, Malform: "redirect:https://sts.aliyuncs.com/"}, broken},
		{Fault{Action: "Issuer.Discovery", Kind: FaultMalform, Malform: `set:issuer="https://other"`}, broken},
		{Fault{Action: "Issuer.Discovery", Kind: FaultMalform, Malform: "remove:jwks_uri"}, broken},
		{Fault{Action: "Issuer.JWKS", Kind: FaultDelay, Delay: time.Second}, ""},
	} {
		t.Run(test.fault.Action+" "+string(test.fault.Kind)+" "+test.fault.Malform, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
				if err := c.AddFault(test.fault); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if out := c.withOIDC(c.token(IdentityToken{}), nil); out.code() != test.code {
					t.Errorf("got %d %s %v", out.status, out.code(), out.body)
				}
				if took := time.Since(begin); took > fetchTimeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestIssuerCertificates(t *testing.T) {
	t.Parallel()
	const invalid = "AuthenticationFail.OIDCToken.HttpsUrlInvalid"
	c := start(t, Options{Seed: SourcesSeed()})
	c.issuer().SetUntrusted(true)
	if out := c.withOIDC(c.token(IdentityToken{}), nil); out.code() != invalid {
		t.Errorf("untrusted: %d %s", out.status, out.code())
	}
	c.issuer().SetUntrusted(false)

	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	defer foreign.Close()
	ca, err := c.ca()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.sign("sts.aliyuncs.com")
	if err != nil {
		t.Fatal(err)
	}
	misnamed := httptest.NewUnstartedServer(http.NotFoundHandler())
	misnamed.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	misnamed.StartTLS()
	defer misnamed.Close()
	block, _ := pem.Decode(c.CACertPEM())
	sum := sha1.Sum(block.Bytes)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host, r.URL.Path = issuerHost, strings.Replace(r.URL.Path, "/elsewhere", "/"+DefaultIssuerName, 1)
		c.serveCloud(w, r)
	}))
	defer plain.Close()
	if err := c.Seed(Seed{Accounts: []Account{{ID: DefaultAccountID, OIDCProviders: []OIDCProvider{
		{Name: "foreign", IssuerURL: foreign.URL, ClientIDs: []string{DefaultAudience}},
		{Name: "wrong-name", IssuerURL: misnamed.URL, ClientIDs: []string{DefaultAudience}},
		{Name: "pinned", IssuerURL: c.issuer().URL, ClientIDs: []string{DefaultAudience}, Fingerprints: []string{hex.EncodeToString(sum[:])}},
		{Name: "elsewhere", IssuerURL: c.issuer().URL, ClientIDs: []string{DefaultAudience}, FetchURL: plain.URL + "/elsewhere"},
	}}}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ issuer, code, message string }{
		"wrong-name": {misnamed.URL, invalid, "Invoke url failed due to certificate chain validation"},
		"foreign":    {foreign.URL, invalid, "The root ca certificate is not in ca whitelist of this url: " + foreign.URL},
		// The registered provider is good, only the role does not trust it.
		"pinned":    {"", "AuthenticationFail.NoPermission", "There is no permission"},
		"elsewhere": {"", "AuthenticationFail.NoPermission", "There is no permission"},
	} {
		out := c.withOIDC(c.token(IdentityToken{Issuer: want.issuer}), params{"OIDCProviderArn": "acs:ram::1234567890123456:oidc-provider/" + name})
		if out.status != 401 || out.code() != want.code || out.text("Message") != want.message {
			t.Errorf("%s: %d %v", name, out.status, out.body)
		}
	}
}

func TestSeedRefusesBadProviders(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	good := OIDCProvider{Name: "p", IssuerURL: "https://issuer.example", ClientIDs: []string{"a"}}
	for name, change := range map[string]func(*OIDCProvider){
		"name":         func(p *OIDCProvider) { p.Name = "a/b" },
		"http":         func(p *OIDCProvider) { p.IssuerURL = "http://issuer.example" },
		"query":        func(p *OIDCProvider) { p.IssuerURL += "?a=b" },
		"long":         func(p *OIDCProvider) { p.IssuerURL += "/" + strings.Repeat("a", 255) },
		"no client":    func(p *OIDCProvider) { p.ClientIDs = nil },
		"fingerprints": func(p *OIDCProvider) { p.Fingerprints = []string{"ab"} },
		"issuance":     func(p *OIDCProvider) { p.IssuanceLimitTime = 169 },
	} {
		p := good
		change(&p)
		if err := c.Seed(Seed{Accounts: []Account{{ID: "1", OIDCProviders: []OIDCProvider{p}}}}); err == nil {
			t.Errorf("took a provider with a bad %s", name)
		}
	}
	if err := c.Seed(Seed{Accounts: []Account{{ID: "1", OIDCProviders: []OIDCProvider{good}}}}); err != nil {
		t.Error(err)
	}
	if err := c.Seed(Seed{Accounts: []Account{{ID: "1", OIDCProviders: []OIDCProvider{good}}}}); err == nil {
		t.Error("took a provider twice")
	}
}
