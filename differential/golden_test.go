package differential

import (
	"os"
	"strings"
	"testing"
)

// difference is a set-up of which not all libraries make the same.
type difference struct {
	outcomes map[string]string // by library
	reason   string
}

const goldenHead = `# Where alicreds, credentials-go 1.4.14 and @alicloud/credentials 2.4.7 do not come to the same end, and why.
# Made by: go test ./... -update. Of this file, only the reasons are written by hand.
`

// readGolden reads paragraphs of a name, and below it lines of a library and
// its outcome, and of "because" and the reason.
func readGolden(t *testing.T, file string) map[string]difference {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	all := map[string]difference{}
	var name string
	for _, line := range strings.Split(string(text), "\n") {
		key, value, indented := strings.Cut(strings.TrimPrefix(line, "  "), " ")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, "  "):
			name = line
			all[name] = difference{outcomes: map[string]string{}}
		case !indented || name == "":
			t.Fatalf("%s: %q", file, line)
		case key == "because":
			d := all[name]
			d.reason = value
			all[name] = d
		default:
			all[name].outcomes[key] = value
		}
	}
	return all
}

func writeGolden(t *testing.T, file string, found map[string]difference) {
	t.Helper()
	var text strings.Builder
	text.WriteString(goldenHead)
	line := func(key, value string) {
		text.WriteString("  " + key + strings.Repeat(" ", len(nodeName)+2-len(key)) + value + "\n")
	}
	for _, s := range setups { // in their order
		d, ok := found[s.name]
		if !ok {
			continue
		}
		text.WriteString("\n" + s.name + "\n")
		for _, library := range []string{ourName, goName, nodeName} {
			line(library, d.outcomes[library])
		}
		line("because", d.reason)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compare holds what was found to what the golden file has, for the libraries
// that took part.
func (d difference) compare(t *testing.T, got difference) {
	t.Helper()
	if d.outcomes != nil && d.reason == "" {
		t.Errorf("%s gives no reason", goldenFile)
	}
	for name, outcome := range got.outcomes {
		want, listed := d.outcomes[name]
		if !listed { // as in alicreds
			want = got.outcomes[ourName]
		}
		if outcome != want {
			t.Errorf("%s: %q, want %q as in %s", name, outcome, want, goldenFile)
		}
	}
	agree := true
	for _, outcome := range d.outcomes {
		agree = agree && outcome == d.outcomes[ourName]
	}
	if d.outcomes != nil && agree {
		t.Errorf("%s lists what is no difference", goldenFile)
	}
}
