package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReleaseSigned makes a key and signs a release with it as docs/release.md tells
// maintainers, checks it as the page tells users, and lets them find what is wrong.
func TestReleaseSigned(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Fatalf("ssh-keygen, which signs releases, is missing: %v", err)
	}
	page, err := os.ReadFile("../../docs/release.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(heading string) string {
		found := regexp.MustCompile("(?s)\n### " + heading + "\n.*?```sh\n(.*?)```").FindSubmatch(page)
		if found == nil {
			t.Fatalf("docs/release.md has no block of sh below %q", heading)
		}
		return string(found[1])
	}
	source, home, dist := t.TempDir(), t.TempDir(), t.TempDir()
	shell := func(dir, script string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "-ec", script)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	sign := func(key string) error {
		// Of no platforms, which needs no linker.
		return release{dir: dist, source: source, version: testVersion, key: key, said: io.Discard}.make(t.Context())
	}
	key := filepath.Join(home, ".ssh", "alicloud-release")
	if err := os.Mkdir(filepath.Dir(key), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sign(key); err == nil || !strings.Contains(err.Error(), signersFile+" is missing") {
		t.Errorf("without %s: %v", signersFile, err)
	}

	make, _, _ := strings.Cut(block("Once: the key"), "git commit")
	make = strings.Replace(make, "ssh-keygen -t ed25519", "ssh-keygen -q -N '' -t ed25519", 1) // it asks for a passphrase
	if said, err := shell(source, make); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := sign(key); err != nil {
		t.Fatal(err)
	}
	signers, err := os.ReadFile(filepath.Join(source, signersFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dist, signersFile), signers, 0o600); err != nil {
		t.Fatal(err)
	}
	check := block("Check one")
	said, err := shell(dist, check)
	if err != nil || !strings.Contains(said, `Good "vault-plugin-secrets-alicloud" signature for release`) || !strings.Contains(said, "oci/index.json: OK") {
		t.Errorf("a good release: %v\n%s", err, said)
	}

	sums := filepath.Join(dist, sumsFile)
	good, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sums, append(good, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := shell(dist, check); err == nil {
		t.Errorf("a changed sum is taken:\n%s", said)
	}
	if err := os.Remove(filepath.Join(dist, signersFile)); err != nil { // no release has it
		t.Fatal(err)
	}
	if said, err := shell(home, "ssh-keygen -q -N '' -t ed25519 -f other"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := sign(filepath.Join(home, "other")); err == nil || !strings.Contains(err.Error(), "does not have the key that signed") {
		t.Errorf("a key that users do not have: %v", err)
	}
}
