package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"
)

// A figure is one number with a goal. Most are ours divided by the peer's.
type figure struct {
	name  string
	value float64
	goal  goal
}

func (f figure) String() string {
	verdict := "missed"
	if f.goal.met(f.value) {
		verdict = "ok"
	}
	if f.goal == (goal{}) {
		return fmt.Sprintf("ratio %-22s %s", f.name, number(f.value))
	}
	return fmt.Sprintf("ratio %-22s %-8s goal %s  %s", f.name, number(f.value), f.goal, verdict)
}

// number prints counts as such and ratios with what matters of them.
func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d", int64(v))
	}
	return fmt.Sprintf("%.4g", v)
}

// A goal is a bound: "<=", ">=" or "=". The zero value asks for nothing.
type goal struct {
	bound string
	value float64
}

func (g goal) String() string { return g.bound + " " + number(g.value) }

func (g goal) met(v float64) bool {
	switch g.bound {
	case "<=":
		return v <= g.value
	case ">=":
		return v >= g.value
	}
	return v == g.value
}

func atMost(v float64) goal  { return goal{"<=", v} }
func atLeast(v float64) goal { return goal{">=", v} }
func exactly(v float64) goal { return goal{"=", v} }

// A measurement is what yields the figures of these names. It writes a table,
// and ends soon after its context has.
type measurement struct {
	names   []string
	measure func(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error)
}

// effort is how much is measured, and on what.
type effort struct {
	rounds int
	quick  bool
	lab    *lab // of the measurement that runs; nil until it needs one
	open   func(away time.Duration) (*lab, error)
}

// site sets up what the engines run on, the cloud so far away.
func (e *effort) site(away time.Duration) (_ *lab, err error) {
	e.lab, err = e.open(away)
	return e.lab, err
}

// leave takes down what site set up.
func (e *effort) leave() error {
	if e.lab == nil {
		return nil
	}
	left := e.lab
	e.lab = nil
	return left.close()
}

// pick is the size of the full measurement, or of the quick one.
func pick[T any](e *effort, full, quick T) T {
	if e.quick {
		return quick
	}
	return full
}

// inTurn measures each of the kinds once per round, A B A B ..., so that a busy
// moment of the machine hits all of them. The result is by kind, then round.
func inTurn[T any](ctx context.Context, rounds, kinds int, measure func(kind int) (T, error)) ([][]T, error) {
	values := make([][]T, kinds)
	for range rounds {
		for kind := range kinds {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			v, err := measure(kind)
			if err != nil {
				return nil, err
			}
			values[kind] = append(values[kind], v)
		}
	}
	return values, nil
}

// ratio is the median over the rounds of a divided by b.
func ratio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

func median[T float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
