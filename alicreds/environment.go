package alicreds

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"runtime"
)

const (
	typeEnvironment = "env"

	envAccessKeyID     = "ALIBABA_CLOUD_ACCESS_KEY_ID"
	envAccessKeySecret = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
	envSecurityToken   = "ALIBABA_CLOUD_SECURITY_TOKEN"
)

// processEnvironment is the environment that a program means which brings none
// of its own. Where it lacks the home directory, the operating system is asked,
// as ~ means nothing else elsewhere.
func processEnvironment(name string) string {
	value := os.Getenv(name)
	if value == "" && name == homeVariable() {
		if u, err := user.Current(); err == nil {
			return u.HomeDir
		}
	}
	return value
}

func homeVariable() string {
	if runtime.GOOS == "windows" {
		return "USERPROFILE"
	}
	return "HOME"
}

// cliSpellings are the names under which the aliyun CLI reads a variable, in its
// order. The Credentials tools know those with ALIBABA_CLOUD_ only.
func cliSpellings() map[string][]string {
	return map[string][]string{
		envAccessKeyID:     {envAccessKeyID, "ALIBABACLOUD_ACCESS_KEY_ID", "ALICLOUD_ACCESS_KEY_ID"},
		envAccessKeySecret: {envAccessKeySecret, "ALIBABACLOUD_ACCESS_KEY_SECRET", "ALICLOUD_ACCESS_KEY_SECRET"},
		envSecurityToken:   {envSecurityToken, "ALIBABACLOUD_SECURITY_TOKEN", "ALICLOUD_SECURITY_TOKEN"},
		envRoleARN:         {"ALIBABACLOUD_ROLE_ARN", envRoleARN},
		envExternalID:      {"ALIBABACLOUD_EXTERNAL_ID", envExternalID},
		envOIDCProviderARN: {"ALIBABACLOUD_OIDC_PROVIDER_ARN", envOIDCProviderARN},
		envOIDCTokenFile:   {"ALIBABACLOUD_OIDC_TOKEN_FILE", envOIDCTokenFile},
	}
}

// cliEnvironment is the environment as a profile of config.json is completed
// from it.
func cliEnvironment(getenv func(string) string) func(string) string {
	spellings := cliSpellings()
	return func(name string) string {
		for _, spelling := range spellings[name] {
			if value := getenv(spelling); value != "" {
				return value
			}
		}
		return getenv(name)
	}
}

// profileVariable is the profile that the environment asks for, and the variable
// that does. The aliyun CLI reads three, and a profile is an identity: they must
// agree.
func profileVariable(getenv func(string) string) (profile, variable string, err error) {
	for _, name := range []string{envProfile, "ALIBABACLOUD_PROFILE", "ALICLOUD_PROFILE"} {
		value := getenv(name)
		switch {
		case value == "":
		case profile == "":
			profile, variable = value, name
		case profile != value:
			return "", "", fmt.Errorf("%s and %s ask for different profiles: unset one", variable, name)
		}
	}
	return profile, variable, nil
}

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
		getenv = processEnvironment
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
	var given *string
	if token := getenv(envSecurityToken); token != "" {
		given = &token
	}
	keys, err := givenKeys(id, secret, given)
	if err != nil {
		return Credentials{}, &Error{Source: typeEnvironment, Err: err}
	}
	return fixedKeys(seal(keys), typeEnvironment)
}
