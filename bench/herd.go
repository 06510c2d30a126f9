package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	sessionLife = 15 * time.Minute // the shortest that STS offers

	ourHerd   = 10_000
	theirHerd = 1_000 // each opens a connection of its own

	callTime = 20 * time.Millisecond // what a call of STS takes

	lastMoment = 5 * time.Second // of the session before, longer than a busy machine takes to read it
)

// herd lets callers read together when the session has expired, and tells
// how many calls of STS that makes and how many callers were served.
func herd(ctx context.Context, cloud *alisim.Server, l library, callers int) (calls, served int, took time.Duration, err error) {
	cloud.SetLatency(0)
	// The session is over in a moment: for credentials-go, which renews in
	// the last three minutes, at once.
	cloud.Advance(lastMoment - sessionLife)
	if err := l.read(ctx); err != nil {
		return 0, 0, 0, err
	}
	cloud.Advance(sessionLife - lastMoment)
	cloud.SetLatency(callTime)
	select {
	case <-time.After(lastMoment):
	case <-ctx.Done():
		return 0, 0, 0, ctx.Err()
	}

	before := len(cloud.Journal())
	gate := make(chan struct{})
	var all sync.WaitGroup
	var good atomic.Int64
	for range callers {
		all.Go(func() {
			<-gate
			if err := l.read(ctx); err == nil {
				good.Add(1)
			}
		})
	}
	began := time.Now()
	close(gate)
	all.Wait()
	return len(cloud.Journal()) - before, int(good.Load()), time.Since(began), nil
}

func measureHerd(ctx context.Context, _ *effort, table *tabwriter.Writer) ([]figure, error) {
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

	fmt.Fprintln(table, "herd at the expiry\tcallers\tcalls\tserved\tms\t")
	var figures []figure
	for _, measured := range []struct {
		library
		callers int
	}{{us, ourHerd}, {them, theirHerd}} {
		calls, served, took, err := herd(ctx, cloud, measured.library, measured.callers)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", measured.name, err)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t\n", measured.name, measured.callers, calls, served, took.Milliseconds())
		if measured.name == us.name {
			figures = append(figures, figure{"herd_calls", float64(calls), exactly(1)})
		}
	}
	return figures, nil
}
