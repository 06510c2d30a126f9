package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/alicreds/vault-plugin-secrets-alicloud"

// TestImportArrows keeps the arrows between the packages: what each may import
// besides the standard library. Deps of a package are those of its programs,
// not of its tests.
func TestImportArrows(t *testing.T) {
	vault := []string{
		"github.com/hashicorp/go-hclog",
		"github.com/hashicorp/vault/sdk/...",
	}
	arrows := map[string][]string{
		"":                     append(vault, module+"/backend", "github.com/hashicorp/go-plugin", "google.golang.org/grpc"),
		"/backend":             append(vault, module+"/backend/policy", module+"/backend/ram", module+"/backend/rotation", module+"/alicreds", module+"/alicreds/openapi", "golang.org/x/...", "github.com/prometheus/client_model/go", "github.com/prometheus/common/expfmt"),
		"/backend/policy":      {"github.com/hashicorp/vault/sdk/framework", "github.com/hashicorp/vault/sdk/logical", "github.com/hashicorp/vault/sdk/helper/template", "github.com/hashicorp/go-secure-stdlib/base62"},
		"/backend/ram":         {module + "/alicreds", module + "/alicreds/openapi"},                                 // knows no Vault
		"/backend/rotation":    {module + "/backend/ram", module + "/alicreds/openapi", "github.com/robfig/cron/v3"}, // knows no Vault
		"/alicreds":            {"golang.org/x/...", module + "/alicreds/openapi"},
		"/alicreds/openapi":    {"golang.org/x/time/rate"},
		"/alisim":              {}, // shares nothing with the signer that it verifies
		"/cmd/alisim":          {module + "/alisim"},
		"/scripts/cachedbuild": {},
		"/scripts/prose":       {},
		"/scripts/release":     {},
	}
	packages := goList[struct {
		ImportPath string
		Standard   bool
		Imports    []string
	}](t, "list", "-buildvcs=false", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	standard := map[string]bool{"C": true, "unsafe": true}
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	seen := map[string]bool{}
	for _, p := range packages {
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		seen[name] = true
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s: a new package; say here what it may import", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !standard[imported] && !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, imported) }) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
			if imported == "testing" || imported == "net/http/httptest" {
				t.Errorf("%s imports %s outside of its tests", p.ImportPath, imported)
			}
		}
	}
	for name := range arrows {
		if !seen[name] {
			t.Errorf("%s%s: no such package", module, name)
		}
	}
}

// TestNoAlibabaModule keeps Alibaba's SDKs out of the plugin's module graph.
func TestNoAlibabaModule(t *testing.T) {
	modules := goList[struct{ Path string }](t, "list", "-m", "-json=Path", "all")
	if len(modules) < 2 {
		t.Fatalf("go list -m all knows %d modules", len(modules))
	}
	for _, m := range modules {
		for _, part := range strings.Split(m.Path, "/") {
			if strings.Contains(part, "aliyun") || strings.HasPrefix(part, "alibaba") {
				t.Errorf("the module graph holds %s", m.Path)
			}
		}
	}
}

// TestPackageComments wants every package of the repository, those of the
// nested modules too, to say what it is.
func TestPackageComments(t *testing.T) {
	said := map[string]bool{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		dir := filepath.Dir(name)
		said[dir] = said[dir] || file.Doc.Text() != ""
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

func matches(pattern, imported string) bool {
	prefix, tree := strings.CutSuffix(pattern, "/...")
	return imported == prefix || tree && strings.HasPrefix(imported, prefix+"/")
}

// goList runs the go command and decodes its stream of JSON objects.
func goList[T any](t *testing.T, args ...string) []T {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	var all []T
	for decoder := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var one T
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}
