// Bench measures this project side by side with the software it replaces, on
// one machine, in one run, against the simulator. It prints tables, and then
// one line per figure that has a goal:
//
//	ratio cached_ns 0.02   time of a cached read, as a share of credentials-go's; goal 0.05 at most
//	herd_calls 1           calls that 10,000 readers at the expiry make; goal 1
//
// BenchmarkCachedRetrieve is the same measurement for go test -bench.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A measurement writes its table and returns its figures, one on each line.
type measurement func(ctx context.Context, table io.Writer) (figures []string, err error)

func run(ctx context.Context, out io.Writer) error {
	var figures []string
	for _, measure := range []measurement{measureCachedRetrieve, measureHerd} {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		lines, err := measure(ctx, table)
		if err != nil {
			return err
		}
		fmt.Fprintln(table)
		if err := table.Flush(); err != nil {
			return err
		}
		figures = append(figures, lines...)
	}
	for _, line := range figures {
		fmt.Fprintln(out, line)
	}
	return nil
}
