package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"text/tabwriter"
	"time"
)

// measureStart compares the files, and the time from Vault's starting a new
// process to its first answer, a read of config.
func measureStart(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site()
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, near, "start", ourEngine, peerEngine, constantEngine)
	if err != nil {
		return nil, err
	}
	var sizes []float64
	for _, program := range []string{l.programs.ours, l.programs.peer, l.programs.constant} {
		info, err := os.Stat(program)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, float64(info.Size())/1e6)
	}
	times, err := inTurn(ctx, pick(e, 2*e.rounds, e.rounds), len(engines), func(i int) (float64, error) {
		began := time.Now()
		if err := l.restart(ctx, engines[i]); err != nil {
			return 0, err
		}
		err := l.do(ctx, engines[i].vault, http.MethodGet, engines[i].mount+"/config", nil, nil)
		return milliseconds(time.Since(began)), err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprint(table, "the plugin\tMB\tms from start to first answer\t\n")
	for i, engine := range engines {
		fmt.Fprintf(table, "%s\t%.1f\t%.0f\t\n", engine.kind, sizes[i], median(times[i]))
	}
	return []figure{
		{"binary", sizes[0] / sizes[1], atMost(0.93)},
		{"start", ratio(times[0], times[1]), atMost(1)},
	}, nil
}
