package rotation

import (
	"math"
	"time"
)

const (
	// clockError is how far the clock of another node, or of this one a while ago,
	// may be from the one of now. RAM refuses what is signed further off its own.
	clockError = 15 * time.Minute

	longestOverlap = 30 * 24 * time.Hour // that any key can have
	longestSpare   = 30 * 24 * time.Hour
)

// passed is how long ago a stored time was. What lies further ahead than clocks
// differ was written by a clock that was wrong, and counts as long ago.
func passed(at time.Time) time.Duration {
	if ago := time.Since(at); ago >= -clockError {
		return ago
	}
	return math.MaxInt64
}

// correct brings back what a clock that was wrong has put further ahead than the
// rules allow, and tells whether there was any. Times of an Intent and of a
// Pending stay as they are: they say what to look for, and count as passed.
func (r *Rotation) correct(now time.Time) (corrected bool) {
	latest := now.Add(clockError)
	ahead := func(at time.Time, by time.Duration) bool {
		wrong := at.After(latest.Add(by))
		corrected = corrected || wrong
		return wrong
	}
	rotatedAhead := ahead(r.LastRotated, 0)
	if rotatedAhead {
		r.LastRotated = now
	}
	if ahead(r.RequestedAt, 0) {
		r.RequestedAt = now
	}
	if next := r.Schedule.Next(latest); !next.IsZero() && r.NextRotation.After(next) {
		r.NextRotation, corrected = r.Schedule.Next(now), true
	}
	if f := r.Failure; f != nil && ahead(f.RetryAt, longestRetry) {
		r.Failure = nil
	}
	if old := r.Retiring; old != nil && (rotatedAhead || ahead(old.DisableAt, longestOverlap) || ahead(old.DeleteAt, longestOverlap+longestSpare)) {
		in := *old
		in.DisableAt, in.DeleteAt = now.Add(r.Overlap), now.Add(r.Overlap+r.Spare)
		r.Retiring = &in
	}
	return corrected
}
