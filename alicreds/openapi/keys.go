package openapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Keys sign a request. The zero value sends it unsigned, which only
// AssumeRoleWithOIDC and its kin accept.
//
// Keys never print their secrets: fmt in every verb, encoding/json and
// log/slog show only a masked AccessKeyID.
type Keys struct {
	AccessKeyID     string // of an AccessKey, or of temporary keys
	AccessKeySecret string // never leaves the process
	SecurityToken   string // set for temporary keys only
}

func (k Keys) anonymous() bool { return k == Keys{} }

// check refuses keys that no request can be signed with. It names the
// field and never the value.
func (k Keys) check() error {
	switch {
	case k.anonymous():
		return nil
	case k.AccessKeyID == "":
		return fmt.Errorf("openapi: the keys have no AccessKeyID")
	case k.AccessKeySecret == "":
		return fmt.Errorf("openapi: the keys have no AccessKeySecret")
	case !headerSafe(k.AccessKeyID):
		return fmt.Errorf("openapi: the AccessKeyID contains a character that no HTTP header can carry")
	case !headerSafe(k.SecurityToken):
		return fmt.Errorf("openapi: the SecurityToken contains a character that no HTTP header can carry")
	}
	return nil
}

func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// String shows which key it is without giving it away.
func (k Keys) String() string {
	switch {
	case k.anonymous():
		return "Keys(none)"
	case k.SecurityToken != "":
		return "Keys(" + mask(k.AccessKeyID) + ", temporary)"
	default:
		return "Keys(" + mask(k.AccessKeyID) + ")"
	}
}

// Format prints String for every verb, %#v too.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalJSON encodes String.
func (k Keys) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// LogValue logs String.
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// mask keeps the first four characters of an identifier: enough to tell
// LTAI keys from STS keys, not enough to use.
func mask(id string) string {
	if len(id) < 12 {
		return "****"
	}
	return id[:4] + "****"
}
