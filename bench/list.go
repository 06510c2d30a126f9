package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// measureList lists the roles of both engines, where there are many.
func measureList(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(0)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "list", ourEngine, peerEngine)
	if err != nil {
		return nil, err
	}
	roles := pick(e, 10_000, 500)
	for _, engine := range engines {
		if err := l.writeRoles(ctx, engine, roles); err != nil {
			return nil, err
		}
	}
	times, err := inTurn(ctx, e.rounds, len(engines), func(i int) (float64, error) {
		took := make([]time.Duration, pick(e, 20, 3))
		for n := range took {
			began := time.Now()
			if err := l.do(ctx, engines[i].vault, "LIST", engines[i].mount+"/role", nil, nil); err != nil {
				return 0, err
			}
			took[n] = time.Since(began)
		}
		return milliseconds(median(took)), nil
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "LIST of %d roles\tms\t\n", roles)
	for i, engine := range engines {
		fmt.Fprintf(table, "%s\t%.1f\t\n", engine.kind, median(times[i]))
	}
	return []figure{{"list_10k", ratio(times[0], times[1]), atMost(1.5)}}, nil
}

// writeRoles makes so many roles beside those of the mount.
func (l *lab) writeRoles(ctx context.Context, e engine, roles int) error {
	body := []byte(`{"role_arn":"` + alisim.DefaultRoleARN + `"}`)
	var next atomic.Int64
	return together(manyClients, func() error {
		for n := next.Add(1); n <= int64(roles); n = next.Add(1) {
			if err := l.do(ctx, e.vault, http.MethodPut, fmt.Sprintf("%s/role/r%d", e.mount, n), body, nil); err != nil {
				return err
			}
		}
		return nil
	})
}
