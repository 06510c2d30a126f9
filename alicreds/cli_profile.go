package alicreds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	typeCLIProfile = "cli_profile"

	envConfigFile      = "ALIBABA_CLOUD_CONFIG_FILE"
	envCLIDisabled     = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED"
	envExternalRefused = "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS"
	envSTSEndpoint     = "ALIBABA_CLOUD_STS_ENDPOINT"

	cliDefaultProfile = "default" // where the file names no current one

	// Three hops are unusual; STS itself sets no limit.
	maxSourceProfiles = 16
)

// CLIProfileOptions of a CLIProfile. The zero value is useful.
type CLIProfileOptions struct {
	Path    string // default ALIBABA_CLOUD_CONFIG_FILE, or ~/.aliyun/config.json
	Profile string // default ALIBABA_CLOUD_PROFILE, or the one the file says is current

	// ReadOnly never writes to the file. A login of mode OAuth then lasts as
	// long as its access token: the refresh token is not used, because that
	// would make the one in the file void.
	ReadOnly bool

	// OnWriteError is told when what a profile of mode OAuth or External
	// obtained could not be written to the file. Retrieve does not fail for
	// that. It must not block.
	OnWriteError func(error)

	ExternalTimeout time.Duration // see ExternalOptions
	ExternalStderr  io.Writer     // see ExternalOptions

	STSOptions              // for what the profile does not say itself
	Metadata   *Metadata    // default: one of the provider's own
	HTTP       *http.Client // for CloudSSO and OAuth; see there

	Getenv func(string) string // default os.Getenv
}

// CLIProfile provides the credentials of a profile of the aliyun CLI's
// config.json, in every mode but Anonymous. Letter case does not matter for
// modes. The page docs/profiles.md lists modes and keys.
//
// The file is read at each Retrieve, and the profile set up anew when it has
// changed. Where there is no file at the default path, or its profile was never
// filled in, the CLIProfile is not set up; where ALIBABA_CLOUD_PROFILE names a
// profile that it does not have, a Chain asks nobody else but a Profile. A file
// that was named and is not there, or that cannot be read or understood, is an
// error; none quotes it.
type CLIProfile struct {
	file sealed[*cliProfiles]
}

// cliProfiles is a CLIProfile's configuration, and what it made of the file.
type cliProfiles struct {
	CLIProfileOptions
	elsewhere   bool   // the INI file may have the Profile
	sessionName string // of role sessions
	built       builtProfile
	logins      map[string]*oauthStore // by path and profile; for whoever builds
}

// NewCLIProfile checks the options. It does not look for the file.
func NewCLIProfile(o CLIProfileOptions) (CLIProfile, error) {
	if o.Getenv == nil {
		o.Getenv = processEnvironment
	}
	var err error
	if o.STSOptions, err = o.STSOptions.ready(); err != nil {
		return CLIProfile{}, &Error{Source: typeCLIProfile, Err: err}
	}
	if o.Metadata == nil {
		o.Metadata, err = NewMetadata(MetadataOptions{DisableIMDSv1: isTrue(o.Getenv(envIMDSv1Disabled))})
		if err != nil {
			return CLIProfile{}, &Error{Source: typeCLIProfile, Err: err}
		}
	}
	return CLIProfile{file: seal(&cliProfiles{
		CLIProfileOptions: o,
		sessionName:       newSessionName(),
		logins:            map[string]*oauthStore{},
	})}, nil
}

// Retrieve obtains the credentials of the profile. Their Source is
// "cli_profile/" and that of the provider the profile stands for.
func (p CLIProfile) Retrieve(ctx context.Context) (Credentials, error) {
	if p.file == nil {
		return Credentials{}, failed(typeCLIProfile, "%w: it has no file", ErrUnavailable)
	}
	return retrieveProfile(ctx, typeCLIProfile, p.file().current)
}

// Version changes with what the profile says, and its source profiles. What is
// written back into them does not count.
func (p CLIProfile) Version(ctx context.Context) string {
	if p.file == nil {
		return ""
	}
	build, name, err := p.file().find(ctx)
	return versionOf(err, func(say func(...string)) {
		say(build.path)
		build.describe(name, say)
	})
}

// describe says what a profile consists of.
func (b cliBuild) describe(name string, say func(...string)) {
	profile, err := readCLIProfile(b.text, name)
	if err != nil {
		say(err.Error())
		return
	}
	word := profile.mode()
	say(name, word)
	for _, mode := range cliModes() {
		if !strings.EqualFold(word, mode.name) {
			continue
		}
		for key := range strings.FieldsSeq(mode.keys) {
			if !slices.Contains(strings.Fields(mode.written), key) {
				say(key, string(profile[key]))
			}
			var source string
			if key == "source_profile" && fromJSON(key, profile[key], &source) == nil && len(b.sources) < maxSourceProfiles {
				b.sources = append(slices.Clip(b.sources), name)
				b.describe(source, say)
			}
		}
	}
}

// current is the provider for what the file says now. where names profile
// and file for errors.
func (f *cliProfiles) current(ctx context.Context) (provider Provider, where string, err error) {
	build, name, err := f.find(ctx)
	if err != nil {
		return nil, "", err
	}
	path, text := build.path, build.text
	where = "profile " + shownName(name) + " of " + path
	provider, err = f.built.get(path, name, text, func() (Provider, error) { return build.provider(name) })
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	return provider, where, nil
}

// find reads the file, and names the profile.
func (f *cliProfiles) find(ctx context.Context) (build cliBuild, name string, err error) {
	if isTrue(f.Getenv(envCLIDisabled)) {
		return build, "", fmt.Errorf("%w: %s is true", ErrUnavailable, envCLIDisabled)
	}
	asked, err := profileAsked(f.Profile, f.Getenv)
	if err != nil {
		return build, "", err
	}
	path, text, err := f.read(ctx)
	if err != nil {
		return build, "", asked.notHere(err)
	}
	name, err = f.choose(text, asked)
	if err != nil {
		return build, "", asked.notHere(fmt.Errorf("%s: %w", path, err))
	}
	return cliBuild{cliProfiles: f, path: path, text: text}, name, nil
}

// read reads the file that was named, or the one in the home directory.
func (f *cliProfiles) read(ctx context.Context) (path string, text []byte, err error) {
	read := readProfileFile
	if path = cmp.Or(f.Path, f.Getenv(envConfigFile)); path == "" {
		read = readDefaultFile
		if path, err = homeFile(f.Getenv, ".aliyun", "config.json"); err != nil {
			return "", nil, err
		}
	}
	err = readSettled(ctx, path, func() (settled, error) {
		text, err = read(ctx, path)
		if json.Valid(withoutByteOrderMark(text)) {
			return whole, err
		}
		return broken, err
	})
	return path, text, err
}

// choose names the profile, which the file has.
func (f *cliProfiles) choose(text []byte, asked asked) (string, error) {
	root, err := jsonObject(text)
	if err != nil {
		if looksLikeINI(text) {
			err = fmt.Errorf("it is an INI file: name it in %s", envCredentialsFile)
		}
		return "", err
	}
	members := jsonMembers(text, root)
	profiles, ok := jsonLast(members, "profiles")
	if !ok || text[profiles.valueAt] != '[' || len(jsonElements(text, profiles.valueAt)) == 0 {
		return "", errors.New("it has no profiles")
	}
	current := cliDefaultProfile
	if m, ok := jsonLast(members, "current"); ok {
		if err := json.Unmarshal(text[m.valueAt:m.valueEnd], &current); err != nil {
			return "", errors.New("its key current is not a string")
		}
	}
	name := cmp.Or(asked.name, current)
	switch _, err := profileAt(text, name); {
	case name == "":
		return "", errors.New("its key current is empty: it names the profile")
	case err == nil:
		return name, nil
	case asked.name != "" && (f.Profile == "" || f.elsewhere):
		return "", fmt.Errorf("%w: it has no profile %s", ErrUnavailable, shownName(name))
	}
	return "", fmt.Errorf("it has no profile %s", shownName(name))
}

func (CLIProfile) readsProfiles() {}

// cliProfile is a profile of config.json, by its keys in lower case.
type cliProfile map[string]json.RawMessage

func readCLIProfile(text []byte, name string) (cliProfile, error) {
	at, err := profileAt(text, name)
	if err != nil {
		return nil, err
	}
	p := cliProfile{}
	for _, m := range jsonMembers(text, at) {
		p[strings.ToLower(m.name)] = text[m.valueAt:m.valueEnd]
	}
	return p, nil
}

// has tells whether the profile says something under all of the keys.
func (p cliProfile) has(keys string) bool {
	for key := range strings.FieldsSeq(keys) {
		switch string(p[key]) {
		case "", "null", `""`, "0":
			return false
		}
	}
	return true
}

// cliBuild makes a provider of one version of the file.
type cliBuild struct {
	*cliProfiles
	path    string
	text    []byte
	sources []string // profiles on the way
}

// provider is the provider of a profile. It fails without ErrUnavailable,
// unless the profile was never configured.
func (b cliBuild) provider(name string) (Provider, error) {
	profile, err := readCLIProfile(b.text, name)
	if err != nil {
		return nil, err
	}
	if raw, ok := profile["mode"]; ok {
		if err := fromJSON("mode", raw, new(string)); err != nil {
			return nil, err
		}
	}
	mode := profile.mode()
	if mode == "" {
		if key := profile.credentialKey(); key != "" {
			return nil, fmt.Errorf("the profile has no mode, and its keys, such as %s, do not tell which: add the key mode", key)
		}
		return nil, fmt.Errorf("%w: the profile has no mode yet; `aliyun configure` sets it", ErrUnavailable)
	}
	var provider Provider
	c, err := b.config(name, mode, profile)
	if err == nil {
		provider, err = New(c)
	}
	if err != nil {
		return nil, setUp{err}
	}
	return provider, nil
}

// cliHost is an endpoint as the aliyun CLI reads it. It is asked by https
// whatever the scheme.
func cliHost(endpoint string) string {
	endpoint = strings.TrimSpace(endpoint)
	endpoint = strings.TrimPrefix(endpoint, "https://")
	endpoint = strings.TrimPrefix(endpoint, "http://")
	return strings.TrimSuffix(endpoint, "/")
}

// config is the profile as the parameters of a credential type.
func (b cliBuild) config(name, word string, profile cliProfile) (Config, error) {
	for _, mode := range cliModes() {
		if !strings.EqualFold(word, mode.name) {
			continue
		}
		c := Config{Type: mode.kind, cli: &cliConfig{http: b.HTTP}}
		if err := c.readCLI(profile, mode.keys); err != nil {
			return c, err
		}
		sts := b.STSOptions
		sts.Endpoint = cmp.Or(sts.Endpoint, cliHost(b.Getenv(envSTSEndpoint)))
		c.STSEndpoint = cliHost(c.STSEndpoint)
		c.complete(sts, b.Metadata, cliEnvironment(b.Getenv), b.sessionName)
		c.ExternalID = cmp.Or(c.ExternalID, c.Getenv(envExternalID))
		c.BearerToken = cmp.Or(c.BearerToken, c.Getenv(envBearerToken))
		var err error
		if mode.more != nil {
			err = mode.more(b, name, &c)
		}
		return c, err
	}
	if word = plainWord(word, 32); word != "" {
		return Config{}, fmt.Errorf("the mode %s is not supported", word)
	}
	return Config{}, errors.New("the mode is not supported")
}
