package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// accounts is in how many others the mount works.
const accounts = 50

// measureAccounts issues a session of a RAM role that is made for it, in the first of
// many accounts and in the last of them, the cloud far away. The mount has worked in
// all of them before, so that it holds a session for each.
func measureAccounts(ctx context.Context, e *effort, table *tabwriter.Writer) ([]figure, error) {
	l, err := e.site(roundTrip)
	if err != nil {
		return nil, err
	}
	account := func(n int) string { return fmt.Sprint(2000000000000000 + n) }
	var spokes alisim.Seed
	for n := range accounts {
		spokes.Accounts = append(spokes.Accounts, alisim.Account{ID: account(n + 1), Roles: []alisim.Role{{
			Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		}}})
	}
	if err := l.cloud.Seed(spokes); err != nil {
		return nil, err
	}
	engines, err := l.engines(ctx, "accounts", ourEngine)
	if err != nil {
		return nil, err
	}
	ours := engines[0]
	issue := func(n int) (time.Duration, error) {
		began := time.Now()
		c, err := l.read(ctx, ours, "in-"+account(n))
		took := time.Since(began)
		if err == nil {
			err = l.revoke(ctx, ours, c.LeaseID)
		}
		return took, err
	}
	for n := 1; n <= accounts; n++ {
		role := map[string]any{
			"credential_type": "ram_role", "remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "1h",
			"assume_role_arn": "acs:ram::" + account(n) + ":role/vault",
		}
		if err := ours.vault.write(ctx, strings.Join([]string{ours.mount, "role", "in-" + account(n)}, "/"), role); err != nil {
			return nil, err
		}
		if _, err := issue(n); err != nil {
			return nil, err
		}
	}
	each := pick(e, 10, 2)
	times, err := inTurn(ctx, e.rounds, 2, func(i int) (float64, error) {
		took := make([]time.Duration, each)
		for n := range took {
			if took[n], err = issue([]int{1, accounts}[i]); err != nil {
				return 0, err
			}
		}
		return milliseconds(median(took)), nil
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(table, "session in one of %d accounts, cloud %v away\tms\t\n", accounts, roundTrip)
	for i, which := range []string{"the first", "the last"} {
		fmt.Fprintf(table, "%s\t%.1f\t\n", which, median(times[i]))
	}
	return []figure{{"accounts_p50", ratio(times[1], times[0]), atMost(1.1)}}, nil
}
