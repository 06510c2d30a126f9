package alisim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// object is an answer as the cloud's APIs model it: ordered fields whose values are strings, bools, ints, objects or
// lists of objects or strings. It encodes to both wire formats: in XML a list repeats the element named by its field.
type object []field

type field struct {
	name  string
	value any
}

func (o object) json(b []byte) []byte {
	b = append(b, '{')
	for i, f := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, f.name)
		b = append(b, ':')
		b = appendJSON(b, f.value)
	}
	return append(b, '}')
}

func appendJSON(b []byte, value any) []byte {
	switch v := value.(type) {
	case object:
		return v.json(b)
	case []object:
		b = append(b, '[')
		for i, o := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = o.json(b)
		}
		return append(b, ']')
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, s)
		}
		return append(b, ']')
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	default:
		text := fmt.Sprint(v)
		if plain(text) {
			return append(append(append(b, '"'), text...), '"')
		}
		var quoted bytes.Buffer
		enc := json.NewEncoder(&quoted)
		enc.SetEscapeHTML(false) // the cloud writes & as it is
		_ = enc.Encode(text)     // a string always encodes
		return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
	}
}

// plain says whether a string is its own JSON, quotes aside. Tokens are, and they are long.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (o object) xml(b *strings.Builder, name string) {
	b.WriteString("<" + name + ">")
	for _, f := range o {
		appendXML(b, f.name, f.value)
	}
	b.WriteString("</" + name + ">")
}

func appendXML(b *strings.Builder, name string, value any) {
	switch v := value.(type) {
	case object:
		v.xml(b, name)
	case []object:
		for _, o := range v {
			o.xml(b, name)
		}
	case []string:
		for _, s := range v {
			appendXML(b, name, s)
		}
	default:
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(b, fmt.Append(nil, v)) // a strings.Builder does not fail
		b.WriteString("</" + name + ">")
	}
}

// answer is what a door sends back: everything of an HTTP response that alisim decides.
type answer struct {
	status int
	code   string // the error code, for the journal
	header http.Header
	body   []byte
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that is gone does not want it
}

// render encodes a result in the format that the client asked for.
func render(action, requestID string, result object, asXML bool) answer {
	result = append(object{{"RequestId", requestID}}, result...)
	if asXML {
		return encode(http.StatusOK, action+"Response", requestID, result, true)
	}
	return encode(http.StatusOK, "", requestID, result, false)
}

// renderProblem encodes a refusal of a product. The gateway and the services behind it order the members differently.
func renderProblem(host, product, requestID string, p *problem, asXML bool) answer {
	recommend := "https://api.aliyun.com/troubleshoot?q=" + p.code + "&product=" + product + "&requestId=" + requestID
	o := object{{"RequestId", requestID}, {"HostId", host}, {"Code", p.code}, {"Message", p.message}, {"Recommend", recommend}}
	if p.gateway {
		o = object{{"RequestId", requestID}, {"Message", p.message}, {"Recommend", recommend}, {"HostId", host}, {"Code", p.code}}
	}
	if len(p.detail) > 0 {
		o = append(o, field{"AccessDeniedDetail", p.detail})
	}
	a := encode(p.status, "Error", requestID, o, asXML)
	a.code = p.code
	for name, values := range p.header {
		a.header[name] = values
	}
	return a
}

func encode(status int, root, requestID string, o object, asXML bool) answer {
	a := answer{status: status, header: http.Header{"X-Acs-Request-Id": {requestID}}}
	if asXML {
		var b strings.Builder
		b.WriteString("<?xml version='1.0' encoding='UTF-8'?>")
		o.xml(&b, root)
		a.body = []byte(b.String())
		a.header.Set("Content-Type", "text/xml;charset=utf-8")
		return a
	}
	a.body = o.json(nil)
	a.header.Set("Content-Type", "application/json;charset=utf-8")
	return a
}

// withoutRequestID takes away what shows that it is the cloud that answers.
func (a answer) withoutRequestID() answer {
	a.header = a.header.Clone()
	a.header.Del("X-Acs-Request-Id")
	a.body = editJSON(a.body, func(m map[string]any) {
		for _, mark := range []string{"RequestId", "requestId", "HostId", "Recommend"} {
			delete(m, mark)
		}
	})
	a.body = regexp.MustCompile(`<(?:RequestId|HostId|Recommend)>[^<]*</\w+>`).ReplaceAll(a.body, nil)
	return a
}

// stamp prints a time as RAM and STS do: UTC, whole seconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
