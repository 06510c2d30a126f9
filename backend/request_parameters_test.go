package backend_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// readAndWrite are the ways in which a request gives parameters: Vault makes data
// of the query of a GET.
var readAndWrite = []logical.Operation{logical.ReadOperation, logical.UpdateOperation}

// attackReadWithParameters has the capability read alone: it wants a long life,
// and somebody else's name in ActionTrail.
func attackReadWithParameters(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, "ttl": "15m"})
	m.must(logical.UpdateOperation, "role/ci", map[string]any{"ram_groups": "readers", "ttl": "15m"})
	m.must(logical.UpdateOperation, "role/open", map[string]any{"role_arn": roleARN})
	before := m.inventory()
	for _, op := range readAndWrite {
		m.refused(op, "creds/deploy", map[string]any{"ttl": "12h"}, "ttl must be 1 second to 15m0s, what the role gives without one")
		m.refused(op, "creds/ci", map[string]any{"ttl": "12h"}, "ttl must be 1 second to 15m0s")
		m.refused(op, "creds/open", map[string]any{"ttl": "61m"}, "ttl must be 1 second to 1h0m0s")
		m.refused(op, "creds/deploy", map[string]any{"role_session_name": "ceo@example.com"}, "request_parameters")
		if got := m.must(op, "creds/deploy", map[string]any{"ttl": "5m"}).Secret.TTL; got != 5*time.Minute {
			t.Errorf("%s: a lease of %s, want the 5m that were asked for", op, got)
		}
	}
	m.unchanged(before)
}

// attackNameBesideATemplate is let set the name of its session, by a role that
// names sessions itself, or whose config does.
func attackNameBesideATemplate(t *testing.T) {
	m := newMount(t)
	const listed, template = "request_parameters", "role_session_name_template"
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN, listed: "role_session_name"})
	m.must(logical.UpdateOperation, "role/batch", map[string]any{
		"credential_type": "ram_role", "remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", listed: "role_session_name",
	})
	name := map[string]any{"role_session_name": "release-42"}
	for _, op := range readAndWrite {
		if id := m.identity(m.must(op, "creds/deploy", name)); !strings.HasSuffix(id.ARN, "/release-42") {
			t.Errorf("%s without a template: %s", op, id.ARN)
		}
	}
	m.must(logical.UpdateOperation, "config", map[string]any{template: "{{.DisplayName}}"})
	for _, op := range readAndWrite {
		for _, role := range []string{"deploy", "batch"} {
			m.refused(op, "creds/"+role, name, "named by a role_session_name_template")
		}
		if id := m.identity(m.must(op, "creds/deploy", nil)); !strings.HasSuffix(id.ARN, "/token-alice@example.com") {
			t.Errorf("%s with a template: %s", op, id.ARN)
		}
	}
	m.refused(logical.UpdateOperation, "role/deploy", map[string]any{template: "{{.RoleName}}"}, "request_parameters: role_session_name would have no effect")
}

// Who writes a role says what requests of it may set, the same for reads and writes.
func TestRequestParametersOfARole(t *testing.T) {
	t.Parallel()
	values := map[string]any{"ttl": "20m", "role_arn": roleARN, "policy": allowOSS, "role_session_name": "release-42"}
	for name, tc := range map[string]struct {
		listed  any // nil: not written
		allowed []string
	}{
		"nothing was written": {nil, []string{"ttl", "role_arn", "policy"}},
		"all":                 {"ttl,role_arn,policy,role_session_name", []string{"ttl", "role_arn", "policy", "role_session_name"}},
		"one, as a list":      {[]string{"policy"}, []string{"policy"}},
		"another order":       {"role_session_name, ttl", []string{"ttl", "role_session_name"}},
		"an empty text":       {"", nil},
		"an empty list":       {[]string{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			role := map[string]any{"role_arn": roleARN, "ttl": "30m"}
			if tc.listed != nil {
				role["request_parameters"] = tc.listed
			}
			m.must(logical.UpdateOperation, "role/deploy", role)
			m.must(logical.UpdateOperation, "role/deploy", map[string]any{"ttl": "30m"}) // another write keeps it
			m.start()
			if got := m.must(logical.ReadOperation, "role/deploy", nil).Data["request_parameters"]; fmt.Sprint(got) != fmt.Sprint(tc.allowed) {
				t.Errorf("the role reads %v, want %v", got, tc.allowed)
			}
			for parameter, value := range values {
				for _, op := range readAndWrite {
					if given := map[string]any{parameter: value}; slices.Contains(tc.allowed, parameter) {
						m.must(op, "creds/deploy", given)
					} else {
						m.refused(op, "creds/deploy", given, parameter+`: the role "deploy" lets requests set `)
					}
				}
			}
			m.must(logical.ReadOperation, "creds/deploy", nil)
		})
	}
}

// What a role lets requests set must be something, and something of use.
func TestRequestParametersThatCannotBe(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct {
		fields map[string]any
		text   string
	}{
		{map[string]any{"role_arn": roleARN, "request_parameters": "ttl,tll"}, `"tll" is no parameter of creds/`},
		{map[string]any{"ram_groups": "readers", "request_parameters": "ttl,policy"}, "policy is for sessions, and the role is of type ram_user"},
		{map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "request_parameters": "role_arn"}, "role_arn is for sessions of existing RAM roles"},
		{map[string]any{"credential_type": "sts", "access_key": "STS.x", "secret_key": "x", "security_token": "x", "request_parameters": "role_session_name"}, "role_session_name is for sessions"},
		{map[string]any{"role_arn": roleARN, "role_session_name_template": "x-{{.RoleName}}", "request_parameters": "role_session_name"}, "would have no effect beside role_session_name_template"},
	} {
		m.refused(logical.UpdateOperation, "role/r", tc.fields, tc.text)
	}
	// A role that changes its type keeps what it said, as far as it counts.
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": alisim.DefaultRoleARN, "request_parameters": "ttl,policy"})
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": "", "ram_groups": "readers"})
	if got := m.must(logical.ReadOperation, "role/r", nil).Data["request_parameters"]; fmt.Sprint(got) != "[ttl]" {
		t.Errorf("a role of type ram_user reads %v", got)
	}
	m.refused(logical.UpdateOperation, "creds/r", map[string]any{"policy": allowOSS}, "policy is for sessions")
}

// Without max_ttl a request can only shorten what the role gives, whatever the
// mount's maximum; with it, it can have that.
func TestRequestTTLStaysWithinTheRole(t *testing.T) {
	t.Parallel()
	m := newSourcesMount(t)
	m.start(func(c *logical.BackendConfig) {
		c.System = &logical.StaticSystemView{DefaultLeaseTTLVal: 2 * time.Hour, MaxLeaseTTLVal: 24 * time.Hour}
	})
	session, user := map[string]any{"role_arn": roleARN}, map[string]any{"ram_groups": "readers"}
	keys := map[string]any{"credential_type": "access_key", "access_key": "LTAI5tFAKE", "secret_key": "fake"}
	for name, tc := range map[string]struct {
		role        map[string]any
		ttl, maxTTL string
		longest     time.Duration
	}{
		"a session":                      {session, "", "", time.Hour},
		"a session with ttl":             {session, "30m", "", 30 * time.Minute},
		"a session with max_ttl":         {session, "30m", "4h", 4 * time.Hour},
		"a user":                         {user, "", "", 2 * time.Hour},
		"a user with ttl":                {user, "30m", "", 30 * time.Minute},
		"a user with max_ttl":            {user, "", "10h", 10 * time.Hour},
		"a user beyond the mount":        {user, "", "48h", 24 * time.Hour},
		"keys of its own":                {keys, "", "", 2 * time.Hour},
		"keys of its own and a long ttl": {keys, "48h", "", 24 * time.Hour},
	} {
		role := map[string]any{"ttl": tc.ttl, "max_ttl": tc.maxTTL}
		for field, value := range tc.role {
			role[field] = value
		}
		path := strings.ReplaceAll(name, " ", "-")
		m.must(logical.UpdateOperation, "role/"+path, role)
		for _, op := range readAndWrite {
			if got := m.must(op, "creds/"+path, map[string]any{"ttl": int(tc.longest.Seconds())}).Secret.TTL; got > tc.longest || got < tc.longest-time.Minute {
				t.Errorf("%s: a lease of %s, want %s", name, got, tc.longest)
			}
			m.refused(op, "creds/"+path, map[string]any{"ttl": int(tc.longest.Seconds()) + 1}, "ttl must be 1 second to "+tc.longest.String())
			m.refused(op, "creds/"+path, map[string]any{"ttl": -1}, "ttl")
		}
	}
}
