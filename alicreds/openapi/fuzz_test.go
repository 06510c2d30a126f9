package openapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// inProcess answers a request without a socket.
type inProcess func(*http.Request) (status int, body []byte)

func (answer inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	status, body := answer(r)
	return &http.Response{StatusCode: status, Header: http.Header{"X-Acs-Request-Id": {requestID}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func (answer inProcess) client(t *testing.T) *openapi.Client {
	t.Helper()
	c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: answer}, MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// secretLike is what no error may show: the beginning of an AccessKeyId or a
// token with enough behind it to be one.
var secretLike = regexp.MustCompile(`(?:LTAI|STS\.N|CAIS|eyJ)[A-Za-z0-9_+/=-]{12,}`)

// FuzzErrorBody refuses a call with any status and body, JSON, XML or neither.
func FuzzErrorBody(f *testing.F) {
	f.Fuzz(func(t *testing.T, status uint16, body []byte) {
		code := 201 + int(status)%399
		c := inProcess(func(*http.Request) (int, []byte) { return code, body }).client(t)
		err := c.Do(t.Context(), call("sts.aliyuncs.com"), nil)
		var refused *openapi.Error
		if !errors.As(err, &refused) || refused.Status != code || refused.Action != "GetRole" {
			t.Fatalf("HTTP %d: got %v", code, err)
		}
		text := fmt.Sprintf("%v %v", err, refused.Denied)
		switch {
		case len(refused.Message) > 256 || len(refused.Code) > 128 || len(refused.RequestID) > 128:
			t.Errorf("too long: %s", text)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Errorf("not to be printed: %q", text)
		case secretLike.MatchString(text):
			t.Errorf("it may show a secret: %s", text)
		}
		for _, run := range regexp.MustCompile(`[A-Za-z0-9+/=]{28,}`).FindAllString(fmt.Sprint(refused.Message, refused.Denied), -1) {
			if strings.ContainsAny(run, "0123456789") && strings.ToLower(run) != run && strings.ToUpper(run) != run {
				t.Errorf("%q may be a secret", run)
			}
		}
	})
}

// FuzzEndpoint wants an accepted endpoint to be reached by https, or on this
// machine, and nothing but its host to count.
func FuzzEndpoint(f *testing.F) {
	f.Fuzz(func(t *testing.T, endpoint string) {
		checked := openapi.CheckEndpoint(endpoint)
		var reached *http.Request
		c := inProcess(func(r *http.Request) (int, []byte) {
			reached = r
			return http.StatusOK, []byte(good)
		}).client(t)
		err := c.Do(t.Context(), call(endpoint), nil)
		if checked != nil {
			if err == nil || reached != nil {
				t.Errorf("%q is refused (%v) and called (%v)", endpoint, checked, err)
			}
			if strings.ContainsFunc(checked.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("not to be printed: %q", checked)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q is accepted and fails: %v", endpoint, err)
		}
		u := reached.URL
		host := u.Hostname()
		addr, notAddr := netip.ParseAddr(host)
		local := strings.EqualFold(host, "localhost") || notAddr == nil && addr.Unmap().IsLoopback()
		if u.Scheme != "https" && !(u.Scheme == "http" && local) {
			t.Errorf("%q is reached by %s", endpoint, u.Scheme)
		}
		if u.User != nil || u.Path != "/" || u.Fragment != "" || reached.Host != u.Host || host == "" || strings.ContainsAny(u.Host, "/?#@\\ %") {
			t.Errorf("%q becomes %s for %s", endpoint, u.Redacted(), reached.Host)
		}
		_, plain, found := strings.Cut(endpoint, "://")
		if !found {
			plain = endpoint
		}
		if strings.TrimSuffix(plain, "/") != u.Host {
			t.Errorf("of %q only %s counts", endpoint, u.Host)
		}
		again, err := url.Parse(u.Scheme + "://" + u.Host)
		if err != nil || again.Host != u.Host || openapi.CheckEndpoint(again.String()) != nil {
			t.Errorf("%q becomes %s, which is another: %v", endpoint, u.Host, err)
		}
	})
}

// FuzzParams wants parameters to arrive as they were, in the order and with
// the few plain characters that the signature asks for.
func FuzzParams(f *testing.F) {
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string, anonymous bool) {
		params := map[string]string{name: value, name2: value2}
		c := inProcess(func(r *http.Request) (int, []byte) {
			encoded := r.URL.RawQuery
			if r.Body != nil { // anonymous, or large
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				encoded = string(body)
			}
			var names []string
			for pair := range strings.SplitSeq(encoded, "&") {
				plain, err := unescape(pair)
				if err != nil {
					t.Fatalf("%q: %v", pair, err)
				}
				n, v, _ := strings.Cut(pair, "=")
				n, _ = unescape(n)
				v, _ = unescape(v)
				if got, ok := params[n]; !ok || got != v {
					t.Errorf("%q (%q) arrives", pair, plain)
				}
				names = append(names, n)
			}
			if len(names) != len(params) || !slices.IsSorted(names) {
				t.Errorf("%q for %q", names, params)
			}
			if values, err := url.ParseQuery(encoded); err != nil || values.Get(name) != params[name] {
				t.Errorf("other parsers read %q, %v", values, err)
			}
			return http.StatusOK, []byte(good)
		}).client(t)
		r := call("sts.aliyuncs.com")
		r.Params = params
		if anonymous {
			r.Keys = openapi.Keys{}
		}
		if err := c.Do(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	})
}

var reserved = regexp.MustCompile(`%[0-9A-F]{2}|[A-Za-z0-9._~=-]`)

func unescape(s string) (string, error) {
	if rest := reserved.ReplaceAllString(s, ""); rest != "" {
		return "", errors.New("plain " + rest)
	}
	return url.PathUnescape(s)
}

// TestFuzzSeeds fails when a fuzz target has lost its seeds, or seeds their
// target: go test would silently try nothing.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("fuzz_test.go")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, target := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllSubmatch(source, -1) {
		targets[string(target[1])] = true
		seeds, err := os.ReadDir(filepath.Join("testdata/fuzz", string(target[1])))
		if err != nil || len(seeds) == 0 {
			t.Errorf("%s has no seeds: %v", target[1], err)
		}
	}
	folders, err := os.ReadDir("testdata/fuzz")
	if err != nil || len(targets) == 0 {
		t.Fatalf("%d targets, %v", len(targets), err)
	}
	for _, folder := range folders {
		if !targets[folder.Name()] {
			t.Errorf("testdata/fuzz/%s has no target", folder.Name())
		}
	}
}
