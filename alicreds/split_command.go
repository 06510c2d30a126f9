package alicreds

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitCommand splits a command line into program and arguments, by the
// rules all Credentials tools but Python's share. White space separates.
// Single quotes keep everything; double quotes keep all but the escapes.
// On Unix a backslash escapes the next character, in double quotes only one
// of " \ $ and `, and a backslash before the end of a line joins the lines.
// On Windows a backslash is a character like any other, but for \" in
// double quotes. Nothing is expanded: there is no shell.
func splitCommand(line string, windows bool) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		begun bool // a quoted word may be empty
		quote rune
	)
	for i := 0; i < len(line); {
		r, width := utf8.DecodeRuneInString(line[i:])
		char := line[i : i+width]
		i += width
		next, nextWidth := utf8.DecodeRuneInString(line[i:])
		escaped := line[i : i+nextWidth]

		switch {
		case quote == '\'' && r != '\'':
			word.WriteString(char)
		case r == '\\' && windows:
			if quote == '"' && next == '"' {
				char = escaped
				i += nextWidth
			}
			word.WriteString(char)
			begun = true
		case r == '\\' && next == '\n':
			i += nextWidth
		case r == '\\' && quote == '"' && !strings.ContainsRune("\"\\$`", next):
			word.WriteString(char)
		case r == '\\' && escaped == "":
			return nil, fmt.Errorf("the command ends with a backslash that escapes nothing")
		case r == '\\':
			word.WriteString(escaped)
			begun = true
			i += nextWidth
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteString(char)
		case r == '"' || r == '\'':
			quote = r
			begun = true
		case unicode.IsSpace(r):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteString(char)
			begun = true
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("the command has a quote (%c) without an end", quote)
	case begun:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fmt.Errorf("the command is empty")
	}
	return words, nil
}
