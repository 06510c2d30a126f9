package backend_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// The end-to-end test of the same name cannot serve the metadata service, whose
// address is fixed; here the instance's role is a source of the mount, of the
// default chain and of a role, while the cloud works and while it does not.
func TestNoSecretOfTheMetadataServiceInOutput(t *testing.T) {
	bareEnvironment(t)
	m := newSeededMount(t, alisim.SourcesSeed())
	m.logged = &bytes.Buffer{}
	m.start()

	var said strings.Builder
	issued := 0
	ask := func(path string) {
		resp, err := m.request(logical.ReadOperation, path, nil)
		switch {
		case err != nil:
			fmt.Fprintln(&said, err)
		case resp.IsError():
			fmt.Fprintln(&said, resp.Error())
		case resp != nil:
			issued++
			fmt.Fprintln(&said, resp.Warnings)
		}
	}
	faults := []alisim.Fault{
		{}, {Kind: alisim.FaultThrottle}, {Kind: alisim.FaultError500}, {Kind: alisim.FaultDrop}, {Kind: alisim.FaultRedirect302},
		{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403},
		{Kind: alisim.FaultMalform, Malform: "not_json"}, {Kind: alisim.FaultMalform, Malform: "html"}, {Kind: alisim.FaultMalform, Malform: "huge"},
		{Kind: alisim.FaultMalform, Malform: "remove:SecurityToken"}, {Kind: alisim.FaultMalform, Malform: `set:Code="Failed"`},
	}
	if testing.Short() {
		faults = faults[:2] // most are repeated, after real pauses
	}
	for _, source := range []string{"ecs_ram_role", "default"} {
		config := m.simConfig()
		config["credential_type"], config["max_retries"] = source, 0
		config["access_key"], config["secret_key"] = "", ""
		m.must(logical.UpdateOperation, "role/node", map[string]any{"credential_type": "ecs_ram_role"})
		for _, fault := range faults {
			m.must(logical.UpdateOperation, "config", config) // forgets the keys it had
			if fault.Kind != "" {
				m.fault(fault)
			}
			ask("config/caller-identity")
			ask("status")
			ask("creds/node")
			m.sim.ClearFaults()
		}
		m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	}
	if issued < 4 {
		t.Errorf("only %d answers were good: %s", issued, said.String())
	}
	secrets := m.sim.Secrets()
	if len(secrets) < 4 {
		t.Fatalf("the cloud issued only %d secrets", len(secrets))
	}
	for who, text := range map[string]string{"the answers": said.String(), "the log": m.logged.String()} {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold a secret: %s", who, text)
			}
		}
	}
}
