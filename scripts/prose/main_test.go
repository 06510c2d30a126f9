package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	words, err := parseWords("heed(s|ed)?\tfollow\n")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("word ", maxSentence+1)
	for _, tc := range []struct {
		name, page string
		lines      []int // of the findings
	}{
		{"plain prose", "# A page\n\nThis is short. So is this.\n", nil},
		{"a wide line", "Short.\n\n" + strings.Repeat("wide. ", 30) + "\n", []int{3}},
		{"a wide row of a table, and wide code", "| " + strings.Repeat("wide. ", 30) + " |\n\n```\n" + strings.Repeat("wide. ", 30) + "\n```\n", nil},
		{"a word that is wider than a line", strings.Repeat("x", maxWidth+1) + "\n", nil},
		{"a link whose target is wider than a line", "- [a page](" + strings.Repeat("x", maxWidth) + ")\n", nil},
		{"a long sentence over lines", "One.\n\n" + strings.ReplaceAll(long, "word word word ", "word word word\n") + "\n", []int{3}},
		{"items of a list are apart", "- " + long[:len(long)/2] + "\n- " + long[len(long)/2:] + "\n", nil},
		{"the target of a link counts as no word", "[word](a b c d e)\n" + strings.ReplaceAll(strings.Repeat("word ", maxSentence-1), "word word word ", "word word word\n") + ".\n", nil},
		{"an odd word, in each of its forms", "Heed it.\nIt is heeded.\n| who heeds |\n", []int{1, 2, 3}},
		{"an odd word in code", "`heed` and\n\n```\nheed\n```\n", nil},
	} {
		var lines []int
		for _, f := range check(tc.page, words) {
			lines = append(lines, f.line)
		}
		if fmt.Sprint(lines) != fmt.Sprint(tc.lines) {
			t.Errorf("%s: findings in lines %v, want %v", tc.name, lines, tc.lines)
		}
	}
	if _, err := parseWords("no tab\n"); err == nil {
		t.Error("a line without a tab is taken")
	}
}
