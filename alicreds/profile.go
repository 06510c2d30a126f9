package alicreds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
// changed. Where there is no file at a default path, where it lacks the section
// default, and where the section says enable = false, the Profile is not set up;
// where it lacks one that ALIBABA_CLOUD_PROFILE names, a Chain asks nobody else
// but a CLIProfile. A file that was named and is not there, or that cannot be
// read or understood, is an error; none quotes it.
type Profile struct {
	file sealed[*iniFile]
}

// iniFile is a Profile's configuration, and what it made of the file.
type iniFile struct {
	ProfileOptions
	clientGiven bool
	elsewhere   bool   // config.json may have the Profile
	sessionName string // of role sessions
	built       builtProfile
}

// NewProfile checks the options. It does not look for the file.
func NewProfile(o ProfileOptions) (Profile, error) {
	if o.Getenv == nil {
		o.Getenv = processEnvironment
	}
	given := o.STSOptions.Client != nil
	var err error
	if o.STSOptions, err = o.STSOptions.ready(); err != nil {
		return Profile{}, &Error{Source: typeProfile, Err: err}
	}
	return Profile{file: seal(&iniFile{ProfileOptions: o, clientGiven: given, sessionName: newSessionName()})}, nil
}

// Retrieve obtains the credentials of the section. Their Source is "profile/"
// and that of the provider the section stands for.
func (p Profile) Retrieve(ctx context.Context) (Credentials, error) {
	if p.file == nil {
		return Credentials{}, failed(typeProfile, "%w: it has no file", ErrUnavailable)
	}
	return retrieveProfile(ctx, typeProfile, p.file().current)
}

// Version changes with the section.
func (p Profile) Version(ctx context.Context) string {
	if p.file == nil {
		return ""
	}
	path, name, _, section, err := p.file().find(ctx)
	return versionOf(err, func(say func(...string)) {
		say(path, name)
		for _, key := range slices.Sorted(maps.Keys(section)) {
			say(key, section[key])
		}
	})
}

// current is the provider for what the file says now. where names section
// and file for errors.
func (f *iniFile) current(ctx context.Context) (provider Provider, where string, err error) {
	path, name, text, section, err := f.find(ctx)
	if err != nil {
		return nil, "", err
	}
	where = "section " + shownName(name) + " of " + path
	provider, err = f.built.get(path, name, text, func() (Provider, error) { return f.build(section) })
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	return provider, where, nil
}

// find reads the file and looks the section up.
func (f *iniFile) find(ctx context.Context) (path, name string, text []byte, section map[string]string, err error) {
	asked, err := profileAsked(f.Profile, f.Getenv)
	if err != nil {
		return "", "", nil, nil, err
	}
	if path, text, err = f.read(ctx); err != nil {
		return "", "", nil, nil, asked.notHere(err)
	}
	sections, err := parseINI(text)
	if err != nil {
		return "", "", nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	name = cmp.Or(asked.name, defaultSection)
	section, ok := sections[name]
	switch {
	case !ok && f.Profile != "" && !f.elsewhere:
		err = fmt.Errorf("%s has no section %s", path, shownName(name))
	case !ok:
		err = asked.notHere(fmt.Errorf("%w: %s has no section %s", ErrUnavailable, path, shownName(name)))
	}
	return path, name, text, section, err
}

// read reads the first file that exists.
func (f *iniFile) read(ctx context.Context) (path string, text []byte, err error) {
	settle := func(read func(ctx context.Context, path string) ([]byte, error)) ([]byte, error) {
		err := readSettled(ctx, path, func() (settled, error) {
			text, err = read(ctx, path)
			if _, wrong := parseINI(text); wrong != nil || len(text) == 0 {
				return broken, err
			}
			return plausible, err
		})
		return text, err
	}
	if path = cmp.Or(f.Path, f.Getenv(envCredentialsFile)); path != "" {
		text, err = settle(readProfileFile)
		return path, text, err
	}
	var missing []string
	for _, name := range []string{"credentials", "credentials.ini"} {
		if path, err = homeFile(f.Getenv, ".alibabacloud", name); err != nil {
			return "", nil, err
		}
		if text, err = settle(readDefaultFile); !errors.Is(err, ErrUnavailable) {
			return path, text, err
		}
		missing = append(missing, path)
	}
	return "", nil, fmt.Errorf("%w: there is no file %s", ErrUnavailable, strings.Join(missing, " or "))
}

func (Profile) readsProfiles() {}

// sectionTypes are the values of type, with the keys that must not be empty.
// Keys of other sections or of the environment are not mixed in.
var sectionTypes = map[string][]string{
	typeAccessKey:      {"access_key_id", "access_key_secret"},
	typeSTS:            {"access_key_id", "access_key_secret", "security_token"},
	typeRAMRoleARN:     {"access_key_id", "access_key_secret"}, // the role may come from the environment
	typeOIDCRoleARN:    nil,                                    // completed from what ACK puts into the environment
	typeECSRAMRole:     nil,
	typeRSAKeyPair:     {"public_key_id", "private_key_file"},
	typeCredentialsURI: {"credentials_uri"},
	typeBearer:         {"bearer_token"},
}

// build makes the section's provider. It fails without ErrUnavailable,
// unless the section is disabled.
func (f *iniFile) build(section map[string]string) (Provider, error) {
	enabled := true
	if value, ok := section["enable"]; ok {
		if err := fromText("enable", cmp.Or(value, "false"), &enabled); err != nil {
			return nil, err
		}
	}
	kind := section["type"]
	needed, known := sectionTypes[kind]
	switch {
	case !enabled:
		return nil, fmt.Errorf("%w: it says enable = false", ErrUnavailable)
	case kind == "":
		return nil, errors.New("it has no type")
	case !known && plainWord(kind, 32) != "":
		return nil, fmt.Errorf("the type %s is not supported", kind)
	case !known:
		return nil, errors.New("the type is not supported")
	}
	for _, key := range needed {
		if section[key] == "" && !(key == "security_token" && section["sts_token"] != "") { // as ack-ram-tool spells it
			return nil, fmt.Errorf("%s: it has no %s", kind, key)
		}
	}
	if kind == typeCredentialsURI {
		if err := allowURI(f.Getenv); err != nil {
			return nil, err
		}
	}
	c := Config{Type: kind}
	if err := c.readINI(section); err != nil {
		return nil, err
	}
	c.complete(f.STSOptions, f.Metadata, f.Getenv, f.sessionName)
	if !f.clientGiven && (c.ConnectTimeout != 0 || c.Timeout != 0 || c.Proxy != "") {
		c.Client = nil // one is made that is like this
	}
	provider, err := New(c)
	if err != nil {
		return nil, setUp{err}
	}
	return provider, nil
}
