package alicreds_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// A row is one behaviour that the tests of Alibaba Cloud's own Credentials
// tools assert, by its number in docs/alicreds-conformance.md.
type row struct {
	number string
	says   string
	differ string // where we do something else on purpose: what, and why
	test   func(t *testing.T)
}

const sourceNames = "the source is named by the credential type, access_key or sts, and not static_ak or static_sts"

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func wantBuildError(t *testing.T, c alicreds.Config, env []string, texts ...string) {
	t.Helper()
	_, err := build(c, env...)
	wantError(t, err, texts...)
}

// retrieveFrom builds a ram_role_arn whose STS gives this answer.
func retrieveFrom(t *testing.T, answer http.HandlerFunc) (alicreds.Credentials, error) {
	t.Helper()
	return role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: newDesk(t, answer).sts(t)}).Retrieve(t.Context())
}

func retrieveOIDC(t *testing.T, answer http.HandlerFunc) (alicreds.Credentials, error) {
	t.Helper()
	o := alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, STSOptions: newDesk(t, answer).sts(t)}
	return oidc(t, alicreds.TokenFile(file(t, jwt("{}"))), o).Retrieve(t.Context())
}

func retrieveURI(t *testing.T, answer http.HandlerFunc) (alicreds.Credentials, error) {
	t.Helper()
	return credentialsURI(t, newDesk(t, answer).URL, alicreds.CredentialsURIOptions{}).Retrieve(t.Context())
}

func retrieveECS(t *testing.T, keys string) (alicreds.Credentials, error) {
	t.Helper()
	i := newInstance(t)
	i.keys = keys
	return i.provider(t, "EcsRole", false).Retrieve(t.Context())
}

// sentBy is the request that a Config's provider makes.
func sentBy(t *testing.T, c alicreds.Config, env ...string) *http.Request {
	t.Helper()
	reply := sessionJSON()
	if c.Type == "rsa_key_pair" {
		reply = sessionAccessKeyJSON()
	}
	d := newDesk(t, answers(200, reply))
	if c.Host == "" {
		c.STSEndpoint = d.URL
	} else {
		c.Host = d.URL
	}
	get(t, mustBuild(t, c, env...))
	return d.only(t)
}

// wantHost checks the host that a ram_role_arn and an oidc_role_arn call.
func wantHost(t *testing.T, c alicreds.Config, want string, env ...string) {
	t.Helper()
	c.AccessKeyID, c.AccessKeySecret, c.RoleARN = "i", "s", roleARN
	c.OIDCProviderARN, c.OIDCTokenFilePath = providerARN, file(t, jwt("{}"))
	for _, kind := range []string{"ram_role_arn", "oidc_role_arn"} {
		hosts := &hostRecorder{}
		client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: hosts}, MaxRetries: -1})
		if err != nil {
			t.Fatal(err)
		}
		c.Type, c.Client = kind, client
		if _, err := mustBuild(t, c, env...).Retrieve(t.Context()); err == nil || len(hosts.seen) == 0 || hosts.seen[0] != want {
			t.Errorf("%s calls %v first, want %s", kind, hosts.seen, want)
		}
	}
}

type hostRecorder struct{ seen []string }

func (h *hostRecorder) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = append(h.seen, r.URL.Host)
	return nil, errors.New("recorded")
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("130 rows")
	}
	t.Parallel()
	roleConfig := alicreds.Config{Type: "ram_role_arn", AccessKeyID: "i", AccessKeySecret: "s", RoleARN: roleARN}
	oidcConfig := alicreds.Config{Type: "oidc_role_arn", OIDCTokenFilePath: "f", OIDCProviderARN: providerARN, RoleARN: roleARN}
	const sameHosts = "without region and endpoint sts.us-east-1.aliyuncs.com is asked after a network error"
	rows := []row{
		{"001", "access_key without values names the id", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "access_key"}, nil, "access_key_id")
		}},
		{"002", "access_key with an id only names the secret", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "access_key", AccessKeyID: "i"}, nil, "access_key_secret")
		}},
		{"003", "access_key with both", sourceNames, func(t *testing.T) {
			got := get(t, mustBuild(t, alicreds.Config{Type: "access_key", AccessKeyID: "i", AccessKeySecret: "s"}, envID, "other", envToken, "other"))
			if got != (alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", Source: "access_key"}) {
				t.Errorf("got %s", got)
			}
		}},
		{"004", "access_key from the environment", "", func(t *testing.T) {
			got := get(t, mustBuild(t, alicreds.Config{Type: "access_key"}, envID, "i", envSecret, "s"))
			if got.AccessKeyID != "i" || got.AccessKeySecret != "s" {
				t.Errorf("got %s", got)
			}
		}},
		{"005", "sts without token", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "sts", AccessKeyID: "i", AccessKeySecret: "s"}, nil, "security_token")
		}},
		{"006", "sts with three values", sourceNames, func(t *testing.T) {
			got := get(t, mustBuild(t, alicreds.Config{Type: "sts", AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "t"}))
			if got != (alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", SecurityToken: "t", Source: "sts"}) {
				t.Errorf("got %s", got)
			}
		}},
		{"007", "sts from the environment", "", func(t *testing.T) {
			got := get(t, mustBuild(t, alicreds.Config{Type: "sts"}, envID, "i", envSecret, "s", envToken, "t"))
			if got.SecurityToken != "t" || got.AccessKeyID != "i" {
				t.Errorf("got %s", got)
			}
		}},
		{"008", "the environment without an id names the variable", "", func(t *testing.T) {
			_, err := alicreds.NewEnvironment(environment()).Retrieve(t.Context())
			wantError(t, err, envID)
		}},
		{"009", "the environment with an id only names the secret's variable", "", func(t *testing.T) {
			_, err := alicreds.NewEnvironment(environment(envID, "i")).Retrieve(t.Context())
			wantError(t, err, envSecret)
		}},
		{"010", "the environment with id and secret", "", func(t *testing.T) {
			if got := get(t, alicreds.NewEnvironment(environment(envID, "i", envSecret, "s"))); got.SecurityToken != "" || got.Source != "env" {
				t.Errorf("got %s", got)
			}
		}},
		{"011", "the environment with a token is read at each call", "", func(t *testing.T) {
			id := ""
			p := alicreds.NewEnvironment(func(name string) string {
				return map[string]string{envID: id, envSecret: "s", envToken: "t"}[name]
			})
			for _, id = range []string{"one", "two"} {
				if got := get(t, p); got.AccessKeyID != id || got.SecurityToken != "t" {
					t.Errorf("got %s, want %s", got.AccessKeyID, id)
				}
			}
		}},
		{"012", "an unknown type lists the known ones", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "sdk"}, nil, "access_key, sts, ram_role_arn, oidc_role_arn, ecs_ram_role, rsa_key_pair, credentials_uri, bearer")
		}},
		{"013", "a missing type is an error", "", func(t *testing.T) { wantBuildError(t, alicreds.Config{}, nil, "missing") }},
		{"014", "bearer", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "bearer"}, nil, "empty")
			if got := get(t, mustBuild(t, alicreds.Config{Type: "bearer", BearerToken: "b"})); got != (alicreds.Credentials{BearerToken: "b", Source: "bearer"}) {
				t.Errorf("got %s", got)
			}
		}},
		{"015", "a provider of the caller's own keeps its name", "", func(t *testing.T) {
			own := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
				return alicreds.Credentials{AccessKeyID: "i", AccessKeySecret: "s", Source: "own"}, nil
			})
			if got := get(t, alicreds.NewCache(own, alicreds.CacheOptions{})); got.Source != "own" {
				t.Errorf("got %s", got)
			}
		}},

		{"016", "ram_role_arn without a source", "", func(t *testing.T) {
			_, err := alicreds.NewRAMRoleARN(nil, alicreds.RAMRoleARNOptions{RoleARN: roleARN})
			wantError(t, err, "no source provider")
		}},
		{"017", "ram_role_arn without a role", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "ram_role_arn", AccessKeyID: "i", AccessKeySecret: "s"}, nil, "role_arn")
		}},
		{"018", "ram_role_arn with the role of the environment", "", func(t *testing.T) {
			r := sentBy(t, alicreds.Config{Type: "ram_role_arn", AccessKeyID: "i", AccessKeySecret: "s"}, envRole, roleARN)
			if r.Form.Get("RoleArn") != roleARN {
				t.Errorf("sent %v", r.Form)
			}
		}},
		{"019", "ram_role_arn generates a session name", "the prefix is alicreds-", func(t *testing.T) {
			if name := sentBy(t, roleConfig).Form.Get("RoleSessionName"); !strings.HasPrefix(name, "alicreds-") {
				t.Errorf("sent %s", name)
			}
		}},
		{"020", "ram_role_arn with the session name of the environment", "", func(t *testing.T) {
			if name := sentBy(t, roleConfig, envSession, "from-env").Form.Get("RoleSessionName"); name != "from-env" {
				t.Errorf("sent %s", name)
			}
		}},
		{"021", "ram_role_arn asks for an hour", "", func(t *testing.T) {
			if d := sentBy(t, roleConfig).Form.Get("DurationSeconds"); d != "3600" {
				t.Errorf("sent %s", d)
			}
		}},
		{"022", "ram_role_arn asks for 900 s or more", "", func(t *testing.T) {
			c := roleConfig
			c.RoleSessionExpiration = 100
			wantBuildError(t, c, nil, "900")
			for seconds, want := range map[int]string{900: "900", 1000: "1000"} {
				c.RoleSessionExpiration = seconds
				if d := sentBy(t, c).Form.Get("DurationSeconds"); d != want {
					t.Errorf("sent %s, want %s", d, want)
				}
			}
		}},
		{"023", "region and VPC", "", func(t *testing.T) {
			wantHost(t, alicreds.Config{STSRegionID: "cn-hangzhou", EnableVPC: true}, "sts-vpc.cn-hangzhou.aliyuncs.com")
		}},
		{"024", "region", "", func(t *testing.T) {
			wantHost(t, alicreds.Config{STSRegionID: "cn-beijing"}, "sts.cn-beijing.aliyuncs.com")
		}},
		{"025", "no region, VPC environment 1", sameHosts, func(t *testing.T) {
			wantHost(t, alicreds.Config{}, "sts.aliyuncs.com", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "1")
		}},
		{"026", "no region, VPC", sameHosts, func(t *testing.T) { wantHost(t, alicreds.Config{EnableVPC: true}, "sts.aliyuncs.com") }},
		{"027", "region and VPC of the environment", "", func(t *testing.T) {
			wantHost(t, alicreds.Config{}, "sts-vpc.cn-x.aliyuncs.com", "ALIBABA_CLOUD_STS_REGION", "cn-x", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "True")
		}},
		{"028", "an endpoint beats the environment", "", func(t *testing.T) {
			wantHost(t, alicreds.Config{STSEndpoint: "sts.example"}, "sts.example", "ALIBABA_CLOUD_STS_REGION", "cn-x", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "True")
		}},
		{"029", "ram_role_arn over keys, over temporary keys", sourceNames, func(t *testing.T) {
			d := newDesk(t, answers(200, sessionJSON()))
			c := roleConfig
			c.STSEndpoint = d.URL
			if got := get(t, mustBuild(t, c)); got.Source != "ram_role_arn/access_key" {
				t.Errorf("got %s", got)
			}
			c.SecurityToken = "t"
			if got := get(t, mustBuild(t, c)); got.Source != "ram_role_arn/sts" {
				t.Errorf("got %s", got)
			}
		}},
		{"030", "ram_role_arn ignores an empty token, and that of the environment", "", func(t *testing.T) {
			if r := sentBy(t, roleConfig, envToken, "of other keys"); r.Header.Get("x-acs-security-token") != "" {
				t.Error("sent the token")
			}
		}},
		{"031", "ram_role_arn sends what was configured", "V3 carries the token in a header and the parameters in the query of a POST", func(t *testing.T) {
			c := roleConfig
			c.SecurityToken, c.Policy, c.RoleSessionName, c.RoleSessionExpiration, c.ExternalID = "t", `{"Version":"1"}`, "name", 1000, "ex"
			r := sentBy(t, c)
			if r.Method != "POST" || r.Header.Get("x-acs-security-token") != "t" || r.Form.Encode() !=
				"DurationSeconds=1000&ExternalId=ex&Policy=%7B%22Version%22%3A%221%22%7D&RoleArn=acs%3Aram%3A%3A1234567890123456%3Arole%2Fdeploy&RoleSessionName=name" {
				t.Errorf("sent %s %s", r.Method, r.Form.Encode())
			}
		}},
		{"032", "a transport error surfaces", "wrapped, reachable with errors.As, and without the URL", func(t *testing.T) {
			_, err := retrieveFrom(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			var network *openapi.NetworkError
			if !errors.As(err, &network) {
				t.Errorf("got %v", err)
			}
		}},
		{"033", "status 400", "the error has Code, status and RequestId, and not the body", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(400, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"X.Y","RequestId":"6894B13B-0000-5000-8000-000000000000","Other":"hidden"}`))
			wantError(t, err, "X.Y", "400", "R")
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v", err)
			}
		}},
		{"034", "200 without JSON", "", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(200, "invalid json"))
			wantError(t, err, "not a JSON object")
		}},
		{"035", "200 with null", "", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(200, "null"))
			wantError(t, err, "not a JSON object")
		}},
		{"036", "200 with empty Credentials", "the error names the first missing field", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(200, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{}}`))
			wantError(t, err, "no AccessKeyId")
		}},
		{"037", "a good reply", sourceNames, func(t *testing.T) {
			got, err := retrieveFrom(t, answers(200, sessionJSON()))
			if err != nil || got.AccessKeyID != "STS.fakeid" || got.Expiration.IsZero() || got.Source != "ram_role_arn/access_key" {
				t.Errorf("got %s, %v", got, err)
			}
		}},
		{"038", "a bad Expiration", "", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(200, expiring(sessionJSON(), "invalidexpiration")))
			wantError(t, err, "Expiration")
		}},
		{"039", "the source fails", "", func(t *testing.T) {
			broken := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return alicreds.Credentials{}, errBroken })
			if _, err := role(t, broken, alicreds.RAMRoleARNOptions{}).Retrieve(t.Context()); !errors.Is(err, errBroken) {
				t.Errorf("got %v", err)
			}
		}},
		{"040", "a chain of two roles", sourceNames, func(t *testing.T) {
			sts := newDesk(t, answers(200, sessionJSON())).sts(t)
			inner := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: sts})
			if got := get(t, role(t, inner, alicreds.RAMRoleARNOptions{STSOptions: sts})); got.Source != "ram_role_arn/ram_role_arn/access_key" {
				t.Errorf("got %s", got)
			}
		}},
		{"041", "a wrong AccessKey", "the peers ask the live service; here the documented answer is given", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(404, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"InvalidAccessKeyId.NotFound","Message":"Specified access key is not found."}`))
			wantError(t, err, "InvalidAccessKeyId.NotFound")
		}},
		{"042", "a proxy on a closed port", "", func(t *testing.T) {
			c := roleConfig
			c.Proxy, c.STSEndpoint = "http://"+whereNobodyListens(t), "sts.invalid"
			_, err := mustBuild(t, c).Retrieve(t.Context())
			wantError(t, err, "the proxy ")
		}},
		{"043", "no request while fresh, one when stale", "", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				retrieve(t, cache)
				time.Sleep(50 * time.Minute)
				retrieve(t, cache)
				retrieve(t, cache)
				if n := source.calls.Load(); n != 2 {
					t.Errorf("%d calls, want 2", n)
				}
			})
		}},
		{"044", "stale 180 s or 900 s before the expiry", "stale in the last 15 minutes, or the last fifth of a shorter life, minus up to a tenth of it", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: 3 * time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				time.Sleep(165*time.Minute - time.Second)
				retrieve(t, cache)
				fresh := source.calls.Load()
				time.Sleep(91 * time.Second)
				retrieve(t, cache)
				if stale := source.calls.Load(); fresh != 1 || stale != 2 {
					t.Errorf("%d calls before and %d within the last 15 minutes", fresh, stale)
				}
			})
		}},
		{"045", "SignatureDoesNotMatch", "the code says it; the string to sign is not quoted, because it holds the token", func(t *testing.T) {
			_, err := retrieveFrom(t, answers(400, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"SignatureDoesNotMatch","Message":"Specified signature is not matched with our calculation. server string to sign is:hidden"}`))
			wantError(t, err, "SignatureDoesNotMatch")
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v", err)
			}
		}},

		{"046", "oidc_role_arn without token file", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "oidc_role_arn", OIDCProviderARN: providerARN, RoleARN: roleARN}, nil, "oidc_token_file_path")
		}},
		{"047", "oidc_role_arn without provider", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "oidc_role_arn", OIDCTokenFilePath: "f", RoleARN: roleARN}, nil, "oidc_provider_arn")
		}},
		{"048", "oidc_role_arn without role", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "oidc_role_arn", OIDCTokenFilePath: "f", OIDCProviderARN: providerARN}, nil, "role_arn")
		}},
		{"049", "oidc_role_arn from the environment", "", func(t *testing.T) {
			r := sentBy(t, alicreds.Config{Type: "oidc_role_arn"}, envFile, file(t, jwt("{}")), envProvider, providerARN, envRole, roleARN)
			if r.PostForm.Get("OIDCToken") != jwt("{}") || r.PostForm.Get("RoleArn") != roleARN || r.PostForm.Get("OIDCProviderArn") != providerARN {
				t.Errorf("sent %v", r.PostForm)
			}
		}},
		{"050", "oidc_role_arn asks for 900 s or more", "", func(t *testing.T) {
			c := oidcConfig
			c.RoleSessionExpiration = 100
			wantBuildError(t, c, nil, "900")
		}},
		{"051", "oidc_role_arn follows the endpoint rules", "rows 023 to 028 ask both types", func(t *testing.T) {
			wantHost(t, alicreds.Config{STSRegionID: "cn-hangzhou"}, "sts-vpc.cn-hangzhou.aliyuncs.com", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")
		}},
		{"052", "a token file that is absent is named when it is read", "", func(t *testing.T) {
			c := oidcConfig
			c.OIDCTokenFilePath = file(t, "") + "-absent"
			_, err := mustBuild(t, c).Retrieve(t.Context())
			wantError(t, err, c.OIDCTokenFilePath)
		}},
		{"053", "oidc_role_arn sends an unsigned form", "", func(t *testing.T) {
			c := oidcConfig
			c.OIDCTokenFilePath = file(t, jwt("{}"))
			r := sentBy(t, c)
			if r.Method != "POST" || r.URL.Query().Get("Action") != "AssumeRoleWithOIDC" || r.Header.Get("Authorization") != "" || r.PostForm.Get("DurationSeconds") != "3600" {
				t.Errorf("sent %s %s", r.Method, r.URL)
			}
		}},
		{"054", "oidc_role_arn is refused or misunderstood", "", func(t *testing.T) {
			for status, body := range map[string]int{"{}": 400, "x": 200, "null": 200, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{}}`: 200} {
				_, err := retrieveOIDC(t, answers(body, status))
				wantError(t, err, "AssumeRoleWithOIDC")
			}
		}},
		{"055", "oidc_role_arn, a good reply", "", func(t *testing.T) {
			if got, err := retrieveOIDC(t, answers(200, sessionJSON())); err != nil || got.Source != "oidc_role_arn" || got.SecurityToken != "fake-session-token" {
				t.Errorf("got %s, %v", got, err)
			}
		}},
		{"056", "a fake token", "the peers ask the live service; here the documented answer is given", func(t *testing.T) {
			_, err := retrieveOIDC(t, answers(401, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"AuthenticationFail.NoPermission","Message":"There is no permission"}`))
			wantError(t, err, "AuthenticationFail.NoPermission")
		}},

		{"057", "ecs_ram_role without a role", "", func(t *testing.T) {
			i := newInstance(t)
			get(t, i.provider(t, "", false))
			if j := i.journal(); !strings.Contains(j, "GET  v2") {
				t.Errorf("asked %s: the role is to be discovered", j)
			}
		}},
		{"058", "ecs_ram_role with the role of the environment", "", func(t *testing.T) {
			for given, want := range map[string]string{"": "rolename", "argument": "argument"} {
				i := newInstance(t)
				i.role = want
				metadata := patientMetadata(t, i.URL, false)
				get(t, mustBuild(t, alicreds.Config{Type: "ecs_ram_role", RoleName: given, Metadata: metadata}, envMetadata, "rolename"))
				if j := i.journal(); j != "PUT api/token, GET "+want+" v2" {
					t.Errorf("asked %s", j)
				}
			}
		}},
		{"059", "IMDSv1 is disabled by True and not by 1", "", func(t *testing.T) {
			for value, fails := range map[string]bool{"True": true, "1": false} {
				i := newInstance(t)
				i.noTokens = 404
				metadata := patientMetadata(t, i.URL, fails)
				_, err := mustBuild(t, alicreds.Config{Type: "ecs_ram_role", Metadata: metadata}, envNoIMDSv1, value).Retrieve(t.Context())
				if (err != nil) != fails {
					t.Errorf("%s: %v", value, err)
				}
			}
			loose, err := alicreds.NewMetadata(alicreds.MetadataOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantBuildError(t, alicreds.Config{Type: "ecs_ram_role", Metadata: loose}, []string{envNoIMDSv1, "True"}, "IMDSv1")
		}},
		{"060", "the metadata service is switched off", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "ecs_ram_role"}, []string{envNoIMDS, "True"}, envNoIMDS)
		}},
		{"061", "the token request breaks, v1 allowed", "", func(t *testing.T) {
			i := newInstance(t)
			whole := i.desk.answer
			i.desk.answer = func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "PUT" {
					panic(http.ErrAbortHandler)
				}
				whole(w, r)
			}
			get(t, i.provider(t, "EcsRole", false))
		}},
		{"062", "the token request is refused", "", func(t *testing.T) {
			i := newInstance(t)
			i.noTokens = 404
			get(t, i.provider(t, "EcsRole", false))
			_, err := i.provider(t, "EcsRole", true).Retrieve(t.Context())
			wantError(t, err, "token")
		}},
		{"063", "later requests carry the token", "", func(t *testing.T) {
			i := newInstance(t)
			get(t, i.provider(t, "", false))
			if j := i.journal(); j != "PUT api/token, GET  v2, GET EcsRole v2" {
				t.Errorf("asked %s", j)
			}
		}},
		{"064", "the role request is refused", "the error has the status and not the URL", func(t *testing.T) {
			d := newDesk(t, answers(400, ""))
			metadata := patientMetadata(t, d.URL, false)
			_, err := mustBuild(t, alicreds.Config{Type: "ecs_ram_role", Metadata: metadata}).Retrieve(t.Context())
			wantError(t, err, "400", "instance metadata")
		}},
		{"065", "the role's name leads to its keys", "", func(t *testing.T) {
			i := newInstance(t)
			i.role = "rolename"
			get(t, i.provider(t, "", false))
			if j := i.journal(); !strings.HasSuffix(j, "GET rolename v2") {
				t.Errorf("asked %s", j)
			}
		}},
		{"066", "the keys request fails in five ways", "", func(t *testing.T) {
			for _, body := range []string{"x", "null", "{}"} {
				_, err := retrieveECS(t, body)
				wantError(t, err, "instance metadata")
			}
			i := newInstance(t)
			_, err := i.provider(t, "absent", false).Retrieve(t.Context())
			wantError(t, err, "404")
			_, err = offECS(t).provider(t, "EcsRole", false).Retrieve(t.Context())
			wantError(t, err, "instance metadata")
		}},
		{"067", "Code Failed", "", func(t *testing.T) {
			_, err := retrieveECS(t, strings.Replace(codedJSON(), "Success", "Failed", 1))
			wantError(t, err, "Code is Failed")
		}},
		{"068", "Code Success", "", func(t *testing.T) {
			if got, err := retrieveECS(t, codedJSON()); err != nil || got.Source != "ecs_ram_role" || got.AccessKeyID != "STS.fakeid" {
				t.Errorf("got %s, %v", got, err)
			}
		}},
		{"069", "an invalid Expiration", "", func(t *testing.T) {
			_, err := retrieveECS(t, expiring(codedJSON(), "soon"))
			wantError(t, err, "Expiration")
		}},
		{"070", "a token that does not help, v1 allowed", "", func(t *testing.T) {
			i := newInstance(t)
			i.brokenV2 = 500
			get(t, i.provider(t, "EcsRole", false))
			if j := i.journal(); j != "PUT api/token, GET EcsRole v2, GET EcsRole" {
				t.Errorf("asked %s", j)
			}
		}},
		{"071", "a token that does not help, v1 forbidden", "a 500 may pass: it is asked for three times", func(t *testing.T) {
			i := newInstance(t)
			i.brokenV2 = 500
			_, err := i.provider(t, "EcsRole", true).Retrieve(t.Context())
			wantError(t, err, "500")
			if j := i.journal(); j != "PUT api/token, GET EcsRole v2, GET EcsRole v2, GET EcsRole v2" {
				t.Errorf("asked %s", j)
			}
		}},
		{"072", "the same for the role's name", "a 500 may pass: it is asked for three times", func(t *testing.T) {
			i := newInstance(t)
			i.brokenV2 = 500
			get(t, i.provider(t, "", false))
			i.journal()
			_, err := i.provider(t, "", true).Retrieve(t.Context())
			wantError(t, err, "500")
			if j := i.journal(); j != "PUT api/token, GET  v2, GET  v2, GET  v2" {
				t.Errorf("asked %s", j)
			}
		}},
		{"073", "keys are renewed ahead of time", "15 minutes ahead like all sessions, not an hour", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: 6 * time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				retrieve(t, cache)
				time.Sleep(6*time.Hour - 13*time.Minute)
				retrieve(t, cache)
				if got := retrieve(t, cache); got != "B" {
					t.Errorf("got %s", got)
				}
			})
		}},
		{"074", "expired keys do not replace fresh ones", "", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				source.life = -time.Minute
				time.Sleep(50 * time.Minute)
				retrieve(t, cache)
				if got := retrieve(t, cache); got != "A" {
					t.Errorf("got %s", got)
				}
			})
		}},
		{"075", "keys with 10 minutes left are used", "they are stale in the last fifth of what is left, not at once, so that a service that has no newer ones is not asked at each call", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: 10 * time.Minute}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				if got := retrieve(t, cache); got != "A" || source.calls.Load() != 1 {
					t.Errorf("got %s after %d calls", got, source.calls.Load())
				}
				time.Sleep(8*time.Minute + 30*time.Second)
				retrieve(t, cache)
				if got := retrieve(t, cache); got != "B" {
					t.Errorf("got %s", got)
				}
			})
		}},
		{"076", "old keys are kept when a renewal fails, and it is tried again soon", "after 1 s, doubling to 30 s", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				retrieve(t, cache)
				source.breakWith(errBroken)
				time.Sleep(50 * time.Minute)
				retrieve(t, cache)
				retrieve(t, cache)
				if n := source.calls.Load(); n != 2 {
					t.Errorf("%d calls at once", n)
				}
				time.Sleep(10 * time.Second)
				if got := retrieve(t, cache); got != "A" || source.calls.Load() != 3 {
					t.Errorf("got %s after %d calls", got, source.calls.Load())
				}
			})
		}},
		{"077", "the background updater", "there is none: a renewal in the background begins with a read, is bounded in time, and Close ends it", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &issuer{life: time.Hour}
				cache := alicreds.NewCache(source, alicreds.CacheOptions{})
				time.Sleep(24 * time.Hour)
				if n := source.calls.Load(); n != 0 {
					t.Errorf("%d calls that nobody asked for", n)
				}
				retrieve(t, cache)
				time.Sleep(24 * time.Hour)
				if n := source.calls.Load(); n != 1 {
					t.Errorf("%d calls, one asked for", n)
				}
				cache.Close()
			})
		}},
		{"078", "timeouts and proxy of ecs_ram_role", "timeouts are honoured; a proxy never is, because it would get the keys of another machine", func(t *testing.T) {
			proxy := newDesk(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
			hanging := newDesk(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			metadata, err := alicreds.NewMetadata(alicreds.MetadataOptions{Endpoint: hanging.URL, ConnectTimeout: time.Second, Timeout: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			c := alicreds.Config{Type: "ecs_ram_role", Proxy: proxy.URL, Metadata: metadata}
			_, err = mustBuild(t, c).Retrieve(t.Context())
			wantError(t, err, "instance metadata")
		}},

		{"079", "credentials_uri without a URI, from the environment, from the argument", "", func(t *testing.T) {
			wantBuildError(t, alicreds.Config{Type: "credentials_uri"}, nil, "credentials_uri")
			env, argument := newDesk(t, answers(200, codedJSON())), newDesk(t, answers(200, codedJSON()))
			get(t, mustBuild(t, alicreds.Config{Type: "credentials_uri"}, envURI, env.URL))
			get(t, mustBuild(t, alicreds.Config{Type: "credentials_uri", CredentialsURI: argument.URL}, envURI, env.URL))
			env.only(t)
			argument.only(t)
		}},
		{"080", "credentials_uri fails in five ways", "errors name the host; path and query may be a secret", func(t *testing.T) {
			for body, status := range map[string]int{"": 400, "x": 200, "null": 200, "{}": 200} {
				_, err := retrieveURI(t, answers(status, body))
				wantError(t, err, "credentials_uri: 127.0.0.1:")
			}
			_, err := retrieveURI(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			wantError(t, err, "credentials_uri: 127.0.0.1:")
		}},
		{"081", "credentials_uri, a good reply", "the source is named by the type, credentials_uri and not credential_uri", func(t *testing.T) {
			if got, err := retrieveURI(t, answers(200, codedJSON())); err != nil || got.Source != "credentials_uri" || got.AccessKeyID != "STS.fakeid" {
				t.Errorf("got %s, %v", got, err)
			}
		}},
		{"082", "each of the four fields missing", "without Expiration the keys are taken, and asked for again soon", func(t *testing.T) {
			for _, body := range malformed(t, codedJSON(), "AccessKeyId", "AccessKeySecret", "SecurityToken") {
				_, err := retrieveURI(t, answers(200, body))
				wantError(t, err)
			}
		}},
		{"083", "Code is not Success", "", func(t *testing.T) {
			_, err := retrieveURI(t, answers(200, strings.Replace(codedJSON(), "Success", "Fail", 1)))
			wantError(t, err, "Code is Fail")
		}},
		{"084", "a bad Expiration", "", func(t *testing.T) {
			_, err := retrieveURI(t, answers(200, expiring(codedJSON(), "soon")))
			wantError(t, err, "Expiration")
		}},

		{"106", "the default chain's list of providers", "the list is always the same: a provider that is not set up stays in it and says why, which shows in the error", func(t *testing.T) {
			_, err := place(t, offECS(t), envNoIMDS, "true").Retrieve(t.Context())
			wantError(t, err, "env: not set up", "oidc_role_arn: not set up", "ecs_ram_role: not set up: "+envNoIMDS+" is true", "credentials_uri: not set up")
		}},
		{"107", "all fail: one error with each message in order", "", func(t *testing.T) {
			_, err := alicreds.NewChain(alicreds.ChainOptions{FallThrough: true}, &member{err: errAbsent}, &member{err: errBroken}).Retrieve(t.Context())
			wantError(t, err, "absent\n  - broken")
		}},
		{"108", "environment keys", "", func(t *testing.T) {
			chain := place(t, offECS(t), envID, "i", envSecret, "s")
			for range 2 {
				if got := get(t, chain); got.Source != "default/env" {
					t.Errorf("got %s", got)
				}
			}
		}},
		{"110", "the last provider is reused, its error returned", "AlwaysWalk walks again", func(t *testing.T) {
			first, second := &member{name: "first"}, &member{name: "second"}
			chain := alicreds.NewChain(alicreds.ChainOptions{}, first, second)
			walking := alicreds.NewChain(alicreds.ChainOptions{AlwaysWalk: true}, first, second)
			get(t, chain)
			get(t, walking)
			first.err = errAbsent
			if _, err := chain.Retrieve(t.Context()); !errors.Is(err, errAbsent) || second.calls != 0 {
				t.Errorf("got %v", err)
			}
			if got := get(t, walking); got.Source != "second" {
				t.Errorf("got %s", got)
			}
		}},

		{"128", "rsa_key_pair", "a duration of less than 900 s is refused when it is built", func(t *testing.T) {
			c := alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "p", PrivateKeyFile: file(t, pkcs8(rsaKey())), SessionExpiration: 100}
			wantBuildError(t, c, nil, "900")
			for seconds, want := range map[int]string{0: "3600", 1000: "1000"} {
				c.SessionExpiration = seconds
				if d := sentBy(t, c).Form.Get("DurationSeconds"); d != want {
					t.Errorf("sent %s, want %s", d, want)
				}
			}
			c.STSEndpoint, c.Host = "sts.invalid", "overridden"
			sentBy(t, c)
			c.Host = ""
			for body, status := range map[string]int{"{}": 200, "x": 200, `{"Code":"X"}`: 400, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","SessionAccessKey":{"SessionAccessKeyId":"x"}}`: 200} {
				c.STSEndpoint = newDesk(t, answers(status, body)).URL
				_, err := mustBuild(t, c).Retrieve(t.Context())
				wantError(t, err, "GenerateSessionAccessKey")
			}
		}},
		{"129", "times with and without milliseconds, and no others", "", func(t *testing.T) {
			for text, good := range map[string]bool{
				"2999-01-02T03:04:05Z": true, "2999-01-02T03:04:05.678Z": true, "2999/01/02T03:04:05Z": false, "2999-01-02 03:04:05Z": false,
				"2999-13-02T03:04:05Z": false, "2999-01-32T03:04:05Z": false, "2999-01-02T25:04:05Z": false, "2999-01-02T03:61:05Z": false, "2999-01-02T03:04:61Z": false,
			} {
				_, err := retrieveFrom(t, answers(200, expiring(sessionJSON(), text)))
				if (err == nil) != good {
					t.Errorf("%s: %v", text, err)
				}
			}
		}},
		{"130", "signature vectors, and a nonce for each call", "HMAC-SHA1 signs nothing here; the vectors of the signatures in use are tested in package openapi", func(t *testing.T) {
			d := newDesk(t, answers(200, sessionJSON()))
			p := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: d.sts(t)})
			get(t, p)
			get(t, p)
			if a, b := d.requests[0].Header.Get("x-acs-signature-nonce"), d.requests[1].Header.Get("x-acs-signature-nonce"); a == b || a == "" {
				t.Errorf("nonces %q and %q", a, b)
			}
		}},
	}
	rows = complete(t, rows, profileRows())
	onPage(t, rows)
	for _, r := range rows {
		t.Run(r.number, func(t *testing.T) {
			t.Parallel()
			r.test(t)
			if t.Failed() {
				t.Logf("%s (%s)", r.says, r.differ)
			}
		})
	}
}
