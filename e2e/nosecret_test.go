package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/alisim"
)

// TestNoSecretInOutput makes good and bad requests, with a cloud that works and
// one that fails in every way, and then looks for every secret that the cloud
// ever issued in all that was printed: by Vault and the plugin at debug level,
// in the audit log, by the CLI, in the errors of the API.
func TestNoSecretInOutput(t *testing.T) {
	v, cloud := startEngine(t)
	audit := filepath.Join(t.TempDir(), "audit.log")
	v.run(t, "audit", "enable", "file", "file_path="+audit, "mode=0600")
	var said output // stderr of the CLI, errors of the API

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
	issue := func() {
		for _, path := range []string{"config/caller-identity", "creds/deploy", "creds/ci", "creds/nobody", "config", "role/ci"} {
			read(mount + "/" + path)
		}
	}
	write := func(path string, data map[string]any) {
		if _, err := v.api.Logical().WriteWithContext(t.Context(), mount+"/"+path, data); err != nil {
			fmt.Fprintln(&said, err)
		}
	}

	issue()
	v.write(t, mount+"/config", map[string]any{"max_retries": 1})
	for _, fault := range []alisim.Fault{
		{Kind: alisim.FaultThrottle},
		{Kind: alisim.FaultRedirect302},
		{Kind: alisim.FaultError500},
		{Kind: alisim.FaultDrop},
		{Kind: alisim.FaultApplyThenDrop, Action: "CreateAccessKey"},
		{Kind: alisim.FaultApplyThenFail, Action: "AttachPolicyToUser"},
		{Kind: alisim.FaultRefuse, Code: "SignatureDoesNotMatch", Status: 400},
		{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403},
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

	secrets := append(cloud.Secrets(), wrongSecret, alisim.DefaultAccessKeySecret)
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
