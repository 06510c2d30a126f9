package differential

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nodeLibrary returns the command that asks @alicloud/credentials, which npm
// installs once below the user's cache directory. Without Node.js two
// libraries are compared; CI must have it.
func nodeLibrary(t *testing.T) (command []string, ok bool) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not there, and CI compares all libraries: install Node.js 18 or later with npm", program)
			}
			t.Logf("%s is not there: %s is NOT compared; install Node.js 18 or later with npm", program, nodeName)
			return nil, false
		}
	}
	dir := installNode(t)
	return []string{"node", "--require", filepath.Join(dir, "redirect.cjs"), filepath.Join(dir, "outcome.cjs")}, true
}

// installNode makes a directory of the packages of node/package-lock.json,
// with the programs beside them, and returns it. Its name is what it was made
// of, so it is never out of date.
func installNode(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "vault-plugin-secrets-alicloud")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{".npmrc", "outcome.cjs", "package-lock.json", "package.json", "redirect.cjs"} {
		text, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
		sum.Write(text)
	}
	done := filepath.Join(cache, "node-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(done); err == nil {
		return done
	}
	dir, err := os.MkdirTemp(cache, "node-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if said, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, said)
	}
	if err := os.Rename(dir, done); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(done); there != nil { // nobody else was faster
			t.Fatal(err)
		}
	}
	return done
}
