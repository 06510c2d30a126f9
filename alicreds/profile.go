package alicreds

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	typeProfile = "profile"

	envCredentialsFile = "ALIBABA_CLOUD_CREDENTIALS_FILE"

	defaultSection = "default"
)

// ProfileOptions of a Profile. The zero value is useful.
type ProfileOptions struct {
	// Path is the INI file; default ALIBABA_CLOUD_CREDENTIALS_FILE, or the
	// first that exists of ~/.alibabacloud/credentials and
	// ~/.alibabacloud/credentials.ini.
	Path string

	Profile string // the section; default ALIBABA_CLOUD_PROFILE, or "default"

	STSOptions           // for what the section does not say itself
	Metadata   *Metadata // its own timeouts count; default: one that the section describes

	Getenv func(string) string // default os.Getenv
}

// Profile provides the credentials of a section of an INI file, of any type
// that Config has but default. The page docs/profiles.md lists types and keys, and
// the rules for comments and quotes.
//
// The file is read at each Retrieve, and the section set up anew when it has
// changed. Where there is no file, where it lacks the section and no option asked for
// it, and where the section says enable = false, the Profile is not set up.
// A file that cannot be read or understood is an error; none quotes it.
type Profile struct {
	file sealed[*iniFile]
}

// iniFile is a Profile's configuration, and what it made of the file.
type iniFile struct {
	ProfileOptions
	clientGiven bool
	session     string // name of role sessions

	mu       sync.Mutex
	made     [sha256.Size]byte // what provider was made of
	provider Provider
}

// NewProfile checks the options. It does not look for the file.
func NewProfile(o ProfileOptions) (Profile, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	given := o.STSOptions.Client != nil
	var err error
	if o.STSOptions, err = o.STSOptions.ready(); err != nil {
		return Profile{}, &Error{Source: typeProfile, Err: err}
	}
	return Profile{file: seal(&iniFile{ProfileOptions: o, clientGiven: given, session: newSessionName()})}, nil
}

// Retrieve obtains the credentials of the section. Their Source is "profile/"
// and that of the provider the section stands for.
func (p Profile) Retrieve(ctx context.Context) (Credentials, error) {
	if p.file == nil {
		return Credentials{}, failed(typeProfile, "%w: it has no file", ErrUnavailable)
	}
	provider, where, err := p.file().current()
	if err != nil {
		return Credentials{}, &Error{Source: typeProfile, Err: err}
	}
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return Credentials{}, failed(typeProfile, "%s: %w", where, setUp{err})
	}
	c.Source = typeProfile + "/" + c.Source
	return c, nil
}

// current is the provider for what the file says now. where names section
// and file for errors.
func (f *iniFile) current() (provider Provider, where string, err error) {
	path, text, err := f.read()
	if err != nil {
		return nil, "", err
	}
	sections, err := parseINI(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	name := or(or(f.Profile, f.Getenv(envProfile)), defaultSection)
	where = "section " + shownName(name) + " of " + path
	section, ok := sections[name]
	switch {
	case !ok && f.Profile != "":
		return nil, "", fmt.Errorf("%s has no section %s", path, shownName(name))
	case !ok:
		return nil, "", fmt.Errorf("%w: %s has no section %s", ErrUnavailable, path, shownName(name))
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	now := sha256.Sum256(slices.Concat([]byte(strconv.Quote(path)+strconv.Quote(name)), text))
	if f.provider != nil && now == f.made {
		return f.provider, where, nil
	}
	if provider, err = f.build(section); err != nil {
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	f.made, f.provider = now, provider
	return provider, where, nil
}

// read reads the first file that exists.
func (f *iniFile) read() (path string, text []byte, err error) {
	if path = or(f.Path, f.Getenv(envCredentialsFile)); path != "" {
		text, err = readProfileFile(path)
		return path, text, err
	}
	var missing []string
	for _, name := range []string{"credentials", "credentials.ini"} {
		if path, err = homeFile(f.Getenv, ".alibabacloud", name); err != nil {
			return "", nil, err
		}
		if text, err = readProfileFile(path); !errors.Is(err, ErrUnavailable) {
			return path, text, err
		}
		missing = append(missing, path)
	}
	return "", nil, fmt.Errorf("%w: there is no file %s", ErrUnavailable, strings.Join(missing, " or "))
}

// sectionTypes are the values of type, with the keys that must not be empty.
// Keys of other sections or of the environment are not mixed in.
var sectionTypes = map[string][]string{
	typeAccessKey:      {"access_key_id", "access_key_secret"},
	typeSTS:            {"access_key_id", "access_key_secret", "security_token"},
	typeRAMRoleARN:     {"access_key_id", "access_key_secret", "role_arn"},
	typeOIDCRoleARN:    nil, // completed from what ACK puts into the environment
	typeECSRAMRole:     nil,
	typeRSAKeyPair:     {"public_key_id", "private_key_file"},
	typeCredentialsURI: {"credentials_uri"},
	typeBearer:         {"bearer_token"},
}

// build makes the section's provider. It fails without ErrUnavailable,
// unless the section is disabled.
func (f *iniFile) build(section map[string]string) (Provider, error) {
	s := &iniSection{keys: section}
	if _, ok := section["enable"]; ok && !s.truth("enable") && s.err == nil {
		return nil, fmt.Errorf("%w: it says enable = false", ErrUnavailable)
	}
	kind := section["type"]
	needed, known := sectionTypes[kind]
	switch {
	case s.err != nil:
		return nil, s.err
	case kind == "":
		return nil, errors.New("it has no type")
	case !known && plainWord(kind, 32) != "":
		return nil, fmt.Errorf("the type %s is not supported", kind)
	case !known:
		return nil, errors.New("the type is not supported")
	}
	for _, key := range needed {
		if section[key] == "" {
			return nil, fmt.Errorf("%s: it has no %s", kind, key)
		}
	}
	provider, err := New(f.config(kind, s))
	if err = firstError(s.err, err); err != nil {
		return nil, setUp{err}
	}
	return provider, nil
}

// config is the section as the parameters of a credential type.
func (f *iniFile) config(kind string, s *iniSection) Config {
	sts := f.STSOptions
	c := Config{
		Type:                  kind,
		AccessKeyID:           s.keys["access_key_id"],
		AccessKeySecret:       s.keys["access_key_secret"],
		SecurityToken:         s.keys["security_token"],
		RoleARN:               s.keys["role_arn"],
		RoleSessionName:       s.first("role_session_name"),
		Policy:                s.keys["policy"],
		ExternalID:            s.keys["external_id"],
		RoleSessionExpiration: s.number("role_session_expiration", "duration_seconds"),
		SessionExpiration:     s.number("session_expiration"),
		OIDCProviderARN:       s.keys["oidc_provider_arn"],
		OIDCTokenFilePath:     s.keys["oidc_token_file_path"],
		STSEndpoint:           or(s.keys["sts_endpoint"], sts.Endpoint),
		STSFallbackEndpoints:  sts.FallbackEndpoints,
		STSRegionID:           or(s.first("sts_region_id", "sts_region", "region_id"), sts.Region),
		EnableVPC:             s.truth("enable_vpc") || sts.VPC,
		Host:                  s.keys["host"],
		RoleName:              s.keys["role_name"],
		DisableIMDSv1:         s.truth("disable_imds_v1"),
		PublicKeyID:           s.keys["public_key_id"],
		PrivateKeyFile:        s.keys["private_key_file"],
		CredentialsURI:        s.keys["credentials_uri"],
		BearerToken:           s.keys["bearer_token"],
		ConnectTimeout:        s.number("connect_timeout"),
		Timeout:               s.number("timeout"),
		Proxy:                 s.keys["proxy"],
		Client:                sts.Client,
		Metadata:              f.Metadata,
		Getenv:                f.Getenv,
	}
	if c.RoleSessionName == "" && f.Getenv(envRoleSessionName) == "" {
		c.RoleSessionName = f.session
	}
	if !f.clientGiven && (c.ConnectTimeout != 0 || c.Timeout != 0 || c.Proxy != "") {
		c.Client = nil // one is made that is like this
	}
	return c
}

// iniSection reads the keys of a section and remembers the first that cannot
// be read.
type iniSection struct {
	keys map[string]string
	err  error
}

func (s *iniSection) first(names ...string) string {
	for _, name := range names {
		if s.keys[name] != "" {
			return s.keys[name]
		}
	}
	return ""
}

func (s *iniSection) truth(name string) bool {
	switch value := s.keys[name]; {
	case isTrue(value):
		return true
	case value != "" && !strings.EqualFold(value, "false"):
		s.err = firstError(s.err, fmt.Errorf("the key %s is neither true nor false", name))
	}
	return false
}

func (s *iniSection) number(names ...string) int {
	for _, name := range names {
		if s.keys[name] == "" {
			continue
		}
		n, err := strconv.ParseInt(s.keys[name], 10, 32) // keeps durations in nanoseconds from overflowing
		if err != nil {
			s.err = firstError(s.err, fmt.Errorf("the key %s is not a whole number", name))
		}
		return int(n)
	}
	return 0
}
