package main

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/zip"
)

// TestFileNames packs each module as the go command does. A name that is illegal
// on Windows, or differs from another in upper and lower case only, makes the
// whole module impossible to fetch.
func TestFileNames(t *testing.T) {
	t.Parallel()
	all := trackedFiles(t)
	modules := map[string]bool{}
	for _, name := range all {
		if path.Base(name) == "go.mod" {
			modules[path.Dir(name)] = true
		}
	}
	content := map[string][]zip.File{}
	for _, name := range all {
		dir := path.Dir(name)
		for !modules[dir] {
			dir = path.Dir(dir)
		}
		content[dir] = append(content[dir], moduleFile{name, dir})
		// A checkout takes the files of all modules, which CheckFiles leaves out where it sees their go.mod.
		if dir == "." || path.Base(name) != "go.mod" {
			content["checkout"] = append(content["checkout"], moduleFile{name, "."})
		}
	}
	for _, published := range []string{".", "adapters"} {
		if !modules[published] {
			t.Errorf("%s: no module", published)
		}
	}
	for dir, files := range content {
		checked, err := zip.CheckFiles(files)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		for _, left := range checked.Omitted {
			t.Errorf("%s: left out: %v", dir, left)
		}
		if len(checked.Valid) == 0 {
			t.Errorf("%s: no files", dir)
		}
	}
}

// A moduleFile is a file of the module in dir.
type moduleFile struct{ name, dir string }

func (f moduleFile) Path() string {
	if f.dir == "." {
		return f.name
	}
	return strings.TrimPrefix(f.name, f.dir+"/")
}

func (f moduleFile) Lstat() (fs.FileInfo, error) { return os.Lstat(filepath.FromSlash(f.name)) }

func (f moduleFile) Open() (io.ReadCloser, error) { return os.Open(filepath.FromSlash(f.name)) }

// trackedFiles are those that git has, or would take with "git add".
func trackedFiles(t *testing.T) []string {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		skipOutsideCI(t, "git does not list the files: %v", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.Trim(string(list), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.FromSlash(name)); err == nil { // what is deleted is listed until it is committed
			names = append(names, name)
		}
		// So that go test does not answer from its cache when the directory has a new file.
		_, _ = os.Stat(filepath.FromSlash(path.Dir(name)))
	}
	return names
}

// skipOutsideCI is for what a machine may lack.
func skipOutsideCI(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}
