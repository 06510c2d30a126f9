package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/robfig/cron/v3"
)

// longestSchedule bounds a cron expression, in bytes.
const longestSchedule = 256

// shortestWindow leaves room for a few of the minutes at which rotations begin.
const shortestWindow = 5 * time.Minute

// rotationSettings say when a key is rotated by itself: a period after the last
// rotation, or at the times of a schedule. Neither: never.
type rotationSettings struct {
	RotationPeriod   time.Duration `json:"rotation_period,omitempty"`
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration `json:"rotation_window,omitempty"`
}

func rotationFields(shortest time.Duration) map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"rotation_period": {
			Type: framework.TypeDurationSecond,
			Description: fmt.Sprintf("Time from one rotation of the key to the next, in seconds or as a duration, at least %d seconds. "+
				"0: no periodic rotation. Takes the place of rotation_schedule.", shortest/time.Second),
		},
		"rotation_schedule": {
			Type: framework.TypeString,
			Description: `Times of rotation as a cron expression of five fields (minute, hour, day of month, month, day of week), in UTC, ` +
				`or in another time zone: "CRON_TZ=Asia/Shanghai 0 3 * * SAT". Takes the place of rotation_period.`,
		},
		"rotation_window": {
			Type: framework.TypeDurationSecond,
			Description: fmt.Sprintf("With rotation_schedule: how long after its time a rotation may begin, at least %d seconds; what misses its "+
				"window waits for the next time. 0, the default: no limit, a missed rotation is made up for, once.", shortestWindow/time.Second),
		},
	}
}

// update takes the fields of a write. A period takes the place of a schedule,
// and the other way round.
func (r *rotationSettings) update(data *framework.FieldData) error {
	period, periodGiven := data.GetOk("rotation_period")
	schedule, scheduleGiven := data.GetOk("rotation_schedule")
	if periodGiven {
		r.RotationPeriod = time.Duration(period.(int)) * time.Second
	}
	if scheduleGiven {
		r.RotationSchedule = strings.TrimSpace(schedule.(string))
	}
	if r.RotationPeriod != 0 && r.RotationSchedule != "" {
		switch {
		case periodGiven && scheduleGiven:
			return errors.New("rotation_period and rotation_schedule exclude each other: give one")
		case periodGiven:
			r.RotationSchedule = ""
		default:
			r.RotationPeriod = 0
		}
	}
	if r.RotationSchedule == "" {
		r.RotationWindow = 0
	}
	if v, ok := data.GetOk("rotation_window"); ok {
		r.RotationWindow = time.Duration(v.(int)) * time.Second
	}
	return nil
}

func (r rotationSettings) validate(shortest time.Duration) error {
	switch {
	case r.RotationPeriod < 0 || r.RotationPeriod > 0 && r.RotationPeriod < shortest:
		return fmt.Errorf("rotation_period must be 0 or at least %s", shortest)
	case r.RotationWindow != 0 && r.RotationSchedule == "":
		return errors.New("rotation_window belongs to rotation_schedule: give both, or leave it out")
	case r.RotationWindow < 0 || r.RotationWindow > 0 && r.RotationWindow < shortestWindow:
		return fmt.Errorf("rotation_window must be 0 or at least %s", shortestWindow)
	case r.RotationSchedule == "":
		return nil
	}
	s, err := parseSchedule(r.RotationSchedule)
	if err != nil {
		return fmt.Errorf("rotation_schedule: %w", err)
	}
	// A sample of times: what is too often is so within days, not years.
	at := s.next(time.Now())
	if at.IsZero() {
		return errors.New("rotation_schedule names no time that ever comes")
	}
	for range 100 {
		following := s.next(at)
		if following.IsZero() {
			break
		}
		if following.Sub(at) < shortest {
			return fmt.Errorf("rotation_schedule has times less than %s apart", shortest)
		}
		at = following
	}
	return nil
}

// automatic tells whether the key is to be rotated by itself.
func (r rotationSettings) automatic() bool { return r.RotationPeriod > 0 || r.RotationSchedule != "" }

// next is when a key that was rotated at that time is to be rotated again; zero:
// never.
func (r rotationSettings) next(after time.Time) time.Time {
	switch {
	case r.RotationPeriod > 0:
		return after.Add(r.RotationPeriod)
	case r.RotationSchedule != "":
		if s, err := parseSchedule(r.RotationSchedule); err == nil {
			return s.next(after)
		}
	}
	return time.Time{}
}

// missed tells whether a rotation that was due may no longer begin.
func (r rotationSettings) missed(due, now time.Time) bool {
	return r.RotationWindow > 0 && now.After(due.Add(r.RotationWindow))
}

func (r rotationSettings) read(into map[string]interface{}) {
	into["rotation_period"] = int64(r.RotationPeriod / time.Second)
	into["rotation_schedule"] = r.RotationSchedule
	into["rotation_window"] = int64(r.RotationWindow / time.Second)
}

// schedule is a cron expression in a time zone.
type schedule struct {
	cron cron.Schedule // of wall clocks, which it takes for UTC
	zone *time.Location
}

// parseSchedule takes the zone off itself: the parser panics on an expression
// that is nothing but a zone.
func parseSchedule(text string) (schedule, error) {
	if len(text) > longestSchedule {
		return schedule{}, fmt.Errorf("it has more than %d characters", longestSchedule)
	}
	zone := time.UTC
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if rest, found := strings.CutPrefix(text, prefix); found {
			name, expression, _ := strings.Cut(rest, " ")
			var err error
			if zone, err = time.LoadLocation(name); err != nil || name == "" || name == "Local" {
				return schedule{}, fmt.Errorf("the time zone %q is not known", name)
			}
			text = strings.TrimSpace(expression)
			break
		}
	}
	if strings.HasPrefix(text, "@every") {
		return schedule{}, errors.New("@every has no times: use rotation_period")
	}
	if strings.Contains(text, "TZ=") || text == "" {
		return schedule{}, errors.New("five fields are expected: minute, hour, day of month, month, day of week")
	}
	parsed, err := cron.ParseStandard("TZ=UTC " + text)
	if err != nil {
		return schedule{}, err
	}
	return schedule{parsed, zone}, nil
}

// next is the first time after t, or zero where none comes within five years.
// The expression is held against wall clocks, so that a day on which clocks
// change has each time once: one that the change skips comes when clocks have
// changed, one that it repeats comes the first time only.
func (s schedule) next(t time.Time) time.Time {
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

// wallClock is what the clocks of the zone show, as if it were UTC.
func wallClock(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}
