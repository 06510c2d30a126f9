package rotation

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	longestCron = 256 // characters

	// ShortestWindow leaves room for a few of the minutes at which rotations begin.
	ShortestWindow = 5 * time.Minute

	// sample is how many times of a schedule are looked at: what is too often is
	// so within days, not years.
	sample = 100
)

// Schedule says when a key is rotated by itself: a period after the last
// rotation, or at the times of a cron expression. Neither: never.
//
// The names are those of automatedrotationutil in Vault's SDK, but not the
// rules: that takes each cron expression for UTC, whatever time zone it names,
// knows no @monthly, and asks for windows of an hour.
type Schedule struct {
	Period time.Duration `json:"rotation_period,omitempty"`
	Cron   string        `json:"rotation_schedule,omitempty"`
	Window time.Duration `json:"rotation_window,omitempty"` // after a time of Cron; 0: no limit
}

// Validate refuses what would rotate more often than that, never, or not be
// understood.
func (s Schedule) Validate(shortest time.Duration) error {
	switch {
	case s.Period < 0 || s.Period > 0 && s.Period < shortest:
		return fmt.Errorf("rotation_period must be 0 or at least %s", shortest)
	case s.Window != 0 && s.Cron == "":
		return errors.New("rotation_window belongs to rotation_schedule: give both, or leave it out")
	case s.Window < 0 || s.Window > 0 && s.Window < ShortestWindow:
		return fmt.Errorf("rotation_window must be 0 or at least %s", ShortestWindow)
	case s.Cron == "":
		return nil
	}
	times, err := parseCron(s.Cron)
	switch {
	case err != nil:
		return fmt.Errorf("rotation_schedule: %w. It has minute, hour, day of month, month and day of week, such as 0 3 * * SAT", err)
	case times.next(time.Now()).IsZero():
		return errors.New("rotation_schedule names no time that ever comes")
	case times.shortestGap() < shortest:
		return fmt.Errorf("rotation_schedule has times less than %s apart", shortest)
	}
	return nil
}

// Automatic tells whether the key is to be rotated by itself.
func (s Schedule) Automatic() bool { return s.Period > 0 || s.Cron != "" }

// Next is when a key that was rotated at that time is to be rotated again; zero:
// never.
func (s Schedule) Next(after time.Time) time.Time {
	if s.Period > 0 {
		return after.Add(s.Period)
	}
	times, err := parseCron(s.Cron)
	if err != nil {
		return time.Time{}
	}
	return times.next(after)
}

// ShortestGap is the shortest time between two rotations, among those to come
// soon.
func (s Schedule) ShortestGap() time.Duration {
	if s.Period > 0 {
		return s.Period
	}
	times, err := parseCron(s.Cron)
	if err != nil {
		return math.MaxInt64
	}
	return times.shortestGap()
}

// missed tells whether a rotation that was due may no longer begin.
func (s Schedule) missed(due, now time.Time) bool {
	return s.Window > 0 && now.After(due.Add(s.Window))
}

// times are those of a cron expression in a time zone.
type times struct {
	cron cron.Schedule // of wall clocks, which it takes for UTC
	zone *time.Location
}

// parseCron takes the zone off itself: the parser panics on an expression that
// is nothing but a zone.
func parseCron(text string) (times, error) {
	if len(text) > longestCron {
		return times{}, fmt.Errorf("it has more than %d characters", longestCron)
	}
	zone := time.UTC
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if rest, found := strings.CutPrefix(text, prefix); found {
			name, expression, _ := strings.Cut(rest, " ")
			var err error
			if zone, err = time.LoadLocation(name); err != nil || name == "" || name == "Local" {
				return times{}, fmt.Errorf("the time zone %q is not known", name)
			}
			text = strings.TrimSpace(expression)
			break
		}
	}
	if strings.HasPrefix(text, "@every") {
		return times{}, errors.New("@every has no times: use rotation_period")
	}
	if strings.Contains(text, "TZ=") || text == "" {
		return times{}, errors.New("five fields are expected: minute, hour, day of month, month, day of week")
	}
	parsed, err := cron.ParseStandard("TZ=UTC " + text)
	if err != nil {
		return times{}, err
	}
	return times{parsed, zone}, nil
}

// next is the first time after t, or zero where none comes within five years.
// The expression is held against wall clocks, so that a day on which clocks
// change has each time once: one that the change skips comes when clocks have
// changed, one that it repeats comes the first time only.
func (s times) next(t time.Time) time.Time {
	wall := wallClock(t.In(s.zone))
	for {
		if wall = s.cron.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, s.zone)
		if early := wall.Sub(wallClock(at)); early > 0 {
			at = at.Add(early) // the time is skipped, and Date gave one before the change
		}
		if at.After(t) {
			return at.UTC()
		}
	}
}

// shortestGap is the shortest time between two of the next times.
func (s times) shortestGap() time.Duration {
	gap := time.Duration(math.MaxInt64)
	at := s.next(time.Now())
	for range sample {
		following := s.next(at)
		if following.IsZero() {
			break
		}
		gap, at = min(gap, following.Sub(at)), following
	}
	return gap
}

// wallClock is what the clocks of the zone show, as if it were UTC.
func wallClock(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}
