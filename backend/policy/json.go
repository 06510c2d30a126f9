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
		return jsonError(err)
	}
	// A Decoder stops after the first value, and does not see what follows it.
	if end := decoder.InputOffset(); strings.TrimSpace(document[end:]) != "" {
		return fmt.Errorf("invalid JSON at byte %d", end+1)
	}
	return nil
}

// encode does not escape <, > and &: RAM would count six characters for each.
func encode(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", jsonError(err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// compact takes the white space between the tokens away.
func compact(document string) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(document)); err != nil {
		return "", jsonError(json.Unmarshal([]byte(document), new(any))) // says at which byte, and decodes nothing
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
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("invalid JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("found a JSON %s at byte %d", kind.Value, kind.Offset)
	}
	return errors.New("invalid JSON")
}
