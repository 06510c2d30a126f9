package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	agentLease   = time.Minute     // of keys that the agent is to replace
	agentTimeout = 3 * time.Minute // for what takes less than a lease
)

// TestVaultAgent runs examples/agent as it is, in the real agent: files and the
// environment of a process that are renewed before the lease ends, and tools
// that find their keys there.
func TestVaultAgent(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	nextLease := func(role string, ttl time.Duration) {
		t.Helper()
		v.write(t, mount+"/role/"+role, map[string]any{"ttl": ttl.String()})
	}
	tools := agentTools(t, cloud)
	const session = "acs:ram::1234567890123456:assumed-role/deploy/"

	t.Run("files", func(t *testing.T) {
		nextLease("deploy", time.Hour) // each tool takes its time to start
		dir := agentDir(t, v)
		stop := runAgent(t, v, dir, "agent.hcl")
		first := waitForKeys(t, dir, "")
		for _, name := range agentFiles {
			info, err := os.Stat(filepath.Join(dir, "rendered", name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
			}
		}
		tools.try(t, dir, first, session)
		staying := cachesOf(t, dir)
		staying.have(t, first)
		stop()

		nextLease("deploy", agentLease)
		cloud.ClearJournal()
		runAgent(t, v, dir, "agent.hcl")
		second := waitForKeys(t, dir, first)
		nextLease("deploy", time.Hour) // so that the third are the last
		third := waitForKeys(t, dir, second)
		time.Sleep(1100 * time.Millisecond) // a Cache looks at its file once a second
		staying.have(t, third)
		calls := journal(cloud, "AssumeRole")
		if len(calls) != 2 {
			t.Errorf("%d sessions for two renderings of four files, want one for each", len(calls))
		}
		after := calls[1].Time.Sub(calls[0].Time)
		if after >= agentLease {
			t.Errorf("new keys after %v, and a lease lasts %v", after, agentLease)
		}
		t.Logf("new keys after %.1f s of a lease of %v", after.Seconds(), agentLease)
		tools.try(t, dir, third, session)
	})

	t.Run("process", func(t *testing.T) {
		nextLease("deploy", 10*time.Second)
		dir := agentDir(t, v)
		// Writes its keys on a line, and stays until the agent wants it to go.
		app := "#!/bin/sh\n" +
			`echo "$ALIBABA_CLOUD_ACCESS_KEY_ID $ALIBABA_CLOUD_ACCESS_KEY_SECRET $ALIBABA_CLOUD_SECURITY_TOKEN" >>seen` + "\n" +
			"exec sleep 600\n"
		writeProgram(t, filepath.Join(dir, "app"), []byte(app))
		runAgent(t, v, dir, "exec.hcl")
		var seen []string
		eventually(t, agentTimeout, "the process has been started twice", func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, "seen"))
			seen = strings.Split(strings.TrimSpace(string(text)), "\n")
			return len(seen) >= 2
		})
		if seen[0] == seen[1] {
			t.Error("the process was started again with the same keys")
		}
		for _, line := range seen[:2] {
			words := strings.Fields(line)
			if len(words) != 3 {
				t.Fatalf("the process has %d of 3 variables", len(words))
			}
			tools.accepted(t, "process", openapi.Keys{AccessKeyID: words[0], AccessKeySecret: words[1], SecurityToken: words[2]}, session)
		}
	})
}

// TestVaultAgentRAMUser runs the same templates for keys without a token, which the INI files of all tools know. The
// agent renews their lease until it cannot be, and then another user follows, before the one before is deleted.
func TestVaultAgentRAMUser(t *testing.T) {
	t.Parallel()
	v, cloud := startEngine(t)
	tools := agentTools(t, cloud)
	v.write(t, mount+"/role/ci", map[string]any{"ttl": "1h", "max_ttl": "2h"}) // each tool takes its time to start
	seed := cloud.Inventory()
	dir := agentDir(t, v)
	for _, name := range []string{"env.ctmpl", "config.json.ctmpl", "credentials.ini.ctmpl", "external.json.ctmpl", "uri.json.ctmpl", "policy.hcl"} {
		rewrite(t, filepath.Join(dir, name), mount+"/creds/deploy", mount+"/creds/ci")
	}
	v.run(t, "policy", "write", "agent", filepath.Join(dir, "policy.hcl"))
	stop := runAgent(t, v, dir, "agent.hcl")
	first := waitForKeys(t, dir, "")
	tools.try(t, dir, first, "acs:ram::1234567890123456:user/")
	stop()

	const ttl, longest = 80 * time.Second, 2 * time.Minute
	v.write(t, mount+"/role/ci", map[string]any{"ttl": ttl.String(), "max_ttl": longest.String()})
	cloud.ClearJournal()
	runAgent(t, v, dir, "agent.hcl")
	second := waitForKeys(t, dir, first)
	waitForKeys(t, dir, second)
	v.write(t, mount+"/role/ci", map[string]any{"ttl": "1h", "max_ttl": "2h"}) // so that the third is the last
	eventually(t, 5*time.Minute, "the second user is deleted", func() bool { return len(leftovers(seed, cloud.Inventory()).Users) == 2 })
	made, deleted := journal(cloud, "CreateAccessKey"), journal(cloud, "DeleteUser")
	if len(made) != 2 || len(deleted) != 1 || made[1].Seq > deleted[0].Seq {
		t.Fatalf("the keys %v were made, and the users %v deleted, want one before whose end another key was made", made, deleted)
	}
	if after := made[1].Time.Sub(made[0].Time); after < ttl {
		t.Errorf("the next user after %v: nobody has renewed the lease of %v", after, ttl)
	}
	t.Logf("the next user after %.1f s of %v", made[1].Time.Sub(made[0].Time).Seconds(), longest)
}

// TestVaultAgentStaticRole: the real agent reads a static role's key again when it
// was rotated by schedule, while the old one still works. The key has no lease.
func TestVaultAgentStaticRole(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy"})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)

	const grace = 50 * time.Second
	v.write(t, mount+"/static-role/legacy", map[string]any{"username": "legacy", "rotation_schedule": "* * * * *", "grace_period": grace.String()})
	dir := agentDir(t, v)
	for name, text := range map[string]string{
		"static.ctmpl": `{{ with secret "` + mount + `/static-cred/legacy" }}{{ .Data.access_key }}{{ end }}`,
		"static.hcl": `auto_auth {
  method "token_file" { config = { token_file_path = "token" } }
}
template {
  source      = "static.ctmpl"
  destination = "rendered/static"
}
`,
		"policy.hcl": `path "` + mount + `/static-cred/legacy" { capabilities = ["read"] }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.run(t, "policy", "write", "agent", filepath.Join(dir, "policy.hcl"))
	runAgent(t, v, dir, "static.hcl")
	rendered := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "rendered", "static"))
		return string(text)
	}
	eventually(t, agentTimeout, "the key is rendered", func() bool { return rendered() != "" })
	first := rendered()
	var rotated time.Time
	eventually(t, 6*time.Minute, "Vault rotates the key", func() bool {
		rotated = time.Now()
		return v.read(t, mount+"/static-cred/legacy").Data["access_key"] != first
	})
	eventually(t, grace, "the agent renders the new key before the old one ends", func() bool { return rendered() != first })
	t.Logf("rendered %.1f s after the rotation, of a grace period of %v", time.Since(rotated).Seconds(), grace)
	v.run(t, "delete", mount+"/static-role/legacy", "remove_key=true")
}

// caches are programs that stay, and keep what alicreds reads of the files.
type caches map[string]*alicreds.Cache

func cachesOf(t *testing.T, dir string) caches {
	t.Helper()
	none := func(string) string { return "" }
	cli, err := alicreds.NewCLIProfile(alicreds.CLIProfileOptions{Path: filepath.Join(dir, "rendered", ".aliyun", "config.json"), Getenv: none})
	if err != nil {
		t.Fatal(err)
	}
	ini, err := alicreds.NewProfile(alicreds.ProfileOptions{Path: filepath.Join(dir, "rendered", ".alibabacloud", "credentials.ini"), Getenv: none})
	if err != nil {
		t.Fatal(err)
	}
	all := caches{"config.json": alicreds.NewCache(cli, alicreds.CacheOptions{}), "credentials.ini": alicreds.NewCache(ini, alicreds.CacheOptions{})}
	for _, cache := range all {
		t.Cleanup(cache.Close)
	}
	return all
}

func (c caches) have(t *testing.T, id string) {
	t.Helper()
	for name, cache := range c {
		if got, err := cache.Retrieve(t.Context()); err != nil || got.AccessKeyID != id {
			t.Errorf("%s: a program that stays has %s, %v; want %s", name, got.AccessKeyID, err, id)
		}
	}
}

// agentFiles are what agent.hcl renders.
var agentFiles = []string{"env", ".aliyun/config.json", ".aliyun/vault.json", ".alibabacloud/credentials.ini", "uri/credentials"}

// agentDir is a copy of examples/agent, with a token that may only read keys.
func agentDir(t *testing.T, v *vaultServer) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples", "agent"))); err != nil {
		t.Fatal(err)
	}
	v.run(t, "policy", "write", "agent", filepath.Join(dir, "policy.hcl"))
	token := v.run(t, "token", "create", "-policy=agent", "-period=24h", "-field=token")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runAgent runs vault agent in a directory, until it is stopped or the test ends.
func runAgent(t *testing.T, v *vaultServer, dir, config string) (stop func()) {
	t.Helper()
	var said output
	cmd := exec.Command(v.binary, "agent", "-config="+config)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(v.environ(), func(variable string) bool { return strings.HasPrefix(variable, "VAULT_TOKEN=") })
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			t.Errorf("vault agent still there %v after SIGTERM", stopTimeout)
			_ = cmd.Process.Kill()
			<-exited
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("vault agent printed:\n%s", tail(said.String(), 8<<10))
		}
	})
	return stop
}

// waitForKeys waits until all files hold the same keys, and others than
// before, and returns the id of the new AccessKey.
func waitForKeys(t *testing.T, dir, before string) string {
	t.Helper()
	var id string
	eventually(t, agentTimeout, "all files hold new keys", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "rendered", ".aliyun", "vault.json"))
		var external struct {
			ID string `json:"access_key_id"`
		}
		if err != nil || json.Unmarshal(text, &external) != nil || external.ID == before {
			return false
		}
		id = external.ID
		return !slices.ContainsFunc(agentFiles, func(name string) bool {
			text, err := os.ReadFile(filepath.Join(dir, "rendered", name))
			return err != nil || !bytes.Contains(text, []byte(id))
		})
	})
	return id
}

// journal are the calls of one action.
func journal(cloud *alisim.Server, action string) []alisim.Call {
	return slices.DeleteFunc(cloud.Journal(), func(c alisim.Call) bool { return c.Action != action })
}

// ask runs a program of ../differential that looks for keys along the default
// chain of a library.
func ask(t *testing.T, command []string, env map[string]string) (openapi.Keys, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), agentTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(`{"config": {"type": "default"}, "asks": 1}`)
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return openapi.Keys{}, fmt.Errorf("%w: %s", err, said.String())
	}
	var a struct {
		Error           bool
		AccessKeyID     string `json:"access_key_id"`
		AccessKeySecret string `json:"access_key_secret"`
		SecurityToken   string `json:"security_token"`
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return openapi.Keys{}, err
	}
	if a.Error {
		return openapi.Keys{}, errors.New(said.String())
	}
	return openapi.Keys{AccessKeyID: a.AccessKeyID, AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken}, nil
}

// accepted asks the cloud whose keys these are.
func (a tools) accepted(t *testing.T, found string, keys openapi.Keys, who string) {
	t.Helper()
	id, err := alicreds.CallerIdentity(t.Context(), keys, alicreds.STSOptions{Client: a.client})
	if err != nil || !strings.HasPrefix(id.ARN, who) {
		t.Errorf("%s: the cloud says %q, %v; want %s...", found, id.ARN, err, who)
	}
}

func cliProfile(getenv func(string) string) (alicreds.Provider, error) {
	return alicreds.NewCLIProfile(alicreds.CLIProfileOptions{Getenv: getenv})
}

// readEnv reads an environment file as systemd and docker do.
func readEnv(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || value == "" {
			t.Fatalf("%s has a line that is not NAME=value", file)
		}
		env[name] = value
	}
	return env
}

func rewrite(t *testing.T, file, old, with string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s does not mention %s", file, old)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(old), []byte(with)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tools are the programs that look for keys: alicreds in this process, and
// the libraries of Alibaba's own in theirs.
type tools struct {
	client *openapi.Client
	others map[string][]string
}

func agentTools(t *testing.T, cloud *alisim.Server) tools {
	t.Helper()
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	all := tools{client, map[string][]string{"credentials-go": {need(t, programs.outcome), "credentials-go"}}}
	if dir, ok := nodeSDK(t); ok {
		all.others["@alicloud/credentials"] = []string{"node", filepath.Join(dir, "outcome.cjs")}
	}
	return all
}

// nodeSDK returns the directory of @alicloud/credentials. CI must have it.
func nodeSDK(t *testing.T) (dir string, ok bool) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not there, and CI tries all libraries: install Node.js 18 or later with npm", program)
			}
			t.Logf("%s is not there: @alicloud/credentials is NOT tried; install Node.js 18 or later with npm", program)
			return "", false
		}
	}
	return need(t, programs.nodeSDK), true
}

// try lets every tool find its keys in what was rendered, in every way that it knows.
func (a tools) try(t *testing.T, dir, id, who string) {
	t.Helper()
	empty, home := t.TempDir(), t.TempDir()
	rendered := func(name string) string { return filepath.Join(dir, "rendered", name) }
	variables := readEnv(t, rendered("env"))
	variables["HOME"] = empty
	profile := filepath.Join(home, ".aliyun", "config.json")
	if err := os.Mkdir(filepath.Dir(profile), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "examples", "aliyun", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(profile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, profile, "/home/app/.aliyun/vault.json", rendered(".aliyun/vault.json"))

	type way struct {
		name string
		env  map[string]string
		ours func(getenv func(string) string) (alicreds.Provider, error)
		mine bool // of alicreds alone
	}
	token, session := variables["ALIBABA_CLOUD_SECURITY_TOKEN"]
	if ini, err := os.ReadFile(rendered(".alibabacloud/credentials.ini")); err != nil || session != strings.Contains(string(ini), "\nsts_token = "+token+"\n") {
		t.Errorf("credentials.ini, which ack-ram-tool reads with sts_token (F2.13): %v, %q", err, ini)
	}
	ways := []way{
		{name: "environment file", env: variables, ours: func(getenv func(string) string) (alicreds.Provider, error) {
			return alicreds.NewEnvironment(getenv), nil
		}},
		{name: "config.json", env: map[string]string{"HOME": rendered("")}, ours: cliProfile},
		{name: "External profile", env: map[string]string{"HOME": home}, ours: cliProfile},
		{
			name: "credentials.ini",
			env:  map[string]string{"HOME": empty, "ALIBABA_CLOUD_CREDENTIALS_FILE": rendered(".alibabacloud/credentials.ini")},
			ours: func(getenv func(string) string) (alicreds.Provider, error) {
				return alicreds.NewProfile(alicreds.ProfileOptions{Getenv: getenv})
			},
			mine: session, // no other library reads one from an INI file
		},
	}
	if session {
		server := httptest.NewServer(http.FileServer(http.Dir(rendered("uri"))))
		defer server.Close()
		ways = append(ways, way{
			name: "credentials URI",
			env:  map[string]string{"HOME": empty, "ALIBABA_CLOUD_CREDENTIALS_URI": server.URL + "/credentials"},
			ours: func(func(string) string) (alicreds.Provider, error) {
				return alicreds.NewCredentialsURI(server.URL+"/credentials", alicreds.CredentialsURIOptions{})
			},
		})
	}
	for _, way := range ways {
		provider, err := way.ours(func(name string) string { return way.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		credentials, err := provider.Retrieve(t.Context())
		if err != nil {
			t.Errorf("alicreds, %s: %v", way.name, err)
			continue
		}
		if credentials.AccessKeyID != id {
			t.Errorf("alicreds, %s: it found other keys", way.name)
		}
		a.accepted(t, "alicreds, "+way.name, credentials.Keys(), who)
		if way.mine {
			continue
		}
		for library, command := range a.others {
			keys, err := ask(t, command, way.env)
			if err != nil {
				t.Errorf("%s, %s: %v", library, way.name, err)
				continue
			}
			if keys.AccessKeyID != id {
				t.Errorf("%s, %s: it found other keys", library, way.name)
			}
			a.accepted(t, library+", "+way.name, keys, who)
		}
	}
}
