package adapters_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestAlicredsPage builds the programs of docs/alicreds.md as they stand there,
// and runs each against the simulator.
func TestAlicredsPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the programs of a page: not with -short")
	}
	t.Parallel()
	page, err := os.ReadFile("../docs/alicreds.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{}
	for _, found := range regexp.MustCompile("(?m)^## (.*)\n(?:[^`#].*\n|`[^`].*\n|\n)*```go\n(package main\n(?:[^`].*\n|\n)*)```$").FindAllStringSubmatch(string(page), -1) {
		programs[found[1]] = found[2]
	}
	if count := strings.Count(string(page), "\npackage main\n"); count != 5 || len(programs) != count {
		t.Fatalf("the page has %d programs, and %d under a heading of their own", count, len(programs))
	}
	key := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID=" + alisim.DefaultAccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + alisim.DefaultAccessKeySecret}
	const local = "acs:ram::1234567890123456:assumed-role/local/"
	ran := map[string]bool{}
	for _, tt := range []struct {
		name, program string
		env           []string
		fault         *alisim.Fault
		says          string // what it prints has in it
		fails         bool
		uri           bool // ALIBABA_CLOUD_CREDENTIALS_URI is set
		assumed       int  // calls of AssumeRole
		asked         int  // of the credentials URI
	}{
		{name: "key in the environment", program: "Who am I", env: key, says: "acs:ram::1234567890123456:user/vault default/env"},
		{name: "role", program: "A RAM role over an AccessKey", assumed: 1, says: "ram_role_arn " + alisim.DefaultRoleARN,
			env: []string{"DEPLOY_KEY_ID=" + alisim.DefaultAccessKeyID, "DEPLOY_KEY_SECRET=" + alisim.DefaultAccessKeySecret}},
		{name: "SDK", program: "A client of Alibaba's SDK", env: key, says: "acs:ram::1234567890123456:user/vault"},
		{name: "bucket", program: "OSS", env: key, says: "200 OK", assumed: 1},
		{name: "nothing is refused", program: "When something is refused", uri: true, says: local, asked: 1},
		{name: "session refused once", program: "When something is refused", uri: true, says: local, asked: 2,
			fault: &alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultRefuse, Status: 400, Code: "InvalidSecurityToken.Expired", Count: 1}},
		{name: "session refused for good", program: "When something is refused", uri: true, says: "refused: InvalidSecurityToken.Expired, request ", asked: 2, fails: true,
			fault: &alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultRefuse, Status: 400, Code: "InvalidSecurityToken.Expired"}},
		{name: "service out of order", program: "When something is refused", uri: true, says: "try again later: ", asked: 1, fails: true,
			fault: &alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultRefuse}},
		{name: "connection dropped", program: "When something is refused", uri: true, says: "try again later: ", asked: 1, fails: true,
			fault: &alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultDrop}},
		{name: "nothing set up", program: "When something is refused", says: "nothing is set up here: ", fails: true},
	} {
		ran[tt.program] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, known := programs[tt.program]
			if !known {
				t.Fatalf("the page has no program under %q", tt.program)
			}
			dir := t.TempDir()
			source, binary, ca := filepath.Join(dir, "main.go"), filepath.Join(dir, "program.exe"), filepath.Join(dir, "ca.pem")
			cloud, err := alisim.Start(alisim.Options{Seed: alisim.SourcesSeed()})
			if err != nil {
				t.Fatal(err)
			}
			defer cloud.Close()
			if tt.fault != nil {
				if err := cloud.AddFault(*tt.fault); err != nil {
					t.Fatal(err)
				}
			}
			bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.Header.Get("Authorization"), "STS.") || r.Header.Get("X-Oss-Security-Token") == "" {
					w.WriteHeader(http.StatusForbidden)
				}
			}))
			defer bucket.Close()
			for name, content := range map[string][]byte{source: []byte(text), ca: cloud.CACertPEM()} {
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// In this directory the imports are those of the module adapters.
			if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, said)
			}
			run := exec.CommandContext(t.Context(), binary)
			run.Env = append([]string{
				"HOME=" + dir, "USERPROFILE=" + dir, "SYSTEMROOT=" + os.Getenv("SYSTEMROOT"),
				"HTTPS_PROXY=" + cloud.ProxyURL, "SSL_CERT_FILE=" + ca, "OSS_ENDPOINT=" + bucket.URL, "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true",
			}, tt.env...)
			if tt.uri {
				run.Env = append(run.Env, "ALIBABA_CLOUD_CREDENTIALS_URI="+cloud.CredentialsURL+cloud.Sources().CredentialsURIs[0].Path)
			}
			said, err := run.CombinedOutput()
			if (err != nil) != tt.fails || !strings.Contains(string(said), tt.says) {
				t.Errorf("%v, and it says %q, want %q", err, said, tt.says)
			}
			calls := map[string]int{}
			for _, call := range cloud.Journal() {
				calls[call.Action]++
			}
			if calls["AssumeRole"] != tt.assumed || calls["CredentialsURI.Get"] != tt.asked {
				t.Errorf("calls %v, want %d of AssumeRole and %d of the URI", calls, tt.assumed, tt.asked)
			}
		})
	}
	for name := range programs {
		if !ran[name] {
			t.Errorf("nothing runs the program under %q", name)
		}
	}
	fmt.Printf("TestAlicredsPage: programs %d\n", len(programs))
}

// TestAlicredsPageTest runs the test of docs/alicreds.md as it stands there.
func TestAlicredsPageTest(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the test of a page: not with -short")
	}
	t.Parallel()
	page, err := os.ReadFile("../docs/alicreds.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Test your own program\n")
	_, text, _ := strings.Cut(section, "```go\n")
	text, _, whole := strings.Cut(text, "```\n")
	if !whole {
		t.Fatal("the page has no test")
	}
	source := filepath.Join(t.TempDir(), "whoami_test.go")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, name := range []string{"TestWhoami", "TestNotSetUp", "TestRefused", "TestExpired"} {
		if !strings.Contains(string(said), "--- PASS: "+name+" ") {
			t.Errorf("%s has not passed:\n%s", name, said)
		}
	}
}
