package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
)

// TestGoGet fetches the modules as a stranger's go command does, by the tags of
// a release and through git, from a repository that holds the files of this one.
// What the go.mod files replace for development is of no use to it.
func TestGoGet(t *testing.T) {
	if testing.Short() {
		t.Skip("it fetches and links as a stranger does: not with -short")
	}
	t.Parallel()
	began := time.Now()
	version := adaptersRequire(t)
	machine := goEnv(t, "GOMODCACHE", "GOPROXY", "GOCACHE")
	stranger := command{dir: t.TempDir(), env: append(os.Environ(),
		"GOMODCACHE="+t.TempDir(), // nothing of ours is kept, or found, in the machine's
		"GOPROXY=file://"+filepath.ToSlash(machine[0])+"/cache/download,"+machine[1],
		"GOCACHE="+machine[2],
		"GONOPROXY="+module, "GONOSUMDB="+module, // "direct" for ours
		"GOFLAGS=-mod=mod -modcacherw -trimpath", "GOWORK=off",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url."+publish(t, version)+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+module,
	)}
	registry := command{stranger.dir, append(slices.Clone(stranger.env), "GOPROXY="+machine[1])}
	if said, err := registry.fetch(t, "list", "-m", "golang.org/x/mod@latest"); err != nil {
		skipOutsideCI(t, "no registry of modules: %v\n%s", err, said)
	}
	for _, tt := range []struct{ name, get, program string }{
		{"library", "/alicreds", `package main

import (
	"context"
	"fmt"

	"` + module + `/alicreds"
)

func main() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		panic(err)
	}
	c, err := key.Retrieve(context.Background())
	fmt.Println(c.AccessKeyID, err)
}
`},
		{"adapter", "/adapters/credentialsgo", `package main

import (
	"fmt"

	"` + module + `/adapters/credentialsgo"
	"` + module + `/alicreds"
)

func main() {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		panic(err)
	}
	c, err := credentialsgo.New(key, credentialsgo.Options{}).GetCredential()
	fmt.Println(*c.AccessKeyId, err)
}
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := command{filepath.Join(stranger.dir, tt.name), stranger.env}
			if err := os.Mkdir(c.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(c.dir, "main.go"), []byte(tt.program), 0o600); err != nil {
				t.Fatal(err)
			}
			c.run(t, "", "go", "mod", "init", "example.com/"+tt.name)
			if said, err := c.fetch(t, "get", module+tt.get+"@"+version); err != nil {
				t.Fatalf("go get: %v\n%s", err, said)
			}
			if said := c.run(t, "", "go", "run", "."); said != "LTAI5texample <nil>\n" {
				t.Errorf("the program says %q", said)
			}
			fmt.Printf("TestGoGet: %s %s, %v\n", tt.name, version, time.Since(began).Round(time.Second))
		})
	}
	t.Run("plugin", func(t *testing.T) {
		t.Parallel()
		bin := t.TempDir()
		c := command{stranger.dir, append(slices.Clone(stranger.env), "GOBIN="+bin)}
		if said, err := c.fetch(t, "install", module+"@"+version); err != nil {
			t.Fatalf("go install: %v\n%s", err, said)
		}
		if said := (command{bin, stranger.env}).run(t, "", filepath.Join(bin, "vault-plugin-secrets-alicloud"), "-version"); said != version+"\n" {
			t.Errorf("the plugin says it is %q, want %s", said, version)
		}
		fmt.Printf("TestGoGet: plugin %s, %v\n", version, time.Since(began).Round(time.Second))
	})
	t.Run("simulator", func(t *testing.T) {
		t.Parallel()
		bin := t.TempDir()
		c := command{stranger.dir, append(slices.Clone(stranger.env), "GOBIN="+bin)}
		if said, err := c.fetch(t, "install", module+"/cmd/alisim@"+version); err != nil {
			t.Fatalf("go install: %v\n%s", err, said)
		}
		if said := (command{bin, stranger.env}).run(t, "", filepath.Join(bin, "alisim"), "-help"); !strings.Contains(said, "-ca-file") {
			t.Errorf("alisim -help says %q", said)
		}
		fmt.Printf("TestGoGet: simulator %s, %v\n", version, time.Since(began).Round(time.Second))
	})
}

// adaptersRequire is the version of the main module that the adapters require.
func adaptersRequire(t *testing.T) string {
	t.Helper()
	const name = "adapters/go.mod"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.ParseLax(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range file.Require {
		if r.Mod.Path == module && r.Mod.Version != "v0.0.0" {
			return r.Mod.Version
		}
	}
	t.Fatalf("%s requires no version of %s that is ever released", name, module)
	return ""
}

// publish commits the files of this repository to a bare one and gives the
// commit the tags of a release. It returns where that is.
func publish(t *testing.T, version string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		skipOutsideCI(t, "%v", err)
	}
	dir := filepath.Join(t.TempDir(), "published.git")
	git := command{".", append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")}
	names := strings.Join(trackedFiles(t), "\x00")
	git.run(t, "", "git", "init", "-q", "--bare", dir)
	git.run(t, names, "git", "--git-dir="+dir, "--work-tree=.", "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul")
	git.run(t, "", "git", "--git-dir="+dir, "--work-tree=.", "commit", "-q", "-m", "release")
	for _, tag := range []string{version, "adapters/" + version} {
		git.run(t, "", "git", "--git-dir="+dir, "tag", tag)
	}
	return filepath.ToSlash(dir)
}

// goEnv is what the go command has for each name.
func goEnv(t *testing.T, names ...string) []string {
	t.Helper()
	said := command{".", os.Environ()}.run(t, "", "go", append([]string{"env"}, names...)...)
	return strings.Split(strings.TrimSuffix(said, "\n"), "\n")
}

// A command runs programs in a directory, with an environment.
type command struct {
	dir string
	env []string
}

// run gives a program its input and returns what it says.
func (c command) run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	said, err := c.try(t, input, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, said)
	}
	return said
}

// fetch runs the go command for what asks a registry of modules and a database of sums,
// either of which may fail for a moment: it is tried three times.
func (c command) fetch(t *testing.T, args ...string) (said string, err error) {
	for n := range 3 {
		time.Sleep(time.Duration(n) * 5 * time.Second)
		if said, err = c.try(t, "", "go", args...); err == nil {
			break
		}
	}
	return said, err
}

func (c command) try(t *testing.T, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, c.env, strings.NewReader(input)
	said, err := cmd.CombinedOutput()
	return string(said), err
}
