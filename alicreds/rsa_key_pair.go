package alicreds

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	typeRSAKeyPair = "rsa_key_pair"

	maxRSADuration = time.Hour

	rsaSTSHost = "sts.ap-northeast-1.aliyuncs.com"
)

// RSAKeyPairOptions describe the session that GenerateSessionAccessKey is
// asked for.
type RSAKeyPairOptions struct {
	Duration time.Duration // 900 s to 3600 s; 0 means 3600 s. Fractions of a second are dropped

	// STSOptions with neither Endpoint nor Region mean Japan's
	// sts.ap-northeast-1.aliyuncs.com, as the newest of Alibaba Cloud's own
	// Credentials tools do, and no fallback unless one is given.
	STSOptions
}

// RSAKeyPair obtains a session AccessKey with an RSA key pair whose public
// half Alibaba Cloud knows. It is the type rsa_key_pair, which Alibaba Cloud
// supports on the Japan site only and advises against for new uses.
type RSAKeyPair struct {
	publicKeyID string
	options     sealed[rsaOptions]
}

type rsaOptions struct {
	key  *rsa.PrivateKey
	file string // where it is, if it is in one
	RSAKeyPairOptions
}

// NewRSAKeyPair wants the id of the public key and the private key: PEM in
// PKCS #8 or PKCS #1, or its base64 without the frame. What happens to a key on
// its way through JSON, YAML and editors does no harm: a byte order mark,
// indentation, \n in place of line feeds, a lost last line.
func NewRSAKeyPair(publicKeyID, privateKey string, o RSAKeyPairOptions) (RSAKeyPair, error) {
	if publicKeyID == "" {
		return RSAKeyPair{}, failed(typeRSAKeyPair, "the public key id is empty")
	}
	key, err := parseRSAKey(privateKey)
	if err != nil {
		return RSAKeyPair{}, &Error{Source: typeRSAKeyPair, Err: err}
	}
	if o.Duration != 0 && (o.Duration < minDuration || o.Duration > maxRSADuration) {
		return RSAKeyPair{}, failed(typeRSAKeyPair, "the session duration must be between 900 and 3600 seconds")
	}
	if o.Endpoint == "" && o.Region == "" {
		o.Endpoint = rsaSTSHost
	}
	if o.STSOptions, err = o.STSOptions.ready(); err != nil {
		return RSAKeyPair{}, &Error{Source: typeRSAKeyPair, Err: err}
	}
	return RSAKeyPair{publicKeyID: publicKeyID, options: seal(rsaOptions{key, "", o})}, nil
}

// of is the same with a key that is read anew from the file at each Retrieve.
func (p RSAKeyPair) of(file string) RSAKeyPair {
	o := p.options()
	o.file = file
	p.options = seal(o)
	return p
}

// maxRSAKey bounds a key in PEM: one of 16,384 bits has 12.7 KB. Looking at what is
// larger takes seconds.
const maxRSAKey = 16 << 10

func readKeyFile(ctx context.Context, path string) (string, error) {
	text, err := readRegularFile(ctx, path, maxRSAKey)
	switch {
	case errors.Is(err, errNotRegular):
		return "", errNotRegular
	case err != nil:
		return "", err
	case len(text) > maxRSAKey:
		return "", errors.New("it is larger than 16 KiB")
	}
	return string(text), nil
}

// isKeyPath tells whether what stands for a key may be the path of its file.
func isKeyPath(s string) bool {
	if _, err := parseRSAKey(s); err == nil {
		return false
	}
	return s != "" && len(s) < 4096 && !strings.Contains(s, "-----") && !strings.ContainsAny(s, "\r\n\x00")
}

func parseRSAKey(text string) (*rsa.PrivateKey, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, errors.New("the private key is empty")
	case len(text) > maxRSAKey:
		return nil, errors.New("the private key is larger than 16 KiB")
	}
	text = strings.NewReplacer(string(byteOrderMark), "", `\r`, "", `\n`, "\n").Replace(text)
	if _, framed, ok := strings.Cut(text, "-----BEGIN "); ok {
		kind, body, _ := strings.Cut(framed, "-----")
		text, _, _ = strings.Cut(body, "-----END ")
		if strings.HasPrefix(kind, "ENCRYPTED") || strings.Contains(text, "ENCRYPTED") {
			return nil, errors.New("the private key is encrypted; it must not be")
		}
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("the private key is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key is neither PKCS #8 nor PKCS #1")
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an RSA key")
	}
	return rsaKey, nil
}

// Retrieve starts a session. It has an AccessKey and no security token.
func (p RSAKeyPair) Retrieve(ctx context.Context) (Credentials, error) {
	if p.options == nil {
		return Credentials{}, failed(typeRSAKeyPair, "%w: it has no key", ErrUnavailable)
	}
	o := p.options()
	if o.file != "" {
		text, err := readKeyFile(ctx, o.file)
		if err == nil {
			o.key, err = parseRSAKey(text)
		}
		if err != nil {
			return Credentials{}, failed(typeRSAKeyPair, "%s: %w", o.file, withoutPath(err))
		}
	}
	var reply struct{ SessionAccessKey *sessionAccessKey }
	err := o.call(ctx, openapi.Request{
		Action:     "GenerateSessionAccessKey",
		Params:     map[string]string{"DurationSeconds": seconds(o.Duration)},
		Keys:       openapi.Keys{AccessKeyID: p.publicKeyID},
		PrivateKey: o.key,
	}, &reply)
	if err != nil {
		return Credentials{}, &Error{Source: typeRSAKeyPair, Err: err}
	}
	c, err := reply.SessionAccessKey.credentials()
	if err != nil {
		return Credentials{}, failed(typeRSAKeyPair, "GenerateSessionAccessKey: %w", err)
	}
	c.Source = typeRSAKeyPair
	c.endWithin(o.Duration)
	return c, nil
}

type sessionAccessKey struct {
	SessionAccessKeyId     string // the service's spelling
	SessionAccessKeySecret string
	Expiration             string
}

func (k *sessionAccessKey) credentials() (Credentials, error) {
	if k == nil {
		return Credentials{}, errors.New("the reply has no SessionAccessKey")
	}
	if err := cmp.Or(
		present("SessionAccessKeyId", k.SessionAccessKeyId),
		present("SessionAccessKeySecret", k.SessionAccessKeySecret),
		present("Expiration", k.Expiration),
	); err != nil {
		return Credentials{}, err
	}
	expiration, err := parseExpiration(k.Expiration)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{AccessKeyID: k.SessionAccessKeyId, AccessKeySecret: k.SessionAccessKeySecret, Expiration: expiration}, nil
}
