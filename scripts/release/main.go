// Release builds what a release consists of, the same bytes each time:
//
//	release [-o DIRECTORY] [-source DIRECTORY] [-platforms OS/ARCH,...] [-key FILE] VERSION
//
// The directory holds a binary and a CycloneDX SBOM for each platform, an OCI
// image layout with all of them, and SHA256SUMS, with -key its signature. What was
// there before goes.
// For a version that is published it then says which tags to push.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

const plugin = "vault-plugin-secrets-alicloud"

const allPlatforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// Vault takes nothing else for the version of a plugin; OCI has no "+" in tags.
var versionForm = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("release", flag.ExitOnError)
	r := release{}
	flags.StringVar(&r.dir, "o", "dist", "`directory` to write to")
	flags.StringVar(&r.source, "source", ".", "`directory` of the plugin's module")
	platforms := flags.String("platforms", allPlatforms, "`list` of os/arch, with commas")
	flags.StringVar(&r.key, "key", "", "SSH key that signs SHA256SUMS: a private key, or a public one that ssh-agent has; a `file`")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if flags.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: release [-o DIRECTORY] [-source DIRECTORY] [-platforms OS/ARCH,...] [-key FILE] VERSION")
		os.Exit(2)
	}
	r.version, r.platforms, r.said = flags.Arg(0), strings.Split(*platforms, ","), os.Stderr
	if err := r.make(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// A release is one version, for some platforms.
type release struct {
	dir, source, version string
	key                  string // signs the sums; "" for no signature
	platforms            []string
	said                 io.Writer
}

func (r release) make(ctx context.Context) error {
	if !versionForm.MatchString(r.version) {
		return fmt.Errorf("the version %q is not a semantic version with a leading v, such as v1.2.3", r.version)
	}
	published := releaseForm.MatchString(r.version)
	if published {
		if err := r.checkAdapters(ctx); err != nil {
			return err
		}
	}
	if err := r.clear(); err != nil {
		return err
	}
	layout := layout{dir: filepath.Join(r.dir, "oci")}
	for _, platform := range r.platforms {
		goos, arch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("the platform %q is not of the form os/arch", platform)
		}
		t := target{os: goos, arch: arch}
		name := filepath.Join(r.dir, plugin+"_"+r.version+"_"+goos+"_"+arch+t.suffix())
		if err := r.build(ctx, t, name); err != nil {
			return err
		}
		if err := writeSBOM(name, strings.TrimSuffix(name, t.suffix())+".cdx.json", r.version, t); err != nil {
			return err
		}
		if err := layout.add(name, t); err != nil {
			return err
		}
		fmt.Fprintln(r.said, name)
	}
	if err := layout.finish(r.version); err != nil {
		return err
	}
	if err := r.sums(); err != nil {
		return err
	}
	if r.key != "" {
		if err := r.sign(ctx); err != nil {
			return err
		}
	}
	if published {
		r.sayTags()
	}
	return nil
}

// clear empties the directory if it is one that was made here, or empty.
func (r release) clear() error {
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(r.dir, 0o755)
	}
	if err != nil {
		return err
	}
	ours := func(e os.DirEntry) bool {
		return e.Name() == sumsFile || e.Name() == sumsFile+".sig" || e.Name() == "oci" || strings.HasPrefix(e.Name(), plugin+"_")
	}
	for _, e := range entries {
		if !ours(e) {
			return fmt.Errorf("%s holds %s, which no release has: it is not emptied", r.dir, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(r.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

const sumsFile = "SHA256SUMS"

// sums writes what sha256sum -c reads, of every file but those of the image,
// which are named after their digests.
func (r release) sums() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		digest, err := digestOf(filepath.Join(r.dir, e.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, digest+"  "+e.Name()+"\n")
	}
	index, err := digestOf(filepath.Join(r.dir, "oci", "index.json"))
	if err != nil {
		return err
	}
	lines = append(lines, index+"  oci/index.json\n")
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return os.WriteFile(filepath.Join(r.dir, sumsFile), []byte(strings.Join(lines, "")), 0o644)
}

func digestOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
