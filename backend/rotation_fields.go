package backend

import (
	"errors"
	"strconv"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// scheduleFields are the fields of a rotation.Schedule. shortest is the shortest
// period that it may have.
func scheduleFields[T any](at func(*T) *rotation.Schedule, shortest time.Duration) fields[T] {
	return fields[T]{
		seconds("rotation_period", func(of *T) *time.Duration { return &at(of).Period },
			"Time from one rotation of the key to the next, in seconds or as a duration, at least "+strconv.Itoa(int(shortest/time.Second))+" seconds. "+
				"0: no periodic rotation. Takes the place of rotation_schedule."),
		text("rotation_schedule", func(of *T) *string { return &at(of).Cron },
			`Times of rotation as a cron expression of five fields (minute, hour, day of month, month, day of week), in UTC, `+
				`or in another time zone: "CRON_TZ=Asia/Shanghai 0 3 * * SAT". Takes the place of rotation_period.`),
		seconds("rotation_window", func(of *T) *time.Duration { return &at(of).Window },
			"With rotation_schedule: how long after its time a rotation may begin, at least "+strconv.Itoa(int(rotation.ShortestWindow/time.Second))+" seconds; "+
				"what misses its window waits for the next time. 0, the default: no limit, a missed rotation is made up for, once.").
			checked(func(of *T) error { return at(of).Validate(shortest) }),
	}
}

// settleSchedule follows the fields of a write: a period takes the place of a
// schedule, and the other way round.
func settleSchedule(s *rotation.Schedule, data *framework.FieldData) error {
	_, period := data.GetOk("rotation_period")
	_, cron := data.GetOk("rotation_schedule")
	if s.Period != 0 && s.Cron != "" {
		switch {
		case period && cron:
			return errors.New("rotation_period and rotation_schedule exclude each other: give one")
		case period:
			s.Cron = ""
		default:
			s.Period = 0
		}
	}
	if _, window := data.GetOk("rotation_window"); s.Cron == "" && !window {
		s.Window = 0
	}
	return nil
}

// nextRotation is when a key whose schedule was changed is to be rotated: as if
// the schedule had always been that.
func nextRotation(s rotation.Schedule, last, now time.Time) time.Time {
	if s.Period > 0 && !last.IsZero() {
		now = last
	}
	return s.Next(now).UTC()
}

// rotationStateFields tell how the rotation stands. lastRotated is the name of the
// field that says when the key was rotated.
func rotationStateFields[T any](lastRotated string, at func(*T) *rotation.State) fields[T] {
	return fields[T]{
		derived(lastRotated, func(of *T) string { return rfc3339(at(of).LastRotated) }, "When the key was rotated, RFC 3339 in UTC; empty: never."),
		derived("next_rotation", func(of *T) string { return rfc3339(at(of).NextRotation) }, "When the key will be rotated by itself, RFC 3339 in UTC; empty: never."),
		derived("rotation_state", func(of *T) string { return at(of).Phase() },
			`"idle", "creating", "probing" (the new key does not work everywhere yet), "overlapping" (both keys work) or "deleting" (the old key is disabled).`),
		derived("rotation_failure", func(of *T) string { return at(of).Reason() }, "Why the last attempt failed; empty: it did not. It is repeated by itself."),
	}
}

// goesOn is the warning of a request that has not seen the end of a rotation.
const goesOn = "The rotation has begun and is not finished: the new key does not work everywhere yet, or an earlier attempt is being cleared up. " +
	"It goes on by itself, within minutes; until then the current key stays in use."

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
