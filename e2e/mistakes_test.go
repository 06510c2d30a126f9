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

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const mistakesFile = "testdata/mistakes.golden"

// A mistake is something that a person types, and what must become of it. It
// is made at a mount of its own, ali-prod/, with a config and the roles deploy,
// of sessions, and ci, of RAM users; or at one that has nothing yet.
type mistake struct {
	what   string
	before string // what leads to it; must succeed
	typed  string
	must   outcome
	empty  bool   // the mount has no config and no roles
	open   string // why it is not answered so yet: an issue's number
}

// An outcome is what a mistake must lead to.
type outcome string

const (
	refused outcome = "refused" // nothing happens
	warned  outcome = "warned"  // it is done, with a warning
	told    outcome = "told"    // the answer itself says what is wrong
)

// What no answer may have: names of packages, Go types, the path of another mount.
var foreign = []*regexp.Regexp{
	regexp.MustCompile(`\b(openapi|alicreds|rotation|backend|framework|logical|strconv|net/http|text/template)(: |\.[A-Z])|template: template`),
	regexp.MustCompile(`struct ?\{|map\[|interface ?\{|\*[a-z]+\.[A-Z]|%!`),
	regexp.MustCompile(`(^|[^-])\balicloud/`),
}

// TestMistakes types each of mistakes at a real server with the real CLI. What
// is printed, with its exit status, is in a golden file, to be read by a
// person: who types it at three in the morning must find what is wrong, where,
// and what to type instead. What changes from run to run is replaced.
func TestMistakes(t *testing.T) {
	leaveOut(t)
	t.Parallel()
	cloud, err := alisim.Start(alisim.Options{Seed: mistakesSeed()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	person := &typist{vaultServer: v, cloud: cloud, dir: t.TempDir()}
	person.desk(t)

	var golden strings.Builder
	golden.WriteString("What the vault CLI prints after each mistake of TestMistakes. Read it as the person who made it.\n" +
		"Random parts of names, ids, ports and times are replaced.\n")
	count := map[outcome]int{}
	for _, section := range mistakes {
		fmt.Fprintf(&golden, "\n======== %s\n", section.of)
		for _, m := range section.mistakes {
			t.Run(section.of+"/"+m.what, func(t *testing.T) {
				count[m.must]++
				printed, wrong := person.makes(t, m)
				switch {
				case m.open == "" && wrong != "":
					t.Error(wrong)
				case m.open != "" && wrong == "":
					t.Errorf("%s is answered as it must be: take %s away from the mistake", m.typed, m.open)
				case m.open != "":
					count["open"]++
					printed = "not yet (" + m.open + ")\n"
				}
				fmt.Fprintf(&golden, "\n# %s (must be %s)\n%s", m.what, m.must, printed)
			})
		}
	}
	fmt.Printf("TestMistakes: %d mistakes: %d must be refused, %d warned of, %d told; %d are not yet\n",
		count[refused]+count[warned]+count[told], count[refused], count[warned], count[told], count["open"])
	if count[refused]+count[warned]+count[told] < 80 {
		t.Error("fewer than 80 mistakes")
	}
	if *update {
		if err := os.WriteFile(mistakesFile, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(mistakesFile)
	if err != nil {
		t.Fatal(err)
	}
	if golden.String() != string(want) {
		t.Errorf("%s is not what was printed (go test -run TestMistakes -update writes it; read it then):\n%s", mistakesFile, firstDifference(string(want), golden.String()))
	}
}

// typist is who makes the mistakes, in a directory with a few files.
type typist struct {
	*vaultServer
	cloud *alisim.Server
	dir   string
}

func (p *typist) desk(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{
		"ca.pem": string(p.cloud.CACertPEM()), "pol1.json": policyJSON, "list.json": "[" + policyJSON + "]",
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// makes makes the mistake, and returns what was typed and printed, and what is wrong
// with the answer.
func (p *typist) makes(t *testing.T, m mistake) (printed, wrong string) {
	t.Helper()
	const path = "ali-prod"
	p.cloud.Reset()
	p.run(t, "secrets", "enable", "-path="+path, "-plugin-version="+pluginVersion, mount)
	defer func() {
		// Some mistakes leave leases whose config is no good.
		p.cloud.ClearFaults()
		p.write(t, path+"/config", engineConfig(p.cloud))
		p.run(t, "secrets", "disable", path)
	}()
	if !m.empty {
		p.write(t, path+"/config", engineConfig(p.cloud))
		p.write(t, path+"/role/deploy", map[string]any{"role_arn": roleARN, "ttl": "1h"})
		p.write(t, path+"/role/ci", map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "1h"})
	}
	for line := range strings.Lines(m.before) {
		line = strings.TrimSpace(line)
		if said, code := p.shell(t, line); code != 0 {
			t.Errorf("before it, %s: exit status %d\n%s", line, code, said)
		}
		printed += "$ " + line + "\n"
	}
	before := p.cloud.Inventory()
	said, code := p.shell(t, m.typed)
	said = normal(said)
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	switch success := strings.Contains(said, "Success!"); {
	case m.must == refused && (code == 0 || success):
		fault("it was not refused")
	case m.must == warned && (code != 0 || !strings.Contains(said, "WARNING!")):
		fault("it was not warned of")
	case m.must == told && (code != 0 || success):
		fault("the answer does not tell")
	}
	if left := leftovers(before, p.cloud.Inventory()); m.must == refused && !left.empty() {
		fault("it left %v", left)
	}
	for _, bad := range foreign {
		if found := bad.FindString(said); found != "" {
			fault("the answer says %q", found)
		}
	}
	if strings.Contains(said, alisim.DefaultAccessKeySecret) {
		fault("the answer has a secret")
	}
	if len(faults) > 0 {
		wrong = fmt.Sprintf("%s: %s:\n%sexit status %d", m.typed, strings.Join(faults, "; "), said, code)
	}
	return printed + "$ " + m.typed + "\n" + said + fmt.Sprintf("exit status %d\n", code), wrong
}

// shell runs a line in the directory of files. Words such as $KEY are those of mistakesSeed.
func (p *typist) shell(t *testing.T, line string) (printed string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	cmd.Dir = p.dir
	cmd.Env = append(slices.DeleteFunc(p.environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") }),
		"PATH="+filepath.Dir(p.binary)+":"+os.Getenv("PATH"), "VAULT_MAX_RETRIES=0",
		"KEY="+alisim.DefaultAccessKeyID, "SECRET="+alisim.DefaultAccessKeySecret, "URL="+p.cloud.URL)
	said, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(said), cmd.ProcessState.ExitCode()
}

// normal replaces what changes from run to run.
func normal(said string) string {
	for _, r := range changing {
		said = r.of.ReplaceAllString(said, r.by)
	}
	lines := strings.Split(said, "\n")
	for n := range lines {
		lines[n] = strings.TrimRight(lines[n], " ")
	}
	return strings.Join(lines, "\n")
}

var changing = []struct {
	of *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}`), "REQUEST-ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`LTAI[0-9A-Za-z]{12,}`), "LTAI..."},
	{regexp.MustCompile(`\bvault-(root|token)-(deploy|ci|[a-z]+)-[0-9a-z]{20}\b`), "vault-$1-$2-RANDOM"},
	{regexp.MustCompile(`\bvault-[0-9a-f]{8}-[0-9a-f]{32}\b`), "vault-HASH"},
	{regexp.MustCompile(`creds/([a-z]+)/[0-9A-Za-z]{20,}`), "creds/$1/LEASE"},
}
