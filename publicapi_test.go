package main

import (
	"bytes"
	"flag"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file of TestPublicAPI anew")

// publicPackages are those that programs of others import.
var publicPackages = []struct {
	dir    string
	fields bool // each field of a struct wants a comment too
}{
	{"alicreds", true},
	{"alicreds/openapi", true},
	{"adapters/credentialsgo", true},
	{"adapters/ossv2", true},
	{"alisim", false}, // its fields are the words of RAM and of the control API, whose page is docs/alisim.md
}

// TestPublicAPI holds what the public packages export to testdata/api.golden,
// one line for each thing that a program of others may name. It is the same on
// every system.
func TestPublicAPI(t *testing.T) {
	t.Parallel()
	const name = "testdata/api.golden"
	var lines []string
	for _, p := range publicPackages {
		of := exported(t, p.dir, "linux")
		for _, goos := range []string{"darwin", "windows"} {
			if there := exported(t, p.dir, goos); !slices.Equal(of.lines, there.lines) {
				t.Errorf("%s: on %s is missing\n%s\nand is besides\n%s", p.dir, goos, without(of.lines, there.lines), without(there.lines, of.lines))
			}
		}
		lines = append(lines, of.lines...)
	}
	if *update {
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have added carriage returns.
	before := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")), "\n")
	if gone := without(before, lines); gone != "" {
		t.Errorf("programs of others may no longer compile, because this is gone or changed:\n%s\n"+
			"Bring it back, or read in docs/release.md what a break costs and write the file anew: go test -run TestPublicAPI -update .", gone)
	}
	if added := without(lines, before); added != "" {
		t.Errorf("this is new, and is to stay once it is released:\n%s\n"+
			"If it is meant to: go test -run TestPublicAPI -update .", added)
	}
	if !t.Failed() && !slices.Equal(before, lines) {
		t.Error("only the order is another: go test -run TestPublicAPI -update .")
	}
}

// TestPublicDocs wants a comment for everything that the public packages export.
func TestPublicDocs(t *testing.T) {
	t.Parallel()
	for _, p := range publicPackages {
		of := exported(t, p.dir, "linux")
		for _, name := range of.unsaid {
			t.Errorf("%s: %s has no comment", p.dir, name)
		}
		if !p.fields {
			continue
		}
		for _, name := range of.unsaidFields {
			t.Errorf("%s: %s has no comment: none above it, none behind it, none above the block of lines it is in", p.dir, name)
		}
	}
}

// An api is what a package exports.
type api struct {
	prefix       string // of lines
	fset         *token.FileSet
	lines        []string
	unsaid       []string // names without a comment
	unsaidFields []string // fields and methods of interfaces without one
}

// exported reads the package in dir as a build for goos does.
func exported(t *testing.T, dir, goos string) *api {
	t.Helper()
	a := &api{prefix: dir + ": ", fset: token.NewFileSet()}
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	target := build.Default
	target.GOOS, target.GOARCH = goos, "amd64"
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if built, err := target.MatchFile(filepath.Split(name)); err != nil {
			t.Fatal(err)
		} else if !built {
			continue
		}
		file, err := parser.ParseFile(a.fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(a.fset, files, module+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Doc == "" {
		a.unsaid = append(a.unsaid, "the package")
	}
	a.values(p.Consts, p.Vars)
	a.funcs(p.Funcs)
	for _, of := range p.Types {
		a.typ(of)
		a.values(of.Consts, of.Vars)
		a.funcs(of.Funcs, of.Methods)
	}
	if len(a.lines) == 0 {
		t.Fatalf("%s exports nothing", dir)
	}
	return a
}

func (a *api) add(words ...string) { a.lines = append(a.lines, a.prefix+strings.Join(words, " ")) }

// text is the source of a node on one line.
func (a *api) text(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, a.fset, node); err != nil {
		panic(err) // of a writer that never fails
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (a *api) values(groups ...[]*doc.Value) {
	for _, group := range slices.Concat(groups...) {
		for _, spec := range group.Decl.Specs {
			spec := spec.(*ast.ValueSpec)
			if group.Doc == "" && spec.Doc == nil && spec.Comment == nil {
				a.unsaid = append(a.unsaid, spec.Names[0].Name)
			}
			spec.Doc, spec.Comment = nil, nil
			a.add(group.Decl.Tok.String(), a.text(spec))
		}
	}
}

func (a *api) funcs(groups ...[]*doc.Func) {
	for _, f := range slices.Concat(groups...) {
		if f.Doc == "" {
			a.unsaid = append(a.unsaid, strings.Trim(f.Recv+"."+f.Name, "."))
		}
		f.Decl.Doc, f.Decl.Body = nil, nil
		if f.Decl.Recv != nil {
			f.Decl.Recv.List[0].Names = nil // which is nobody else's
		}
		a.add(a.text(f.Decl))
	}
}

func (a *api) typ(of *doc.Type) {
	if of.Doc == "" {
		a.unsaid = append(a.unsaid, of.Name)
	}
	for _, spec := range of.Decl.Specs {
		switch spec := spec.(*ast.TypeSpec); form := spec.Type.(type) {
		case *ast.StructType:
			a.add("type", of.Name, "struct")
			for name, field := range a.members(of.Name, form.Fields) {
				a.add("field", of.Name+"."+name, field)
			}
		case *ast.InterfaceType:
			// On one line, because a method more is a break as well.
			var methods []string
			for name, method := range a.members(of.Name, form.Methods) {
				methods = append(methods, name+strings.TrimPrefix(method, "func"))
			}
			a.add("type", of.Name, "interface {", strings.Join(methods, "; "), "}")
		default:
			spec.Doc, spec.Comment = nil, nil
			a.add("type", a.text(spec))
		}
	}
}

// members yields the names of fields or methods with their types and tags. A
// comment above one is also about those in the lines below it, up to a blank
// line.
func (a *api) members(of string, list *ast.FieldList) func(yield func(name, text string) bool) {
	return func(yield func(name, text string) bool) {
		said, last := false, 0
		for _, field := range list.List {
			if field.Doc != nil {
				said = true
			} else if a.fset.Position(field.Pos()).Line > last+1 {
				said = false
			}
			last = a.fset.Position(field.End()).Line
			text := a.text(field.Type)
			names := []string{text[strings.LastIndexAny(text, "*.")+1:]} // of what is embedded
			if len(field.Names) == 0 {
				text += " (embedded)"
			} else {
				names = nil
				for _, name := range field.Names {
					names = append(names, name.Name)
				}
			}
			if field.Tag != nil {
				text += " " + field.Tag.Value
			}
			for _, name := range names {
				if !said && field.Comment == nil && len(field.Names) > 0 {
					a.unsaidFields = append(a.unsaidFields, of+"."+name)
				}
				if !yield(name, text) {
					return
				}
			}
		}
	}
}

// without lists the lines that are not among the others.
func without(lines, others []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) }), "\n")
}
