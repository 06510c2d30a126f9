package alicreds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// Nobody tells these sources for how long a session was asked. One that claims more
// than the longest there is ends with that; a clock that is a little ahead is believed.
func TestSessionOfUnknownDurationEndsWithTheLongest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		says, cut time.Duration
	}{
		{"for ever", 200 * 365 * 24 * time.Hour, 12 * time.Hour},
		{"a day", 24 * time.Hour, 12 * time.Hour},
		{"by a clock that is ahead", 12*time.Hour + 10*time.Minute, 0},
		{"shorter", 6 * time.Hour, 0},
	} {
		says := time.Now().Add(tc.says).UTC().Format(time.RFC3339)
		instance := newInstance(t)
		instance.keys = expiring(codedJSON(), says)
		exchanged := strings.Replace(oauthSessionJSON, "2999-01-01T00:00:00Z", says, 1)
		for name, p := range map[string]alicreds.Provider{
			"ecs_ram_role":    instance.provider(t, "", true),
			"credentials_uri": credentialsURI(t, newDesk(t, answers(200, expiring(codedJSON(), says))).URL, alicreds.CredentialsURIOptions{}),
			"cloud_sso":       cloudSSO(t, fakeAccessToken, cloudSSOOptions(newDesk(t, answers(200, expiring(cloudSSOJSON, says))).URL)),
			"oauth":           oauth(t, alicreds.OAuthTokens{AccessToken: "a"}, authority(t, answers(200, oauthTokenJSON), answers(200, exchanged)).oauth()),
			"external": external(t, alicreds.ExternalOptions{}, "print",
				`{"mode":"StsToken","access_key_id":"STS.i","access_key_secret":"s","sts_token":"t","expiration":"`+says+`"}`),
		} {
			wantEnd(t, tc.name+", "+name, p, says, tc.cut)
		}
	}
}

// A session that a login keeps in its profile, with an end that none can have, is not
// used in place of a new one.
func TestKeptSessionThatClaimsToLiveForEver(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]time.Duration{"an hour": time.Hour, "a day": 24 * time.Hour, "for ever": 200 * 365 * 24 * time.Hour} {
		desk := newDesk(t, answers(200, expiring(cloudSSOJSON, inAnHour())))
		o := cloudSSOOptions(desk.URL)
		o.Session = alicreds.Credentials{AccessKeyID: "STS.kept", AccessKeySecret: "s", SecurityToken: "t", Expiration: time.Now().Add(left)}
		got := get(t, cloudSSO(t, fakeAccessToken, o))
		if kept := got.AccessKeyID == "STS.kept"; kept != (left == time.Hour) {
			t.Errorf("%s: the kept session is used: %t", name, kept)
		}
	}
}
