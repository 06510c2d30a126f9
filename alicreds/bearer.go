package alicreds

import (
	"context"
	"strings"
)

const typeBearer = "bearer"

// Bearer provides the bearer token it was given. Some services take one in
// place of a signature; STS and RAM do not.
type Bearer struct {
	token sealed[string]
}

// NewBearer needs a token. Line breaks in it and white space around it do not
// count, as to the aliyun CLI; another control character is an error, because
// no header may hold it.
func NewBearer(token string) (Bearer, error) {
	token, err := trimmed("bearer token", strings.NewReplacer("\r", "", "\n", "").Replace(token))
	if err != nil {
		return Bearer{}, &Error{Source: typeBearer, Err: err}
	}
	return Bearer{token: seal(token)}, nil
}

// Retrieve returns the token. Its keys are empty, its expiry is not known.
func (p Bearer) Retrieve(context.Context) (Credentials, error) {
	if p.token == nil {
		return Credentials{}, failed(typeBearer, "%w: it has no token", ErrUnavailable)
	}
	return Credentials{BearerToken: p.token(), Source: typeBearer}, nil
}
