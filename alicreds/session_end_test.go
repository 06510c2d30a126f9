package alicreds_test

import (
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// A session that claims to live longer than it was asked for ends when it can have
// ended; a service whose clock is a little ahead is believed.
func TestSessionEndsWithinItsDuration(t *testing.T) {
	t.Parallel()
	stamp := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	for _, tc := range []struct {
		name, says string
		asked, cut time.Duration
	}{
		{"for ever", "9999-12-31T23:59:59Z", time.Hour, time.Hour},
		{"for ever, of the usual duration", "9999-12-31T23:59:59Z", 0, time.Hour},
		{"longer", stamp(12 * time.Hour), 30 * time.Minute, 30 * time.Minute},
		{"by a clock that is ahead", stamp(40 * time.Minute), 30 * time.Minute, 0},
		{"shorter", stamp(10 * time.Minute), time.Hour, 0},
	} {
		session := newDesk(t, answers(200, expiring(sessionJSON(), tc.says))).sts(t)
		source, err := alicreds.NewAccessKey(fakeID, fakeSecret)
		if err != nil {
			t.Fatal(err)
		}
		assumed, err := alicreds.NewRAMRoleARN(source, alicreds.RAMRoleARNOptions{RoleARN: roleARN, Duration: tc.asked, STSOptions: session})
		if err != nil {
			t.Fatal(err)
		}
		federated, err := alicreds.NewOIDCRoleARN(alicreds.TokenFile(file(t, jwt("{}"))),
			alicreds.OIDCRoleARNOptions{RoleARN: roleARN, OIDCProviderARN: providerARN, Duration: tc.asked, STSOptions: session})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := alicreds.NewRSAKeyPair("pk", pkcs8(rsaKey()), alicreds.RSAKeyPairOptions{
			Duration: tc.asked, STSOptions: newDesk(t, answers(200, expiring(sessionAccessKeyJSON(), tc.says))).sts(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, p := range map[string]alicreds.Provider{"ram_role_arn": assumed, "oidc_role_arn": federated, "rsa_key_pair": pair} {
			wantEnd(t, tc.name+", "+name, p, tc.says, tc.cut)
		}
	}
}

// wantEnd wants the credentials to end when the service says, or, where they are cut,
// that long after they came.
func wantEnd(t *testing.T, name string, p alicreds.Provider, says string, cut time.Duration) {
	t.Helper()
	earliest, err := time.Parse(time.RFC3339, says)
	if err != nil {
		t.Fatal(err)
	}
	latest := earliest
	if cut != 0 {
		earliest = time.Now().Add(cut).Truncate(time.Second)
	}
	end := get(t, p).Expiration
	if cut != 0 {
		latest = time.Now().Add(cut)
	}
	if end.Before(earliest) || end.After(latest) {
		t.Errorf("%s: it ends at %s, want %s to %s", name, end, earliest, latest)
	}
}
