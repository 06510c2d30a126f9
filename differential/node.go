package differential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// InstallNode lets npm make a directory of the packages that the lock file in
// source pins, with the programs of source beside them, and returns it. It is
// made once below the user's cache directory; its name is what it was made of,
// so it is never out of date.
func InstallNode(ctx context.Context, source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "vault-plugin-secrets-alicloud")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{".npmrc", "outcome.cjs", "package-lock.json", "package.json", "redirect.cjs"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		files[name] = text
		sum.Write(text)
	}
	done := filepath.Join(cache, "node-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(done); err == nil {
		return done, nil
	}
	dir, err := os.MkdirTemp(cache, "node-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if said, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, said)
	}
	if err := os.Rename(dir, done); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(done); there != nil { // nobody else was faster
			return "", err
		}
	}
	return done, nil
}
