package alicreds

import (
	"errors"
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
	var words []string
	var word strings.Builder
	begun := false // a word of quotes may be empty
	for line != "" {
		if rest, joined := strings.CutPrefix(line, "\\\n"); joined && !windows {
			line = rest
			continue
		}
		if rest := strings.TrimLeftFunc(line, unicode.IsSpace); len(rest) < len(line) {
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			line, begun = rest, false
			continue
		}
		part, rest, err := cutPart(line, windows)
		if err != nil {
			return nil, err
		}
		word.WriteString(part)
		line, begun = rest, true
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("the command is empty")
	}
	return words, nil
}

// cutPart takes a part of a word off the line: what is in quotes, an escaped
// character, or all up to the next of these or the end of the word.
func cutPart(line string, windows bool) (part, rest string, err error) {
	switch {
	case line[0] == '\'':
		part, rest, closed := strings.Cut(line[1:], "'")
		if !closed {
			return "", "", errOpenQuote('\'')
		}
		return part, rest, nil
	case line[0] == '"':
		return cutDoubleQuoted(line[1:], windows)
	case line == `\` && !windows:
		return "", "", errors.New("the command ends with a backslash that escapes nothing")
	case line[0] == '\\' && !windows:
		_, width := utf8.DecodeRuneInString(line[1:])
		return line[1 : 1+width], line[1+width:], nil
	}
	end := strings.IndexFunc(line, func(r rune) bool {
		return r == '\'' || r == '"' || r == '\\' && !windows || unicode.IsSpace(r)
	})
	if end < 0 {
		end = len(line)
	}
	return line[:end], line[end:], nil
}

// cutDoubleQuoted begins behind the quote.
func cutDoubleQuoted(line string, windows bool) (part, rest string, err error) {
	escapable := "\"\\$`\n"
	if windows {
		escapable = `"`
	}
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '"':
			return b.String(), line[i+1:], nil
		case line[i] == '\\' && i+1 < len(line) && strings.IndexByte(escapable, line[i+1]) >= 0:
			if i++; line[i] != '\n' {
				b.WriteByte(line[i])
			}
		default:
			b.WriteByte(line[i])
		}
	}
	return "", "", errOpenQuote('"')
}

func errOpenQuote(quote rune) error {
	return fmt.Errorf("the command has a quote (%c) without an end", quote)
}
