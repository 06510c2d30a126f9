package e2e

import (
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

// docsCommands says of each page how many vault commands it has at least.
var docsCommands = map[string]int{
	"README.md": 10, "docs/accounts.md": 2, "docs/agent.md": 2, "docs/leases.md": 4, "docs/monitoring.md": 7, "docs/least-policy.md": 1, "docs/migration.md": 8, "docs/release.md": 5,
	"docs/rotation.md": 5, "docs/troubleshooting.md": 8,
}

// docsElsewhere are pages whose examples other tests run, and compare the answers.
var docsElsewhere = map[string]string{"docs/api.md": "TestAPIExamples", "docs/credential-types.md": "TestAPIExamples", "docs/kubernetes.md": "TestKubernetesPage"}

var vaultCommand = regexp.MustCompile(`(^|&& )vault [a-z]`)

const needsCluster = "it asks a cluster; TestKubernetesOperators has a login by JWT in its place"

// docsNoRun says why the blocks marked "console norun" are not run here.
var docsNoRun = map[string]string{
	"vault agent -config=agent.hcl": "it stays; TestVaultAgent runs it",

	"vault auth enable kubernetes": needsCluster,
	"vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc": needsCluster,
	"vault policy write shop - <<'END'":                                                 needsCluster,
	"vault write auth/kubernetes/role/shop bound_service_account_names=shop bound_service_account_namespaces=shop audience=vault token_policies=shop token_ttl=1h": needsCluster,

	"VAULT_ADDR=https://vault.example.com:8200 vault agent -config=agent.hcl": "it stays; TestMetrics runs it",
}

// What is not of Vault: TestDemo runs make demo, TestReleaseReproducible makes a
// release, and the rest needs an account or a web server.
var docsOther = regexp.MustCompile(`^(git|make|export|python3|ALICLOUD_DEMO=\S+ make) `)

// TestDocsCommands runs the commands of the README and of the pages in docs, as
// they are written there and in their order, with the real CLI. Each page has a
// fresh server, a mount with the roles deploy and ci, and a few of its words
// replaced: docsPage.words says which.
func TestDocsCommands(t *testing.T) {
	leaveOut(t)
	t.Parallel()
	began := time.Now()
	newer, err := goBuild("..", ".", "newer", "-X github.com/alicreds/vault-plugin-secrets-alicloud/backend.version="+newerVersion)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, file := range append(pages, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(file, "../")
		if docsElsewhere[name] != "" {
			continue
		}
		for _, hidden := range regexp.MustCompile("(?m)^```(sh|bash|shell)\n(?:[^`].*\n)*?(vault .*)\n").FindAllStringSubmatch(string(text), -1) {
			t.Errorf("%s: %q is in a block of %s, not of console, and so not run", name, hidden[2], hidden[1])
		}
		blocks := docsBlocks(t, name, string(text))
		found := 0
		for _, block := range blocks {
			for _, command := range block {
				if vaultCommand.MatchString(command) {
					found++
				}
			}
		}
		switch least, known := docsCommands[name]; {
		case !known && found > 0:
			t.Errorf("%s has %d commands: say here that it has some", name, found)
		case found < least:
			t.Errorf("%s has %d commands, want %d at least", name, found, least)
		case known:
			commands += found
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				newDocsPage(t, newer).run(name, blocks)
			})
		}
	}
	t.Cleanup(func() {
		fmt.Printf("TestDocsCommands: %d pages, %d vault commands run in %v; of other tests: %v; not run: %v\n",
			len(docsCommands), commands, time.Since(began).Round(time.Second), docsElsewhere, docsNoRun)
	})
}

// docsBlocks are the commands of the console blocks of a page: a command begins
// with "$ " and goes on after a backslash; what else there is, is output.
func docsBlocks(t *testing.T, page, text string) [][]string {
	t.Helper()
	var blocks [][]string
	for _, found := range pageBlocks(text) {
		if found.language != "console" {
			continue
		}
		var commands []string
		for n, example := range strings.Split("\n"+found.text, "\n$ ") {
			if n == 0 {
				continue
			}
			lines := strings.Split(example, "\n")
			command := lines[0]
			for k := 1; strings.HasSuffix(command, `\`) && k < len(lines); k++ {
				command = strings.TrimSuffix(command, `\`) + lines[k]
			}
			commands = append(commands, command)
		}
		switch mark := found.mark; {
		case mark == "":
			blocks = append(blocks, commands)
		case mark != "norun":
			t.Errorf("%s: a console block is marked %q", page, mark)
		default:
			for _, command := range commands {
				if docsNoRun[command] == "" {
					t.Errorf("%s: nobody says why %q is not run", page, command)
				}
			}
		}
	}
	return blocks
}

// newerVersion is what an operator upgrades to.
const newerVersion = "v1.1.0-e2e"

// docsPage is where the commands of a page are run.
type docsPage struct {
	*vaultServer
	t     *testing.T
	cloud *alisim.Server
	dir   string // the reader's, with bin, dist, examples, ca.pem and secret.txt
}

func newDocsPage(t *testing.T, newer string) *docsPage {
	t.Helper()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy-app"}, alisim.User{Name: "batch"})
	seed.Accounts = append(seed.Accounts, alisim.Account{ID: "2000000000000001", Roles: []alisim.Role{ // a spoke of docs/accounts.md
		{Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"}},
	}})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	p := &docsPage{vaultServer: startVault(t), t: t, cloud: cloud, dir: t.TempDir()}
	plugin := need(t, programs.plugin)
	p.register(t, mount, plugin, pluginVersion)
	// The built-in engine is not in every Vault binary.
	p.registerFile(t, mount, "peer", need(t, programs.peer), peerVersion)
	p.enable(t, mount, cloud)
	for name, program := range map[string]string{pluginVersion: plugin, newerVersion: newer} {
		file := pluginName + "_" + name + "_linux_amd64"
		p.file("dist/"+file, program)
		copyProgram(t, program, filepath.Join(p.pluginDir, file))
	}
	p.file("bin/"+pluginName, plugin)
	copyProgram(t, plugin, filepath.Join(p.pluginDir, pluginName))
	released := pluginName + "_" + pluginVersion + "_linux_amd64"
	for name, content := range map[string]string{
		"ca.pem": string(cloud.CACertPEM()), "secret.txt": alisim.DefaultAccessKeySecret,
		"dist/SHA256SUMS": sha256Of(t, plugin) + "  " + released + "\n",
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(p.dir, "examples"), os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *docsPage) file(name, program string) {
	p.t.Helper()
	to := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		p.t.Fatal(err)
	}
	copyProgram(p.t, program, to)
}

// words are what stands on the pages, and what stands for it here.
func (p *docsPage) words(command string) string {
	lease := ""
	if strings.Contains(command, "<lease id>") {
		lease = p.read(p.t, mount+"/creds/ci").LeaseID
	}
	command = strings.NewReplacer(
		"/etc/vault/plugins", p.pluginDir,
		"-version=v0.1.0", "-version="+pluginVersion, "v1.2.3", pluginVersion, "v1.3.0", newerVersion,
		"v0.21.0+builtin", peerVersion,
		"LTAI...", alisim.DefaultAccessKeyID, "secret_key=...", "secret_key="+alisim.DefaultAccessKeySecret,
		"<name>", "deploy", "<role>", "ci", "<lease id>", lease,
	).Replace(command)
	if strings.Contains(command, "-sha256=...") {
		file := regexp.MustCompile(`-command=(\S+)`).FindStringSubmatch(command)
		command = strings.Replace(command, "...", sha256Of(p.t, filepath.Join(p.pluginDir, file[1])), 1)
	}
	// The cloud is simulated.
	if strings.HasPrefix(command, "vault write alicloud/config ") {
		comment := strings.Index(command+" #", " #")
		command = command[:comment] + fmt.Sprintf(" sts_endpoint=%s ram_endpoint=%s ca_certificate=@%s/ca.pem", p.cloud.URL, p.cloud.URL, p.dir)
	}
	return command
}

// run runs each block as one shell.
func (p *docsPage) run(page string, blocks [][]string) {
	for _, block := range blocks {
		var script []string
		enables := false
		for _, command := range block {
			if docsOther.MatchString(command + " ") {
				continue
			}
			script = append(script, p.words(command))
			if strings.HasPrefix(command, "vault secrets enable") {
				enables = true
				p.vaultServer.run(p.t, "secrets", "disable", mount)
			}
		}
		if len(script) == 0 {
			continue
		}
		cmd := exec.CommandContext(p.t.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(script, "\n"))
		cmd.Dir = p.dir
		cmd.Env = append(slices.DeleteFunc(p.environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") }),
			"PATH="+filepath.Dir(p.binary)+":"+os.Getenv("PATH"))
		cmd.WaitDelay = time.Second
		if said, err := cmd.CombinedOutput(); err != nil {
			p.t.Errorf("%s: %v\n%s\n%s", page, err, strings.Join(script, "\n"), said)
			return
		}
		if enables { // a page that enables the engine configures it later, or not at all
			p.write(p.t, mount+"/config", engineConfig(p.cloud))
			p.write(p.t, mount+"/role/deploy", map[string]any{"role_arn": roleARN})
			p.write(p.t, mount+"/role/ci", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}})
		}
	}
}
