package openapi_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

func TestDoSignedByPrivateKey(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, good)
	})
	r := openapi.Request{
		Endpoint: endpoint, Action: "GenerateSessionAccessKey", Version: "2015-04-01", Params: map[string]string{"Remark": "a b*~"},
		Keys: openapi.Keys{AccessKeyID: "pk-1"}, PrivateKey: key,
	}
	if err := c.Do(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if len(r.Params) != 1 {
		t.Errorf("the caller's parameters became %v", r.Params)
	}
	query := got.URL.Query()
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "Signature" {
			pairs = append(pairs, rfc3986(name)+"="+rfc3986(query.Get(name)))
		}
	}
	hash := sha256.Sum256([]byte(got.Method + "&%2F&" + rfc3986(strings.Join(pairs, "&"))))
	signature, err := base64.StdEncoding.DecodeString(query.Get("Signature"))
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, hash[:], signature); err != nil {
		t.Error(err)
	}
	for name, keys := range map[string]openapi.Keys{
		"no id":  {},
		"secret": {AccessKeyID: "pk-1", AccessKeySecret: "s"},
		"token":  {AccessKeyID: "pk-1", SecurityToken: "t"},
	} {
		r.Keys = keys
		if err := c.Do(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "the id of the public key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Keys, r.FormData = openapi.Keys{AccessKeyID: "pk-1"}, true
	if err := c.Do(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "has no form body") {
		t.Errorf("a form body: %v", err)
	}
}

func rfc3986(s string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(s))
}
