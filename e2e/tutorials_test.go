package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// Who the reader of a tutorial is: an administrator of the account of Vault, and
// one of another account.
const (
	adminKeyID  = "LTAI5tTUTORIALADMIN00000"
	otherKeyID  = "LTAI5tTUTORIALADMIN00001"
	adminSecret = "tutorial-is-not-a-real-secret"

	otherAccountID = "2222222222222222"
)

// tutorials are the pages of docs/tutorials: what a reader has before the first
// command, and what must be true after the last.
var tutorials = map[string]struct {
	before, after func(*testing.T, *tutorial)
	undone        func(*testing.T, *tutorial) // what must be true after the blocks that undo the page
}{
	"account":           {before: withItsPolicy, after: sameWithTerraform, undone: onlyTheAdmin},
	"ci":                {before: workingMount, after: pipelines},
	"cross-account":     {before: workingMount},
	"leaving":           {before: someRoles, after: onlyTheAdminAndTheRole},
	"many-accounts":     {before: workingMount},
	"shell":             {before: workingMount},
	"who-used-this-key": {before: workingMount},
}

// TestTutorials runs each page of docs/tutorials as a reader does who pastes
// every block of sh into one shell, and holds what that prints to the block of
// text behind it. Nothing of a page is replaced, but for the version of the
// built-in engine: the account is the simulator's.
func TestTutorials(t *testing.T) {
	leaveOut(t)
	t.Parallel()
	pages, err := filepath.Glob("../docs/tutorials/*.md")
	if err != nil {
		t.Fatal(err)
	}
	cli := aliyunCLI(t)
	known := 0
	for _, file := range pages {
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		page, has := tutorials[name]
		if !has {
			t.Errorf("%s: nobody says here what a reader has before it, and after it", file)
			continue
		}
		known++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			tt := newTutorial(t, file, cli)
			if page.before != nil {
				page.before(t, tt)
			}
			commands := tt.paste(t, "")
			if page.after != nil && !t.Failed() {
				page.after(t, tt)
			}
			if page.undone != nil && !t.Failed() {
				commands += tt.paste(t, "undo")
				page.undone(t, tt)
			}
			fmt.Printf("TestTutorials/%s: %d blocks pasted in %v, with %s\n", name, commands, time.Since(began).Round(time.Second), cmp.Or(os.Getenv("ALIYUN_BIN"), "the stand-in for the aliyun CLI"))
		})
	}
	if known != len(tutorials) {
		t.Errorf("%d pages, and %d are known here", known, len(tutorials))
	}
}

// aliyunCLI is the path of the aliyun CLI: ALIYUN_BIN, else what stands in for it.
func aliyunCLI(t *testing.T) string {
	t.Helper()
	if real := os.Getenv("ALIYUN_BIN"); real != "" {
		return real
	}
	return need(t, programs.aliyun)
}

// A tutorial is a page, and the reader's machine.
type tutorial struct {
	*vaultServer
	cloud  *alisim.Server
	issuer *ciIssuer
	blocks []pageBlock
	dir    string   // the reader's, and HOME
	env    []string // of the shell
	said   string   // all that the shell printed

	pluginFlags []string // of a registration: they lead a plugin to the cloud
}

func newTutorial(t *testing.T, file, cli string) *tutorial {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	admin := func(account, key string) alisim.Account {
		return alisim.Account{ID: account, Users: []alisim.User{{
			Name: "admin", Policies: []string{"AdministratorAccess"}, AccessKeys: []alisim.AccessKey{{ID: key, Secret: adminSecret}},
		}}}
	}
	cloud, err := alisim.Start(alisim.Options{Seed: alisim.Seed{Accounts: []alisim.Account{
		admin(alisim.DefaultAccountID, adminKeyID), admin(otherAccountID, otherKeyID),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	ca := writeCA(t, cloud)
	issuer := startCIIssuer(t)
	v := startVaultWith(t, []string{"HTTPS_PROXY=" + issuer.proxyURL, "SSL_CERT_FILE=" + issuer.caFile})
	tt := &tutorial{vaultServer: v, cloud: cloud, issuer: issuer, blocks: pageBlocks(string(page)), dir: t.TempDir()}
	for _, variable := range foreignEnviron(cloud, ca) {
		tt.pluginFlags = append(tt.pluginFlags, "-env="+variable)
	}
	tt.register(t, mount, need(t, programs.plugin), pluginVersion, tt.pluginFlags...)
	tt.vaultServer.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+pluginVersion, mount)

	bin := t.TempDir()
	for name, program := range map[string]string{"vault": tt.binary, "aliyun": cli} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	tt.home = tt.dir
	tt.env = append(slices.DeleteFunc(tt.environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") }),
		"PATH="+bin+":"+os.Getenv("PATH"), "HTTPS_PROXY="+cloud.ProxyURL, "SSL_CERT_FILE="+ca)
	profile := func(name, key string) string {
		return fmt.Sprintf(`{"name": %q, "mode": "AK", "access_key_id": %q, "access_key_secret": %q, "region_id": "cn-hangzhou", "output_format": "json", "language": "en"}`,
			name, key, adminSecret)
	}
	tt.file(t, ".aliyun/config.json", `{"current": "default", "profiles": [`+profile("default", adminKeyID)+", "+profile("other", otherKeyID)+"]}")
	return tt
}

// workingMount is what a reader has who comes from the tutorial "account".
func workingMount(t *testing.T, tt *tutorial) {
	t.Helper()
	tt.mountFor(t, `"Action":"sts:AssumeRole","Resource":"acs:ram:*:*:role/deploy"`)
}

// mountFor makes a user vault, whose key the mount has and who may do something,
// and the role deploy.
func (tt *tutorial) mountFor(t *testing.T, allowed string) {
	t.Helper()
	const key, secret = "LTAI5tTUTORIALVAULT00000", "the-mount-has-this-secret"
	if err := tt.cloud.Seed(alisim.Seed{Accounts: []alisim.Account{{
		ID:       alisim.DefaultAccountID,
		Policies: []alisim.Policy{{Name: "engine", Document: alisim.Document(`{"Version":"1","Statement":[{"Effect":"Allow",` + allowed + `}]}`)}},
		Users:    []alisim.User{{Name: "vault", Policies: []string{"engine"}, AccessKeys: []alisim.AccessKey{{ID: key, Secret: secret}}}},
		Roles:    []alisim.Role{{Name: "deploy", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AliyunOSSReadOnlyAccess"}}},
	}}}); err != nil {
		t.Fatal(err)
	}
	tt.write(t, mount+"/config", map[string]any{"access_key": key, "secret_key": secret})
	tt.write(t, mount+"/role/deploy", map[string]any{"role_arn": roleARN, "ttl": "30m"})
}

// file writes a file of the reader's.
func (tt *tutorial) file(t *testing.T, name, content string) {
	t.Helper()
	to := filepath.Join(tt.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// paste runs the blocks of sh that have the mark in one shell, in their order, and returns how many there were.
// What a block of text says must be in what the block before it printed.
func (tt *tutorial) paste(t *testing.T, mark string) int {
	t.Helper()
	const separator = "\x1e"
	script := []string{"set -euo pipefail"}
	type expectation struct {
		block int
		text  string
	}
	var expected []expectation
	blocks := 0
	for _, block := range tt.blocks {
		block.text = strings.ReplaceAll(block.text, "v0.21.0+builtin", peerVersion)
		switch block.language {
		case "sh":
			if block.mark != mark {
				continue
			}
			blocks++
			script = append(script, "printf '"+separator+"'", block.text)
		case "text":
			if block.mark != "" || mark != "" {
				continue // what a job prints, and what was looked at before
			}
			expected = append(expected, expectation{blocks, block.text})
		default:
			if name, isFile := strings.CutPrefix(block.mark, "file="); isFile {
				tt.file(t, name, block.text)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.Join(script, "\n"))
	cmd.Dir, cmd.Env = tt.dir, tt.env
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	tt.said = string(said)
	if err != nil {
		t.Fatalf("%v, after\n%s", err, strings.ReplaceAll(tt.said, separator, "----\n"))
	}
	printed := strings.Split(tt.said, separator)
	for _, want := range expected {
		if missing := missingLine(want.text, printed[want.block]); missing != "" {
			t.Errorf("no line %q, where it belongs, in\n%s", missing, printed[want.block])
		}
	}
	return blocks
}

var blanks = regexp.MustCompile(`[ \t]+`)

// missingLine is the first line of what a page shows that was not printed behind
// the ones before it. An ellipsis stands for anything, blanks for blanks.
func missingLine(shown, printed string) string {
	lines := strings.Split(printed, "\n")
	for line := range strings.Lines(shown) {
		line = strings.TrimSpace(line)
		pattern := blanks.ReplaceAllString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"), `\s+`)
		at := slices.IndexFunc(lines, func(l string) bool {
			found, err := regexp.MatchString(`^\s*`+pattern+`,?\s*$`, l)
			return err == nil && found
		})
		if at < 0 {
			return line
		}
		lines = lines[at+1:]
	}
	return ""
}

// sameWithTerraform holds what Terraform's file would make to what the commands
// of the page made.
func sameWithTerraform(t *testing.T, tt *tutorial) {
	want := newRAMState()
	inventory := tt.cloud.Inventory()
	for _, user := range inventory.Users {
		if user.Name == "admin" {
			continue
		}
		want.users[user.Name] = user.Comments
		for _, policy := range user.Policies {
			want.attached = append(want.attached, "user "+user.Name+" "+policy.Type+" "+policy.Name)
		}
	}
	for _, role := range inventory.Roles {
		want.roles[role.Name] = fmt.Sprintf("%d %s", role.MaxSessionDuration, canonicalJSON(t, role.TrustPolicy))
		for _, policy := range role.Policies {
			want.attached = append(want.attached, "role "+role.Name+" "+policy.Type+" "+policy.Name)
		}
	}
	for _, policy := range inventory.Policies {
		want.policies[policy.Name] = canonicalJSON(t, policy.Document)
	}
	got := terraformRAM(t, filepath.Join(tt.dir, "main.tf"))
	if got, want := got.String(), want.String(); got != want {
		t.Errorf("Terraform would make\n%s\nand the commands made\n%s", got, want)
	}
}

// someRoles is a mount with a role of each kind that creates something, whose
// user may do all that they need, and the built-in engine beside it.
func someRoles(t *testing.T, tt *tutorial) {
	t.Helper()
	tt.mountFor(t, `"Action":["ram:*","sts:AssumeRole"],"Resource":"*"`)
	// The built-in engine is not in every Vault binary.
	tt.registerFile(t, mount, "peer", need(t, programs.peer), peerVersion, tt.pluginFlags...)
	tt.write(t, mount+"/role/ci", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "1h"})
	tt.write(t, mount+"/role/job", map[string]any{"credential_type": "ram_role", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "1h"})
	tt.read(t, mount+"/creds/job")
}

// withItsPolicy is a reader whose token has the Vault policy that the page asks for, and no other.
func withItsPolicy(t *testing.T, tt *tutorial) {
	t.Helper()
	at := slices.IndexFunc(tt.blocks, func(b pageBlock) bool { return b.language == "hcl" && strings.HasPrefix(b.text, "path ") })
	if at < 0 {
		t.Fatal("the page has no Vault policy")
	}
	tt.write(t, "sys/policies/acl/tutorial", map[string]any{"policy": tt.blocks[at].text})
	token := strings.TrimSpace(tt.vaultServer.run(t, "token", "create", "-policy=tutorial", "-field=token"))
	tt.env = append(slices.DeleteFunc(tt.env, func(v string) bool { return strings.HasPrefix(v, "VAULT_TOKEN=") }), "VAULT_TOKEN="+token)
}

// onlyTheAdmin is RAM as it was before the page: both accounts have their administrator.
func onlyTheAdmin(t *testing.T, tt *tutorial) {
	onlyTheAdminAnd(t, tt, 0)
}

func onlyTheAdminAndTheRole(t *testing.T, tt *tutorial) {
	onlyTheAdminAnd(t, tt, 1)
}

func onlyTheAdminAnd(t *testing.T, tt *tutorial, roles int) {
	t.Helper()
	inventory := tt.cloud.Inventory()
	if len(inventory.Users) != 2 || len(inventory.Policies) > 0 || len(inventory.Roles) != roles {
		t.Errorf("RAM holds the users %v, the roles %v and the policies %v", inventory.Users, inventory.Roles, inventory.Policies)
	}
}

func canonicalJSON(t *testing.T, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	canonical, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(canonical)
}
