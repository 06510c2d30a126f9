package main

import (
	"testing"
)

// BenchmarkCachedRetrieve reads a valid session; run it with -cpu 1,2.
func BenchmarkCachedRetrieve(b *testing.B) {
	cloud, err := startCloud()
	if err != nil {
		b.Fatal(err)
	}
	defer cloud.Close()
	us, err := ours(cloud)
	if err != nil {
		b.Fatal(err)
	}
	them, err := peers(cloud)
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range []library{us, them} {
		b.Run(l.name, func(b *testing.B) { cachedRetrieve(b, l) })
	}
}

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
