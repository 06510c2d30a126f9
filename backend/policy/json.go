package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// decode decodes one JSON value and keeps the digits of its numbers.
func decode(document string, to any) error {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	if err := decoder.Decode(to); err != nil {
		return jsonError(document, err)
	}
	// A Decoder stops after the first value, and does not see what follows it.
	if end := decoder.InputOffset(); strings.TrimSpace(document[end:]) != "" {
		return invalidAt(document, end+1)
	}
	return nil
}

// encode does not escape <, > and &: RAM would count six characters for each.
func encode(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", jsonError("", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// compact takes the white space between the tokens away.
func compact(document string) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(document)); err != nil {
		return "", jsonError(document, json.Unmarshal([]byte(document), new(any))) // says at which byte, and decodes nothing
	}
	return b.String(), nil
}

// place is where in a policy document a string stands.
type place int

const (
	anywhere  place = iota // Resource, Action and the like
	condition              // a Condition
	address                // a Condition on an IP address
)

// below is the place of what an object has under a key.
func (at place) below(key string) place {
	switch {
	case at == anywhere && strings.EqualFold(key, "Condition"):
		return condition
	case at == condition && strings.Contains(strings.ToLower(key), "ipaddress"):
		return address
	}
	return at
}

// eachString replaces the strings in a decoded JSON value. It leaves the keys
// of objects alone.
func eachString(value any, at place, replace func(string, place) (string, error)) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		return replace(v, at)
	case []any:
		for i := range v {
			if v[i], err = eachString(v[i], at, replace); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = eachString(v[key], at.below(key), replace); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// templatedKey tells whether an object in a decoded JSON value has a key with
// braces of a template, which stay as they are.
func templatedKey(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, templatedKey)
	case map[string]any:
		for key, inner := range v {
			if strings.Contains(key, "{{") || templatedKey(inner) {
				return true
			}
		}
	}
	return false
}

// jsonError says where JSON is wrong without quoting it: a document may hold
// what does not belong in an answer or a log.
func jsonError(document string, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return invalidAt(document, syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("found a JSON %s at byte %d", kind.Value, kind.Offset)
	}
	return errors.New("invalid JSON")
}

// invalidAt says where a document is no JSON any more, its first byte being 1. Of the
// document it repeats punctuation alone.
func invalidAt(document string, at int64) error {
	if at < 1 || at > int64(len(document)) {
		return fmt.Errorf("invalid JSON at byte %d", at)
	}
	before, wrong := document[:at-1], document[at-1:at]
	line, column := 1+strings.Count(before, "\n"), len(before)-strings.LastIndex(before, "\n")
	place := fmt.Sprintf("invalid JSON at byte %d (line %d, column %d)", at, line, column)
	last := strings.TrimRight(before, " \t\r\n")
	switch {
	case strings.Contains("]}", wrong) && strings.HasSuffix(last, ","):
		return fmt.Errorf("%s: there is a comma too many before the %s", place, wrong)
	case wrong == "'":
		return fmt.Errorf("%s: a string begins with \", not with '", place)
	case strings.HasSuffix(last, "{") && strings.Trim(wrong, " \t\r\n") != "":
		return fmt.Errorf("%s: a name stands in \", which a shell may have taken away", place)
	case strings.Contains("{[", wrong) && last != "" && strings.ContainsAny(last[len(last)-1:], "}]"), wrong == `"` && strings.HasSuffix(last, `"`):
		return fmt.Errorf("%s: a comma is missing before it", place)
	case at == int64(len(document)) && strings.Count(document, "{")+strings.Count(document, "[") > strings.Count(document, "}")+strings.Count(document, "]"):
		return fmt.Errorf("%s: it ends too early", place)
	}
	return errors.New(place)
}
