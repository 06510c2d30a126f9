package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/aliyun/credentials-go/credentials"
)

// A library reads the session of a role, out of its cache if it can.
type library struct {
	name string
	read func(context.Context) error
}

// ours is a cached ram_role_arn provider of alicreds.
func ours(cloud *alisim.Server) (library, error) {
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		return library{}, err
	}
	key, err := alicreds.NewAccessKey(keyID, keySecret)
	if err != nil {
		return library{}, err
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{
		RoleARN:    roleARN,
		Duration:   sessionLife,
		STSOptions: alicreds.STSOptions{Client: client},
	})
	if err != nil {
		return library{}, err
	}
	cache := alicreds.NewCache(role, alicreds.CacheOptions{})
	return library{name: "alicreds", read: func(ctx context.Context) error {
		c, err := cache.Retrieve(ctx)
		if err == nil && c.AccessKeyID == "" {
			return errNoKeys
		}
		return err
	}}, nil
}

// peers is the ram_role_arn credential of credentials-go, which caches by
// itself.
func peers(cloud *alisim.Server) (library, error) {
	at, err := url.Parse(cloud.URL)
	if err != nil {
		return library{}, err
	}
	kind, id, secret, arn, seconds := "ram_role_arn", keyID, keySecret, roleARN, int(sessionLife.Seconds())
	credential, err := credentials.NewCredential(&credentials.Config{
		Type: &kind, AccessKeyId: &id, AccessKeySecret: &secret, RoleArn: &arn, RoleSessionExpiration: &seconds, STSEndpoint: &at.Host,
	})
	if err != nil {
		return library{}, err
	}
	return library{name: "credentials-go " + version("github.com/aliyun/credentials-go"), read: func(context.Context) error {
		c, err := credential.GetCredential()
		if err == nil && *c.AccessKeyId == "" {
			return errNoKeys
		}
		return err
	}}, nil
}

var errNoKeys = fmt.Errorf("no keys came back")

// The key and the role that the libraries are given.
const (
	accountID = "2345678901234567"
	keyID     = "LTAI5tBENCHFAKEFAKEFAKE0"
	keySecret = "bench-is-not-a-real-secret-000"
	roleARN   = "acs:ram::" + accountID + ":role/deploy"
)

// seed is there for an hour already, so that a session can be had that began
// a while ago.
func seed(cloud *alisim.Server) error {
	cloud.Advance(-time.Hour)
	defer cloud.Advance(time.Hour)
	return cloud.Seed(alisim.Seed{Accounts: []alisim.Account{{
		ID: accountID,
		Users: []alisim.User{{
			Name:       "reader",
			AccessKeys: []alisim.AccessKey{{ID: keyID, Secret: keySecret}},
			Policies:   []string{"AliyunSTSAssumeRoleAccess"},
		}},
		Roles: []alisim.Role{{Name: "deploy", TrustPolicy: alisim.TrustAccount(accountID)}},
	}}})
}

// startCloud starts a simulator, and has every client that is made of
// http.DefaultTransport trust it: credentials-go copies that for each request
// and has no other door.
func startCloud() (*alisim.Server, error) {
	cloud, err := alisim.Start(alisim.Options{})
	if err != nil {
		return nil, err
	}
	if err := seed(cloud); err != nil {
		cloud.Close()
		return nil, err
	}
	trusting := http.DefaultTransport.(*http.Transport).Clone()
	trusting.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cloud.CertPool()}
	trusting.DisableKeepAlives = true // credentials-go would leave one idle connection per request behind
	http.DefaultTransport = trusting
	return cloud, nil
}

func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}
