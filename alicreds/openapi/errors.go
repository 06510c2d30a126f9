package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Error is the service's refusal, or an answer that could not be used. It
// holds neither bodies nor URLs.
type Error struct {
	Action string // of the Request
	Status int    // HTTP status

	// Code is the service's, such as "EntityNotExist.Role". It is empty where the
	// answer has none, and where nothing shows that the service gave it: it needs
	// a RequestId, in the body or in x-acs-request-id, or at least a HostId for
	// codes that do not say what exists.
	Code string

	RequestID string // what Alibaba Cloud's support asks for

	// Message is the service's sentence, on one line and at most 256 bytes,
	// for codes whose message is known to quote nothing secret; otherwise
	// empty. SignatureDoesNotMatch, for one, quotes the string to sign.
	Message string

	// Denied is what the refusal of a missing permission tells beside its
	// code; zero when it tells nothing.
	Denied AccessDenied

	reason string        // why the answer is none of the service's, or unusable
	skew   time.Duration // local clock minus service clock, for InvalidTimeStamp
}

// AccessDenied tells who may not do what, and why: the AccessDeniedDetail of
// the answer, and the resource and action in RAM's sentence where it has none.
// Each field may be empty. It holds names only, of at most 256 bytes; the
// EncodedDiagnosticMessage is dropped.
type AccessDenied struct {
	Action   string // as policies spell it: "ram:CreateRole"
	Resource string // "acs:ram:*:<account id>:role/*"

	PrincipalType        string // "SubUser", "AssumedRoleUser"
	PrincipalDisplayName string // name or id of a user; "<role>:<session>"
	PrincipalOwnerID     string // the principal's account

	// NoPermissionType is "ExplicitDeny" where a Deny statement matched, which
	// no grant overcomes, and "ImplicitDeny" where no Allow statement did.
	NoPermissionType string

	// PolicyType is the kind of the policies that decided, such as
	// "AccountLevelIdentityBasedPolicy", "AssumeRolePolicy" (the role's trust
	// policy), "SessionPolicy", or "ControlPolicy" (the resource directory's).
	PolicyType string
}

const (
	tooLarge    = "the answer is larger than 64 KiB"
	neither     = "the answer is neither a success nor a refusal"
	noRequestID = "the answer is not the service's, for it has no RequestId"
)

// Error prints action, code, HTTP status and RequestId.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Action + ": ")
	switch {
	case e.Code != "":
		b.WriteString(e.Code)
	case e.Status == http.StatusFound:
		b.WriteString("redirected, which means throttled")
	case e.reason != "":
		b.WriteString(e.reason)
	default:
		b.WriteString("the service refused without a code")
	}
	fmt.Fprintf(&b, " (HTTP %d", e.Status)
	if e.RequestID != "" {
		b.WriteString(", RequestId " + e.RequestID)
	}
	b.WriteString(")")
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if why := strings.Trim(e.Denied.NoPermissionType+", "+e.Denied.PolicyType, ", "); why != "" {
		b.WriteString(" (" + why + ")")
	}
	if e.skew != 0 {
		direction := "ahead of"
		if e.skew < 0 {
			direction = "behind"
		}
		fmt.Fprintf(&b, ": the local clock is %s %s the service's, which allows 15m", e.skew.Abs().Round(time.Second), direction)
	}
	return b.String()
}

// Throttled tells whether the call was refused for its rate: HTTP 429,
// HTTP 302 (which the STS FAQ documents as such) or a Throttling code.
// With the code, the call has had no effect.
func (e *Error) Throttled() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusFound ||
		hasCode(e.Code, "Throttling") || e.Code == "Rejected.Throttling"
}

// Temporary tells whether the same call may succeed later: it was throttled, the
// service is out of order (HTTP 5xx, ServiceUnavailable), or something on the way
// sent it twice (SignatureNonceUsed).
func (e *Error) Temporary() bool {
	return e.Throttled() || e.Status >= 500 || e.Code == "ServiceUnavailable" || e.seenBefore()
}

// seenBefore tells that the service has had this very request already. Each
// attempt has a nonce of its own, so something on the way sent it twice, and
// the answer to the first of the two is lost.
func (e *Error) seenBefore() bool { return hasCode(e.Code, "SignatureNonceUsed") }

// Foreign tells that the answer is none of the service's that could be used, and
// neither throttling nor an outage: something on the way answered, or changed what
// the service answered.
func (e *Error) Foreign() bool {
	return e.Code == "" && !e.Temporary() && (e.reason != "" || e.Status == http.StatusOK)
}

// TooLarge tells that there was an answer of more than 64 KiB, which was not read.
func (e *Error) TooLarge() bool { return e.reason == tooLarge }

// NotExist tells whether the thing the call is about does not exist. Only the
// code of an answer with a RequestId counts: a proxy answers 404 for reasons of
// its own. RAM says EntityNotExist, Resource Management of its own things
// EntityNotExists.
func (e *Error) NotExist() bool {
	return hasCode(e.Code, "EntityNotExist") || hasCode(e.Code, "EntityNotExists")
}

// KeyRefused tells whether the service does not take the AccessKey, because it
// is unknown, deleted or disabled: InvalidAccessKeyId, with or without a suffix.
func (e *Error) KeyRefused() bool { return hasCode(e.Code, "InvalidAccessKeyId") }

// TokenRefused tells whether the service does not take the SecurityToken: the session
// is over, its role is gone, or the token is not that of the AccessKey.
func (e *Error) TokenRefused() bool { return hasCode(e.Code, "InvalidSecurityToken") }

// TokenMissing tells that the AccessKey is a temporary one and that the call
// came without its SecurityToken: MissingSecurityToken, and MissingParameter
// of that name.
func (e *Error) TokenMissing() bool {
	return hasCode(e.Code, "MissingSecurityToken") ||
		hasCode(e.Code, "MissingParameter") && strings.Contains(e.Code+" "+e.Message, "SecurityToken")
}

// issuerSilent tells that STS got no keys from the issuer of an OIDC token. That
// passes, or is how the issuer is set up: the answer is the same.
func (e *Error) issuerSilent() bool {
	return hasCode(e.Code, "AuthenticationFail.OIDCToken.IssuerConfigurationBroken")
}

// hasCode matches a code and its refinements: "Throttling", "Throttling.User".
func hasCode(code, family string) bool {
	return code == family || strings.HasPrefix(code, family+".")
}

// Ambiguous tells whether the call may have taken effect although err was
// returned: the request was sent and no usable answer of the service came back,
// from any attempt. An answer without a Code is none of the service's: see
// [Error.Code]. SignatureNonceUsed is no usable answer either: an intermediary sent
// the request twice, and what the service did with the first is unknown. The
// caller must look before it repeats or forgets such a call. Of joined errors one
// is enough.
func Ambiguous(err error) bool {
	switch e := err.(type) { // errors.As would stop at the first of joined errors
	case nil:
		return false
	case doubtful:
		return true
	case unsent:
		return false
	case *NetworkError:
		return e.Sent
	case *Error:
		return e.Code == "" || !e.Throttled() && (e.Status >= 500 || e.Code == "ServiceUnavailable" || e.seenBefore())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), Ambiguous)
	}
	return Ambiguous(errors.Unwrap(err))
}

// doubtful is the last failure of a call of which an earlier attempt may have
// taken effect.
type doubtful struct{ error }

func (e doubtful) Unwrap() error { return e.error }

// unsent is the failure of another call, for which this one was not made.
type unsent struct{ error }

func (e unsent) Unwrap() error { return e.error }

// afterDoubt keeps the doubt that an earlier failure left. A success ends it.
func afterDoubt(earlier, err error) error {
	if err != nil && Ambiguous(earlier) {
		return doubtful{err}
	}
	return err
}

// refusal reads an error answer: JSON, or the XML that gateways fall back to.
func refusal(action string, res *http.Response, body []byte) *Error {
	var answer answerBody
	if err := json.Unmarshal(body, &answer); err != nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		if err := xml.Unmarshal(body, &answer); err != nil {
			answer = answerBody{}
		}
	}
	e := &Error{Action: action, Status: res.StatusCode, RequestID: requestID(res, answer.RequestID)}
	switch code := identifier(answer.Code); {
	case isRequestID(e.RequestID), code != "" && answer.namesHost():
		e.Code = code
	default:
		e.reason = noRequestID
		return e
	}
	if messageIsSafe(e.Code) {
		e.Message = scrub(answer.Message)
	}
	e.Denied = answer.denied()
	if hasCode(e.Code, "InvalidTimeStamp") {
		if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			e.skew = time.Since(date).Round(time.Second)
		}
	}
	return e
}

// answerBody is what gateways and services put around an answer.
type answerBody struct {
	Code      string
	Message   string
	RequestID string             `json:"RequestId" xml:"RequestId"`
	HostID    string             `json:"HostId" xml:"HostId"`
	Detail    accessDeniedDetail `json:"AccessDeniedDetail" xml:"AccessDeniedDetail"`
}

// namesHost tells whether a refusal without RequestId is the service's all the
// same: STS was seen to refuse an AssumeRoleWithOIDC with a HostId alone. What
// exists, on which others rely for good, is believed with a RequestId only.
func (a answerBody) namesHost() bool {
	return identifier(a.HostID) != "" && !strings.HasPrefix(a.Code, "Entity")
}

type accessDeniedDetail struct {
	AuthAction               string
	AuthResource             string
	AuthPrincipalType        string
	AuthPrincipalDisplayName string
	AuthPrincipalOwnerID     string `json:"AuthPrincipalOwnerId" xml:"AuthPrincipalOwnerId"`
	NoPermissionType         string
	PolicyType               string
}

// UnmarshalJSON takes an object, and a string that holds one, as some services
// send it. Anything else is ignored, so that the rest of the answer is read.
func (d *accessDeniedDetail) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		b = []byte(text)
	}
	type object accessDeniedDetail
	_ = json.Unmarshal(b, (*object)(d))
	return nil
}

// deniedSentence is RAM's: "You are not authorized to do this action.
// Resource: acs:ram:*:<account id>:role/* Action: ram:CreateRole".
var deniedSentence = regexp.MustCompile(`\bResource: (acs:\S+) Action: ([A-Za-z0-9-]+:[A-Za-z0-9*]+)`)

func (a answerBody) denied() AccessDenied {
	action, resource := a.Detail.AuthAction, a.Detail.AuthResource
	if sentence := deniedSentence.FindStringSubmatch(a.Message); sentence != nil {
		resource, action = cmp.Or(resource, sentence[1]), cmp.Or(action, sentence[2])
	}
	return AccessDenied{
		Action:               name(action),
		Resource:             name(resource),
		PrincipalType:        name(a.Detail.AuthPrincipalType),
		PrincipalDisplayName: name(a.Detail.AuthPrincipalDisplayName),
		PrincipalOwnerID:     name(a.Detail.AuthPrincipalOwnerID),
		NoPermissionType:     name(a.Detail.NoPermissionType),
		PolicyType:           name(a.Detail.PolicyType),
	}
}

// unusable is the failure of a call whose answer is none that can be used.
func unusable(action string, res *http.Response, body []byte, reason string) *Error {
	return &Error{Action: action, Status: res.StatusCode, RequestID: requestID(res, requestIDIn(body)), reason: reason}
}

// requestIDIn finds the RequestId of an answer that nothing else is read of: in
// an object, or in XML, which may lack an element around the whole.
func requestIDIn(body []byte) string {
	var answer answerBody
	if _ = json.Unmarshal(body, &answer); answer.RequestID != "" {
		return answer.RequestID
	}
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "RequestId" {
			_ = d.DecodeElement(&answer.RequestID, &start)
			return answer.RequestID
		}
	}
}

func requestID(res *http.Response, fromBody string) string {
	if id := identifier(fromBody); id != "" {
		return id
	}
	return identifier(res.Header.Get("x-acs-request-id"))
}

// requestIDForm is that of all RequestIds: a UUID.
var requestIDForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

func isRequestID(s string) bool { return requestIDForm.MatchString(s) }

// identifier drops what is not a code or a request id, so that a foreign
// answer cannot write into logs.
func identifier(s string) string {
	if len(s) > 128 || key.MatchString(s) || slices.ContainsFunc(unbroken.FindAllString(s, -1), hasDigit) {
		return ""
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !inIdentifier(r) }) {
		return ""
	}
	return s
}

// name drops what is not the name of an action, a resource, a principal or a
// kind, so that an answer cannot bring a secret into errors either. The longest,
// the resource of a policy, has a name of 128 characters in it.
func name(s string) string {
	if len(s) > maxName || key.MatchString(s) || slices.ContainsFunc(unbroken.FindAllString(s, -1), looksRandom) {
		return ""
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !inIdentifier(r) && !strings.ContainsRune(":/*@", r) }) {
		return ""
	}
	return s
}

// messageIsSafe tells whether the messages of a code are known to quote names
// and numbers only.
func messageIsSafe(code string) bool {
	for _, family := range []string{
		"EntityNotExist", "EntityAlreadyExists", "EntityAlreadyExist", "DeleteConflict", "LimitExceeded",
		"NoPermission", "Forbidden.RAM", "InvalidParameter", "MissingParameter", "MissingSecurityToken", "Inactive",
		"AuthenticationFail.NoPermission", "AuthenticationFail.OIDCToken",
	} {
		if hasCode(code, family) {
			return true
		}
	}
	return strings.HasPrefix(code, "Malformed")
}

var (
	// keyLike starts as AccessKeyIds, security tokens and JWTs do, also within
	// a word.
	keyLike = regexp.MustCompile(`(?:LTAI|STS\.|CAI[A-Z]|eyJ)[A-Za-z0-9+/=_.\-]*`)

	// key is keyLike and as long as a key. RequestIds and the names of roles
	// may start as one does.
	key = regexp.MustCompile(`(?:LTAI|STS\.N|CAI[A-Z]|eyJ)[A-Za-z0-9_\-]{12}`)

	// unbroken is any other run as long as a secret; looksRandom tells it from
	// a name.
	unbroken = regexp.MustCompile(`[A-Za-z0-9+/=]{28,}`)
)

// inIdentifier tells whether codes and request ids may have the character.
func inIdentifier(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
}

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

func looksRandom(s string) bool {
	return hasDigit(s) && strings.ToLower(s) != s && strings.ToUpper(s) != s
}

const (
	maxMessage = 256
	maxName    = 256
)

func scrub(message string) string {
	if len(message) > 4*maxMessage {
		message = message[:4*maxMessage]
	}
	message = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(message, ""), func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r)
	}), " ")
	message = keyLike.ReplaceAllString(message, "[redacted]")
	message = unbroken.ReplaceAllStringFunc(message, func(run string) string {
		if looksRandom(run) {
			return "[redacted]"
		}
		return run
	})
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	return message
}
