package alicreds

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line    string
		windows bool
		want    []string
	}{
		"spaces":                      {line: "get  keys now", want: []string{"get", "keys", "now"}},
		"tabs and ends":               {line: "\t get\tkeys \r\n", want: []string{"get", "keys"}},
		"double quotes":               {line: `get "two words"`, want: []string{"get", "two words"}},
		"single quotes":               {line: `get 'a "b" \c'`, want: []string{"get", `a "b" \c`}},
		"escaped space":               {line: `get two\ words`, want: []string{"get", "two words"}},
		"escaped space at the end":    {line: `get a\ `, want: []string{"get", "a "}},
		"empty argument":              {line: `get "" ''`, want: []string{"get", "", ""}},
		"adjacent quotes":             {line: `get "a b"'c d'e`, want: []string{"get", "a bc de"}},
		"escapes in double quotes":    {line: "get \"\\\" \\\\ \\$ \\` \\n\"", want: []string{"get", "\" \\ $ ` \\n"}},
		"escaped quote":               {line: `get \"a\" \'`, want: []string{"get", `"a"`, "'"}},
		"line joined":                 {line: "get ke\\\nys", want: []string{"get", "keys"}},
		"line joined in quotes":       {line: "get \"ke\\\nys\"", want: []string{"get", "keys"}},
		"line not joined":             {line: "get 'ke\\\nys'", want: []string{"get", "ke\\\nys"}},
		"only a joint":                {line: "get \\\n", want: []string{"get"}},
		"nothing expands":             {line: "get $HOME ~ * `id` $(id)", want: []string{"get", "$HOME", "~", "*", "`id`", "$(id)"}},
		"no operators":                {line: "get|b>c;d&", want: []string{"get|b>c;d&"}},
		"other letters":               {line: "密钥\u3000程序 é", want: []string{"密钥", "程序", "é"}},
		"not UTF-8":                   {line: "get \xff\\\xfe", want: []string{"get", "\xff\xfe"}},
		"windows path":                {line: `C:\tools\get.exe a`, windows: true, want: []string{`C:\tools\get.exe`, "a"}},
		"windows quoted path":         {line: `"C:\Program Files\get.exe" "say \"hi\"" c\`, windows: true, want: []string{`C:\Program Files\get.exe`, `say "hi"`, `c\`}},
		"windows single quotes":       {line: `get 'a\"b'`, windows: true, want: []string{"get", `a\"b`}},
		"windows backslash, new line": {line: "get a\\\nb", windows: true, want: []string{"get", `a\`, "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := splitCommand(c.line, c.windows)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("splitCommand(%q) = %q, %v; want %q", c.line, got, err, c.want)
			}
		})
	}
}

func TestSplitCommandRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line    string
		windows bool
		want    string
	}{
		"nothing":                {line: "", want: "empty"},
		"white space":            {line: " \t\n", want: "empty"},
		"empty program":          {line: `"" a`, want: "empty"},
		"open double quote":      {line: `get "fake-secret`, want: "quote"},
		"open single quote":      {line: `get 'fake-secret`, want: "quote"},
		"trailing backslash":     {line: `get fake-secret\`, want: "backslash"},
		"escaped end of quote":   {line: `get "fake-secret\"`, want: "quote"},
		"windows, escaped quote": {line: `"C:\fake-secret\" a`, windows: true, want: "quote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := splitCommand(c.line, c.windows)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("splitCommand(%q) = %q, %v; want an error about %s", c.line, got, err, c.want)
			}
			if strings.Contains(err.Error(), "fake-secret") {
				t.Errorf("the error quotes the command: %v", err)
			}
		})
	}
}

// quoteWord is what a user writes for splitCommand to give back the word.
func quoteWord(word string, windows, single bool) string {
	if single && !strings.Contains(word, "'") {
		return "'" + word + "'"
	}
	if windows {
		return `"` + strings.ReplaceAll(word, `"`, `\"`) + `"`
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, `$`, `\$`, "`", "\\`").Replace(word) + `"`
}

// FuzzSplitCommand quotes words in any of the ways there are, and wants them
// back.
func FuzzSplitCommand(f *testing.F) {
	f.Add("get\nkeys\n", uint(0), false)
	f.Fuzz(func(t *testing.T, text string, style uint, windows bool) {
		words := strings.Split(text, "\n")
		if words[0] == "" {
			words[0] = "get"
		}
		var line strings.Builder
		for i, word := range words {
			if windows && strings.HasSuffix(word, `\`) || windows && strings.Contains(word, `\"`) {
				word += "'" // a word of that end has no double-quoted form there
				word = strings.ReplaceAll(word, `\"`, "")
				words[i] = word
			}
			if i > 0 {
				line.WriteString([]string{" ", "\t", "  ", " \r\n"}[style>>(2*i%60)&3])
			}
			line.WriteString(quoteWord(word, windows, style>>(i%60)&1 == 1))
		}
		got, err := splitCommand(line.String(), windows)
		if err != nil || !slices.Equal(got, words) {
			t.Errorf("splitCommand(%q) = %q, %v; want %q", line.String(), got, err, words)
		}
	})
}
