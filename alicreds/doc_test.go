package alicreds_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// What the package comments, openapi's too, and the troubleshooting page show:
// TestDocCode finds their code here.

func docRole(ctx context.Context, id, secret, roleARN string, use func(id, secret, token string)) error {
	key, err := alicreds.NewAccessKey(id, secret)
	if err != nil {
		return err
	}
	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{RoleARN: roleARN})
	if err != nil {
		return err
	}
	cache := alicreds.NewCache(role, alicreds.CacheOptions{}) // one for the whole program
	defer cache.Close()

	c, err := cache.Retrieve(ctx)
	if err != nil {
		return err
	}
	use(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)
	return nil
}

func docChain() error {
	chain, err := alicreds.Default(alicreds.DefaultOptions{})
	if err != nil {
		return err
	}
	cache := alicreds.NewCache(chain, alicreds.CacheOptions{})
	defer cache.Close()
	return nil
}

func docCached() (*alicreds.Cache, error) {
	cache, err := alicreds.NewCached(alicreds.Config{Type: "default"}, alicreds.CacheOptions{})
	return cache, err
}

func docErrors(err error, log *log.Logger) {
	var failure *alicreds.Error
	var refused *openapi.Error
	switch {
	case errors.Is(err, alicreds.ErrUnavailable):
		log.Print("nothing is set up here: ", err)
	case errors.As(err, &refused) && refused.NotExist():
		log.Print("the role is gone; tell support about request ", refused.RequestID)
	case errors.As(err, &failure) && failure.Temporary():
		log.Print("try again later: ", err)
	case errors.As(err, &failure):
		log.Print(failure.Source, " needs a look: ", failure.Help())
	}
}

func docEnvironment() error {
	provider, err := alicreds.New(alicreds.Config{
		Type:   "access_key",
		Getenv: func(string) string { return "" }, // the configuration alone counts
	})
	if provider != nil {
		return errors.New("there are no keys")
	}
	return err
}

func docCall(ctx context.Context, keys openapi.Keys) error {
	client, err := openapi.New(openapi.Options{})
	if err != nil {
		return err
	}
	var answer struct{ User struct{ UserName string } }
	err = client.Do(ctx, openapi.Request{
		Endpoint:   "ram.aliyuncs.com",
		Action:     "GetUser",
		Version:    "2015-05-01",
		Params:     map[string]string{"UserName": "alice"},
		Keys:       keys, // Credentials.Keys of package alicreds
		Repeatable: true, // to read twice does no harm
	}, &answer)
	return err
}

func pageErrors(err error, log *log.Logger) {
	var failure *alicreds.Error
	if errors.As(err, &failure) {
		log.Println(failure, failure.Help(), failure.Temporary())
	}
}

func pageCaller(ctx context.Context, c alicreds.Credentials) error {
	id, err := alicreds.CallerIdentity(ctx, c.Keys(), alicreds.STSOptions{})
	if id != (alicreds.Identity{}) {
		return nil
	}
	return err
}

// TestDocCode runs the code of the package comments and of the
// troubleshooting page, and finds all of it in this file.
func TestDocCode(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel() // so that no call is made
	if cache, err := docCached(); err != nil {
		t.Error(err)
	} else {
		cache.Close()
	}
	if err := docRole(cancelled, "LTAI5tfake", "fake", roleARN, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := docCall(cancelled, openapi.Keys{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := docChain(); err != nil {
		t.Error(err)
	}
	wantError(t, docEnvironment(), "access_key_id")
	wantError(t, pageCaller(t.Context(), alicreds.Credentials{}), "no AccessKey")
	var lines bytes.Buffer
	lineLog := log.New(&lines, "", 0)
	for _, err := range []error{
		fmt.Errorf("%w: nowhere", alicreds.ErrUnavailable),
		&openapi.Error{Code: "EntityNotExist.Role", RequestID: "R-1"},
		&alicreds.Error{Source: "ram_role_arn", Err: &openapi.NetworkError{Err: errors.New("no route")}},
		&alicreds.Error{Source: "ram_role_arn", Err: errors.New("the role ARN is empty")},
	} {
		docErrors(err, lineLog)
		pageErrors(err, lineLog)
	}
	if n := strings.Count(lines.String(), "\n"); n != 6 {
		t.Errorf("%d lines:\n%s", n, &lines)
	}

	own, err := os.ReadFile("doc_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/alicreds-troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, file := range []string{"doc.go", "openapi/client.go"} {
		doc, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, regexp.MustCompile(`(?m)(^\t.*\n|^\n)+`).FindAllString(doc.Doc.Text(), -1)...)
	}
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		blocks = append(blocks, block[1])
	}
	if len(blocks) < 6 {
		t.Fatalf("%d blocks of code", len(blocks))
	}
	flat := func(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }
	for _, block := range blocks {
		if !strings.Contains(flat(string(own)), strings.TrimSpace(flat(block))) {
			t.Errorf("this code is not compiled:\n%s", block)
		}
	}
}

// TestExamples wants an example and a place in the package comment for every
// constructor of a provider.
func TestExamples(t *testing.T) {
	t.Parallel()
	read := func(pattern string) (text string) {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if pattern == "*_test.go" || !strings.HasSuffix(file, "_test.go") {
				text += string(source)
			}
		}
		return text
	}
	examples, code, doc := read("*_test.go"), read("*.go"), read("doc.go")
	constructors := regexp.MustCompile(`(?m)^func (New\w*|Default)\(.*error\) \{|^func (NewEnvironment|NewCache|NewChain)\(`).FindAllStringSubmatch(code, -1)
	if len(constructors) < 17 {
		t.Fatalf("%d constructors", len(constructors))
	}
	for _, c := range constructors {
		name := c[1] + c[2]
		if name == "NewMetadata" {
			continue // makes what NewECSRAMRole takes, whose example shows it
		}
		body := regexp.MustCompile(`(?ms)^func Example` + name + `(?:_\w+)?\(\) \{.*?^\}`).FindString(examples)
		if !strings.Contains(body, "// Output:") {
			t.Errorf("%s has no example with output", name)
		}
		if name != "NewCache" && name != "NewChain" && !strings.Contains(doc, "["+name+"]") {
			t.Errorf("the package comment does not lead to %s", name)
		}
	}
}
