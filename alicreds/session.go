package alicreds

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of AssumeRole and AssumeRoleWithOIDC, from Alibaba Cloud's API
// reference of STS.
const (
	minDuration     = 15 * time.Minute
	maxDuration     = 12 * time.Hour // the most a role's MaxSessionDuration can be
	defaultDuration = time.Hour
	maxPolicy       = 2048 // characters
)

// checkSessionPolicy refuses only what is never a session policy: it is sent as
// it is, white space included, and STS judges what it says.
func checkSessionPolicy(policy string) error {
	switch {
	case policy == "":
		return nil
	case utf8.RuneCountInString(policy) > maxPolicy:
		return fmt.Errorf("the session policy has more than %d characters", maxPolicy)
	case !strings.HasPrefix(strings.TrimSpace(policy), "{") || !json.Valid([]byte(policy)):
		return fmt.Errorf("the session policy is not a JSON object")
	}
	return nil
}

func checkDuration(d time.Duration) error {
	if d != 0 && (d < minDuration || d > maxDuration) {
		return fmt.Errorf("the session duration must be between %.0f and %.0f seconds", minDuration.Seconds(), maxDuration.Seconds())
	}
	return nil
}

// seconds is DurationSeconds as it is sent: whole seconds, one hour when unset.
func seconds(d time.Duration) string {
	if d == 0 {
		d = defaultDuration
	}
	return strconv.Itoa(int(d / time.Second))
}

// newSessionName names the sessions of one provider.
func newSessionName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("alicreds-%x", b)
}

// sessionReply is the answer of AssumeRole and AssumeRoleWithOIDC.
type sessionReply struct {
	Credentials     *temporaryKeys
	AssumedRoleUser struct{ Arn string }
}

// temporaryKeys is how every Alibaba Cloud service spells a session.
type temporaryKeys struct {
	AccessKeyId     string // the service's spelling
	AccessKeySecret string
	SecurityToken   string
	Expiration      string
}

// credentials refuses a session of which any part is missing, and one that
// is over before it begins.
func (k *temporaryKeys) credentials() (Credentials, error) {
	if k != nil && k.Expiration == "" {
		_, err := k.unlimited()
		return Credentials{}, cmp.Or(err, present("Expiration", ""))
	}
	return k.unlimited()
}

// unlimited are credentials that may leave out when they end.
func (k *temporaryKeys) unlimited() (Credentials, error) {
	if k == nil {
		return Credentials{}, fmt.Errorf("the reply has no Credentials")
	}
	if err := cmp.Or(
		present("AccessKeyId", k.AccessKeyId),
		present("AccessKeySecret", k.AccessKeySecret),
		present("SecurityToken", k.SecurityToken),
	); err != nil {
		return Credentials{}, err
	}
	c := Credentials{AccessKeyID: k.AccessKeyId, AccessKeySecret: k.AccessKeySecret, SecurityToken: k.SecurityToken}
	var err error
	if k.Expiration != "" {
		c.Expiration, err = parseExpiration(k.Expiration)
	}
	if err != nil {
		return Credentials{}, err
	}
	c.endWithin(maxDuration) // whatever was asked for
	return c, nil
}

// present refuses a reply that lacks a field.
func present(field, value string) error {
	if value == "" {
		return fmt.Errorf("the reply has no %s", field)
	}
	return nil
}

// parseExpiration takes RFC 3339, with or without a fraction of a second.
func parseExpiration(s string) (time.Time, error) {
	expiration, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("the reply's Expiration is not a time of the form 2006-01-02T15:04:05Z")
	}
	expiration = expiration.UTC()
	if now := time.Now(); !now.Before(expiration) {
		return time.Time{}, fmt.Errorf("%w at %s, which the local clock puts %s ago",
			errEnded, expiration.Format(time.RFC3339), now.Sub(expiration).Round(time.Second))
	}
	return expiration, nil
}

var errEnded = errors.New("the reply's credentials expired")

// clockTolerance is how far the service's clock may be from the local one: it
// refuses signatures beyond that.
const clockTolerance = 15 * time.Minute

// endWithin cuts an Expiration that is later than that of a session of the duration
// that was asked for can be. What claims to live longer would be kept when it is
// over.
func (c *Credentials) endWithin(d time.Duration) {
	if d == 0 {
		d = defaultDuration
	}
	if now := time.Now().UTC(); !endsWithin(c.Expiration, d) {
		c.Expiration = now.Add(d).Truncate(time.Second)
	}
}

// endsWithin tells whether a session of the duration can end then.
func endsWithin(expiration time.Time, d time.Duration) bool {
	return time.Until(expiration) <= d+clockTolerance
}

// credentials are those of the assumed role, for the duration that was asked for.
func (r sessionReply) credentials(roleARN, source string, asked time.Duration) (Credentials, error) {
	c, err := r.Credentials.credentials()
	if err != nil {
		return Credentials{}, err
	}
	c.endWithin(asked)
	c.Source = source
	c.RoleARN = roleARN
	if sessionARN(r.AssumedRoleUser.Arn) {
		c.SessionARN = r.AssumedRoleUser.Arn
	}
	c.AccountID = cmp.Or(accountOf(c.SessionARN), accountOf(roleARN))
	return c, nil
}

// accountOf reads the account id of an ARN, acs:<service>:<region>:<account>:<resource>.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 5)
	if len(parts) != 5 || parts[0] != "acs" || strings.Trim(parts[3], "0123456789") != "" {
		return ""
	}
	return parts[3]
}
