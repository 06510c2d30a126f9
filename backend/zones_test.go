package backend

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// TestPackedZones holds the packed zones to those of time, which has files or
// the toolchain's own zones. Rules that have changed since are only noticed
// where they matter to none of these.
func TestPackedZones(t *testing.T) {
	for _, name := range []string{
		"UTC", "Asia/Shanghai", "Asia/Kolkata", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Apia", "Pacific/Kiritimati", "PRC",
	} {
		packed, err := loadPackedZone(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2030; at = at.Add(7 * time.Hour) {
			if got, want := at.In(packed).Format(time.RFC3339), at.In(want).Format(time.RFC3339); got != want {
				t.Errorf("%s: packed %s, want %s", name, got, want)
				break
			}
		}
	}
	for _, name := range []string{"", "Local", "Nowhere/Land", "../etc/localtime", "asia"} {
		if zone, err := loadPackedZone(name); err == nil {
			t.Errorf("%q is the zone %v", name, zone)
		}
	}
}
