package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	statusTimeout = 5 * time.Second // for what the cloud is asked

	// statusWidth is what a value may have beside its key in a window of 80 columns,
	// as the CLI prints it.
	statusWidth = 56
)

// statusFields is the answer, each in a line that fits.
func statusFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{}
	for name, what := range map[string]string{
		"version":         "Version of the plugin.",
		"counting_since":  "When this process began to count: issued, renewed, revoked and calls are in memory, and start from zero with a restart or a failover.",
		"account_id":      "Alibaba Cloud account of the mount, or why it is not known.",
		"credentials":     "Where the mount's own credentials came from, and when they end.",
		"leases":          "Leases of RAM users and RAM roles that are out. Those of sessions leave no trace here: only Vault knows them.",
		"leases_by_role":  "The same by role of the engine: those with the most.",
		"leases_overdue":  "Leases that are over, and whose RAM user or role is still there.",
		"issued":          "What was issued, by credential type.",
		"renewed":         "Leases that were renewed.",
		"revoked":         "Leases that were revoked, by what they stood for.",
		"quotas":          "What the account has of what it may have, or why that is not known.",
		"calls":           "Calls of Alibaba Cloud: each time that one was sent.",
		"calls_refused":   "Those that were refused, by action.",
		"calls_throttled": "Those that were refused for their rate, by action.",
		"calls_failed":    "Those without an answer, or with one that cannot be used, by action.",
		"rotations":       "AccessKeys that are rotated, those whose time has come, and those that fail.",
		"wal_entries":     "Issues that are under way, or did not end and are to be rolled back.",
		"tidy":            "What tidy last found, since the process started.",
		"last_failure":    "What failed last in the background, within a day, since the process started; none if nothing did.",
	} {
		fields[name] = &framework.FieldSchema{Type: framework.TypeString, Description: what, Required: true}
	}
	for _, k := range failureKinds() {
		fields[k.name+"_failure"] = &framework.FieldSchema{Type: framework.TypeString, Description: k.what + ". Left out: not so."}
	}
	return fields
}

func (b *backend) pathStatus() *framework.Path {
	read := operation(b.readStatus, "Read what the mount does at the moment.", statusFields())
	read.ForwardPerformanceStandby = true // the active node issues, and counts
	return &framework.Path{
		Pattern:      "status",
		DisplayAttrs: display("read", "status"),
		Operations:   map[logical.Operation]framework.OperationHandler{logical.ReadOperation: read},
		HelpSynopsis: "What the mount does at the moment, for people.",
		HelpDescription: `
    vault read alicloud/status

Tells the version, the mount's own credentials, the leases that are out, the
quotas of the account, the calls of Alibaba Cloud and how they ended, the
rotations, and what fails in the background. It names no RAM user, no RAM role
and no reader; config/caller-identity says of what a failure is, and why.

Sessions leave nothing behind, so only Vault knows how many of their leases are
out. What is counted is counted by this process, on this node, since it started.

The quotas need ram:GetAccountSummary, which is optional. The same figures for
Prometheus are in metrics.
`,
	}
}

func (b *backend) readStatus(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	wal, err := framework.ListWAL(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	done, failing, keys := b.counters.read(), b.failures.now(), b.queue.Overview()
	data := map[string]any{
		"version": Version(), "counting_since": stamp(b.counters.since),
		"issued": tally(done.issued), "renewed": fmt.Sprint(done.renewed), "revoked": tally(done.revoked),
		"rotations":   fmt.Sprint(keys.Keys, " keys, ", keys.Due, " due, ", failing[failedRotation].objects, " failing"),
		"wal_entries": fmt.Sprint(len(wal)),
		"tidy":        "did not run since this process started",
	}
	if t := b.tidied.Load(); t != nil {
		data["tidy"] = t.String()
	}
	statusOfLeases(data, b.endings.count(time.Now()))
	statusOfCalls(data, done.calls)
	data["last_failure"] = "none"
	if kind, at, code := b.failures.lastNameless(); kind != "" {
		data["last_failure"] = fit(fmt.Sprint(ago(at), " ago, ", kind, ": ", code))
	}
	for kind, f := range failing {
		data[kind+"_failure"] = f.String()
	}
	resp := &logical.Response{Data: data}
	cloud, err := b.cloud(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if cloud == nil {
		data["account_id"], data["credentials"], data["quotas"] = "", "none: write them to config", "not known"
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	data["account_id"], data["credentials"], data["quotas"] = cloud.status(ctx)
	return warned(resp, cloud.quotas.warnings()), nil
}

// status asks who the mount is and what its account may have. What cannot be asked
// says why.
func (c *cloud) status(ctx context.Context) (account, credentials, quotas string) {
	var w ram.Wave
	w.Add(func() error {
		who, err := c.Whoami(ctx)
		if account = who.AccountID; err != nil {
			account = "not known: " + nameless(err)
		}
		return nil
	})
	w.Add(func() error {
		c.quotas.ask(ctx)
		return nil
	})
	_ = w.Run() // neither fails
	credentials = "none yet"
	if own := c.own.obtained.Load(); own != nil {
		credentials = sourcePath(own.source)
		if !own.ends.IsZero() {
			credentials += ", until " + stamp(own.ends)
		}
	}
	known, at, err := c.quotas.read()
	var parts []string
	for _, q := range known {
		parts = append(parts, fmt.Sprint(q.Of, " ", q.Used, " of ", q.Limit))
	}
	quotas = strings.Join(parts, ", ")
	switch {
	case err == nil:
	case ram.Denied(err):
		quotas = "not known: needs ram:GetAccountSummary"
	case len(known) > 0:
		quotas += ", at " + stamp(at)
	case errors.Is(err, ram.ErrNoIMS):
		quotas = "not asked for: config has no ims_endpoint"
	default:
		quotas = "not known: " + nameless(err)
	}
	return account, fit(credentials), fit(quotas)
}

func statusOfLeases(data map[string]any, out leasesOut) {
	if !out.known {
		data["leases"], data["leases_by_role"], data["leases_overdue"] = "the index is being read", "", ""
		return
	}
	const unknown = "(not known)"
	if n, there := out.byRole[""]; there {
		delete(out.byRole, "")
		out.byRole[unknown] = n
	}
	data["leases"], data["leases_by_role"], data["leases_overdue"] = tally(out.byType), tally(out.byRole), fmt.Sprint(out.overdue)
}

func statusOfCalls(data map[string]any, calls map[apiCall]int) {
	total := 0
	by := map[string]map[string]int{"calls_refused": {}, "calls_throttled": {}, "calls_failed": {}}
	fields := map[string]string{callRefused: "calls_refused", callKeyRefused: "calls_refused", callThrottled: "calls_throttled", callFailed: "calls_failed"}
	for call, n := range calls {
		total += n
		if field := fields[call.result]; field != "" {
			by[field][call.action] += n
		}
	}
	data["calls"] = fmt.Sprint(total)
	for field, actions := range by {
		data[field] = tally(actions)
	}
}

func (t tidied) String() string {
	line := fmt.Sprint(stamp(t.at), ": found ", t.users+t.roles+t.policies, ", left ", t.left())
	if t.dry {
		line += " (dry run)"
	}
	return fit(line)
}

func (f failingNow) String() string {
	return fit(fmt.Sprint("for ", ago(f.since), ", ", f.times, "x: ", f.code))
}

// ago is how long ago that was, short: 45s, 3h5m.
func ago(at time.Time) string {
	d := time.Since(at)
	if d < time.Minute {
		return d.Truncate(time.Second).String()
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
}

// tally is a sum and what it is made of, the most first, as far as that fits in a
// line: "14: ci 10, deploy 3, 1 more 1".
func tally(counts map[string]int) string {
	total, names := 0, make([]string, 0, len(counts))
	for name, n := range counts {
		if n > 0 {
			names = append(names, name)
		}
		total += n
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	line, left := fmt.Sprint(total), total
	for n, name := range names {
		separator, rest := ", ", ""
		if n == 0 {
			separator = ": "
		}
		next := fmt.Sprintf("%s%s%s %d", line, separator, name, counts[name])
		if more := len(names) - n - 1; more > 0 {
			rest = fmt.Sprint(", ", more, " more ", left-counts[name])
		}
		if len(next+rest) > statusWidth {
			return fmt.Sprint(line, separator, len(names)-n, " more ", left)
		}
		line, left = next, left-counts[name]
	}
	return line
}

// fit cuts a line that would not fit.
func fit(line string) string {
	if len(line) <= statusWidth {
		return line
	}
	return strings.ToValidUTF8(line[:statusWidth-3], "") + "..."
}
