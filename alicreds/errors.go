package alicreds

import (
	"errors"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// ErrUnavailable is wrapped by the error of a provider that is not set up
// here. A chain then asks the next one.
var ErrUnavailable = errors.New("not set up")

// Error is a provider's failure.
type Error struct {
	Source string // the provider, or the path of providers, such as "ram_role_arn/access_key"
	Err    error  // the cause; never nil
}

// Error puts the provider in front of the cause. Where the remedy is not in
// the cause itself, Help follows, once.
func (e *Error) Error() string {
	text := e.Source + ": " + e.Err.Error()
	var inner *Error
	if failureClass(e.Err) != "" && !errors.As(e.Err, &inner) {
		text += " (see " + e.Help() + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary tells whether the same call may succeed later: no answer came, or
// one that says so.
func (e *Error) Temporary() bool {
	var refused *openapi.Error
	if errors.As(e.Err, &refused) {
		return refused.Temporary()
	}
	var network *openapi.NetworkError
	return errors.As(e.Err, &network)
}

func failed(source, format string, args ...any) error {
	return &Error{Source: source, Err: fmt.Errorf(format, args...)}
}

// setUp is the failure of a provider that another one relies on. Whoever
// configured the outer one wanted it, so the inner one's "not set up" must
// not make a chain pass on to another identity.
type setUp struct{ err error }

func (s setUp) Error() string        { return s.err.Error() }
func (s setUp) Is(target error) bool { return target != ErrUnavailable && errors.Is(s.err, target) }
func (s setUp) As(target any) bool   { return errors.As(s.err, target) }
