package alicreds_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const roleARN = "acs:ram::1234567890123456:role/deploy"

// desk is a service that gives the answers it is told to and keeps the
// requests. The simulator is no place for malformed answers.
type desk struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request // forms parsed
	answer   http.HandlerFunc
}

func newDesk(t *testing.T, answer http.HandlerFunc) *desk {
	t.Helper()
	d := &desk{answer: answer}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		d.mu.Lock()
		d.requests = append(d.requests, r)
		d.mu.Unlock()
		d.answer(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) sts(t *testing.T) alicreds.STSOptions {
	t.Helper()
	client, err := openapi.New(openapi.Options{MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return alicreds.STSOptions{Endpoint: d.URL, Client: client}
}

func (d *desk) only(t *testing.T) *http.Request {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.requests) != 1 {
		t.Fatalf("%d requests, want 1", len(d.requests))
	}
	return d.requests[0]
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

var expirationValue = regexp.MustCompile(`"Expiration":"[^"]*"`)

// expiring is the reply with another Expiration.
func expiring(reply, at string) string {
	return expirationValue.ReplaceAllString(reply, `"Expiration":"`+at+`"`)
}

func inAnHour() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

func sessionJSON() string {
	return fmt.Sprintf(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","AssumedRoleUser":{"AssumedRoleId":"3:s","Arn":"acs:ram::6543210987654321:role/deploy/s"},`+
		`"Credentials":{"AccessKeyId":"STS.fakeid","AccessKeySecret":"fake-session-secret","SecurityToken":"fake-session-token","Expiration":%q}}`, inAnHour())
}

// malformed derives from a good JSON object, for each named field, one that
// lacks it, and ones where it is null, empty and of the wrong type. A field
// "a.b" is b within a.
func malformed(t *testing.T, good string, fields ...string) map[string]string {
	t.Helper()
	bad := map[string]string{}
	for _, field := range fields {
		for how, value := range map[string]any{"missing": nil, "null": nil, "empty": "", "of the wrong type": 7} {
			var object map[string]any
			if err := json.Unmarshal([]byte(good), &object); err != nil {
				t.Fatal(err)
			}
			parent, name, nested := strings.Cut(field, ".")
			inside := object
			if nested {
				inside = object[parent].(map[string]any)
			} else {
				name = parent
			}
			if _, ok := inside[name]; !ok {
				t.Fatalf("the good reply has no %s", field)
			}
			if how == "missing" {
				delete(inside, name)
			} else {
				inside[name] = value
			}
			encoded, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			bad[field+" "+how] = string(encoded)
		}
	}
	return bad
}

func role(t *testing.T, source alicreds.Provider, o alicreds.RAMRoleARNOptions) alicreds.RAMRoleARN {
	t.Helper()
	if o.RoleARN == "" {
		o.RoleARN = roleARN
	}
	p, err := alicreds.NewRAMRoleARN(source, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRAMRoleARN(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, expiring(sessionJSON(), time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339))))
	source, err := alicreds.NewSTS(fakeID, fakeSecret, fakeToken)
	if err != nil {
		t.Fatal(err)
	}
	p := role(t, source, alicreds.RAMRoleARNOptions{
		RoleSessionName: "alice@example", Policy: `{"Version": "1"}`, ExternalID: "x:1", SourceIdentity: "alice",
		Duration: 1800*time.Second + time.Millisecond, STSOptions: d.sts(t),
	})
	got, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "STS.fakeid" || got.AccessKeySecret != "fake-session-secret" || got.SecurityToken != "fake-session-token" {
		t.Errorf("got %s", got)
	}
	if left := time.Until(got.Expiration); left < 29*time.Minute || left > 30*time.Minute || got.Expiration.Location() != time.UTC {
		t.Errorf("Expiration = %s", got.Expiration)
	}
	if got.Source != "ram_role_arn/sts" || got.RoleARN != roleARN || got.AccountID != "6543210987654321" || got.SessionARN != "acs:ram::6543210987654321:role/deploy/s" {
		t.Errorf("source %s, role %s, account %s, session %s", got.Source, got.RoleARN, got.AccountID, got.SessionARN)
	}
	r := d.only(t)
	for name, want := range map[string]string{
		"RoleArn": roleARN, "RoleSessionName": "alice@example", "DurationSeconds": "1800",
		"Policy": `{"Version": "1"}`, "ExternalId": "x:1", "SourceIdentity": "alice",
	} {
		if r.Form.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, r.Form.Get(name), want)
		}
	}
	if r.Header.Get("x-acs-action") != "AssumeRole" || r.Header.Get("x-acs-version") != "2015-04-01" || r.Header.Get("x-acs-security-token") != fakeToken {
		t.Errorf("headers %v", r.Header)
	}
}

func TestRAMRoleARNDefaults(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, sessionJSON()))
	p := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: d.sts(t)})
	for range 2 {
		if _, err := p.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := d.requests[0].Form, d.requests[1].Form
	name := first.Get("RoleSessionName")
	if len(name) < 12 || !strings.HasPrefix(name, "alicreds-") || name != second.Get("RoleSessionName") {
		t.Errorf("session names %q and %q, want one generated name", name, second.Get("RoleSessionName"))
	}
	if first.Get("DurationSeconds") != "3600" {
		t.Errorf("DurationSeconds = %s", first.Get("DurationSeconds"))
	}
	for _, unset := range []string{"Policy", "ExternalId", "SourceIdentity"} {
		if _, sent := first[unset]; sent {
			t.Errorf("%s is sent empty", unset)
		}
	}
}

func TestRAMRoleARNChecks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*alicreds.RAMRoleARNOptions)
		want   string // "" means accepted
	}{
		"nothing wrong":      {func(o *alicreds.RAMRoleARNOptions) {}, ""},
		"no role":            {func(o *alicreds.RAMRoleARNOptions) { o.RoleARN = "" }, "the role ARN is empty"},
		"a user":             {func(o *alicreds.RAMRoleARNOptions) { o.RoleARN = "acs:ram::1234567890123456:user/x" }, "look like"},
		"no account":         {func(o *alicreds.RAMRoleARNOptions) { o.RoleARN = "acs:ram:::role/x" }, "look like"},
		"two names":          {func(o *alicreds.RAMRoleARNOptions) { o.RoleARN = roleARN + "/session" }, "look like"},
		"newline":            {func(o *alicreds.RAMRoleARNOptions) { o.RoleARN = roleARN + "\n" }, "look like"},
		"session 1":          {func(o *alicreds.RAMRoleARNOptions) { o.RoleSessionName = "a" }, "2 to 64"},
		"session 2":          {func(o *alicreds.RAMRoleARNOptions) { o.RoleSessionName = "a." }, ""},
		"session 64":         {func(o *alicreds.RAMRoleARNOptions) { o.RoleSessionName = strings.Repeat("a", 64) }, ""},
		"session 65":         {func(o *alicreds.RAMRoleARNOptions) { o.RoleSessionName = strings.Repeat("a", 65) }, "2 to 64"},
		"session alphabet":   {func(o *alicreds.RAMRoleARNOptions) { o.RoleSessionName = "a b" }, "2 to 64"},
		"duration 899":       {func(o *alicreds.RAMRoleARNOptions) { o.Duration = 899 * time.Second }, "between 900 and 43200"},
		"duration 900":       {func(o *alicreds.RAMRoleARNOptions) { o.Duration = 900 * time.Second }, ""},
		"duration 43200":     {func(o *alicreds.RAMRoleARNOptions) { o.Duration = 43200 * time.Second }, ""},
		"duration 43201":     {func(o *alicreds.RAMRoleARNOptions) { o.Duration = 43201 * time.Second }, "between 900 and 43200"},
		"duration negative":  {func(o *alicreds.RAMRoleARNOptions) { o.Duration = -time.Second }, "between 900 and 43200"},
		"policy text":        {func(o *alicreds.RAMRoleARNOptions) { o.Policy = "allow" }, "not a JSON object"},
		"policy array":       {func(o *alicreds.RAMRoleARNOptions) { o.Policy = "[]" }, "not a JSON object"},
		"policy cut":         {func(o *alicreds.RAMRoleARNOptions) { o.Policy = `{"Version":` }, "not a JSON object"},
		"policy 2048":        {func(o *alicreds.RAMRoleARNOptions) { o.Policy = `{"x":"` + strings.Repeat("é", 2040) + `"}` }, ""},
		"policy 2049":        {func(o *alicreds.RAMRoleARNOptions) { o.Policy = `{"x":"` + strings.Repeat("x", 2041) + `"}` }, "more than 2048"},
		"external id 1":      {func(o *alicreds.RAMRoleARNOptions) { o.ExternalID = "x" }, "2 to 1224"},
		"external id 2":      {func(o *alicreds.RAMRoleARNOptions) { o.ExternalID = "x1" }, ""},
		"external id 1224":   {func(o *alicreds.RAMRoleARNOptions) { o.ExternalID = strings.Repeat("x", 1224) }, ""},
		"external id 1225":   {func(o *alicreds.RAMRoleARNOptions) { o.ExternalID = strings.Repeat("x", 1225) }, "2 to 1224"},
		"external alphabet":  {func(o *alicreds.RAMRoleARNOptions) { o.ExternalID = "a b" }, "2 to 1224"},
		"region":             {func(o *alicreds.RAMRoleARNOptions) { o.Region = "evil.example/" }, "not a region id"},
		"endpoint":           {func(o *alicreds.RAMRoleARNOptions) { o.Endpoint = "http://sts.aliyuncs.com" }, "https"},
		"fallback endpoint":  {func(o *alicreds.RAMRoleARNOptions) { o.FallbackEndpoints = []string{"http://sts.example"} }, "https"},
		"secret not printed": {func(o *alicreds.RAMRoleARNOptions) { o.Endpoint = "https://u:hidden@sts.example" }, "user name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := alicreds.RAMRoleARNOptions{RoleARN: roleARN}
			tc.change(&o)
			_, err := alicreds.NewRAMRoleARN(accessKey(t), o)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("NewRAMRoleARN = %v, want %q", err, tc.want)
			}
			if err == nil {
				return
			}
			if errors.Is(err, alicreds.ErrUnavailable) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("NewRAMRoleARN = %v", err)
			}
			if _, again := alicreds.AssumeRole(t.Context(), openapi.Keys{AccessKeyID: "i", AccessKeySecret: "s"}, o); again == nil || again.Error() != err.Error() {
				t.Errorf("AssumeRole = %v, want %v", again, err)
			}
		})
	}
	if _, err := alicreds.NewRAMRoleARN(nil, alicreds.RAMRoleARNOptions{RoleARN: roleARN}); err == nil {
		t.Error("NewRAMRoleARN accepts no source")
	}
}

func TestRAMRoleARNMalformedReplies(t *testing.T) {
	t.Parallel()
	bad := malformed(t, sessionJSON(), "Credentials", "Credentials.AccessKeyId", "Credentials.AccessKeySecret", "Credentials.SecurityToken", "Credentials.Expiration")
	bad["empty Credentials"] = `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{}}`
	bad["null"] = `null`
	bad["not JSON"] = `<html>`
	bad["empty"] = ``
	bad["Expiration in words"] = expiring(sessionJSON(), "tomorrow at noon")
	bad["Expiration without a zone"] = expiring(sessionJSON(), "2999-01-01T00:00:00")
	bad["Expiration in the past"] = expiring(sessionJSON(), "2015-01-01T00:00:00Z")
	bad["AssumedRoleUser of the wrong type"] = strings.Replace(sessionJSON(), `"AssumedRoleUser":{`, `"AssumedRoleUser":"x","Y":{`, 1)
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answers(200, body))
			got, err := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: d.sts(t)}).Retrieve(t.Context())
			var typed *alicreds.Error
			if !errors.As(err, &typed) || typed.Source != "ram_role_arn/access_key" || errors.Is(err, alicreds.ErrUnavailable) || got != (alicreds.Credentials{}) {
				t.Fatalf("got %s, %v", got, err)
			}
			if strings.Contains(err.Error(), "fake-session") || strings.Contains(err.Error(), "tomorrow") {
				t.Errorf("the error quotes the reply: %v", err)
			}
		})
	}
}

func TestExpirationForms(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z", "2006-01-02T15:04:05.123456Z", "2006-01-02T15:04:05Z07:00"} {
		body := expiring(sessionJSON(), time.Now().Add(time.Hour).UTC().Format(form))
		d := newDesk(t, answers(200, body))
		if _, err := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: d.sts(t)}).Retrieve(t.Context()); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestRAMRoleARNRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(403, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"NoPermission","RequestId":"6894B13B-0000-5000-8000-000000000000","Message":"You are not authorized to do this action."}`))
	_, err := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: d.sts(t)}).Retrieve(t.Context())
	var refused *openapi.Error
	var typed *alicreds.Error
	if !errors.As(err, &refused) || refused.Code != "NoPermission" || refused.RequestID != "6894B13B-0000-5000-8000-000000000000" || !errors.As(err, &typed) || typed.Temporary() {
		t.Errorf("got %v", err)
	}
	want := "ram_role_arn/access_key: AssumeRole: NoPermission (HTTP 403, RequestId 6894B13B-0000-5000-8000-000000000000): You are not authorized to do this action. (see " + typed.Help() + ")"
	if err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestRAMRoleARNSourceFails(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("%w: no such thing", alicreds.ErrUnavailable)
	refused := &openapi.Error{Action: "X", Code: "Throttling", Status: 400}
	for _, source := range []error{cause, &alicreds.Error{Source: "inner", Err: refused}} {
		p := role(t, alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
			return alicreds.Credentials{}, source
		}), alicreds.RAMRoleARNOptions{})
		_, err := p.Retrieve(t.Context())
		if err == nil || !strings.Contains(err.Error(), source.Error()) {
			t.Fatalf("got %v", err)
		}
		if errors.Is(err, alicreds.ErrUnavailable) {
			t.Errorf("%v passes a chain on, although a role was configured", err)
		}
		var typed *alicreds.Error
		if errors.As(err, &typed); source != cause && !typed.Temporary() {
			t.Errorf("%v is not temporary", err)
		}
	}
	bearer := alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
		return alicreds.Credentials{BearerToken: "fake-bearer", Source: "bearer"}, nil
	})
	if _, err := role(t, bearer, alicreds.RAMRoleARNOptions{}).Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "no AccessKey") {
		t.Errorf("a bearer token signed AssumeRole: %v", err)
	}
}

func TestZeroProviders(t *testing.T) {
	t.Parallel()
	for _, p := range []alicreds.Provider{alicreds.AccessKey{}, alicreds.STS{}, alicreds.RAMRoleARN{}} {
		if _, err := p.Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
			t.Errorf("%T: %v", p, err)
		}
	}
}

func TestRAMRoleARNUnreachable(t *testing.T) {
	t.Parallel()
	o := newDesk(t, answers(200, sessionJSON())).sts(t)
	o.Endpoint = "http://" + whereNobodyListens(t)
	_, err := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: o}).Retrieve(t.Context())
	var network *openapi.NetworkError
	var typed *alicreds.Error
	if !errors.As(err, &network) || !errors.As(err, &typed) || !typed.Temporary() {
		t.Errorf("got %v", err)
	}
	working := newDesk(t, answers(200, sessionJSON()))
	o.FallbackEndpoints = []string{working.URL}
	if _, err := role(t, accessKey(t), alicreds.RAMRoleARNOptions{STSOptions: o}).Retrieve(t.Context()); err != nil {
		t.Errorf("with a fallback: %v", err)
	}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, sessionJSON()))
	got, err := alicreds.AssumeRole(t.Context(), openapi.Keys{AccessKeyID: "i", AccessKeySecret: "s"},
		alicreds.RAMRoleARNOptions{RoleARN: roleARN, STSOptions: alicreds.STSOptions{Endpoint: d.URL}})
	if err != nil || got.Source != "ram_role_arn" || got.SecurityToken != "fake-session-token" {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := alicreds.AssumeRole(t.Context(), openapi.Keys{}, alicreds.RAMRoleARNOptions{RoleARN: roleARN}); err == nil {
		t.Error("AssumeRole without keys")
	}
}
