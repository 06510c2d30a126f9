package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// manyClients is how many read at once where many do.
const manyClients = 32

// measureSessionTime reads sessions one after the other, the cloud far away.
func measureSessionTime(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "p50", ourEngine, peerEngine, constantEngine)
	if err != nil {
		return nil, err
	}
	times, err := inTurn(ctx, e.rounds, len(engines), func(i int) (float64, error) {
		d, err := l.latency(ctx, engines[i], sessionRole, pick(e, 30, 5))
		return milliseconds(d), err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "one session, cloud %v away\tms\tround trips\t\n", roundTrip)
	for i, engine := range engines {
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t\n", engine.kind, median(times[i]), median(times[i])/milliseconds(roundTrip))
	}
	return []figure{{"session_p50", ratio(times[0], times[1]), atMost(0.4)}}, nil
}

// measureThroughput lets many read sessions at once, the cloud far away. What
// constant reaches, which makes no call, is out of reach for all others.
func measureThroughput(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "rps", ourEngine, peerEngine, constantEngine)
	if err != nil {
		return nil, err
	}
	loads, err := inTurn(ctx, e.rounds, len(engines), func(i int) (load, error) {
		if err := l.restart(ctx, engines[i]); err != nil {
			return load{}, err
		}
		return l.profiled(ctx, engines[i], "session_rps_32", pick(e, 2*time.Second, 500*time.Millisecond), func(during time.Duration) (load, error) {
			return l.throughput(ctx, engines[i], sessionRole, manyClients, during)
		})
	})
	if err != nil {
		return nil, err
	}
	tabulate(table, fmt.Sprintf("sessions, cloud %v away, %d clients", roundTrip, manyClients), engines, loads)
	ours, peer, constant := rates(loads[0]), rates(loads[1]), rates(loads[2])
	return []figure{
		{"session_rps_32", ratio(ours, peer), atLeast(2.5)},
		{"session_rps_32_constant", ratio(constant, peer), goal{}},
	}, nil
}

// measureConnections counts the TCP connections over which the calls come.
func measureConnections(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "connections", ourEngine, peerEngine)
	if err != nil {
		return nil, err
	}
	total := pick(e, 1000, 100)
	counts := make([]float64, len(engines))
	fmt.Fprintf(table, "%d sessions, cloud %v away\tclients\tconnections\t\n", total, roundTrip)
	for i, engine := range engines {
		before := l.calls()
		if err := l.issue(ctx, engine, sessionRole, manyClients, total); err != nil {
			return nil, err
		}
		used := map[int64]bool{}
		for _, call := range l.cloud.Journal() {
			if call.Seq > before {
				used[call.Connection] = true
			}
		}
		counts[i] = float64(len(used))
		fmt.Fprintf(table, "%s\t%d\t%.0f\t\n", engine.kind, manyClients, counts[i])
	}
	return []figure{{"connections", counts[0] / counts[1], atMost(0.05)}}, nil
}

// measureReuse counts the calls that a role with reuse_ttl makes.
func measureReuse(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	ours, err := l.engine(ctx, ourEngine, "reuse")
	if err != nil {
		return nil, err
	}
	if err := ours.vault.write(ctx, ours.mount+"/role/shared", map[string]any{"role_arn": alisim.DefaultRoleARN, "reuse_ttl": "10m"}); err != nil {
		return nil, err
	}
	total := pick(e, 1000, 100)
	before := l.calls()
	began := time.Now()
	if err := l.issue(ctx, ours, "shared", manyClients, total); err != nil {
		return nil, err
	}
	took := time.Since(began)
	calls := l.calls() - before
	fmt.Fprintf(table, "reads of a role with reuse_ttl\tclients\tcalls\tper second\t\n")
	fmt.Fprintf(table, "%d\t%d\t%d\t%.0f\t\n", total, manyClients, calls, float64(total)/took.Seconds())
	return []figure{{"reuse_calls", float64(calls), exactly(1)}}, nil
}

// calls is how many the cloud has received so far.
func (l *lab) calls() int {
	journal := l.cloud.Journal()
	if len(journal) == 0 {
		return 0
	}
	return journal[len(journal)-1].Seq
}

// callsPerSecond is what Alibaba Cloud allows an account of AssumeRole.
const callsPerSecond = 100

// measureBurst asks for many sessions at once, of a cloud that throttles.
func measureBurst(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(0)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "burst", ourEngine, peerEngine)
	if err != nil {
		return nil, err
	}
	settings := l.cloud.Settings()
	unlimited := settings.RateLimits
	settings.RateLimits = map[string]int{"AssumeRole": callsPerSecond}
	if err := l.cloud.Configure(settings); err != nil {
		return nil, err
	}
	defer func() {
		settings.RateLimits = unlimited
		_ = l.cloud.Configure(settings) // they were good before
	}()
	total := pick(e, 2000, 250)
	fmt.Fprintf(table, "%d at once, cloud throttles above %d a second\tserved\tseconds\tcalls\tfirst failure\t\n", total, callsPerSecond)
	var served []int64
	for _, engine := range engines {
		// A client for each, and none of them repeats by itself.
		client := *l
		client.client = &http.Client{Transport: &http.Transport{}, Timeout: requestTimeout}
		var good atomic.Int64
		var failure error
		var once sync.Once
		before, began := l.calls(), time.Now()
		_ = together(total, func() error {
			if _, err := client.read(ctx, engine, sessionRole); err != nil {
				once.Do(func() { failure = err })
				return err
			}
			good.Add(1)
			return nil
		})
		client.client.CloseIdleConnections()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		served = append(served, good.Load())
		why := ""
		if failure != nil {
			why = shorten(failure.Error())
		}
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%d\t%s\t\n", engine.kind, good.Load(), time.Since(began).Seconds(), l.calls()-before, why)
	}
	return []figure{{"burst_served", float64(served[0]) / float64(total), exactly(1)}}, nil
}

func shorten(s string) string {
	runes := []rune(s)
	for i, r := range runes {
		if r == '\n' || r == '\t' {
			runes[i] = ' '
		}
	}
	return string(runes[:min(len(runes), 100)])
}
