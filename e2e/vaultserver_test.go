package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// A vaultServer is a real Vault dev server, with its plugins, for one test.
type vaultServer struct {
	binary    string
	home      string
	addr      string
	token     string
	pluginDir string
	env       []string // besides environ, of the server alone
	output    *output  // of the server and of all its plugins
	api       *api.Client
	process   *os.Process
	exited    <-chan error
}

const (
	startTries   = 5
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
)

// startVault starts a server on a free loopback port, with further arguments. It is
// gone, and so are its plugins, when the test ends.
func startVault(t *testing.T, args ...string) *vaultServer {
	t.Helper()
	return startVaultWith(t, nil, args...)
}

// startVaultWith is startVault with more variables in the server's environment.
func startVaultWith(t *testing.T, env []string, args ...string) *vaultServer {
	t.Helper()
	v := &vaultServer{
		binary:    need(t, programs.vault),
		home:      t.TempDir(),
		pluginDir: t.TempDir(),
		token:     "root-" + rand.Text(),
		env:       env,
		output:    &output{},
	}
	// Vault wants the true path of the directory.
	dir, err := filepath.EvalSymlinks(v.pluginDir)
	if err != nil {
		t.Fatal(err)
	}
	v.pluginDir = dir
	// Another process may take the port between our look and Vault's. The
	// token, which is new, tells our server from another that answers there.
	for range startTries {
		if err = v.start(t, args...); err == nil {
			return v
		}
	}
	t.Fatalf("no Vault server after %d tries: %v\n%s", startTries, err, v.output)
	return nil
}

func (v *vaultServer) start(t *testing.T, args ...string) error {
	v.addr = "http://" + freeAddr(t)
	err := v.launch(t, func(ctx context.Context) error {
		_, err := v.api.Auth().Token().LookupSelfWithContext(ctx)
		return err
	}, append([]string{
		"-dev", "-dev-no-store-token", "-dev-root-token-id=" + v.token,
		"-dev-listen-address=" + strings.TrimPrefix(v.addr, "http://"), "-dev-plugin-dir=" + v.pluginDir,
	}, args...)...)
	if err == nil {
		t.Cleanup(func() { v.stop(t) })
	}
	return err
}

// launch starts the process at addr, and returns when it is ready. A process
// that never is has been ended.
func (v *vaultServer) launch(t *testing.T, ready func(context.Context) error, args ...string) error {
	config := api.DefaultConfig()
	config.Address = v.addr
	config.MaxRetries = 0
	client, err := api.NewClient(config)
	if err != nil {
		return err
	}
	client.SetToken(v.token)
	client.ClearNamespace()
	v.api = client

	cmd := exec.Command(v.binary, append([]string{"server"}, args...)...)
	cmd.Env = append(append(v.environ(), "VAULT_LOG_LEVEL=debug"), v.env...)
	cmd.Stdout, cmd.Stderr = v.output, v.output
	cmd.WaitDelay = time.Second // a plugin that outlives Vault must not keep us waiting
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	v.process, v.exited = cmd.Process, exited
	for deadline := time.After(startTimeout); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := ready(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case err := <-exited:
			return fmt.Errorf("vault server exited: %w", err)
		case <-deadline:
			_ = cmd.Process.Kill()
			<-exited
			return fmt.Errorf("vault server not ready after %v", startTimeout)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the server by its pid, and wants all its plugins to end with it.
func (v *vaultServer) stop(t *testing.T) {
	_ = v.process.Signal(syscall.SIGTERM)
	select {
	case <-v.exited:
	case <-time.After(stopTimeout):
		t.Errorf("vault server still there %v after SIGTERM", stopTimeout)
		_ = v.process.Kill()
		<-v.exited
	}
	for _, pid := range v.pluginPIDs("") {
		for start := time.Now(); v.isPlugin(pid); {
			if time.Since(start) > stopTimeout {
				t.Errorf("plugin process %d outlived vault", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	if t.Failed() {
		t.Logf("vault and its plugins printed:\n%s", tail(v.output.String(), 8<<10))
	}
}

var pluginStarted = regexp.MustCompile(`plugin started: .*path=(\S+) pid=(\d+)\s`) // the whole number: output may end in the middle of a line

// pluginPIDs are the processes that Vault has ever started of a plugin ("" for
// any), newest last.
func (v *vaultServer) pluginPIDs(name string) []int {
	var pids []int
	for _, match := range pluginStarted.FindAllStringSubmatch(v.output.String(), -1) {
		if name != "" && filepath.Base(match[1]) != name {
			continue
		}
		if pid, err := strconv.Atoi(match[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// environ is the environment of Vault and its commands: that of the test
// without what would lead them elsewhere.
func (v *vaultServer) environ() []string {
	env := []string{"HOME=" + v.home, "VAULT_ADDR=" + v.addr, "VAULT_TOKEN=" + v.token}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		upper := strings.ToUpper(name)
		if upper == "HOME" || strings.HasPrefix(upper, "VAULT_") || strings.HasPrefix(upper, "BAO_") || strings.HasSuffix(upper, "_PROXY") ||
			strings.HasPrefix(upper, "SSL_CERT_") || // on OpenBao it beats what a plugin is registered with
			strings.HasPrefix(upper, "ALIBABA_CLOUD_") || strings.HasPrefix(upper, "ALICLOUD_") {
			continue
		}
		env = append(env, variable)
	}
	return env
}

// A commandResult is what a command of the vault CLI left.
type commandResult struct {
	stdout, stderr string
	code           int
}

// try runs a command of the real CLI.
func (v *vaultServer) try(t *testing.T, args ...string) commandResult {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), v.binary, args...)
	cmd.Env = append(v.environ(), "VAULT_MAX_RETRIES=0")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return commandResult{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs a command of the real CLI that must succeed, and returns its stdout.
func (v *vaultServer) run(t *testing.T, args ...string) string {
	t.Helper()
	result := v.try(t, args...)
	if result.code != 0 {
		t.Fatalf("vault %s: exit status %d\n%s%s", strings.Join(args, " "), result.code, result.stdout, result.stderr)
	}
	return strings.TrimSuffix(result.stdout, "\n")
}

// read reads a path over the HTTP API.
func (v *vaultServer) read(t *testing.T, path string) *api.Secret {
	t.Helper()
	secret, err := v.api.Logical().ReadWithContext(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if secret == nil {
		t.Fatalf("%s: nothing there", path)
	}
	return secret
}

// write writes a path over the HTTP API.
func (v *vaultServer) write(t *testing.T, path string, data map[string]any) *api.Secret {
	t.Helper()
	secret, err := v.api.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// register installs a program in the plugin directory under a name, and
// registers it as an operator does, with its sha256 and its version.
func (v *vaultServer) register(t *testing.T, name, program, version string, flags ...string) {
	t.Helper()
	v.registerFile(t, name, name, program, version, flags...)
}

// registerFile is register where the file has another name than the plugin:
// every version of a plugin needs a file of its own.
func (v *vaultServer) registerFile(t *testing.T, name, file, program, version string, flags ...string) {
	t.Helper()
	installed := filepath.Join(v.pluginDir, file)
	copyProgram(t, program, installed)
	var env []string
	for _, flag := range flags {
		if variable, found := strings.CutPrefix(flag, "-env="); found {
			env = append(env, variable)
		}
	}
	if len(env) > 0 && theHost(t).name == "OpenBao" { // its CLI has no -env, its API has
		v.write(t, "sys/plugins/catalog/secret/"+name, map[string]any{
			"command": file, "sha256": sha256Of(t, installed), "version": version, "env": env,
		})
		return
	}
	args := append([]string{"plugin", "register", "-command=" + file, "-sha256=" + sha256Of(t, installed), "-version=" + version}, flags...)
	v.run(t, append(args, "secret", name)...)
}

// portsTried is how many ports freeAddr has tried.
var portsTried atomic.Int32

// freeAddr is a loopback address for a server that starts later, and may stop and start again. Its port is below
// those that the system gives to connections and to listeners that name none, and no other server of this run is given
// it. scripts/demo and the bench have ranges of their own.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 24000 + (64*os.Getpid()+int(portsTried.Add(1)))%8000 // two runs at a time begin at different ones
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// isPlugin tells whether a process is one of the server's plugins and lives. The number of one that has ended may be
// that of a stranger by now, and one that nobody has waited for yet has no command line.
func (v *vaultServer) isPlugin(pid int) bool {
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return bytes.HasPrefix(command, []byte(v.pluginDir+"/"))
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// eventually waits for a condition, and fails the test when it does not come.
func eventually(t *testing.T, timeout time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", timeout, what)
		}
		<-time.After(50 * time.Millisecond)
	}
}
