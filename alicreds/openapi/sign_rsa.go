package openapi

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// rsaQuery is the query of a request signed by an RSA key pair. That exists
// only in the older signature, with SHA256withRSA in the place of HMAC-SHA1.
func rsaQuery(r Request) (string, error) {
	params := maps.Clone(r.Params)
	if params == nil {
		params = map[string]string{}
	}
	maps.Copy(params, map[string]string{
		"Action":           r.Action,
		"Version":          r.Version,
		"Format":           "JSON",
		"AccessKeyId":      r.Keys.AccessKeyID,
		"SignatureMethod":  "SHA256withRSA",
		"SignatureType":    "PRIVATEKEY",
		"SignatureVersion": "1.0",
		"SignatureNonce":   rand.Text(),
		"Timestamp":        timestamp(),
	})
	query := encode(params)
	var toSign strings.Builder
	toSign.WriteString(http.MethodGet + "&%2F&")
	escape(&toSign, query)
	hash := sha256.Sum256([]byte(toSign.String()))
	signature, err := rsa.SignPKCS1v15(rand.Reader, r.PrivateKey, crypto.SHA256, hash[:])
	if err != nil {
		return "", fmt.Errorf("openapi: %s: the private key cannot sign", r.Action)
	}
	return query + "&" + encode(map[string]string{"Signature": base64.StdEncoding.EncodeToString(signature)}), nil
}
