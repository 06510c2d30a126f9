package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestBench runs a part of the program, on a real Vault server with both engines, and holds it to what no busy machine
// can change: how often something is done; and that we take less time, which a busy machine may hide in one run.
func TestBench(t *testing.T) {
	found := func(figures string) map[string]float64 {
		var out bytes.Buffer
		if err := run(t.Context(), options{quick: true, only: "^(" + figures + ")$"}, &out); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		t.Log(out.String())
		values := map[string]float64{}
		for line := range strings.Lines(out.String()) {
			var name string
			var value float64
			if n, _ := fmt.Sscanf(line, "ratio %s %g", &name, &value); n == 2 {
				values[name] = value
			}
		}
		return values
	}
	counted := found("connections|reuse_calls")
	for name, most := range map[string]float64{"connections": 0.5, "reuse_calls": 1} {
		if value := counted[name]; value <= 0 || value > most {
			t.Errorf("%s is %v, want at most %v", name, value, most)
		}
	}
	// A pause of the machine makes a time longer, and none makes it shorter.
	const most, tries = 0.8, 8
	least := map[string]float64{}
	for try := 1; ; try++ {
		timed := found("session_p50|user_p50")
		slow := 0
		for _, name := range []string{"session_p50", "user_p50", "user_revoke_p50", "user_new_p50", "user_new_revoke_p50"} {
			if timed[name] <= 0 {
				t.Fatalf("%s was not measured", name)
			}
			if least[name] == 0 || timed[name] < least[name] {
				least[name] = timed[name]
			}
			if least[name] > most {
				slow++
			}
		}
		if slow == 0 {
			return
		}
		if try == tries {
			t.Fatalf("we take too long, in each of %d runs: the least ratios are %v, want at most %v", tries, least, most)
		}
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		figure figure
		want   string
	}{
		{figure{"a", 0.31, atMost(0.35)}, "ratio a                      0.31     goal <= 0.35  ok"},
		{figure{"a", 0.36, atMost(0.35)}, "ratio a                      0.36     goal <= 0.35  missed"},
		{figure{"a", 4.99, atLeast(5)}, "ratio a                      4.99     goal >= 5  missed"},
		{figure{"a", 1, exactly(1)}, "ratio a                      1        goal = 1  ok"},
		{figure{"a", 2, goal{}}, "ratio a                      2"},
	} {
		if got := tc.figure.String(); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}
