package rotation_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as the plugin has

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// Times of schedules over time zones, changes of clocks, and leap days.
func TestSchedules(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ schedule, from, want string }{
		"UTC unless told":                  {"0 3 * * *", "2026-05-01T00:00:00Z", "2026-05-01T03:00:00Z 2026-05-02T03:00:00Z"},
		"another zone":                     {"CRON_TZ=Asia/Shanghai 0 3 * * *", "2026-05-01T00:00:00Z", "2026-05-01T19:00:00Z 2026-05-02T19:00:00Z"},
		"the older spelling":               {"TZ=Asia/Kolkata 30 5 * * *", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"},
		"exactly now is over":              {"0 3 * * *", "2026-05-01T03:00:00Z", "2026-05-02T03:00:00Z"},
		"Saturdays":                        {"0 0 * * SAT", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z 2026-05-09T00:00:00Z"},
		"descriptor":                       {"@monthly", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"},
		"months without a 31st":            {"0 0 31 * *", "2026-01-31T12:00:00Z", "2026-03-31T00:00:00Z 2026-05-31T00:00:00Z"},
		"leap day":                         {"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		"the end of February, leap":        {"0 12 28,29 2 *", "2028-02-28T00:00:00Z", "2028-02-28T12:00:00Z 2028-02-29T12:00:00Z 2029-02-28T12:00:00Z"},
		"clocks skip the time":             {"CRON_TZ=America/New_York 30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-08T07:30:00Z 2026-03-09T06:30:00Z"},
		"clocks skip midnight":             {"CRON_TZ=America/Santiago 0 0 * * *", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z 2026-09-07T03:00:00Z"},
		"clocks repeat the time":           {"CRON_TZ=America/New_York 30 1 * * *", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
		"from within the repeated hour":    {"CRON_TZ=America/New_York 30 1 * * *", "2026-11-01T06:15:00Z", "2026-11-02T06:30:00Z"},
		"clocks go forward in the south":   {"CRON_TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-03T15:45:00Z 2026-10-04T15:15:00Z"},
		"a zone that skipped a day":        {"CRON_TZ=Pacific/Apia 0 12 30 12 *", "2011-12-01T00:00:00Z", "2011-12-30T22:00:00Z 2012-12-29T22:00:00Z"},
		"the year's end":                   {"CRON_TZ=Pacific/Kiritimati 0 0 1 1 *", "2026-06-01T00:00:00Z", "2026-12-31T10:00:00Z"},
		"the length of the day is not 24h": {"CRON_TZ=Europe/Berlin 0 0 * * *", "2026-03-28T12:00:00Z", "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			s := rotation.Schedule{Cron: test.schedule}
			if err := s.Validate(0); err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, test.from)
			if err != nil {
				t.Fatal(err)
			}
			wants := strings.Fields(test.want)
			for _, want := range wants {
				if at = s.Next(at); at.Format(time.RFC3339) != want {
					t.Fatalf("got %s, want %s of %s", at, want, wants)
				}
			}
		})
	}
	t.Run("never twice, never not at all", everyDayOnce)
}

// Two years of daily times in zones with all kinds of changes: one each day.
func everyDayOnce(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Dublin", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Asia/Tehran", "Antarctica/Troll"} {
		for _, clock := range []string{"0 0", "30 1", "15 2", "59 2", "30 23"} {
			s := rotation.Schedule{Cron: "CRON_TZ=" + zone + " " + clock + " * * *"}
			at := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
			for range 730 {
				next := s.Next(at)
				if gap := next.Sub(at); at.Hour() != 12 && (gap < 21*time.Hour || gap > 27*time.Hour) {
					t.Fatalf("%s %s: %s after %s", zone, clock, next, at)
				}
				at = next
			}
		}
	}
}

// No expression makes the parser fail other than by an error.
func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "CRON_TZ=UTC", "TZ=", "@every 1h", "@", "CRON_TZ=Asia/Shanghai @daily", "* * * * *", "0 0 30 2 *", "TZ=UTC TZ=UTC 1 1 1 1 1", "60 * * * *", "*/0 * * * *", "1-0 * * * *"} {
		f.Add(seed)
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s := rotation.Schedule{Cron: text}
		if s.Validate(time.Minute) != nil {
			return
		}
		if at := s.Next(from); !at.After(from) {
			t.Errorf("%q: %s is not after %s", text, at, from)
		}
	})
}
