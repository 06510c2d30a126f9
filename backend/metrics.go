package backend

import (
	"cmp"
	"maps"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// mountState is what metrics tells, at a moment.
type mountState struct {
	since    time.Time
	totals   totals
	leases   leasesOut
	failing  map[string]failingNow
	keys     rotation.Overview
	wal      int
	tidied   tidied      // zero: not since the process started
	ownEnd   time.Time   // of the mount's own credentials; zero: never, or there are none yet
	quotas   []ram.Quota // none: not known
	quotasAt time.Time
}

// family is a metric with its samples. One without samples is left out: what is not
// known is not zero.
type family struct {
	name    string
	kind    dto.MetricType
	help    string
	samples []sample
}

type sample struct {
	value  float64
	labels []label
}

type label struct{ name, value string }

const metricPrefix = "vault_alicloud_"

// families is the table of docs/monitoring.md.
func (m mountState) families() []family {
	const counter, gauge = dto.MetricType_COUNTER, dto.MetricType_GAUGE
	tidied := !m.tidied.at.IsZero()
	return []family{
		{"build_info", gauge, "Always 1; version is that of the plugin.", []sample{{1, []label{{"version", Version()}}}}},
		{"start_time_seconds", gauge, "When the counters began, in seconds since 1970.", at(m.since)},
		{"credentials_expiry_timestamp_seconds", gauge, "When the mount's own credentials end, in seconds since 1970. Absent: they do not, or none were needed yet.", at(m.ownEnd)},
		{"api_calls_total", counter, "Calls of Alibaba Cloud, each time that one was sent, by service, action and result: ok, refused, key_refused, throttled or failed.", m.calls()},
		{"credentials_issued_total", counter, "Credentials that were issued, by credential type.", byName(m.totals.issued, "credential_type")},
		{"leases_renewed_total", counter, "Leases that were renewed.", one(float64(m.totals.renewed))},
		{"leases_revoked_total", counter, "Leases that were revoked, by what they stood for: ram_user, ram_role or session.", byName(m.totals.revoked, "credential_type")},
		{"leases", gauge, "Leases of RAM users and RAM roles that are out, by credential type. Sessions are not known here.", ifKnown(m.leases.known, byName(m.leases.byType, "credential_type"))},
		{"leases_overdue", gauge, "Leases that are over, and whose RAM user or role is still there.", ifKnown(m.leases.known, one(float64(m.leases.overdue)))},
		{"failing", gauge, "How many things fail in the background, by work.", m.failingNow()},
		{"rotation_keys", gauge, "AccessKeys that are rotated by schedule, or whose rotation is under way.", one(float64(m.keys.Keys))},
		{"rotation_keys_due", gauge, "Those whose time has come.", one(float64(m.keys.Due))},
		{"rotation_late_seconds", gauge, "For how long a rotation has been due or failing, at most.", one(m.late().Seconds())},
		{"wal_entries", gauge, "Issues that are under way, or did not end and are to be rolled back.", one(float64(m.wal))},
		{"tidy_found", gauge, "What tidy last found without a lease, by kind. Absent: it did not run since the process started.", ifKnown(tidied, byName(m.tidied.found(), "kind"))},
		{"tidy_left", gauge, "What tidy last found and did not remove.", ifKnown(tidied, one(float64(m.tidied.left())))},
		{"tidy_timestamp_seconds", gauge, "When tidy last ran, in seconds since 1970.", at(m.tidied.at)},
		{"quota_used", gauge, "What the account has, by kind. Absent: the mount may not ask, or has not been told yet.", m.quota(func(q ram.Quota) int { return q.Used })},
		{"quota_limit", gauge, "What the account may have, by kind.", m.quota(func(q ram.Quota) int { return q.Limit })},
		{"quota_timestamp_seconds", gauge, "When the quotas were told, in seconds since 1970.", at(m.quotasAt)},
	}
}

func one(value float64) []sample { return []sample{{value: value}} }

// at is a time in seconds since 1970. There is none where it is zero.
func at(t time.Time) []sample { return ifKnown(!t.IsZero(), one(float64(t.Unix()))) }

// ifKnown leaves out what is not.
func ifKnown(is bool, samples []sample) []sample {
	if !is {
		return nil
	}
	return samples
}

// byName has a sample for each name, in their order.
func byName(counts map[string]int, labelName string) (samples []sample) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		samples = append(samples, sample{float64(counts[name]), []label{{labelName, name}}})
	}
	return samples
}

// calls has all results of an action once it was called, so that the first that is
// refused is an increase.
func (m mountState) calls() (samples []sample) {
	called := map[apiCall]bool{}
	for call := range m.totals.calls {
		called[apiCall{service: call.service, action: call.action}] = true
	}
	actions := slices.SortedFunc(maps.Keys(called), func(a, b apiCall) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.action, b.action))
	})
	for _, call := range actions {
		for _, call.result = range callResults() {
			samples = append(samples, sample{float64(m.totals.calls[call]), []label{{"service", call.service}, {"action", call.action}, {"result", call.result}}})
		}
	}
	return samples
}

func (m mountState) failingNow() (samples []sample) {
	for _, k := range failureKinds() {
		samples = append(samples, sample{float64(m.failing[k.name].objects), []label{{"work", k.name}}})
	}
	return samples
}

// late is since when a rotation is due or fails.
func (m mountState) late() time.Duration {
	since := rotation.Earliest(m.keys.Oldest, m.failing[failedRotation].since)
	if since.IsZero() {
		return 0
	}
	return max(time.Since(since), 0)
}

func (m mountState) quota(of func(ram.Quota) int) (samples []sample) {
	for _, q := range m.quotas {
		samples = append(samples, sample{float64(of(q)), []label{{"kind", q.Of}}})
	}
	return samples
}

// wire is the family as the writer of the format takes it.
func (f family) wire() *dto.MetricFamily {
	name := metricPrefix + f.name
	out := &dto.MetricFamily{Name: &name, Help: &f.help, Type: &f.kind}
	for _, s := range f.samples {
		metric := &dto.Metric{}
		for _, l := range s.labels {
			metric.Label = append(metric.Label, &dto.LabelPair{Name: &l.name, Value: &l.value})
		}
		if f.kind == dto.MetricType_COUNTER {
			metric.Counter = &dto.Counter{Value: &s.value}
		} else {
			metric.Gauge = &dto.Gauge{Value: &s.value}
		}
		out.Metric = append(out.Metric, metric)
	}
	return out
}
