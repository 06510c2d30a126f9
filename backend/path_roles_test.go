package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
)

const (
	allowOSS = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:Get*","Resource":"*"}]}`
	roleARN  = "acs:ram::1234567890123456:role/deploy"
)

func TestRoleRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	long := `[{"Version":"1","Statement":[{"Effect":"Allow","Action":"` + strings.Repeat("a", policy.MaxDocument) + `","Resource":"*"}]}]`
	for name, tc := range map[string]struct {
		data map[string]any
		want string
	}{
		"nothing":                 {map[string]any{}, "must include an arn, or at least one of inline_policies or remote_policies"},
		"empty lists":             {map[string]any{"remote_policies": []string{}, "inline_policies": "[]"}, "must include an arn"},
		"arn and remote":          {map[string]any{"role_arn": roleARN, "remote_policies": []string{"name:A,type:System"}}, "remote_policies must be blank when an arn is present"},
		"arn and inline":          {map[string]any{"role_arn": roleARN, "inline_policies": "[" + allowOSS + "]"}, "inline_policies must be blank when an arn is present"},
		"arn and groups":          {map[string]any{"role_arn": roleARN, "ram_groups": "readers"}, "ram_groups must be blank"},
		"malformed arn":           {map[string]any{"role_arn": "deploy"}, "acs:ram::<account>:role/<name>"},
		"ttl over max_ttl":        {map[string]any{"role_arn": roleARN, "ttl": 7200, "max_ttl": 3600}, "ttl exceeds max_ttl"},
		"type against fields":     {map[string]any{"role_arn": roleARN, "credential_type": "ram_user"}, `credential_type is "ram_user", but`},
		"unknown type":            {map[string]any{"role_arn": roleARN, "credential_type": "assumed_role"}, "use one of ram_role_arn, ram_user"},
		"pair without colon":      {map[string]any{"remote_policies": []string{"ReadOnlyAccess"}}, "unable to recognize pair in"},
		"unknown key":             {map[string]any{"remote_policies": []string{"nam:A,type:System"}}, "invalid key: nam"},
		"remote without name":     {map[string]any{"remote_policies": []string{"type:System"}}, "policy name is required in"},
		"remote without type":     {map[string]any{"remote_policies": []string{"name:A"}}, "policy type is required in"},
		"remote of unknown type":  {map[string]any{"remote_policies": []string{"name:A,type:system"}}, "must be System or Custom"},
		"inline not JSON":         {map[string]any{"inline_policies": "{"}, "inline_policies must be a JSON list"},
		"inline object":           {map[string]any{"inline_policies": allowOSS}, "inline_policies must be a JSON list"},
		"inline empty string":     {map[string]any{"inline_policies": ""}, "inline_policies must be a JSON list"},
		"inline list of strings":  {map[string]any{"inline_policies": `["a"]`}, "inline_policies[0] must be a JSON object"},
		"inline without version":  {map[string]any{"inline_policies": `[{"Statement":[]}]`}, `"Version":"1"`},
		"inline too long":         {map[string]any{"inline_policies": long}, "the limit is 6144"},
		"session policy too long": {map[string]any{"role_arn": roleARN, "policy": strings.Trim(long, "[]")}, "policy "},
		"external id of one":      {map[string]any{"role_arn": roleARN, "external_id": "x"}, "external_id must be 2 to 1224"},
		"six groups":              {map[string]any{"ram_groups": "a,b,c,d,e,f"}, "5 groups at most"},
		"ram_role, external id": {
			map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "external_id": "a b"}, "external_id must be 2 to 1224",
		},
		"ram_role without lease": {
			map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "lease": false},
			"lease=false would leave a RAM role behind with every read",
		},
		"user without lease":       {map[string]any{"ram_groups": "readers", "lease": false}, "lease=false would leave a RAM user behind with every read"},
		"session policy of a user": {map[string]any{"ram_groups": "readers", "policy": allowOSS}, "policy is for sessions"},
		"end of a user's session":  {map[string]any{"ram_groups": "readers", "expire_with_lease": true}, "expire_with_lease is for ram_role_arn and oidc_role_arn"},
		"end of a ram_role's session": {
			map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "expire_with_lease": true},
			"expire_with_lease is for ram_role_arn and oidc_role_arn",
		},
		"session policy of a source": {
			map[string]any{"credential_type": "bearer", "bearer_token": "fake", "policy": allowOSS}, "policy is for sessions",
		},
		"trust policy of a session": {map[string]any{"role_arn": roleARN, "trust_policy": allowOSS}, "trust_policy is for ram_role"},
		"no room for the lease's end": {
			map[string]any{"role_arn": roleARN, "expire_with_lease": true, "policy": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"` +
				strings.Repeat("a", 1950) + `","Resource":"*"}]}`},
			"expire_with_lease: the session policy has ",
		},
		"key without its secret": {map[string]any{"credential_type": "access_key", "access_key": "LTAI5tFAKE"}, "secret_key is required"},
		"reuse that cannot be": {
			map[string]any{"role_arn": roleARN, "expire_with_lease": true, "reuse_ttl": 60},
			"expire_with_lease and reuse_ttl exclude each other",
		},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := m.request(logical.UpdateOperation, "role/bad", tc.data)
			text := fmt.Sprint(err)
			if err == nil && resp.IsError() {
				text = resp.Error().Error()
			} else if err == nil {
				t.Fatalf("accepted: %v", resp)
			}
			if !strings.Contains(text, tc.want) {
				t.Errorf("the answer %q does not say %q", text, tc.want)
			}
			if stored, _ := m.storage.Get(context.Background(), "role/bad"); stored != nil {
				t.Error("a refused role was stored")
			}
		})
	}
}

func TestRoleErrorsDoNotQuotePolicies(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	const marker = "do-not-repeat-me"
	for _, doc := range []string{`[{"Version":"1","x":"` + marker + `",}]`, `["` + marker + `"]`, `{"` + marker + `":1}`} {
		resp, err := m.request(logical.UpdateOperation, "role/bad", map[string]any{"inline_policies": doc})
		if err != nil || !resp.IsError() {
			t.Fatalf("%s: %v %v", doc, resp, err)
		}
		if strings.Contains(resp.Error().Error(), marker) {
			t.Errorf("the answer quotes the document: %s", resp.Error())
		}
	}
}

// A document or key that is sent as JSON and not as text is a mistake that is
// easily made. It must not come back in an answer, nor make Vault log it, which
// it does with failures of existence checks.
func TestWrongTypesAreNotQuoted(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	const marker = "do-not-repeat-me"
	for field, path := range map[string]string{
		"policy": "role/r", "inline_policies": "role/r", "trust_policy": "role/r", "bearer_token": "role/r", "secret_key": "config", "private_key": "config",
	} {
		for _, value := range []any{map[string]any{"x": marker}, []any{map[string]any{"x": marker}}, []any{marker}} {
			req := &logical.Request{Operation: logical.UpdateOperation, Path: path, Data: map[string]any{field: value}, Storage: m.process}
			if _, _, err := m.HandleExistenceCheck(context.Background(), req); err != nil {
				t.Errorf("existence check of %s with a bad %s: %v", path, field, err)
			}
			resp, err := m.HandleRequest(context.Background(), req)
			if err != nil || !resp.IsError() {
				t.Fatalf("%s: %v %v", field, resp, err)
			}
			if text := resp.Error().Error(); strings.Contains(text, marker) || !strings.Contains(text, field+" must be a string") {
				t.Errorf("%s: %s", field, text)
			}
		}
	}
}

// F3.18: what a value must look like, without the words of Go.
func TestWrongTypesAreTold(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	const duration = " must be a duration: a number of seconds, or numbers with s, m, h or d, such as 15m, 1h30m or 30d"
	for _, tc := range []struct {
		path, field string
		value       any
		want        string
	}{
		{"role/r", "ttl", "soon", "ttl" + duration},
		{"role/r", "ttl", "1hour", "ttl" + duration},
		{"role/r", "ttl", "30days", "ttl" + duration},
		{"role/r", "max_ttl", []any{1}, "max_ttl" + duration},
		{"role/r", "max_ttl", -1, "max_ttl" + duration + ", and not negative"},
		{"role/r", "lease", "perhaps", "lease must be true or false"},
		{"config", "max_retries", "many", "max_retries must be a whole number"},
		{"config", "max_retries", map[string]any{}, "max_retries must be a whole number"},
		{"config", "verify", "maybe", "verify must be true or false"},
		{"config", "timeout", "-3s", "timeout" + duration + ", and not negative"},
		{"tidy", "dry_run", "yess", "dry_run must be true or false"},
		{"creds/r", "ttl", "1hour", "ttl" + duration},
		{"static-role/r", "rotation_period", "30days", "rotation_period" + duration},
		{"rotate-role/r", "force", "please", "force must be true or false"},
		{"config/rotate-root", "force", "please", "force must be true or false"},
		{"role/r/check", "assume", "please", "assume must be true or false"},
	} {
		resp, err := m.request(logical.UpdateOperation, tc.path, map[string]any{tc.field: tc.value})
		if err != nil || !resp.IsError() || resp.Error().Error() != tc.want {
			t.Errorf("%s %s=%v: %v %v, want %q", tc.path, tc.field, tc.value, resp, err, tc.want)
		}
	}
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN, "ttl": "30d", "max_ttl": "", "lease": "1"})
}

// F3.18: mistakes in templates and endpoints are told in the words of their fields.
func TestNoPackageIsNamed(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for _, tc := range []struct{ field, value, want string }{
		{"sts_endpoint", "http://sts.aliyuncs.com", "sts_endpoint: the endpoint sts.aliyuncs.com must be reached by https; http is for loopback addresses only"},
		{"ram_endpoint", "https://ram.aliyuncs.com/v1", "ram_endpoint: the endpoint must be a host only, without path, query or fragment"},
		{"sts_fallback_endpoints", "a b", "sts_fallback_endpoints: the endpoint is neither a host name nor a URL"},
		{"ca_certificate", "-----BEGIN", "ca_certificate: the CA certificate contains no PEM certificate"},
		{"username_template", "v-{{.User}}", "username_template: the template has no .User: it may use .DisplayName and .RoleName"},
		{"username_template", "v-{{uper .RoleName}}", "username_template: the template has no function uper: it may use those of Vault's templates"},
		{"policy_name_template", "v-{{.RoleName", "policy_name_template: the template is wrong: unclosed action"},
		{"role_session_name_template", "{{identity.entity.name}}", "role_session_name_template: identity templates are for policies"},
		{"role_session_name_template", `{{truncate 0 "x"}}`, `role_session_name_template: the template is wrong: at {{truncate 0 "x"}}: `},
		{"rotation_schedule", "weekly", "rotation_schedule: expected exactly 5 fields, found 1: [weekly]. It has minute, hour,"},
	} {
		m.refused(logical.UpdateOperation, "config", map[string]any{tc.field: tc.value}, tc.want)
	}
}

func TestRoleStorageIsThatOfTheBuiltInEngine(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "role/Mixed-Case", map[string]any{
		"inline_policies": "[" + allowOSS + "]", "ttl": "90m", "max_ttl": 7200,
	})
	entry, err := m.storage.Get(context.Background(), "role/mixed-case")
	if err != nil || entry == nil {
		t.Fatalf("not stored under the lower-case name: %v", err)
	}
	var got map[string]any
	if err := json.Unmarshal(entry.Value, &got); err != nil {
		t.Fatal(err)
	}
	inline := got["inline_policies"].([]any)[0].(map[string]any)
	if hash := inline["hash"].(string); len(hash) != 32 {
		t.Errorf("hash %q has not 32 digits", hash)
	}
	inline["hash"] = ""
	want := map[string]any{
		"role_arn":        "",
		"remote_policies": nil,
		"inline_policies": []any{map[string]any{"hash": "", "policy_document": decoded(t, allowOSS)}},
		"ttl":             5400e9,
		"max_ttl":         7200e9,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stored %v\nwant   %v", got, want)
	}
}

// As the Terraform provider compares: the document as JSON, ttl in seconds, a
// list that was never set as null.
func TestRoleReadsBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	document := `{"Version":"1","Statement":[{"Effect":"Allow","Action":["a:<&>"],"Resource":"*"}],"n":12345678901234567890}`
	m.must(logical.UpdateOperation, "role/r", map[string]any{"inline_policies": "[" + document + "]", "ttl": 3600})
	read := m.must(logical.ReadOperation, "role/r", nil).Data
	raw, _ := json.Marshal(read["inline_policies"].([]any)[0].(map[string]any)["policy_document"])
	if !reflect.DeepEqual(decoded(t, string(raw)), decoded(t, document)) {
		t.Errorf("the document reads back as %s", raw)
	}
	if read["ttl"] != 3600.0 || read["max_ttl"] != 0.0 || read["role_arn"] != "" || read["remote_policies"] != nil || read["credential_type"] != "ram_user" {
		t.Errorf("read %v", read)
	}
}

func TestRoleOfTheBuiltInEngineReads(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.put("role/old", `{"role_arn":"`+roleARN+`","remote_policies":null,"inline_policies":null,"ttl":0,"max_ttl":14400000000000}`)
	read := m.must(logical.ReadOperation, "role/old", nil).Data
	if read["role_arn"] != roleARN || read["max_ttl"] != 14400.0 || read["credential_type"] != "ram_role_arn" {
		t.Errorf("read %v", read)
	}
}

// A write as the Terraform provider sends it clears one side and gives the
// other; what it does not know of stays.
func TestRoleChangesItsTypeInOneWrite(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN, "external_id": "partner-7", "policy": allowOSS})
	toUser := map[string]any{"role_arn": "", "inline_policies": "[]", "remote_policies": []string{"name: ReadOnlyAccess , type: System"}, "ttl": 0, "max_ttl": 0}
	m.must(logical.UpdateOperation, "role/r", toUser)
	if read := m.must(logical.ReadOperation, "role/r", nil).Data; read["credential_type"] != "ram_user" || read["external_id"] != "partner-7" {
		t.Errorf("after the change to RAM users: %v", read)
	}
	toSession := map[string]any{"role_arn": roleARN, "inline_policies": "[]", "remote_policies": []string{}, "ttl": 7200, "max_ttl": 14400}
	m.must(logical.UpdateOperation, "role/r", toSession)
	if read := m.must(logical.ReadOperation, "role/r", nil).Data; read["credential_type"] != "ram_role_arn" || read["external_id"] != "partner-7" {
		t.Errorf("after the change back to sessions: %v", read)
	}
}

func TestRoleWarnings(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t) // the mount allows 24 h
	for name, tc := range map[string]struct {
		data map[string]any
		want string // "" for none
	}{
		"session of an hour":     {map[string]any{"role_arn": roleARN, "ttl": 3600}, ""},
		"session of two minutes": {map[string]any{"role_arn": roleARN, "ttl": 120}, "below the shortest session that STS gives, 15m0s"},
		"session of 13 hours":    {map[string]any{"role_arn": roleARN, "ttl": "13h"}, "exceeds the longest session that STS gives, 12h0m0s"},
		"user beyond the mount":  {map[string]any{"role_arn": "", "ram_groups": "readers", "ttl": "48h"}, "ttl of 48h0m0s exceeds the maximum of the mount, 24h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := m.must(logical.UpdateOperation, "role/warned", tc.data)
			switch {
			case tc.want == "" && resp != nil:
				t.Errorf("got %v, want an empty answer", resp)
			case tc.want != "" && (resp == nil || !strings.Contains(strings.Join(resp.Warnings, "\n"), tc.want)):
				t.Errorf("got %v, want the warning %q", resp, tc.want)
			}
			m.must(logical.DeleteOperation, "role/warned", nil)
		})
	}
}

func TestRoleListDeleteAndUnknown(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	if resp := m.must(logical.ReadOperation, "role/none", nil); resp != nil {
		t.Errorf("an unknown role reads as %v, want nothing (404)", resp)
	}
	m.must(logical.DeleteOperation, "role/none", nil)
	m.must(logical.UpdateOperation, "role/b", map[string]any{"role_arn": roleARN, "ttl": 900})
	m.must(logical.UpdateOperation, "role/a", map[string]any{"ram_groups": "readers"})
	list := m.must(logical.ListOperation, "role/", nil).Data
	if got := fmt.Sprint(list["keys"]); got != "[a b]" {
		t.Errorf("keys %s", got)
	}
	if info := list["key_info"].(map[string]any)["b"].(map[string]any); info["credential_type"] != "ram_role_arn" || info["ttl"] != 900.0 {
		t.Errorf("key_info of b: %v", info)
	}
	if _, err := m.request(logical.UpdateOperation, "role/", map[string]any{"role_arn": roleARN}); !errors.Is(err, logical.ErrUnsupportedOperation) {
		t.Errorf("a write of role/ answers %v, want unsupported operation", err)
	}
}

func (m *mount) put(key, json string) {
	m.t.Helper()
	if err := m.storage.Put(context.Background(), &logical.StorageEntry{Key: key, Value: []byte(json)}); err != nil {
		m.t.Fatal(err)
	}
}

func decoded(t *testing.T, doc string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A role that is kept decoded must follow a write here and on another node.
func TestRoleChangeIsFollowed(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	duration := func() string {
		m.must(logical.ReadOperation, "creds/deploy", nil)
		calls := m.sim.Journal()
		return calls[len(calls)-1].Params["DurationSeconds"]
	}
	if got := duration(); got != "3600" {
		t.Errorf("at first %s", got)
	}
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"ttl": "30m"})
	if got := duration(); got != "1800" {
		t.Errorf("after a write %s", got)
	}
	m.put("role/deploy", `{"role_arn":"`+roleARN+`","ttl":1200000000000}`)
	m.InvalidateKey(context.Background(), "role/deploy")
	if got := duration(); got != "1200" {
		t.Errorf("after a write on another node %s", got)
	}
	m.must(logical.DeleteOperation, "role/deploy", nil)
	if resp := m.must(logical.ReadOperation, "creds/deploy", nil); resp != nil {
		t.Errorf("after its deletion: %v", resp)
	}
}

// Writes of different fields at the same time must not lose each other's, nor
// bring back a role that was deleted meanwhile.
func TestRoleWritesKeepEachOther(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	m.must(logical.UpdateOperation, "role/r", map[string]any{"role_arn": roleARN})
	writes := []map[string]any{
		{"ttl": 1800}, {"max_ttl": 3600}, {"external_id": "partner-7"}, {"source_identity": "alice"}, {"policy": allowOSS}, {"lease": false},
		{"role_session_name_template": "x"}, {"role_arns": roleARN + "2"},
	}
	m.comeBetween(linger(len(writes)))
	var all sync.WaitGroup
	for _, fields := range writes {
		all.Go(func() {
			resp, err := m.HandleRequest(context.Background(), &logical.Request{
				Operation: logical.UpdateOperation, Path: "role/r", Data: fields,
			})
			if err != nil || resp.IsError() {
				t.Errorf("%v: %v %v", fields, resp, err)
			}
		})
	}
	all.Wait()
	read := m.must(logical.ReadOperation, "role/r", nil).Data
	for field, want := range map[string]any{
		"ttl": 1800.0, "max_ttl": 3600.0, "external_id": "partner-7", "source_identity": "alice", "policy": allowOSS, "lease": false,
		"role_session_name_template": "x",
	} {
		if !reflect.DeepEqual(read[field], want) {
			t.Errorf("%s reads %v, want %v: another write took it away", field, read[field], want)
		}
	}
}

// linger lets others read before a reader gets what it has read: as many as
// there are, or for as long as others may need to turn up.
func linger(readers int) func(s step, effect func() error) error {
	var reads atomic.Int32
	return func(s step, effect func() error) error {
		err := effect()
		if s.op == logical.ReadOperation {
			reads.Add(1)
			for n := 0; n < 1000 && int(reads.Load()) < readers; n++ {
				runtime.Gosched()
			}
		}
		return err
	}
}

// F3.20: a role answers the fields of its type and those of the built-in engine, and
// what is kept for another type.
func TestRoleAnswersTheFieldsOfItsType(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	contract := []string{"credential_type", "role_arn", "remote_policies", "inline_policies", "ttl", "max_ttl"}
	for name, tc := range map[string]struct {
		role map[string]any
		want []string
		not  []string
	}{
		"session": {map[string]any{"role_arn": roleARN}, []string{"policy", "external_id", "lease", "reuse_ttl"}, []string{"ram_groups", "username_template", "access_key", "oidc_provider_arn", "trust_policy"}},
		"user":    {leastUser, []string{"ram_groups", "username_template", "policy_per_lease"}, []string{"policy", "external_id", "lease", "role_arns", "access_key", "trust_policy"}},
		"role":    {leastRole, []string{"trust_policy", "max_session_duration", "policy", "lease"}, []string{"external_id", "reuse_ttl", "access_key"}},
		"ECS":     {map[string]any{"credential_type": "ecs_ram_role"}, []string{"role_name", "disable_imds_v1", "lease"}, []string{"policy", "access_key", "credentials_uri", "username_template"}},
		"keys":    {map[string]any{"credential_type": "access_key", "access_key": "LTAI5tFAKE", "secret_key": "fake"}, []string{"access_key"}, []string{"secret_key", "role_name", "policy"}},
		"URI":     {map[string]any{"credential_type": "credentials_uri", "credentials_uri": "http://127.0.0.1/keys"}, []string{"credentials_uri"}, []string{"access_key"}},
	} {
		m.must(logical.UpdateOperation, "role/"+name, tc.role)
		data := m.must(logical.ReadOperation, "role/"+name, nil).Data
		for _, field := range append(contract, tc.want...) {
			if _, ok := data[field]; !ok {
				t.Errorf("%s: %s is not answered: %v", name, field, data)
			}
		}
		for _, field := range tc.not {
			if value, ok := data[field]; ok {
				t.Errorf("%s: %s is answered: %v", name, field, value)
			}
		}
	}
	// What waits for another type is not hidden.
	m.must(logical.UpdateOperation, "role/session", map[string]any{"external_id": "corp-1"})
	m.must(logical.UpdateOperation, "role/session", map[string]any{"role_arn": "", "remote_policies": "name:ReadOnlyAccess,type:System"})
	if data := m.must(logical.ReadOperation, "role/session", nil).Data; data["credential_type"] != "ram_user" || data["external_id"] != "corp-1" {
		t.Errorf("the role is %v", data)
	}
}

// F3.19: a list of very many roles reads none of them.
func TestRoleListOfManyReadsNone(t *testing.T) {
	t.Parallel()
	m := newEmptyMount(t)
	for n := range 200 {
		m.must(logical.UpdateOperation, fmt.Sprintf("role/r%d", n), map[string]any{"role_arn": roleARN, "ttl": "15m"})
	}
	if info := m.must(logical.ListOperation, "role/", nil).Data["key_info"].(map[string]any); len(info) != 200 {
		t.Errorf("key_info of %d roles", len(info))
	}
	m.must(logical.UpdateOperation, "role/one-more", map[string]any{"role_arn": roleARN})
	m.comeBetween(func(s step, effect func() error) error {
		if s.op == logical.ReadOperation {
			t.Errorf("%s is read", s.what)
		}
		return effect()
	})
	list := m.must(logical.ListOperation, "role/", nil).Data
	if keys := list["keys"].([]any); len(keys) != 201 || list["key_info"] != nil {
		t.Errorf("%d keys, key_info %v", len(keys), list["key_info"])
	}
}

// A document that RAM will refuse is warned of at the write: RAM has the last word.
func TestDoubtfulDocumentsAreWarnedOf(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	const bad = `{"Version":"1","Statement":[{"Effect":"allow","Action":"oss:*","Resource":"*"}]}`
	for field, role := range map[string]map[string]any{
		"inline_policies[1]": {"inline_policies": "[" + allowOSS + "," + bad + "]", "ttl": "1h"},
		"policy":             {"role_arn": roleARN, "policy": bad},
		"trust_policy":       {"credential_type": "ram_role", "remote_policies": "name:ReadOnlyAccess,type:System", "trust_policy": bad, "ttl": "1h"},
	} {
		resp := m.must(logical.UpdateOperation, "role/"+plainName(field), role)
		if want := field + ` has a statement, number 1, that must have "Effect":"Allow" or "Effect":"Deny". RAM will most likely refuse it`; resp == nil ||
			!slices.ContainsFunc(resp.Warnings, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("%s: %v, want %s", field, resp, want)
		}
	}
}

func plainName(field string) string { return strings.Trim(strings.ReplaceAll(field, "[", ""), "]") }

// Whoever works as the root account, or with what lies about, is told.
func TestWhoseKeysAreWarnedOf(t *testing.T) {
	t.Parallel()
	seed := alisim.DefaultSeed()
	seed.Accounts[0].AccessKeys = []alisim.AccessKey{{ID: "LTAI5tROOT", Secret: "root-secret"}}
	m := newSeededMount(t, seed)
	config := m.simConfig()
	config["access_key"], config["secret_key"] = "LTAI5tROOT", "root-secret"
	m.must(logical.UpdateOperation, "config", config)
	if resp := m.must(logical.ReadOperation, "config/caller-identity", nil); len(resp.Warnings) != 1 || !strings.HasPrefix(resp.Warnings[0], "these are the keys of the root account") {
		t.Errorf("root: %q", resp.Warnings)
	}
	m.must(logical.UpdateOperation, "config", m.simConfig())
	if resp := m.must(logical.ReadOperation, "config/caller-identity", nil); len(resp.Warnings) != 0 {
		t.Errorf("a user: %q", resp.Warnings)
	}
	for write, warned := range map[string]bool{"": true, "default": false} {
		m := newEmptyMount(t)
		data := map[string]any{"access_key": "", "secret_key": ""}
		if write != "" {
			data = map[string]any{"credential_type": write}
		}
		resp := m.must(logical.UpdateOperation, "config", data)
		if got := resp != nil && len(resp.Warnings) == 1; got != warned {
			t.Errorf("%v: %v", data, resp)
		}
	}
}
