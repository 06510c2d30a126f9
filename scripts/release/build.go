package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

type target struct{ os, arch string }

func (t target) suffix() string {
	if t.os == "windows" {
		return ".exe"
	}
	return ""
}

// modulePath is the plugin's.
const modulePath = "github.com/alicreds/" + plugin

// toolchain makes the binaries: another Go makes other bytes of the same source.
// The go command fetches it if it is not there.
const toolchain = "go1.26.10"

// build links the plugin for one platform. Nothing of the machine gets into it:
// neither paths nor the state of the checkout, nor what its user has set for go.
func (r release) build(ctx context.Context, t target, name string) error {
	name, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X "+modulePath+"/backend.version="+r.version, "-o", name, ".")
	cmd.Dir = r.source
	// GOFLAGS is not empty, which would mean what "go env -w" has kept.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off",
		"GOOS="+t.os, "GOARCH="+t.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOTOOLCHAIN="+toolchain)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s/%s: %w\n%s", t.os, t.arch, err, said)
	}
	return nil
}
