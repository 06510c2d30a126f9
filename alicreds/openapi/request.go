package openapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/url"
)

const (
	form = "application/x-www-form-urlencoded"

	// A policy of 6,144 characters is up to 18 KiB of query. Proxies and
	// gateways refuse a request line of more than 8 KiB; half of that leaves room
	// for one that has less.
	maxQuery = 4 << 10
)

// Request is one API call.
type Request struct {
	Endpoint string // "sts.aliyuncs.com" or "https://host:port"; see CheckEndpoint
	Action   string // "AssumeRole"
	Version  string // "2015-04-01"

	// Fallbacks are endpoints of the same service, tried in turn when there
	// is no answer from Endpoint. An answer, whatever it says, ends the
	// search. An endpoint that could not be reached is tried last for a
	// minute.
	Fallbacks []string

	// Params are the call's own parameters. A signed call carries them in
	// the query of a POST, as Alibaba Cloud's own V3 SDKs do, and in a form
	// body when they are more than 4 KiB as a query; an anonymous one in a form
	// body, because they hold a token.
	Params map[string]string

	// FormData has the Params of a signed call in the form body however few they
	// are: those hold a secret, such as a password, and proxies log URLs. Not with
	// PrivateKey, whose calls have no body.
	FormData bool

	// Keys sign the call; without any it is anonymous.
	Keys Keys

	// PrivateKey signs in the place of Keys.AccessKeySecret, as
	// GenerateSessionAccessKey wants it; Keys.AccessKeyID is then the id of
	// the public key.
	PrivateKey *rsa.PrivateKey

	// Repeatable says that a second execution does no harm. Only such calls
	// are repeated after a failure that may have taken effect.
	Repeatable bool
}

func (r Request) check() error {
	if identifier(r.Action) == "" || identifier(r.Version) == "" {
		return errors.New("openapi: a request needs an Action and a Version")
	}
	if r.PrivateKey != nil {
		if r.Keys.AccessKeyID == "" || r.Keys.AccessKeySecret != "" || r.Keys.SecurityToken != "" {
			return errors.New("openapi: a request signed by a private key needs the id of the public key and no other keys")
		}
		if r.FormData {
			return errors.New("openapi: a request signed by a private key has no form body")
		}
		return nil
	}
	return r.Keys.check()
}

// request is the call as it is sent to one endpoint.
func (c *call) request(ctx context.Context, target *url.URL) (*http.Request, error) {
	u := *target
	method, body := http.MethodPost, []byte(nil)
	header := http.Header{
		"Accept":     {"application/json"},
		"User-Agent": {c.userAgent},
	}
	switch {
	case c.PrivateKey != nil:
		query, err := rsaQuery(c.Request)
		if err != nil {
			return nil, err
		}
		method, u.RawQuery = http.MethodGet, query
	case c.Keys.anonymous():
		u.RawQuery = encode(map[string]string{
			"Action": c.Action, "Version": c.Version, "Format": "JSON", "Timestamp": timestamp(), "SignatureNonce": rand.Text(),
		})
		body = []byte(encode(c.Params))
		header["Content-Type"] = []string{form}
	default:
		if params := encode(c.Params); len(params) <= maxQuery && !c.FormData {
			u.RawQuery = params
		} else {
			body = []byte(params)
			header["Content-Type"] = []string{form}
		}
		header["X-Acs-Action"] = []string{c.Action}
		header["X-Acs-Version"] = []string{c.Version}
		header["X-Acs-Date"] = []string{timestamp()}
		header["X-Acs-Signature-Nonce"] = []string{rand.Text()}
		sign(header, c.Keys, u.Host, u.RawQuery, body)
	}
	request := (&http.Request{
		Method: method, URL: &u, Host: u.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if body != nil {
		request.ContentLength = int64(len(body))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		request.Body, _ = request.GetBody()
	}
	return request, nil
}
