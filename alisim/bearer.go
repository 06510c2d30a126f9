package alisim

import (
	"log/slog"
	"time"
)

// BearerToken lets whoever shows it call as a RAM user the few actions that take bearer tokens: GetCallerIdentity and
// GetInstance of CCC.
type BearerToken struct {
	Token      string    `json:"token"`
	Expiration time.Time `json:"expiration,omitzero"` // zero: never
}

// String leaves the token out.
func (b BearerToken) String() string { return "BearerToken{" + b.Expiration.Format(time.RFC3339) + "}" }

// GoString leaves the token out.
func (b BearerToken) GoString() string { return b.String() }

// LogValue leaves the token out.
func (b BearerToken) LogValue() slog.Value { return slog.StringValue(b.String()) }

// readBearer takes a bearer token out of a request: the header of V3, or the parameters of V1 with the signature type
// BEARERTOKEN. Nonce and timestamp are those of the signature scheme; what a client may have signed is not looked at.
func (m *message) readBearer() (sig signature, token string, refused *problem) {
	if token = m.header.Get("X-Acs-Bearer-Token"); token != "" {
		kind := m.params["SignatureType"]
		if kind == "" {
			kind = m.header.Get("X-Acs-Signature-Type")
		}
		sig = signature{scheme: "bearer", nonce: m.header.Get("X-Acs-Signature-Nonce"), kind: kind}
		sig.when, refused = parseStamp(m.header.Get("X-Acs-Date"))
	} else if token = m.params["BearerToken"]; token != "" {
		sig = signature{scheme: "bearer", nonce: m.params["SignatureNonce"], kind: m.params["SignatureType"]}
		sig.when, refused = parseStamp(m.params["Timestamp"])
	}
	if token != "" && refused == nil && sig.kind != "BEARERTOKEN" {
		refused = invalidSignatureType()
	}
	return sig, token, refused
}

func parseStamp(text string) (time.Time, *problem) {
	when, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil {
		return when, gatewayProblem("InvalidTimeStamp.Format")
	}
	return when, nil
}

// bearerHolder finds who shows a bearer token.
func (st *store) bearerHolder(token string, now time.Time) (principal, *problem) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	b := st.sources.bearers[token]
	switch {
	case b == nil || b.user.account.users[b.user.name] != b.user:
		return principal{}, malformedRequest("InvalidBearerToken", "Specified BearerToken is not valid.")
	case !b.expires.IsZero() && !now.Before(b.expires):
		return principal{}, malformedRequest("InvalidBearerToken.Expired", "Specified BearerToken is expired.")
	}
	return principal{kind: "RAMUser", account: b.user.account.id, name: b.user.name, id: b.user.id}, nil
}
