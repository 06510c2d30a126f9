package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	sessionLife = 15 * time.Minute // the shortest that STS offers

	roundTime = "200ms"
)

// cachedRetrieve reads a session that is valid, on as many goroutines as
// there are processors.
func cachedRetrieve(b *testing.B, l library) {
	ctx := b.Context()
	if err := l.read(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.read(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func measureCachedRetrieve(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	testing.Init()
	if err := flag.Set("test.benchtime", roundTime); err != nil {
		return nil, err
	}
	cloud, err := startCloud()
	if err != nil {
		return nil, err
	}
	defer cloud.Close()
	us, err := ours(cloud)
	if err != nil {
		return nil, err
	}
	them, err := peers(cloud)
	if err != nil {
		return nil, err
	}

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	fmt.Fprintln(table, "cached read of a session\tprocessors\tns\tallocations\tbytes\t")
	worst, allocations := 0.0, int64(0)
	for _, processors := range []int{1, 2} {
		runtime.GOMAXPROCS(processors)
		libraries := []library{us, them}
		results := make([][]testing.BenchmarkResult, len(libraries))
		var ratios []float64
		for range e.rounds {
			// In turn, so that a busy moment of the machine hits both.
			for i, l := range libraries {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				result := testing.Benchmark(func(b *testing.B) { cachedRetrieve(b, l) })
				if result.N == 0 {
					return nil, fmt.Errorf("%s: the benchmark failed", l.name)
				}
				results[i] = append(results[i], result)
			}
			round := len(ratios)
			ratios = append(ratios, nanoseconds(results[0][round])/nanoseconds(results[1][round]))
		}
		for i, l := range libraries {
			slices.SortFunc(results[i], func(a, b testing.BenchmarkResult) int { return cmp.Compare(nanoseconds(a), nanoseconds(b)) })
			median := results[i][e.rounds/2]
			fmt.Fprintf(table, "%s\t%d\t%.1f\t%d\t%d\t\n", l.name, processors, nanoseconds(median), median.AllocsPerOp(), median.AllocedBytesPerOp())
			if i == 0 {
				allocations = max(allocations, median.AllocsPerOp())
			}
		}
		slices.Sort(ratios)
		worst = max(worst, ratios[e.rounds/2])
	}
	return []figure{{"cached_ns", worst, atMost(0.05)}, {"cached_allocations", float64(allocations), exactly(0)}}, nil
}

func nanoseconds(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N)
}
