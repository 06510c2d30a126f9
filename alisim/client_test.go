package alisim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// The client of the tests. It signs with its own few lines, so that a slip in the verifier is not repeated here.

type keys struct{ id, secret, token string }

var vaultKeys = keys{id: DefaultAccessKeyID, secret: DefaultAccessKeySecret}

type params map[string]string

// result is a decoded answer.
type result struct {
	status int
	header http.Header
	body   map[string]any
}

func (r result) text(path string) string {
	var v any = r.body
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (r result) list(path string) []map[string]any {
	var v any = r.body
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	items, _ := v.([]any)
	var out []map[string]any
	for _, item := range items {
		m, _ := item.(map[string]any)
		out = append(out, m)
	}
	return out
}

func (r result) code() string { return r.text("Code") }

func (r result) keys() keys {
	return keys{r.text("Credentials.AccessKeyId"), r.text("Credentials.AccessKeySecret"), r.text("Credentials.SecurityToken")}
}

func nonce() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func rfc3986(s string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(s))
}

func sortedQuery(p params) string {
	var pairs []string
	for k, v := range p {
		pairs = append(pairs, rfc3986(k)+"="+rfc3986(v))
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func versionOf(action string) (version, host string) {
	for _, a := range slices.Concat(stsActions(), resourceManagerActions(), identityManagementActions()) {
		if a.name == action {
			return a.version, strings.ToLower(a.service) + ".aliyuncs.com"
		}
	}
	return ramVersion, "ram.aliyuncs.com"
}

// v3 builds a V3 request.
func v3(ctx context.Context, k keys, action string, p params) *http.Request {
	version, host := versionOf(action)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/?"+sortedQuery(p), nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("x-acs-action", action)
	r.Header.Set("x-acs-version", version)
	r.Header.Set("x-acs-date", time.Now().UTC().Format("2006-01-02T15:04:05Z"))
	r.Header.Set("x-acs-signature-nonce", nonce())
	if k.token != "" {
		r.Header.Set("x-acs-security-token", k.token)
	}
	resignV3(r, k, p)
	return r
}

// v3Body builds a V3 request whose parameters are in its body.
func v3Body(ctx context.Context, k keys, action, contentType, body string) *http.Request {
	r := v3(ctx, k, action, nil)
	r.URL.RawQuery = ""
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", contentType)
	signV3(r, k, nil, body)
	return r
}

// resignV3 signs the request as its headers are now.
func resignV3(r *http.Request, k keys, p params) { signV3(r, k, p, "") }

func signV3(r *http.Request, k keys, p params, body string) {
	hash := sha256.Sum256([]byte(body))
	r.Header.Set("x-acs-content-sha256", hex.EncodeToString(hash[:]))
	names := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-acs-") || name == "content-type" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	canonical := r.Method + "\n/\n" + sortedQuery(p) + "\n"
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	canonical += "\n" + strings.Join(names, ";") + "\n" + r.Header.Get("x-acs-content-sha256")
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(k.secret))
	mac.Write([]byte("ACS3-HMAC-SHA256\n" + hex.EncodeToString(digest[:])))
	r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+k.id+",SignedHeaders="+strings.Join(names, ";")+
		",Signature="+hex.EncodeToString(mac.Sum(nil)))
}

// v1 builds a V1 request; change may edit the parameters before they are signed.
func v1(ctx context.Context, method string, k keys, action string, p params, change func(params)) *http.Request {
	version, host := versionOf(action)
	all := params{
		"Action": action, "Version": version, "Format": "JSON", "AccessKeyId": k.id, "SignatureMethod": "HMAC-SHA1",
		"SignatureVersion": "1.0", "SignatureNonce": nonce(), "SignatureType": "",
		"Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05Z"),
	}
	if k.token != "" {
		all["SecurityToken"] = k.token
	}
	for name, value := range p {
		all[name] = value
	}
	if change != nil {
		change(all)
	}
	mac := hmac.New(sha1.New, []byte(k.secret+"&"))
	mac.Write([]byte(method + "&%2F&" + rfc3986(sortedQuery(all))))
	all["Signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	target, body := "https://"+host+"/", io.Reader(nil)
	if method == http.MethodPost {
		body = strings.NewReader(sortedQuery(all))
	} else {
		target += "?" + sortedQuery(all)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		panic(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func send(t *testing.T, client *http.Client, r *http.Request) result {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", r.URL.Path, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := result{status: response.StatusCode, header: response.Header}
	if len(body) > 0 && bytes.HasPrefix(body, []byte("{")) {
		if err := json.Unmarshal(body, &out.body); err != nil {
			t.Fatalf("answer is no JSON: %v\n%s", err, body)
		}
	} else {
		out.body = map[string]any{"raw": string(body)}
	}
	return out
}

// cloud is a simulator with a client.
type cloud struct {
	*Server
	t      *testing.T
	client *http.Client
}

func start(t *testing.T, o Options) *cloud {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &cloud{Server: s, t: t, client: s.Client()}
}

// in is the same cloud for a subtest.
func (c *cloud) in(t *testing.T) *cloud { return &cloud{Server: c.Server, t: t, client: c.client} }

// call sends a V3 request.
func (c *cloud) call(k keys, action string, p params) result {
	c.t.Helper()
	return send(c.t, c.client, v3(c.t.Context(), k, action, p))
}

// must sends a request that has to succeed.
func (c *cloud) must(k keys, action string, p params) result {
	c.t.Helper()
	out := c.call(k, action, p)
	if out.status != http.StatusOK {
		c.t.Fatalf("%s %v: %d %v", action, p, out.status, out.body)
	}
	return out
}

// refused sends a request that has to be refused with a code.
func (c *cloud) refused(k keys, action string, p params, status int, code string) result {
	c.t.Helper()
	out := c.call(k, action, p)
	if out.status != status || out.code() != code {
		c.t.Fatalf("%s %v: got %d %s, want %d %s (%v)", action, p, out.status, out.code(), status, code, out.body)
	}
	return out
}
