package backend_test

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// allocated is how many bytes f allocates: the least of three times, because what ends
// of a test before allocates too. Nothing else may run meanwhile: a test that asks is
// not parallel.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// megabytes are policy documents of a mebibyte, of the values that cost the most
// when they are decoded.
func megabytes() map[string]string {
	documents := map[string]string{}
	for name, one := range map[string]string{"numbers": "0,", "objects": "{},", "lists": "[],", "strings": `"",`} {
		documents[name] = `{"Version":"1","Statement":[` + strings.Repeat(one, 1<<20/len(one)) + `0]}`
	}
	documents["white space"] = `{"Version":"1",` + strings.Repeat(" ", 1<<20) + `"Statement":[]}`
	documents["nested"] = strings.Repeat("[", 1<<20)
	return documents
}

// attackMegabytes sends them all at once: a reader cannot stop the others.
func attackMegabytes(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
	var all sync.WaitGroup
	for _, document := range megabytes() {
		for range 10 {
			all.Go(func() {
				resp, err := m.Backend.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.ReadOperation, Path: "creds/deploy", Storage: m.process, Data: map[string]any{"policy": document},
				})
				if err != nil || !resp.IsError() {
					t.Error(resp, err)
				}
			})
		}
	}
	all.Wait()
	m.must(logical.ReadOperation, "creds/deploy", nil)
}

// A reader cannot take the plugin's memory: a document is measured first. Sixty
// of a mebibyte each once took 1.6 GB.
func TestMegabytesAreRefusedBeforeTheyAreRead(t *testing.T) { // not parallel: it measures memory
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
	for name, document := range megabytes() {
		var resp *logical.Response
		var err error
		n := allocated(func() {
			for range 60 {
				resp, err = m.Backend.HandleRequest(context.Background(), &logical.Request{
					Operation: logical.UpdateOperation, Path: "creds/deploy", Storage: m.process, Data: map[string]any{"policy": document},
				})
			}
		})
		if err != nil || !resp.IsError() || !strings.Contains(resp.Error().Error(), "policy has 1048") {
			t.Errorf("%s: %v %v", name, resp, err)
		}
		if n > 10<<20 { // a copy of each would be 60
			t.Errorf("%s: 60 requests allocate %d KiB", name, n>>10)
		}
		t.Logf("60 requests with a policy of 1 MiB, %s: %d KiB", name, n>>10)
	}
}

// What is within the bounds of a request, and not within those of the cloud, is
// measured before it is decoded.
func TestDocumentsAreMeasuredBeforeTheyAreDecoded(t *testing.T) { // not parallel: it measures memory
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
	document := `{"Version":"1","Statement":[` + strings.Repeat("{},", 21_000) + `{}]}`
	list := "[" + strings.Repeat("0,", 130_000) + "0]"
	for path, data := range map[string]map[string]any{
		"creds/deploy": {"policy": document},
		"role/deploy":  {"policy": document},
		"role/batch":   {"credential_type": "ram_role", "trust_policy": document},
		"role/ci":      {"inline_policies": "[" + document + "]"},
		"role/list":    {"inline_policies": list},
	} {
		n := allocated(func() { m.refused(logical.UpdateOperation, path, data, "") })
		if n > 2<<20 {
			t.Errorf("%s allocates %d KiB", path, n>>10)
		}
		t.Logf("%s: %d KiB", path, n>>10)
	}
}

// Every field of every path has a bound, and so has the request as a whole.
func TestEveryFieldOfARequestIsBounded(t *testing.T) { // not parallel: it measures memory
	m := newMount(t)
	large := strings.Repeat("a", 1<<20)
	many := make([]any, 1001)
	for n := range many {
		many[n] = "a"
	}
	named := regexp.MustCompile(`\(\?P<name>.*\)`)
	for _, path := range backend.Paths(m.Backend) {
		for _, op := range []logical.Operation{logical.ReadOperation, logical.UpdateOperation} {
			handler := path.Operations[op]
			if handler == nil {
				continue
			}
			at := strings.Trim(named.ReplaceAllString(path.Pattern, "deploy"), "^$")
			for field, schema := range path.Fields {
				for kind, value := range map[string]any{"text": large, "list": []any{"a", large}, "object": map[string]any{"a": large}, "deep": []any{[]any{large}}} {
					refuse := func(data map[string]any, text string) {
						t.Helper()
						req := &logical.Request{Operation: op, Path: at, Storage: m.process, Data: data}
						var resp *logical.Response
						var err error
						n := allocated(func() { resp, err = m.Backend.HandleRequest(context.Background(), req) })
						if err != nil || !resp.IsError() || !strings.Contains(resp.Error().Error(), text) {
							t.Errorf("%s %s, %s as %s: %v %v", op, at, field, kind, resp, err)
						}
						if n > 256<<10 {
							t.Errorf("%s %s, %s as %s: %d KiB allocated", op, at, field, kind, n>>10)
						}
					}
					refuse(map[string]any{field: value}, fmt.Sprintf("%s has 1048", field))
					if kind == "list" && schema.Type != framework.TypeString {
						refuse(map[string]any{field: many}, fmt.Sprintf("%s has 1001 entries", field))
					}
				}
			}
		}
	}
	m.refused(logical.UpdateOperation, "role/deploy", map[string]any{"role_arns": strings.Repeat("a,", 1000)}, "role_arns has 1001 entries")
	m.refused(logical.UpdateOperation, "role/deploy", map[string]any{"nobody": large}, "more than 524288 bytes together")
	m.refused(logical.UpdateOperation, "role/deploy", map[string]any{large: "nothing"}, "more than 524288 bytes together")
	m.refused(logical.ReadOperation, "creds/"+large, nil, "the path of the request has 1048582 bytes")
	m.refused(logical.ListOperation, "role/", map[string]any{"a": large}, "more than 524288 bytes together")
}

// What a role may hold fits into a request, however it is indented.
func TestLargestRoleFits(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	begin, end := `{"Version":"1","Statement":[{"Action":"`, `"}]}`
	document := "\n        " + begin + strings.Repeat("策", 6144-len(begin)-len(end)) + end + strings.Repeat(" ", 2000)
	m.must(logical.UpdateOperation, "role/ci", map[string]any{
		"inline_policies": "[" + strings.Repeat(document+",", 9) + document + "]",
	})
}
