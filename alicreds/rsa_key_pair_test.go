package alicreds_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// rsaKey is made once: it takes a while under the race detector.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func sessionAccessKeyJSON() string {
	return fmt.Sprintf(`{"RequestId":"6894B13B-0000-5000-8000-000000000000","SessionAccessKey":{"SessionAccessKeyId":"TMPSK.fake","SessionAccessKeySecret":"fake-session-secret","Expiration":%q}}`, inAnHour())
}

// verifyRSA repeats the signature from its description.
func verifyRSA(r *http.Request, public *rsa.PublicKey) error {
	encode := func(s string) string {
		s = url.QueryEscape(s)
		return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(s)
	}
	query := r.URL.Query()
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "Signature" {
			pairs = append(pairs, encode(name)+"="+encode(query.Get(name)))
		}
	}
	hash := sha256.Sum256([]byte(r.Method + "&%2F&" + encode(strings.Join(pairs, "&"))))
	signature, err := base64.StdEncoding.DecodeString(query.Get("Signature"))
	if err != nil {
		return err
	}
	return rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], signature)
}

func TestRSAKeyPair(t *testing.T) {
	t.Parallel()
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	block, _ := pem.Decode([]byte(pkcs8(rsaKey())))
	for name, key := range map[string]string{
		"PKCS #8": pkcs8(rsaKey()),
		"PKCS #1": pkcs1,
		"bare":    base64.StdEncoding.EncodeToString(block.Bytes),
	} {
		d := newDesk(t, answers(200, sessionAccessKeyJSON()))
		p, err := alicreds.NewRSAKeyPair("pk-1", key, alicreds.RSAKeyPairOptions{Duration: 1000 * time.Second, STSOptions: d.sts(t)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := p.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != "TMPSK.fake" || got.AccessKeySecret != "fake-session-secret" || got.SecurityToken != "" ||
			got.Source != "rsa_key_pair" || got.Expiration.IsZero() {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
		r := d.only(t)
		if err := verifyRSA(r, &rsaKey().PublicKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for parameter, want := range map[string]string{
			"Action": "GenerateSessionAccessKey", "Version": "2015-04-01", "AccessKeyId": "pk-1", "DurationSeconds": "1000",
			"SignatureMethod": "SHA256withRSA", "SignatureType": "PRIVATEKEY", "SignatureVersion": "1.0", "Format": "JSON",
		} {
			if r.URL.Query().Get(parameter) != want {
				t.Errorf("%s: %s = %q, want %q", name, parameter, r.URL.Query().Get(parameter), want)
			}
		}
		mustNotPrint(t, p, "PRIVATE KEY", fmt.Sprint(rsaKey().D))
	}
}

// Key pairs are Japan's, and so is the STS that is asked without an endpoint
// and a region.
func TestRSAKeyPairEndpoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    alicreds.STSOptions
		want string
	}{
		"nothing":     {alicreds.STSOptions{}, "sts.ap-northeast-1.aliyuncs.com"},
		"VPC":         {alicreds.STSOptions{VPC: true}, "sts.ap-northeast-1.aliyuncs.com"},
		"region":      {alicreds.STSOptions{Region: "cn-hangzhou"}, "sts.cn-hangzhou.aliyuncs.com"},
		"VPC, region": {alicreds.STSOptions{Region: "ap-northeast-1", VPC: true}, "sts-vpc.ap-northeast-1.aliyuncs.com"},
		"endpoint":    {alicreds.STSOptions{Endpoint: "sts.aliyuncs.com"}, "sts.aliyuncs.com"},
		"fallback":    {alicreds.STSOptions{FallbackEndpoints: []string{"sts.example.com"}}, "sts.ap-northeast-1.aliyuncs.com sts.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			client, err := openapi.New(openapi.Options{MaxRetries: -1, HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.Host)
				return nil, errors.New("unreachable")
			})}})
			if err != nil {
				t.Fatal(err)
			}
			c.o.Client = client
			p, err := alicreds.NewRSAKeyPair("i", pkcs8(rsaKey()), alicreds.RSAKeyPairOptions{STSOptions: c.o})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Retrieve(t.Context()); err == nil || strings.Join(asked, " ") != c.want {
				t.Errorf("asked %q, want %s (%v)", asked, c.want, err)
			}
		})
	}
}

func TestRSAKeyPairChecks(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs8(rsaKey())
	for name, tc := range map[string]struct {
		id, key string
		o       alicreds.RSAKeyPairOptions
		want    string
	}{
		"no id":          {"", good, alicreds.RSAKeyPairOptions{}, "the public key id is empty"},
		"no key":         {"i", " \n", alicreds.RSAKeyPairOptions{}, "the private key is empty"},
		"text":           {"i", "hidden words", alicreds.RSAKeyPairOptions{}, "is not PEM"},
		"garbage":        {"i", "aGlkZGVu", alicreds.RSAKeyPairOptions{}, "neither PKCS #8 nor PKCS #1"},
		"public key":     {"i", strings.ReplaceAll(good, "PRIVATE", "PUBLIC")[:60], alicreds.RSAKeyPairOptions{}, "not PEM"},
		"another kind":   {"i", pkcs8(ec), alicreds.RSAKeyPairOptions{}, "not an RSA key"},
		"encrypted":      {"i", "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGlkZGVu\n-----END ENCRYPTED PRIVATE KEY-----\n", alicreds.RSAKeyPairOptions{}, "encrypted"},
		"duration 100":   {"i", good, alicreds.RSAKeyPairOptions{Duration: 100 * time.Second}, "between 900 and 3600"},
		"duration 3601":  {"i", good, alicreds.RSAKeyPairOptions{Duration: 3601 * time.Second}, "between 900 and 3600"},
		"a bad endpoint": {"i", good, alicreds.RSAKeyPairOptions{STSOptions: alicreds.STSOptions{Endpoint: "http://x"}}, "https"},
	} {
		if _, err := alicreds.NewRSAKeyPair(tc.id, tc.key, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	if _, err := (alicreds.RSAKeyPair{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
}

func TestRSAKeyPairMalformedReplies(t *testing.T) {
	t.Parallel()
	bad := malformed(t, sessionAccessKeyJSON(), "SessionAccessKey", "SessionAccessKey.SessionAccessKeyId", "SessionAccessKey.SessionAccessKeySecret", "SessionAccessKey.Expiration")
	bad["null"], bad["not JSON"], bad["nothing"] = "null", "<html>", "{}"
	bad["expired"] = expiring(sessionAccessKeyJSON(), "2015-01-01T00:00:00Z")
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answers(200, body))
			p, err := alicreds.NewRSAKeyPair("i", pkcs8(rsaKey()), alicreds.RSAKeyPairOptions{STSOptions: d.sts(t)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Retrieve(t.Context())
			if err == nil || got != (alicreds.Credentials{}) || strings.Contains(err.Error(), "fake-session") {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	d := newDesk(t, answers(400, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"SignatureDoesNotMatch"}`))
	p, err := alicreds.NewRSAKeyPair("i", pkcs8(rsaKey()), alicreds.RSAKeyPairOptions{STSOptions: d.sts(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("got %v", err)
	}
}

// TestRSAKeyForms: what JSON, YAML, editors and copying do to a key, and does
// no harm.
func TestRSAKeyForms(t *testing.T) {
	t.Parallel()
	key := pkcs8(rsaKey())
	for name, text := range map[string]string{
		"byte order mark":      "\xef\xbb\xbf" + key,
		"indented":             "    " + strings.ReplaceAll(key, "\n", "\n    "),
		"escaped line feeds":   strings.ReplaceAll(key, "\n", `\n`),
		"escaped, Windows":     strings.ReplaceAll(key, "\n", `\r\n`),
		"one line":             strings.ReplaceAll(key, "\n", " "),
		"no last line":         key[:strings.Index(key, "-----END")],
		"text in front of it":  "Bag Attributes\n" + key,
		"quotation in YAML":    "|\n" + key,
		"base64 alone":         strings.Join(strings.Split(strings.TrimSpace(key), "\n")[1:strings.Count(key, "\n")-1], "\n"),
		"PKCS #1, no last row": strings.Split(pkcs1(rsaKey()), "-----END")[0],
	} {
		if _, err := alicreds.NewRSAKeyPair("pk-1", text, alicreds.RSAKeyPairOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----",
	} {
		_, err := alicreds.NewRSAKeyPair("pk-1", text, alicreds.RSAKeyPairOptions{})
		wantError(t, err, "is encrypted")
	}
}

func pkcs1(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// TestRSAKeyFile: a key in a file is read anew, and config.json may name the
// file in place of the key. What is neither is not quoted.
func TestRSAKeyFile(t *testing.T) {
	t.Parallel()
	path := file(t, pkcs8(rsaKey()))
	sts := newDesk(t, answers(200, sessionAccessKeyJSON()))
	config := func(private string) alicreds.CLIProfileOptions {
		return alicreds.CLIProfileOptions{STSOptions: sts.sts(t), Path: file(t,
			`{"profiles": [{"name": "default", "mode": "RsaKeyPair", "key_pair_name": "pk-1", "private_key": `+quoted(t, private)+`}]}`)}
	}
	fromConfig, err := build(alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "pk-1", PrivateKeyFile: path, STSEndpoint: sts.URL, Client: sts.sts(t).Client})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]alicreds.Provider{"config.json": cliProfile(t, config(path)), "Config": fromConfig} {
		get(t, p)
		next, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			text string
			key  *rsa.PrivateKey
		}{{pkcs8(next), next}, {"half a k", nil}, {pkcs8(rsaKey()), rsaKey()}} {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := p.Retrieve(t.Context())
			if step.key == nil {
				wantError(t, err, path, "the private key is")
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := verifyRSA(sts.requests[len(sts.requests)-1], &step.key.PublicKey); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for private, want := range map[string]string{
		"fake-secret-value":  "neither a private key nor the path of a file with one: no such file",
		filepath.Dir(path):   "neither a private key nor the path of a file with one: is not a regular file",
		file(t, "not a key"): "the private key is not PEM",
	} {
		_, err := cliProfile(t, config(private)).Retrieve(t.Context())
		if wantError(t, err, want); strings.Contains(err.Error(), "fake") {
			t.Errorf("quoted: %v", err)
		}
	}
}

// A key that is far larger than any in use is refused before it is looked at: that
// would take seconds.
func TestRSAKeyPairBoundsTheKey(t *testing.T) {
	t.Parallel()
	huge := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: bytes.Repeat([]byte{0x30}, 146<<10)}))
	_, err := alicreds.NewRSAKeyPair("pk", huge, alicreds.RSAKeyPairOptions{})
	wantError(t, err, "the private key is larger than 16 KiB")
	_, err = build(alicreds.Config{Type: "rsa_key_pair", PublicKeyID: "pk", PrivateKeyFile: file(t, huge)})
	wantError(t, err, "larger than 16 KiB")
}
