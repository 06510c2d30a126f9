package main

import "testing"

// TestHerd keeps the measurement honest: all are served, by one call of ours.
// The other library is left out, because it has data races.
func TestHerd(t *testing.T) {
	cloud, err := startCloud()
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	us, err := ours(cloud)
	if err != nil {
		t.Fatal(err)
	}
	calls, served, _, err := herd(t.Context(), cloud, us, ourHerd)
	if err != nil || calls != 1 || served != ourHerd {
		t.Errorf("%d calls serve %d callers, %v", calls, served, err)
	}
}
