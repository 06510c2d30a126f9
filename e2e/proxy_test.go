package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestProxyOfPlugin gives the plugin alone a proxy, at its registration, as sites do
// whose Vault may not use one. No endpoint is in config: the proxy leads to the
// real names. With a proxy that does not work the error says so, and not its
// password.
func TestProxyOfPlugin(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	v := startVault(t)
	program := need(t, programs.plugin)
	v.register(t, mount, program, pluginVersion, "-env=HTTPS_PROXY="+cloud.ProxyURL)
	v.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+pluginVersion, mount)
	seed := cloud.Inventory()
	v.write(t, mount+"/config", map[string]any{
		"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret, "ca_certificate": string(cloud.CACertPEM()), "verify": true,
	})
	v.write(t, mount+"/role/ci", map[string]any{"remote_policies": []string{"name:AliyunECSReadOnlyAccess,type:System"}, "ttl": "15m"})
	lease := v.read(t, mount+"/creds/ci").LeaseID
	v.run(t, "lease", "revoke", "-sync", lease)
	if left := leftovers(seed, cloud.Inventory()); !left.empty() {
		t.Errorf("left %v", left)
	}

	const password = "proxy-password-0123456789"
	for n, proxy := range []string{"http://127.0.0.1:9", "http://user:" + password + "@127.0.0.1:9", "http://user:" + password + "%ss@127.0.0.1:9"} {
		v.registerFile(t, mount, fmt.Sprintf("%s-%d", mount, n), program, pluginVersion, "-env=HTTPS_PROXY="+proxy)
		v.run(t, "write", "sys/plugins/reload/backend", "mounts="+mount+"/")
		begun := time.Now()
		said := v.try(t, "read", mount+"/config/caller-identity")
		if took := time.Since(begun); said.code == 0 || !strings.Contains(said.stderr, "asking who this mount is") || took > 80*time.Second {
			t.Errorf("by %s, after %v: %v", strings.ReplaceAll(proxy, password, "..."), took, said)
		}
		if strings.Contains(said.stderr, password) {
			t.Errorf("the password is in %s", said.stderr)
		}
	}
	for _, line := range strings.Split(v.output.String(), "\n") {
		if strings.Contains(line, password) && !strings.Contains(line, "HTTPS_PROXY") {
			t.Errorf("the password is in the log: %s", line)
		}
	}
}

// TestOperationIDs wants each operation of the mount to have a name of its own:
// client libraries are generated from them.
func TestOperationIDs(t *testing.T) {
	t.Parallel()
	v, _ := startEngine(t)
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(v.run(t, "read", "-format=json", "-field=paths", "sys/internal/specs/openapi")), &document.Paths); err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	for path, methods := range document.Paths {
		if !strings.HasPrefix(path, "/"+mount+"/") {
			continue
		}
		for method, raw := range methods {
			var operation struct{ OperationID string }
			if json.Unmarshal(raw, &operation) != nil || operation.OperationID == "" {
				continue // what the methods share
			}
			at := fmt.Sprintf("%s %s", method, path)
			if other := of[operation.OperationID]; other != "" {
				t.Errorf("%s is both %s and %s", operation.OperationID, other, at)
			}
			of[operation.OperationID] = at
		}
	}
	if len(of) < 15 {
		t.Errorf("only %d operations were found", len(of))
	}
}
