package alicreds_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const told = "hunter2-told-by-the-peer"

// peer answers every request with those bytes, of which $SENT becomes what the
// request authenticates with.
func peer(t *testing.T, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				sent := r.Header.Get("Authorization") + " " + r.Header.Get("X-Acs-Security-Token") + " " + r.Header.Get("X-aliyun-ecs-metadata-token")
				if body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16)); err == nil {
					sent += " " + strings.ReplaceAll(string(body), "\n", " ")
				}
				_, _ = io.WriteString(c, strings.ReplaceAll(answer, "$SENT", sent))
			}()
		}
	}()
	return listener.Addr().String()
}

// networkProviders are all that ask somebody over the network, each at that
// address with secrets of its own.
func networkProviders(t *testing.T, address string) (all map[string]alicreds.Provider, secrets []string) {
	t.Helper()
	const secret, token = "fakeSecretOfTheSource0123456789", "CAISfakeTokenOfTheSource0123456789"
	client, err := openapi.New(openapi.Options{MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	sts := alicreds.STSOptions{Endpoint: "http://" + address, Client: client}
	source, err := alicreds.NewSTS("STS.NfakeKeyOfTheSource", secret, token)
	if err != nil {
		t.Fatal(err)
	}
	role, err := alicreds.NewRAMRoleARN(source, alicreds.RAMRoleARNOptions{RoleARN: roleARN, STSOptions: sts})
	if err != nil {
		t.Fatal(err)
	}
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJmYWtlIn0.c2lnbmF0dXJl"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
		t.Fatal(err)
	}
	oidc, err := alicreds.NewOIDCRoleARN(alicreds.TokenFile(file), alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, STSOptions: sts})
	if err != nil {
		t.Fatal(err)
	}
	uri, err := alicreds.NewCredentialsURI("http://"+address+"/fakePathOfTheURI0123456789", alicreds.CredentialsURIOptions{})
	if err != nil {
		t.Fatal(err)
	}
	metadata := patientMetadata(t, "http://"+address, false)
	node, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{RoleName: "node", Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	login, err := alicreds.NewOAuth(alicreds.OAuthTokens{RefreshToken: "fakeRefreshToken0123456789", AccessToken: "fakeAccessToken0123456789", Expiration: time.Now().Add(time.Hour)},
		alicreds.OAuthOptions{URL: "http://" + address, ClientID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	sso := cloudSSO(t, "fakeCloudSSOToken0123456789", cloudSSOOptions("http://"+address))
	return map[string]alicreds.Provider{
			"ram_role_arn": role, "oidc_role_arn": oidc, "credentials_uri": uri, "ecs_ram_role": node, "oauth": login, "cloud_sso": sso,
			"caller identity": alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
				_, err := alicreds.CallerIdentity(ctx, openapi.Keys{AccessKeyID: "STS.NfakeKeyOfTheSource", AccessKeySecret: secret, SecurityToken: token}, sts)
				return alicreds.Credentials{}, err
			}),
		}, []string{told, secret, token, jwt, "fakePathOfTheURI0123456789", "fakeRefreshToken0123456789", "fakeAccessToken0123456789", "fakeCloudSSOToken0123456789",
			"STS.NfakeKeyOfTheSource", "Signature="}
}

// Whatever a peer says, and reflects of what it was sent, no provider repeats it.
func TestProvidersQuoteNoPeer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"banner":              "220 " + told + "\r\n",
		"reflected banner":    "denied: $SENT\r\n",
		"status":              "HTTP/1.1 " + told + " OK\r\n\r\n",
		"reflected status":    "HTTP/1.1 $SENT\r\n\r\n",
		"reflected header":    "HTTP/1.1 400 Bad\r\nyou sent $SENT\r\n\r\n",
		"reflected reason":    "HTTP/1.1 400 $SENT\r\nContent-Length: 0\r\n\r\n",
		"location":            "HTTP/1.1 302 Found\r\nLocation: http://[::1/" + told + "\r\nContent-Length: 0\r\n\r\n",
		"length":              "HTTP/1.1 200 OK\r\nContent-Length: " + told + "\r\n\r\n",
		"encoding":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + told + "\r\n\r\n",
		"chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + told + "\r\n",
		"body":                "HTTP/1.1 200 OK\r\n\r\n" + told + " $SENT",
		"body of a refusal":   "HTTP/1.1 403 Forbidden\r\n\r\n" + told + " $SENT",
		"message":             "HTTP/1.1 400 Bad\r\nx-acs-request-id: 6894B13B-0000-5000-8000-000000000000\r\n\r\n{\"Code\":\"SignatureDoesNotMatch\",\"Message\":\"server string to sign is:$SENT " + told + "\"}",
		"description":         "HTTP/1.1 400 Bad\r\n\r\n{\"error\":\"invalid_request\",\"error_description\":\"$SENT " + told + "\",\"ErrorMessage\":\"" + told + "\"}",
		"reflected RequestId": "HTTP/1.1 400 Bad\r\nx-acs-request-id: $SENT\r\n\r\n{\"RequestId\":\"$SENT\",\"error\":\"$SENT\",\"Code\":\"$SENT\"}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := peer(t, answer)
			all, secrets := networkProviders(t, address)
			for provider, p := range all {
				_, err := p.Retrieve(t.Context())
				if err == nil {
					t.Errorf("%s: credentials of nobody", provider)
				}
				text := fmt.Sprintf("%v %+v", err, err)
				for _, secret := range secrets {
					if strings.Contains(text, secret) {
						t.Errorf("%s quotes %q: %v", provider, secret, err)
					}
				}
			}
		})
	}
}

// Headers of more than 64 KiB are not taken, by any provider.
func TestProvidersBoundHeaders(t *testing.T) {
	t.Parallel()
	address := peer(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Padding: "+strings.Repeat("x", 1000)+"\r\n", 1<<10)+"\r\n")
	all, _ := networkProviders(t, address)
	for name, p := range all {
		if _, err := p.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "the headers of the answer are too large") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
