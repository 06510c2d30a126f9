package alisim

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // fingerprints of OIDC providers are SHA-1 by definition
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// OIDCProvider is an OpenID Connect identity provider registered in an account.
type OIDCProvider struct {
	Name              string   `json:"name"`                          // at most 128 characters
	IssuerURL         string   `json:"issuer_url"`                    // https, at most 255 characters, without query, fragment and @
	ClientIDs         []string `json:"client_ids"`                    // accepted audiences, 1 to 50
	Fingerprints      []string `json:"fingerprints,omitempty"`        // SHA-1 of certificates in the issuer's chain, in hex, at most 5; empty: any
	IssuanceLimitTime int      `json:"issuance_limit_time,omitempty"` // hours that iat may lie back, 1 to 168; default 12
	// FetchURL is where the discovery document and the keys are fetched instead of IssuerURL: https or http, loopback.
	// It stands for the network between the cloud and an issuer that a test runs itself, such as a Vault server.
	FetchURL string `json:"fetch_url,omitempty"`
}

const (
	keysLife     = 5 * time.Minute  // of fetched keys, by the simulator's clock
	fetchTimeout = 30 * time.Second // of both documents; an issuer in a test may share a busy machine
	iatLeeway    = 5 * time.Minute  // of iat and nbf in the future
)

var (
	providerARNPattern  = regexp.MustCompile(`^acs:ram::([0-9]+):oidc-provider/([A-Za-z0-9._-]{1,128})$`)
	providerNamePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	fingerprintPattern  = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)
)

// oidcProvider is a registered provider. keys and fetched are guarded by the lock of the store.
type oidcProvider struct {
	OIDCProvider
	account *account
	arn     string
	keys    map[string]*rsa.PublicKey
	fetched time.Time
}

func (p OIDCProvider) arn(accountID string) string {
	return "acs:ram::" + accountID + ":oidc-provider/" + p.Name
}

func (p OIDCProvider) validate() error {
	issuer, err := url.Parse(p.IssuerURL)
	switch {
	case !providerNamePattern.MatchString(p.Name):
		return fmt.Errorf("alisim: seed: the OIDC provider name %q is not 1 to 128 letters, digits and . _ -", p.Name)
	case err != nil || issuer.Scheme != "https" || issuer.Host == "" || len(p.IssuerURL) > 255 ||
		strings.ContainsAny(p.IssuerURL, "?#@"):
		return fmt.Errorf("alisim: seed: the issuer URL of OIDC provider %s is not https, at most 255 characters, without ? # @", p.Name)
	case len(p.ClientIDs) < 1 || len(p.ClientIDs) > 50:
		return fmt.Errorf("alisim: seed: OIDC provider %s needs 1 to 50 client ids", p.Name)
	case len(p.Fingerprints) > 5 || slices.ContainsFunc(p.Fingerprints, func(f string) bool { return !fingerprintPattern.MatchString(f) }):
		return fmt.Errorf("alisim: seed: the fingerprints of OIDC provider %s are not up to 5 SHA-1 sums in hex", p.Name)
	case p.IssuanceLimitTime < 0 || p.IssuanceLimitTime > 168:
		return fmt.Errorf("alisim: seed: the issuance limit time of OIDC provider %s is not 1 to 168 hours", p.Name)
	}
	return nil
}

// oidcActions are the rows of AssumeRoleWithOIDC.
func oidcActions() []action {
	return []action{{
		service: "Sts", version: stsVersion, name: "AssumeRoleWithOIDC", auth: anonymous, writes: true,
		required: []string{"OIDCProviderArn", "RoleArn", "RoleSessionName"}, prepare: (*Server).verifyIdentity,
		handle: assumeRoleWithOIDC,
	}}
}

// identity is a token that was found good.
type identity struct {
	provider        *oidcProvider
	issuer, subject string
	audiences       []string // those that are client ids of the provider
	issued, expires time.Time
}

func authenticationFail(code, message string) *problem {
	return refuse(http.StatusUnauthorized, "AuthenticationFail."+code, message)
}

// verifyIdentity checks everything about the token. It runs before the store is locked because it asks the issuer.
func (s *Server) verifyIdentity(ctx context.Context, r *request) *problem {
	arn := r.get("OIDCProviderArn")
	if !providerARNPattern.MatchString(arn) {
		return authenticationFail("NoPermission", "Parameter OIDCProviderArn is not valid")
	}
	if _, refused := readSessionRequest(r); refused != nil {
		return refused
	}
	s.store.mu.RLock()
	provider := s.store.sources.providers[arn]
	s.store.mu.RUnlock()
	if provider == nil {
		return authenticationFail("NoPermission", "No such OIDC Provider registered.")
	}
	if refused := s.limits.allow(&action{service: "Sts", name: "AssumeRoleWithOIDC", writes: true}, provider.account.id, s.rateLimits(), r.now); refused != nil {
		return refused
	}
	token, refused := parseToken(r.get("OIDCToken"))
	if refused != nil {
		return refused
	}
	if token.issuer != provider.IssuerURL {
		return authenticationFail("OIDCToken.IssuerNotMatch", "The issuer in the OIDC Token doesn't match the OIDC Provider registered.")
	}
	if refused := s.verifySignature(ctx, provider, token, r.now); refused != nil {
		return refused
	}
	limit := seconds(provider.IssuanceLimitTime*3600, 12*3600)
	switch {
	case !r.now.Before(token.expires), token.issued.Before(r.now.Add(-limit)):
		return authenticationFail("OIDCToken.Expired", "This JsonWebToken is expired.")
	case token.issued.After(r.now.Add(iatLeeway)), token.notBefore.After(r.now.Add(iatLeeway)):
		return invalidToken(unrecognized)
	}
	id := &identity{
		provider: provider, issuer: token.issuer, subject: token.subject, issued: token.issued, expires: token.expires,
	}
	for _, aud := range token.audiences {
		if slices.Contains(provider.ClientIDs, aud) {
			id.audiences = append(id.audiences, aud)
		}
	}
	if len(id.audiences) == 0 {
		return authenticationFail("OIDCToken.AudienceNotMatch", "Invalid audience.")
	}
	r.identity = id
	return nil
}

func assumeRoleWithOIDC(r *request) (object, *problem) {
	in, refused := readSessionRequest(r)
	if refused != nil {
		return nil, refused
	}
	target, refused := r.store.roleFor(in, r.now)
	if refused != nil {
		refused.message = "The role not exists: " + in.roleARN + ". " // the sentence of AssumeRole is another
		return nil, refused
	}
	id := r.identity
	trusted := slices.ContainsFunc(id.audiences, func(aud string) bool {
		env := maps.Clone(r.env)
		env["oidc:iss"], env["oidc:aud"], env["oidc:sub"] = id.issuer, aud, id.subject
		return target.trust.trusts("Federated", []string{id.provider.arn}, "sts:AssumeRole", env) == allowed
	})
	if !trusted {
		return nil, authenticationFail("NoPermission", "There is no permission")
	}
	out, refused := r.store.issue(target, in, r.now)
	if refused != nil {
		return nil, refused
	}
	return append(object{{"OIDCTokenInfo", object{
		{"Subject", id.subject},
		{"Issuer", id.issuer},
		{"ClientIds", strings.Join(id.audiences, ",")},
		{"ExpirationTime", stamp(id.expires)},
		{"IssuanceTime", stamp(id.issued)},
		{"VerificationInfo", "Success"},
	}}}, out...), nil
}

// jwt is a token taken apart, not verified yet.
type jwt struct {
	keyID           string
	signed          string
	signature       []byte
	issuer, subject string
	audiences       []string
	issued, expires time.Time
	notBefore       time.Time // zero: no such claim
}

const unrecognized = "The Jwt content is invalid that cannot be recognized."

func invalidToken(message string) *problem { return authenticationFail("OIDCToken.Invalid", message) }

// parseToken takes a token apart. It is strict about the encoding: white space around a token is an error.
func parseToken(text string) (jwt, *problem) {
	if text == "" {
		return jwt{}, invalidToken("The OIDCToken can not empty.")
	}
	if len(text) < 4 || len(text) > 20_000 {
		return jwt{}, invalidToken(unrecognized)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return jwt{}, invalidToken("The number of Jwt field should be divided into 3 parts with '.' .")
	}
	decoded := make([][]byte, 3)
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return jwt{}, invalidToken("Cannot decode base64 encoded response(format invalided).")
		}
	}
	var header struct{ Alg, Kid string }
	if json.Unmarshal(decoded[0], &header) != nil {
		return jwt{}, invalidToken(unrecognized)
	}
	if header.Alg != "RS256" {
		return jwt{}, invalidToken("The algorithm " + header.Alg + " that be specified in Jwt header is unknown.")
	}
	var claims struct {
		Iss, Sub      string
		Aud           oneOrMany
		Iat, Exp, Nbf *float64
	}
	if json.Unmarshal(decoded[1], &claims) != nil || claims.Iss == "" || claims.Sub == "" || claims.Aud == nil ||
		claims.Iat == nil || claims.Exp == nil {
		return jwt{}, invalidToken(unrecognized)
	}
	out := jwt{
		keyID: header.Kid, signed: parts[0] + "." + parts[1], signature: decoded[2],
		issuer: claims.Iss, subject: claims.Sub, audiences: claims.Aud,
		issued: time.Unix(int64(*claims.Iat), 0), expires: time.Unix(int64(*claims.Exp), 0),
	}
	if claims.Nbf != nil {
		out.notBefore = time.Unix(int64(*claims.Nbf), 0)
	}
	return out, nil
}

// verifySignature holds the token against the issuer's keys: those at hand if they are young, and new ones if the key
// that the token names is not among them. Keys that the issuer has dropped are therefore good for keysLife at most.
func (s *Server) verifySignature(ctx context.Context, p *oidcProvider, token jwt, now time.Time) *problem {
	s.store.mu.RLock()
	keys, fetched := p.keys, p.fetched
	s.store.mu.RUnlock()
	key := keys[token.keyID]
	if key == nil || now.Before(fetched) || now.Sub(fetched) >= keysLife {
		var refused *problem
		if keys, refused = s.fetchKeys(ctx, p.OIDCProvider); refused != nil {
			return refused
		}
		s.store.mu.Lock()
		p.keys, p.fetched = keys, now
		s.store.mu.Unlock()
		key = keys[token.keyID]
	}
	if key == nil && token.keyID == "" && len(keys) == 1 {
		for _, only := range keys {
			key = only
		}
	}
	digest := sha256.Sum256([]byte(token.signed))
	if key == nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], token.signature) != nil {
		return authenticationFail("OIDCToken.InvalidSignature", "OIDC token validate failed: invalid signature.")
	}
	return nil
}

// fetchKeys asks the issuer for its discovery document and then for its keys.
func (s *Server) fetchKeys(ctx context.Context, p OIDCProvider) (map[string]*rsa.PublicKey, *problem) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	broken := authenticationFail("OIDCToken.IssuerConfigurationBroken",
		"Get public keys from OIDC Provider failed, the issuer is "+p.IssuerURL)
	base := strings.TrimSuffix(p.IssuerURL, "/")
	from := base
	if p.FetchURL != "" {
		from = strings.TrimSuffix(p.FetchURL, "/")
	}
	if i := s.issuerAt(p.IssuerURL); i != nil && i.distrusted() {
		return nil, untrustedChain(p.IssuerURL, x509.UnknownAuthorityError{})
	}
	text, chain, err := s.fetch(ctx, from+"/.well-known/openid-configuration")
	if err != nil {
		if refused := untrustedChain(p.IssuerURL, err); refused != nil {
			return nil, refused
		}
		return nil, broken
	}
	if len(p.Fingerprints) > 0 && !slices.ContainsFunc(chain, func(cert *x509.Certificate) bool {
		sum := sha1.Sum(cert.Raw)
		return slices.ContainsFunc(p.Fingerprints, func(f string) bool { return strings.EqualFold(f, hex.EncodeToString(sum[:])) })
	}) {
		return nil, authenticationFail("OIDCToken.PublicKeyFingerprintMismatch",
			"The fingerprint of the OIDC Provider does not match: "+p.IssuerURL)
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if json.Unmarshal(text, &discovery) != nil || discovery.Issuer != p.IssuerURL || discovery.JWKSURI == "" {
		return nil, broken
	}
	location := discovery.JWKSURI
	if below, ok := strings.CutPrefix(location, base); ok {
		location = from + below
	}
	if text, _, err = s.fetch(ctx, location); err != nil {
		return nil, broken
	}
	keys, err := publicKeys(text)
	if err != nil {
		return nil, broken
	}
	return keys, nil
}

// untrustedChain turns an error of certificates into the refusal for it; nil if it is another error.
func untrustedChain(issuer string, err error) *problem {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return authenticationFail("OIDCToken.HttpsUrlInvalid", "The root ca certificate is not in ca whitelist of this url: "+issuer)
	}
	var verification *tls.CertificateVerificationError
	if errors.As(err, &verification) {
		return authenticationFail("OIDCToken.HttpsUrlInvalid", "Invoke url failed due to certificate chain validation")
	}
	return nil
}

// issuerAt returns the simulator's own issuer of a URL.
func (s *Server) issuerAt(issuerURL string) *Issuer {
	s.issuersMu.Lock()
	defer s.issuersMu.Unlock()
	for _, i := range s.issuers {
		if i.URL == issuerURL {
			return i
		}
	}
	return nil
}

// fetch gets a small document and returns the certificates that the other side showed.
func (s *Server) fetch(ctx context.Context, location string) (text []byte, chain []*x509.Certificate, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := s.issuerClient().Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, nil, err
	case response.StatusCode != http.StatusOK || len(text) > maxBody:
		return nil, nil, errors.New("alisim: the issuer has no such document")
	}
	if s.options.NoListen { // in process there is no handshake: the authority is what the issuer would show
		ca, err := s.ca()
		if err != nil {
			return nil, nil, err
		}
		chain = []*x509.Certificate{ca.cert}
	} else if response.TLS != nil {
		chain = response.TLS.PeerCertificates
	}
	return text, chain, nil
}
