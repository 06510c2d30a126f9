package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstall copies the program, again and again, as pods do that start again.
// TestReleaseReproducible does it from the image of a release.
func TestInstall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program := filepath.Join(root, "built")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	target := filepath.Join(root, "target")
	if err := os.Mkdir(target, 0o777); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the pod starts again, and the copy is there
		said, err := exec.Command(program, "-install", target).CombinedOutput()
		if err != nil || strings.TrimSpace(string(said)) != filepath.Join(target, installName) {
			t.Fatalf("%v: %s", err, said)
		}
		got, err := os.ReadFile(filepath.Join(target, installName))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the copy has %d bytes of %d, %v", len(got), len(want), err)
		}
	}
	left, err := os.ReadDir(target)
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	info, err := os.Stat(filepath.Join(target, installName))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if said, err := exec.Command(program, "-install", filepath.Join(root, "nowhere")).CombinedOutput(); err == nil || !strings.Contains(string(said), "nowhere") {
		t.Errorf("into a directory that is not there: %v %s", err, said)
	}
}
