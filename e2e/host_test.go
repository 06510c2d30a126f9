package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A host is a server that the tests run on: the pinned Vault, or what VAULT_BIN names.
type host struct{ name, version string }

func (h host) String() string { return h.name + " " + h.version }

// leftOut are tests, or parts of one, that some hosts cannot run. docs/hosts.md has
// the same table (TestHostTable).
var leftOut = []struct {
	test string // its name, or name/part
	on   string // hosts: "OpenBao", or "all but the pinned Vault"
	why  string
}{
	{"TestMistakes", "all but the pinned Vault", "its golden file holds the words of one CLI"},
	{"TestAPIDifferential", "all but the pinned Vault", "its golden file holds the answers of one server"},
	{"TestDocsCommands", "OpenBao", "pages give commands of Vault, such as `plugin register -env`"},
	{"TestTutorials", "OpenBao", "pages give commands of Vault, such as `plugin register -env`"},
	{"TestMountLife/pinned and reloaded under load", "OpenBao", "it has no `sys/plugins/pins`"},
}

// leaveOut skips a test, or a part of one, if leftOut says that this host cannot run it.
func leaveOut(t *testing.T) {
	t.Helper()
	name := strings.ReplaceAll(t.Name(), "_", " ")
	h := theHost(t)
	for _, row := range leftOut {
		if row.test == name && runsOn(row.on, h) {
			fmt.Printf("%s: left out on %v: %s\n", row.test, h, row.why)
			t.Skip(row.why)
		}
	}
}

func runsOn(hosts string, h host) bool {
	return hosts == h.name || hosts == "all but the pinned Vault" && os.Getenv("VAULT_BIN") != ""
}

// theHost is what the server says it is: "Vault v1.21.2 (...)", "OpenBao v2.6.2, ...".
func theHost(t *testing.T) host {
	t.Helper()
	said, err := hostVersion()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`^(\w+) v(\S+?),? `).FindStringSubmatch(said + " ")
	if found == nil {
		t.Fatalf("a server of version %q", said)
	}
	return host{found[1], found[2]}
}

var hostVersion = sync.OnceValues(func() (string, error) {
	binary, err := programs.vault()
	if err != nil {
		return "", err
	}
	said, err := exec.Command(binary, "version").Output()
	return strings.TrimSpace(string(said)), err
})

// namedVault is the binary of the server under the name vault, which is what the
// commands of the tests call it.
func namedVault() (string, error) {
	binary, err := script("vault", "-pinned")
	if err != nil || filepath.Base(binary) == "vault" {
		return binary, err
	}
	named := filepath.Join(programs.dir, "vault")
	return named, os.Symlink(binary, named)
}

// auditByAPI are the arguments of a server that lets audit devices be enabled over
// the API. Vault does so anyway.
func auditByAPI(t *testing.T) []string {
	t.Helper()
	if theHost(t).name != "OpenBao" {
		return nil
	}
	config := filepath.Join(t.TempDir(), "audit.hcl")
	if err := os.WriteFile(config, []byte("unsafe_allow_api_audit_creation = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-config=" + config}
}

var tableRow = regexp.MustCompile(`(?m)^\| (.+?) \| (.+?) \| (.+?) \|$`)

// TestHostTable holds the tables of docs/hosts.md to what the tests print when they
// leave something out, and to the hosts that scripts/vault takes from PATH.
func TestHostTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/hosts.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	section := func(heading string) string {
		_, rest, found := strings.Cut(page, "\n## "+heading+"\n")
		if !found {
			t.Errorf("docs/hosts.md has no section %q", heading)
		}
		rest, _, _ = strings.Cut(rest, "\n## ")
		return rest
	}
	var want, got []string
	for _, row := range leftOut {
		test, part, isPart := strings.Cut(row.test, "/")
		test = "`" + test + "`"
		if isPart {
			test += ", " + part
		}
		want = append(want, fmt.Sprintf("| %s | %s | %s |", test, row.on, row.why))
	}
	for _, row := range tableRow.FindAllString(section("What the tests leave out"), -1) {
		if !strings.HasPrefix(row, "| test |") && !strings.HasPrefix(row, "|---") {
			got = append(got, row)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("docs/hosts.md says that the tests leave out\n%s\nand they do\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	taken, err := os.ReadFile("../scripts/vault")
	if err != nil {
		t.Fatal(err)
	}
	for _, oldest := range []struct{ variable, of string }{{"oldest_vault", "Vault"}, {"oldest_bao", "OpenBao"}} {
		version := regexp.MustCompile(`(?m)^` + oldest.variable + `=(\S+)$`).FindSubmatch(taken)
		if version == nil || !strings.Contains(section("Hosts"), fmt.Sprintf("\n| %s %s", oldest.of, version[1])) {
			t.Errorf("docs/hosts.md has no row of %s %s, the oldest that scripts/vault takes", oldest.of, version)
		}
	}
	// The row of the host that these tests run on.
	if h := theHost(t); os.Getenv("VAULT_BIN") == "" && !strings.Contains(section("Hosts"), "\n| "+h.String()+" |") {
		t.Errorf("docs/hosts.md has no row of %v", h)
	}
	fmt.Printf("TestHostTable: on %v; %d tests or parts are left out on some hosts\n", theHost(t), len(leftOut))
}
