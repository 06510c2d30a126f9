package openapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	algorithm     = "ACS3-HMAC-SHA256"
	contentHeader = "X-Acs-Content-Sha256"
)

// sign adds the ACS3-HMAC-SHA256 headers ("V3 request body and signature
// mechanism" of Alibaba Cloud) to h. query is the encoded query string
// exactly as it is sent.
func sign(h http.Header, k Keys, host, query string, body []byte) {
	h[contentHeader] = []string{hexSHA256(body)}
	if k.SecurityToken != "" {
		h["X-Acs-Security-Token"] = []string{k.SecurityToken}
	}
	canonical, signed := canonicalRequest(h, host, query)
	mac := hmac.New(sha256.New, []byte(k.AccessKeySecret))
	mac.Write([]byte(algorithm + "\n" + hexSHA256([]byte(canonical))))
	h.Set("Authorization", algorithm+" Credential="+k.AccessKeyID+
		",SignedHeaders="+signed+
		",Signature="+hex.EncodeToString(mac.Sum(nil)))
}

// canonicalRequest covers host, content-type and every x-acs- header, and
// returns the names it covers.
func canonicalRequest(h http.Header, host, query string) (canonical, signed string) {
	type line struct{ name, value string }
	lines := make([]line, 1, len(h)+1)
	lines[0] = line{"host", host}
	for name, values := range h {
		if lower := strings.ToLower(name); lower == "content-type" || strings.HasPrefix(lower, "x-acs-") {
			lines = append(lines, line{lower, strings.TrimSpace(values[0])})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	names := make([]string, len(lines))
	var b strings.Builder
	b.Grow(1024)
	b.WriteString("POST\n/\n" + query + "\n")
	for i, l := range lines {
		names[i] = l.name
		b.WriteString(l.name + ":" + l.value + "\n")
	}
	signed = strings.Join(names, ";")
	b.WriteString("\n" + signed + "\n" + h.Get(contentHeader))
	return b.String(), signed
}

// encode is a query string or form body: sorted by name, percent-encoded
// as RFC 3986 asks (url.Values would turn a space into a plus sign, which
// the gateway does not verify).
func encode(params map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(params)) {
		if i > 0 {
			b.WriteByte('&')
		}
		escape(&b, name)
		b.WriteByte('=')
		escape(&b, params[name])
	}
	return b.String()
}

func escape(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
}

func timestamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05Z") }

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
