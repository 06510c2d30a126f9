package alicreds_test

import (
	"errors"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

func TestBearer(t *testing.T) {
	t.Parallel()
	if _, err := alicreds.NewBearer(""); err == nil {
		t.Error("accepts no token")
	}
	p, err := alicreds.NewBearer("fake-bearer")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Retrieve(t.Context())
	if want := (alicreds.Credentials{BearerToken: "fake-bearer", Source: "bearer"}); err != nil || got != want || got.Keys() != (openapi.Keys{}) {
		t.Errorf("got %s, %v", got, err)
	}
	mustNotPrint(t, p, "fake-bearer")
	if _, err := (alicreds.Bearer{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	cache := alicreds.NewCache(p, alicreds.CacheOptions{})
	if got, err := cache.Retrieve(t.Context()); err != nil || got.BearerToken != "fake-bearer" {
		t.Errorf("through a cache: %s, %v", got, err)
	}
}

// TestBearerLineBreaks: a token that was wrapped on its way is the token; what
// no header may hold is an error.
func TestBearerLineBreaks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"fake-bearer\n", " fake-\r\nbearer ", "\nfake-bearer\r\n"} {
		p, err := alicreds.NewBearer(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, p); got.BearerToken != "fake-bearer" {
			t.Errorf("got %q", got.BearerToken)
		}
	}
	for _, text := range []string{"\n", "a\x00b", "a\tb"} {
		if _, err := alicreds.NewBearer(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
