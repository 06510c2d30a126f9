package alisim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// span is a duration in the JSON of the control API: "250ms", or a number of seconds.
type span time.Duration

func (d span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

func (d *span) UnmarshalJSON(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		parsed, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("alisim: %q is no duration such as 250ms", v)
		}
		*d = span(parsed)
	case float64:
		*d = span(v * float64(time.Second))
	default:
		return errors.New("alisim: a duration is a string such as 250ms, or a number of seconds")
	}
	return nil
}

// decodeStrict decodes exactly one JSON value without unknown fields: a misspelt setting must not pass in silence.
func decodeStrict(data []byte, out any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("alisim: more than one JSON value")
	}
	return nil
}
