package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// answering serves one canned answer by TLS and returns a client for it.
func answering(t *testing.T, h http.HandlerFunc) (endpoint string, c *openapi.Client) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	c, err := openapi.New(openapi.Options{HTTP: server.Client(), MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, c
}

// requestID is of the form that all have; good is the least that a success is, and
// coded a refusal.
const (
	requestID = "6894B13B-0000-5000-8000-000000000000"
	good      = `{"RequestId":"` + requestID + `"}`
)

func coded(code string) string { return `{"RequestId":"` + requestID + `","Code":"` + code + `"}` }

var fakeKeys = openapi.Keys{AccessKeyID: "LTAI5tFAKEFAKEFAKE", AccessKeySecret: "fake-secret-value", SecurityToken: "CAISfaketokenvalue"}

func call(endpoint string) openapi.Request {
	return openapi.Request{Endpoint: endpoint, Action: "GetRole", Version: "2015-05-01", Keys: fakeKeys, Params: map[string]string{"RoleName": "deploy"}}
}

const foreign = "the answer is not the service's, for it has no RequestId"

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	type want struct {
		code, message, requestID       string
		throttled, temporary, notExist bool
		ambiguous                      bool
		text                           string
	}
	for name, tc := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   want
	}{
		"json": {
			404, nil, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","HostId":"ram","Code":"EntityNotExist.Role","Message":"The role not exists: acs:ram::1234567890123456:role/deploy. "}`,
			want{code: "EntityNotExist.Role", message: "The role not exists: acs:ram::1234567890123456:role/deploy.", requestID: "6894B13B-0000-5000-8000-000000000000", notExist: true,
				text: "GetRole: EntityNotExist.Role (HTTP 404, RequestId 6894B13B-0000-5000-8000-000000000000): The role not exists: acs:ram::1234567890123456:role/deploy."},
		},
		"xml": {
			403, nil, `<?xml version="1.0"?><Error><RequestId>6894B13B-0000-5000-8000-000000000001</RequestId><HostId>h</HostId><Code>NoPermission</Code><Message>no</Message></Error>`,
			want{code: "NoPermission", message: "no", requestID: "6894B13B-0000-5000-8000-000000000001", text: "GetRole: NoPermission (HTTP 403, RequestId 6894B13B-0000-5000-8000-000000000001): no"},
		},
		"html": {
			404, map[string]string{"x-acs-request-id": "6894B13B-0000-5000-8000-000000000002"}, `<html><body>secret portal</body></html>`,
			want{requestID: "6894B13B-0000-5000-8000-000000000002", ambiguous: true, text: "GetRole: the service refused without a code (HTTP 404, RequestId 6894B13B-0000-5000-8000-000000000002)"},
		},
		"what Resource Management lacks": {404, nil, coded("EntityNotExists.ResourceGroup"), want{code: "EntityNotExists.ResourceGroup", requestID: requestID, notExist: true,
			text: "GetRole: EntityNotExists.ResourceGroup (HTTP 404, RequestId " + requestID + ")"}},
		"empty 404 is not NotExist": {404, nil, ``, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 404)"}},
		"signature": {
			400, nil, `{"HostId":"h","Code":"SignatureDoesNotMatch","Message":"server string to sign is:POST /?x-acs-security-token:CAISfaketokenvalue"}`,
			want{code: "SignatureDoesNotMatch", text: "GetRole: SignatureDoesNotMatch (HTTP 400)"},
		},
		"message with a key, a token and a newline": {
			400, nil, `{"HostId":"h","Code":"InvalidParameter.X","Message":"key LTAI5tFAKEFAKEFAKE\ntoken CAISfaketokenvalue STS.NUfake abcDEF123abcDEF123abcDEF123abc \u2028end"}`,
			want{code: "InvalidParameter.X", message: "key [redacted] token [redacted] [redacted] [redacted] end",
				text: "GetRole: InvalidParameter.X (HTTP 400): key [redacted] token [redacted] [redacted] [redacted] end"},
		},
		"OIDC": {
			401, nil, `{"HostId":"h","Code":"AuthenticationFail.OIDCToken.Invalid","Message":"The Jwt eyJhbGciOiJSUzI1NiJ9.e30.c2ln is invalid."}`,
			want{code: "AuthenticationFail.OIDCToken.Invalid", message: "The Jwt [redacted] is invalid.",
				text: "GetRole: AuthenticationFail.OIDCToken.Invalid (HTTP 401): The Jwt [redacted] is invalid."},
		},
		"code that is no code": {400, nil, `{"Code":"a b\nc","RequestId":"x y","Message":"m"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 400)"}},
		"codes of wrong type":  {400, nil, `{"Code":7}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 400)"}},
		"throttled by code":    {400, nil, `{"HostId":"h","Code":"Throttling.User"}`, want{code: "Throttling.User", throttled: true, temporary: true, text: "GetRole: Throttling.User (HTTP 400)"}},
		"throttled by 429":     {429, nil, ``, want{throttled: true, temporary: true, ambiguous: true, text: "GetRole: " + foreign + " (HTTP 429)"}},
		"throttled by 302":     {302, map[string]string{"Location": "https://127.0.0.1:1/elsewhere"}, ``, want{throttled: true, temporary: true, ambiguous: true, text: "GetRole: redirected, which means throttled (HTTP 302)"}},
		"other redirect":       {307, map[string]string{"Location": "https://127.0.0.1:1/elsewhere"}, ``, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 307)"}},
		"throttled by 503":     {503, nil, `{"HostId":"h","Code":"Throttling"}`, want{code: "Throttling", throttled: true, temporary: true, text: "GetRole: Throttling (HTTP 503)"}},
		"unavailable":          {503, nil, `{"HostId":"h","Code":"ServiceUnavailable"}`, want{code: "ServiceUnavailable", temporary: true, ambiguous: true, text: "GetRole: ServiceUnavailable (HTTP 503)"}},
		"internal error":       {500, nil, `{"HostId":"h","Code":"InternalError"}`, want{code: "InternalError", temporary: true, ambiguous: true, text: "GetRole: InternalError (HTTP 500)"}},
		"sent twice": {400, nil, `{"HostId":"h","Code":"SignatureNonceUsed","Message":"Specified signature nonce was used already."}`,
			want{code: "SignatureNonceUsed", temporary: true, ambiguous: true, text: "GetRole: SignatureNonceUsed (HTTP 400)"}},
		"bad gateway":    {502, nil, `<html>`, want{temporary: true, ambiguous: true, text: "GetRole: " + foreign + " (HTTP 502)"}},
		"not throttling": {400, nil, `{"HostId":"h","Code":"ThrottlingX"}`, want{code: "ThrottlingX", text: "GetRole: ThrottlingX (HTTP 400)"}},
		"200 html":       {200, nil, `<html>sign in to the portal</html>`, want{ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200)"}},
		"200 empty":      {200, nil, ``, want{ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200)"}},
		"200 null":       {200, nil, `null`, want{ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200)"}},
		"200 array":      {200, nil, `[]`, want{ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200)"}},
		"200 cut":        {200, nil, `{"Role":`, want{ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200)"}},
		"200 XML": {200, nil, `<CreateUserResponse><RequestId>6894B13B-0000-5000-8000-000000000003</RequestId><User/></CreateUserResponse>`,
			want{requestID: "6894B13B-0000-5000-8000-000000000003", ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200, RequestId 6894B13B-0000-5000-8000-000000000003)"}},
		"200 pieces of XML": {200, nil, "<User/>\n<RequestId>6894B13B-0000-5000-8000-000000000004</RequestId>",
			want{requestID: "6894B13B-0000-5000-8000-000000000004", ambiguous: true, text: "GetRole: the answer is not a JSON object (HTTP 200, RequestId 6894B13B-0000-5000-8000-000000000004)"}},
		"200 wrong type, with a RequestId": {200, nil, `{"Role":{"Name":7},"RequestId":"6894B13B-0000-5000-8000-000000000005"}`,
			want{requestID: "6894B13B-0000-5000-8000-000000000005", ambiguous: true, text: "GetRole: the answer's field Role.Name has the wrong type (HTTP 200, RequestId 6894B13B-0000-5000-8000-000000000005)"}},
		"200 without RequestId":        {200, nil, `{"blocked":true,"reason":"category cloud"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 200)"}},
		"200, RequestId in the header": {200, map[string]string{"x-acs-request-id": requestID}, `{"Role":{}}`, want{requestID: requestID, ambiguous: true, text: "GetRole: " + foreign + " (HTTP 200, RequestId " + requestID + ")"}},
		"200, RequestId within":        {200, nil, `{"Role":{"RequestId":"` + requestID + `"}}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 200)"}},
		"200, RequestId of no form":    {200, nil, `{"Role":{},"RequestId":"blocked-7"}`, want{requestID: "blocked-7", ambiguous: true, text: "GetRole: " + foreign + " (HTTP 200, RequestId blocked-7)"}},
		"200, RequestId of wrong type": {200, nil, `{"Role":{},"RequestId":7}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 200)"}},
		"200 with a Code": {200, nil, `{"RequestId":"` + requestID + `","Code":"EntityNotExist.Role"}`,
			want{requestID: requestID, ambiguous: true, text: "GetRole: the answer is neither a success nor a refusal (HTTP 200, RequestId " + requestID + ")"}},
		"200 with a Code of wrong type": {200, nil, `{"RequestId":"` + requestID + `","Code":[7]}`,
			want{requestID: requestID, ambiguous: true, text: "GetRole: the answer is neither a success nor a refusal (HTTP 200, RequestId " + requestID + ")"}},
		"202 that says what is missing": {202, nil, coded("EntityNotExist.Role"), want{requestID: requestID, ambiguous: true, text: "GetRole: the answer is neither a success nor a refusal (HTTP 202, RequestId " + requestID + ")"}},
		// What a filter in between answers, whatever words it uses.
		"404 without RequestId": {404, nil, `{"Code":"EntityNotExist.Role"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 404)"}},
		"403 without RequestId": {403, nil, `{"Code":"NoPermission","RequestId":"7"}`, want{requestID: "7", ambiguous: true, text: "GetRole: " + foreign + " (HTTP 403, RequestId 7)"}},
		"400 without RequestId": {400, nil, `{"Code":"Throttling.User"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 400)"}},
		"403 of a block page":   {403, nil, `<html><title>blocked</title></html>`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 403)"}},
		// STS was seen to refuse so; what exists or does not is not believed.
		"HostId alone":                {401, nil, `{"HostId":"sts.aliyuncs.com","Code":"AuthenticationFail.NoPermission"}`, want{code: "AuthenticationFail.NoPermission", text: "GetRole: AuthenticationFail.NoPermission (HTTP 401)"}},
		"HostId alone, what is gone":  {404, nil, `{"HostId":"ram.aliyuncs.com","Code":"EntityNotExist.Role"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 404)"}},
		"HostId alone, what is there": {409, nil, `{"HostId":"ram.aliyuncs.com","Code":"EntityAlreadyExists.Role"}`, want{ambiguous: true, text: "GetRole: " + foreign + " (HTTP 409)"}},
		"RequestId in the header":     {404, map[string]string{"x-acs-request-id": requestID}, `{"Code":"EntityNotExist.Role"}`, want{code: "EntityNotExist.Role", requestID: requestID, notExist: true, text: "GetRole: EntityNotExist.Role (HTTP 404, RequestId " + requestID + ")"}},
		"200 too large":               {200, nil, `{"x":"` + strings.Repeat("x", 64<<10) + `"}`, want{ambiguous: true, text: "GetRole: the answer is larger than 64 KiB (HTTP 200)"}},
		"204":                         {204, nil, ``, want{ambiguous: true, text: "GetRole: the answer is neither a success nor a refusal (HTTP 204)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tc.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			var out struct{ Role struct{ Name string } }
			err := c.Do(context.Background(), call(endpoint), &out)
			var got *openapi.Error
			if !errors.As(err, &got) {
				t.Fatalf("Do = %v, want an *Error", err)
			}
			have := want{got.Code, got.Message, got.RequestID, got.Throttled(), got.Temporary(), got.NotExist(), openapi.Ambiguous(err), err.Error()}
			if have != tc.want {
				t.Errorf("got  %+v\nwant %+v", have, tc.want)
			}
			if got.Status != tc.status || got.Action != "GetRole" {
				t.Errorf("got status %d, action %s", got.Status, got.Action)
			}
		})
	}
}

// What a refusal tells of who may not do what. The bodies are RAM's of 2019,
// and the later form with an AccessDeniedDetail.
func TestErrorTellsWhatWasDenied(t *testing.T) {
	t.Parallel()
	const detail = `{"AuthAction":"ram:CreateRole","AuthPrincipalType":"AssumedRoleUser","AuthPrincipalDisplayName":"vault:mount-1","AuthPrincipalOwnerId":"1000000000000001",` +
		`"EncodedDiagnosticMessage":"AQIBIAAAAOPdwKY2QLOvgMEc7SkkoJfj1kvZwsaRqNYMh10Tv0wTe0fCzaCdrvgazfNb0EnJ","NoPermissionType":"ExplicitDeny","PolicyType":"ControlPolicy"}`
	const sentence = "You are not authorized to do this action. Resource: acs:ram:*:1000000000000001:role/* Action: ram:CreateRole"
	full := openapi.AccessDenied{
		Action: "ram:CreateRole", PrincipalType: "AssumedRoleUser", PrincipalDisplayName: "vault:mount-1", PrincipalOwnerID: "1000000000000001",
		NoPermissionType: "ExplicitDeny", PolicyType: "ControlPolicy",
	}
	both := full
	both.Resource = "acs:ram:*:1000000000000001:role/*"
	for name, tc := range map[string]struct {
		body string
		want openapi.AccessDenied
	}{
		"nothing":         {`{"Code":"NoPermission","Message":"You are not authorized to do this action. You should be authorized by RAM."}`, openapi.AccessDenied{}},
		"detail":          {`{"Code":"NoPermission","Message":"m","AccessDeniedDetail":` + detail + `}`, full},
		"sentence":        {`{"Code":"NoPermission","Message":"` + sentence + `"}`, openapi.AccessDenied{Action: "ram:CreateRole", Resource: "acs:ram:*:1000000000000001:role/*"}},
		"both":            {`{"Message":"` + sentence + `","AccessDeniedDetail":` + detail + `,"Code":"NoPermission"}`, both},
		"detail as text":  {fmt.Sprintf(`{"AccessDeniedDetail":%q,"Code":"NoPermission","Message":"m"}`, detail), full},
		"resource":        {`{"Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"ram:GetUser","AuthResource":"acs:ram:*:1:user/a.b@c_d"}}`, openapi.AccessDenied{Action: "ram:GetUser", Resource: "acs:ram:*:1:user/a.b@c_d"}},
		"owner as number": {`{"AccessDeniedDetail":{"AuthPrincipalOwnerId":1000000000000001,"PolicyType":"SessionPolicy"},"Code":"NoPermission"}`, openapi.AccessDenied{PolicyType: "SessionPolicy"}},
		"no object":       {`{"AccessDeniedDetail":[7],"Code":"NoPermission"}`, openapi.AccessDenied{}},
		"null":            {`{"AccessDeniedDetail":null,"Code":"NoPermission"}`, openapi.AccessDenied{}},
		"xml": {`<?xml version="1.0"?><Error><Code>NoPermission</Code><Message>` + sentence + `</Message><AccessDeniedDetail><AuthAction>ram:CreateRole</AuthAction>` +
			`<AuthPrincipalType>AssumedRoleUser</AuthPrincipalType><AuthPrincipalDisplayName>vault:mount-1</AuthPrincipalDisplayName><AuthPrincipalOwnerId>1000000000000001</AuthPrincipalOwnerId>` +
			`<NoPermissionType>ExplicitDeny</NoPermissionType><PolicyType>ControlPolicy</PolicyType></AccessDeniedDetail></Error>`, both},
		"an AccessKeyId":      {`{"Code":"NoPermission","AccessDeniedDetail":{"AuthPrincipalDisplayName":"app:LTAI5tFAKEFAKEFAKEFAKEFA","PolicyType":"ControlPolicy"}}`, openapi.AccessDenied{PolicyType: "ControlPolicy"}},
		"a secret":            {`{"Code":"NoPermission","AccessDeniedDetail":{"PolicyType":"AaBbCcDdEeFfGgHhJjKk1234567890","AuthPrincipalType":"AaBbCcDdEeFfGgHhJjKk1234567890"}}`, openapi.AccessDenied{}},
		"a token in sentence": {`{"Code":"NoPermission","Message":"Resource: acs:oss:*:*:CAISfaketokenvaluefake Action: oss:GetObject"}`, openapi.AccessDenied{Action: "oss:GetObject"}},
		"line breaks":         {`{"Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"ram:A\nERROR forged","AuthPrincipalType":"\u202e"}}`, openapi.AccessDenied{}},
		"too long":            {`{"Code":"NoPermission","AccessDeniedDetail":{"AuthPrincipalDisplayName":"` + strings.Repeat("a", 257) + `"}}`, openapi.AccessDenied{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("x-acs-request-id", requestID)
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, tc.body)
			})
			err := c.Do(t.Context(), call(endpoint), nil)
			var got *openapi.Error
			if !errors.As(err, &got) || got.Code != "NoPermission" {
				t.Fatalf("Do = %v, want NoPermission", err)
			}
			if got.Denied != tc.want {
				t.Errorf("got  %+v\nwant %+v", got.Denied, tc.want)
			}
			if strings.Contains(fmt.Sprintf("%+v %v", *got, err), "AQIBI") {
				t.Errorf("the encoded message is kept: %v", err)
			}
			if tc.want.NoPermissionType != "" && !strings.HasSuffix(err.Error(), " (ExplicitDeny, ControlPolicy)") {
				t.Errorf("the kind of refusal is not printed: %v", err)
			}
		})
	}
}

func TestKeyRefused(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"InvalidAccessKeyId": true, "InvalidAccessKeyId.NotFound": true, "InvalidAccessKeyId.Inactive": true,
		"InvalidAccessKeyIds": false, "NoPermission": false, "InvalidSecurityToken.Expired": false, "": false,
	} {
		if got := (&openapi.Error{Code: code}).KeyRefused(); got != want {
			t.Errorf("%q: %t", code, got)
		}
	}
}

func TestTokenMissing(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"HostId":"h","Code":"MissingSecurityToken","Message":"SecurityToken is mandatory for this action."}`:                                                      true,
		`{"HostId":"h","Code":"MissingParameter","Message":"The input parameter \"SecurityToken\" that is mandatory for processing this request is not supplied."}`: true,
		`{"HostId":"h","Code":"MissingParameter.SecurityToken"}`:                                                                                                    true,
		`{"HostId":"h","Code":"MissingParameter","Message":"The input parameter \"RoleArn\" that is mandatory for processing this request is not supplied."}`:       false,
		`{"HostId":"h","Code":"InvalidSecurityToken.Expired","Message":"Specified SecurityToken is expired."}`:                                                      false,
	} {
		endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, body)
		})
		err := c.Do(t.Context(), call(endpoint), nil)
		var got *openapi.Error
		if !errors.As(err, &got) || got.TokenMissing() != want {
			t.Errorf("%s: %v, missing %t", body, err, got.TokenMissing())
		}
		if want && !strings.Contains(err.Error(), "SecurityToken") {
			t.Errorf("what is missing is not named: %v", err)
		}
	}
}

func TestErrorMessageIsBounded(t *testing.T) {
	t.Parallel()
	endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"HostId":"h","Code":"InvalidParameter","Message":"%s"}`, strings.Repeat("é ", 3000))
	})
	var got *openapi.Error
	if err := c.Do(t.Context(), call(endpoint), nil); !errors.As(err, &got) || len(got.Message) > 256 || len(got.Message) < 250 {
		t.Errorf("Do = %v", err)
	}
}

func TestErrorTellsClockSkew(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"InvalidTimeStamp.Expired": "the local clock is",
		"NoPermission":             "",
	} {
		endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"HostId":"h","Code":%q}`, code)
		})
		err := c.Do(t.Context(), call(endpoint), nil)
		if got := strings.Contains(err.Error(), "ahead of the service's"); got != (want != "") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestErrorsHoldNoSecretsAndNoURL(t *testing.T) {
	t.Parallel()
	endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	r := call(endpoint)
	r.Params["PolicyDocument"] = "hidden-policy"
	err := c.Do(t.Context(), r, nil)
	var network *openapi.NetworkError
	if !errors.As(err, &network) || !network.Sent || network.Host == "" {
		t.Fatalf("Do = %v, want a sent *NetworkError", err)
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{fakeKeys.AccessKeyID, fakeKeys.AccessKeySecret, fakeKeys.SecurityToken, "hidden-policy", "RoleName", "https://"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is printed in %s", secret, text)
		}
	}
}
