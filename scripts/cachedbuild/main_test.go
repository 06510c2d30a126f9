//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestBuildOnce builds a small program from several processes at once, and then
// again with nothing to build from.
func TestBuildOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs: not with -short")
	}
	home := t.TempDir()
	run := func(name string, args ...string) (stdout, stderr string, err error) {
		var out, errs strings.Builder
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+home, "HOME="+home)
		for _, variable := range []string{"GOCACHE", "GOMODCACHE", "GOENV"} {
			value, err := exec.Command("go", "env", variable).Output()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Env = append(cmd.Env, variable+"="+strings.TrimSpace(string(value)))
		}
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = cmd.Run()
		return strings.TrimSpace(out.String()), errs.String(), err
	}
	tool := filepath.Join(t.TempDir(), "cachedbuild")
	if _, said, err := run("go", "build", "-buildvcs=false", "-o", tool, "."); err != nil {
		t.Fatal(err, said)
	}
	module := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module example.com/m\n\ngo 1.25\n",
		"go.sum":        "",
		"hello/main.go": "package main\n\nfunc main() { println(`hello`) }\n",
	} {
		file := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	const processes = 3
	paths, said := make([]string, processes), make([]string, processes)
	var wg sync.WaitGroup
	for i := range processes {
		wg.Go(func() {
			var err error
			if paths[i], said[i], err = run(tool, module, "example.com/m/hello"); err != nil {
				t.Errorf("%v: %s", err, said[i])
			}
		})
	}
	wg.Wait()
	builds := strings.Count(strings.Join(said, ""), "hello: built in")
	if builds != 1 {
		t.Errorf("%d builds by %d processes:\n%s", builds, processes, strings.Join(said, "\n"))
	}
	if _, greeting, err := run(paths[0]); err != nil || greeting != "hello\n" {
		t.Errorf("%s said %q, %v", paths[0], greeting, err)
	}

	if err := os.RemoveAll(filepath.Join(module, "hello")); err != nil {
		t.Fatal(err)
	}
	again, _, err := run(tool, module, "example.com/m/hello")
	if err != nil || again != paths[0] {
		t.Errorf("cached: %q, %v; want %q", again, err, paths[0])
	}
	// Other pins, other build; this one fails, and says why.
	if err := os.WriteFile(filepath.Join(module, "go.sum"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, why, err := run(tool, module, "example.com/m/hello"); err == nil || !strings.Contains(why, "hello: go build") {
		t.Errorf("without its source: %v, %q", err, why)
	}
}
