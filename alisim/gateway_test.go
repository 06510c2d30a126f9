package alisim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGatewayRefusesV3(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05Z") }
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		resign bool
		status int
		code   string
	}{
		{"nothing wrong", nil, false, 200, ""},
		{"signature", func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+"0") }, false, 400, "SignatureDoesNotMatch"},
		{"parameter changed", func(r *http.Request) { r.URL.RawQuery = "UserName=other" }, false, 400, "SignatureDoesNotMatch"},
		{"late", func(r *http.Request) { r.Header.Set("x-acs-date", date(-15*time.Minute-time.Second)) }, true, 400, "InvalidTimeStamp.Expired"},
		{"early", func(r *http.Request) { r.Header.Set("x-acs-date", date(15*time.Minute+2*time.Second)) }, true, 400, "InvalidTimeStamp.Expired"},
		{"nearly late", func(r *http.Request) { r.Header.Set("x-acs-date", date(-14*time.Minute)) }, true, 200, ""},
		{"date format", func(r *http.Request) { r.Header.Set("x-acs-date", time.Now().Format(time.RFC1123)) }, true, 400, "InvalidTimeStamp.Format"},
		{"no nonce", func(r *http.Request) { r.Header.Del("x-acs-signature-nonce") }, true, 400, "Missingx-acs-signature-nonce"},
		{"unsigned", func(r *http.Request) { r.Header.Del("Authorization") }, false, 400, "MissingAccessKeyId"},
		{"header not signed", func(r *http.Request) { r.Header.Set("x-acs-new", "1") }, false, 400, "IncompleteSignature"},
		{"other algorithm", func(r *http.Request) { r.Header.Set("Authorization", "ACS3-RSA-SHA256 Credential=a") }, false, 400, "InvalidSignatureMethod"},
		{"other host", func(r *http.Request) { r.Host = "ram-vpc.aliyuncs.com" }, false, 400, "SignatureDoesNotMatch"},
		{"action", func(r *http.Request) { r.Header.Set("x-acs-action", "FlyToTheMoon") }, true, 404, "InvalidApi.NotFound"},
		{"version", func(r *http.Request) { r.Header.Set("x-acs-version", "1999-01-01") }, true, 400, "InvalidParameter"},
		{"version of another service", func(r *http.Request) { r.Header.Set("x-acs-version", stsVersion) }, true, 404, "InvalidApi.NotFound"},
		{"no version", func(r *http.Request) { r.Header.Del("x-acs-version") }, true, 400, "MissingVersion"},
		{"host of another service", func(r *http.Request) { r.Host, r.URL.Host = "sts.aliyuncs.com", "sts.aliyuncs.com" }, true, 404, "InvalidApi.NotFound"},
		{"path", func(r *http.Request) { r.URL.Path = "/ram" }, true, 404, "InvalidApi.NotFound"},
		{"method", func(r *http.Request) { r.Method = http.MethodPut }, true, 400, "UnsupportedHTTPMethod"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "%zz" }, false, 400, "InvalidParameter"},
		{"long query", func(r *http.Request) { r.Method = http.MethodGet; r.URL.RawQuery = strings.Repeat("x", 5000) }, false, 413, "RequestTooLarge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // so that a second too early is one when it arrives
				c := start(t, Options{NoListen: true})
				p := params{"UserName": DefaultUserName}
				r := v3(t.Context(), vaultKeys, "GetUser", p)
				if tc.change != nil {
					tc.change(r)
				}
				if tc.resign {
					resignV3(r, vaultKeys, p)
				}
				out := send(t, c.client, r)
				if out.status != tc.status || out.code() != tc.code {
					t.Errorf("got %d %q, want %d %q", out.status, out.code(), tc.status, tc.code)
				}
			})
		})
	}
}

func TestGatewayRefusesV1(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	for _, tc := range []struct {
		name   string
		change func(params)
		status int
		code   string
	}{
		{"nothing wrong", nil, 200, ""},
		{"no action", func(p params) { delete(p, "Action") }, 400, "MissingAction"},
		{"no version", func(p params) { delete(p, "Version") }, 400, "MissingVersion"},
		{"no nonce", func(p params) { delete(p, "SignatureNonce") }, 400, "MissingSignatureNonce"},
		{"no timestamp", func(p params) { delete(p, "Timestamp") }, 400, "MissingTimestamp"},
		{"no method", func(p params) { delete(p, "SignatureMethod") }, 400, "MissingSignatureMethod"},
		{"no signature version", func(p params) { delete(p, "SignatureVersion") }, 400, "MissingSignatureVersion"},
		{"signature version", func(p params) { p["SignatureVersion"] = "2.0" }, 400, "InvalidParameter"},
		{"method", func(p params) { p["SignatureMethod"] = "HMAC-MD5" }, 400, "InvalidSignatureMethod"},
		{"type", func(p params) { p["SignatureType"] = "BEARERTOKEN" }, 400, "InvalidParameter"},
		{"late", func(p params) { p["Timestamp"] = "2015-08-18T03:15:45Z" }, 400, "InvalidTimeStamp.Expired"},
		{"timestamp format", func(p params) { p["Timestamp"] = "2015-08-18 03:15:45" }, 400, "InvalidTimeStamp.Format"},
		{"no key", func(p params) { p["AccessKeyId"] = "" }, 400, "MissingAccessKeyId"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(tc.name+" "+method, func(t *testing.T) {
				t.Parallel()
				out := send(t, c.client, v1(t.Context(), method, vaultKeys, "GetUser", params{"UserName": DefaultUserName}, tc.change))
				if out.status != tc.status || out.code() != tc.code {
					t.Errorf("got %d %q, want %d %q", out.status, out.code(), tc.status, tc.code)
				}
			})
		}
	}
}

func TestNonceReplay(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	r := v3(t.Context(), vaultKeys, "GetUser", params{"UserName": DefaultUserName})
	if out := send(t, c.client, r.Clone(t.Context())); out.status != 200 {
		t.Fatalf("%v", out.body)
	}
	if out := send(t, c.client, r.Clone(t.Context())); out.code() != "SignatureNonceUsed" {
		t.Errorf("replayed: %v", out.body)
	}
	fixed := func(p params) { p["SignatureNonce"] = "once" }
	if out := send(t, c.client, v1(t.Context(), "GET", vaultKeys, "GetUser", params{"UserName": DefaultUserName}, fixed)); out.status != 200 {
		t.Fatalf("%v", out.body)
	}
	if out := send(t, c.client, v1(t.Context(), "POST", vaultKeys, "ListUsers", nil, fixed)); out.code() != "SignatureNonceUsed" {
		t.Errorf("reused for another call: %v", out.body)
	}
}

func TestNoncesAreForgottenLate(t *testing.T) {
	t.Parallel()
	var n nonces
	begin := time.Now()
	if !n.use(begin, "k", "n") || n.use(begin, "k", "n") {
		t.Error("a nonce is good once")
	}
	if n.use(begin.Add(31*time.Minute), "k", "n") {
		t.Error("forgotten within the window")
	}
	if !n.use(begin.Add(31*time.Minute), "other", "n") {
		t.Error("nonces of different keys collide")
	}
	if !n.use(begin.Add(2*time.Hour), "k", "new") || !n.use(begin.Add(4*time.Hour), "k", "n") {
		t.Error("never forgotten")
	}
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	c.Advance(100 * time.Hour) // the window stays where clients are
	c.must(vaultKeys, "GetCallerIdentity", nil)
	settings := c.Settings()
	settings.ClockSkew = -16 * time.Minute
	if err := c.Configure(settings); err != nil {
		t.Fatal(err)
	}
	c.refused(vaultKeys, "GetCallerIdentity", nil, 400, "InvalidTimeStamp.Expired")
}

func TestFormats(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	for _, tc := range []struct {
		name   string
		format string
		accept string
		want   string
	}{
		{"V1 without a format", "", "", "<Users><User>"},
		{"V1 XML", "XML", "", "<ListUsersResponse><RequestId>"},
		{"V1 accepts JSON", "", "application/json", ""},
		{"V1 format wins", "xml", "application/json", "<UserName>vault</UserName>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := v1(t.Context(), "GET", vaultKeys, "ListUsers", nil, func(p params) {
				delete(p, "Format")
				if tc.format != "" {
					p["Format"] = tc.format
				}
			})
			if tc.accept != "" {
				r.Header.Set("Accept", tc.accept)
			}
			out := send(t, c.client, r)
			if out.status != 200 || !strings.Contains(out.text("raw"), tc.want) || (tc.want == "") != (out.text("raw") == "") {
				t.Errorf("%d %v", out.status, out.body)
			}
		})
	}
	refused := send(t, c.client, v1(t.Context(), "GET", vaultKeys, "GetUser", params{"UserName": "<none>&"}, func(p params) { p["Format"] = "XML" }))
	if got := refused.text("raw"); refused.status != 400 || !strings.Contains(got, "<Error><RequestId>") || !strings.Contains(got, "<Code>InvalidParameter.UserName.InvalidChars</Code>") {
		t.Errorf("%d %s", refused.status, got)
	}
	v3XML := v3(t.Context(), vaultKeys, "ListUsers", nil)
	v3XML.Header.Set("Accept", "application/xml")
	if got := send(t, c.client, v3XML).text("raw"); !strings.Contains(got, "<Users>") {
		t.Errorf("V3 XML: %s", got)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	post := func(contentType, body string) result {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://ram.aliyuncs.com/?Format=JSON", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		return send(t, c.client, r)
	}
	for _, tc := range []struct{ name, contentType, body, code string }{
		{"form", "application/x-www-form-urlencoded; charset=utf-8", "Action=GetUser&Version=" + ramVersion, "MissingAccessKeyId"},
		{"JSON", "application/json", `{"Action":"GetUser","Version":"` + ramVersion + `","N":1}`, "MissingAccessKeyId"},
		{"bad form", "application/x-www-form-urlencoded", "%zz", "InvalidParameter"},
		{"bad JSON", "application/json", "[]", "InvalidParameter"},
		{"text", "text/plain", "Action=GetUser", "InvalidParameter.ContentType"},
		{"too large", "application/x-www-form-urlencoded", strings.Repeat("x", maxBody+1), "RequestTooLarge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if out := post(tc.contentType, tc.body); out.code() != tc.code {
				t.Errorf("%v, want %s", out.body, tc.code)
			}
		})
	}
}

func TestErrorBody(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	out := c.refused(vaultKeys, "GetUser", params{"UserName": "none"}, 404, "EntityNotExist.User")
	if out.text("Message") != "The user does not exist." || out.text("HostId") != "ram.aliyuncs.com" || out.text("Recommend") == "" ||
		out.text("RequestId") == "" || out.text("RequestId") != out.header.Get("x-acs-request-id") {
		t.Errorf("%v", out.body)
	}
	if last := c.Journal()[0]; last.RequestID != out.text("RequestId") || last.Code != "EntityNotExist.User" || last.Applied {
		t.Errorf("%+v", last)
	}
}

func TestConditionsOnTheRequest(t *testing.T) {
	t.Parallel()
	doc := Document(`{"Version":"1","Statement":[
		{"Effect":"Allow","Action":"ram:*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8","127.0.0.1"]},"Bool":{"acs:SecureTransport":true}}},
		{"Effect":"Deny","Action":"ram:ListUsers","Resource":"*","Condition":{"Bool":{"acs:MFAPresent":"false"}}},
		{"Effect":"Deny","Action":"ram:ListRoles","Resource":"*","Condition":{"NotIpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}`)
	c := start(t, Options{Seed: Seed{Accounts: []Account{{
		ID: "1", Policies: []Policy{{Name: "p", Document: doc}},
		Users: []User{{Name: "u", AccessKeys: []AccessKey{{ID: "ukey", Secret: "usecret"}}, Policies: []string{"p"}}},
	}}}})
	c.must(of("u"), "ListGroups", nil)
	c.must(of("u"), "ListUsers", nil) // acs:MFAPresent is absent: the condition is not met
	c.refused(of("u"), "ListRoles", nil, 403, "NoPermission")
	plain := &http.Client{Transport: c.Transport()}
	p := params{}
	r := v3(t.Context(), of("u"), "ListGroups", p)
	r.URL.Scheme = "http"
	if out := send(t, plain, r); out.code() != "NoPermission" {
		t.Errorf("without TLS: %v", out.body)
	}
}

// F1.13: what is large goes into the body, as a form or as JSON; a request line of more than 8 KB is not read.
func TestWhereParametersMayBe(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]Options{"sockets": {}, "in process": {NoListen: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, options)
			document := strings.Replace(allowAll, `"Resource":"*"`, `"Resource":["`+strings.Join(slices.Repeat([]string{"acs:oss:*:*:*"}, 370), `","`)+`"]`, 1)
			if len(document) < 5900 || len(document) > 6144 {
				t.Fatalf("the policy has %d characters", len(document))
			}
			policy := func(name string) params { return params{"PolicyName": name, "PolicyDocument": document} }
			object, err := json.Marshal(policy("p2"))
			if err != nil {
				t.Fatal(err)
			}
			const form = "application/x-www-form-urlencoded"
			for place, r := range map[string]*http.Request{
				"V3 form": v3Body(t.Context(), vaultKeys, "CreatePolicy", form, sortedQuery(policy("p1"))),
				"V3 JSON": v3Body(t.Context(), vaultKeys, "CreatePolicy", "application/json; charset=utf-8", string(object)),
				"V1 form": v1(t.Context(), http.MethodPost, vaultKeys, "CreatePolicy", policy("p3"), nil),
			} {
				if out := send(t, c.client, r); out.status != 200 {
					t.Errorf("%s: %d %v", place, out.status, out.body)
				}
			}
			for _, p := range c.Inventory().Policies {
				if p.Document != document {
					t.Errorf("policy %s came otherwise", p.Name)
				}
			}
			if n := len(c.Inventory().Policies); n != 3 {
				t.Errorf("%d policies", n)
			}

			out := c.call(vaultKeys, "CreatePolicy", policy("p4"))
			if out.status != 414 || out.code() != "" || !strings.HasPrefix(out.header.Get("Content-Type"), "text/html") {
				t.Errorf("in the request line: %d %v", out.status, out.body)
			}
			if n := len(c.Inventory().Policies); n != 3 {
				t.Errorf("%d policies after a request line that is not read", n)
			}

			unsigned := v3Body(t.Context(), vaultKeys, "CreatePolicy", form, sortedQuery(policy("p5")))
			unsigned.Header.Set("Content-Type", form+"; charset=utf-8")
			if out := send(t, c.client, unsigned); out.code() != "SignatureDoesNotMatch" {
				t.Errorf("another content type than the signed one: %v", out.code())
			}
			other := v3Body(t.Context(), vaultKeys, "CreatePolicy", form, sortedQuery(policy("p6")))
			text := sortedQuery(policy("p7"))
			other.Body, other.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			if out := send(t, c.client, other); out.code() != "SignatureDoesNotMatch" {
				t.Errorf("another body than the signed one: %v", out.code())
			}
		})
	}
}

// The bound of the request line is exact: method, target, version and the two blanks between them.
func TestBoundOfTheRequestLine(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	for length, want := range map[int]int{8190: 400, 8191: 414} {
		target := "/?x=" + strings.Repeat("x", length-len("POST /?x= HTTP/1.1"))
		if out := c.ask(http.MethodPost, "https://sts.aliyuncs.com"+target, ""); out.status != want {
			t.Errorf("a line of %d bytes: %d, want %d", length, out.status, want)
		}
	}
}

// The address a call comes from is the one that conditions see.
func TestSourceIPIsTheCallers(t *testing.T) {
	t.Parallel()
	doc := Document(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:List*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}`)
	c := start(t, Options{NoListen: true, Seed: Seed{Accounts: []Account{{
		ID: "1", Policies: []Policy{{Name: "p", Document: doc}},
		Users: []User{{Name: "u", AccessKeys: []AccessKey{{ID: "ukey", Secret: "usecret"}}, Policies: []string{"p"}}},
	}}}})
	for address, want := range map[string]int{"10.1.2.3:4567": 200, "127.0.0.1:4567": 403, "[fd00::1]:4567": 403} {
		r := v3(t.Context(), of("u"), "ListUsers", nil)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		c.door.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d %s", address, w.Code, w.Body)
		}
	}
	if got := c.Authorize("ukey", "ram:ListUsers", "acs:ram:*:1:user/*"); got != "ImplicitDeny" {
		t.Errorf("Authorize asks for 127.0.0.1 and got %s", got)
	}
}
