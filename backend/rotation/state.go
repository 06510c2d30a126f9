package rotation

import (
	"slices"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// maxRetired bounds the remembered ids of keys that were rotated away.
const maxRetired = 20

// State is what is stored of a rotation, beside the key. At most one of Intent,
// Pending and Retiring is set.
type State struct {
	AccountID    string    `json:"account_id,omitempty"`
	UserName     string    `json:"username,omitempty"`
	Intent       *Intent   `json:"intent,omitempty"`
	Pending      *Pending  `json:"pending,omitempty"`
	Retiring     *Retiring `json:"retiring,omitempty"`
	Retired      []string  `json:"retired,omitempty"` // ids rotated away, oldest first
	LastRotated  time.Time `json:"last_rotated,omitzero"`
	NextRotation time.Time `json:"next_rotation,omitzero"`
	RequestedAt  time.Time `json:"requested_at,omitzero"` // by a request that has not seen its end
	Failure      *Failure  `json:"failure,omitempty"`
}

// Intent is stored before a key is made. A key of the user that is neither in
// Known nor stored is one whose secret nobody was told.
type Intent struct {
	Known []string  `json:"known"`
	At    time.Time `json:"at"`
}

// Pending is a key that was made and has yet to work.
type Pending struct {
	ram.AccessKey
	MadeAt time.Time `json:"made_at"`
}

// Retiring is the key before the current one.
type Retiring struct {
	ID        string    `json:"access_key"`
	DisableAt time.Time `json:"disable_at"`
	Disabled  bool      `json:"disabled,omitempty"`
	DeleteAt  time.Time `json:"delete_at"`
}

// Failure is the last attempt, if it failed.
type Failure struct {
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"` // in a row
	RetryAt  time.Time `json:"retry_at"`
}

// Again is the failure of one more attempt, after f, which may be nil.
func (f *Failure) Again(reason string, now time.Time) *Failure {
	again := &Failure{Reason: reason, At: now.UTC(), Attempts: 1}
	if f != nil {
		again.Attempts = f.Attempts + 1
	}
	again.RetryAt = again.At.Add(again.pause())
	return again
}

// pause is how long the next attempt waits.
func (f *Failure) pause() time.Duration {
	return min(firstRetry<<min(f.Attempts-1, 10), longestRetry)
}

// Due is when the next attempt is to be made; zero: f is nil, and nothing waits.
func (f *Failure) Due() time.Time {
	switch now := time.Now(); {
	case f == nil:
		return time.Time{}
	case f.RetryAt.After(now.Add(longestRetry + clockError)):
		return now // a clock that was wrong said so
	}
	return f.RetryAt
}

// Unfinished tells whether the cloud may hold a key that must yet go or settle.
func (s *State) Unfinished() bool {
	return s.Intent != nil || s.Pending != nil || s.Retiring != nil
}

// Phase is one word for what the rotation does at the moment.
func (s *State) Phase() string {
	switch {
	case s.Intent != nil:
		return "creating"
	case s.Pending != nil:
		return "probing"
	case s.Retiring != nil && s.Retiring.Disabled:
		return "deleting"
	case s.Retiring != nil:
		return "overlapping"
	}
	return "idle"
}

// Reason is why the last attempt failed, "" where it did not.
func (s *State) Reason() string {
	if s.Failure == nil {
		return ""
	}
	return s.Failure.Reason
}

// retire remembers that the key was rotated away.
func (s *State) retire(id string) {
	s.Retired = append(slices.DeleteFunc(s.Retired, func(old string) bool { return old == id }), id)
	if extra := len(s.Retired) - maxRetired; extra > 0 {
		s.Retired = slices.Clone(s.Retired[extra:])
	}
}
