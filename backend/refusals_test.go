package backend_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// count counts the calls of an action since the journal was cleared.
func (m *mount) count(action string) (n int) {
	for _, c := range m.sim.Journal() {
		if c.Action == action {
			n++
		}
	}
	return n
}

// F5.10: readers that ask 43 times a second for what STS refuses are heard by STS
// after 1, 2, 4, 8, 16 and 30 seconds, and at once when it is allowed.
func TestRefusedSessionsArePaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
		m.must(logical.UpdateOperation, "role/short", map[string]any{"role_arn": roleARN, "ttl": "15m", "expire_with_lease": true})
		m.must(logical.UpdateOperation, "role/shared", map[string]any{"role_arn": roleARN, "reuse_ttl": "10m"})
		m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403})
		for _, role := range []string{"deploy", "short", "shared"} {
			m.sim.ClearJournal()
			begun := time.Now()
			for time.Since(begun) < 62*time.Second {
				m.refused(logical.ReadOperation, "creds/"+role, nil, "NoPermission (HTTP 403, RequestId ")
				time.Sleep(time.Second / 43)
			}
			if n := m.count("AssumeRole"); n != 7 {
				t.Errorf("%s: STS was asked %d times in a minute, want 7", role, n)
			}
			m.refused(logical.ReadOperation, "creds/"+role, nil, "(remembered: STS is asked again in ")
			t.Logf("%s: 2666 readers in 62 s, %d calls of AssumeRole", role, m.count("AssumeRole"))
		}
		m.sim.ClearFaults()
		time.Sleep(30 * time.Second)
		m.must(logical.ReadOperation, "creds/deploy", nil)
		m.must(logical.ReadOperation, "creds/deploy", nil)
	})
}

// A refusal is told to those who ask the same, and to nobody else.
func TestRefusalBelongsToItsRequest(t *testing.T) {
	t.Parallel()
	own := `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"acs:oss:*:*:home/{{identity.entity.name}}/*"}]}`
	for name, tc := range map[string]struct {
		role  map[string]any
		other logical.Request
	}{
		"another role":            {nil, logical.Request{Path: "creds/other", DisplayName: "alice", EntityID: "alice"}},
		"another reader":          {nil, logical.Request{Path: "creds/deploy", DisplayName: "bob", EntityID: "alice"}},
		"another entity":          {map[string]any{"policy": own}, logical.Request{Path: "creds/deploy", DisplayName: "alice", EntityID: "bob"}},
		"another source identity": {map[string]any{"source_identity": "{{identity.entity.name}}"}, logical.Request{Path: "creds/deploy", DisplayName: "alice", EntityID: "bob"}},
		"another ttl":             {nil, logical.Request{Path: "creds/deploy", DisplayName: "alice", EntityID: "alice", Data: map[string]any{"ttl": "20m"}}},
		"another policy":          {nil, logical.Request{Path: "creds/deploy", DisplayName: "alice", EntityID: "alice", Data: map[string]any{"policy": allowOSS}}},
		"a name":                  {nil, logical.Request{Path: "creds/deploy", DisplayName: "bob", EntityID: "alice", Data: map[string]any{"role_session_name": "alice"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.start(func(c *logical.BackendConfig) {
					c.System = entities{logical.StaticSystemView{MaxLeaseTTLVal: time.Hour}}
				})
				for _, role := range []string{"deploy", "other"} {
					fields := map[string]any{"role_arn": roleARN, "request_parameters": "ttl,policy,role_session_name"}
					for field, value := range tc.role {
						fields[field] = value
					}
					m.must(logical.UpdateOperation, "role/"+role, fields)
				}
				m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403, Count: 1})
				same := logical.Request{Path: "creds/deploy", DisplayName: "alice", EntityID: "alice"}
				for n, text := range []string{"NoPermission", "remembered"} {
					if resp := m.asReader(same); !resp.IsError() || !strings.Contains(resp.Error().Error(), text) {
						t.Errorf("reading the %d. time: %v", n+1, resp)
					}
				}
				if resp := m.asReader(tc.other); resp.IsError() {
					t.Errorf("it was told what belongs to another: %v", resp.Error())
				}
			})
		})
	}
}

// asReader reads, for a reader of its own.
func (m *mount) asReader(req logical.Request) *logical.Response {
	m.t.Helper()
	req.Operation = logical.ReadOperation
	resp, err := m.HandleRequest(context.Background(), &req)
	if err != nil {
		m.t.Fatal(err)
	}
	return resp
}

// What makes another answer likely makes the engine forget.
func TestRefusalIsForgotten(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *mount){
		"a write of the role": func(m *mount) { m.must(logical.UpdateOperation, "role/deploy", nil) },
		"a write of config":   func(m *mount) { m.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 0}) },
		"a write on a node":   func(m *mount) { m.InvalidateKey(context.Background(), "role/deploy") },
		"a deletion of the role": func(m *mount) {
			m.must(logical.DeleteOperation, "role/deploy", nil)
			m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
		},
		"a pause": func(*mount) { time.Sleep(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
				m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: 403, Count: 1})
				m.refused(logical.ReadOperation, "creds/deploy", nil, "NoPermission")
				m.refused(logical.ReadOperation, "creds/deploy", nil, "remembered")
				change(m)
				m.must(logical.ReadOperation, "creds/deploy", nil)
			})
		})
	}
}

// What says nothing of the role is not remembered: throttling, an outage, and a
// refusal of the mount's own key.
func TestWhatIsNoRefusalIsNotRemembered(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{
		"Throttling.User": 429, "ServiceUnavailable": 503, "InvalidAccessKeyId.NotFound": 404, "InvalidSecurityToken.Expired": 400, "SignatureDoesNotMatch": 400,
		"InvalidTimeStamp.Expired": 400,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
				m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
				m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: code, Status: status, Count: 1})
				if resp, err := m.request(logical.ReadOperation, "creds/deploy", nil); err == nil && !resp.IsError() {
					t.Fatalf("%v %v", resp, err)
				}
				m.must(logical.ReadOperation, "creds/deploy", nil)
			})
		})
	}
}
