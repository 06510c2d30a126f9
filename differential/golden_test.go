package differential

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// difference is a set-up of which not all libraries make the same.
type difference struct {
	outcomes map[string]string // by library
	reason   string
}

// golden is a file of differences.
type golden struct {
	file string
	head string // comment lines, which stay
	all  map[string]difference
}

// readGolden reads paragraphs of a name, and below it lines of a library and
// its outcome, and of "because" and the reason.
func readGolden(t *testing.T, file string) *golden {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{file: file, all: map[string]difference{}}
	var name string
	for _, line := range strings.Split(string(text), "\n") {
		key, value, indented := strings.Cut(strings.TrimPrefix(line, "  "), " ")
		value = strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(line, "#"):
			g.head += line + "\n"
		case line == "":
		case !strings.HasPrefix(line, "  "):
			name = line
			g.all[name] = difference{outcomes: map[string]string{}}
		case !indented || name == "":
			t.Fatalf("%s: %q", file, line)
		case key == "because":
			d := g.all[name]
			d.reason = value
			g.all[name] = d
		default:
			g.all[name].outcomes[key] = value
		}
	}
	return g
}

// finish holds the file to the names of the set-ups, in their order. With
// -update it writes what was found in place of what the file has.
func (g *golden) finish(t *testing.T, found map[string]difference, names []string, ran int, libraries []string) {
	t.Helper()
	if !*update {
		for name := range g.all {
			if !slices.Contains(names, name) {
				t.Errorf("%s: there is no set-up %q", g.file, name)
			}
		}
		return
	}
	if ran < len(names) {
		t.Fatal("-update needs all set-ups")
	}
	var text strings.Builder
	text.WriteString(g.head)
	line := func(key, value string) {
		text.WriteString("  " + key + strings.Repeat(" ", len(nodeName)+2-len(key)) + value + "\n")
	}
	for _, name := range names {
		d, ok := found[name]
		if !ok {
			continue
		}
		text.WriteString("\n" + name + "\n")
		for _, library := range libraries {
			if outcome, took := d.outcomes[library]; took {
				line(library, outcome)
			}
		}
		line("because", d.reason)
	}
	if err := os.WriteFile(g.file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compare holds what was found to what the file has, for the libraries that
// took part.
func (g *golden) compare(t *testing.T, name string, got difference) {
	t.Helper()
	d := g.all[name]
	if d.outcomes != nil && d.reason == "" {
		t.Errorf("%s gives no reason", g.file)
	}
	for library, outcome := range got.outcomes {
		want, listed := d.outcomes[library]
		if !listed { // as in alicreds
			want = got.outcomes[ourName]
		}
		if outcome != want {
			t.Errorf("%s: %q, want %q as in %s", library, outcome, want, g.file)
		}
	}
	agree := true
	for _, outcome := range d.outcomes {
		agree = agree && outcome == d.outcomes[ourName]
	}
	if d.outcomes != nil && agree {
		t.Errorf("%s lists what is no difference", g.file)
	}
}
