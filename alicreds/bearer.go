package alicreds

import "context"

const typeBearer = "bearer"

// Bearer provides the bearer token it was given. Some services take one in
// place of a signature; STS and RAM do not.
type Bearer struct {
	token sealed[string]
}

// NewBearer needs a token.
func NewBearer(token string) (Bearer, error) {
	if token == "" {
		return Bearer{}, failed(typeBearer, "the bearer token is empty")
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
