package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// scheduleFields are the fields of a rotation.Schedule, for config and static
// roles. shortest is the shortest period that their validation takes.
func scheduleFields(shortest time.Duration) map[string]*framework.FieldSchema {
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
				"window waits for the next time. 0, the default: no limit, a missed rotation is made up for, once.", rotation.ShortestWindow/time.Second),
		},
	}
}

// updateSchedule takes the fields of a write. A period takes the place of a
// schedule, and the other way round.
func updateSchedule(s *rotation.Schedule, data *framework.FieldData) error {
	period, periodGiven := data.GetOk("rotation_period")
	expression, cronGiven := data.GetOk("rotation_schedule")
	if periodGiven {
		s.Period = time.Duration(period.(int)) * time.Second
	}
	if cronGiven {
		s.Cron = strings.TrimSpace(expression.(string))
	}
	if s.Period != 0 && s.Cron != "" {
		switch {
		case periodGiven && cronGiven:
			return errors.New("rotation_period and rotation_schedule exclude each other: give one")
		case periodGiven:
			s.Cron = ""
		default:
			s.Period = 0
		}
	}
	if s.Cron == "" {
		s.Window = 0
	}
	if v, ok := data.GetOk("rotation_window"); ok {
		s.Window = time.Duration(v.(int)) * time.Second
	}
	return nil
}

func readSchedule(s rotation.Schedule, into map[string]interface{}) {
	into["rotation_period"] = int64(s.Period / time.Second)
	into["rotation_schedule"] = s.Cron
	into["rotation_window"] = int64(s.Window / time.Second)
}

// nextRotation is when a key whose schedule was changed is to be rotated: as if
// the schedule had always been that.
func nextRotation(s rotation.Schedule, last, now time.Time) time.Time {
	if s.Period > 0 && !last.IsZero() {
		now = last
	}
	return s.Next(now).UTC()
}

func rotationStateFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"last_rotated":     {Type: framework.TypeString, Description: "When the key was rotated, RFC 3339 in UTC; empty: never."},
		"next_rotation":    {Type: framework.TypeString, Description: "When the key will be rotated by itself, RFC 3339 in UTC; empty: never."},
		"rotation_state":   {Type: framework.TypeString, Description: `"idle", "creating", "probing" (the new key does not work everywhere yet), "overlapping" (both keys work) or "deleting" (the old key is disabled).`},
		"rotation_failure": {Type: framework.TypeString, Description: "Why the last attempt failed; empty: it did not. It is repeated by itself."},
	}
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
