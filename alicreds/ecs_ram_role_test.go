package alicreds_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// instance answers as the metadata service of an ECS instance does, with
// faults by the kind of request.
type instance struct {
	*desk
	mu     sync.Mutex
	role   string
	keys   string
	tokens map[string]bool // valid ones
	issued int

	noTokens   int  // status of PUT when not 0
	tokensOnly bool // refuse v1
	brokenV2   int  // status of every GET with a token when not 0
	log        []string
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	i := &instance{role: "EcsRole", keys: codedJSON(), tokens: map[string]bool{}}
	i.desk = newDesk(t, i.answer)
	return i
}

func codedJSON() string {
	return fmt.Sprintf(`{"Code":"Success","AccessKeyId":"STS.fakeid","AccessKeySecret":"fake-session-secret","SecurityToken":"fake-session-token",`+
		`"Expiration":%q,"LastUpdated":"2026-01-01T00:00:00Z"}`, inAnHour())
}

func (i *instance) answer(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	token := r.Header.Get("X-aliyun-ecs-metadata-token")
	entry := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/latest/")
	if token != "" {
		entry += " v2"
	}
	i.log = append(i.log, entry)
	const list = "/latest/meta-data/ram/security-credentials/"
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		w.WriteHeader(403)
	case r.Method == "PUT" && r.URL.Path == "/latest/api/token":
		if i.noTokens != 0 {
			w.WriteHeader(i.noTokens)
			return
		}
		if r.Header.Get("X-aliyun-ecs-metadata-token-ttl-seconds") != "21600" {
			w.WriteHeader(400)
			return
		}
		i.issued++
		issued := fmt.Sprintf("fake-imds-token-%d", i.issued)
		i.tokens[issued] = true
		fmt.Fprint(w, issued)
	case token != "" && i.brokenV2 != 0:
		w.WriteHeader(i.brokenV2)
	case token != "" && !i.tokens[token]:
		w.WriteHeader(401)
	case token == "" && i.tokensOnly:
		w.WriteHeader(403)
	case r.URL.Path == list && i.role != "":
		fmt.Fprint(w, i.role)
	case r.URL.Path == list+strings.TrimSpace(i.role) && i.role != "":
		fmt.Fprint(w, i.keys)
	default:
		w.WriteHeader(404)
	}
}

func (i *instance) journal() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := strings.Join(i.log, ", ")
	i.log = nil
	return strings.ReplaceAll(all, "meta-data/ram/security-credentials/", "")
}

// patientMetadata waits for a machine that is too busy to answer within a second, and so
// asks once. When it asks again is tested by the clock of a bubble.
func patientMetadata(t *testing.T, endpoint string, onlyV2 bool) *alicreds.Metadata {
	t.Helper()
	m, err := alicreds.NewMetadata(alicreds.MetadataOptions{
		Endpoint: endpoint, DisableIMDSv1: onlyV2, ConnectTimeout: time.Minute, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (i *instance) provider(t *testing.T, role string, onlyV2 bool) alicreds.ECSRAMRole {
	t.Helper()
	metadata := patientMetadata(t, i.URL, onlyV2)
	p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{RoleName: role, Metadata: metadata, DisableIMDSv1: onlyV2})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestECSRAMRole(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	p := i.provider(t, "", false)
	got, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "STS.fakeid" || got.AccessKeySecret != "fake-session-secret" || got.SecurityToken != "fake-session-token" ||
		got.Source != "ecs_ram_role" || got.Expiration.IsZero() {
		t.Errorf("got %s", got)
	}
	if j := i.journal(); j != "PUT api/token, GET  v2, GET EcsRole v2" {
		t.Errorf("asked %s", j)
	}
	if _, err := p.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if j := i.journal(); j != "GET EcsRole v2" {
		t.Errorf("asked again %s: token and role are to be kept", j)
	}
	mustNotPrint(t, p, "fake-imds-token-1")
}

func TestECSRAMRoleRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		role   string
		onlyV2 bool
		fault  func(*instance)
		want   string
		fails  bool
	}{
		"role given":                     {role: "EcsRole", want: "PUT api/token, GET EcsRole v2"},
		"role with white space":          {fault: func(i *instance) { i.role = "EcsRole\n" }, want: "PUT api/token, GET  v2, GET EcsRole v2"},
		"v2 only":                        {onlyV2: true, fault: func(i *instance) { i.tokensOnly = true }, want: "PUT api/token, GET  v2, GET EcsRole v2"},
		"no tokens":                      {fault: func(i *instance) { i.noTokens = 404 }, want: "PUT api/token, GET , PUT api/token, GET EcsRole"},
		"no tokens, v2 only":             {onlyV2: true, fault: func(i *instance) { i.noTokens = 404 }, want: "PUT api/token", fails: true},
		"tokens of no use":               {role: "EcsRole", fault: func(i *instance) { i.brokenV2 = 500 }, want: "PUT api/token, GET EcsRole v2, GET EcsRole"},
		"tokens of no use, v2 only":      {role: "EcsRole", onlyV2: true, fault: func(i *instance) { i.brokenV2 = 500 }, want: "PUT api/token, GET EcsRole v2, GET EcsRole v2, GET EcsRole v2", fails: true},
		"tokens refused":                 {role: "EcsRole", fault: func(i *instance) { i.brokenV2 = 403 }, want: "PUT api/token, GET EcsRole v2, GET EcsRole"},
		"role name, tokens of no use":    {fault: func(i *instance) { i.brokenV2 = 500 }, want: "PUT api/token, GET  v2, GET , GET EcsRole v2, GET EcsRole"},
		"role name, no v1":               {onlyV2: true, fault: func(i *instance) { i.brokenV2 = 500 }, want: "PUT api/token, GET  v2, GET  v2, GET  v2", fails: true},
		"no such role":                   {role: "Other", want: "PUT api/token, GET Other v2, GET Other", fails: true},
		"a role name that is none":       {fault: func(i *instance) { i.role = "<html>" }, want: "PUT api/token, GET  v2", fails: true},
		"a role name that leads astray":  {fault: func(i *instance) { i.role = "../../user-data" }, want: "PUT api/token, GET  v2", fails: true},
		"a token that is none":           {role: "EcsRole", onlyV2: true, fault: func(i *instance) { i.noTokens = 200 }, want: "PUT api/token", fails: true},
		"a token that is none, v1 is ok": {role: "EcsRole", fault: func(i *instance) { i.noTokens = 200 }, want: "PUT api/token, GET EcsRole"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t)
			if tc.fault != nil {
				tc.fault(i)
			}
			_, err := i.provider(t, tc.role, tc.onlyV2).Retrieve(t.Context())
			if (err != nil) != tc.fails || errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("Retrieve = %v", err)
			}
			if j := i.journal(); j != tc.want {
				t.Errorf("asked %s, want %s", j, tc.want)
			}
		})
	}
}

// A token that expired early, as after a restart of the service, is replaced.
func TestECSRAMRoleRearms(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.tokensOnly = true
	p := i.provider(t, "EcsRole", true)
	for round, want := range []string{"PUT api/token, GET EcsRole v2", "GET EcsRole v2, PUT api/token, GET EcsRole v2", "GET EcsRole v2"} {
		if _, err := p.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j := i.journal(); j != want {
			t.Errorf("round %d: asked %s, want %s", round, j, want)
		}
		if round == 0 {
			i.tokens = map[string]bool{}
		}
	}
}

func TestECSRAMRoleIsReplaced(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	p := i.provider(t, "", true)
	if _, err := p.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.journal()
	i.role = "NewRole"
	if _, err := p.Retrieve(t.Context()); err != nil {
		t.Errorf("the new role: %v", err)
	}
	if got, want := i.journal(), "GET EcsRole v2, GET  v2, GET NewRole v2"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// A role name that the instance does not have is named, and what the service says
// is the reason, too.
func TestECSRAMRoleSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	_, err := i.provider(t, "Esc-Role", true).Retrieve(t.Context())
	wantError(t, err, "the instance has no RAM role of the name Esc-Role", "(HTTP 404)")
	i.keys = `{"Code":"AssumeRoleUnauthorizedAccess","Message":"hidden"}`
	_, err = i.provider(t, "", true).Retrieve(t.Context())
	wantError(t, err, "the reply's Code is AssumeRoleUnauthorizedAccess")
	i.keys = `{"Code":"hunter2-fake-secret","Message":"hidden"}`
	_, err = i.provider(t, "", true).Retrieve(t.Context())
	wantError(t, err, "the reply's Code is not Success")
}

func TestECSRAMRoleMalformedReplies(t *testing.T) {
	t.Parallel()
	bad := malformed(t, codedJSON(), "Code", "AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration")
	bad["null"], bad["not JSON"], bad["nothing"], bad["array"], bad["empty"] = "null", "<html>", "{}", "[]", ""
	bad["failed"] = strings.Replace(codedJSON(), "Success", "Failed", 1)
	bad["expiration"] = expiring(codedJSON(), "soon")
	bad["expired"] = expiring(codedJSON(), "2015-01-01T00:00:00Z")
	bad["too large"] = `{"x":"` + strings.Repeat("x", 64<<10) + `",` + codedJSON()[1:]
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t)
			i.keys = body
			got, err := i.provider(t, "", true).Retrieve(t.Context())
			if err == nil || got != (alicreds.Credentials{}) || errors.Is(err, alicreds.ErrUnavailable) || strings.Contains(err.Error(), "fake-session") {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestECSRAMRoleWithoutRole(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.role = ""
	_, err := i.provider(t, "", false).Retrieve(t.Context())
	if !errors.Is(err, alicreds.ErrUnavailable) || !strings.Contains(err.Error(), "no RAM role is attached") {
		t.Errorf("got %v", err)
	}
}

func TestECSRAMRoleFailsHard(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(500, "hidden"))
	metadata := patientMetadata(t, d.URL, false)
	p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Retrieve(t.Context())
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Status != 500 || errors.Is(err, alicreds.ErrUnavailable) || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}

// whereNobodyListens is an address at which nobody else can listen either, as they could
// where somebody has: it is the near end of a connection.
func whereNobodyListens(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

func TestECSRAMRoleOffECS(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, tc := range map[string]struct {
		address     string
		unavailable bool
	}{
		"nobody listens": {whereNobodyListens(t), true},
		"nobody answers": {silent.Addr().String(), false},
	} {
		metadata, err := alicreds.NewMetadata(alicreds.MetadataOptions{Endpoint: "http://" + tc.address, Timeout: 200 * time.Millisecond, ConnectTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = p.Retrieve(t.Context())
		if err == nil || errors.Is(err, alicreds.ErrUnavailable) != tc.unavailable || time.Since(began) > 50*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(began))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := newInstance(t)
	if _, err := i.provider(t, "", false).Retrieve(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("an ended context: %v", err)
	}
}

func TestECSRAMRoleFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := newDesk(t, func(http.ResponseWriter, *http.Request) { t.Error("followed") })
	d := newDesk(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
	metadata := patientMetadata(t, d.URL, false)
	p, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Retrieve(t.Context()); err == nil {
		t.Error("accepted a redirect")
	}
}

func TestECSRAMRoleChecks(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"../x", "a/b", "a b", "a?b", ".", "..", strings.Repeat("a", 65)} {
		if _, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{RoleName: role}); err == nil {
			t.Errorf("accepts the role name %q", role)
		}
	}
	for _, endpoint := range []string{"100.100.100.200", "ftp://x", "http://", "http://u:p@x", "http://x/path", "http://x?q", "http://x\x7f"} {
		if _, err := alicreds.NewMetadata(alicreds.MetadataOptions{Endpoint: endpoint}); err == nil {
			t.Errorf("accepts the endpoint %q", endpoint)
		}
	}
	loose, err := alicreds.NewMetadata(alicreds.MetadataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: loose, DisableIMDSv1: true}); err == nil {
		t.Error("accepts a Metadata that uses IMDSv1 where that is disabled")
	}
	if _, err := alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{DisableIMDSv1: true}); err != nil {
		t.Error(err)
	}
	if _, err := (alicreds.ECSRAMRole{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
}
