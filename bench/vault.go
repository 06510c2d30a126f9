package main

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	startTries   = 5
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
)

// vaultServer is a Vault server with its plugins.
type vaultServer struct {
	binary    string
	address   string
	token     string
	home      string // removed by close
	pluginDir string
	process   *os.Process
	exited    chan error
	output    *tail
	api       *api.Client
}

// startVault starts a dev server on a free loopback port. The caller must close it.
func startVault(ctx context.Context, binary string) (*vaultServer, error) {
	v, err := newVaultServer(binary)
	if err != nil {
		return nil, err
	}
	return v.start(ctx, (*vaultServer).startDev)
}

// newVaultServer makes the directories of a server. Its close removes them.
func newVaultServer(binary string) (*vaultServer, error) {
	home, err := os.MkdirTemp("", "bench-vault-")
	if err != nil {
		return nil, err
	}
	if home, err = filepath.EvalSymlinks(home); err != nil { // Vault wants the true path of its plugins
		return nil, err
	}
	v := &vaultServer{binary: binary, token: "root-" + cryptorand.Text(), home: home, pluginDir: filepath.Join(home, "plugins"), output: &tail{}}
	if err := os.Mkdir(v.pluginDir, 0o700); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// start tries a few ports: another process may take one between our look and Vault's.
func (v *vaultServer) start(ctx context.Context, once func(*vaultServer, context.Context) error) (*vaultServer, error) {
	var err error
	for range startTries {
		if err = once(v, ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no Vault server: %w\n%s", err, v.output), v.close())
	}
	return v, nil
}

// startDev starts the process. The token, which is new, tells our server from
// another that answers at the address.
func (v *vaultServer) startDev(ctx context.Context) error {
	at, err := freeAddress()
	if err != nil {
		return err
	}
	v.address = "http://" + at
	ready := func(ctx context.Context) error {
		_, err := v.api.Auth().Token().LookupSelfWithContext(ctx)
		return err
	}
	return v.launch(ctx, ready, "-dev", "-dev-no-store-token", "-dev-root-token-id="+v.token, "-dev-listen-address="+at, "-dev-plugin-dir="+v.pluginDir)
}

// freeAddress is a loopback address with a port that nobody uses at the moment, and
// that is below those that the system gives to connections.
func freeAddress() (address string, err error) {
	for range 100 {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 16000+rand.IntN(4000))); err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", err
}

// launch starts the process at v.address, and returns when it is ready.
func (v *vaultServer) launch(ctx context.Context, ready func(context.Context) error, args ...string) (err error) {
	cmd := exec.Command(v.binary, append([]string{"server"}, args...)...)
	cmd.Env = []string{"HOME=" + v.home, "PATH=" + os.Getenv("PATH"), "VAULT_LOG_LEVEL=error"}
	cmd.Stdout, cmd.Stderr = v.output, v.output
	cmd.WaitDelay = time.Second // a plugin that outlives Vault must not keep us waiting
	// Ctrl-C is for us alone: we stop the server, and then its plugins.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	v.process, v.exited = cmd.Process, exited

	config := api.DefaultConfig()
	config.Address = v.address
	config.MaxRetries = 0
	if v.api, err = api.NewClient(config); err != nil {
		return errors.Join(err, v.stop())
	}
	v.api.SetToken(v.token)
	v.api.ClearNamespace()
	isReady := func() bool {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return ready(limited) == nil
	}
	for deadline := time.After(startTimeout); !isReady(); {
		select {
		case err := <-exited:
			v.process = nil
			return fmt.Errorf("it exited: %w", err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), v.stop())
		case <-deadline:
			return errors.Join(fmt.Errorf("not ready after %v", startTimeout), v.stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// stop ends the server and its plugins, each by its pid.
func (v *vaultServer) stop() error {
	if v.process == nil {
		return nil
	}
	plugins := children(v.process.Pid)
	_ = v.process.Signal(syscall.SIGTERM)
	var err error
	select {
	case <-v.exited:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("the Vault server was still there %v after SIGTERM", stopTimeout)
		_ = v.process.Kill()
		<-v.exited
	}
	v.process = nil
	for _, p := range plugins {
		for began := time.Now(); p.alive(); {
			if time.Since(began) > stopTimeout {
				err = errors.Join(err, fmt.Errorf("plugin process %d outlived Vault", p.pid))
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	return err
}

// close stops the server and removes its files.
func (v *vaultServer) close() error { return errors.Join(v.stop(), os.RemoveAll(v.home)) }

// enable installs a program as the plugin and the mount of that name, in a
// process of its own that has env.
func (v *vaultServer) enable(ctx context.Context, name, program, version string, env []string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(v.pluginDir, name), content, 0o700); err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	if err := v.api.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: name, Type: api.PluginTypeSecrets, Command: name, SHA256: hex.EncodeToString(digest[:]), Version: version, Env: env,
	}); err != nil {
		return err
	}
	return v.api.Sys().MountWithContext(ctx, name, &api.MountInput{Type: name, Config: api.MountConfigInput{PluginVersion: version}})
}

func (v *vaultServer) write(ctx context.Context, path string, data map[string]any) error {
	_, err := v.api.Logical().WriteWithContext(ctx, path, data)
	return err
}

// plugin is the process of a mount.
func (v *vaultServer) plugin(name string) (process, error) {
	for _, p := range children(v.process.Pid) {
		if filepath.Base(p.program) == name {
			return p, nil
		}
	}
	return process{}, fmt.Errorf("the plugin %s has no process", name)
}

// process is one of another program, as /proc tells of it.
type process struct {
	pid     int
	program string
}

func children(of int) []process {
	var found []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, err := status(pid, "PPid"); err != nil || parent != of {
			continue
		}
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			found = append(found, process{pid, program})
		}
	}
	return found
}

// alive is false too when another process has been given the pid.
func (p process) alive() bool {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	return err == nil && program == p.program
}

// resident is the memory of the process in megabytes of 10^6 bytes.
func (p process) resident() (float64, error) {
	kib, err := status(p.pid, "VmRSS")
	return float64(kib) * 1024 / 1e6, err
}

// status reads a number out of /proc/<pid>/status.
func status(pid int, field string) (int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	last bytes.Buffer
}

const tailLength = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last.Write(b)
	if over := t.last.Len() - tailLength; over > 0 {
		t.last.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.String()
}
