// Package rotation replaces the AccessKey of a RAM user by a new one, without a
// moment at which no working key is stored. It knows no paths, no storage and no
// calls of RAM: it sees a key through the interfaces [Key] and [Keys].
//
// RAM allows a user two keys. One rotation goes through these phases:
//
//	idle          there is one key
//	creating      a second one is about to be made, or may have been: State.Intent
//	probing       it was made, and does not work everywhere yet: State.Pending
//	overlapping   it is the current key, the one before works too: State.Retiring
//	deleting      the one before is disabled, and deleted later: Retiring.Disabled
//
// Each step loads what is stored, calls RAM, and stores what came of it, so that
// any process can go on from any point. The steps are in advance.go:
//
//	create       store the intent, make the key, store it as pending
//	settle       after a CreateAccessKey without an answer: delete what it made
//	probe        make the new key the current one, once it works
//	disableOld   when the overlap is over
//	deleteOld    when the time to spare is over, or its place is needed
//
// A [Queue] knows when each key is due. Once a minute its owner lets it
// [Queue.Begin] a round, whose workers take one key after the other that is due,
// and go from step to step for as long as nothing has to be waited for.
// [Queue.Rotate] does the same with one key on request, and waits. Whoever works
// on a key holds it meanwhile, by [Queue.Take] too.
package rotation

import (
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Rotation is that of one key, as stored at one moment, and the rules for it.
type Rotation struct {
	Current  ram.AccessKey // ID "": there is none yet
	Replaces string        // ID of a key that the first rotation retires, where there is no current one
	State

	Schedule Schedule
	Paused   bool          // rotate on request only, whatever the schedule says; the first key is made all the same
	Overlap  time.Duration // how long the old key works after a switch
	Spare    time.Duration // how long it is kept after that, disabled
}

// Due is when something is to be done; zero: nothing is.
func (r *Rotation) Due() time.Time {
	now, as := time.Now(), *r
	if as.correct(now) {
		return now
	}
	at := r.begun()
	if at.After(now.Add(clockError)) {
		return now
	}
	if at.IsZero() {
		at = r.planned()
	}
	if retry := r.Failure.Due(); !at.IsZero() && at.Before(retry) {
		return retry
	}
	return at
}

// begun is when the key was made that does not work yet; zero: there is none.
func (r *Rotation) begun() time.Time {
	switch {
	case r.Intent != nil:
		return r.Intent.At
	case r.Pending != nil:
		return r.Pending.MadeAt
	}
	return time.Time{}
}

// planned is when the next rotation begins or the old key goes.
func (r *Rotation) planned() time.Time {
	rotate := r.RequestedAt
	if r.bySchedule() {
		rotate = Earliest(rotate, r.NextRotation)
	}
	switch old := r.Retiring; {
	case old == nil:
		return rotate
	case old.Disabled:
		return Earliest(rotate, old.DeleteAt) // the next rotation needs the place
	default:
		return old.DisableAt // no third key: the next rotation waits for the overlap to end
	}
}

// Earliest is the earlier of two times, of which zero is never.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// rotationDue tells whether a new key is to be made.
func (r *Rotation) rotationDue(now time.Time) bool {
	return !r.RequestedAt.IsZero() || r.bySchedule() && !r.NextRotation.IsZero() && !now.Before(r.NextRotation)
}

// bySchedule tells whether NextRotation counts.
func (r *Rotation) bySchedule() bool {
	return r.Current.ID == "" || !r.Paused && r.Schedule.Automatic()
}

// windowMissed tells whether the rotation that is due may no longer begin. A
// request and the first key are not bound to the window.
func (r *Rotation) windowMissed(now time.Time) bool {
	return r.RequestedAt.IsZero() && r.Current.ID != "" && r.Schedule.missed(r.NextRotation, now)
}
