package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	k := Keys{AccessKeyID: "LTAI5tFAKEFAKEFAKE", AccessKeySecret: "fake-secret-value", SecurityToken: "fake-token-value"}
	var out bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, format+"\n", k)
		fmt.Fprintf(&out, format+"\n", &k)
		fmt.Fprintf(&out, format+"\n", struct{ K Keys }{k})
	}
	j, err := json.Marshal(map[string]any{"keys": k})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "keys", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "keys", k)
	for _, secret := range []string{k.AccessKeyID, k.AccessKeySecret, k.SecurityToken, "66616b65"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is printed in\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "LTAI****") {
		t.Errorf("the masked id is missing in\n%s", out.String())
	}
}

func TestKeysCheck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keys Keys
		want string
	}{
		"none":             {Keys{}, ""},
		"good":             {Keys{"id", "secret", ""}, ""},
		"no id":            {Keys{"", "secret", ""}, "no AccessKeyID"},
		"no secret":        {Keys{"id", "", "token"}, "no AccessKeySecret"},
		"newline in id":    {Keys{"id\n", "secret", ""}, "AccessKeyID contains"},
		"newline in token": {Keys{"id", "secret", "to\r\nken"}, "SecurityToken contains"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.keys.check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("check = %v, want %q", err, tc.want)
			}
		})
	}
}
