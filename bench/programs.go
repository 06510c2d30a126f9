package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are the paths of what is measured, all of them stripped.
type programs struct {
	dir                         string // of those that were built here
	vault, ours, peer, constant string
}

const pluginVersion = "v1.0.0-bench"

// findPrograms builds what is ours and finds the rest. profiled takes the
// build of our plugin that can be profiled. The caller must remove p.dir.
func findPrograms(ctx context.Context, profiled bool) (p programs, err error) {
	if p.dir, err = os.MkdirTemp("", "bench-programs-"); err != nil {
		return p, err
	}
	module, pkg := "..", "."
	if profiled {
		module, pkg = ".", "./profiled"
	}
	if p.ours, err = p.build(ctx, module, pkg, "ours"); err != nil {
		return p, err
	}
	if p.constant, err = p.build(ctx, ".", "./constant", "constant"); err != nil {
		return p, err
	}
	if p.vault, err = script(ctx, "vault"); err != nil {
		return p, err
	}
	p.peer, err = script(ctx, "peer")
	return p, err
}

// build builds as the Makefile does.
func (p programs) build(ctx context.Context, module, pkg, name string) (string, error) {
	program := filepath.Join(p.dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/alicreds/vault-plugin-secrets-alicloud/backend.version="+pluginVersion, "-o", program, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, said)
	}
	return program, nil
}

// script runs one of ../scripts, which print the path of a program.
func script(ctx context.Context, name string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join("..", "scripts", name))
	cmd.Stderr = os.Stderr // tells how far a first build is
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("scripts/%s: %w", name, err)
	}
	return string(bytes.TrimSpace(said)), nil
}
