package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestBench runs a part of the program, on a real Vault server with both
// engines, and holds it to what no busy machine can change.
func TestBench(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), options{quick: true, only: "^(session_p50|user_p50|connections|reuse_calls)$"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	found := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		var name string
		var value float64
		if n, _ := fmt.Sscanf(line, "ratio %s %g", &name, &value); n == 2 {
			found[name] = value
		}
	}
	for name, most := range map[string]float64{
		"session_p50": 0.8, "user_p50": 0.8, "user_revoke_p50": 0.8, "user_new_p50": 0.8, "user_new_revoke_p50": 0.8,
		"connections": 0.5, "reuse_calls": 1,
	} {
		if value := found[name]; value <= 0 || value > most {
			t.Errorf("%s is %v, want at most %v", name, value, most)
		}
	}
	if t.Failed() {
		t.Log(out.String())
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
