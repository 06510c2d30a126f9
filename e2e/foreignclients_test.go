package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestForeignClients lets three of Alibaba's own SDKs, unmodified, use the
// credentials of our leases, and obtain sessions from the simulator by
// themselves. They run in a process of their own: Go reads the proxy and the CA
// from the environment once per process.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	ca := writeCA(t, cloud)
	session := v.read(t, mount+"/creds/deploy")
	user := v.read(t, mount+"/creds/ci")
	root := foreignKeys{id: alisim.DefaultAccessKeyID, secret: alisim.DefaultAccessKeySecret}

	const assumed = "acs:ram::1234567890123456:assumed-role/deploy/"
	for _, sdk := range []string{"credentials-go", "v1", "v3"} {
		t.Run(sdk, func(t *testing.T) {
			for _, call := range []struct {
				name string
				keys foreignKeys
				args []string
				want string // prefix
			}{
				{"session of a lease", keysOf(session.Data), nil, assumed},
				{"RAM user of a lease", keysOf(user.Data), nil, "acs:ram::1234567890123456:user/"},
				{"session of its own", root, []string{"-assume-role", roleARN}, assumed + "whoami"},
			} {
				arn, err := whoami(t, cloud, ca, call.keys, append([]string{"-sdk", sdk}, call.args...)...)
				if err != nil || !strings.HasPrefix(arn, call.want) {
					t.Errorf("%s: %q, %v; want %s...", call.name, arn, err, call.want)
				}
			}
			wrong := keysOf(session.Data)
			wrong.secret = "wrong"
			if said, err := whoami(t, cloud, ca, wrong, "-sdk", sdk); err == nil || !strings.Contains(said, "SignatureDoesNotMatch") {
				t.Errorf("wrong secret: %q, %v", said, err)
			}
		})
	}

	// The samples of the vendors, unchanged but for where the credentials come from. Bearer tokens are no part of the
	// first simulator's seed.
	sources, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sources.Close)
	for _, sample := range []struct {
		call   string
		cloud  *alisim.Server
		keys   foreignKeys
		bearer string
		want   string
	}{
		{"DescribeRegions", cloud, keysOf(user.Data), "", "cn-hangzhou"},
		{"DescribeRegions", cloud, root, "", "cn-hangzhou"},
		{"GetInstance", sources, foreignKeys{}, alisim.DefaultBearerToken, "ccc-test"},
	} {
		t.Run(sample.call, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), need(t, programs.samples), "-ca", writeCA(t, sample.cloud), sample.call)
			cmd.Env = append(foreignEnviron(sample.cloud, writeCA(t, sample.cloud)), "HOME="+t.TempDir(), "BEARER_TOKEN="+sample.bearer,
				"ALIBABA_CLOUD_ACCESS_KEY_ID="+sample.keys.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET="+sample.keys.secret)
			if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), sample.want) {
				t.Errorf("%s: %s%v; want %s", sample.call, said, err, sample.want)
			}
		})
	}

	signatures := map[string]int{}
	for _, call := range cloud.Journal() {
		if call.Host != "sts.cn-hangzhou.aliyuncs.com" { // the engine calls 127.0.0.1
			continue
		}
		signatures[call.Action+" "+call.Signature]++
	}
	for _, signed := range []string{"AssumeRole V1", "AssumeRole V3", "GetCallerIdentity V1", "GetCallerIdentity V3"} {
		if signatures[signed] == 0 {
			t.Errorf("no %s among %v", signed, signatures)
		}
	}
}

type foreignKeys struct{ id, secret, token string }

// keysOf takes the keys out of an answer of creds/<role>.
func keysOf(data map[string]any) foreignKeys {
	text := func(name string) string { s, _ := data[name].(string); return s }
	return foreignKeys{text("access_key"), text("secret_key"), text("security_token")}
}

// whoami runs cmd/whoami, for which the simulator is all of *.aliyuncs.com, and
// returns what it printed.
func whoami(t *testing.T, cloud *alisim.Server, caFile string, keys foreignKeys, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, programs.whoami), args...)
	cmd.Env = append(foreignEnviron(cloud, caFile),
		"HOME="+t.TempDir(),
		"ALIBABA_CLOUD_ACCESS_KEY_ID="+keys.id,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET="+keys.secret,
		"ALIBABA_CLOUD_SECURITY_TOKEN="+keys.token)
	said, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(said)), err
}

// foreignEnviron leads an unmodified client to the simulator.
func foreignEnviron(cloud *alisim.Server, caFile string) []string {
	return []string{"HTTPS_PROXY=" + cloud.ProxyURL, "HTTP_PROXY=" + cloud.ProxyURL, "SSL_CERT_FILE=" + caFile}
}

func writeCA(t *testing.T, cloud *alisim.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cloud.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
