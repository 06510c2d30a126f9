package e2e

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestNoSecretInOutput makes good and bad requests, with a cloud that works and
// one that fails in every way, and then looks for every secret that the cloud
// ever issued in all that was printed: by Vault and the plugin at debug level,
// in the audit log, by the CLI, in the errors of the API.
func TestNoSecretInOutput(t *testing.T) {
	t.Parallel()
	seed := alisim.SourcesSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy"})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t, auditByAPI(t)...)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	audit := filepath.Join(t.TempDir(), "audit.log")
	v.run(t, "audit", "enable", "file", "file_path="+audit, "mode=0600")
	v.enable(t, mount, cloud)
	token, tokenFile := identityToken(t, cloud)
	given := []string{token} // secrets that the cloud did not issue
	for name, role := range map[string]map[string]any{
		"batch":      {"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]"},
		"perlease":   {"inline_policies": "[" + policyJSON + "]", "policy_per_lease": true},
		"people":     {"inline_policies": "[" + policyJSON + "]", "console_login": true, "access_key": true},
		"reused":     {"role_arn": roleARN, "reuse_ttl": "10m"},
		"leaseless":  {"role_arn": roleARN, "lease": false},
		"narrow":     {"role_arn": roleARN, "policy": policyJSON, "ttl": "5m", "expire_with_lease": true},
		"pod":        {"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": tokenFile},
		"uri":        {"credential_type": "credentials_uri", "credentials_uri": cloud.CredentialsURL + "/credentials"},
		"keys":       {"credential_type": "access_key", "access_key": "LTAI5tOfARole", "secret_key": "roleKeySecret0000000000000000"},
		"temporary":  {"credential_type": "sts", "access_key": "STS.OfARole", "secret_key": "roleStsSecret0000000000000000", "security_token": "roleSecurityToken00000000000"},
		"bearer":     {"credential_type": "bearer", "bearer_token": "roleBearerToken00000000000000"},
		"unfinished": {"credential_type": "sts", "access_key": "STS.OfARole", "secret_key": "refusedSecret000000000000000000"},
	} {
		_, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/role/"+name, role)
		if (err != nil) != (name == "unfinished") {
			t.Errorf("role %s: %v", name, err)
		}
		for _, field := range []string{"secret_key", "security_token", "bearer_token"} {
			if secret, found := role[field].(string); found {
				given = append(given, secret)
			}
		}
	}
	var said output // stderr of the CLI, errors of the API

	// A list in the place of a text, which a framework quotes in its refusal.
	misplaced := "misplacedSecret00000000000000000"
	given = append(given, misplaced)
	for _, path := range []string{"config", "role/misplaced"} {
		_, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/"+path, map[string]any{"access_key": "LTAI5tOfARole", "secret_key": []string{misplaced}})
		if refused := (*api.ResponseError)(nil); !errors.As(err, &refused) || refused.StatusCode != http.StatusBadRequest {
			t.Errorf("%s with a list for a secret_key: %v", path, err)
		}
		fmt.Fprintln(&said, err)
	}

	read := func(path string) {
		if secret, err := v.api.Logical().ReadWithContext(t.Context(), path); err != nil {
			fmt.Fprintln(&said, err)
		} else if secret != nil {
			fmt.Fprintln(&said, secret.Warnings)
			if secret.LeaseID != "" {
				fmt.Fprintln(&said, v.try(t, "lease", "renew", secret.LeaseID).stderr)
				fmt.Fprintln(&said, v.try(t, "lease", "revoke", "-sync", secret.LeaseID).stderr)
			}
		}
		fmt.Fprintln(&said, v.try(t, "read", path).stderr)
	}
	issue := func() (good int) {
		for _, path := range []string{"config/caller-identity", "status", "creds/deploy", "creds/ci", "creds/nobody", "config", "role/ci"} {
			read(mount + "/" + path)
		}
		for _, name := range []string{"batch", "perlease", "people", "reused", "leaseless", "narrow", "pod", "uri", "keys", "temporary", "bearer"} {
			secret, err := v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/"+name)
			fmt.Fprintln(&said, name, err)
			if err == nil {
				good++
			}
			if secret != nil && secret.LeaseID != "" {
				_, err := v.api.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
				fmt.Fprintln(&said, err, v.api.Sys().RevokeWithContext(t.Context(), secret.LeaseID))
			}
		}
		return good
	}
	write := func(path string, data map[string]any) {
		if _, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/"+path, data); err != nil {
			fmt.Fprintln(&said, err)
		}
	}

	if good := issue(); good != 11 {
		t.Errorf("with nothing in the way %d of 11 types were issued: %s", good, said.String())
	}
	v.write(t, mount+"/config", map[string]any{"max_retries": 1})
	for _, fault := range []alisim.Fault{
		{Kind: alisim.FaultThrottle},
		{Kind: alisim.FaultRedirect302},
		{Kind: alisim.FaultError500},
		{Kind: alisim.FaultDrop},
		{Kind: alisim.FaultApplyThenDrop, Action: "CreateAccessKey"},
		{Kind: alisim.FaultApplyThenFail, Action: "AttachPolicyToUser"},
		{Kind: alisim.FaultApplyThenFail, Action: "CreateLoginProfile"},
		{Kind: alisim.FaultRefuse, Code: "SignatureDoesNotMatch", Status: 400},
		{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403},
		{Kind: alisim.FaultMalform, Malform: "not_json"},
		{Kind: alisim.FaultMalform, Malform: "html"},
		{Kind: alisim.FaultMalform, Malform: "huge"},
		{Kind: alisim.FaultMalform, Malform: "remove:SecurityToken"},
		{Kind: alisim.FaultMalform, Malform: "set:AccessKeyId=null"},
	} {
		if err := cloud.AddFault(fault); err != nil {
			t.Fatal(err)
		}
		issue()
		cloud.ClearFaults()
	}

	const wrongSecret = "wrongSecretThatNobodyIssued0000"
	write("config", map[string]any{"secret_key": wrongSecret})
	issue() // SignatureDoesNotMatch, of which the real message quotes what was signed
	write("config", map[string]any{"secret_key": wrongSecret, "verify": true})
	write("config", map[string]any{"secret_key": wrongSecret, "credential_type": "nonsense"})
	write("config", map[string]any{"secret_key": wrongSecret, "sts_endpoint": "http://example.com"})
	write("config", map[string]any{"secret_key": wrongSecret, "sts_endpoint": "https://127.0.0.1:1", "ram_endpoint": "https://127.0.0.1:1"})
	issue() // nobody listens
	write("config", engineConfig(cloud))
	issue()

	// Something that is no RAM, or a broken one, and says what it was sent.
	worksAsRole := engineConfig(cloud)
	worksAsRole["credential_type"], worksAsRole["role_arn"] = "ram_role_arn", roleARN
	for _, answer := range []string{
		"220 denied: $SENT\r\n",
		"HTTP/1.1 $SENT\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nyou sent $SENT\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nx-acs-request-id: 6894B13B-0000-5000-8000-000000000000\r\n\r\n" +
			`{"Code":"SignatureDoesNotMatch","Message":"The request signature does not conform to Aliyun standards. server string to sign is:$SENT"}`,
		"HTTP/1.1 403 Forbidden\r\n\r\n" + `{"Code":"$SENT","Message":"$SENT","RequestId":"$SENT"}`,
	} {
		worksAsRole["ram_endpoint"] = "http://" + reflecting(t, answer)
		write("config", worksAsRole)
		read(mount + "/creds/ci")
		read(mount + "/creds/batch")
		read(mount + "/role/ci/check")
	}
	if !strings.Contains(said.String(), "the answer is not HTTP") {
		t.Error("nobody asked what says what it was sent")
	}
	v.write(t, mount+"/config", map[string]any{"credential_type": "access_key", "role_arn": ""})
	write("config", engineConfig(cloud))
	issue()

	// Every type of config, with a cloud that works and one that refuses.
	session := v.read(t, mount+"/creds/deploy").Data
	key, pemBody := rsaKey(t)
	given = append(given, pemBody)
	for _, config := range []map[string]any{
		{"credential_type": "ram_role_arn", "role_arn": roleARN},
		{"credential_type": "sts", "access_key": session["access_key"], "secret_key": session["secret_key"], "security_token": session["security_token"]},
		{"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": tokenFile},
		{"credential_type": "credentials_uri", "credentials_uri": cloud.CredentialsURL + "/credentials"},
		{"credential_type": "rsa_key_pair", "public_key_id": "LTAI5tNobody", "private_key": key},
		{"credential_type": "rsa_key_pair", "public_key_id": "LTAI5tNobody", "private_key": strings.Replace(key, "END", "FIN", 1)},
	} {
		write("config", config)
		issue()
		if err := cloud.AddFault(alisim.Fault{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}); err != nil {
			t.Fatal(err)
		}
		issue()
		cloud.ClearFaults()
		v.run(t, "delete", mount+"/config", "force=true")
		write("config", engineConfig(cloud))
	}

	// Keys that the engine rotates, with a cloud that works and one that falls silent.
	for _, fault := range []alisim.Fault{{}, {Kind: alisim.FaultApplyThenDrop, Action: "CreateAccessKey", Count: 1}} {
		if fault.Kind != "" {
			if err := cloud.AddFault(fault); err != nil {
				t.Fatal(err)
			}
		}
		write("static-role/legacy", map[string]any{"username": "legacy", "rotation_period": "24h"})
		read(mount + "/static-role/legacy")
		read(mount + "/static-cred/legacy")
		write("rotate-role/legacy", nil)
		write("config/rotate-root", nil)
		read(mount + "/config")
		fmt.Fprintln(&said, v.try(t, "delete", mount+"/static-role/legacy", "remove_key=true").stderr)
		cloud.ClearFaults()
	}

	secrets := append(append(cloud.Secrets(), given...), wrongSecret, alisim.DefaultAccessKeySecret)
	if len(secrets) < 10 {
		t.Fatalf("the cloud issued only %d secrets", len(secrets))
	}
	auditLog, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := json.Marshal(cloud.Journal())
	if err != nil {
		t.Fatal(err)
	}
	everything := map[string]string{
		"the journal":          string(journal),
		"vault and the plugin": v.output.String(),
		"the audit log":        string(auditLog),
		"the API and the CLI":  said.String(),
	}
	for who, text := range everything {
		if len(text) < 1000 {
			t.Errorf("%s said next to nothing: %q", who, text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s printed a secret, after %q", who, text[max(0, at-200):at])
			}
		}
		for _, suspicious := range []string{"Signature=", "ACS3-HMAC-SHA256 ", "SecurityToken="} {
			if strings.Contains(text, suspicious) {
				at := strings.Index(text, suspicious)
				t.Errorf("%s printed a piece of a signed request: %q", who, text[max(0, at-200):at+len(suspicious)])
			}
		}
	}
}

// identityToken writes a token of the cloud's own issuer to a file.
func identityToken(t *testing.T, cloud *alisim.Server) (token, file string) {
	t.Helper()
	issuer, err := cloud.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	if token, err = issuer.Sign(alisim.IdentityToken{}); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return token, file
}

// rsaKey is a private key in PEM, and a line out of its middle.
func rsaKey(t *testing.T) (key, line string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return key, strings.Split(key, "\n")[5]
}

// reflecting is a service that answers each request with those bytes, of which
// $SENT becomes what the request shows of its keys.
func reflecting(t *testing.T, answer string) (address string) {
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
				sent := r.Header.Get("X-Acs-Security-Token") + " " + r.Header.Get("Authorization")
				_, _ = io.WriteString(c, strings.ReplaceAll(answer, "$SENT", sent))
			}()
		}
	}()
	return listener.Addr().String()
}
