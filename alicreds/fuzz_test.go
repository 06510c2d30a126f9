package alicreds

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	fuzzRoleARN     = "acs:ram::1234567890123456:role/deploy"
	fuzzProviderARN = "acs:ram::1234567890123456:oidc-provider/ack-rrsa"
	fuzzJWT         = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"
)

// inProcess answers a request without a socket.
type inProcess func(*http.Request) []byte

func (answer inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader(answer(r))),
		Request:    r,
	}, nil
}

func (answer inProcess) sts(t testing.TB) STSOptions {
	t.Helper()
	client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: answer}, MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return STSOptions{Client: client}
}

// checkReplies holds a provider to what is asked of it whatever a service
// answers with status 200: complete credentials that are good for a while, or
// an error that is none of "not set up" and quotes nothing of the answers.
func checkReplies(t *testing.T, token bool, replies [][]byte, retrieve func(replies [][]byte) (Credentials, error)) {
	t.Helper()
	c, err := retrieve(replies)
	if err == nil {
		switch {
		case c.AccessKeyID == "" || c.AccessKeySecret == "" || token && c.SecurityToken == "":
			t.Errorf("keys are missing: %s", c)
		case c.Expiration.IsZero() || c.Expired(time.Now()):
			t.Errorf("the credentials have ended: %s", c)
		case strings.ContainsFunc(c.SessionARN+c.AccountID+c.Source, unicode.IsControl):
			t.Errorf("control characters in %q, %q or %q", c.SessionARN, c.AccountID, c.Source)
		}
		return
	}
	if c != (Credentials{}) {
		t.Errorf("an error and %s", c)
	}
	if errors.Is(err, ErrUnavailable) {
		t.Errorf("a bad answer makes a chain go on: %v", err)
	}
	for _, reply := range replies {
		for _, value := range quotable(reply) {
			if !strings.Contains(err.Error(), value) {
				continue
			}
			// Our own words may happen to be in the answer. They stay when
			// the answer's change.
			other := make([][]byte, len(replies))
			for i, reply := range replies {
				other[i] = bytes.ReplaceAll(reply, []byte(value), bytes.Repeat([]byte("Z"), len(value)))
			}
			if _, err2 := retrieve(other); err2 == nil || !strings.Contains(err2.Error(), value) {
				t.Errorf("the error quotes %q: %v", value, err)
			}
		}
	}
}

// quotable are the strings of an answer that are too long for a coincidence,
// but for what is worth telling: when keys expired, and a code.
func quotable(reply []byte) []string {
	names, values := map[string]bool{}, []string{string(bytes.TrimSpace(reply))}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			values = append(values, v)
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			for name, member := range v {
				names[name] = true
				walk(member)
			}
		}
	}
	var document any
	if json.Unmarshal(reply, &document) == nil {
		walk(document)
	}
	var refusal struct {
		Error string `json:"error"`
		Code  string
	}
	_ = json.Unmarshal(reply, &refusal)
	return slices.DeleteFunc(values, func(value string) bool {
		_, notTime := time.Parse(time.RFC3339, value)
		return len(value) <= 8 || names[value] || notTime == nil || value == codeWord(refusal.Error) || value == codeWord(refusal.Code) || requestIDForm.MatchString(value)
	})
}

var requestIDForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// FuzzSTSReply answers AssumeRole and AssumeRoleWithOIDC.
func FuzzSTSReply(f *testing.F) {
	key, err := NewAccessKey("LTAI5tfake", "fake")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, reply []byte, oidc bool) {
		checkReplies(t, true, [][]byte{reply}, func(replies [][]byte) (Credentials, error) {
			o := inProcess(func(*http.Request) []byte { return replies[0] }).sts(t)
			if oidc {
				p, err := NewOIDCRoleARN(fixedToken(fuzzJWT), OIDCRoleARNOptions{RoleARN: fuzzRoleARN, OIDCProviderARN: fuzzProviderARN, STSOptions: o})
				if err != nil {
					t.Fatal(err)
				}
				return p.Retrieve(t.Context())
			}
			p, err := NewRAMRoleARN(key, RAMRoleARNOptions{RoleARN: fuzzRoleARN, STSOptions: o})
			if err != nil {
				t.Fatal(err)
			}
			return p.Retrieve(t.Context())
		})
	})
}

type fixedToken string

func (s fixedToken) Token(context.Context) (string, error) { return string(s), nil }

// FuzzIMDSReply is a metadata service with any session token, role name and
// keys. The provider must not leave the path it asks below.
func FuzzIMDSReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, token, role, keys []byte, onlyV2 bool) {
		checkReplies(t, true, [][]byte{token, role, keys}, func(replies [][]byte) (Credentials, error) {
			m, err := NewMetadata(MetadataOptions{DisableIMDSv1: onlyV2})
			if err != nil {
				t.Fatal(err)
			}
			m.http.Transport = inProcess(func(r *http.Request) []byte {
				sent := r.Header.Get("X-aliyun-ecs-metadata-token")
				if sent != "" && sent != strings.TrimSpace(string(replies[0])) || sent == "" && onlyV2 && r.Method != http.MethodPut {
					t.Errorf("session token %q was sent", sent)
				}
				switch name, below := strings.CutPrefix(r.URL.Path, securityCredentials); {
				case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
					return replies[0]
				case below && name == "":
					return replies[1]
				case below && name == strings.TrimSpace(string(replies[1])) && !strings.ContainsAny(name, "/\\?#%") && !strings.HasPrefix(name, "."):
					return replies[2]
				}
				t.Errorf("asked for %s %s", r.Method, r.URL)
				return nil
			})
			p, err := NewECSRAMRole(ECSRAMRoleOptions{Metadata: m})
			if err != nil {
				t.Fatal(err)
			}
			return p.Retrieve(t.Context())
		})
	})
}

// FuzzCredentialsURIReply answers for a URI.
func FuzzCredentialsURIReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, reply []byte) {
		checkReplies(t, true, [][]byte{reply}, func(replies [][]byte) (Credentials, error) {
			p, err := NewCredentialsURI("http://127.0.0.1/", CredentialsURIOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p.http.Transport = inProcess(func(*http.Request) []byte { return replies[0] })
			return p.Retrieve(t.Context())
		})
	})
}

// FuzzExchangeReply answers those who exchange something else than keys:
// CloudSSO, OAuth with its two steps, and GenerateSessionAccessKey.
func FuzzExchangeReply(f *testing.F) {
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		f.Fatal(err)
	}
	pair := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(private))
	f.Fuzz(func(t *testing.T, login, session []byte, kind uint8) {
		checkReplies(t, kind%3 != 2, [][]byte{login, session}, func(replies [][]byte) (Credentials, error) {
			answer := inProcess(func(r *http.Request) []byte {
				if r.URL.Path == "/v1/token" {
					return replies[0]
				}
				return replies[1]
			})
			var p Provider
			var err error
			switch kind % 3 {
			case 0:
				p, err = NewCloudSSO("fake", CloudSSOOptions{
					SignInURL: "https://signin.example", AccountID: "1", AccessConfig: "ac-1",
					AccessTokenExpiration: time.Now().Add(time.Hour), HTTP: &http.Client{Transport: answer},
				})
			case 1:
				p, err = NewOAuth(OAuthTokens{RefreshToken: "fake"}, OAuthOptions{Site: "CN", HTTP: &http.Client{Transport: answer}, Save: func(_ context.Context, kept OAuthTokens, _ Credentials) error {
					if kept.AccessToken == "" || kept.RefreshToken == "" || !time.Now().Before(kept.Expiration) {
						t.Error("tokens that are of no use are kept")
					}
					return nil
				}})
			default:
				p, err = NewRSAKeyPair("pk", pair, RSAKeyPairOptions{STSOptions: answer.sts(t)})
			}
			if err != nil {
				t.Fatal(err)
			}
			return p.Retrieve(t.Context())
		})
	})
}

// FuzzARN wants an accepted ARN to arrive at STS as it is, and to be made of
// the account and the name it is taken apart into. A refusal is the same for
// all, so that it quotes nothing.
func FuzzARN(f *testing.F) {
	key, err := NewAccessKey("LTAI5tfake", "fake")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, arn string, oidc bool) {
		var sent string
		sts := inProcess(func(r *http.Request) []byte {
			sent = r.URL.Query().Get("RoleArn")
			if oidc {
				sent = formOf(t, r).Get("OIDCProviderArn")
			}
			return []byte(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{"AccessKeyId":"i","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2999-01-01T00:00:00Z"}}`)
		}).sts(t)
		build := func(arn string) (Provider, error) {
			if oidc {
				return NewOIDCRoleARN(fixedToken(fuzzJWT), OIDCRoleARNOptions{RoleARN: fuzzRoleARN, OIDCProviderARN: arn, STSOptions: sts})
			}
			return NewRAMRoleARN(key, RAMRoleARNOptions{RoleARN: arn, STSOptions: sts})
		}
		p, err := build(arn)
		if err != nil {
			_, empty := build("")
			_, other := build("\x00")
			if text := err.Error(); text != empty.Error() && text != other.Error() {
				t.Errorf("the refusal depends on the ARN: %s", text)
			}
			return
		}
		c, err := p.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if sent != arn {
			t.Errorf("sent %q", sent)
		}
		kind := "role"
		if oidc {
			kind = "oidc-provider"
		}
		parts := strings.Split(arn, ":")
		if len(parts) != 5 {
			t.Fatalf("%q has %d parts", arn, len(parts))
		}
		account, resource := parts[3], parts[4]
		name, ok := strings.CutPrefix(resource, kind+"/")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }) {
			t.Errorf("%q does not end in a name", arn)
		}
		if account == "" || strings.Trim(account, "0123456789") != "" || arn != "acs:ram::"+account+":"+kind+"/"+name {
			t.Errorf("%q is not made of its parts", arn)
		}
		if !oidc && (c.RoleARN != arn || c.AccountID != account) {
			t.Errorf("got role %q of account %q", c.RoleARN, c.AccountID)
		}
	})
}

func formOf(t testing.TB, r *http.Request) url.Values {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	return form
}

// writeOld writes a file that nobody takes for half written.
func writeOld(t testing.TB, path string, content []byte) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chtimes(path, then, then)); err != nil {
		t.Fatal(err)
	}
}

// FuzzOIDCToken reads a file that need not hold a token. What is no JWT is
// neither sent nor quoted, what is one is sent without the white space around
// it, and not in the URL.
func FuzzOIDCToken(f *testing.F) {
	path := filepath.Join(f.TempDir(), "token")
	read := func(t testing.TB, content []byte) (sent string, err error) {
		writeOld(t, path, content)
		sts := inProcess(func(r *http.Request) []byte {
			if r.URL.Query().Has("OIDCToken") || r.Header.Get("Authorization") != "" {
				t.Errorf("%s with headers %v", r.URL, r.Header)
			}
			sent = formOf(t, r).Get("OIDCToken")
			return []byte(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","Credentials":{"AccessKeyId":"i","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2999-01-01T00:00:00Z"}}`)
		}).sts(t)
		p, err := NewOIDCRoleARN(TokenFile(path), OIDCRoleARNOptions{RoleARN: fuzzRoleARN, OIDCProviderARN: fuzzProviderARN, STSOptions: sts})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Retrieve(t.Context())
		return sent, err
	}
	_, wrong := read(f, []byte("x"))
	_, empty := read(f, nil)
	_, long := read(f, bytes.Repeat([]byte("x"), 2*maxOIDCToken))
	f.Fuzz(func(t *testing.T, content []byte) {
		sent, err := read(t, content)
		if err != nil {
			if text := err.Error(); sent != "" || text != wrong.Error() && text != empty.Error() && text != long.Error() {
				t.Errorf("sent %q, and the refusal depends on the content: %v", sent, err)
			}
			return
		}
		parts := strings.Split(sent, ".")
		if sent != string(bytes.TrimSpace(content)) || len(parts) != 3 {
			t.Fatalf("sent %q of %q", sent, content)
		}
		for i, part := range parts {
			if part == "" || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				t.Errorf("part %d of %q is not base64url", i, sent)
			}
		}
		header, err := base64.RawURLEncoding.DecodeString(parts[0])
		var object map[string]any
		if err != nil || json.Unmarshal(header, &object) != nil || object == nil {
			t.Errorf("the header of %q is not an object", sent)
		}
	})
}

// TestFuzzSeeds fails when a fuzz target has lost its seeds, or seeds their
// target: go test would silently try nothing.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllSubmatch(source, -1) {
			targets[string(target[1])] = true
		}
	}
	if len(targets) == 0 {
		t.Fatal("no fuzz targets")
	}
	for target := range targets {
		if seeds, err := os.ReadDir(filepath.Join("testdata/fuzz", target)); err != nil || len(seeds) == 0 {
			t.Errorf("%s has no seeds: %v", target, err)
		}
	}
	folders, err := os.ReadDir("testdata/fuzz")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !targets[folder.Name()] {
			t.Errorf("testdata/fuzz/%s has no target", folder.Name())
		}
	}
}
