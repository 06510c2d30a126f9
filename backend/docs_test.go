package backend_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

const apiPage = "../docs/api.md"

// TestAPIExamples runs every console block of docs/api.md and of
// docs/credential-types.md, in order, and compares the answers with those on the
// page. The second has a diagram and an example for each credential type.
func TestAPIExamples(t *testing.T) { // not parallel: it sets the environment
	bareEnvironment(t)
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", alisim.DefaultAccessKeyID)
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", alisim.DefaultAccessKeySecret)
	for page, least := range map[string]int{apiPage: 60, typesPage: 25} {
		c := newConsole(t)
		examples := 0
		for n, block := range strings.Split(readPage(t, page), "```console\n") {
			block, _, closed := strings.Cut(block, "```\n")
			if n == 0 || !closed {
				continue
			}
			for _, example := range strings.Split("\n"+block, "\n$ ")[1:] {
				examples++
				c.run(example)
			}
		}
		if examples < least {
			t.Errorf("%s has %d examples only", page, examples)
		}
	}
}

// typesAt are the credential types that a path takes.
func typesAt(t *testing.T, path string) (types []string) {
	t.Helper()
	for _, value := range newEmptyMount(t).route(path).Fields["credential_type"].AllowedValues {
		types = append(types, value.(string))
	}
	return types
}

const typesPage = "../docs/credential-types.md"

// TestCredentialTypesPage wants a section for each type, with a diagram, an
// example that writes it where it may stand, and no section of anything else.
func TestCredentialTypesPage(t *testing.T) {
	t.Parallel()
	text := readPage(t, typesPage)
	sections := map[string]string{}
	for _, part := range strings.Split(text, "\n## ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		sections[name] = body
	}
	// These need no credential_type.
	implied := map[string]string{"config" + "access_key": "access_key", "role/" + "ram_role_arn": "role_arn", "role/" + "ram_user": "remote_policies"}
	known := map[string]bool{}
	for place, types := range map[string][]string{"config": typesAt(t, "config"), "role/": typesAt(t, "role/any")} {
		for _, name := range types {
			known[name] = true
			if strings.Count(sections[name], "```mermaid\n") != 1 {
				t.Errorf("%s has no diagram", name)
			}
			says := "credential_type=" + name
			if field := implied[place+name]; field != "" {
				says = field + "="
			}
			if !regexp.MustCompile(`\$ vault write alicloud/` + place + `[^$]*\b` + says).MatchString(sections[name]) {
				t.Errorf("%s has no example that writes it to %s", name, place)
			}
		}
	}
	for name := range sections {
		if !known[name] {
			t.Errorf("the page has a section %s, which is no type", name)
		}
	}
}

// console is a shell that knows the commands of the page, and a mount of them.
type console struct {
	*mount
	began time.Time
	files map[string]string // what @name stands for
	local map[string]string // what the page writes, and what stands for it here
}

func newConsole(t *testing.T) *console {
	t.Helper()
	began := time.Now()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	seed := alisim.SourcesSeed()
	seed.Accounts[0].Users[0].KeyPairs = []alisim.KeyPair{{
		ID: "kp-fake", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}}
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy-app"})
	m := newSeededMount(t, seed)
	m.must(logical.UpdateOperation, "config", m.simConfig())
	m.must(logical.UpdateOperation, "role/session", map[string]any{"role_arn": roleARN})
	session := m.must(logical.ReadOperation, "creds/session", nil).Data
	m.must(logical.DeleteOperation, "role/session", nil)
	m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
	c := &console{mount: m, began: began, files: map[string]string{
		"secret.txt": alisim.DefaultAccessKeySecret, "legacy.txt": "fake-legacy-secret", "bearer.txt": "fake-bearer-token",
		"key.pem": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}, local: map[string]string{
		"/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token": m.tokenFile(),
		"http://127.0.0.1:7002":                                   m.sim.CredentialsURL,
	}}
	for field, value := range session {
		c.files["session/"+field] = value.(string)
	}
	return c
}

var curl = regexp.MustCompile(`^curl -s -H "X-Vault-Token: \$VAULT_TOKEN" -X (\w+) \$VAULT_ADDR/v1/alicloud/(\S+)$`)

// run runs one command and compares what it answers with what follows it.
func (c *console) run(example string) {
	c.t.Helper()
	command, want, _ := strings.Cut(strings.ReplaceAll(example, "\\\n", ""), "\n")
	want = strings.TrimSpace(want)
	var words []string
	if m := curl.FindStringSubmatch(command); m != nil {
		words = []string{"vault", strings.ToLower(m[1]), "-format=json", "alicloud/" + m[2]}
	} else {
		words = splitWords(c.t, command)
	}
	operations := map[string]logical.Operation{
		"write": logical.UpdateOperation, "read": logical.ReadOperation, "list": logical.ListOperation, "delete": logical.DeleteOperation,
	}
	op, known := operations[words[1]]
	words = slices.DeleteFunc(words[2:], func(w string) bool { return w == "-format=json" || w == "-f" })
	path, ours := strings.CutPrefix(words[0], "alicloud/")
	if !known || !ours {
		c.t.Fatalf("the command is not understood: %s", command)
	}
	if op == logical.ListOperation {
		path = strings.TrimSuffix(path, "/") + "/"
	}
	data := c.data(words[1:])
	if path == "config" && op == logical.UpdateOperation && data["network"] == nil {
		for field, value := range c.simConfig() { // the cloud is simulated
			if strings.HasSuffix(field, "_endpoint") || field == "ca_certificate" {
				data[field] = value
			}
		}
		data["ims_endpoint"] = c.sim.URL
	}
	resp, err := c.request(op, path, data)
	got := c.print(op, path, resp, err)
	wanted := any(want)
	if strings.HasPrefix(want, "{") {
		wanted = decoded(c.t, want)
	}
	if difference := differ("", wanted, got, time.Since(c.began)); difference != "" {
		shown, _ := json.MarshalIndent(got, "", "  ")
		c.t.Errorf("$ %s\n%s\nthe answer is\n%s", command, difference, shown)
	}
}

func (c *console) data(pairs []string) map[string]any {
	data := map[string]any{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if name, file := strings.CutPrefix(value, "@"); file {
			if c.files[name] == "" {
				c.t.Fatalf("the file %s is not known", name)
			}
			value = c.files[name]
		}
		for page, here := range c.local {
			value = strings.Replace(value, page, here, 1)
		}
		if key == "remote_policies" { // the CLI gives a single value as text, and several as a list; Vault makes a list of either
			before, _ := data[key].([]string)
			data[key] = append(before, value)
			continue
		}
		data[key] = value
	}
	return data
}

// print is what the CLI prints: text, or the JSON without what is empty.
func (c *console) print(op logical.Operation, path string, resp *logical.Response, err error) any {
	code, text := 0, ""
	switch {
	case errors.Is(err, logical.ErrUnsupportedOperation):
		code, text = 405, err.Error()
	case errors.Is(err, logical.ErrUpstreamRateLimited):
		code, text = 502, resp.Error().Error()
	case err != nil:
		code, text = 500, err.Error()
	case resp.IsError():
		code, text = 400, resp.Error().Error()
	}
	switch {
	case code != 0:
		return fmt.Sprintf("Code: %d. Errors:\n\n* %s", code, text)
	case resp == nil && op == logical.ReadOperation:
		return "No value found at alicloud/" + path
	case resp == nil && op == logical.DeleteOperation:
		return "Success! Data deleted (if it existed) at: alicloud/" + path
	case resp == nil:
		return "Success! Data written to: alicloud/" + path
	}
	out := map[string]any{}
	if len(resp.Data) > 0 {
		out["data"] = c.asOnPage(resp.Data)
	}
	if len(resp.Warnings) > 0 {
		out["warnings"] = resp.Warnings
	}
	if resp.Secret != nil {
		ttl := resp.Secret.TTL
		if ttl == 0 {
			ttl = c.System().DefaultLeaseTTL()
		}
		out["lease_id"], out["lease_duration"], out["renewable"] = "alicloud/"+path+"/random", ttl.Seconds(), resp.Secret.Renewable
	}
	return throughJSON(c.t, out)
}

// asOnPage replaces what is only so here.
func (c *console) asOnPage(data map[string]any) map[string]any {
	for field, value := range data {
		text, ok := value.(string)
		if !ok {
			continue
		}
		for page, here := range c.local {
			text = strings.Replace(text, here, page, 1)
		}
		if text == c.sim.URL || field == "ca_certificate" {
			text = ""
		}
		data[field] = text
	}
	return data
}

// differ says where got is not what is wanted, in which an ellipsis stands for
// any text and a table of keys for their list. passed is how long the page has been
// run: so much may be missing of what is left of something.
func differ(at string, want, got any, passed time.Duration) string {
	switch w := want.(type) {
	case string:
		if g, ok := got.(map[string]any); ok && strings.HasPrefix(w, "Keys\n----\n") {
			data, _ := g["data"].(map[string]any)
			return differ("keys", strings.Split(strings.TrimPrefix(w, "Keys\n----\n"), "\n"), data["keys"], passed)
		}
		g, ok := got.(string)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(w), "…", "(?s:.*)")
		if ok && regexp.MustCompile("^"+pattern+"$").MatchString(g) {
			return ""
		}
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for key := range g {
			if _, there := w[key]; !there {
				return fmt.Sprintf("%s.%s is not on the page", at, key)
			}
		}
		for key, value := range w {
			if _, there := g[key]; !there {
				return fmt.Sprintf("%s.%s is not in the answer", at, key)
			}
			if d := differ(at+"."+key, value, g[key], passed); d != "" {
				return d
			}
		}
		return ""
	case []string:
		list := make([]any, len(w))
		for n := range w {
			list[n] = w[n]
		}
		return differ(at, list, got, passed)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for n := range w {
			if d := differ(fmt.Sprintf("%s[%d]", at, n), w[n], g[n], passed); d != "" {
				return d
			}
		}
		return ""
	case float64:
		// A session's lease ends with it, and STS counts whole seconds; a static key's time runs.
		if g, ok := got.(float64); ok && (g == w || (at == ".lease_duration" || at == ".data.ttl") && g > w-2-passed.Seconds() && g < w) {
			return ""
		}
	default:
		if reflect.DeepEqual(want, got) {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, and on the page %v", at, got, want)
}

// splitWords splits a command as a shell does, with both kinds of quotes.
func splitWords(t *testing.T, command string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range command {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, open = r, true
		case quote == 0 && r == ' ':
			if open {
				words = append(words, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 {
		t.Fatalf("a quote is open in %s", command)
	}
	if open {
		words = append(words, word.String())
	}
	if len(words) < 3 || words[0] != "vault" {
		t.Fatalf("the command is not understood: %s", command)
	}
	return words
}

// TestAPIFields holds the tables of docs/api.md to the schemas: the same paths,
// the same fields, types and defaults, and every allowed value named.
func TestAPIFields(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "config", map[string]any{"access_key": "LTAI5tFAKE", "secret_key": "fake"})
	sections := apiSections(readPage(t, apiPage))
	role := map[string]any{} // what roles of all types answer, where nothing is given that they do not need
	for _, plain := range []map[string]any{
		{"role_arn": roleARN}, {"credential_type": "ram_role", "remote_policies": "name:ReadOnlyAccess,type:System"}, {"credential_type": "ecs_ram_role"},
		{"remote_policies": "name:ReadOnlyAccess,type:System"}, {"remote_policies": "name:ReadOnlyAccess,type:System", "console_login": true},
		{"credential_type": "oidc_role_arn", "role_arn": roleARN, "oidc_provider_arn": alisim.DefaultOIDCProviderARN, "identity_token_audience": "sts"},
	} {
		m.must(logical.UpdateOperation, "role/plain", plain)
		for field, value := range m.must(logical.ReadOperation, "role/plain", nil).Data {
			if _, given := plain[field]; !given {
				role[field] = value
			}
		}
		m.must(logical.DeleteOperation, "role/plain", nil)
	}
	m.must(logical.UpdateOperation, "config", map[string]any{"connect_timeout": 0, "timeout": 0}) // which tests stretch
	static := newSeededMount(t, seedWith(alisim.User{Name: "legacy-app"}))
	static.must(logical.UpdateOperation, "config", static.simConfig())
	static.must(logical.UpdateOperation, "static-role/plain", map[string]any{"username": "legacy-app", "rotation_period": "720h"})
	defaults := map[string]map[string]any{
		"config":      m.must(logical.ReadOperation, "config", nil).Data,
		"role/<name>": role,

		"static-role/<name>": static.must(logical.ReadOperation, "static-role/plain", nil).Data,
	}
	seen := map[string]bool{}
	for _, p := range backend.Paths(m.Backend) {
		name := pathName(p.Pattern)
		s, there := sections[name]
		if !there {
			t.Errorf("the path %s is not on the page", name)
			continue
		}
		seen[name] = true
		for field, schema := range p.Fields {
			row, there := s.fields[field]
			if !there {
				t.Errorf("%s: the field %s is not on the page", name, field)
				continue
			}
			if want := typeName(schema.Type); row.kind != want {
				t.Errorf("%s: %s is of type %q on the page, and %q in the schema", name, field, row.kind, want)
			}
			for _, value := range schema.AllowedValues {
				if !strings.Contains(row.meaning, fmt.Sprintf("`%v`", value)) {
					t.Errorf("%s: %s may be %v, which the page does not say", name, field, value)
				}
			}
			value, read := defaults[name][field]
			switch want := strings.Trim(row.standard, "`"); {
			case want == "":
			case want == "—":
				if read {
					t.Errorf("%s: %s is read back", name, field)
				}
			case !read && name == "role/<name>" && slices.Contains([]string{`""`, "[]"}, want): // a type needs it
			case !read:
				t.Errorf("%s: %s is not read back, and has the default %s on the page", name, field, want)
			default:
				if got, _ := json.Marshal(value); string(got) != want {
					t.Errorf("%s: the default of %s is %s, and on the page %s", name, field, got, want)
				}
			}
		}
		for field := range s.fields {
			if p.Fields[field] == nil {
				t.Errorf("%s: the page has a field %s, which the schema has not", name, field)
			}
		}
		answered := map[string]*framework.FieldSchema{}
		for _, o := range p.Operations {
			for _, responses := range o.Properties().Responses {
				for _, r := range responses {
					for field, schema := range r.Fields {
						answered[field] = schema
					}
				}
			}
		}
		for field := range answered {
			if s.answers[field].meaning == "" && s.fields[field].meaning == "" {
				t.Errorf("%s: %s is answered and not on the page", name, field)
			}
		}
		for field, row := range s.answers {
			switch schema := answered[field]; {
			case schema == nil:
				t.Errorf("%s: the page has an answer %s, which the schema has not", name, field)
			case row.kind != strings.TrimSuffix(typeName(schema.Type), ", no commas"):
				t.Errorf("%s: the answer %s is of type %q on the page, and %q in the schema", name, field, row.kind, typeName(schema.Type))
			}
		}
	}
	for name := range sections {
		if !seen[name] {
			t.Errorf("the page has a path %s, which the engine has not", name)
		}
	}
}

type apiRow struct{ kind, standard, meaning string }

type apiSection struct{ fields, answers map[string]apiRow }

// apiSections reads the tables of the sections that have a path for a heading.
func apiSections(text string) map[string]apiSection {
	sections := map[string]apiSection{}
	quoted := regexp.MustCompile("`([a-z_0-9]+)`")
	for _, part := range strings.Split(text, "\n## `")[1:] {
		name, body, _ := strings.Cut(part, "`\n")
		s := apiSection{map[string]apiRow{}, map[string]apiRow{}}
		var to map[string]apiRow
		for line := range strings.SplitSeq(body, "\n") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for n := range cells {
				cells[n] = strings.TrimSpace(cells[n])
			}
			switch {
			case !strings.HasPrefix(line, "|"):
				to = nil
			case len(cells) == 4 && cells[0] == "field":
				to = s.fields
			case len(cells) == 3 && cells[0] == "answer":
				to = s.answers
			case to != nil:
				row := apiRow{kind: cells[1], meaning: cells[len(cells)-1]}
				if len(cells) == 4 {
					row.standard = cells[2]
				}
				for _, field := range quoted.FindAllStringSubmatch(cells[0], -1) {
					to[field[1]] = row
				}
			}
		}
		sections[name] = s
	}
	return sections
}

// pathName writes a pattern as the documentation does.
func pathName(pattern string) string {
	name := strings.Replace(strings.TrimPrefix(pattern, "^"), framework.GenericNameRegex("name"), "<name>", 1)
	return strings.TrimSuffix(strings.TrimSuffix(name, "?$"), "$")
}

func typeName(t framework.FieldType) string {
	switch t {
	case framework.TypeString, framework.TypeLowerCaseString, framework.TypeNameString:
		return "string"
	case framework.TypeDurationSecond, framework.TypeSignedDurationSecond:
		return "duration"
	case framework.TypeInt, framework.TypeInt64:
		return "integer"
	case framework.TypeBool:
		return "boolean"
	case framework.TypeCommaStringSlice:
		return "list"
	case framework.TypeStringSlice:
		return "list, no commas"
	case framework.TypeSlice:
		return "list"
	case framework.TypeMap:
		return "map"
	case framework.TypeTime:
		return "time"
	}
	return t.String()
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestHelpAnchors wants a heading for each link in the code of the engine; those
// of the codes that errors link to are TestErrorsLink's.
func TestHelpAnchors(t *testing.T) {
	t.Parallel()
	for _, source := range sources(t) {
		for _, link := range regexp.MustCompile(`docs/([a-z-]+\.md)#([a-z0-9_-]+)`).FindAllStringSubmatch(readPage(t, source), -1) {
			if !slices.Contains(anchors(readPage(t, "../docs/"+link[1])), link[2]) {
				t.Errorf("%s links to %s, which has no such heading", source, link[0])
			}
		}
	}
}

// Errors of RAM link to the page of the engine, those of alicreds to theirs.
func TestErrorsLinkOnce(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/ci", leastUser)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	for name, tc := range map[string]struct{ action, page string }{
		"ci":     {"CreateUser", "/docs/troubleshooting.md#nopermission"},
		"deploy": {"AssumeRole", "/docs/alicreds-troubleshooting.md#no-permission"},
	} {
		m.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: tc.action, Code: "NoPermission", Status: 403})
		resp, err := m.request(logical.ReadOperation, "creds/"+name, nil)
		if err != nil || !resp.IsError() {
			t.Fatalf("%v %v", resp, err)
		}
		if text := resp.Error().Error(); strings.Count(text, "troubleshooting.md#") != 1 || !strings.Contains(text, tc.page) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// docsPages are the pages of docs, and of the folders in it.
func docsPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("%d pages (%v)", len(pages), err)
	}
	tutorials, err := filepath.Glob("../docs/*/*.md")
	if err != nil || len(tutorials) == 0 {
		t.Fatalf("%d tutorials (%v)", len(tutorials), err)
	}
	return append(pages, tutorials...)
}

// TestDocsIndex wants each page once in the index of docs.
func TestDocsIndex(t *testing.T) {
	t.Parallel()
	const index = "../docs/README.md"
	text := readPage(t, index)
	for _, page := range docsPages(t) {
		link := "](" + strings.TrimPrefix(page, "../docs/") + ") |"
		if n := strings.Count(text, link); page != index && n != 1 {
			t.Errorf("docs/README.md names %s %d times, want once", page, n)
		}
	}
}

// TestTroubleshootingIsShort: somebody reads that page while something is broken.
func TestTroubleshootingIsShort(t *testing.T) {
	t.Parallel()
	words := 0
	for _, word := range strings.Fields(readPage(t, "../docs/troubleshooting.md")) {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			words++
		}
	}
	if words > 2500 {
		t.Errorf("docs/troubleshooting.md has %d words, more than 2500: what is about one feature goes to its page", words)
	}
}

// TestDocsLinks follows the links of the documentation to files and headings.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	pages := docsPages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, "../README.md") {
		for _, found := range link.FindAllStringSubmatch(readPage(t, page), -1) {
			file, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			info, err := os.Stat(target)
			switch {
			case err != nil:
				t.Errorf("%s links to %s, which is not there", page, found[1])
			case anchor == "" || info.IsDir():
			case !slices.Contains(anchors(readPage(t, target)), anchor):
				t.Errorf("%s links to %s, which has no such heading", page, found[1])
			}
		}
	}
}

// TestDocsNames holds the names that the documentation puts between backticks
// to the repository: its files, in which <name> and * stand for any, and its
// tests. On contributing.md it wants what is written like a name of Go declared,
// in the file that the page says.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	files, declaredIn := repository(t)
	pages := docsPages(t)
	quoted, test := regexp.MustCompile("`([^`\n]+)`"), regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	ours := regexp.MustCompile(`^(?:adapters|alicreds|alisim|backend|bench|cmd|differential|docs|e2e|examples|scripts)/`)
	tag, declared := regexp.MustCompile(`/v\d+\.\d+\.\d+$`), regexp.MustCompile(`^(?:[A-Za-z]+\.)*([A-Za-z]+)$`)
	found := 0
	for _, page := range append(pages, "../README.md", "../CHANGELOG.md") {
		for _, match := range quoted.FindAllStringSubmatch(readPage(t, page), -1) {
			name, _, _ := strings.Cut(match[1], " ")
			switch begin := test.FindString(name); {
			case begin != "":
				wanted := func(n string) bool {
					return n == begin || strings.HasSuffix(name, "...") && strings.HasPrefix(n, begin)
				}
				if !slices.ContainsFunc(slices.Collect(maps.Keys(declaredIn)), wanted) {
					t.Errorf("%s names the test %s, which is not there", page, name)
				}
			case ours.MatchString(name) && !tag.MatchString(name), strings.HasSuffix(name, ".go"):
				if !slices.ContainsFunc(files, func(file string) bool { return isFile(name, file) }) {
					t.Errorf("%s names the file %s, which is not there", page, name)
				}
			case page == "../docs/contributing.md" && declared.MatchString(match[1]):
				if last := declared.FindStringSubmatch(name)[1]; declaredIn[last] == nil {
					t.Errorf("%s names %s, which nothing declares", page, name)
				}
			default:
				continue
			}
			found++
		}
	}
	placed := regexp.MustCompile("`(?:[A-Za-z]+\\.)*([A-Za-z]+)`(?:,? in|,? of)?\\s+\\(?`([a-z_/]+\\.go)`").
		FindAllStringSubmatch(readPage(t, "../docs/contributing.md"), -1)
	for _, p := range placed {
		if !slices.Contains(declaredIn[p[1]], p[2]) {
			t.Errorf("contributing.md says that %s is in %s, and not in %v", p[1], p[2], declaredIn[p[1]])
		}
	}
	if found < 200 || len(placed) < 40 {
		t.Errorf("only %d names were found on the pages, and %d with their files", found, len(placed))
	}
}

// isFile tells whether a name on a page is that of the file, or of a directory
// above it. A name without a directory is that of a file anywhere.
func isFile(name, file string) bool {
	pattern := regexp.MustCompile(`<\w+>`).ReplaceAllString(strings.TrimSuffix(name, "/"), "*")
	if !strings.Contains(name, "/") {
		return path.Base(file) == name
	}
	for ; file != "."; file = path.Dir(file) {
		if is, _ := path.Match(pattern, file); is {
			return true
		}
	}
	return false
}

// repository returns the files of all modules, and where their code declares
// each name: of packages, types and their fields and methods, functions,
// constants and variables.
func repository(t *testing.T) (files []string, declaredIn map[string][]string) {
	t.Helper()
	declaredIn = map[string][]string{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == ".." {
			return err
		}
		if base := d.Name(); d.IsDir() && (strings.HasPrefix(base, ".") || slices.Contains([]string{"bin", "dist", "node_modules"}, base)) {
			return fs.SkipDir
		}
		if d.IsDir() {
			return nil
		}
		slashed := filepath.ToSlash(strings.TrimPrefix(name, ".."+string(filepath.Separator)))
		files = append(files, slashed)
		if filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		declaredIn[file.Name.Name] = append(declaredIn[file.Name.Name], slashed)
		ast.Inspect(file, func(node ast.Node) bool {
			var declared []*ast.Ident
			switch n := node.(type) {
			case *ast.FuncDecl:
				declared = append(declared, n.Name)
			case *ast.TypeSpec:
				declared = append(declared, n.Name)
			case *ast.ValueSpec:
				declared = n.Names
			case *ast.Field:
				declared = n.Names
			}
			for _, ident := range declared {
				declaredIn[ident.Name] = append(declaredIn[ident.Name], slashed)
			}
			switch node.(type) {
			case *ast.BlockStmt, *ast.FuncType: // variables and parameters
				return false
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, declaredIn
}

// TestIgnoreChanges wants the same advice for Terraform wherever it is given:
// that of the example.
func TestIgnoreChanges(t *testing.T) {
	t.Parallel()
	advice := regexp.MustCompile(`ignore_changes = \[[^\]]*\]`)
	want := advice.FindString(readPage(t, "../examples/terraform/main.tf"))
	pages := []string{"../README.md"}
	for _, pattern := range []string{"../docs/*.md", "*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	given := 0
	for _, page := range pages {
		if strings.HasSuffix(page, "_test.go") {
			continue
		}
		for _, got := range advice.FindAllString(readPage(t, page), -1) {
			given++
			if got != want {
				t.Errorf("%s says %s, and the example %s", page, got, want)
			}
		}
	}
	if want == "" || given < 4 {
		t.Errorf("%d places say %q", given, want)
	}
}

// anchors are the headings of a page, as they are linked to.
func anchors(text string) []string {
	var all []string
	code := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if heading := strings.TrimLeft(line, "#"); !code && heading != line && strings.HasPrefix(heading, " ") {
			all = append(all, anchor(strings.TrimSpace(heading)))
		}
	}
	return all
}

// anchor makes the link of a heading: lower case, without punctuation.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}
