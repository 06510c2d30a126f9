package backend

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// refusal is an answer to the user: what is asked for cannot be done as things
// are. It says what to do.
type refusal = rotation.Refusal

func refuse(format string, args ...any) error { return rotation.Refuse(format, args...) }

// mountPath is the path of this mount, with a slash at its end, for commands to paste.
func (b *backend) mountPath() string {
	if path := b.path.Load(); path != nil {
		return *path
	}
	return "alicloud/" // no request has come yet
}

// notConfigured says what to write where.
func (b *backend) notConfigured() string {
	return fmt.Sprintf("no credentials are configured: write access_key and secret_key to the config path of this mount, "+
		"for example: vault write %sconfig access_key=... secret_key=...", b.mountPath())
}

// answer turns a failed cloud call into what a handler returns:
//
//   - refused by the engine itself: 400, with what to do.
//   - throttled: the detail, with the sentinel that Vault answers as 502. The
//     sentinel stays bare, because over gRPC only its exact text is recognised.
//   - refused: 400, because Vault's clients repeat every 5xx and would repeat the
//     whole issue for an answer that will not change. The same without a token
//     of Vault's server to ask with.
//   - no answer, or a 5xx: an error, which Vault answers as 500.
//
// doing says what was being done, in the words of a user.
func answer(doing string, err error) (*logical.Response, error) {
	if own, ok := errors.AsType[*refusal](err); ok {
		return logical.ErrorResponse(own.Error()), nil
	}
	detail := doing + ": " + explained(err)
	refused, isRefused := errors.AsType[*openapi.Error](err)
	switch {
	case errors.As(err, new(noToken)):
	case !isRefused:
		return nil, errors.New(detail)
	case refused.Throttled():
		return logical.ErrorResponse(detail), logical.ErrUpstreamRateLimited
	case refused.Temporary() || refused.Code == "":
		return nil, errors.New(detail)
	}
	return logical.ErrorResponse(detail), nil
}

// explained prints a failure that does not come from the request, on one line:
// what happened, the fix where there is a short one, and where to read more.
func explained(err error) string {
	if errors.As(err, new(*refusal)) {
		return oneLine(err) // says what to do
	}
	return seeAlso(advised(err), helpOn(err))
}

// advised prints a failure on one line, with the fix where there is a short one.
func advised(err error) string {
	if refused, ok := errors.AsType[*openapi.Error](err); ok && !refused.Temporary() {
		if fix := fixOf(err, refused); fix != "" {
			return strings.TrimRight(oneLine(err), ". ") + ". " + fix
		}
	}
	return oneLine(err)
}

// ofSource prints why a source of credentials does not take its fields.
func ofSource(err error) string {
	if source, ok := errors.AsType[*alicreds.Error](err); ok {
		return seeAlso(oneLine(err), source.Help())
	}
	return oneLine(err)
}

// rotationFailure prints why an attempt to rotate a key failed.
func rotationFailure(err error) string {
	if own, ok := errors.AsType[*refusal](err); ok {
		return own.Error()
	}
	return seeAlso(oneLine(err), helpPage+helpRotation)
}

// seeAlso appends a link, unless the text has one: an error of alicreds may link
// to its own page.
func seeAlso(text, link string) string {
	if strings.Contains(text, "troubleshooting.md#") {
		return text
	}
	return strings.TrimRight(text, ". ") + ". See " + link
}

// helpPage has a heading for each code in fixes, and for the anchors below.
const helpPage = "https://github.com/alicreds/vault-plugin-secrets-alicloud/blob/main/docs/troubleshooting.md"

// Headings of helpPage that errors link to.
const (
	helpThrottling = "#throttling"
	helpNoAnswer   = "#no-answer"
	helpOtherCode  = "#any-other-code"
	helpRotation   = "#rotation"
	helpLeases     = "#leases-that-do-not-end"
)

// helpOn is the link to what is said about a failure.
func helpOn(err error) string {
	refused, isRefused := errors.AsType[*openapi.Error](err)
	source, fromSource := errors.AsType[*alicreds.Error](err)
	switch {
	case errors.Is(err, rotation.ErrKeyGone):
		return helpPage + helpRotation
	case isRefused && refused.Throttled():
		return helpPage + helpThrottling
	case isRefused && (refused.Temporary() || refused.Code == ""):
		return helpPage + helpNoAnswer
	case isRefused && known(refused) != "":
		return helpPage + helpAnchor(known(refused))
	case isRefused:
		return helpPage + helpOtherCode
	case fromSource:
		return source.Help()
	}
	return helpPage + helpNoAnswer
}

// helpAnchor is the link of a heading that is a code: small letters, no dots.
func helpAnchor(code string) string { return "#" + strings.ToLower(strings.ReplaceAll(code, ".", "")) }

// oneLine prints joined errors on one line.
func oneLine(err error) string { return strings.ReplaceAll(unprefixed(err), "\n", "; ") }

// unprefixed leaves out the name of the package openapi, which is for programmers.
func unprefixed(err error) string { return strings.ReplaceAll(err.Error(), "openapi: ", "") }
