package alicreds

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"
)

// oauthRecord is what a login has come to.
type oauthRecord struct {
	tokens  OAuthTokens
	session Credentials
}

// oauthStore keeps the record of a login: in a profile of config.json, or in
// memory for a login that is in no file.
type oauthStore struct {
	turn chan struct{} // holds one: the goroutine that changes the record

	file         *configFile // nil for a login in memory
	profile      string
	readOnly     bool
	onWriteError func(error)

	save func(context.Context, OAuthTokens, Credentials) error // for a login in memory; may be nil

	// memory is what could not be written to the file. It counts for as long
	// as the file holds the tokens that it came after.
	mu     sync.Mutex
	memory sealed[oauthRecord]
	after  OAuthTokens
}

func newOAuthMemory(tokens OAuthTokens, save func(context.Context, OAuthTokens, Credentials) error) *oauthStore {
	return &oauthStore{turn: make(chan struct{}, 1), memory: seal(oauthRecord{tokens: tokens}), save: save}
}

func newOAuthFile(path, profile string, o CLIProfileOptions) *oauthStore {
	return &oauthStore{
		turn:         make(chan struct{}, 1),
		file:         &configFile{path: path},
		profile:      profile,
		readOnly:     o.ReadOnly,
		onWriteError: o.OnWriteError,
	}
}

// read returns what is kept right now.
func (s *oauthStore) read(ctx context.Context) (oauthRecord, error) {
	r, err := s.written(ctx)
	if err != nil {
		return oauthRecord{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory != nil && s.after == r.tokens {
		return s.memory(), nil
	}
	return r, nil
}

// written is what the file holds.
func (s *oauthStore) written(ctx context.Context) (oauthRecord, error) {
	if s.file == nil {
		return oauthRecord{}, nil
	}
	text, err := s.file.read(ctx)
	if err != nil {
		return oauthRecord{}, err
	}
	profile, err := readCLIProfile(text, s.profile)
	if err != nil {
		return oauthRecord{}, err
	}
	c := Config{cli: &cliConfig{}}
	if err := c.readCLI(profile, oauthKeys); err != nil {
		return oauthRecord{}, err
	}
	return oauthRecord{tokens: c.cli.tokens, session: c.keptSession()}, nil
}

// oauthTurn is the right to change a record, and the record as it was found
// then. It has to end.
type oauthTurn struct {
	oauthRecord
	store *oauthStore
	lock  *lockedConfig // nil where nothing can be written
	found OAuthTokens   // in the file

	// mayRenew is false when a new refresh token could not be kept, although
	// others rely on it.
	mayRenew bool
}

// begin waits until nobody else changes the record, in this process and then
// in others, and reads it.
func (s *oauthStore) begin(ctx context.Context) (_ *oauthTurn, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t := &oauthTurn{store: s, mayRenew: !s.readOnly}
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	if s.file != nil && !s.readOnly {
		t.lock, err = s.file.lock(ctx)
		var cannot unwritable
		if errors.As(err, &cannot) {
			s.complain(err) // nobody can write here, so nobody else could keep the login either
		} else if err != nil {
			return nil, err
		}
	}
	written, err := s.written(ctx)
	if err != nil {
		return nil, err
	}
	t.found = written.tokens
	t.oauthRecord, err = s.read(ctx)
	return t, err
}

// overtaken tells whether somebody who does not take turns, such as the aliyun
// CLI, has used the refresh token up meanwhile and left other tokens in the
// file, which the turn goes on with. They may take a moment to be written.
func (t *oauthTurn) overtaken(ctx context.Context) bool {
	if t.store.file == nil {
		return false
	}
	for range 10 {
		if written, err := t.store.written(ctx); err == nil && written.tokens != t.found {
			t.found, t.oauthRecord = written.tokens, written
			return true
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func (t *oauthTurn) end() {
	if t.lock != nil {
		t.lock.unlock()
	}
	<-t.store.turn
}

// keep stores the record of the turn. It cannot fail, because the tokens of
// before may be void: what cannot be written is kept in memory.
func (t *oauthTurn) keep(ctx context.Context) {
	s := t.store
	if s.file == nil {
		// Without the session: a provider asks anew at each call.
		s.remember(seal(oauthRecord{tokens: t.tokens}), OAuthTokens{})
		if s.save != nil {
			// The caller may have left. If Save fails the login lasts as long as this provider.
			_ = s.save(context.WithoutCancel(ctx), t.tokens, t.session)
		}
		return
	}
	if t.lock != nil {
		fields := sessionFields(t.session)
		if t.tokens != t.found { // otherwise they stay, in case somebody has just logged in again
			fields = append(loginFields(t.tokens), fields...)
		}
		err := t.lock.set(s.profile, fields)
		if err == nil {
			t.found = t.tokens
			s.remember(nil, OAuthTokens{})
			return
		}
		s.complain(err)
	}
	if written, err := s.written(ctx); err == nil {
		s.remember(seal(t.oauthRecord), written.tokens)
	}
}

func (s *oauthStore) remember(memory sealed[oauthRecord], after OAuthTokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory, s.after = memory, after
}

func (s *oauthStore) complain(err error) {
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
