package alicreds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The functions of this file find their way through JSON text by position,
// so that an edit leaves every other byte as it was. They want text that
// json.Valid accepts.

// jsonMember is one member of a JSON object: where its parts stand in the text.
type jsonMember struct {
	name                               string
	nameAt, nameEnd, valueAt, valueEnd int
}

// jsonField is a member to be set; value is JSON.
type jsonField struct {
	name  string
	value []byte
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// jsonObject tells where the object begins that is the whole text.
func jsonObject(text []byte) (int, error) {
	start := 0
	if bytes.HasPrefix(text, byteOrderMark) {
		start = len(byteOrderMark)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text[start:], &whole); err != nil {
		line := 1
		var syntax *json.SyntaxError // which quotes a character
		if errors.As(err, &syntax) {
			line += bytes.Count(text[start:start+int(syntax.Offset)], []byte("\n"))
		}
		return 0, fmt.Errorf("it is not JSON from line %d on", line)
	}
	if start = jsonSpace(text, start); text[start] != '{' {
		return 0, fmt.Errorf("it is not a JSON object")
	}
	return start, nil
}

// jsonMembers lists the members of the object that begins at the position.
func jsonMembers(text []byte, at int) []jsonMember {
	var all []jsonMember
	for at = jsonSpace(text, at+1); text[at] != '}'; at = jsonNext(text, at) {
		m := jsonMember{nameAt: at, nameEnd: jsonEnd(text, at)}
		_ = json.Unmarshal(text[m.nameAt:m.nameEnd], &m.name) // a string, which the caller checked
		m.valueAt = jsonSpace(text, jsonSpace(text, m.nameEnd)+1)
		m.valueEnd = jsonEnd(text, m.valueAt)
		all = append(all, m)
		at = m.valueEnd
	}
	return all
}

// jsonElements lists where the elements of the array begin.
func jsonElements(text []byte, at int) []int {
	var all []int
	for at = jsonSpace(text, at+1); text[at] != ']'; at = jsonNext(text, at) {
		all = append(all, at)
		at = jsonEnd(text, at)
	}
	return all
}

// jsonNext goes from behind a value to the next one, or to the bracket that
// ends the list.
func jsonNext(text []byte, at int) int {
	if at = jsonSpace(text, at); text[at] == ',' {
		at = jsonSpace(text, at+1)
	}
	return at
}

func jsonSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
		at++
	}
	return at
}

// jsonEnd is the position behind the value that begins at the position.
func jsonEnd(text []byte, at int) int {
	for depth := 0; at < len(text); at++ {
		switch text[at] {
		case '"':
			for at++; text[at] != '"'; at++ {
				if text[at] == '\\' {
					at++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			for at < len(text) && !bytes.ContainsRune([]byte(" \t\r\n,]}"), rune(text[at])) {
				at++
			}
			return at
		}
		if depth == 0 {
			return at + 1
		}
	}
	return at
}

// jsonLast is the member of that name which readers see: of several the last,
// in any letter case, as Go's decoder has it, which the aliyun CLI uses.
func jsonLast(members []jsonMember, name string) (jsonMember, bool) {
	for _, m := range slices.Backward(members) {
		if strings.EqualFold(m.name, name) {
			return m, true
		}
	}
	return jsonMember{}, false
}

// setJSON sets one member of the object that begins at the position. A new
// member goes to the end, spaced like the one before it.
func setJSON(text []byte, at int, field jsonField) []byte {
	members := jsonMembers(text, at)
	if m, ok := jsonLast(members, field.name); ok {
		return splice(text, m.valueAt, m.valueEnd, field.value)
	}
	name, _ := json.Marshal(field.name)
	if len(members) == 0 {
		return splice(text, at+1, at+1, slices.Concat(name, []byte(": "), field.value))
	}
	last := members[len(members)-1]
	before := at + 1
	if len(members) > 1 {
		before = jsonSpace(text, members[len(members)-2].valueEnd) + 1
	}
	return splice(text, last.valueEnd, last.valueEnd, slices.Concat(
		[]byte(","), text[before:last.nameAt], name, text[last.nameEnd:last.valueAt], field.value))
}

func splice(text []byte, from, to int, replacement []byte) []byte {
	return slices.Concat(text[:from], replacement, text[to:])
}

// jsonText encodes a string as the aliyun CLI would read and write it.
func jsonText(s string) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// decodesTo tells whether a JSON value is that string.
func decodesTo(value []byte, s string) bool {
	var decoded *string
	return json.Unmarshal(value, &decoded) == nil && decoded != nil && *decoded == s
}
