package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"
)

// measureGrowth compares our engine on two Vault servers, one of which has many
// roles and live leases.
func measureGrowth(ctx context.Context, e *effort, table *tabwriter.Writer) (_ []figure, err error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	roles, leases := pick(e, 10_000, 200), pick(e, 100_000, 200)
	var engines []engine
	for range 2 {
		server, err := startVault(ctx, l.programs.vault)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.close()) }()
		engine, err := l.engineOn(ctx, server, ourEngine, "growth")
		if err != nil {
			return nil, err
		}
		engines = append(engines, engine)
	}
	large := engines[0]
	began := time.Now()
	if err := l.writeRoles(ctx, large, roles); err != nil {
		return nil, err
	}
	if err := l.issue(ctx, large, sessionRole, manyClients, leases); err != nil {
		return nil, err
	}
	filled := time.Since(began)

	times, err := inTurn(ctx, e.rounds, len(engines), func(i int) (float64, error) {
		d, err := l.latency(ctx, engines[i], sessionRole, pick(e, 30, 5))
		return milliseconds(d), err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "one session of ours, cloud %v away\troles\tleases\tms\tfilled in s\t\n", roundTrip)
	fmt.Fprintf(table, "\t%d\t%d\t%.1f\t%.0f\t\n", roles, leases, median(times[0]), filled.Seconds())
	fmt.Fprintf(table, "\t2\t1\t%.1f\t\t\n", median(times[1]))
	return []figure{{"growth", ratio(times[0], times[1]), atMost(1.15)}}, nil
}
