package backend_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// samples are those of a scrape, by name and labels.
func (m *mount) samples() map[string]string {
	m.t.Helper()
	samples := map[string]string{}
	for line := range strings.Lines(m.metrics()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, " ")
		if end := strings.LastIndex(line, "} "); end > 0 {
			name, value = line[:end+1], line[end+2:]
		}
		if _, twice := samples[name]; twice || !found {
			m.t.Errorf("a scrape has the line %q", line)
		}
		samples[name] = value
	}
	return samples
}

// A scrape follows what is done, calls nothing itself, and says nothing of what it
// does not know.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		seed := seedWith(alisim.User{Name: "legacy-app"})
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, alisim.Role{
			Name: "hub", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
		})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.asksForQuotas()
		want := func(samples map[string]string) {
			t.Helper()
			got := m.samples()
			for name, value := range samples {
				if got["vault_alicloud_"+name] != value {
					t.Errorf("%s is %q, want %q", name, got["vault_alicloud_"+name], value)
				}
			}
		}
		// What a scrape waits for, and what it asks for beside itself, differ by this much of the bubble's time.
		m.fault(alisim.Fault{Action: ram.AccountSummary, Kind: alisim.FaultDelay, Delay: time.Second, Count: 1})
		m.sim.ClearJournal()
		began := time.Now()
		for name := range m.samples() {
			for _, unknown := range []string{"leases{", "leases_overdue", "tidy_", "quota_", "credentials_expiry", "api_calls"} {
				if strings.HasPrefix(name, "vault_alicloud_"+unknown) {
					t.Errorf("%s is not known yet", name)
				}
			}
		}
		if calls, waited := m.sim.Journal(), time.Since(began); len(calls) != 0 || waited != 0 {
			t.Errorf("a scrape waited %v for %v", waited, calls)
		}
		time.Sleep(2 * time.Second) // until what was asked beside it is answered
		want(map[string]string{`quota_used{kind="users"}`: "2", `quota_limit{kind="users"}`: "1000", `quota_limit{kind="policies"}`: "1500"})

		m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/hub"})
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "ttl": "1h", "max_ttl": "2h"})
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
		secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		session := m.must(logical.ReadOperation, "creds/deploy", nil).Secret
		m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "legacy-app", "rotation_period": "24h"})
		m.minutes(1)
		want(map[string]string{
			`leases{credential_type="ram_user"}`: "1", `leases{credential_type="ram_role"}`: "0", "leases_overdue": "0", "wal_entries": "0",
			`credentials_issued_total{credential_type="ram_user"}`: "1", `credentials_issued_total{credential_type="ram_role_arn"}`: "1",
			"rotation_keys": "1", "rotation_keys_due": "0", "rotation_late_seconds": "0",
			`api_calls_total{service="ram",action="CreateUser",result="ok"}`: "1", `api_calls_total{service="sts",action="AssumeRole",result="ok"}`: "2",
			`failing{work="rotation"}`: "0",
		})
		if got := m.samples()["vault_alicloud_credentials_expiry_timestamp_seconds"]; !strings.HasPrefix(got, "1.") {
			t.Errorf("the mount's session ends at %q", got)
		}
		if _, err := m.renewLease(secret); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*logical.Secret{secret, session} {
			if _, err := m.revokeLease(s); err != nil {
				t.Fatal(err)
			}
		}
		want(map[string]string{
			"leases_renewed_total": "1", `leases_revoked_total{credential_type="ram_user"}`: "1", `leases_revoked_total{credential_type="session"}`: "1",
			`leases{credential_type="ram_user"}`: "0",
		})

		// Everything that can go wrong.
		for _, tc := range []struct {
			fault  alisim.Fault
			result string
		}{
			{alisim.Fault{Kind: alisim.FaultThrottle}, "throttled"},
			{alisim.Fault{Kind: alisim.FaultError500}, "failed"},
			{alisim.Fault{Kind: alisim.FaultDrop}, "failed"},
			{alisim.Fault{Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403}, "refused"},
			{alisim.Fault{Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.NotFound", Status: 404, Count: 1}, "key_refused"},
		} {
			series := fmt.Sprintf(`api_calls_total{service="sts",action="AssumeRole",result=%q}`, tc.result)
			before := m.samples()["vault_alicloud_"+series]
			tc.fault.Action = "AssumeRole"
			m.fault(tc.fault)
			_, _ = m.request(logical.ReadOperation, "creds/deploy", nil)
			m.sim.ClearFaults()
			if now := m.samples()["vault_alicloud_"+series]; now == before {
				t.Errorf("%+v is not counted as %s", tc.fault, tc.result)
			}
			time.Sleep(time.Minute) // a refusal is remembered for a while
		}
		m.fault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403})
		time.Sleep(24 * time.Hour)
		m.minutes(30)
		got := m.samples()
		if late := got["vault_alicloud_rotation_late_seconds"]; got[`vault_alicloud_failing{work="rotation"}`] != "1" || len(late) < 4 {
			t.Errorf("a rotation fails for half an hour, and is %q s late", late)
		}
		m.sim.ClearFaults()
		m.must(logical.UpdateOperation, "rotate-role/app", nil)
		want(map[string]string{`failing{work="rotation"}`: "0", "rotation_late_seconds": "0"})

		m.unfinished("ci")
		want(map[string]string{"wal_entries": "1"})
		m.minutes(1)
		m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true})
		want(map[string]string{"wal_entries": "0", `tidy_found{kind="users"}`: "0", "tidy_left": "0"})

		// The page has these, and no others.
		page := readPage(t, "../docs/monitoring.md")
		documented, told := map[string]bool{}, map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `(vault_alicloud_\\w+)` \\| (counter|gauge) \\|").FindAllStringSubmatch(page, -1) {
			documented[row[1]+" "+row[2]] = true
		}
		for _, line := range regexp.MustCompile(`(?m)^# TYPE (\S+ \S+)$`).FindAllStringSubmatch(m.metrics(), -1) {
			told[line[1]] = true
		}
		if !maps.Equal(documented, told) {
			t.Errorf("the page has %v,\na scrape %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(told)))
		}
		for _, name := range []string{"alice", "legacy-app", "deploy", "hub", "app"} {
			if strings.Contains(m.metrics(), `"`+name) {
				t.Errorf("a scrape has the name %s", name)
			}
		}
	})
}
