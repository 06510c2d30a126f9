// Prose checks what a machine can check of the pages that people read: how wide
// their lines are, how long their sentences, and words that readers found odd. It
// prints each finding as file:line, and exits with 1 where there are any.
//
//	go run ./scripts/prose README.md docs/*.md
package main

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxWidth    = 120 // columns of a line of prose, without the targets of links; tables and code may be wider
	maxSentence = 35  // words
)

// oddWords has a line for each: the word, a tab, what to write in its place.
//
//go:embed words.tsv
var oddWords string

func main() {
	words, err := parseWords(oddWords)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(2)
	}
	found := 0
	for _, name := range os.Args[1:] {
		page, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "prose:", err)
			os.Exit(2)
		}
		for _, f := range check(string(page), words) {
			fmt.Printf("%s:%d: %s\n", name, f.line, f.what)
			found++
		}
	}
	if found > 0 {
		os.Exit(1)
	}
}

// word is one that readers found odd.
type word struct {
	odd     *regexp.Regexp
	instead string
}

func parseWords(table string) (words []word, err error) {
	for line := range strings.Lines(table) {
		odd, instead, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("words.tsv: no tab in %q", line)
		}
		r, err := regexp.Compile(`(?i)\b(` + odd + `)\b`)
		if err != nil {
			return nil, fmt.Errorf("words.tsv: %w", err)
		}
		words = append(words, word{r, instead})
	}
	return words, nil
}

type finding struct {
	line int
	what string
}

var code = regexp.MustCompile("`[^`]*`")

// check looks at one page. A paragraph ends at an empty line, and where a list
// item, a heading, a table or code begins.
func check(page string, words []word) (found []finding) {
	var paragraph []string
	began, fenced := 0, false
	end := func() {
		found = append(found, sentences(strings.Join(paragraph, " "), began)...)
		paragraph = nil
	}
	n := 0
	for line := range strings.Lines(page) {
		n++
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		fence := strings.HasPrefix(text, "```")
		if fence {
			fenced = !fenced
		}
		indented := len(paragraph) == 0 && strings.HasPrefix(line, "    ")
		if fence || fenced || indented {
			end()
			continue
		}
		for _, w := range words {
			if odd := w.odd.FindString(code.ReplaceAllString(line, "")); odd != "" {
				found = append(found, finding{n, fmt.Sprintf("%q: write %s", odd, w.instead)})
			}
		}
		if table := strings.HasPrefix(text, "|"); table || text == "" || strings.HasPrefix(text, "#") {
			end()
			continue
		}
		if strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "* ") || numbered(text) {
			end()
		}
		if width := utf8.RuneCountInString(link.ReplaceAllString(line, "]")); width > maxWidth && strings.ContainsFunc(text, unicode.IsSpace) {
			found = append(found, finding{n, fmt.Sprintf("%d columns; wrap prose at %d", width, maxWidth)})
		}
		if len(paragraph) == 0 {
			began = n
		}
		paragraph = append(paragraph, text)
	}
	end()
	return found
}

func numbered(text string) bool {
	rest := strings.TrimLeft(text, "0123456789")
	return rest != text && strings.HasPrefix(rest, ". ")
}

var (
	link        = regexp.MustCompile(`\]\([^)]*\)`)
	sentenceEnd = regexp.MustCompile(`[.!?]['")*\]]*(?: |$)`)
)

// sentences finds those of a paragraph that are too long. A colon or a semicolon
// ends one: a reader can pause there.
func sentences(paragraph string, line int) (found []finding) {
	text := link.ReplaceAllString(code.ReplaceAllString(paragraph, "x"), "]")
	for _, s := range sentenceEnd.Split(text, -1) {
		if n := len(strings.Fields(s)); n > maxSentence {
			found = append(found, finding{line, fmt.Sprintf("a sentence of %d words, more than %d: %q", n, maxSentence, strings.Join(strings.Fields(s)[:8], " ")+" …")})
		}
	}
	return found
}
