package alisim

import (
	"crypto/hmac"
	"crypto/sha1" // the V1 signature is HMAC-SHA1 by definition
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// signatureWindow is how far a request's timestamp may be from the gateway's clock, either way.
const signatureWindow = 15 * time.Minute

// signature is what a client claims about a request, before any of it is believed.
type signature struct {
	scheme        string // V1, V3, anonymous
	keyID         string
	token         string // SecurityToken
	nonce         string
	when          time.Time
	value         string
	signedHeaders []string // V3
	method        string   // V1: SignatureMethod
	kind          string   // V1: SignatureType
}

// readV1 takes the V1 signature out of the parameters of an RPC request.
func readV1(params map[string]string) (signature, *problem) {
	sig := signature{
		scheme: "V1",
		keyID:  params["AccessKeyId"],
		token:  params["SecurityToken"],
		nonce:  params["SignatureNonce"],
		value:  params["Signature"],
		method: params["SignatureMethod"],
		kind:   params["SignatureType"],
	}
	if sig.keyID == "" && sig.value == "" {
		sig.scheme = "anonymous"
		return sig, nil
	}
	for _, name := range []string{"AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"} {
		if params[name] == "" {
			return sig, missing(name)
		}
	}
	if params["SignatureVersion"] != "1.0" {
		return sig, malformedRequest("InvalidParameter", `The specified parameter "SignatureVersion" is not valid.`)
	}
	when, err := time.Parse("2006-01-02T15:04:05Z", params["Timestamp"])
	if err != nil {
		return sig, gatewayProblem("InvalidTimeStamp.Format")
	}
	sig.when = when
	return sig, nil
}

// checkV1 verifies an HMAC-SHA1 signature over all parameters of query and form, empty ones included.
func checkV1(method string, params map[string]string, sig signature, secret string) *problem {
	if sig.method != "HMAC-SHA1" {
		return gatewayProblem("InvalidSignatureMethod")
	}
	if sig.kind != "" {
		return invalidSignatureType()
	}
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	text := stringToSignV1(method, params)
	mac.Write([]byte(text))
	if base64.StdEncoding.EncodeToString(mac.Sum(nil)) != sig.value {
		return signatureMismatch(text)
	}
	return nil
}

func stringToSignV1(method string, params map[string]string) string {
	names := make([]string, 0, len(params))
	for name := range params {
		if name != "Signature" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		escape(&b, name)
		b.WriteByte('=')
		escape(&b, params[name])
	}
	var out strings.Builder
	out.WriteString(method + "&%2F&")
	escape(&out, b.String())
	return out.String()
}

// readV3 takes the V3 signature out of the headers.
func readV3(header http.Header) (signature, *problem) {
	sig := signature{
		scheme: "V3",
		token:  header.Get("X-Acs-Security-Token"),
		nonce:  header.Get("X-Acs-Signature-Nonce"),
	}
	authorization := header.Get("Authorization")
	if authorization == "" {
		sig.scheme = "anonymous"
		return sig, nil
	}
	algorithm, rest, _ := strings.Cut(authorization, " ")
	if algorithm != "ACS3-HMAC-SHA256" {
		return sig, gatewayProblem("InvalidSignatureMethod")
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			sig.keyID = value
		case "SignedHeaders":
			sig.signedHeaders = strings.Split(value, ";")
		case "Signature":
			sig.value = value
		default:
			return sig, gatewayProblem("IncompleteSignature")
		}
	}
	if sig.keyID == "" || sig.value == "" || len(sig.signedHeaders) == 0 {
		return sig, gatewayProblem("IncompleteSignature")
	}
	for _, name := range []string{"x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"} {
		if header.Get(name) == "" {
			return sig, missing(name)
		}
	}
	when, err := time.Parse("2006-01-02T15:04:05Z", header.Get("X-Acs-Date"))
	if err != nil {
		return sig, gatewayProblem("InvalidTimeStamp.Format")
	}
	sig.when = when
	return sig, nil
}

// checkV3 verifies an ACS3-HMAC-SHA256 signature. Every x-acs-* header, the host, and the content type if there is one
// must be signed: a client that forgets one is refused here instead of in production.
func checkV3(method, path string, query url.Values, header http.Header, host string, body []byte, sig signature, secret string) *problem {
	if !slices.IsSorted(sig.signedHeaders) || len(slices.Compact(slices.Clone(sig.signedHeaders))) != len(sig.signedHeaders) {
		return gatewayProblem("IncompleteSignature")
	}
	for name := range header {
		name = strings.ToLower(name)
		if (name == "content-type" || strings.HasPrefix(name, "x-acs-")) && !slices.Contains(sig.signedHeaders, name) {
			return gatewayProblem("IncompleteSignature")
		}
	}
	if !slices.Contains(sig.signedHeaders, "host") {
		return gatewayProblem("IncompleteSignature")
	}
	hash := sha256.Sum256(body)
	canonical := sha256.Sum256([]byte(canonicalRequestV3(method, path, query, header, host, sig.signedHeaders)))
	text := "ACS3-HMAC-SHA256\n" + hex.EncodeToString(canonical[:])
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	if header.Get("X-Acs-Content-Sha256") != hex.EncodeToString(hash[:]) || hex.EncodeToString(mac.Sum(nil)) != sig.value {
		return signatureMismatch(text)
	}
	return nil
}

func canonicalRequestV3(method, path string, query url.Values, header http.Header, host string, signedHeaders []string) string {
	var b strings.Builder
	b.WriteString(method + "\n" + path + "\n")
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		escape(&b, name)
		b.WriteByte('=')
		escape(&b, query.Get(name))
	}
	b.WriteByte('\n')
	for _, name := range signedHeaders {
		value := strings.Join(header.Values(name), ",")
		if name == "host" {
			value = host
		}
		b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	b.WriteString("\n" + strings.Join(signedHeaders, ";") + "\n" + header.Get("X-Acs-Content-Sha256"))
	return b.String()
}

// escape percent-encodes per RFC 3986: only letters, digits and -_.~ stay as they are.
func escape(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
}
