package alicreds_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// What docs/from-the-siblings.md shows: TestSiblingsPage finds its code here.

func fromConfig(ctx context.Context, use func(id, secret, token string)) error {
	provider, err := alicreds.New(alicreds.Config{
		Type:            "ram_role_arn",
		AccessKeyID:     "LTAI5texample",
		AccessKeySecret: "example",
		RoleARN:         "acs:ram::1234567890123456:role/deploy",
	})
	if err != nil {
		return err
	}
	cache := alicreds.NewCache(provider, alicreds.CacheOptions{}) // one for the whole program
	defer cache.Close()

	c, err := cache.Retrieve(ctx)
	if err != nil {
		return err
	}
	use(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)
	return nil
}

func chainOfRoles() error {
	key, err := alicreds.NewAccessKey("LTAI5texample", "example")
	if err != nil {
		return err
	}
	hub, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{RoleARN: "acs:ram::1234567890123456:role/hub"})
	if err != nil {
		return err
	}
	hubCache := alicreds.NewCache(hub, alicreds.CacheOptions{})
	defer hubCache.Close()
	spoke, err := alicreds.NewRAMRoleARN(hubCache, alicreds.RAMRoleARNOptions{RoleARN: "acs:ram::2345678901234567:role/spoke"})
	if err != nil {
		return err
	}
	spokeCache := alicreds.NewCache(spoke, alicreds.CacheOptions{})
	defer spokeCache.Close()
	return nil
}

func Example_fromTheSiblings() {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel() // so that no call is made
	fmt.Println(fromConfig(cancelled, nil))
	fmt.Println(chainOfRoles())
	// Output:
	// waiting for credentials: context canceled
	// <nil>
}

// TestSiblingsPage holds the page to the code: its examples are compiled,
// and no field of Config and no variable is left out.
func TestSiblingsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/from-the-siblings.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("siblings_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	trimmed := func(text string) string {
		return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "")
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Error("the page has no Go code")
	}
	for _, block := range blocks {
		if !strings.Contains(trimmed(string(source)), trimmed(block[1])) {
			t.Errorf("this code of the page is not compiled:\n%s", block[1])
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range regexp.MustCompile(`"(ALI[A-Z]*_[A-Z0-9_]+)"`).FindAllSubmatch(text, -1) {
			if !strings.HasSuffix(file, "_test.go") && !strings.Contains(string(page), "`"+string(variable[1])+"`") {
				t.Errorf("the page does not have %s", variable[1])
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[alicreds.Config]()) {
		if !field.IsExported() {
			continue
		}
		if name := field.Tag.Get("json"); name != "-" && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page does not have %s", name)
		}
		if !strings.Contains(string(page), "`"+field.Name+"`") {
			t.Errorf("the page does not have Config.%s", field.Name)
		}
	}
}
