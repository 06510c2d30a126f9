package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// insideEnv tells this program that it runs where there are no files.
const insideEnv = "TEST_WITHOUT_FILES"

// TestZonesWithoutFiles takes a schedule in a time zone on a server that has no
// zone files: this program, linked as the plugin is, in an empty directory as
// its root.
func TestZonesWithoutFiles(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		inside(t)
		return
	}
	if testing.Short() {
		t.Skip("it links the plugin: not with -short")
	}
	t.Parallel()
	root := t.TempDir()
	program := command{".", append(os.Environ(), "CGO_ENABLED=0")}
	program.run(t, "", "go", "test", "-c", "-trimpath", "-buildvcs=false", "-o", filepath.Join(root, "plugin.test"), ".")
	cmd := exec.CommandContext(t.Context(), "/plugin.test", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{insideEnv + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if os.Getuid() != 0 { // whoever is not root here may be so in a user namespace
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	said, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) {
		skipOutsideCI(t, "this system makes no other root for a process: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func inside(t *testing.T) {
	if files, err := os.ReadDir("/"); err != nil || len(files) != 1 {
		t.Fatalf("there are files: %v, %v", files, err)
	}
	b, err := backend.Factory(t.Context(), &logical.BackendConfig{System: &logical.StaticSystemView{}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Cleanup(t.Context())
	storage := &logical.InmemStorage{}
	for schedule, known := range map[string]bool{
		"CRON_TZ=Asia/Shanghai 0 3 * * SAT":    true,
		"CRON_TZ=America/New_York 0 3 * * SAT": true,
		"CRON_TZ=Nowhere/Land 0 3 * * SAT":     false,
		"CRON_TZ=asia 0 3 * * SAT":             false,
		"CRON_TZ=../plugin.test 0 3 * * SAT":   false,
		"CRON_TZ=Local 0 3 * * SAT":            false,
	} {
		resp, err := b.HandleRequest(t.Context(), &logical.Request{
			Storage: storage, Operation: logical.UpdateOperation, Path: "config",
			Data: map[string]any{"access_key": "LTAI5texample", "secret_key": "example", "rotation_schedule": schedule},
		})
		if (err == nil && !resp.IsError()) != known {
			t.Errorf("%s: %v, %v", schedule, resp, err)
		}
	}
}
