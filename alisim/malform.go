package alisim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// hugeBody is the size of a "huge" answer: far beyond what any answer of a service that hands out keys needs.
const hugeBody = 8 << 20

// checkMalform refuses a way to spoil an answer that does not exist. Those that do:
//
//	remove:FIELD      the field is not there, at whatever depth
//	set:FIELD=JSON    the field has another value: set:Expiration="tomorrow", set:AccessKeyId=null, set:Code="Failed"
//	body:TEXT         the body is TEXT
//	empty             the body has no bytes
//	null, object, list, html, not_json
//	                  the body is null, {}, [], a web page with status 200, or the right JSON with its last brace gone
//	huge              8 MiB of blanks, and then the right body
//	stall             the headers, half of the body, and then nothing until the client leaves
//	status:NUMBER     another HTTP status with the right body
//	redirect:URL      302 to URL
//	pascal_case, camel_case
//	                  all names of fields begin with a capital letter, or with a small one
func checkMalform(how string) error {
	kind, argument, hasArgument := strings.Cut(how, ":")
	ok := false
	switch kind {
	case "remove", "redirect":
		ok = argument != ""
	case "body":
		ok = hasArgument
	case "set":
		name, value, found := strings.Cut(argument, "=")
		ok = found && name != "" && json.Valid([]byte(value))
	case "status":
		n, err := strconv.Atoi(argument)
		ok = err == nil && n >= 200 && n <= 599
	default:
		ok = !hasArgument && slices.Contains([]string{
			"empty", "null", "object", "list", "html", "not_json", "huge", "stall", "pascal_case", "camel_case",
		}, kind)
	}
	if !ok {
		return fmt.Errorf("alisim: %q is no way to spoil an answer", how)
	}
	return nil
}

// malform spoils an answer in a way that checkMalform has found good. Fields are found in JSON only.
func (a answer) malform(how string) answer {
	kind, argument, _ := strings.Cut(how, ":")
	a.header = a.header.Clone()
	switch kind {
	case "remove":
		a.body = editJSON(a.body, func(m map[string]any) { delete(m, argument) })
	case "set":
		name, value, _ := strings.Cut(argument, "=")
		a.body = editJSON(a.body, func(m map[string]any) {
			if _, there := m[name]; there {
				m[name] = json.RawMessage(value)
			}
		})
	case "pascal_case":
		a.body = editJSON(a.body, renameFields(unicode.ToUpper))
	case "camel_case":
		a.body = editJSON(a.body, renameFields(unicode.ToLower))
	case "body":
		a.body = []byte(argument)
	case "empty":
		a.body = nil
	case "null":
		a.body = []byte("null")
	case "object":
		a.body = []byte("{}")
	case "list":
		a.body = []byte("[]")
	case "html":
		a.header.Set("Content-Type", "text/html")
		a.body = []byte("<html><body>Please sign in to the network.</body></html>")
	case "not_json":
		a.body = bytes.TrimSuffix(a.body, []byte("}"))
	case "huge":
		a.body = append(bytes.Repeat([]byte(" "), hugeBody), a.body...)
	case "status":
		a.status, _ = strconv.Atoi(argument)
	case "redirect":
		a = answer{status: http.StatusFound, header: http.Header{"Location": {argument}}}
	}
	return a
}

// editJSON applies an edit to every object in a JSON text. Text that is no JSON stays as it is.
func editJSON(text []byte, edit func(map[string]any)) []byte {
	var value any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&value) != nil {
		return text
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, below := range v {
				walk(below)
			}
			edit(v)
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(value)
	out, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return out
}

func renameFields(letter func(rune) rune) func(map[string]any) {
	return func(m map[string]any) {
		renamed := make(map[string]any, len(m))
		for name, value := range m {
			if name != "" {
				name = string(letter(rune(name[0]))) + name[1:]
			}
			renamed[name] = value
		}
		clear(m)
		for name, value := range renamed {
			m[name] = value
		}
	}
}

// stall sends the headers and half of the body, and waits for the client or the server to leave. In process nothing
// arrives before that.
func (s *Server) stall(ctx context.Context, w http.ResponseWriter, a answer) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:len(a.body)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	select {
	case <-ctx.Done():
	case <-s.done:
	}
	panic(http.ErrAbortHandler)
}
