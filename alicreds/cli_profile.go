package alicreds

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// The other modes of a profile, as the aliyun CLI spells them.
const (
	modeRAMRoleARN             = "RamRoleArn"
	modeECSRAMRole             = "EcsRamRole"
	modeOIDC                   = "OIDC"
	modeChainableRAMRoleARN    = "ChainableRamRoleArn"
	modeCloudSSO               = "CloudSSO"
	modeOAuth                  = "OAuth"
	modeExternal               = "External"
	modeCredentialsURI         = "CredentialsURI"
	modeRAMRoleARNWithRoleName = "RamRoleArnWithRoleName"
	modeRSAKeyPair             = "RsaKeyPair"
	modeBearerToken            = "BearerToken"
	modeAnonymous              = "Anonymous"
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
// changed. Where there is no file, or ALIBABA_CLOUD_PROFILE names a profile
// it does not have, the CLIProfile is not set up. A file that cannot be read
// or understood is an error; none quotes it.
type CLIProfile struct {
	file sealed[*cliProfiles]
}

// cliProfiles is a CLIProfile's configuration, and what it made of the file.
type cliProfiles struct {
	CLIProfileOptions
	session string // name of role sessions

	mu       sync.Mutex
	made     [sha256.Size]byte // what provider was made of
	provider Provider
	logins   map[string]*oauthFile // by path and profile
}

// NewCLIProfile checks the options. It does not look for the file.
func NewCLIProfile(o CLIProfileOptions) (CLIProfile, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
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
		session:           newSessionName(),
		logins:            map[string]*oauthFile{},
	})}, nil
}

// Retrieve obtains the credentials of the profile. Their Source is
// "cli_profile/" and that of the provider the profile stands for.
func (p CLIProfile) Retrieve(ctx context.Context) (Credentials, error) {
	if p.file == nil {
		return Credentials{}, failed(typeCLIProfile, "%w: it has no file", ErrUnavailable)
	}
	provider, where, err := p.file().current()
	if err != nil {
		return Credentials{}, &Error{Source: typeCLIProfile, Err: err}
	}
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return Credentials{}, failed(typeCLIProfile, "%s: %w", where, setUp{err})
	}
	c.Source = typeCLIProfile + "/" + c.Source
	return c, nil
}

// current is the provider for what the file says now. where names profile
// and file for errors.
func (f *cliProfiles) current() (provider Provider, where string, err error) {
	if isTrue(f.Getenv(envCLIDisabled)) {
		return nil, "", fmt.Errorf("%w: %s is true", ErrUnavailable, envCLIDisabled)
	}
	path := or(f.Path, f.Getenv(envConfigFile))
	if path == "" {
		if path, err = homeFile(f.Getenv, ".aliyun", "config.json"); err != nil {
			return nil, "", err
		}
	}
	text, err := readProfileFile(path)
	if err != nil {
		return nil, "", err
	}
	name, err := f.choose(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	where = "profile " + shownName(name) + " of " + path

	f.mu.Lock()
	defer f.mu.Unlock()
	now := sha256.Sum256(slices.Concat([]byte(strconv.Quote(path)+strconv.Quote(name)), text))
	if f.provider != nil && now == f.made {
		return f.provider, where, nil
	}
	build := cliBuild{cliProfiles: f, path: path, text: text}
	if provider, err = build.provider(name); err != nil {
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	f.made, f.provider = now, provider
	return provider, where, nil
}

// choose names the profile, which the file has.
func (f *cliProfiles) choose(text []byte) (string, error) {
	root, err := jsonObject(text)
	if err != nil {
		return "", err
	}
	members := jsonMembers(text, root)
	profiles, ok := jsonLast(members, "profiles")
	if !ok || text[profiles.valueAt] != '[' || len(jsonElements(text, profiles.valueAt)) == 0 {
		return "", errors.New("it has no profiles")
	}
	var fromFile *string
	if m, ok := jsonLast(members, "current"); ok {
		if err := json.Unmarshal(text[m.valueAt:m.valueEnd], &fromFile); err != nil {
			return "", errors.New("its key current is not a string")
		}
	}
	switch name, chosen := f.Profile, f.Getenv(envProfile); {
	case name != "":
		return name, hasProfile(text, name, nil)
	case chosen != "":
		// The variable chooses in the INI file, too. It may mean that one.
		return chosen, hasProfile(text, chosen, ErrUnavailable)
	case fromFile != nil && *fromFile != "":
		return *fromFile, hasProfile(text, *fromFile, nil)
	}
	return cliDefaultProfile, hasProfile(text, cliDefaultProfile, nil)
}

func hasProfile(text []byte, name string, otherwise error) error {
	_, err := profileAt(text, name)
	switch {
	case err == nil:
		return nil
	case otherwise != nil:
		return fmt.Errorf("%w: it has no profile %s", otherwise, shownName(name))
	}
	return fmt.Errorf("it has no profile %s", shownName(name))
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
	p, err := readCLIProfile(b.text, name)
	if err != nil {
		return nil, err
	}
	mode := p.text("mode")
	if p.err != nil {
		return nil, p.err
	}
	if mode == "" {
		return nil, fmt.Errorf("%w: the profile has no mode yet; `aliyun configure` sets it", ErrUnavailable)
	}
	provider, err := b.ofMode(mode, name, p)
	// Keys of a wrong type read as absent, so that is the first thing to say.
	if err = firstError(p.err, err); err != nil {
		return nil, setUp{err}
	}
	return provider, nil
}

func (b cliBuild) ofMode(mode, name string, p *cliProfileKeys) (Provider, error) {
	for _, known := range []struct {
		mode  string
		build func() (Provider, error)
	}{
		{modeAK, func() (Provider, error) { return New(b.config(typeAccessKey, p)) }},
		{modeSTSToken, func() (Provider, error) { return New(b.config(typeSTS, p)) }},
		{modeRAMRoleARN, func() (Provider, error) { return New(b.config(typeRAMRoleARN, p)) }},
		{modeECSRAMRole, func() (Provider, error) { return New(b.config(typeECSRAMRole, p)) }},
		{modeOIDC, func() (Provider, error) { return New(b.config(typeOIDCRoleARN, p)) }},
		{modeCredentialsURI, func() (Provider, error) { return New(b.config(typeCredentialsURI, p)) }},
		{modeBearerToken, func() (Provider, error) { return New(b.config(typeBearer, p)) }},
		{modeRAMRoleARNWithRoleName, func() (Provider, error) { return b.roleOverRole(p) }},
		{modeChainableRAMRoleARN, func() (Provider, error) { return b.chain(name, p) }},
		{modeRSAKeyPair, func() (Provider, error) { return b.rsaKeyPair(p) }},
		{modeCloudSSO, func() (Provider, error) { return b.cloudSSO(p) }},
		{modeOAuth, func() (Provider, error) { return b.oauth(name, p) }},
		{modeExternal, func() (Provider, error) { return b.external(name, p) }},
		{modeAnonymous, func() (Provider, error) {
			return nil, errors.New("the mode Anonymous means to send no credentials, so there are none to obtain")
		}},
	} {
		if strings.EqualFold(mode, known.mode) {
			return known.build()
		}
	}
	if word := plainWord(mode, 32); word != "" {
		return nil, fmt.Errorf("the mode %s is not supported", word)
	}
	return nil, errors.New("the mode is not supported")
}

// config is the profile as the parameters of a credential type.
func (b cliBuild) config(kind string, p *cliProfileKeys) Config {
	sts := b.sts(p)
	return Config{
		Type:                  kind,
		AccessKeyID:           p.text("access_key_id"),
		AccessKeySecret:       p.text("access_key_secret"),
		SecurityToken:         p.text("sts_token"),
		RoleARN:               p.text("ram_role_arn"),
		RoleSessionName:       b.sessionName(p),
		Policy:                p.text("policy"),
		ExternalID:            p.text("external_id"),
		RoleSessionExpiration: int(p.duration("expired_seconds") / time.Second),
		OIDCProviderARN:       p.text("oidc_provider_arn"),
		OIDCTokenFilePath:     p.text("oidc_token_file"),
		STSEndpoint:           sts.Endpoint,
		STSFallbackEndpoints:  sts.FallbackEndpoints,
		STSRegionID:           sts.Region,
		EnableVPC:             sts.VPC,
		Client:                sts.Client,
		RoleName:              p.text("ram_role_name"),
		CredentialsURI:        p.text("credentials_uri"),
		BearerToken:           p.text("bearer_token"),
		Metadata:              b.Metadata,
		Getenv:                b.Getenv,
	}
}

// sts is where the profile's calls go: where it says, or else where the
// options say.
func (b cliBuild) sts(p *cliProfileKeys) STSOptions {
	o := b.STSOptions
	o.Endpoint = or(or(p.text("sts_endpoint"), o.Endpoint), b.Getenv(envSTSEndpoint))
	o.Region = or(p.text("sts_region"), o.Region)
	o.VPC = p.truth("enable_vpc") || o.VPC
	return o.FromEnvironment(b.Getenv)
}

func (b cliBuild) sessionName(p *cliProfileKeys) string {
	return or(or(p.text("ram_session_name"), b.Getenv(envRoleSessionName)), b.session)
}

// assume is a role over another provider.
func (b cliBuild) assume(source Provider, p *cliProfileKeys) (Provider, error) {
	return NewRAMRoleARN(source, RAMRoleARNOptions{
		RoleARN:         or(p.text("ram_role_arn"), b.Getenv(envRoleARN)),
		RoleSessionName: b.sessionName(p),
		Policy:          p.text("policy"),
		ExternalID:      p.text("external_id"),
		Duration:        p.duration("expired_seconds"),
		STSOptions:      b.sts(p),
	})
}

func (b cliBuild) roleOverRole(p *cliProfileKeys) (Provider, error) {
	instance, err := New(b.config(typeECSRAMRole, p))
	if err != nil {
		return nil, err
	}
	return b.assume(instance, p)
}

func (b cliBuild) chain(name string, p *cliProfileKeys) (Provider, error) {
	next := p.text("source_profile")
	b.sources = append(slices.Clip(b.sources), name)
	switch {
	case next == "":
		return nil, errors.New("the key source_profile is empty")
	case slices.Contains(b.sources, next):
		return nil, fmt.Errorf("the source_profile %s leads in a circle", shownName(next))
	case len(b.sources) > maxSourceProfiles:
		return nil, fmt.Errorf("more than %d profiles are linked by source_profile", maxSourceProfiles)
	}
	source, err := b.provider(next)
	if err != nil {
		return nil, fmt.Errorf("source_profile %s: %w", shownName(next), setUp{err})
	}
	return b.assume(source, p)
}

func (b cliBuild) rsaKeyPair(p *cliProfileKeys) (Provider, error) {
	return NewRSAKeyPair(p.text("key_pair_name"), p.text("private_key"), RSAKeyPairOptions{
		Duration:   p.duration("expired_seconds"),
		STSOptions: b.sts(p),
	})
}

func (b cliBuild) cloudSSO(p *cliProfileKeys) (Provider, error) {
	return NewCloudSSO(p.text("access_token"), CloudSSOOptions{
		SignInURL:             p.text("cloud_sso_sign_in_url"),
		AccountID:             p.text("cloud_sso_account_id"),
		AccessConfig:          p.text("cloud_sso_access_config"),
		AccessTokenExpiration: p.unixTime("cloud_sso_access_token_expire"),
		Session:               p.kept(),
		HTTP:                  b.HTTP,
	})
}

func (b cliBuild) oauth(name string, p *cliProfileKeys) (Provider, error) {
	site := p.text("oauth_site_type")
	if site == "" {
		return nil, errors.New("the key oauth_site_type is empty; it is CN or INTL")
	}
	p.login() // for wrong types
	id := strconv.Quote(b.path) + strconv.Quote(name)
	store := b.logins[id]
	if store == nil {
		store = &oauthFile{
			file:         configFile{path: b.path},
			profile:      name,
			readOnly:     b.ReadOnly,
			onWriteError: b.OnWriteError,
			turn:         make(chan struct{}, 1),
		}
		b.logins[id] = store
	}
	return newOAuth(store, OAuthOptions{Site: site, HTTP: b.HTTP})
}

func (b cliBuild) external(name string, p *cliProfileKeys) (Provider, error) {
	if v := b.Getenv(envExternalRefused); isTrue(v) || v == "1" {
		return nil, fmt.Errorf("%s forbids to run a command", envExternalRefused)
	}
	o := ExternalOptions{Timeout: b.ExternalTimeout, Stderr: b.ExternalStderr}
	if !b.ReadOnly {
		file, onWriteError := configFile{path: b.path}, b.OnWriteError
		o.Save = func(ctx context.Context, c Credentials) error {
			err := file.locked(ctx, func(locked lockedConfig) error { return locked.set(name, sessionFields(c)) })
			if err != nil && onWriteError != nil {
				onWriteError(&Error{Source: typeCLIProfile + "/" + typeExternal, Err: err})
			}
			return err
		}
	}
	return NewExternal(p.text("process_command"), o)
}

// sessionFields are the keys under which a profile keeps a session. When
// nobody knows when it ends, what is written there about an earlier one stays.
func sessionFields(c Credentials) []jsonField {
	fields := []jsonField{
		{"access_key_id", jsonText(c.AccessKeyID)},
		{"access_key_secret", jsonText(c.AccessKeySecret)},
		{"sts_token", jsonText(c.SecurityToken)},
	}
	if !c.Expiration.IsZero() {
		fields = append(fields, jsonField{"sts_expiration", strconv.AppendInt(nil, c.Expiration.Unix(), 10)})
	}
	return fields
}

// cliProfileKeys reads the keys of a profile and remembers the first that
// has the wrong type.
type cliProfileKeys struct {
	keys map[string]json.RawMessage
	err  error
}

func readCLIProfile(text []byte, name string) (*cliProfileKeys, error) {
	at, err := profileAt(text, name)
	if err != nil {
		return nil, err
	}
	p := &cliProfileKeys{}
	if err := json.Unmarshal(text[at:jsonEnd(text, at)], &p.keys); err != nil {
		return nil, errors.New("the profile is not a JSON object")
	}
	return p, nil
}

// cliKey decodes a key. Absent and null are the zero value.
func cliKey[T any](p *cliProfileKeys, key, form string) T {
	var value T
	raw, ok := p.keys[key]
	if !ok {
		return value
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		p.err = firstError(p.err, fmt.Errorf("the key %s is not %s", key, form))
		return *new(T)
	}
	return value
}

func (p *cliProfileKeys) text(key string) string { return cliKey[string](p, key, "a string") }
func (p *cliProfileKeys) truth(key string) bool  { return cliKey[bool](p, key, "true or false") }
func (p *cliProfileKeys) number(key string) int64 {
	return cliKey[int64](p, key, "a whole number")
}

// duration is a number of seconds; 0 means that it is not set.
func (p *cliProfileKeys) duration(key string) time.Duration {
	n := p.number(key)
	if most := int64(maxTokenLife / time.Second); n > most || n < -most {
		p.err = firstError(p.err, fmt.Errorf("the key %s is not a number of seconds", key))
		return 0
	}
	return time.Duration(n) * time.Second
}

// unixTime is a time in seconds since 1970; 0 means that it is not known.
func (p *cliProfileKeys) unixTime(key string) time.Time {
	n := p.number(key)
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// kept is the session that the profile keeps for a login.
func (p *cliProfileKeys) kept() Credentials {
	return Credentials{
		AccessKeyID:     p.text("access_key_id"),
		AccessKeySecret: p.text("access_key_secret"),
		SecurityToken:   p.text("sts_token"),
		Expiration:      p.unixTime("sts_expiration"),
	}
}

func (p *cliProfileKeys) login() OAuthTokens {
	return OAuthTokens{
		RefreshToken: p.text("oauth_refresh_token"),
		AccessToken:  p.text("oauth_access_token"),
		Expiration:   p.unixTime("oauth_access_token_expire"),
	}
}

// oauthFile keeps a login in a profile of config.json. What it cannot write
// it keeps in memory, for as long as the file still holds what that grew from.
type oauthFile struct {
	file         configFile
	profile      string
	readOnly     bool
	onWriteError func(error)

	turn chan struct{} // for one goroutine; the file's lock is for one process

	mu      sync.Mutex
	grown   sealed[oauthRecord]
	grewOut OAuthTokens // of the file's
}

func (s *oauthFile) record(context.Context) (oauthRecord, error) { return s.read(s.file.read) }

func (s *oauthFile) read(read func() ([]byte, error)) (oauthRecord, error) {
	r, err := s.written(read)
	if err != nil {
		return oauthRecord{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grown != nil && s.grewOut == r.tokens {
		return s.grown(), nil
	}
	return r, nil
}

// written is what the file holds.
func (s *oauthFile) written(read func() ([]byte, error)) (oauthRecord, error) {
	text, err := read()
	if err != nil {
		return oauthRecord{}, err
	}
	p, err := readCLIProfile(text, s.profile)
	if err != nil {
		return oauthRecord{}, err
	}
	r := oauthRecord{tokens: p.login(), session: p.kept()}
	return r, p.err
}

func (s *oauthFile) exclusively(ctx context.Context, do func(oauthTurn) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.readOnly {
		return s.take(s.file.read, nil, do)
	}
	err := s.file.locked(ctx, func(locked lockedConfig) error {
		return s.take(locked.read, locked.set, do)
	})
	var cannot unwritable
	if errors.As(err, &cannot) {
		// Nobody can write here, so nobody else could keep the login either.
		s.complain(cannot)
		return s.take(s.file.read, func(string, []jsonField) error { return cannot }, do)
	}
	return err
}

// take runs do with what is kept now. set is nil when nothing may be written.
func (s *oauthFile) take(read func() ([]byte, error), set func(string, []jsonField) error, do func(oauthTurn) error) error {
	now, err := s.read(read)
	if err != nil {
		return err
	}
	written, err := s.written(read)
	if err != nil {
		return err
	}
	return do(oauthTurn{oauthRecord: now, mayRenew: set != nil, keep: func(r oauthRecord) {
		if set != nil {
			fields := sessionFields(r.session)
			if r.tokens != written.tokens { // otherwise they stay, in case somebody has just logged in again
				fields = append(loginFields(r.tokens), fields...)
			}
			err := set(s.profile, fields)
			if err == nil {
				written.tokens = r.tokens
				s.remember(nil, OAuthTokens{})
				return
			}
			s.complain(err)
		}
		if before, err := s.written(read); err == nil {
			s.remember(seal(r), before.tokens)
		}
	}})
}

func (s *oauthFile) remember(grown sealed[oauthRecord], out OAuthTokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grown, s.grewOut = grown, out
}

func (s *oauthFile) complain(err error) {
	if s.onWriteError != nil {
		s.onWriteError(&Error{Source: typeCLIProfile + "/" + typeOAuth, Err: err})
	}
}

// loginFields are the keys under which a profile keeps a login.
func loginFields(t OAuthTokens) []jsonField {
	fields := []jsonField{
		{"oauth_refresh_token", jsonText(t.RefreshToken)},
		{"oauth_access_token", jsonText(t.AccessToken)},
	}
	if !t.Expiration.IsZero() {
		fields = append(fields, jsonField{"oauth_access_token_expire", strconv.AppendInt(nil, t.Expiration.Unix(), 10)})
	}
	return fields
}
