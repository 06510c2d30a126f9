package main

import (
	"context"
	"fmt"
	"text/tabwriter"
)

// measureMemory looks at the plugin processes while they issue sessions. The
// leases are Vault's; a plugin has nothing to keep of them.
func measureMemory(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(0)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "memory", ourEngine, peerEngine, constantEngine)
	if err != nil {
		return nil, err
	}
	const steps = 6
	step := pick(e, 1000, 100)
	fmt.Fprint(table, "resident MB after so many sessions\t0\t")
	for n := range steps {
		fmt.Fprintf(table, "%d\t", (n+1)*step)
	}
	fmt.Fprintln(table)
	resident := make([][]float64, len(engines))
	for i, engine := range engines {
		plugin, err := engine.vault.plugin(engine.mount)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(table, "%s\t", engine.kind)
		for n := range steps + 1 {
			if n > 0 {
				if err := l.issue(ctx, engine, sessionRole, manyClients, step); err != nil {
					return nil, err
				}
			}
			mb, err := plugin.resident()
			if err != nil {
				return nil, err
			}
			resident[i] = append(resident[i], mb)
			fmt.Fprintf(table, "%.0f\t", mb)
		}
		fmt.Fprintln(table)
	}
	return []figure{
		{"rss", resident[0][steps] / resident[1][steps], atMost(0.15)},
		// Flat: the second half of the sessions needs no more than the first.
		{"rss_growth", resident[0][steps] / resident[0][steps/2], atMost(1.05)},
	}, nil
}
