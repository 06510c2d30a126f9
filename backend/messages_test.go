package backend_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// TestEveryMessage wants each text that the engine answers, warns with or logs
// on messages.md, and nothing there that the engine does not say. On the
// page an ellipsis stands for what is filled in; one at the end of a long entry
// stands for the rest.
func TestEveryMessage(t *testing.T) {
	t.Parallel()
	said := messages(t)
	if len(said) < 120 {
		t.Errorf("only %d messages were found in the source", len(said))
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| *([^|]*?) *\\|$").FindAllStringSubmatch(readPage(t, "../docs/messages.md"), -1) {
		if listed[row[1]] {
			t.Errorf("the page has %q twice", row[1])
		}
		listed[row[1]] = true
	}
	covered := map[string]bool{}
	for text, at := range said {
		entry := text
		if !listed[entry] {
			for e := range listed {
				if begins, cut := strings.CutSuffix(e, " …"); cut && len(begins) >= 40 && strings.HasPrefix(text, begins) {
					entry = e
				}
			}
		}
		if !listed[entry] {
			t.Errorf("%s says what is not on the page: | `%s` |", at, text)
		}
		covered[entry] = true
	}
	for entry := range listed {
		if !covered[entry] {
			t.Errorf("the engine does not say %q, which is on the page", entry)
		}
	}
}

var verb = regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]`)

// messages are the texts of the source that a user or operator gets to see, with
// an ellipsis for what is filled in, and where each is.
func messages(t *testing.T) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	var source []*ast.File
	for _, name := range sources(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, file)
	}
	f := folder{}
	for _, file := range source {
		ast.Inspect(file, f.constants)
	}
	said := map[string]string{}
	say := func(e ast.Expr, words int) {
		text := strings.ReplaceAll(verb.ReplaceAllString(f.fold(e), "…"), "%%", "%")
		for strings.Contains(text, "……") {
			text = strings.ReplaceAll(text, "……", "…")
		}
		if regexp.MustCompile(`[A-Za-z]{2}`).MatchString(text) && len(strings.Fields(text)) >= words {
			said[text] = fmt.Sprint(files.Position(e.Pos()))
		}
	}
	for _, file := range source {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr: // the description of a field is no message
				key, ok := n.Key.(*ast.Ident)
				if ok && (key.Name == "failing" || key.Name == "well") { // of the table of failures
					say(n.Value, 1)
				}
				return !ok || key.Name != "Description"
			case *ast.CallExpr:
				switch name := called(n); name {
				case "fmt.Errorf", "errors.New", "refuse", "Refuse", "logical.ErrorResponse", "resp.AddWarning", "seeAlso", "answer", "Warn", "Log.Warn", "Error":
					if len(n.Args) > 0 {
						say(n.Args[0], 1)
					}
				case "logical.CodedError":
					say(n.Args[1], 1)
				case "n.conclude": // says what was being done
					say(n.Args[1], 1)
				case "refusedIfUnused":
					say(n.Args[1], 1)
				case "fmt.Sprintf":
					say(n.Args[0], 4)
				case "append":
					for _, e := range n.Args[1:] {
						say(e, 4)
					}
				}
			case *ast.CompositeLit:
				if list, ok := n.Type.(*ast.ArrayType); ok && fmt.Sprint(list.Elt) == "string" {
					for _, e := range n.Elts {
						say(e, 4)
					}
				}
			}
			return true
		})
	}
	return said
}

// sources are the files of the packages that talk to users and operators.
func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.go", "policy/*.go", "ram/*.go", "rotation/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files (%v)", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	return files
}

// called names what is called, as far as messages can tell it apart.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		if x, ok := f.X.(*ast.CallExpr); ok && strings.HasSuffix(called(x), "Logger") {
			return f.Sel.Name // of a logger
		}
		if x, ok := f.X.(*ast.SelectorExpr); ok {
			return x.Sel.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// folder holds the constants of the package that are texts.
type folder map[string]string

func (f folder) constants(n ast.Node) bool {
	if spec, ok := n.(*ast.ValueSpec); ok {
		for i, name := range spec.Names {
			if i < len(spec.Values) {
				if text := f.fold(spec.Values[i]); text != "…" {
					f[name.Name] = text
				}
			}
		}
	}
	return true
}

// fold is the text of an expression, as far as the source tells it.
func (f folder) fold(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.ParenExpr:
		return f.fold(e.X)
	case *ast.Ident:
		if text, known := f[e.Name]; known {
			return text
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return f.fold(e.X) + f.fold(e.Y)
		}
	case *ast.CallExpr:
		if slices.Contains([]string{"fmt.Sprintf", "seeAlso"}, called(e)) {
			return f.fold(e.Args[0])
		}
	}
	return "…"
}

// TestErrorsLink wants one link from each failure that is not about the request,
// to a heading that is there.
func TestErrorsLink(t *testing.T) {
	t.Parallel()
	_, source := alicreds.NewRAMRoleARN(nil, alicreds.RAMRoleARNOptions{RoleARN: "not an ARN"})
	if source == nil {
		t.Fatal("an ARN that is none was taken")
	}
	failures := map[string]error{
		"unknown code":    &openapi.Error{Action: "CreateUser", Code: "Some.NewCode", Status: 400},
		"throttled":       &openapi.Error{Action: "CreateUser", Code: "Throttling.User", Status: 400},
		"302":             &openapi.Error{Action: "AssumeRole", Status: 302},
		"500":             &openapi.Error{Action: "CreateUser", Code: "InternalError", Status: 500},
		"no code":         &openapi.Error{Action: "CreateUser", Status: 403},
		"not JSON":        &openapi.Error{Action: "CreateUser", Status: 200},
		"network":         &openapi.NetworkError{Action: "CreateUser", Host: "ram.aliyuncs.com", Err: io.EOF},
		"deadline":        context.DeadlineExceeded,
		"storage":         errors.New("storage is full"),
		"key gone":        rotation.ErrKeyGone,
		"source":          source,
		"source, refused": &alicreds.Error{Source: "ram_role_arn/access_key", Err: &openapi.Error{Action: "AssumeRole", Code: "NoPermission", Status: 403}},
		"source, no code": &alicreds.Error{Source: "ecs_ram_role", Err: &openapi.Error{Action: "AssumeRole", Code: "Some.NewCode", Status: 400}},
		"several":         errors.Join(&openapi.Error{Action: "DetachPolicyFromUser", Code: "NoPermission", Status: 403}, io.EOF),
	}
	for code := range backend.Fixes {
		failures[code] = &openapi.Error{Action: "CreateUser", Code: code, Status: 403}
	}
	link := regexp.MustCompile(`https://github.com/\S+/(docs/[a-z-]+\.md)#([a-z0-9_-]+)`)
	for name, failure := range failures {
		resp, err := backend.Answer("doing something", failure)
		text := fmt.Sprint(err)
		if resp.IsError() {
			text = resp.Error().Error()
		}
		for _, text := range []string{text, backend.RotationFailure(failure)} {
			found := link.FindAllStringSubmatch(text, -1)
			if len(found) != 1 {
				t.Errorf("%s: %d links in %q", name, len(found), text)
			} else if !slices.Contains(anchors(readPage(t, "../"+found[0][1])), found[0][2]) {
				t.Errorf("%s: %s has no heading %s", name, found[0][1], found[0][2])
			}
		}
	}
	// Refusals of the engine itself say what to do.
	for _, text := range []string{backend.Explained(backend.Refuse("delete one key")), backend.RotationFailure(backend.Refuse("delete one key"))} {
		if text != "delete one key" {
			t.Errorf("a refusal became %q", text)
		}
	}
	for _, anchor := range []string{"#leases-that-do-not-end", "#rotation", "#no-answer", "#any-other-code", "#throttling"} {
		if !slices.Contains(anchors(readPage(t, "../docs/troubleshooting.md")), strings.TrimPrefix(anchor, "#")) {
			t.Errorf("troubleshooting.md has no heading %s", anchor)
		}
	}
}

// The error of a lease that does not end links to what can be done about it.
func TestRevokeErrorsLink(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", leastUser)
	secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
	m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: "DeleteUser", Code: "NoPermission", Status: 403})
	_, refused := m.revokeLease(secret)
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	_, unconfigured := m.revokeLease(secret)
	for _, err := range []error{refused, unconfigured} {
		if err == nil || strings.Count(err.Error(), "docs/troubleshooting.md#leases-that-do-not-end") != 1 {
			t.Errorf("revoking: %v", err)
		}
	}
}
