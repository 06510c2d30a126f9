package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The command is tested as a process: the test binary runs main when this variable is set.
func TestMain(m *testing.M) {
	if os.Getenv("ALISIM_RUN_MAIN") == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), "ALISIM_RUN_MAIN=1")
	return cmd
}

func TestServesAndStopsOnSignal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	seed := filepath.Join(dir, "seed.json")
	if err := os.WriteFile(seed, []byte(`{"accounts":[{"id":"1","users":[{"name":"seeded"}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-ca-file", caFile, "-seed", seed, "-relay-rtt", "2ms")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	env := readEnvironment(t, out)
	if _, there := env["ALIBABA_CLOUD_ACCESS_KEY_ID"]; there {
		t.Error("prints a key that the seed does not have")
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the CA file")
	}
	proxy, err := url.Parse(env["HTTPS_PROXY"])
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true,
	}}
	if body := get(t, client, "https://sts.aliyuncs.com/?Action=GetCallerIdentity&Version=2015-04-01&Format=JSON"); !strings.Contains(body, "MissingAccessKeyId") {
		t.Errorf("through the proxy: %s", body)
	}
	body := get(t, http.DefaultClient, env["ALISIM_CONTROL_URL"]+"/inventory")
	var inventory struct{ Users []struct{ Name string } }
	if err := json.Unmarshal([]byte(body), &inventory); err != nil || len(inventory.Users) != 1 || inventory.Users[0].Name != "seeded" {
		t.Errorf("inventory: %s", body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func get(t *testing.T, client *http.Client, target string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// readEnvironment reads the lines up to the last one that is always printed.
func readEnvironment(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	env := map[string]string{}
	var text []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(text, []byte("REQUESTS_CA_BUNDLE")) {
		n, err := r.Read(buf)
		text = append(text, buf[:n]...)
		if err != nil {
			t.Fatalf("%v after %s", err, text)
		}
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		env[name] = strings.Trim(value, "'")
	}
	return env
}

func TestEnvironmentFile(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"default seed":                     nil,
		"a seed with the key of that seed": {"-seed", filepath.Join("..", "..", "scripts", "demo.json")},
	} {
		t.Run(name, func(t *testing.T) { testEnvironmentFile(t, args) })
	}
}

func testEnvironmentFile(t *testing.T, args []string) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	envFile := filepath.Join(dir, "env")
	stopped := make(chan error, 1)
	stop, cancelRun := context.WithCancel(ctx)
	go func() { stopped <- run(stop, append(args, "-env-file", envFile), io.Discard, io.Discard) }()
	for {
		text, err := os.ReadFile(envFile)
		if err == nil && strings.Contains(string(text), "ALIBABA_CLOUD_ACCESS_KEY_SECRET") {
			break
		}
		select {
		case err := <-stopped:
			t.Fatalf("ended early: %v", err)
		case <-ctx.Done():
			t.Fatal("no environment file")
		case <-time.After(5 * time.Millisecond):
		}
	}
	info, err := os.Stat(envFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	cancelRun()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokenFile := filepath.Join(dir, "token")
	cmd := command(t, "-ca-file", "ca.pem", "-sources", "-oidc-token-file", "token")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	env := readEnvironment(t, out)
	if body := get(t, http.DefaultClient, env["ALIBABA_CLOUD_CREDENTIALS_URI"]); !strings.Contains(body, `"Code":"Success"`) {
		t.Error("the credentials URI gives no keys")
	}
	if body := get(t, http.DefaultClient, env["ALISIM_IMDS_URL"]+"/latest/meta-data/ram/security-credentials/"); body != "node" {
		t.Errorf("role of the instance: %s", body)
	}
	info, err := os.Stat(tokenFile)
	if err != nil || info.Mode().Perm() != 0o600 || env["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] != tokenFile {
		t.Errorf("token file %v, %v", info, err)
	}
	if ca := env["SSL_CERT_FILE"]; ca != filepath.Join(dir, "ca.pem") {
		t.Errorf("the certificate is at %s for programs that run elsewhere", ca)
	}
	if env["ALIBABA_CLOUD_ROLE_ARN"] == "" || env["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] == "" {
		t.Errorf("environment %v", env)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"acounts":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, message string
		args          []string
	}{
		{"a public address", "not a loopback address", []string{"-addr", "0.0.0.0:0"}},
		{"a public control address", "not a loopback address", []string{"-control-addr", ":0"}},
		{"a public proxy address", "not a loopback address", []string{"-proxy-addr", "192.0.2.1:0"}},
		{"a public metadata address", "not a loopback address", []string{"-imds-addr", "100.100.100.200:80"}},
		{"a public address of the credentials URI", "not a loopback address", []string{"-uri-addr", ":0"}},
		{"sources beside a seed", "exclude each other", []string{"-sources", "-seed", bad}},
		{"a token without sources", "needs -sources", []string{"-oidc-token-file", filepath.Join(dir, "token")}},
		{"a misspelt seed", "acounts", []string{"-seed", bad}},
		{"misspelt settings", "acounts", []string{"-settings", bad}},
		{"a file that is not there", "no such file", []string{"-seed", filepath.Join(dir, "none")}},
		{"arguments", "unexpected argument", []string{"serve"}},
		{"unknown flags", "not defined", []string{"-nope"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), tc.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("got %v, want an error with %q", err, tc.message)
			}
		})
	}
}
