package alicreds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// CloudSSO and OAuth, which turn a login in a browser into keys, share what
// is in this file.

// Sessions of a login that config.json keeps are used up to this long before
// they expire, which is when a Cache asks for the next one.
const storedSessionLead = earliestRefresh

// A session of CloudSSO is kept as ending this much earlier, as by the aliyun
// CLI, whose readers use a kept session to its last second.
const storedSessionMargin = 5 * time.Second

// loginHost reads where a login belongs to: scheme and host of an https URL, or
// an http one on a loopback address.
func loginHost(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return "", errors.New("it is empty")
	case err != nil: // which quotes the URL
		return "", errors.New("it is not a URL")
	case u.User != nil:
		return "", errors.New("it must not contain a user name or password")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", errors.New("it must be reached by https; http is for loopback addresses only")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", errors.New("it is not an https URL")
	}
	return u.Scheme + "://" + u.Host, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// loginClient is a client that follows no redirect, because a login's tokens
// are for one host. Without one given it keeps no connection: calls are rare.
func loginClient(given *http.Client) *http.Client {
	if given != nil {
		own := *given
		own.Jar = nil
		own.CheckRedirect = noRedirects
		return &own
	}
	return &http.Client{
		CheckRedirect: noRedirects,
		Timeout:       defaultTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			OnProxyConnectResponse: openapi.ProxyAnswer,
			DialContext:            (&net.Dialer{Timeout: defaultConnectTimeout}).DialContext,
			TLSHandshakeTimeout:    defaultConnectTimeout,
			MaxResponseHeaderBytes: maxReply,
			DisableKeepAlives:      true,
		},
	}
}

// post sends one request of a login and decodes the JSON object of a good
// answer, for which it waits 10 s at most whatever the client says. Refusals
// carry the service's code and request id.
func post(ctx context.Context, client *http.Client, action, url string, header http.Header, body string, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made", action)
	}
	r.Header = header
	r.Header.Set("Accept", "application/json")
	answer, err := send(client, r, action)
	var refused *openapi.Error
	if errors.As(err, &refused) {
		refused.Code, refused.RequestID = loginRefusal(answer)
		if strings.Contains(header.Get("Authorization")+body, refused.RequestID) {
			refused.RequestID = "" // what was sent comes back
		}
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return fmt.Errorf("%s: a field of the reply has the wrong type", action)
		}
		return fmt.Errorf("%s: the reply is not a JSON object", action)
	}
	return nil
}

// loginRefusal reads the code and request id of an error answer, of OAuth's
// or of OpenAPI's form. Descriptions are left alone: they may quote tokens.
func loginRefusal(answer []byte) (code, requestID string) {
	var reply struct {
		Error     string `json:"error"`
		Code      string `json:"Code"`
		ErrorCode string `json:"ErrorCode"`
		RequestID string `json:"RequestId"`
	}
	_ = json.Unmarshal(answer, &reply) // an answer that says nothing is a refusal too
	return cmp.Or(codeWord(reply.Error), codeWord(reply.Code), codeWord(reply.ErrorCode)), plainWord(reply.RequestID, 64)
}

// codeWord returns s if it is made as codes are: of letters, dots and underscores,
// as no key or token is. Otherwise it returns "".
func codeWord(s string) string {
	if strings.ContainsAny(s, "0123456789-") {
		return ""
	}
	return plainWord(s, 64)
}

// plainWord returns s if it is a word that may be shown: letters, digits and
// . - _ only, and not too long. Otherwise it returns "".
func plainWord(s string, limit int) string {
	if madeOf(s, 0, limit, ".-_") {
		return s
	}
	return ""
}

// validFor tells whether credentials that were kept are complete and good
// for that long. An end that no session can have says nothing.
func (c Credentials) validFor(d time.Duration) bool {
	return c.AccessKeyID != "" && c.AccessKeySecret != "" && c.SecurityToken != "" &&
		!c.Expiration.IsZero() && time.Until(c.Expiration) > d && endsWithin(c.Expiration, maxDuration)
}
