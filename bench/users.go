package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"
)

// measureUsers issues and revokes RAM users with two inline and two system
// policies, one after the other, the cloud far away. In ours, leases of the
// same documents share policies: one lease is held throughout. A second series
// has new documents for each lease, so that every policy is made and removed.
func measureUsers(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "users", ourEngine, peerEngine)
	if err != nil {
		return nil, err
	}
	ours, peer := engines[0], engines[1]
	held, err := l.read(ctx, ours, userRole)
	if err != nil {
		return nil, err
	}
	documents := 0
	series := []struct {
		what   string
		engine engine
		role   func() (string, error)
	}{
		{"ours, policies shared", ours, func() (string, error) { return userRole, nil }},
		{"peer", peer, func() (string, error) { return userRole, nil }},
		{"ours, policies new", ours, func() (string, error) {
			documents++
			name := fmt.Sprintf("new-%d", documents)
			return name, ours.writeUserRole(ctx, name, name)
		}},
	}
	each := pick(e, 8, 2)
	revocations := make([][]float64, len(series))
	calls := make([][2]int, len(series)) // of an issue and a revocation
	issues, err := inTurn(ctx, e.rounds, len(series), func(i int) (float64, error) {
		var issued, revoked []time.Duration
		for range each {
			role, err := series[i].role()
			if err != nil {
				return 0, err
			}
			before := l.calls()
			began := time.Now()
			c, err := l.read(ctx, series[i].engine, role)
			if err != nil {
				return 0, err
			}
			issued = append(issued, time.Since(began))
			calls[i][0] = l.calls() - before
			before = l.calls()
			began = time.Now()
			if err := l.revoke(ctx, series[i].engine, c.LeaseID); err != nil {
				return 0, err
			}
			revoked = append(revoked, time.Since(began))
			calls[i][1] = l.calls() - before
		}
		revocations[i] = append(revocations[i], milliseconds(median(revoked)))
		return milliseconds(median(issued)), nil
	})
	if err != nil {
		return nil, err
	}
	if err := l.revoke(ctx, ours, held.LeaseID); err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "RAM user with 2 inline and 2 system policies, cloud %v away\tissue ms\tcalls\trevoke ms\tcalls\t\n", roundTrip)
	for i, s := range series {
		fmt.Fprintf(table, "%s\t%.1f\t%d\t%.1f\t%d\t\n", s.what, median(issues[i]), calls[i][0], median(revocations[i]), calls[i][1])
	}
	return []figure{
		{"user_p50", ratio(issues[0], issues[1]), atMost(0.25)},
		{"user_revoke_p50", ratio(revocations[0], revocations[1]), atMost(0.25)},
		{"user_new_p50", ratio(issues[2], issues[1]), goal{}},
		{"user_new_revoke_p50", ratio(revocations[2], revocations[1]), goal{}},
	}, nil
}
