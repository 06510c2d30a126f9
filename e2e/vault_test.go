package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// TestVaultSession reads a session with the real CLI and revokes its lease.
func TestVaultSession(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	began := time.Now()
	secret := v.cli(t, "read", "-format=json", mount+"/creds/deploy")
	for _, name := range []string{"access_key", "secret_key", "security_token", "expiration"} {
		if text, _ := secret.Data[name].(string); text == "" {
			t.Errorf("the answer has no %s", name)
		}
	}
	expiration, err := time.Parse(time.RFC3339, secret.Data["expiration"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if life := expiration.Sub(began); life < time.Duration(secret.LeaseDuration-1)*time.Second || secret.LeaseDuration < 3500 { // STS leaves the fraction out
		t.Errorf("a lease of %d s on a session of %v", secret.LeaseDuration, life)
	}
	arn, err := whoami(t, cloud, writeCA(t, cloud), keysOf(secret.Data))
	if err != nil || !strings.HasPrefix(arn, "acs:ram::1234567890123456:assumed-role/deploy/") {
		t.Errorf("the session is %q, %v", arn, err)
	}
	v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
}

// TestVaultRAMUser issues, renews and revokes a RAM user with the real CLI.
func TestVaultRAMUser(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	seed := cloud.Inventory()
	v.write(t, mount+"/role/ci", map[string]any{"ttl": "10m", "max_ttl": "1h"})

	secret := v.cli(t, "read", "-format=json", mount+"/creds/ci")
	if secret.LeaseDuration != 600 || !secret.Renewable {
		t.Errorf("lease of %d s, renewable %t; want 600 s, renewable", secret.LeaseDuration, secret.Renewable)
	}
	if left := leftovers(seed, cloud.Inventory()); len(left.Users) != 1 {
		t.Errorf("issued: %v", left)
	}
	arn, err := whoami(t, cloud, writeCA(t, cloud), keysOf(secret.Data))
	if err != nil || !strings.HasPrefix(arn, "acs:ram::1234567890123456:user/") {
		t.Errorf("the user is %q, %v", arn, err)
	}
	renewed := v.cli(t, "lease", "renew", "-format=json", "-increment=20m", secret.LeaseID)
	if renewed.LeaseDuration < 600 || renewed.LeaseDuration > 3600 {
		t.Errorf("renewed to %d s", renewed.LeaseDuration)
	}
	v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
	if left := leftovers(seed, cloud.Inventory()); !left.empty() {
		t.Errorf("revoked, but RAM still holds %v", left)
	}
	v.run(t, "delete", mount+"/role/ci")
	if got := v.try(t, "read", mount+"/creds/ci"); got.code == 0 {
		t.Error("a deleted role still issues")
	}
}

// TestVaultExpiry lets a short lease run out: Vault revokes it, the user goes.
func TestVaultExpiry(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	seed := cloud.Inventory()
	v.write(t, mount+"/role/ci", map[string]any{"ttl": "2s", "max_ttl": "5s"})
	secret := v.read(t, mount+"/creds/ci")
	if secret.LeaseDuration != 2 {
		t.Errorf("lease of %d s, want 2 s", secret.LeaseDuration)
	}
	if len(journal(cloud, "CreateUser")) != 1 { // RAM may have lost it again by now
		t.Fatal("no user was made")
	}
	eventually(t, 5*time.Minute, "the user of the expired lease is gone", func() bool {
		return leftovers(seed, cloud.Inventory()).empty()
	})
}

// TestVaultShortSession asks for less than STS can give: the lease is as
// asked, the session is 900 s, and a warning says so.
func TestVaultShortSession(t *testing.T) {
	t.Parallel()
	v, _ := startEngine(t)
	v.write(t, mount+"/role/deploy", map[string]any{"ttl": "5m"})
	began := time.Now()
	secret := v.read(t, mount+"/creds/deploy")
	ended := time.Now()
	if secret.LeaseDuration != 300 {
		t.Errorf("lease of %d s, want 300 s", secret.LeaseDuration)
	}
	expiration, err := time.Parse(time.RFC3339, secret.Data["expiration"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if expiration.Before(began.Add(899*time.Second)) || expiration.After(ended.Add(900*time.Second)) {
		t.Errorf("session of %v, want 900 s", expiration.Sub(began))
	}
	if !slices.ContainsFunc(secret.Warnings, func(w string) bool { return strings.Contains(w, "15m") }) {
		t.Errorf("no warning about 15 minutes among %q", secret.Warnings)
	}
}

// TestVaultHelp reads all help there is.
func TestVaultHelp(t *testing.T) {
	t.Parallel()
	v, _ := startEngine(t)
	help := v.run(t, "path-help", mount)
	for _, path := range []string{"config", "config/caller-identity", "role/", "role/deploy", "role/deploy/check", "creds/deploy", "status", "metrics"} {
		help += "\n" + v.run(t, "path-help", mount+"/"+path)
	}
	for _, want := range []string{"## DESCRIPTION", "^config$", "caller-identity", "access_key", "inline_policies", "role_arn", "Alibaba Cloud"} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q", want)
		}
	}
	for _, bad := range []string{"<no description>", "This path is missing"} {
		if strings.Contains(help, bad) {
			t.Errorf("the help says %q:\n%s", bad, help)
		}
	}
	if t.Failed() {
		t.Log(help)
	}
}

// TestVaultWrongInput wants every mistake of a user answered as such, with the
// field and the fix.
func TestVaultWrongInput(t *testing.T) {
	t.Parallel()
	v, _ := startEngine(t)
	for _, test := range []struct {
		name, path string
		data       map[string]any
		status     int
		says       []string
	}{
		{"neither kind of role", "role/x", map[string]any{"ttl": "1h"}, 400,
			[]string{"must include an arn, or at least one of inline_policies or remote_policies"}},
		{"not an ARN", "role/x", map[string]any{"role_arn": "deploy"}, 400, []string{"role_arn", "acs:ram::"}},
		{"both kinds", "role/x", map[string]any{"role_arn": roleARN, "remote_policies": []string{"name:A,type:System"}}, 400,
			[]string{"remote_policies must be blank when an arn is present"}},
		{"bad policy", "role/x", map[string]any{"inline_policies": "[{"}, 400, []string{"inline_policies"}},
		{"bad remote policy", "role/x", map[string]any{"remote_policies": []string{"AliyunOSSReadOnlyAccess"}}, 400, []string{"remote_policies", "name:"}},
		{"ttl above max_ttl", "role/x", map[string]any{"role_arn": roleARN, "ttl": "2h", "max_ttl": "1h"}, 400, []string{"ttl exceeds max_ttl"}},
		{"bad duration", "role/x", map[string]any{"role_arn": roleARN, "ttl": "soon"}, 400, []string{"ttl"}},
		{"unknown credential type", "config", map[string]any{"credential_type": "password"}, 400, []string{"credential_type", "access_key"}},
		{"plain http endpoint", "config", map[string]any{"sts_endpoint": "http://sts.example.com"}, 400, []string{"sts_endpoint", "https"}},
		{"bad CA", "config", map[string]any{"ca_certificate": "no PEM"}, 400, []string{"ca_certificate", "PEM"}},
		{"no name", "role/", map[string]any{"role_arn": roleARN}, 405, []string{"unsupported operation"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/"+test.path, test.data)
			wantRefusal(t, err, test.status, test.says...)
		})
	}

	t.Run("unknown role", func(t *testing.T) {
		response, err := v.api.Logical().ReadRawWithContext(t.Context(), mount+"/creds/nobody")
		if response == nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("status %d, want 404", response.StatusCode)
		}
	})
	t.Run("no config", func(t *testing.T) {
		v.run(t, "delete", mount+"/config", "force=true")
		_, err := v.api.Logical().ReadWithContext(t.Context(), mount+"/creds/deploy")
		wantRefusal(t, err, 400, "config", "access_key")
	})
}

func wantRefusal(t *testing.T, err error, status int, says ...string) {
	t.Helper()
	var refusal *api.ResponseError
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if refusal.StatusCode != status {
		t.Errorf("status %d, want %d", refusal.StatusCode, status)
	}
	text := strings.Join(refusal.Errors, "\n")
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// cli runs a command of the real CLI that prints a secret as JSON.
func (v *vaultServer) cli(t *testing.T, args ...string) *api.Secret {
	t.Helper()
	secret := &api.Secret{}
	if err := json.Unmarshal([]byte(v.run(t, args...)), secret); err != nil {
		t.Fatal(err)
	}
	return secret
}
