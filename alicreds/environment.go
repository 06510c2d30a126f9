package alicreds

import (
	"context"
	"os"
)

const (
	typeEnvironment = "env"

	envAccessKeyID     = "ALIBABA_CLOUD_ACCESS_KEY_ID"
	envAccessKeySecret = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
	envSecurityToken   = "ALIBABA_CLOUD_SECURITY_TOKEN"
)

// Environment provides the keys in ALIBABA_CLOUD_ACCESS_KEY_ID,
// ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary ones,
// ALIBABA_CLOUD_SECURITY_TOKEN. It reads them at each call. With neither id nor
// secret it is not set up; with one of them it fails, because somebody
// wanted to set it up.
type Environment struct {
	getenv func(string) string
}

// NewEnvironment reads with getenv; nil means os.Getenv.
func NewEnvironment(getenv func(string) string) Environment { return Environment{getenv: getenv} }

// Retrieve reads the three variables.
func (p Environment) Retrieve(context.Context) (Credentials, error) {
	getenv := p.getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	id, secret := getenv(envAccessKeyID), getenv(envAccessKeySecret)
	switch {
	case id == "" && secret == "":
		return Credentials{}, failed(typeEnvironment, "%w: %s is empty", ErrUnavailable, envAccessKeyID)
	case id == "":
		return Credentials{}, failed(typeEnvironment, "%s is empty, although %s is not", envAccessKeyID, envAccessKeySecret)
	case secret == "":
		return Credentials{}, failed(typeEnvironment, "%s is empty, although %s is not", envAccessKeySecret, envAccessKeyID)
	}
	return Credentials{
		AccessKeyID:     id,
		AccessKeySecret: secret,
		SecurityToken:   getenv(envSecurityToken),
		Source:          typeEnvironment,
	}, nil
}
