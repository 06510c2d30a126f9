package alicreds_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// cloud is a simulated Alibaba Cloud and a way to its STS.
type cloud struct {
	*alisim.Server
	sts alicreds.STSOptions
}

func newCloud(t *testing.T) cloud {
	t.Helper()
	return newCloudOf(t, alisim.SourcesSeed())
}

func newCloudOf(t *testing.T, seed alisim.Seed) cloud {
	t.Helper()
	sim, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	client, err := openapi.New(openapi.Options{HTTP: sim.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return cloud{Server: sim, sts: alicreds.STSOptions{Client: client}}
}

func (c cloud) key(t *testing.T) alicreds.AccessKey {
	t.Helper()
	key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c cloud) role(t *testing.T, o alicreds.RAMRoleARNOptions) alicreds.RAMRoleARN {
	t.Helper()
	if o.RoleARN == "" {
		o.RoleARN = alisim.DefaultRoleARN
	}
	o.STSOptions = c.sts
	return role(t, c.key(t), o)
}

// who asks the cloud whose credentials they are, signed by them.
func (c cloud) who(t *testing.T, credentials alicreds.Credentials) alicreds.Identity {
	t.Helper()
	id, err := alicreds.CallerIdentity(t.Context(), credentials.Keys(), c.sts)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (c cloud) calls(action string) (n int) {
	for _, call := range c.Journal() {
		if call.Action == action {
			n++
		}
	}
	return n
}

func TestCloudRAMRoleARN(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	got := get(t, c.role(t, alicreds.RAMRoleARNOptions{
		RoleSessionName: "alice@example", ExternalID: "x:1/2", Duration: 900 * time.Second,
		Policy: `{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:Get*", "Resource": "*"}]}`,
	}))
	if left := time.Until(got.Expiration); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("%s left, want 15 minutes", left)
	}
	if got.AccountID != alisim.DefaultAccountID || got.RoleARN != alisim.DefaultRoleARN || !strings.HasSuffix(got.SessionARN, "/deploy/alice@example") {
		t.Errorf("account %s, role %s, session %s", got.AccountID, got.RoleARN, got.SessionARN)
	}
	if id := c.who(t, got); id.IdentityType != "AssumedRoleUser" || !strings.HasSuffix(id.ARN, "/deploy/alice@example") {
		t.Errorf("the session is %+v", id)
	}
	if id := c.who(t, get(t, c.key(t))); id.IdentityType != "RAMUser" || id.ARN != "acs:ram::"+alisim.DefaultAccountID+":user/"+alisim.DefaultUserName {
		t.Errorf("the key is of %+v", id)
	}
	for _, call := range c.Journal() {
		if call.Signature != "V3" || call.Status != http.StatusOK || call.Host != "sts.aliyuncs.com" {
			t.Errorf("call %+v", call)
		}
	}
}

func TestCloudRefuses(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	wrong, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, "fake-secret-value")
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := alicreds.NewAccessKey("LTAI5tUNKNOWNUNKNOWN", "fake-secret-value")
	if err != nil {
		t.Fatal(err)
	}
	session := get(t, c.role(t, alicreds.RAMRoleARNOptions{}))
	forged, err := alicreds.NewSTS(session.AccessKeyID, session.AccessKeySecret, "forged"+session.SecurityToken)
	if err != nil {
		t.Fatal(err)
	}
	halved, err := alicreds.NewAccessKey(session.AccessKeyID, session.AccessKeySecret)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		source alicreds.Provider
		role   string
		code   string
	}{
		"wrong secret":  {wrong, alisim.DefaultRoleARN, "SignatureDoesNotMatch"},
		"unknown key":   {unknown, alisim.DefaultRoleARN, "InvalidAccessKeyId.NotFound"},
		"forged token":  {forged, alisim.DefaultRoleARN, "InvalidSecurityToken.Malformed"},
		"no token":      {halved, alisim.DefaultRoleARN, "MissingSecurityToken"},
		"unknown role":  {c.key(t), alisim.DefaultRoleARN + "x", "EntityNotExist.Role"},
		"no permission": {c.key(t), alisim.DefaultPodRoleARN, "NoPermission"},
	} {
		_, err := role(t, tc.source, alicreds.RAMRoleARNOptions{RoleARN: tc.role, STSOptions: c.sts}).Retrieve(t.Context())
		var refused *openapi.Error
		if !errors.As(err, &refused) || refused.Code != tc.code || refused.RequestID == "" {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
			continue
		}
		if tc.code == "MissingSecurityToken" && !strings.Contains(err.Error(), "): SecurityToken is mandatory for this action. (see ") {
			t.Errorf("%s: what is missing is not said: %v", name, err)
		}
		for _, secret := range []string{session.SecurityToken, session.AccessKeySecret, "fake-secret-value", alisim.DefaultAccessKeyID} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: a secret is printed in %v", name, err)
			}
		}
	}
}

func TestCloudChainOfRoles(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	account := &seed.Accounts[0]
	account.Roles[0].Policies = append(account.Roles[0].Policies, "AliyunSTSAssumeRoleAccess")
	account.Roles = append(account.Roles, alisim.Role{Name: "spoke", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID)})
	c := newCloudOf(t, seed)
	hub := alicreds.NewCache(c.role(t, alicreds.RAMRoleARNOptions{}), alicreds.CacheOptions{})
	spoke := role(t, hub, alicreds.RAMRoleARNOptions{RoleARN: "acs:ram::" + alisim.DefaultAccountID + ":role/spoke", STSOptions: c.sts})
	for range 3 {
		got := get(t, spoke)
		if got.Source != "ram_role_arn/ram_role_arn/access_key" || !strings.Contains(c.who(t, got).ARN, "/spoke/") {
			t.Errorf("got %s", got)
		}
	}
	if n := c.calls("AssumeRole"); n != 4 {
		t.Errorf("%d calls for three sessions over a cached one, want 4", n)
	}
}

// A session that is refused before its end is not kept by the Cache of a source.
func TestCloudChainOfRolesRefused(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	account := &seed.Accounts[0]
	account.Roles[0].Policies = append(account.Roles[0].Policies, "AliyunSTSAssumeRoleAccess")
	account.Roles = append(account.Roles, alisim.Role{Name: "spoke", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID)})
	refusal := func(code string, count int) *alisim.Fault {
		return &alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Status: 400, Code: code, Count: count}
	}
	wrap := func(p alicreds.Provider) alicreds.Provider {
		return alicreds.NewCache(p, alicreds.CacheOptions{})
	}
	for name, tt := range map[string]struct {
		over  func(hub alicreds.Provider) alicreds.Provider
		fault *alisim.Fault // in place of the end of all sessions
		code  string        // of the refusal; "": there is none
		calls int           // of AssumeRole
	}{
		"the role of a cached source is made anew": {over: wrap, calls: 3}, // with the dead session, for a new one, with that
		"the source is a chain over a cached source": {over: func(p alicreds.Provider) alicreds.Provider {
			return alicreds.NewChain(alicreds.ChainOptions{}, wrap(p))
		}, calls: 3},
		"the key of the source is refused once": {over: wrap, fault: refusal("InvalidAccessKeyId.NotFound", 1), calls: 3},
		"a cached key that has no successor": {
			over:  func(alicreds.Provider) alicreds.Provider { return wrap(newCloudOf(t, seed).key(t)) },
			fault: refusal("InvalidAccessKeyId.NotFound", 0), code: "InvalidAccessKeyId.NotFound", calls: 1,
		},
		"the refusal is not of the keys": {over: wrap, fault: refusal("NoPermission", 0), code: "NoPermission", calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloudOf(t, seed)
			spoke := role(t, tt.over(c.role(t, alicreds.RAMRoleARNOptions{})), alicreds.RAMRoleARNOptions{
				RoleARN: "acs:ram::" + alisim.DefaultAccountID + ":role/spoke", STSOptions: c.sts,
			})
			get(t, spoke)
			c.ClearJournal()
			if tt.fault == nil {
				c.Reset()
			} else if err := c.AddFault(*tt.fault); err != nil {
				t.Fatal(err)
			}
			got, err := spoke.Retrieve(t.Context())
			var refused *openapi.Error
			switch {
			case tt.code != "":
				if !errors.As(err, &refused) || refused.Code != tt.code {
					t.Errorf("%v, want %s", err, tt.code)
				}
			case err != nil:
				t.Error(err)
			case !strings.Contains(c.who(t, got).ARN, "/spoke/"):
				t.Errorf("got %s", got)
			}
			if n := c.calls("AssumeRole"); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
		})
	}
}

func TestCloudFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault alisim.Fault
		calls int
	}{
		"throttled":     {alisim.Fault{Kind: alisim.FaultThrottle, Count: 1, Delay: 10 * time.Millisecond}, 2},
		"refused once":  {alisim.Fault{Kind: alisim.FaultRefuse, Count: 1}, 2},
		"error 500":     {alisim.Fault{Kind: alisim.FaultError500, Count: 1}, 2},
		"redirected":    {alisim.Fault{Kind: alisim.FaultRedirect302, Count: 1}, 2},
		"dropped":       {alisim.Fault{Kind: alisim.FaultDrop, Count: 1}, 2},
		"answer lost":   {alisim.Fault{Kind: alisim.FaultApplyThenDrop, Count: 1}, 2},
		"twice dropped": {alisim.Fault{Kind: alisim.FaultDrop, Count: 2}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			tc.fault.Action = "AssumeRole"
			if err := c.AddFault(tc.fault); err != nil {
				t.Fatal(err)
			}
			c.who(t, get(t, c.role(t, alicreds.RAMRoleARNOptions{})))
			if n := c.calls("AssumeRole"); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
		})
	}
}

func TestCloudOIDCRoleARN(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	issuer, err := c.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{})
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, token+"\n")
	p := oidc(t, alicreds.TokenFile(path), alicreds.OIDCRoleARNOptions{
		RoleARN: alisim.DefaultPodRoleARN, OIDCProviderARN: alisim.DefaultOIDCProviderARN, STSOptions: c.sts,
	})
	got := get(t, p)
	if id := c.who(t, got); !strings.Contains(id.ARN, "/pod/") || got.RoleARN != alisim.DefaultPodRoleARN || got.AccountID != alisim.DefaultAccountID {
		t.Errorf("the session is %+v", id)
	}
	foreign, err := issuer.Sign(alisim.IdentityToken{Subject: "system:serviceaccount:other:app"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	var refused *openapi.Error
	if _, err := p.Retrieve(t.Context()); !errors.As(err, &refused) || refused.Code != "AuthenticationFail.NoPermission" || strings.Contains(err.Error(), foreign) {
		t.Errorf("a foreign subject: %v", err)
	}
}

// An issuer that STS cannot reach for a moment is asked again. One that it never
// reaches is an error, with the code that says so.
func TestCloudOIDCIssuerFailsForAMoment(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]alisim.Fault{
		"connection closed": {Action: "Issuer.Discovery", Kind: alisim.FaultDrop, Count: 1},
		"broken":            {Action: "Issuer.Discovery", Kind: alisim.FaultError500, Count: 1},
		"no keys":           {Action: "Issuer.JWKS", Kind: alisim.FaultError500, Count: 1},
		"never reached":     {Action: "Issuer.Discovery", Kind: alisim.FaultError500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			issuer, err := c.Issuer(alisim.DefaultIssuerName)
			if err != nil {
				t.Fatal(err)
			}
			token, err := issuer.Sign(alisim.IdentityToken{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := alicreds.NewOIDCRoleARN(alicreds.TokenFile(file(t, token)), alicreds.OIDCRoleARNOptions{
				RoleARN: alisim.DefaultPodRoleARN, OIDCProviderARN: alisim.DefaultOIDCProviderARN, STSOptions: c.sts,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.AddFault(f); err != nil {
				t.Fatal(err)
			}
			_, err = p.Retrieve(t.Context())
			if f.Count > 0 {
				if n := c.calls("AssumeRoleWithOIDC"); err != nil || n != 2 {
					t.Errorf("%d calls, %v", n, err)
				}
				return
			}
			wantError(t, err, "AuthenticationFail.OIDCToken.IssuerConfigurationBroken")
			if n := c.calls("AssumeRoleWithOIDC"); n != 4 {
				t.Errorf("%d calls, want 4", n)
			}
		})
	}
}

func TestCloudRSAKeyPair(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users[0].KeyPairs = []alisim.KeyPair{{
		ID: "pk-1", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}}
	c := newCloudOf(t, seed)
	p, err := alicreds.NewRSAKeyPair("pk-1", pkcs8(rsaKey()), alicreds.RSAKeyPairOptions{STSOptions: c.sts})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if id := c.who(t, get(t, p)); !strings.HasSuffix(id.ARN, "user/"+alisim.DefaultUserName) {
			t.Errorf("the session is %+v", id)
		}
	}
}

func TestCloudECSRAMRole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change      func(*alisim.Instance)
		onlyV2      bool
		unavailable bool
	}{
		"v2":           {func(*alisim.Instance) {}, true, false},
		"v1 refused":   {func(i *alisim.Instance) { i.HTTPTokens = "required" }, false, false},
		"switched off": {func(i *alisim.Instance) { i.Disabled = true }, false, true},
		"off, only v2": {func(i *alisim.Instance) { i.Disabled = true }, true, true},
		"no role":      {func(i *alisim.Instance) { i.RoleARN = "" }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			instance := c.Sources().Instance
			tc.change(&instance)
			if err := c.SetInstance(instance); err != nil {
				t.Fatal(err)
			}
			metadata := patientMetadata(t, c.IMDSURL, tc.onlyV2)
			p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Retrieve(t.Context())
			if tc.unavailable {
				if !errors.Is(err, alicreds.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || !strings.Contains(c.who(t, got).ARN, "/node/") {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCloudCredentialsURI(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	got := get(t, credentialsURI(t, c.CredentialsURL+"/credentials", alicreds.CredentialsURIOptions{RefuseMetadata: true}))
	if id := c.who(t, got); !strings.Contains(id.ARN, "/local/") {
		t.Errorf("the session is %+v", id)
	}
}

func TestCloudDefault(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	metadata := patientMetadata(t, c.IMDSURL, false)
	chain, err := alicreds.Default(alicreds.DefaultOptions{
		Getenv: environment("HOME", t.TempDir(), "USERPROFILE", t.TempDir()), STSOptions: c.sts, Metadata: metadata,
	})
	if err != nil {
		t.Fatal(err)
	}
	cache := alicreds.NewCache(chain, alicreds.CacheOptions{})
	defer cache.Close()
	for range 10 {
		if got := get(t, cache); got.Source != "default/ecs_ram_role" || !strings.Contains(c.who(t, got).ARN, "/node/") {
			t.Errorf("got %s", got)
		}
	}
}
