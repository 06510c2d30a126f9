package alicreds_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// conformancePage has the numbered lists that tests are named after.
const conformancePage = "../docs/alicreds-conformance.md"

// pageRows are the cells of the page's rows whose first cell has this form.
func pageRows(t *testing.T, number string) [][]string {
	t.Helper()
	page, err := os.ReadFile(conformancePage)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for n := range cells {
			cells[n] = strings.TrimSpace(cells[n])
		}
		if len(cells) == 3 && regexp.MustCompile("^"+number+"$").MatchString(cells[0]) {
			rows = append(rows, cells)
		}
	}
	return rows
}

// onPage wants the page to have these rows, in order, and no others.
func onPage(t *testing.T, rows []row) {
	t.Helper()
	listed := pageRows(t, `\d{3}`)
	if len(listed) != len(rows) {
		t.Fatalf("%s has %d rows, want %d", conformancePage, len(listed), len(rows))
	}
	for n, r := range rows {
		if want := []string{r.number, r.says, r.differ}; !slices.Equal(listed[n], want) {
			t.Errorf("%s has %q, want %q", conformancePage, listed[n], want)
		}
	}
}

// TestDefectsPage wants a test for each defect on the page that can have one,
// and each test named after a defect there.
func TestDefectsPage(t *testing.T) {
	t.Parallel()
	var tests []string
	sources, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^func (TestDefectD\d+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests = append(tests, found[1])
		}
	}
	slices.Sort(tests)
	var listed []string
	for _, defect := range pageRows(t, `D\d{2}`) {
		if !strings.HasPrefix(defect[2], "none: ") {
			listed = append(listed, strings.Trim(defect[2], "`"))
			if !strings.HasSuffix(listed[len(listed)-1], defect[0]) {
				t.Errorf("%s has the test %s", defect[0], defect[2])
			}
		}
	}
	if !slices.Equal(tests, listed) {
		t.Errorf("%s has the tests\n%q, and the package\n%q", conformancePage, listed, tests)
	}
}
