package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

const (
	pluginName    = "vault-plugin-secrets-alicloud"
	pluginVersion = "v1.0.0-e2e" // higher than any of the peer engine
	walMinAge     = "20s"        // of the plugin under test; long against an issue on a busy machine, short against a rollback a minute
)

// programs are built once per test run, when a test first asks for them.
var programs struct {
	dir    string
	plugin func() (string, error)
	whoami func() (string, error)
	aliyun func() (string, error) // stands in for the aliyun CLI

	samples func() (string, error)
	vault   func() (string, error)
	peer    func() (string, error)

	outcome func() (string, error) // asks alicreds or credentials-go for keys
	nodeSDK func() (string, error) // the directory of @alicloud/credentials
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "e2e-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs.dir = dir
	programs.plugin = sync.OnceValues(func() (string, error) {
		const backend = "github.com/alicreds/vault-plugin-secrets-alicloud/backend"
		return goBuild("..", ".", pluginName, "-X "+backend+".version="+pluginVersion+" -X "+backend+".walMinAge="+walMinAge)
	})
	programs.whoami = sync.OnceValues(func() (string, error) { return goBuild(".", "./cmd/whoami", "whoami", "") })
	programs.aliyun = sync.OnceValues(func() (string, error) { return goBuild(".", "./cmd/aliyun", "aliyun", "") })
	programs.samples = sync.OnceValues(func() (string, error) { return goBuild(".", "./cmd/samples", "samples", "") })
	programs.vault = sync.OnceValues(namedVault)
	programs.peer = sync.OnceValues(func() (string, error) { return script("peer") })
	programs.outcome = sync.OnceValues(func() (string, error) { return goBuild("../differential", "./cmd/outcome", "outcome", "") })
	programs.nodeSDK = sync.OnceValues(nodeSDKDirectory)
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func goBuild(module, pkg, name, ldflags string) (string, error) {
	output := filepath.Join(programs.dir, name)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", ldflags, "-o", output, pkg)
	cmd.Dir = module
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, said)
	}
	return output, nil
}

// script runs one of ../scripts, which print the path of a binary.
func script(name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join("..", "scripts", name), args...)
	cmd.Stderr = os.Stderr // tells how far a first build is
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("scripts/%s: %w", name, err)
	}
	return string(bytes.TrimSpace(said)), nil
}

// nodeSDKDirectory installs @alicloud/credentials as the differential tests do.
func nodeSDKDirectory() (string, error) {
	source, err := filepath.Abs("../differential/node")
	if err != nil {
		return "", err
	}
	program, err := goBuild("../differential", "./cmd/nodesdk", "nodesdk", "")
	if err != nil {
		return "", err
	}
	said, err := exec.Command(program, source).Output()
	if err != nil {
		return "", fmt.Errorf("nodesdk: %w", err)
	}
	return string(bytes.TrimSpace(said)), nil
}

func need(t *testing.T, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func sha256Of(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

// copyProgram puts a program into a plugin directory, under a name of its own.
func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, to, content)
}

// writeProgram writes a file that is executed soon. No process of other tests is started meanwhile: it would have the
// file open for writing until it executes something else, and so long the kernel refuses to execute the file.
func writeProgram(t *testing.T, name string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, content, 0o700); err != nil {
		t.Fatal(err)
	}
}
