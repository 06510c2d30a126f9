package alicreds

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parseINI reads an INI file: sections of keys. Its rules, which
// docs/profiles.md gives to users, are these.
//
// A line is a comment, a [section], a key with = or : and a value, or blank.
// White space around each part does not count, nor does a byte order mark;
// lines end with LF or CRLF. Keys are lower-cased, section names are not.
//
// # and ; begin a comment wherever they stand, as in Alibaba Cloud's tools. A
// value in single or double quotes keeps everything up to the next quote of
// that kind, with no escapes, and only a comment may follow.
//
// A section that appears again is continued. Of a key that appears again the
// last value counts.
//
// Errors give the line's number and quote nothing.
func parseINI(text []byte) (map[string]map[string]string, error) {
	if bytes.HasPrefix(bytes.TrimSpace(withoutByteOrderMark(text)), []byte("{")) {
		return nil, fmt.Errorf("it is a config.json: name it in %s", envConfigFile)
	}
	sections := map[string]map[string]string{}
	var section map[string]string
	for i, line := range strings.Split(string(withoutByteOrderMark(text)), "\n") {
		fail := func(reason string) (map[string]map[string]string, error) {
			return nil, fmt.Errorf("line %d: %s", i+1, reason)
		}
		if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
			return fail("it is not UTF-8 text")
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "" || startsComment(line):
		case line[0] == '[':
			name, err := iniSection(line[1:])
			if err != "" {
				return fail(err)
			}
			if sections[name] == nil {
				sections[name] = map[string]string{}
			}
			section = sections[name]
		default:
			at := strings.IndexAny(line, "=:")
			if at < 0 {
				return fail("it is neither a comment, a [section] nor a key with a value")
			}
			key := strings.ToLower(strings.TrimSpace(line[:at]))
			value, err := iniValue(line[at+1:])
			switch {
			case key == "":
				return fail("the key is empty")
			case err != "":
				return fail(err)
			case section == nil:
				return fail("the key stands before the first [section]")
			}
			section[key] = value
		}
	}
	return sections, nil
}

// iniSection reads a section's name behind the opening bracket. err says what
// is wrong.
func iniSection(text string) (name, err string) {
	name, rest, closed := strings.Cut(text, "]")
	name = strings.TrimSpace(name)
	switch {
	case !closed:
		return "", "the section's name has no closing bracket"
	case !blankOrComment(rest):
		return "", "something follows the section's name"
	case name == "":
		return "", "the section's name is empty"
	}
	return name, ""
}

// iniValue takes quotes and comment off. err says what is wrong.
func iniValue(text string) (value, err string) {
	if quoted := strings.TrimSpace(text); quoted != "" && (quoted[0] == '"' || quoted[0] == '\'') {
		value, rest, closed := strings.Cut(quoted[1:], quoted[:1])
		switch {
		case !closed:
			return "", "the value's quote has no end"
		case !blankOrComment(rest):
			return "", "something follows the quoted value"
		}
		return value, ""
	}
	if at := strings.IndexAny(text, "#;"); at >= 0 {
		text = text[:at]
	}
	return strings.TrimSpace(text), ""
}

func startsComment(s string) bool { return s[0] == '#' || s[0] == ';' }

func blankOrComment(s string) bool {
	s = strings.TrimSpace(s)
	return s == "" || startsComment(s)
}

// looksLikeINI tells whether the text begins as an INI file does.
func looksLikeINI(text []byte) bool {
	sections, err := parseINI(text)
	for _, section := range sections {
		if err == nil && len(section) > 0 {
			return true
		}
	}
	return false
}
