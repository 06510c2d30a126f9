package backend_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// newLoggedMount is a timed mount that keeps what it logs, in a process that has
// just begun.
func newLoggedMount(t *testing.T, seed alisim.Seed) *mount {
	t.Helper()
	m := newTimedMount(t, alisim.DefaultSettings(), seed)
	m.Cleanup(t.Context())
	m.logged = &bytes.Buffer{}
	m.start()
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "24h", "max_ttl": "24h"})
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
	return m
}

// lines counts what was logged with that text.
func (m *mount) lines(text string) int {
	synctest.Wait()
	return strings.Count(m.logged.String(), text)
}

// worksAsRole makes the mount work as a role.
func (m *mount) worksAsRole() {
	m.t.Helper()
	m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "ram_role_arn", "role_arn": alisim.DefaultRoleARN})
}

// fails is a field of config/caller-identity, "" where it is left out.
func (m *mount) fails(field string) string {
	m.t.Helper()
	text, _ := m.must(logical.ReadOperation, "config/caller-identity", nil).Data[field].(string)
	return text
}

// The mount works as a role whose session can no longer be renewed, while the one
// that it has still works: no request fails, and nobody would be told.
func attackRenewalFailsUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		m.worksAsRole()
		if got := m.fails("last_failure"); got != "" {
			t.Fatalf("nothing has failed yet: %q", got)
		}
		err := m.sim.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute) // of the session's hour
		begun := time.Now()
		for time.Since(begun) < 7*time.Minute {
			m.must(logical.ReadOperation, "config/caller-identity", nil)
			time.Sleep(5 * time.Second)
		}
		// At once, and after 1, 3 and 7 minutes.
		const warning = "the mount's own credentials cannot be renewed"
		if n := m.lines(warning); n != 3 {
			t.Errorf("%d warnings in seven minutes, want 3:\n%s", n, m.logged)
		}
		for _, has := range []string{"[WARN]", "mount=alicloud/", "since=" + begun.UTC().Format("2006-01-02T15:04"), "times=", "next=", "NoPermission"} {
			if m.lines(has) == 0 {
				t.Errorf("the warnings have no %q:\n%s", has, m.logged)
			}
		}
		for _, field := range []string{"credentials_failure", "last_failure"} {
			if got := m.fails(field); !strings.Contains(got, "since "+begun.UTC().Format("2006-01-02T15:04")) || !strings.Contains(got, "NoPermission") {
				t.Errorf("%s is %q", field, got)
			}
		}
		m.sim.ClearFaults()
		time.Sleep(time.Minute)
		m.must(logical.ReadOperation, "config/caller-identity", nil)
		if n := m.lines("[INFO]  the mount's own credentials are renewed again"); n != 1 {
			t.Errorf("it was said %d times that all is well:\n%s", n, m.logged)
		}
		if got := m.fails("credentials_failure"); got != "" {
			t.Errorf("what is over is still there: %q", got)
		}
		if got := m.fails("last_failure"); !strings.Contains(got, ", over since ") {
			t.Errorf("last_failure is %q", got)
		}
		time.Sleep(25 * time.Hour)
		if got := m.fails("last_failure"); got != "" {
			t.Errorf("a day later last_failure is %q", got)
		}
	})
}

// The session has ended: the question who the mount is fails too, and says since
// when, and how often.
func attackOutageSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		m.worksAsRole()
		if err := m.sim.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden}); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		for range 3 {
			m.refused(logical.ReadOperation, "creds/ci", nil, "NoPermission")
			time.Sleep(10 * time.Minute)
		}
		m.refused(logical.ReadOperation, "config/caller-identity", nil,
			"what failed last in the background is credentials: since "+since.UTC().Format(time.RFC3339)+", 4 times")
		m.must(logical.DeleteOperation, "config", map[string]any{"force": true})
		m.refused(logical.ReadOperation, "config/caller-identity", nil, "no credentials are configured")
	})
}

// Each kind of work in the background: how it fails, where that is read and what
// is logged, and that both end with the failure.
func attackBackgroundFailsUnseen(t *testing.T) {
	for name, kind := range map[string]struct {
		field, warning, well string
		object               string
		fails                func(*mount) alisim.Fault
		again                func(*mount)
	}{
		"a rotation": {
			field: "rotation_failure", warning: "a rotation failed and will be repeated", well: "rotations do not fail any longer", object: "static-role/app",
			fails: func(m *mount) alisim.Fault {
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
				return alisim.Fault{Action: "CreateAccessKey"}
			},
			again: func(m *mount) { m.minutes(130) },
		},
		"a rollback": {
			field: "rollback_failure", warning: "a rollback of an unfinished issue failed and will be repeated", well: "rollbacks do not fail any longer", object: "vault-token-alice",
			fails: func(m *mount) alisim.Fault {
				if err := m.sim.AddFault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse, Count: 1}); err != nil {
					m.t.Fatal(err)
				}
				m.comeBetween(failing(logical.UpdateOperation, issuedPrefix))
				if _, err := m.request(logical.ReadOperation, "creds/ci", nil); err == nil {
					m.t.Fatal("an issue that could not be recorded went well")
				}
				m.comeBetween(nil)
				return alisim.Fault{Action: "DeleteUser"}
			},
			again: func(m *mount) {
				for range 130 {
					time.Sleep(time.Minute)
					_, _ = m.rollBack() // Vault is told of its failure, and logs it each minute
					m.rest()
				}
			},
		},
		"a look at the user of a lease that is renewed": {
			field: "lease_check_failure", warning: "leases are renewed without having seen their RAM user", well: "leases are no longer renewed without having seen their RAM user", object: "vault-token-alice",
			fails: func(m *mount) alisim.Fault { return alisim.Fault{Action: "GetUser"} },
			again: func(m *mount) {
				secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
				for range 13 {
					time.Sleep(10 * time.Minute)
					if resp, err := m.renewLease(secret); err != nil || resp.IsError() {
						m.t.Fatalf("renewing: %v %v", resp, err)
					}
				}
			},
		},
		"a call that is repeated": {
			field: "calls_failure", warning: "calls of Alibaba Cloud have to be repeated", well: "calls of Alibaba Cloud need no repetition any longer", object: "AssumeRole",
			fails: func(m *mount) alisim.Fault {
				m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 1})
				return alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultThrottle, Delay: time.Second}
			},
			again: func(m *mount) {
				for range 130 {
					_, _ = m.request(logical.ReadOperation, "creds/deploy", nil)
					m.minutes(1)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newLoggedMount(t, seedWith(alisim.User{Name: "app"}))
				fault := kind.fails(m)
				if fault.Kind == "" {
					fault.Kind, fault.Code, fault.Status = alisim.FaultRefuse, "NoPermission", http.StatusForbidden
				}
				if err := m.sim.AddFault(fault); err != nil {
					t.Fatal(err)
				}
				kind.again(m)
				// At once, after 1, 3, 7, 15, 31 and 63 minutes, and then each hour.
				if n := m.lines(kind.warning); n < 1 || n > 8 {
					t.Errorf("%d warnings in two hours:\n%.2000s", n, m.logged)
				}
				if got := m.fails(kind.field); !strings.Contains(got, kind.object) || !strings.Contains(got, "next try") {
					t.Errorf("%s is %q, which names no %s", kind.field, got, kind.object)
				}
				m.sim.ClearFaults()
				kind.again(m)
				if n := m.lines(kind.well); n != 1 {
					t.Errorf("it was said %d times that all is well:\n%.2000s", n, m.logged)
				}
				if got := m.fails(kind.field); got != "" {
					t.Errorf("what is over is still there: %q", got)
				}
			})
		})
	}
}

// Failures that come and go are warned of no more often than those that stay.
func TestFailuresThatComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		for range 12 * 60 / 5 {
			time.Sleep(5 * time.Minute)
			if err := m.sim.AddFault(alisim.Fault{Action: "GetUser", Kind: alisim.FaultRefuse, Count: 1}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if resp, err := m.renewLease(secret); err != nil || resp.IsError() {
					t.Fatalf("renewing: %v %v", resp, err)
				}
			}
		}
		const warning, well = "leases are renewed without having seen", "leases are no longer renewed without having seen"
		if n, ended := m.lines(warning), m.lines(well); n < 12 || n > 18 || ended != n {
			t.Errorf("%d warnings and %d ends in twelve hours of a failure each five minutes", n, ended)
		}
	})
}

// What fails with a config says nothing about the next one.
func TestFailuresEndWithTheirConfig(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		m.worksAsRole()
		if err := m.sim.AddFault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden}); err != nil {
			t.Fatal(err)
		}
		m.refused(logical.ReadOperation, "config/caller-identity", nil, "credentials: since")
		m.refused(logical.UpdateOperation, "config", map[string]any{"verify": true, "role_session_name": "other"}, "NoPermission")
		m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "access_key", "role_arn": "", "role_session_name": ""})
		if got := m.fails("last_failure"); got != "" {
			t.Errorf("last_failure is %q", got)
		}
	})
}

// A storage that cannot be read keeps all rotations from beginning.
func TestRotationsThatCannotBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		m.comeBetween(failing(logical.ListOperation, "static-role/"))
		m.minutes(10)
		if n := m.lines("reading the static roles failed; their rotation waits"); n != 4 {
			t.Errorf("%d warnings in ten minutes, want 4:\n%s", n, m.logged)
		}
		m.comeBetween(nil)
		m.minutes(1)
		if n := m.lines("rotations do not fail any longer"); n != 1 {
			t.Errorf("it was said %d times that all is well:\n%s", n, m.logged)
		}
	})
}

// Reasons are bounded: the other side may have had a part in them.
func TestFailuresAreShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newLoggedMount(t, alisim.DefaultSeed())
		secret := m.must(logical.ReadOperation, "creds/ci", nil).Secret
		time.Sleep(5 * time.Minute)
		if err := m.sim.AddFault(alisim.Fault{Action: "GetUser", Kind: alisim.FaultRefuse, Message: strings.Repeat("é", 8<<10)}); err != nil {
			t.Fatal(err)
		}
		if resp, err := m.renewLease(secret); err != nil || resp.IsError() {
			t.Fatalf("renewing: %v %v", resp, err)
		}
		if got := m.fails("lease_check_failure"); len(got) < 100 || len(got) > 1000 {
			t.Errorf("%d bytes: %.100q", len(got), got)
		}
	})
}
