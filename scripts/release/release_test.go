package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const testVersion = "v1.2.3-test"

// TestReleaseReproducible makes the same release twice, from the same source in
// two places and with different settings for go, and wants the same bytes in
// every file. What they hold is looked into, too.
func TestReleaseReproducible(t *testing.T) { // not parallel: it sets the environment
	if testing.Short() {
		t.Skip("it links the plugin twice: not with -short")
	}
	began := time.Now()
	platforms := []string{runtime.GOOS + "/" + runtime.GOARCH}
	first, second := t.TempDir(), t.TempDir()
	released := func(dir, source string) map[string]string {
		t.Helper()
		r := release{dir: dir, source: source, version: testVersion, platforms: platforms, said: io.Discard}
		if err := r.make(t.Context()); err != nil {
			t.Fatal(err)
		}
		return digests(t, dir)
	}
	source, copied := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	copySource(t, filepath.Join("..", ".."), source)
	copySource(t, source, copied)
	one := released(first, source)
	t.Setenv("GOFLAGS", "-ldflags=-X=main.other=1")
	t.Setenv("TZ", "Asia/Shanghai")
	two := released(second, copied)
	if len(one) != len(two) || len(one) < 9 {
		t.Errorf("%d and %d files", len(one), len(two))
	}
	for name, digest := range one {
		if two[name] != digest {
			t.Errorf("%s differs", name)
		}
	}
	name := plugin + "_" + testVersion + "_" + strings.ReplaceAll(platforms[0], "/", "_")
	binary, err := os.ReadFile(filepath.Join(first, name))
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), filepath.Join(first, name), "-version").Output()
	if string(said) != testVersion+"\n" {
		t.Errorf("the binary says it is %q (%v)", said, err)
	}
	sums, err := os.ReadFile(filepath.Join(first, sumsFile))
	if err != nil || !strings.Contains(string(sums), one[name]+"  "+name+"\n") {
		t.Errorf("the sums lack the binary:\n%s%v", sums, err)
	}
	list := read[sbom](t, filepath.Join(first, name+".cdx.json"))
	found := map[string]bool{}
	for _, c := range list.Components {
		found[c.Name] = c.Version != "" && strings.HasPrefix(c.PURL, "pkg:golang/")
	}
	if len(found) < 20 || !found["std"] || !found["github.com/hashicorp/vault/sdk"] || list.Metadata.Component.Hashes[0].Content != one[name] {
		t.Errorf("the SBOM lists %d components: %v", len(found), found)
	}
	if got := unpack(t, filepath.Join(first, "oci")); !bytes.Equal(got, binary) {
		t.Error("the image holds another binary")
	}
	installFromImage(t, binary)
	fmt.Printf("TestReleaseReproducible: %s, %d files, %d modules, binary %d KiB, same digests; %v\n",
		platforms[0], len(one), len(list.Components), len(binary)>>10, time.Since(began).Round(time.Second))
}

// installFromImage does what an init container does: it runs the only file of the
// image, alone in its file system, and gets a copy of it in a volume.
func installFromImage(t *testing.T, binary []byte) {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, plugin), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "target"), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, plugin), "-install", filepath.Join(root, "target"))
	if os.Getuid() == 0 { // only root may have a root of its own
		cmd = exec.CommandContext(t.Context(), "chroot", root, "/"+plugin, "-install", "/target")
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if got, err := os.ReadFile(filepath.Join(root, "target", plugin)); err != nil || !bytes.Equal(got, binary) {
		t.Errorf("the copy has %d bytes of %d (%v)", len(got), len(binary), err)
	}
}

// What is no release is left alone, and what Vault would not take is refused.
func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := release{dir: dir, source: filepath.Join("..", ".."), version: testVersion, said: io.Discard}
	if err := r.make(t.Context()); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	for _, version := range []string{"", "1.2.3", "v1.2", "v1.2.3+build", "latest"} {
		if err := (release{dir: t.TempDir(), version: version}).make(t.Context()); err == nil {
			t.Errorf("%q is taken for a version", version)
		}
	}
}

// A version that is published has a tag for each module, and the adapters require
// it. A build of any other commit has neither.
func TestReleaseTags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version, required string
		tags, refused     bool
	}{
		{version: "v1.2.3", required: "v1.2.3", tags: true},
		{version: "v1.2.3-rc.1", required: "v1.2.3-rc.1", tags: true},
		{version: "v1.2.3", required: "v1.2.2", refused: true},
		{version: "v1.2.3", required: "v0.0.0", refused: true},
		{version: "v1.2.3-rc.1", required: "v1.2.3", refused: true},
		{version: "v1.2.3-4-g0123abc", required: "v1.2.3"},
		{version: "v1.2.3-dirty", required: "v1.2.2"},
		{version: "v0.0.0-dev.g0123abc", required: "v0.1.0"},
	} {
		t.Run(tt.version+" requires "+tt.required, func(t *testing.T) {
			t.Parallel()
			source := t.TempDir()
			if err := os.Mkdir(filepath.Join(source, adapters), 0o700); err != nil {
				t.Fatal(err)
			}
			text := "module " + modulePath + "/adapters\n\nrequire " + modulePath + " " + tt.required + "\n"
			if err := os.WriteFile(filepath.Join(source, adapters, "go.mod"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			err := release{dir: t.TempDir(), source: source, version: tt.version, said: &said}.make(t.Context())
			if refused := err != nil && strings.Contains(err.Error(), "requires "+tt.required); refused != tt.refused || !refused && err != nil {
				t.Errorf("got %v", err)
			}
			push := "git push --atomic origin " + tt.version + " adapters/" + tt.version + "\n"
			if got := strings.Contains(said.String(), push); got != tt.tags || !tt.tags && said.Len() > 0 {
				t.Errorf("it says %q", said.String())
			}
		})
	}
}

// unpack follows the index to the only layer of the only image, as a puller
// does, checking digests and sizes, and returns the program in it.
func unpack(t *testing.T, dir string) []byte {
	t.Helper()
	fetch := func(d descriptor) []byte {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(d.Digest, "sha256:")))
		if err != nil || digest(content) != d.Digest || len(content) != d.Size {
			t.Fatalf("%s of %d bytes: %d bytes of %s (%v)", d.Digest, d.Size, len(content), digest(content), err)
		}
		return content
	}
	if got := read[map[string]string](t, filepath.Join(dir, "oci-layout"))["imageLayoutVersion"]; got != "1.0.0" {
		t.Errorf("layout version %q", got)
	}
	root := read[index](t, filepath.Join(dir, "index.json")).Manifests[0]
	if got := root.Annotations["org.opencontainers.image.ref.name"]; got != testVersion {
		t.Errorf("the image is named %q", got)
	}
	image := decode[index](t, fetch(root)).Manifests[0]
	if image.Platform == nil || image.Platform.OS != runtime.GOOS || image.Platform.Architecture != runtime.GOARCH {
		t.Errorf("the platform is %v", image.Platform)
	}
	m := decode[manifest](t, fetch(image))
	z, err := gzip.NewReader(bytes.NewReader(fetch(m.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode[imageConfig](t, fetch(m.Config)).RootFS.DiffIDs; len(got) != 1 || got[0] != digest(archive) {
		t.Errorf("diff ids %v", got)
	}
	files := tar.NewReader(bytes.NewReader(archive))
	header, err := files.Next()
	if err != nil || header.Name != plugin || header.Mode != 0o755 {
		t.Fatalf("the layer holds %v (%v)", header, err)
	}
	content, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func read[T any](t *testing.T, name string) T {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return decode[T](t, text)
}

func decode[T any](t *testing.T, text []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// digests are those of all files below a directory, by their names in it.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		all[relative], err = digestOf(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// copySource copies what the plugin is built from.
func copySource(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch top, _, _ := strings.Cut(relative, string(filepath.Separator)); {
		case e.IsDir() && top != "." && top != "backend" && top != "alicreds":
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, relative), 0o700)
		case !slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(name)):
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
