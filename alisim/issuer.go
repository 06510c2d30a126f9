package alisim

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Issuer is an OpenID Connect issuer, such as a Kubernetes cluster is. The simulator serves its discovery document and
// keys at URL, over TLS with a certificate of its own authority, and in process without ports. Its methods may be called
// from any goroutine. What it answers goes wrong with faults on the actions Issuer.Discovery and Issuer.JWKS.
type Issuer struct {
	URL string // the iss claim

	server *Server

	mu        sync.Mutex
	keys      []signingKey // the first one signs, all are published
	untrusted bool
}

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

// rsaBits is the size of the keys of issuers: what real ones use.
const rsaBits = 2048

// Issuer returns the issuer of a name and makes it the first time. Its URL is
// https://oidc-ack-alisim.oss-cn-hangzhou.aliyuncs.com/NAME, in every simulator; at the simulator's URL its documents
// are also below /oidc/NAME.
func (s *Server) Issuer(name string) (*Issuer, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, fmt.Errorf("alisim: the issuer name %q is not made of small letters, digits and hyphens", name)
	}
	s.issuersMu.Lock()
	defer s.issuersMu.Unlock()
	if i := s.issuers[name]; i != nil {
		return i, nil
	}
	i := &Issuer{URL: "https://" + issuerHost + "/" + name, server: s}
	if err := i.Rotate(false); err != nil {
		return nil, err
	}
	if s.issuers == nil {
		s.issuers = map[string]*Issuer{}
	}
	s.issuers[name] = i
	return i, nil
}

// Rotate makes a new key, which signs from now on. The keys of before stay published only if keepOld is true.
func (i *Issuer) Rotate(keepOld bool) error {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return fmt.Errorf("alisim: make the key of an issuer: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !keepOld {
		i.keys = nil
	}
	i.keys = slices.Insert(i.keys, 0, signingKey{id: "alisim-" + randomText(12), key: key})
	return nil
}

// SetUntrusted makes the cloud find, at its next fetch of keys, a certificate chain that it does not accept.
func (i *Issuer) SetUntrusted(untrusted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.untrusted = untrusted
}

func (i *Issuer) distrusted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.untrusted
}

// TokenDefect says what is wrong with a token.
type TokenDefect string

// The defects of tokens. A token without one is good.
const (
	TokenBadSignature  TokenDefect = "signature"     // signed by a key that is not the issuer's, under its key id
	TokenHS256         TokenDefect = "hs256"         // signed with HMAC-SHA256
	TokenUnsigned      TokenDefect = "none"          // alg none
	TokenUnknownKey    TokenDefect = "kid"           // names a key that is not published
	TokenExpired       TokenDefect = "expired"       // its life was over an hour ago
	TokenNotYetValid   TokenDefect = "not_yet_valid" // becomes valid in an hour
	TokenOtherAudience TokenDefect = "audience"      // for somebody else
	TokenOtherIssuer   TokenDefect = "issuer"        // names another issuer
	TokenTwoParts      TokenDefect = "two_parts"     // has no signature part
	TokenNotBase64     TokenDefect = "not_base64"    // its claims are not base64
	TokenNotJSON       TokenDefect = "not_json"      // its claims are not JSON
)

// IdentityToken is what an Issuer signs. The zero value is a good token for the provider of SourcesSeed.
type IdentityToken struct {
	Subject   string         `json:"subject,omitempty"`   // sub; default DefaultSubject
	Audience  []string       `json:"audience,omitempty"`  // aud; default DefaultAudience
	Issuer    string         `json:"issuer,omitempty"`    // iss; default the URL of the issuer
	IssuedAt  time.Time      `json:"issued_at,omitzero"`  // iat; default now, by the simulator's clock
	NotBefore time.Time      `json:"not_before,omitzero"` // nbf; default none
	Expires   time.Time      `json:"expires,omitzero"`    // exp; default an hour after IssuedAt
	Claims    map[string]any `json:"claims,omitempty"`    // further claims; they win, and null removes a claim
	Defect    TokenDefect    `json:"defect,omitempty"`
}

// Sign returns the token in its compact form.
func (i *Issuer) Sign(t IdentityToken) (string, error) {
	now := i.server.Now()
	if t.IssuedAt.IsZero() {
		t.IssuedAt = now
	}
	if t.Expires.IsZero() {
		t.Expires = t.IssuedAt.Add(time.Hour)
	}
	claims := map[string]any{
		"iss": i.URL, "sub": DefaultSubject, "aud": []string{DefaultAudience},
		"iat": t.IssuedAt.Unix(), "exp": t.Expires.Unix(), "jti": randomText(16),
	}
	if t.Issuer != "" {
		claims["iss"] = t.Issuer
	}
	if t.Subject != "" {
		claims["sub"] = t.Subject
	}
	if t.Audience != nil {
		claims["aud"] = t.Audience
	}
	if !t.NotBefore.IsZero() {
		claims["nbf"] = t.NotBefore.Unix()
	}
	maps.Copy(claims, t.Claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })

	i.mu.Lock()
	signer := i.keys[0]
	i.mu.Unlock()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": signer.id}
	switch t.Defect {
	case "":
	case TokenBadSignature:
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return "", fmt.Errorf("alisim: make a wrong key: %w", err)
		}
		signer.key = key
	case TokenHS256:
		header["alg"] = "HS256"
	case TokenUnsigned:
		header["alg"] = "none"
	case TokenUnknownKey:
		header["kid"] = "alisim-unknown"
	case TokenExpired:
		claims["iat"], claims["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	case TokenNotYetValid:
		claims["nbf"], claims["exp"] = now.Add(time.Hour).Unix(), now.Add(2*time.Hour).Unix()
	case TokenOtherAudience:
		claims["aud"] = []string{"somebody-else"}
	case TokenOtherIssuer:
		claims["iss"] = i.URL + "-of-somebody-else"
	case TokenTwoParts, TokenNotBase64, TokenNotJSON:
	default:
		return "", fmt.Errorf("alisim: unknown defect of a token %q", t.Defect)
	}
	token, err := compact(header, claims, signer.key, t.Defect)
	if err != nil {
		return "", err
	}
	i.server.store.keepSecret(token)
	return token, nil
}

// compact encodes and signs a token.
func compact(header, claims map[string]any, key *rsa.PrivateKey, defect TokenDefect) (string, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("alisim: encode the header of a token: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("alisim: encode the claims of a token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	payload := encode(body)
	switch defect {
	case TokenNotBase64:
		payload = "!" + payload
	case TokenNotJSON:
		payload = encode([]byte("these are no claims"))
	}
	signed := encode(head) + "." + payload
	switch defect {
	case TokenTwoParts:
		return signed, nil
	case TokenUnsigned:
		return signed + ".", nil
	case TokenHS256:
		mac := hmac.New(sha256.New, key.N.Bytes()) // the public key as the secret: the classic confusion
		mac.Write([]byte(signed))
		return signed + "." + encode(mac.Sum(nil)), nil
	}
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("alisim: sign a token: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// serveIssuer is the door of all issuers. Its actions are Issuer.Discovery and Issuer.JWKS.
func (s *Server) serveIssuer(w http.ResponseWriter, r *http.Request) {
	name, document, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/oidc"), "/"), "/")
	action := "Issuer.Discovery"
	if document == "jwks" {
		action = "Issuer.JWKS"
	}
	c := s.newCall(r, "Issuer", action)
	s.exchange(w, r, c, door{
		deny: func(p *problem) answer {
			return jsonAnswer(p.status, p.code, object{{"error", p.code}, {"error_description", p.message}})
		},
		apply: func() answer {
			s.issuersMu.Lock()
			i := s.issuers[name]
			s.issuersMu.Unlock()
			switch {
			case i == nil || r.Method != http.MethodGet:
			case document == ".well-known/openid-configuration":
				return jsonAnswer(http.StatusOK, "", object{
					{"issuer", i.URL},
					{"jwks_uri", i.URL + "/jwks"},
					{"response_types_supported", []string{"id_token"}},
					{"subject_types_supported", []string{"public"}},
					{"id_token_signing_alg_values_supported", []string{"RS256"}},
				})
			case document == "jwks":
				return jsonAnswer(http.StatusOK, "", object{{"keys", i.published()}})
			}
			return textAnswer(http.StatusNotFound, "Not Found")
		},
	})
}

func (i *Issuer) published() []object {
	i.mu.Lock()
	defer i.mu.Unlock()
	encode := base64.RawURLEncoding.EncodeToString
	keys := []object{}
	for _, k := range i.keys {
		keys = append(keys, object{
			{"kty", "RSA"},
			{"use", "sig"},
			{"alg", "RS256"},
			{"kid", k.id},
			{"n", encode(k.key.N.Bytes())},
			{"e", encode(big.NewInt(int64(k.key.E)).Bytes())},
		})
	}
	return keys
}

// publicKeys reads a JWKS. Keys of other kinds than RSA are left out.
func publicKeys(text []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct{ Kty, Kid, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("the keys are not JSON")
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Kty != "RSA" {
			continue
		}
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		if errN != nil || errE != nil || len(n) < rsaBits/8 || len(e) == 0 || len(e) > 4 {
			return nil, errors.New("a key is malformed")
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no RSA key")
	}
	return keys, nil
}

// trustIssuers undoes SetUntrusted.
func (s *Server) trustIssuers() {
	s.issuersMu.Lock()
	defer s.issuersMu.Unlock()
	for _, i := range s.issuers {
		i.SetUntrusted(false)
	}
}
