package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// signersFile, at the top of the repository, has the public keys of releases, one a
// line, in the form that ssh-keygen calls allowed signers.
const signersFile = "allowed_signers"

// signer and namespace are what a line of signersFile and a signature name.
const (
	signer    = "release"
	namespace = plugin
)

// sign writes SHA256SUMS.sig, and checks it as users will: a key that they do not
// find in the repository signs no release.
func (r release) sign(ctx context.Context) error {
	sums := filepath.Join(r.dir, sumsFile)
	signers := filepath.Join(r.source, signersFile)
	if _, err := os.Stat(signers); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing, so nobody could check the signature: docs/release.md tells how to make it", signers)
	}
	if err := os.Remove(sums + ".sig"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if said, err := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-f", r.key, "-n", namespace, sums).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen -Y sign: %w\n%s", err, said)
	}
	text, err := os.ReadFile(sums)
	if err != nil {
		return err
	}
	verify := exec.CommandContext(ctx, "ssh-keygen", "-Y", "verify", "-f", signers, "-I", signer, "-n", namespace, "-s", sums+".sig")
	verify.Stdin = bytes.NewReader(text)
	if said, err := verify.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not have the key that signed: ssh-keygen -Y verify: %w\n%s", signers, err, said)
	}
	return nil
}
