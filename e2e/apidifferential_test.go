package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

var update = flag.Bool("update", false, "write the golden file of TestAPIDifferential")

const goldenFile = "testdata/apidifferential.golden"

// TestAPIDifferential makes the requests of apiScript to the peer engine and to
// ours, mounted side by side, and compares the answers: status, keys, types,
// values, warnings, messages, leases. The golden file lists what differs, each
// line with the reason that apiReasons has for it; there is no difference
// without one, and no reason without a difference.
func TestAPIDifferential(t *testing.T) {
	leaveOut(t)
	t.Parallel()
	cloud := startCloud(t)
	ca := writeCA(t, cloud)
	v := startVault(t)
	var flags []string
	for _, variable := range foreignEnviron(cloud, ca) {
		flags = append(flags, "-env="+variable)
	}
	peer := &apiEngine{vaultServer: v, t: t, mount: "theirs", leases: map[string]string{}}
	our := &apiEngine{vaultServer: v, t: t, mount: "ours", leases: map[string]string{}}
	v.registerFile(t, mount, "peer", need(t, programs.peer), peerVersion, flags...)
	v.run(t, "secrets", "enable", "-path="+peer.mount, "-plugin-version="+peerVersion, mount)
	v.registerFile(t, mount, "ours", need(t, programs.plugin), pluginVersion, flags...)
	v.run(t, "secrets", "enable", "-path="+our.mount, "-plugin-version="+pluginVersion, mount)

	seen := map[string]int{}
	var differences []difference
	diverged := map[string]bool{} // paths whose last write only one engine took
	script := apiScript()
	for _, r := range script {
		name := r.String()
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprintf(" #%d", seen[name])
		}
		var answers [2]apiAnswer
		for n, engine := range []*apiEngine{peer, our} {
			if r.fault.Kind != "" {
				if err := cloud.AddFault(r.fault); err != nil {
					t.Fatal(err)
				}
			}
			answers[n] = engine.ask(name, r)
			cloud.ClearFaults()
		}
		if r.method == http.MethodGet && diverged[r.path] {
			continue // what is stored differs, as the line of the write says
		}
		for _, d := range compare(r, answers[0], answers[1]) {
			d.request = name
			differences = append(differences, d)
		}
		if r.method != http.MethodGet && r.method != "LIST" && !strings.HasPrefix(r.path, "creds/") {
			diverged[r.path] = (answers[0].status < 300) != (answers[1].status < 300)
		}
	}
	fmt.Printf("TestAPIDifferential: requests %d differences %d\n", len(script), len(differences))
	if len(script) < 150 {
		t.Errorf("only %d requests", len(script))
	}

	used := make([]bool, len(apiReasons))
	var lines []string
	for _, d := range differences {
		n := slices.IndexFunc(apiReasons, func(r apiReason) bool { return r.of.MatchString(d.String()) })
		if n < 0 {
			t.Errorf("there is no reason for this difference: %s", d)
			lines = append(lines, d.String()+" | NO REASON")
			continue
		}
		used[n] = true
		lines = append(lines, d.String()+" | "+apiReasons[n].why)
	}
	for n, r := range apiReasons {
		if !used[n] {
			t.Errorf("there is no difference for this reason: %s (%s)", r.why, r.of)
		}
	}
	got := "request | what | built-in engine " + peerVersion + " | this engine | reason\n" + strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(goldenFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what was found (go test -run TestAPIDifferential -update writes it):\n%s", goldenFile, firstDifference(string(want), got))
	}
}

// apiRequest is one request, made to each engine. In its path and body, {lease}
// stands for the lease of the request that is named by lease.
type apiRequest struct {
	method, path string
	body         any    // nil: none; a string is sent as it is
	lease        string // name of the request that issued the lease
	fault        alisim.Fault
	sys          bool   // path is one of Vault's own
	label        string // "": made of the rest
}

func (r apiRequest) String() string {
	if r.label != "" {
		return r.label
	}
	name := r.method + " " + r.path
	if len(name) > 60 {
		name = name[:60] + "..."
	}
	if r.body != nil {
		body, _ := r.body.(string)
		if body == "" {
			raw, _ := json.Marshal(r.body)
			body = string(raw)
		}
		if len(body) > 160 {
			body = body[:160] + "..."
		}
		name += " " + body
	}
	if r.lease != "" {
		name += " of " + r.lease
	}
	if r.fault.Kind != "" {
		name += fmt.Sprintf(" while %s: %s", cmp.Or(r.fault.Action, "every call"), cmp.Or(r.fault.Code, string(r.fault.Kind)))
	}
	return name
}

type apiEngine struct {
	*vaultServer
	t      *testing.T
	mount  string
	leases map[string]string // by the name of the request that issued them
}

type apiAnswer struct {
	status int
	body   map[string]any
	text   string // what is not JSON
}

// ask sends the request, and normalises what differs between any two answers.
func (e *apiEngine) ask(name string, r apiRequest) apiAnswer {
	e.t.Helper()
	path := e.mount + "/" + r.path
	if r.sys {
		path = r.path
	}
	var body string
	switch b := r.body.(type) {
	case nil:
	case string:
		body = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			e.t.Fatal(err)
		}
		body = string(raw)
	}
	for name, value := range map[string]string{"{lease}": e.leases[r.lease], "{mount}": e.mount} {
		path, body = strings.ReplaceAll(path, name, value), strings.ReplaceAll(body, name, value)
	}
	request, err := http.NewRequestWithContext(e.t.Context(), r.method, e.addr+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatalf("%s: %v", name, err)
	}
	request.Header.Set("X-Vault-Token", e.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.t.Fatalf("%s: %v", name, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatalf("%s: %v", name, err)
	}
	answer := apiAnswer{status: response.StatusCode}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if len(raw) > 0 && decoder.Decode(&answer.body) != nil {
		answer.text = e.normal(string(raw))
	}
	if id, _ := answer.body["lease_id"].(string); id != "" && r.method == http.MethodGet {
		e.leases[name] = id
	}
	answer.body, _ = e.normalValue(answer.body).(map[string]any)
	return answer
}

var apiNoise = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}`), "<id>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<hash>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
	{regexp.MustCompile(`RespHeaders: map\[.*\]`), "RespHeaders: map[...]"},
	{regexp.MustCompile(`\?[A-Za-z]+=[^" ]*&[^" ]*`), "?<signed query>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
	{regexp.MustCompile(`[\w.-]*-\d{10}-\d{1,4}\b`), "<name>"},
	{regexp.MustCompile(`\bvault-[\w-]*[a-z0-9]{20}\b`), "<name>"},
	{regexp.MustCompile(`(creds/[\w.-]+)/\w{24}`), "$1/<lease>"},
}

func (e *apiEngine) normal(s string) string {
	s = strings.ReplaceAll(s, e.mount+"/", "<mount>/")
	for _, noise := range apiNoise {
		s = noise.form.ReplaceAllString(s, noise.with)
	}
	return s
}

func (e *apiEngine) normalValue(value any) any {
	switch v := value.(type) {
	case string:
		return e.normal(v)
	case []any:
		for i := range v {
			v[i] = e.normalValue(v[i])
		}
	case map[string]any:
		changed := make(map[string]any, len(v))
		for key, inner := range v {
			switch text, _ := inner.(string); {
			case key == "request_id", key == "accessor":
				continue
			case text != "" && slices.Contains([]string{"access_key", "secret_key", "security_token", "arn", "username"}, key) && v["region"] == nil && v["secret_key"] != nil:
				inner = "<issued>"
			}
			changed[e.normal(key)] = e.normalValue(inner)
		}
		return changed
	}
	return value
}

// difference is one line of the golden file, without its reason.
type difference struct{ request, what, theirs, ours string }

func (d difference) String() string {
	clean := strings.NewReplacer("\n", `\n`, "\t", `\t`, " | ", " / ")
	return fmt.Sprintf("%s | %s | %s | %s", clean.Replace(d.request), d.what, clean.Replace(d.theirs), clean.Replace(d.ours))
}

func compare(r apiRequest, theirs, ours apiAnswer) []difference {
	var found []difference
	add := func(what string, theirs, ours any) {
		found = append(found, difference{what: what, theirs: short(theirs), ours: short(ours)})
	}
	if theirs.status != ours.status {
		add("status", theirs.status, ours.status)
	}
	if theirs.text != ours.text {
		add("text", theirs.text, ours.text)
	}
	if a, b := message(theirs.body), message(ours.body); a != b {
		what := "message"
		if a != "" && strings.Contains(b, a) {
			what = "message, which keeps theirs"
		}
		add(what, a, b)
	}
	if strings.HasSuffix(r.path, "?help=1") {
		return append(found, compareOpenAPI(theirs.body, ours.body)...)
	}
	_, answered := theirs.body["data"]
	_, oursAnswered := ours.body["data"]
	for _, key := range union(theirs.body, ours.body) {
		a, there := theirs.body[key]
		b, here := ours.body[key]
		switch {
		case key == "errors":
		case answered != oursAnswered && (key != "warnings" || a == nil && b == nil):
			// The status says it: one is an answer, the other has none.
		case key == "warnings":
			a, b = withoutCaps(a), withoutCaps(b)
			if !reflect.DeepEqual(a, b) {
				add("warnings", a, b)
			}
		case there != here:
			add(key, present(there), present(here))
		case key == "data":
			found = append(found, compareData("", a, b)...)
		case key == "lease_duration":
			if !near(a, b) {
				add(key, minutes(a), minutes(b))
			}
		case !reflect.DeepEqual(a, b):
			add(key, a, b)
		}
	}
	return found
}

// withoutCaps leaves out what Vault warns of when a second or more of max_ttl
// has passed before a renewal, which it is by the pace of the machine.
func withoutCaps(warnings any) any {
	list, _ := warnings.([]any)
	list = slices.DeleteFunc(slices.Clone(list), func(w any) bool {
		text, _ := w.(string)
		return strings.Contains(text, "exceeded the effective max_ttl")
	})
	if len(list) == 0 {
		return nil
	}
	return list
}

// compareData compares the data of two answers. What ours adds is one line.
func compareData(under string, theirs, ours any) []difference {
	a, isMap := theirs.(map[string]any)
	b, _ := ours.(map[string]any)
	if !isMap || b == nil {
		switch {
		case jsonType(theirs) != jsonType(ours):
			return []difference{{what: "type of data" + under, theirs: jsonType(theirs), ours: jsonType(ours)}}
		case !reflect.DeepEqual(theirs, ours):
			return []difference{{what: "data" + under, theirs: short(theirs), ours: short(ours)}}
		}
		return nil
	}
	var found []difference
	var added []string
	for _, key := range union(a, b) {
		left, there := a[key]
		right, here := b[key]
		switch {
		case !there:
			added = append(added, key)
		case !here:
			found = append(found, difference{what: "data" + under + "." + key, theirs: short(left), ours: "absent"})
		case under == "" && (key == "ttl" || key == "issue_time" || key == "expire_time" || key == "id" || key == "last_renewal") && jsonType(left) == jsonType(right) && near(left, right):
		default:
			found = append(found, compareData(under+"."+key, left, right)...)
		}
	}
	if len(added) > 0 {
		found = append(found, difference{what: "data" + under + ", added", ours: further(added, "keys")})
	}
	return found
}

// further names what ours adds, where it is little.
func further(added []string, what string) string {
	if len(added) > 2 {
		return "further " + what
	}
	return strings.Join(added, " ")
}

// near tells whether two numbers are seconds of the same duration, counted at
// different moments.
func near(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, _ := b.(json.Number)
	if !isNumber {
		return a == b
	}
	i, _ := x.Int64()
	j, _ := y.Int64()
	return max(i-j, j-i) <= 30
}

// minutes prints seconds as minutes, of which up to half of one has passed already.
func minutes(v any) string {
	number, _ := v.(json.Number)
	seconds, _ := number.Int64()
	return fmt.Sprintf("%d minutes", (seconds+30)/60)
}

var wrapped = regexp.MustCompile(`^\d+ errors? occurred:\n\t\* `)

// message is the text of an error answer, out of the frame that Vault puts
// around errors that are not answers.
func message(body map[string]any) string {
	list, _ := body["errors"].([]any)
	var texts []string
	for _, e := range list {
		text := fmt.Sprint(e)
		texts = append(texts, strings.TrimRight(wrapped.ReplaceAllString(text, ""), "\n"))
	}
	return strings.Join(texts, "; ")
}

// compareOpenAPI compares what generated clients are generated from.
func compareOpenAPI(theirs, ours map[string]any) []difference {
	a, b := map[string]any{}, map[string]any{}
	flatten("", theirs["openapi"], a)
	flatten("", ours["openapi"], b)
	var found []difference
	var added []string
	for _, key := range union(a, b) {
		left, there := a[key]
		right, here := b[key]
		if strings.HasSuffix(key, ".description") || strings.HasSuffix(key, ".summary") {
			continue // prose
		}
		switch {
		case !there:
			if n := strings.Index(key, ".operationId"); n > 0 {
				added = append(added, fmt.Sprint(right))
			}
		case !here:
			found = append(found, difference{what: key, theirs: short(left), ours: "absent"})
		case left != right:
			found = append(found, difference{what: key, theirs: short(left), ours: short(right)})
		}
	}
	if len(added) > 0 {
		found = append(found, difference{what: "operations, added", ours: further(added, "operations")})
	}
	return found
}

// flatten turns a document into facts, by path.
func flatten(path string, value any, facts map[string]any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			flatten(path+"."+key, inner, facts)
		}
	case []any:
		for i, inner := range v {
			key := fmt.Sprint(i)
			if m, ok := inner.(map[string]any); ok && m["name"] != nil {
				key = fmt.Sprint(m["name"])
			}
			flatten(path+"."+key, inner, facts)
		}
	default:
		facts[path] = value
	}
}

func union(a, b map[string]any) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func present(there bool) string {
	if there {
		return "there"
	}
	return "absent"
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	}
	return "object"
}

// short prints a value on what is a readable part of a line.
func short(v any) string {
	text, isText := v.(string)
	if !isText {
		var plain bytes.Buffer
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(v)
		text = strings.TrimSuffix(plain.String(), "\n")
	}
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	return text
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(b), len(a))
}
