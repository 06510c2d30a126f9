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
	type start struct{ took, used float64 }
	starts, err := inTurn(ctx, pick(e, 3*e.rounds, e.rounds), len(engines), func(i int) (start, error) {
		began := time.Now()
		if err := l.restart(ctx, engines[i]); err != nil {
			return start{}, err
		}
		if err := l.do(ctx, engines[i].vault, http.MethodGet, engines[i].mount+"/config", nil, nil); err != nil {
			return start{}, err
		}
		took := time.Since(began)
		plugin, err := engines[i].vault.plugin(engines[i].mount)
		if err != nil {
			return start{}, err
		}
		used, err := usedBy(plugin.pid)
		return start{milliseconds(took), milliseconds(used)}, err
	})
	if err != nil {
		return nil, err
	}
	times, used := make([][]float64, len(engines)), make([][]float64, len(engines))
	for i := range engines {
		for _, s := range starts[i] {
			times[i], used[i] = append(times[i], s.took), append(used[i], s.used)
		}
	}
	fmt.Fprint(table, "the plugin\tMB\tms from start to first answer\tof which it used the processor\t\n")
	for i, engine := range engines {
		fmt.Fprintf(table, "%s\t%.1f\t%.0f\t%.0f\t\n", engine.kind, sizes[i], median(times[i]), median(used[i]))
	}
	return []figure{
		{"binary", sizes[0] / sizes[1], atMost(0.93)},
		{"start", ratio(times[0], times[1]), atMost(1)},
	}, nil
}
