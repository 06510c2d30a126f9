package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	// settleAfter is how long after an ambiguous CreateAccessKey the key that it
	// may have made can still come to light. Longer than ram.VisibleWithin: waiting
	// costs nothing here, and a key believed gone would stay for good.
	settleAfter = time.Minute

	// probeFor is how long a new key may take to work before it is given up.
	probeFor = time.Hour

	// afterwards bounds what is done after a failure to leave less behind.
	afterwards = 10 * time.Second

	// maxRetired bounds the remembered ids of keys that were rotated away.
	maxRetired = 20
)

// rotation is what is stored, beside the current key, of the keys of one RAM
// user. It holds one step of a rotation at a time:
//
//	Intent    a key is about to be made, or may have been made
//	Pending   it was made and does not work everywhere yet
//	Retiring  it is the current key now; the one before it is going
type rotation struct {
	AccountID    string       `json:"account_id,omitempty"`
	UserName     string       `json:"username,omitempty"`
	Intent       *keyIntent   `json:"intent,omitempty"`
	Pending      *pendingKey  `json:"pending,omitempty"`
	Retiring     *retiringKey `json:"retiring,omitempty"`
	Retired      []string     `json:"retired,omitempty"` // ids rotated away, oldest first
	LastRotated  time.Time    `json:"last_rotated,omitzero"`
	NextRotation time.Time    `json:"next_rotation,omitzero"`
	RequestedAt  time.Time    `json:"requested_at,omitzero"` // by a request that has not seen its end
	Failure      *failure     `json:"failure,omitempty"`
}

// keyIntent is written before a key is made: a key that is not in Known, and
// not stored, is one whose secret nobody was told.
type keyIntent struct {
	Known []string  `json:"known"`
	At    time.Time `json:"at"`
}

type pendingKey struct {
	ram.AccessKey
	MadeAt time.Time `json:"made_at"`
}

type retiringKey struct {
	ID        string    `json:"access_key"`
	DisableAt time.Time `json:"disable_at"`
	Disabled  bool      `json:"disabled,omitempty"`
	DeleteAt  time.Time `json:"delete_at"`
}

// failure is the last attempt, if it failed.
type failure struct {
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"`
	RetryAt  time.Time `json:"retry_at"`
}

// unfinished tells whether the cloud may hold a key that must yet go or settle.
func (r *rotation) unfinished() bool {
	return r.Intent != nil || r.Pending != nil || r.Retiring != nil
}

// state is one word for what the rotation does at the moment.
func (r *rotation) state() string {
	switch {
	case r.Intent != nil:
		return "creating"
	case r.Pending != nil:
		return "probing"
	case r.Retiring != nil && r.Retiring.Disabled:
		return "deleting"
	case r.Retiring != nil:
		return "overlapping"
	}
	return "idle"
}

// retired remembers that the key was rotated away.
func (r *rotation) retire(id string) {
	r.Retired = append(slices.DeleteFunc(r.Retired, func(old string) bool { return old == id }), id)
	if extra := len(r.Retired) - maxRetired; extra > 0 {
		r.Retired = slices.Clone(r.Retired[extra:])
	}
}

// keyState is a key under rotation, as stored at one moment.
type keyState struct {
	current  ram.AccessKey // ID "" where there is none yet
	replaces string        // id of a key that the first rotation retires
	rotation
	plan    rotationSettings
	paused  bool          // begin nothing by itself
	overlap time.Duration // how long both keys work after a switch
	spare   time.Duration // how long the old one is kept after that, disabled
}

// due is when something is to be done; zero: nothing is.
func (s *keyState) due() time.Time {
	var at time.Time
	switch {
	case s.Intent != nil:
		at = s.Intent.At
	case s.Pending != nil:
		at = s.Pending.MadeAt
	default:
		if !s.paused && s.plan.automatic() {
			at = s.NextRotation
		}
		if q := s.RequestedAt; !q.IsZero() && (at.IsZero() || q.Before(at)) {
			at = q
		}
		if r := s.Retiring; r != nil {
			end := r.DisableAt
			if r.Disabled {
				end = r.DeleteAt
			} else if at.Before(end) {
				at = end // no third key: the next rotation waits for the overlap to end
			}
			if at.IsZero() || end.Before(at) {
				at = end
			}
		}
	}
	if s.Failure != nil && !at.IsZero() && at.Before(s.Failure.RetryAt) {
		at = s.Failure.RetryAt
	}
	return at
}

// rotatedKey is a key under rotation: that of the config, or of a static role.
type rotatedKey interface {
	// load returns what is stored, nil where there is nothing to rotate any longer.
	load(ctx context.Context) (*keyState, error)
	// change applies f to what is stored, in one write, while no other write can
	// come in between. It calls f with what is stored now, and not at all, but
	// returns errKeyGone, where current is no longer the key.
	change(ctx context.Context, current string, f func(*keyState)) error
	// calls returns RAM for the keys of the user, as who may manage them.
	calls(ctx context.Context, s *keyState) (keyCalls, error)
}

var errKeyGone = errors.New("the key was replaced or removed while it was being rotated")

// keyCalls are RAM's calls about the keys of one user.
type keyCalls interface {
	owner() (account, user string)
	list(ctx context.Context) ([]ram.AccessKey, error)
	create(ctx context.Context) (ram.AccessKey, error)
	disable(ctx context.Context, id string) error     // of no key: success
	remove(ctx context.Context, id string) error      // of no key: success
	probe(ctx context.Context, k ram.AccessKey) error // nil: it works
}

// refusal is an answer to the user: what is asked for cannot be done as things are.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// demand is what a request wants of a rotation; the zero value wants what is due.
type demand struct {
	now   bool // rotate whether or not it is due
	force bool // end the overlap of the last rotation, delete a foreign key that is inactive
}

// advance takes the rotation as far as it gets without waiting. It returns when
// to go on, zero for never, and whether the key was switched. What it does is in
// storage before and after each call of the cloud, so that another process can
// go on from any point.
func advance(ctx context.Context, k rotatedKey, want demand) (next time.Time, switched bool, err error) {
	for {
		s, err := k.load(ctx)
		if err != nil || s == nil {
			return time.Time{}, switched, err
		}
		now := time.Now()
		r := &s.rotation
		calls := func() (keyCalls, error) { return k.calls(ctx, s) }
		switch {
		case s.Intent != nil:
			next, err = settle(ctx, k, s, calls)
		case s.Pending != nil:
			var done bool
			next, done, err = tryPending(ctx, k, s, calls)
			if switched = switched || done; done {
				want.now = false
			}
		case r.Retiring != nil && !r.Retiring.Disabled && (want.now && want.force || !now.Before(r.Retiring.DisableAt)):
			err = disableRetiring(ctx, k, s, calls)
		case r.Retiring != nil && r.Retiring.Disabled && (want.now || s.rotationDue(now) || !now.Before(r.Retiring.DeleteAt)):
			err = deleteRetiring(ctx, k, s, calls)
		case !want.now && s.RequestedAt.IsZero() && s.rotationDue(now) && s.current.ID != "" && s.plan.missed(s.NextRotation, now):
			err = k.change(ctx, s.current.ID, func(s *keyState) { s.NextRotation = s.plan.next(now) })
		case want.now && r.Retiring != nil:
			return s.due(), switched, refuse("the key before the current one, %s, stays valid until %s: rotate after that, or use force=true to end it now",
				r.Retiring.ID, r.Retiring.DisableAt.UTC().Format(time.RFC3339))
		case want.now || s.rotationDue(now) && r.Retiring == nil:
			err = makeKey(ctx, k, s, calls, want)
		default:
			return s.due(), switched, nil
		}
		if err != nil || !next.IsZero() {
			return next, switched, err
		}
	}
}

func (s *keyState) rotationDue(now time.Time) bool {
	return !s.RequestedAt.IsZero() || !s.paused && s.plan.automatic() && !s.NextRotation.IsZero() && !now.Before(s.NextRotation)
}

// makeKey makes the new key: intent first, call second, the key into storage third.
func makeKey(ctx context.Context, k rotatedKey, s *keyState, open func() (keyCalls, error), want demand) error {
	calls, err := open()
	if err != nil {
		return err
	}
	account, user := calls.owner()
	listed, err := calls.list(ctx)
	if err != nil {
		return err
	}
	if err := makeRoom(ctx, calls, s, listed, user, want.force); err != nil {
		return err
	}
	known := make([]string, 0, len(listed))
	for _, l := range listed {
		known = append(known, l.ID)
	}
	intent := keyIntent{Known: known, At: time.Now().UTC()}
	if err := k.change(ctx, s.current.ID, func(s *keyState) {
		s.AccountID, s.UserName, s.Intent = account, user, &intent
		if want.now {
			s.RequestedAt = intent.At
		}
	}); err != nil {
		return err
	}
	made, err := calls.create(ctx)
	if err != nil {
		if openapi.Ambiguous(err) || !answered(err) {
			return err // the intent stays: there may be a key that nobody knows the secret of
		}
		if cleared := k.change(ctx, s.current.ID, func(s *keyState) { s.Intent, s.RequestedAt = nil, time.Time{} }); cleared != nil {
			return errors.Join(err, cleared)
		}
		if ram.HasCode(err, "LimitExceeded.User.AccessKey") {
			return refuse("RAM user %s has two AccessKeys already, and RAM allows no third: delete one that is not in use", user)
		}
		return err
	}
	err = k.change(ctx, s.current.ID, func(s *keyState) {
		s.Intent, s.Pending = nil, &pendingKey{made, time.Now().UTC()}
	})
	if err == nil {
		return nil
	}
	// The write may have taken effect all the same; then the key is needed.
	// Otherwise the intent that is stored leads to the key, sooner or later;
	// what follows makes it sooner.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	stored, unknown := k.load(ctx)
	if unknown == nil && (stored == nil || stored.Pending == nil || stored.Pending.ID != made.ID) {
		unknown = calls.remove(ctx, made.ID)
	}
	return errors.Join(err, unknown)
}

// answered tells whether the failure is one of the call, so that it is known
// whether the call can have taken effect.
func answered(err error) bool {
	var refused *openapi.Error
	var network *openapi.NetworkError
	return errors.As(err, &refused) || errors.As(err, &network)
}

// makeRoom refuses where the user has keys that are neither current nor ours.
// With force it deletes one that is inactive; an active one never.
func makeRoom(ctx context.Context, calls keyCalls, s *keyState, listed []ram.AccessKey, user string, force bool) error {
	var foreign []ram.AccessKey
	for _, l := range listed {
		if l.ID != s.current.ID && l.ID != s.replaces {
			foreign = append(foreign, l)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	if force && len(foreign) == 1 && foreign[0].Status == "Inactive" {
		return calls.remove(ctx, foreign[0].ID)
	}
	all := make([]string, 0, len(listed))
	for _, l := range listed {
		what := l.Status
		switch l.ID {
		case s.current.ID:
			what += ", the current one"
		case s.replaces:
			what += ", the one to be replaced"
		}
		all = append(all, fmt.Sprintf("%s (%s)", l.ID, what))
	}
	fix := "delete the one that is not in use, or disable it and use force=true"
	if len(foreign) == 1 && foreign[0].Status == "Inactive" {
		fix = "delete " + foreign[0].ID + ", or use force=true to have it deleted"
	}
	return refuse("RAM user %s has the AccessKeys %s; RAM allows two, and rotation needs the place of the second: %s",
		user, strings.Join(all, " and "), fix)
}

// settle finds out what became of a CreateAccessKey without an answer. A key
// that it made is of no use, since nobody was told its secret.
func settle(ctx context.Context, k rotatedKey, s *keyState, open func() (keyCalls, error)) (time.Time, error) {
	calls, err := open()
	if err != nil {
		return time.Time{}, err
	}
	stray, err := removeStray(ctx, calls, s)
	if err != nil {
		return time.Time{}, err
	}
	if age := time.Since(s.Intent.At); !stray && age < settleAfter {
		return soon(s.Intent.At), nil
	}
	at := s.Intent.At
	return time.Time{}, k.change(ctx, s.current.ID, func(s *keyState) {
		if s.Intent != nil && s.Intent.At.Equal(at) {
			s.Intent = nil
		}
	})
}

// removeStray deletes the keys that an intent did not know and nobody stored.
func removeStray(ctx context.Context, calls keyCalls, s *keyState) (found bool, err error) {
	listed, err := calls.list(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range listed {
		if slices.Contains(s.Intent.Known, l.ID) || l.ID == s.current.ID {
			continue
		}
		if err := calls.remove(ctx, l.ID); err != nil {
			return false, err
		}
		found = true
	}
	return found, nil
}

// tryPending asks whether the new key works, and makes it the current one in a
// single write when it does.
func tryPending(ctx context.Context, k rotatedKey, s *keyState, open func() (keyCalls, error)) (next time.Time, switched bool, err error) {
	calls, err := open()
	if err != nil {
		return time.Time{}, false, err
	}
	pending := *s.Pending
	if err := calls.probe(ctx, pending.AccessKey); err != nil {
		if ctx.Err() != nil {
			return time.Time{}, false, err
		}
		if time.Since(pending.MadeAt) < probeFor {
			return soon(pending.MadeAt), false, nil
		}
		if gone := calls.remove(ctx, pending.ID); gone != nil {
			return time.Time{}, false, errors.Join(err, gone)
		}
		if dropped := k.change(ctx, s.current.ID, func(s *keyState) { s.Pending = nil }); dropped != nil {
			return time.Time{}, false, errors.Join(err, dropped)
		}
		return time.Time{}, false, fmt.Errorf("the new key %s did not work within %s and was deleted: %w", pending.ID, probeFor, err)
	}
	err = k.change(ctx, s.current.ID, func(s *keyState) {
		if s.Pending == nil || s.Pending.ID != pending.ID {
			return
		}
		now := time.Now().UTC()
		old := s.current.ID
		if old == "" {
			old = s.replaces
		}
		if old != "" {
			s.Retiring = &retiringKey{ID: old, DisableAt: now.Add(s.overlap), DeleteAt: now.Add(s.overlap + s.spare)}
			s.retire(old)
		}
		s.current, s.replaces, s.Pending, s.Failure = pending.AccessKey, "", nil, nil
		s.LastRotated, s.NextRotation, s.RequestedAt = now, s.plan.next(now), time.Time{}
	})
	return time.Time{}, err == nil, err
}

func disableRetiring(ctx context.Context, k rotatedKey, s *keyState, open func() (keyCalls, error)) error {
	old := s.Retiring.ID
	if old != s.current.ID {
		calls, err := open()
		if err != nil {
			return err
		}
		if err := calls.disable(ctx, old); err != nil {
			return err
		}
	}
	return k.change(ctx, s.current.ID, func(s *keyState) {
		if s.Retiring != nil && s.Retiring.ID == old {
			s.Retiring.Disabled, s.Failure = true, nil
		}
	})
}

func deleteRetiring(ctx context.Context, k rotatedKey, s *keyState, open func() (keyCalls, error)) error {
	old := s.Retiring.ID
	if old != s.current.ID {
		calls, err := open()
		if err != nil {
			return err
		}
		if err := calls.remove(ctx, old); err != nil {
			return err
		}
	}
	return k.change(ctx, s.current.ID, func(s *keyState) {
		if s.Retiring != nil && s.Retiring.ID == old {
			s.Retiring, s.Failure = nil, nil
		}
	})
}

// undo removes from the cloud what a rotation that is not to go on has left, and
// tells when to go on with that, zero when it is done.
func undo(ctx context.Context, calls keyCalls, s *keyState) (time.Time, error) {
	if s.Intent != nil {
		stray, err := removeStray(ctx, calls, s)
		if err != nil {
			return time.Time{}, err
		}
		if !stray && time.Since(s.Intent.At) < settleAfter {
			return soon(s.Intent.At), nil
		}
		s.Intent = nil
	}
	if p := s.Pending; p != nil && p.ID != s.current.ID {
		if time.Since(p.MadeAt) < settleAfter { // "does not exist" is not to be believed yet
			listed, err := calls.list(ctx)
			if err != nil {
				return time.Time{}, err
			}
			if !slices.ContainsFunc(listed, func(l ram.AccessKey) bool { return l.ID == p.ID }) {
				return soon(p.MadeAt), nil
			}
		}
		if err := calls.remove(ctx, p.ID); err != nil {
			return time.Time{}, err
		}
	}
	s.Pending = nil
	if s.Retiring != nil && s.Retiring.ID != s.current.ID {
		if err := calls.remove(ctx, s.Retiring.ID); err != nil {
			return time.Time{}, err
		}
	}
	s.Retiring = nil
	return time.Time{}, nil
}

// soon is when to look again at what was begun then: often at first, once a
// minute later.
func soon(begun time.Time) time.Time {
	return time.Now().Add(min(max(time.Since(begun)/2, time.Second), time.Minute))
}
