// Bench measures this project side by side with the software it replaces, on
// one machine, in one run, against the simulator: both Vault engines on a real
// Vault server, and both Credentials libraries. It prints tables, and then one
// line per figure, ours divided by the peer's where there is a peer:
//
//	ratio session_p50            0.31     goal <= 0.4  ok
//
// docs/performance.md says what is measured, and how.
//
//	go run . -run session     only figures whose name matches
//	go run . -quick           all of them, in a minute, too short to be quoted
//	go run . -profile DIR     keeps profiles of our plugin
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// limit ends a run that hangs.
const limit = 25 * time.Minute

func main() {
	var o options
	flag.StringVar(&o.only, "run", "", "`regexp` of the figures to measure; default all")
	flag.BoolVar(&o.quick, "quick", false, "measure too little to be quoted, in a minute")
	flag.IntVar(&o.rounds, "rounds", 0, "measure so often, in turn; default 5, or 1 with -quick")
	flag.StringVar(&o.profiles, "profile", "", "keep profiles of our plugin in this `directory`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	only     string
	quick    bool
	rounds   int
	profiles string
}

// measurements in the order in which they run.
func measurements() []measurement {
	return []measurement{
		{[]string{"herd_calls"}, measureHerd},
		{[]string{"session_p50"}, measureSessionTime},
		{[]string{"session_rps_32", "session_rps_32_constant"}, measureThroughput},
		{[]string{"user_p50", "user_revoke_p50", "user_new_p50", "user_new_revoke_p50"}, measureUsers},
		{[]string{"connections"}, measureConnections},
		{[]string{"reuse_calls"}, measureReuse},
		{[]string{"rss", "rss_growth"}, measureMemory},
		{[]string{"burst_served"}, measureBurst},
		{[]string{"growth"}, measureGrowth},
		{[]string{"list_10k"}, measureList},
		{[]string{"accounts_p50"}, measureAccounts},
		{[]string{"scale_start", "scale_issue", "scale_revoke", "scale_failover", "scale_tidy", "scale_status"}, measureScale},
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	if o.rounds <= 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 1
		}
	}
	if o.profiles != "" {
		if o.profiles, err = filepath.Abs(o.profiles); err == nil {
			err = os.MkdirAll(o.profiles, 0o700)
		}
		if err != nil {
			return err
		}
	}
	var p programs // found when they are first needed
	e := &effort{rounds: o.rounds, quick: o.quick, open: func(away time.Duration) (_ *lab, err error) {
		if p.vault == "" {
			if p, err = findPrograms(ctx, o.profiles != ""); err != nil {
				return nil, err
			}
		}
		return openLab(ctx, p, o.profiles, away)
	}}
	defer func() {
		err = errors.Join(err, e.leave())
		if p.dir != "" {
			err = errors.Join(err, os.RemoveAll(p.dir))
		}
	}()
	var figures []figure
	for _, m := range measurements() {
		if !slices.ContainsFunc(m.names, only.MatchString) {
			continue
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		measured, err := m.measure(ctx, e, table)
		if err = errors.Join(err, e.leave()); err != nil {
			return fmt.Errorf("%s: %w", m.names[0], err)
		}
		fmt.Fprintln(table)
		if err := table.Flush(); err != nil {
			return err
		}
		figures = append(figures, measured...)
	}
	for _, f := range figures {
		fmt.Fprintln(out, f)
	}
	return nil
}
