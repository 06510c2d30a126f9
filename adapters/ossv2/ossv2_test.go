package ossv2_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // OSS signs with it
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/ossv2"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// signature is what OSS expects in the Authorization header of a request
// without a body: version 1, as OSS documents it.
func signature(r *http.Request, secret string) string {
	var headers []string
	for name, values := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-oss-") {
			headers = append(headers, name+":"+strings.Join(values, ",")+"\n")
		}
	}
	slices.Sort(headers)
	text := strings.Join([]string{
		r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), r.Header.Get("Date"), strings.Join(headers, "") + r.URL.Path,
	}, "\n")
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestClient has a real client of OSS sign with a session out of a cache, and
// a server check it with the same session.
func TestClient(t *testing.T) {
	t.Parallel()
	cloud, err := alisim.Start(alisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	rpc, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	key, err := alicreds.NewAccessKey(alisim.DefaultAccessKeyID, alisim.DefaultAccessKeySecret)
	if err != nil {
		t.Fatal(err)
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{
		RoleARN:    alisim.DefaultRoleARN,
		STSOptions: alicreds.STSOptions{Client: rpc},
	})
	if err != nil {
		t.Fatal(err)
	}
	cache := alicreds.NewCache(role, alicreds.CacheOptions{})
	defer cache.Close()

	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := cache.Retrieve(r.Context())
		if err != nil {
			t.Error(err)
		}
		if r.Header.Get("X-Oss-Security-Token") != want.SecurityToken ||
			r.Header.Get("Authorization") != "OSS "+want.AccessKeyID+":"+signature(r, want.AccessKeySecret) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "hello")
	}))
	defer bucket.Close()

	client := oss.NewClient(oss.LoadDefaultConfig().
		WithRegion("cn-hangzhou").
		WithEndpoint(bucket.URL).
		WithUsePathStyle(true).
		WithSignatureVersion(oss.SignatureVersionV1).
		WithCredentialsProvider(ossv2.New(cache)))
	for range 3 {
		got, err := client.GetObject(t.Context(), &oss.GetObjectRequest{Bucket: oss.Ptr("fruits"), Key: oss.Ptr("apple")})
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if calls := len(cloud.Journal()); calls != 1 {
		t.Errorf("%d calls for one session", calls)
	}
}

func provider(c alicreds.Credentials, err error) alicreds.Provider {
	return alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return c, err })
}

func TestExpiration(t *testing.T) {
	t.Parallel()
	key := alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake"}
	if got, err := ossv2.New(provider(key, nil)).GetCredentials(t.Context()); err != nil || got.Expires != nil || got.AccessKeyID != "id" {
		t.Errorf("without: expires %v, %v", got.Expires, err)
	}
	key.Expiration = time.Now().Add(time.Hour)
	if got, err := ossv2.New(provider(key, nil)).GetCredentials(t.Context()); err != nil || !got.Expires.Equal(key.Expiration) {
		t.Errorf("with: expires %v, %v", got.Expires, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if got, err := ossv2.New(provider(alicreds.Credentials{}, broken)).GetCredentials(t.Context()); !errors.Is(err, broken) || got.HasKeys() {
		t.Errorf("broken: %v", err)
	}
	bearer := alicreds.Credentials{BearerToken: "fake-bearer", Source: "bearer"}
	_, err := ossv2.New(provider(bearer, nil)).GetCredentials(t.Context())
	if !errors.Is(err, ossv2.ErrBearerToken) || strings.Contains(err.Error(), "fake-bearer") {
		t.Errorf("bearer token: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	slow := alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
		<-ctx.Done()
		return alicreds.Credentials{}, ctx.Err()
	})
	cache := alicreds.NewCache(slow, alicreds.CacheOptions{})
	defer cache.Close()
	if _, err := ossv2.New(cache).GetCredentials(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPrintsNothing(t *testing.T) {
	t.Parallel()
	p := ossv2.New(provider(alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake-secret"}, nil))
	if _, err := p.GetCredentials(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		for _, printed := range []string{fmt.Sprintf(verb, p), fmt.Sprintf(verb, struct{ P *ossv2.Provider }{p})} {
			if strings.Contains(printed, "fake-secret") {
				t.Errorf("%s: %s", verb, printed)
			}
		}
	}
}
