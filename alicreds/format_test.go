package alicreds_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestProvidersPrint: what a provider prints says what it is, with every verb.
func TestProvidersPrint(t *testing.T) {
	t.Parallel()
	key := accessKey(t)
	over := role(t, key, alicreds.RAMRoleARNOptions{})
	own := role(t, alicreds.ProviderFunc(nil), alicreds.RAMRoleARNOptions{})
	bearer, err := alicreds.NewBearer("fake-bearer")
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]alicreds.Provider{
		"access_key":                         key,
		"sts":                                alicreds.STS{},
		"env":                                alicreds.NewEnvironment(nil),
		"ram_role_arn/access_key":            over,
		"ram_role_arn/alicreds.ProviderFunc": own,
		"ram_role_arn":                       alicreds.RAMRoleARN{},
		"oidc_role_arn":                      alicreds.OIDCRoleARN{},
		"ecs_ram_role":                       alicreds.ECSRAMRole{},
		"rsa_key_pair":                       alicreds.RSAKeyPair{},
		"credentials_uri":                    alicreds.CredentialsURI{},
		"bearer":                             bearer,
		"cli_profile":                        cliProfile(t, alicreds.CLIProfileOptions{Path: "/fake-path"}),
		"profile":                            profile(t, alicreds.ProfileOptions{Path: "/fake-path"}),
		"cloud_sso":                          alicreds.CloudSSO{},
		"oauth":                              alicreds.OAuth{},
		"external":                           alicreds.External{},
		"Chain of 1":                         alicreds.NewChain(alicreds.ChainOptions{}, key),
		"Cache":                              alicreds.NewCache(key, alicreds.CacheOptions{}),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if got := fmt.Sprintf(verb, p); got != want {
				t.Errorf("%s of %T prints %q, want %q", verb, p, got, want)
			}
		}
		if text := printed(t, p); strings.Contains(text, "fake") || p.(fmt.Stringer).String() != want {
			t.Errorf("%T prints %s", p, text)
		}
	}
}

func TestCredentialsType(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]alicreds.Credentials{
		"access_key":   {Source: "access_key"},
		"ram_role_arn": {Source: "ram_role_arn/access_key"},
		"default":      {Source: "default/env"},
		"bearer":       {Source: "default/cli_profile/bearer", BearerToken: "t"},
		"":             {},
	} {
		if got := c.Type(); got != want {
			t.Errorf("%s has the type %q, want %q", c.Source, got, want)
		}
	}
}

func TestNewCached(t *testing.T) {
	t.Parallel()
	cache, err := alicreds.NewCached(alicreds.Config{Type: "access_key", AccessKeyID: "a", AccessKeySecret: "s", Getenv: environment()}, alicreds.CacheOptions{RefreshTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if got := get(t, cache); got.AccessKeyID != "a" || got.Type() != "access_key" {
		t.Errorf("got %s", got)
	}
	if cache, err := alicreds.NewCached(alicreds.Config{Type: "sdk"}, alicreds.CacheOptions{}); err == nil || cache != nil {
		t.Errorf("got %v, %v", cache, err)
	}
}
