package alisim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strconv"
	"strings"
	"time"
)

// KeyPair is an RSA key pair of a RAM user. The cloud knows its public half only.
type KeyPair struct {
	ID        string `json:"id"`
	PublicKey string `json:"public_key"` // PEM, PKIX; at least 2048 bits
}

func (k KeyPair) parse() (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(k.PublicKey))
	if k.ID == "" || block == nil {
		return nil, errors.New("it needs an id and a public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, isRSA := key.(*rsa.PublicKey)
	if err != nil || !isRSA || public.N.BitLen() < rsaBits {
		return nil, errors.New("its public key is no RSA key of at least 2048 bits")
	}
	return public, nil
}

// sessionKeyActions are the rows of GenerateSessionAccessKey.
func sessionKeyActions() []action {
	return []action{{
		service: "Sts", version: stsVersion, name: "GenerateSessionAccessKey", writes: true, keyPair: true,
		handle: generateSessionAccessKey,
	}}
}

// sessionKeyPrefix begins the ids of session access keys, which sign without a token.
const sessionKeyPrefix = "TMPSK."

func generateSessionAccessKey(r *request) (object, *problem) {
	life := 3600
	if text := r.get("DurationSeconds"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 900 || n > 3600 {
			return nil, invalidDuration()
		}
		life = n
	}
	pair := r.store.sources.keyPairs[r.who.keyID]
	for id, k := range r.store.keys { // those whose life is over, so that memory follows the number of live ones
		if strings.HasPrefix(id, sessionKeyPrefix) && !r.now.Before(k.until) {
			delete(r.store.keys, id)
		}
	}
	k := r.store.newKey(pair.user.account, pair.user, AccessKey{ID: sessionKeyPrefix + randomText(24)}, r.now, 0)
	// No key of the user: as if deleted already, and in force until its end.
	k.deleted, k.until = true, r.now.Add(time.Duration(life)*time.Second).Truncate(time.Second)
	return object{{"SessionAccessKey", object{
		{"SessionAccessKeyId", k.id},
		{"SessionAccessKeySecret", k.secret},
		{"Expiration", stamp(k.until)},
	}}}, nil
}

// pairHolder verifies a V1 signature made with the private key of a key pair.
func (s *Server) pairHolder(m *message, sig signature) (principal, *problem) {
	if sig.method != "SHA256withRSA" {
		return principal{}, gatewayProblem("InvalidSignatureMethod")
	}
	s.store.mu.RLock()
	pair := s.store.sources.keyPairs[sig.keyID]
	exists := pair != nil && pair.user.account.users[pair.user.name] == pair.user
	unknown := s.store.settings.UnknownKeyCode
	s.store.mu.RUnlock()
	if !exists {
		return principal{}, gatewayProblem(unknown)
	}
	value, err := base64.StdEncoding.DecodeString(sig.value)
	text := stringToSignV1(m.method, m.params)
	digest := sha256.Sum256([]byte(text))
	if err != nil || rsa.VerifyPKCS1v15(pair.public, crypto.SHA256, digest[:], value) != nil {
		return principal{}, signatureMismatch(text)
	}
	return principal{
		kind: "RAMUser", account: pair.user.account.id, name: pair.user.name, id: pair.user.id, keyID: pair.id,
	}, nil
}

// invalidSignatureType is the refusal of a way to sign that the action does not take.
func invalidSignatureType() *problem {
	return malformedRequest("InvalidParameter", `The specified parameter "SignatureType" is not valid.`)
}
