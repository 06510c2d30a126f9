package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// measureScale times what looks at everything that a mount has: on a new mount, and
// on one with as many RAM users as an account may have, as many static roles, and
// very many leases of sessions. Vault has two servers, and keeps its storage on disk.
func measureScale(ctx context.Context, e *effort, table *tabwriter.Writer) (_ []figure, err error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	users, sessions := pick(e, 1000, 20), pick(e, 100_000, 200)
	if err := l.plantUsers(users); err != nil {
		return nil, err
	}
	c, err := startCluster(ctx, l.programs.vault)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := l.engineOn(ctx, leader, ourEngine, "scale")
	if err != nil {
		return nil, err
	}
	empty, err := l.walk(ctx, c, &engine)
	if err != nil {
		return nil, err
	}
	if err := c.revive(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := l.fill(ctx, engine, users, sessions); err != nil {
		return nil, err
	}
	filled := time.Since(began)
	full, err := l.walk(ctx, c, &engine)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "seconds, cloud %v away\tnew mount\t%d RAM users, %d static roles, %d sessions\t\n", roundTrip, users, users, sessions)
	figures := make([]figure, len(scaleSteps))
	for i, step := range scaleSteps {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t\n", step.what, empty[i].Seconds(), full[i].Seconds())
		figures[i] = figure{step.figure, full[i].Seconds(), atMost(step.most)}
	}
	fmt.Fprintf(table, "filled in\t\t%.0f\t\n", filled.Seconds())
	return figures, nil
}

// scaleSteps are what measureScale times, in this order. most is in seconds.
var scaleSteps = []struct {
	figure, what string
	most         float64
	do           func(context.Context, *lab, *cluster, *engine) error
}{
	{"scale_start", "a new process of the plugin, and a session", 1, func(ctx context.Context, l *lab, _ *cluster, e *engine) error {
		if err := l.restart(ctx, *e); err != nil {
			return err
		}
		_, err := l.read(ctx, *e, sessionRole)
		return err
	}},
	{"scale_issue", "the first RAM user", 1, func(ctx context.Context, l *lab, _ *cluster, e *engine) error {
		_, err := l.read(ctx, *e, userRole)
		return err
	}},
	{"scale_revoke", "another RAM user, and the first revocation", 3, func(ctx context.Context, l *lab, _ *cluster, e *engine) error {
		user, err := l.read(ctx, *e, userRole)
		if err != nil {
			return err
		}
		return l.revoke(ctx, *e, user.LeaseID)
	}},
	{"scale_failover", "the server killed, until the other server has issued a RAM user", 15, func(ctx context.Context, l *lab, c *cluster, e *engine) (err error) {
		if e.vault, err = c.failOver(ctx, e.vault); err != nil {
			return err
		}
		return await(ctx, "the other server issues", func() bool {
			_, err := l.read(ctx, *e, userRole)
			return err == nil
		})
	}},
	{"scale_tidy", "tidy dry_run=true", 10, func(ctx context.Context, l *lab, _ *cluster, e *engine) error {
		return l.do(ctx, e.vault, http.MethodPut, e.mount+"/tidy", []byte(`{"dry_run":true}`), nil)
	}},
	{"scale_status", "status", 1, func(ctx context.Context, l *lab, _ *cluster, e *engine) error {
		return l.do(ctx, e.vault, http.MethodGet, e.mount+"/status", nil, nil)
	}},
}

// walk takes the steps once. e moves to the server that leads afterwards.
func (l *lab) walk(ctx context.Context, c *cluster, e *engine) ([]time.Duration, error) {
	took := make([]time.Duration, len(scaleSteps))
	for i, step := range scaleSteps {
		began := time.Now()
		if err := step.do(ctx, l, c, e); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
		took[i] = time.Since(began)
	}
	return took, nil
}

func staticUser(n int) (name, key, secret string) {
	return fmt.Sprintf("static-%d", n), fmt.Sprintf("LTAIbench%011d", n), fmt.Sprintf("benchsecret%019d", n)
}

// plantUsers makes the RAM users of static roles, and room for as many again.
func (l *lab) plantUsers(users int) error {
	account := alisim.Account{ID: alisim.DefaultAccountID}
	for n := range users {
		name, key, secret := staticUser(n)
		account.Users = append(account.Users, alisim.User{Name: name, AccessKeys: []alisim.AccessKey{{ID: key, Secret: secret}}})
	}
	settings := l.cloud.Settings()
	settings.Quotas.Users = 2*users + 100
	return errors.Join(l.cloud.Configure(settings), l.cloud.Seed(alisim.Seed{Accounts: []alisim.Account{account}}))
}

// fill makes static roles, leases of RAM users and leases of sessions, side by side.
// RAM is asked about static roles at the pace that the engine sets itself.
func (l *lab) fill(ctx context.Context, e engine, users, sessions int) error {
	var next atomic.Int64
	kinds := []func() error{
		func() error { return l.issue(ctx, e, sessionRole, manyClients, sessions) },
		func() error { return l.issue(ctx, e, userRole, 8, users) },
		func() error {
			return together(8, func() error {
				for n := int(next.Add(1)); n <= users; n = int(next.Add(1)) {
					name, key, secret := staticUser(n - 1)
					body := fmt.Appendf(nil, `{"username":%q,"access_key":%q,"secret_key":%q,"rotation_period":"720h"}`, name, key, secret)
					if err := l.do(ctx, e.vault, http.MethodPut, e.mount+"/static-role/"+name, body, nil); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	var turn atomic.Int64
	return together(len(kinds), func() error { return kinds[turn.Add(1)-1]() })
}
