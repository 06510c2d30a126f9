package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

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

// compactJSON returns doc without white space between its tokens.
func compactJSON(doc []byte) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, doc); err != nil {
		return "", jsonError(err)
	}
	return b.String(), nil
}
