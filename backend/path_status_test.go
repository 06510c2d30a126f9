package backend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// status reads status, and wants each line to fit a window of 80 columns as the
// CLI prints it, and all of them a screen.
func (m *mount) status() map[string]any {
	m.t.Helper()
	data := m.must(logical.ReadOperation, "status", nil).Data
	widest := 0
	for key := range data {
		widest = max(widest, len(key))
	}
	for key, value := range data {
		if line := fmt.Sprintf("%-*s    %v", widest, key, value); len(line) > 80 {
			m.t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
	if len(data) > 28 {
		m.t.Errorf("%d lines", len(data))
	}
	return data
}

// says wants fields of status to be what they should.
func says(t *testing.T, got map[string]any, want map[string]string) {
	t.Helper()
	for field, text := range want {
		if got[field] != text {
			t.Errorf("%s is %q, want %q", field, got[field], text)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.asksForQuotas()
		began := time.Now().UTC().Format(time.RFC3339)
		says(t, m.status(), map[string]string{
			"version": backend.Version(), "counting_since": began, "account_id": alisim.DefaultAccountID, "credentials": "access_key",
			"leases": "the index is being read", "issued": "0", "renewed": "0", "revoked": "0", "wal_entries": "0",
			"quotas": "users 1 of 1000, roles 1 of 1000, policies 0 of 1500", "calls_refused": "0", "calls_throttled": "0", "calls_failed": "0",
			"rotations": "0 keys, 0 due, 0 failing", "last_failure": "none", "tidy": "did not run since this process started",
		})
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "ttl": "1h", "max_ttl": "2h"})
		m.must(logical.UpdateOperation, "role/job", map[string]any{"credential_type": "ram_role", "remote_policies": "name:ReadOnlyAccess,type:System"})
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
		secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		for _, role := range []string{"ci", "ci", "job", "deploy", "deploy"} {
			m.must(logical.ReadOperation, "creds/"+role, nil)
		}
		if _, err := m.renewLease(secret); err != nil {
			t.Fatal(err)
		}
		if _, err := m.revokeLease(secret); err != nil {
			t.Fatal(err)
		}
		m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultThrottle, Count: 2})
		for range 2 {
			_, _ = m.request(logical.ReadOperation, "creds/deploy", nil)
		}
		m.must(logical.UpdateOperation, "role/none", map[string]any{"role_arn": "acs:ram::1234567890123456:role/none"})
		m.refused(logical.ReadOperation, "creds/none", nil, "EntityNotExist.Role")
		m.minutes(1)
		status := m.status()
		says(t, status, map[string]string{
			"leases": "3: ram_user 2, ram_role 1", "leases_by_role": "3: ci 2, job 1", "leases_overdue": "0",
			"issued": "6: ram_user 3, ram_role_arn 2, ram_role 1", "renewed": "1", "revoked": "1: ram_user 1",
			"calls_refused": "1: AssumeRole 1", "calls_throttled": "2: AssumeRole 2", "wal_entries": "0",
		})
		if text := fmt.Sprint(status); strings.Contains(text, "alice") || strings.Contains(text, "vault-") {
			t.Errorf("status has names: %s", text)
		}
		m.unfinished("ci")
		says(t, m.status(), map[string]string{"wal_entries": "1"})
		m.minutes(1) // and roll it back
		m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true})
		says(t, m.status(), map[string]string{"wal_entries": "0", "tidy": time.Now().UTC().Format(time.RFC3339) + ": found 0, left 0 (dry run)"})
		// A lease ends and nobody revokes it, because RAM refuses.
		m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403})
		time.Sleep(3 * time.Hour)
		m.minutes(1)
		status = m.status()
		says(t, status, map[string]string{"leases": "2: ram_user 2", "leases_overdue": "2"})
		says(t, status, map[string]string{"expiry_failure": "for 0s, 2x: DeleteUser: NoPermission", "last_failure": "0s ago, expiry: DeleteUser: NoPermission"})
		m.minutes(64)
		if got := fmt.Sprint(m.status()["expiry_failure"]); !strings.HasPrefix(got, "for 1h4m, ") {
			t.Errorf("expiry_failure is %s", got)
		}
		m.sim.ClearFaults()
		m.minutes(10)
		says(t, m.status(), map[string]string{"leases": "0", "leases_overdue": "0", "leases_by_role": "0"})
		m.restart()
		m.rest()
		says(t, m.status(), map[string]string{"leases": "0", "issued": "0", "revoked": "0"})
	})
}

// A process that has just begun knows the leases of the one before, by their roles.
func TestStatusAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers"})
		m.must(logical.ReadOperation, "creds/ci", nil)
		m.restart()
		m.rest()
		says(t, m.status(), map[string]string{"leases": "1: ram_user 1", "leases_by_role": "1: ci 1"})
	})
}

func TestStatusWithoutConfig(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	says(t, m.status(), map[string]string{"credentials": "none: write them to config", "account_id": "", "quotas": "not known"})
}

// Nodes that issue nothing leave the answer to the one that does.
func TestStatusIsForwarded(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.become(consts.ReplicationPerformanceStandby)
	m.sim.ClearJournal()
	for _, path := range []string{"status", "metrics"} {
		if _, err := m.request(logical.ReadOperation, path, nil); !errors.Is(err, logical.ErrReadOnly) {
			t.Errorf("a performance standby answers %s with %v", path, err)
		}
	}
	if calls := m.sim.Journal(); len(calls) > 0 {
		t.Errorf("and calls %v", calls)
	}
}

// With a thousand RAM users, a thousand static roles and ten thousand roles, status
// and a scrape read the list of the write-ahead log, and nothing else.
func TestStatusOfAFullMount(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	put := func(key string, value any) {
		entry, err := logical.StorageEntryJSON(key, value)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.storage.Put(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10_000 {
		put(fmt.Sprintf("role/r%d", n), map[string]any{"ram_groups": []string{"readers"}})
	}
	for n := range 1_000 {
		name := fmt.Sprintf("vault-u%d", n)
		put(issuedPrefix+name, map[string]any{"username": name, "ends_by": time.Now().Add(time.Hour), "role": fmt.Sprintf("r%d", n)})
		put(fmt.Sprintf("static-role/s%d", n), map[string]any{
			"username": name, "access_key": "LTAI5tFAKE", "rotation_period": 24 * time.Hour,
			"rotation": map[string]any{"next_rotation": time.Now().Add(time.Hour)},
		})
	}
	if err := m.Initialize(t.Context(), &logical.InitializationRequest{Storage: m.process}); err != nil {
		t.Fatal(err)
	}
	m.rest()
	m.status() // makes the client of the cloud
	before := len(m.steps()[storageOperation])
	says(t, m.status(), map[string]string{"leases": "1000: ram_user 1000", "rotations": "1000 keys, 0 due, 0 failing"})
	if text := m.metrics(); len(text) > 16<<10 {
		t.Errorf("a scrape has %d bytes", len(text))
	}
	if steps := m.steps()[storageOperation][before:]; len(steps) != 2 {
		t.Errorf("status and a scrape read %v", steps)
	}
}

// However many roles there are, and whatever they are called, a line is a line.
func TestStatusOfManyRolesFits(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for n := range 12 {
		name := fmt.Sprintf("%s-%02d", strings.Repeat("long", n), n)
		m.must(logical.UpdateOperation, "role/r"+name, map[string]any{"ram_groups": "readers"})
		for range 12 - n {
			m.must(logical.ReadOperation, "creds/r"+name, nil)
		}
	}
	if _, err := m.rollBack(); err != nil { // the first tick reads the index
		t.Fatal(err)
	}
	m.rest()
	if got := fmt.Sprint(m.status()["leases_by_role"]); !strings.HasPrefix(got, "78: r-00 12, rlong-01 11, ") || !strings.Contains(got, " more ") {
		t.Errorf("leases_by_role is %s", got)
	}
}

// What cannot be asked says why, and nothing else fails with it.
func TestStatusOfAMountThatMayAskNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // status waits for five seconds
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.asksForQuotas()
		m.fault(alisim.Fault{Action: "GetAccountSummary", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403})
		m.fault(alisim.Fault{Action: "GetCallerIdentity", Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.NotFound", Status: 404})
		says(t, m.status(), map[string]string{
			"account_id": "not known: GetCallerIdentity: InvalidAccessKeyId.NotFound", "quotas": "not known: needs ram:GetAccountSummary",
		})
		m.sim.ClearFaults()
		if got := m.fails("calls_failure"); got != "" {
			t.Errorf("calls_failure is %q", got)
		}
		m.must(logical.UpdateOperation, "config", map[string]any{"ims_endpoint": ""})
		says(t, m.status(), map[string]string{"quotas": "not asked for: config has no ims_endpoint"})
	})
}

// The quotas are asked for by who reads status, and beside scrapes and issues, which
// wait for nothing. An issue warns by what was told last.
func TestQuotas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		toThePresent()
		settings := alisim.DefaultSettings()
		settings.Quotas.Users = 10
		m := newTimedMount(t, settings, alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "ttl": "24h", "max_ttl": "24h"})
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
		m.asksForQuotas()
		asked := func() (n int) {
			for _, call := range m.sim.Journal() {
				if call.Action == "GetAccountSummary" {
					n++
				}
			}
			return n
		}
		issue := func(role string) string {
			resp := m.must(logical.ReadOperation, "creds/"+role, nil)
			return strings.Join(resp.Warnings, "; ")
		}
		const nearly = "the account has 9 of the 10 RAM users that it may have"
		if got := issue("deploy"); got != "" || asked() != 0 {
			t.Errorf("a session warns %q, after %d questions", got, asked())
		}
		for range 7 {
			if got := issue("ci"); got != "" {
				t.Errorf("an issue warns %q", got)
			}
			synctest.Wait()
		}
		if n := asked(); n != 1 {
			t.Errorf("seven issues within the hour asked %d times", n)
		}
		time.Sleep(time.Hour + time.Minute)
		if got := issue("ci"); got != "" {
			t.Errorf("an issue warns %q", got)
		}
		synctest.Wait()
		last := m.must(logical.ReadOperation, "creds/ci", nil)
		if got := strings.Join(last.Warnings, "; "); !strings.HasPrefix(got, nearly) || asked() != 2 {
			t.Errorf("an hour later an issue warns %q, after %d questions", got, asked())
		}
		if _, err := m.revokeLease(last.Secret); err != nil {
			t.Fatal(err)
		}
		if got := m.must(logical.ReadOperation, "status", nil).Warnings; len(got) != 1 || !strings.HasPrefix(got[0], nearly) {
			t.Errorf("status warns %q", got)
		}
		if got := issue("ci"); !strings.HasPrefix(got, nearly) {
			t.Errorf("an issue warns %q", got)
		}
		if got := issue("deploy"); got != "" {
			t.Errorf("a session warns %q", got)
		}
		before := asked()
		for range 60 { // an hour of scrapes
			time.Sleep(time.Minute)
			m.metrics()
			synctest.Wait()
		}
		if n := asked() - before; n < 11 || n > 13 {
			t.Errorf("asked %d times in an hour", n)
		}
		m.fault(alisim.Fault{Action: "GetAccountSummary", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403})
		before = asked()
		for range 120 {
			time.Sleep(time.Minute)
			if samples := m.metrics(); strings.Contains(samples, "_quota_") && asked() > before+1 {
				t.Errorf("the quotas are told:\n%s", samples)
			}
			synctest.Wait()
		}
		if n := asked() - before; n < 2 || n > 3 {
			t.Errorf("asked %d times in two hours in which it was refused", n)
		}
		// The mount goes while the cloud is silent: nothing waits for it.
		m.sim.ClearFaults()
		m.fault(alisim.Fault{Action: "GetAccountSummary", Kind: alisim.FaultHold})
		time.Sleep(2 * time.Hour)
		m.metrics()
		synctest.Wait()
		gone := time.Now()
		m.Cleanup(t.Context())
		if waited := time.Since(gone); waited > 0 {
			t.Errorf("the end of the mount took %v", waited)
		}
	})
}

// metrics is the text that a scrape gets.
func (m *mount) metrics() string {
	m.t.Helper()
	resp, err := m.Backend.HandleRequest(context.Background(), &logical.Request{Operation: logical.ReadOperation, Path: "metrics", Storage: m.process})
	if err != nil || resp.IsError() {
		m.t.Fatalf("metrics: %v %v", resp, err)
	}
	if got := resp.Data[logical.HTTPContentType]; !strings.HasPrefix(fmt.Sprint(got), "text/plain; version=0.0.4") || resp.Data[logical.HTTPStatusCode] != 200 {
		m.t.Errorf("metrics answers %v %v", got, resp.Data[logical.HTTPStatusCode])
	}
	return string(resp.Data[logical.HTTPRawBody].([]byte))
}
