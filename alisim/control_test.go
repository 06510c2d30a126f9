package alisim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// control calls the control API.
func (c *cloud) control(method, path, body string) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.ControlURL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	out, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, out
}

func (c *cloud) do(method, path, body string, status int, out any) {
	c.t.Helper()
	got, text := c.control(method, path, body)
	if got != status {
		c.t.Fatalf("%s %s: %d %s", method, path, got, text)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(text, out); err != nil {
		c.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	var health struct{ Status, URL string }
	c.do("GET", "/health", "", 200, &health)
	if health.Status != "ok" || health.URL != c.URL {
		t.Errorf("health %+v", health)
	}
	if _, pem := c.control("GET", "/ca.pem", ""); !bytes.Equal(pem, c.CACertPEM()) {
		t.Error("another certificate")
	}

	c.do("POST", "/seed", `{"accounts":[{"id":"7","users":[{"name":"u","access_keys":[{"id":"k7","secret":"s7"}],"policies":["p"]}],
		"policies":[{"name":"p","document":{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:List*","Resource":"*"}]}}],
		"roles":[{"name":"r","trust_policy":"{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Principal\":{\"RAM\":\"acs:ram::7:root\"}}]}"}]}]}`, 204, nil)
	k := keys{id: "k7", secret: "s7"}
	c.must(k, "ListUsers", nil)
	var refused struct{ Error string }
	c.do("POST", "/seed", `{"accounts":[{"id":"7","users":[{"name":"fresh"},{"name":"u"}]}]}`, 400, &refused)
	if !strings.Contains(refused.Error, "taken") {
		t.Errorf("refusal %q", refused.Error)
	}
	var inventory Inventory
	c.do("GET", "/inventory", "", 200, &inventory)
	if _, there := inventory.User("fresh"); there || len(inventory.Users) != 2 {
		t.Errorf("users %+v", inventory.Users)
	}

	var decision struct{ Decision string }
	c.do("POST", "/authorize", `{"access_key_id":"k7","action":"ram:ListRoles","resource":"acs:ram:*:7:role/*"}`, 200, &decision)
	if decision.Decision != "Allow" {
		t.Errorf("decision %+v", decision)
	}

	c.do("POST", "/faults", `{"kind":"throttle","action":"ListUsers","count":1}`, 204, nil)
	c.do("POST", "/faults", `{"kind":"hold","hold":"after"}`, 204, nil)
	c.do("POST", "/faults", `{"kind":"mischief"}`, 400, nil)
	var faults []Fault
	c.do("GET", "/faults", "", 200, &faults)
	if len(faults) != 2 || faults[0].Kind != FaultThrottle || faults[0].Count != 1 {
		t.Errorf("faults %+v", faults)
	}
	c.refused(k, "ListUsers", nil, 400, "Throttling.User")
	c.do("POST", "/faults/release", "", 200, nil)
	c.do("DELETE", "/faults", "", 204, nil)

	c.do("POST", "/latency", `{"latency":"1ms"}`, 204, nil)
	c.do("POST", "/latency", `{"latency":0}`, 204, nil)
	c.do("POST", "/settings", `{"quotas":{"users":1},"propagation":{"user":"3s"},"rate_limits":{"AssumeRole":100}}`, 204, nil)
	settings := c.Settings()
	if settings.Quotas.Users != 1 || settings.Quotas.Groups != 50 || settings.Propagation.User != 3*time.Second || settings.RateLimits["AssumeRole"] != 100 {
		t.Errorf("settings %+v", settings)
	}
	c.do("POST", "/settings", `{"propagation":{"user":"-3s"}}`, 400, nil)
	c.do("POST", "/settings", `{"quota":{}}`, 400, nil)
	var again Settings
	c.do("GET", "/settings", "", 200, &again)
	if again.Propagation.User != 3*time.Second {
		t.Errorf("settings %+v", again)
	}

	var clock struct {
		Now    time.Time
		Offset string
	}
	before := time.Now().Round(0)
	c.do("POST", "/clock", `{"advance":"2h"}`, 200, &clock)
	if clock.Offset != "2h0m0s" || clock.Now.Before(before.Add(2*time.Hour)) {
		t.Errorf("clock %+v", clock)
	}
	c.do("POST", "/clock", `{"now":"2030-07-01T00:00:00Z"}`, 200, &clock)
	if got := c.Now().UTC().Year(); got != 2030 {
		t.Errorf("it is %d", got)
	}
	c.do("GET", "/clock", "", 200, &clock)

	var journal []Call
	c.do("GET", "/journal", "", 200, &journal)
	if len(journal) != 2 || journal[1].Code != "Throttling.User" {
		t.Errorf("journal %+v", journal)
	}
	c.do("GET", "/journal?action=CreateUser", "", 200, &journal)
	if len(journal) != 0 {
		t.Errorf("journal %+v", journal)
	}
	c.do("DELETE", "/journal", "", 204, nil)
	c.do("POST", "/reset", "", 204, nil)
	c.do("GET", "/inventory", "", 200, &inventory)
	if len(inventory.Users) != 1 || c.Settings().Quotas.Users != 1000 || len(c.Journal()) != 0 {
		t.Errorf("after a reset: %+v", inventory)
	}
	c.do("POST", "/seed", `{} {}`, 400, nil)
	c.do("POST", "/seed", strings.Repeat(" ", maxBody+1), 400, nil)
	c.do("GET", "/nothing", "", 404, nil)
}

func TestSeedIsChecked(t *testing.T) {
	t.Parallel()
	doc := Document(allowAll)
	for name, a := range map[string]Account{
		"account id":      {ID: "x"},
		"key twice":       {ID: "1", AccessKeys: []AccessKey{{ID: "k"}}, Users: []User{{Name: "u", AccessKeys: []AccessKey{{ID: "k"}}}}},
		"key status":      {ID: "1", AccessKeys: []AccessKey{{Status: "on"}}},
		"policy name":     {ID: "1", Policies: []Policy{{Document: doc}}},
		"policy document": {ID: "1", Policies: []Policy{{Name: "p", Document: "{}"}}},
		"group twice":     {ID: "1", Groups: []Group{{Name: "g"}, {Name: "g"}}},
		"group policy":    {ID: "1", Groups: []Group{{Name: "g", Policies: []string{"none"}}}},
		"user twice":      {ID: "1", Users: []User{{Name: "u"}, {Name: "u"}}},
		"user policy":     {ID: "1", Users: []User{{Name: "u", Policies: []string{"none"}}}},
		"policy twice":    {ID: "1", Users: []User{{Name: "u", Policies: []string{"ReadOnlyAccess", "ReadOnlyAccess"}}}},
		"user group":      {ID: "1", Users: []User{{Name: "u", Groups: []string{"none"}}}},
		"role twice":      {ID: "1", Roles: []Role{{Name: "r", TrustPolicy: TrustAccount("1")}, {Name: "r", TrustPolicy: TrustAccount("1")}}},
		"role policy":     {ID: "1", Roles: []Role{{Name: "r", TrustPolicy: TrustAccount("1"), Policies: []string{"none"}}}},
		"trust policy":    {ID: "1", Roles: []Role{{Name: "r", TrustPolicy: doc}}},
		"resource group":  {ID: "1", ResourceGroups: []string{"none"}},
		"resource":        {ID: "1", ResourceGroups: []string{"rg-1"}, Resources: map[string]string{"i-1": "rg-1"}},
		"resource's":      {ID: "1", ResourceGroups: []string{"rg-1"}, Resources: map[string]string{"ecs:instance/i-1": "rg-2"}},
		"scoped user":     {ID: "1", Users: []User{{Name: "u", ResourceGroupPolicies: map[string][]string{"rg-1": {"ReadOnlyAccess"}}}}},
		"scoped policy":   {ID: "1", ResourceGroups: []string{"rg-1"}, Roles: []Role{{Name: "r", TrustPolicy: TrustAccount("1"), ResourceGroupPolicies: map[string][]string{"rg-1": {"none"}}}}},
		"max session":     {ID: "1", Roles: []Role{{Name: "r", TrustPolicy: TrustAccount("1"), MaxSessionDuration: 900}}},
	} {
		if s, err := Start(Options{NoListen: true, Seed: Seed{Accounts: []Account{a}}}); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	if s, err := Start(Options{NoListen: true, Seed: Seed{Accounts: []Account{{ID: "1"}, {ID: "1"}}}}); err == nil {
		s.Close()
		t.Error("an account twice: accepted")
	}
	k := AccessKey{ID: "id", Secret: "hush"}
	if text := k.String() + k.GoString() + k.LogValue().String(); strings.Contains(text, "hush") {
		t.Errorf("prints %s", text)
	}
}

func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Addr: "0.0.0.0:0"}, {ControlAddr: ":0"}, {ProxyAddr: "192.0.2.1:0"}, {Addr: "nonsense"}} {
		if s, err := Start(o); err == nil {
			s.Close()
			t.Errorf("listens on %+v", o)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, JournalSize: 5})
	for range 12 {
		c.must(vaultKeys, "ListUsers", nil)
	}
	journal := c.Journal()
	if len(journal) != 5 || journal[0].Seq != 8 || journal[4].Seq != 12 {
		t.Errorf("%d entries, from %d", len(journal), journal[0].Seq)
	}
}

func TestJournalRedacts(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	p := params{"UserName": "vault", "Password": "abcDEF123!secret"}
	send(t, c.client, v1(t.Context(), "POST", vaultKeys, "CreateLoginProfile", p, nil))
	c.call(vaultKeys, "CreateLoginProfile", p)
	send(t, c.client, v1(t.Context(), "POST", keys{id: "STS.x", secret: "y", token: "very-secret-token"}, "GetUser", nil, nil))
	text, err := json.Marshal(c.Journal())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"abcDEF123!secret", "very-secret-token", "SignatureNonce"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the journal holds %s", secret)
		}
	}
	if !bytes.Contains(text, []byte("[redacted]")) {
		t.Errorf("%s", text)
	}
}

// Close ends every goroutine, also those of calls that are held and of tunnels that are open.
func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := Start(Options{RTT: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{Server: s, t: t, client: s.Client()}
	tunnel := proxyClient(t, s)
	if out := send(t, tunnel, v3(t.Context(), vaultKeys, "ListUsers", nil)); out.status != 200 {
		t.Errorf("%v", out.body)
	}
	c.fault(Fault{Kind: FaultHold})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if response, err := c.client.Do(v3(t.Context(), vaultKeys, "ListUsers", nil)); err == nil {
			_ = response.Body.Close()
			t.Error("a held call was answered")
		}
	}()
	if _, err := c.WaitFor(t.Context(), func(call Call) bool { return call.Held }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	<-ended
	tunnel.CloseIdleConnections()
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := (&http.Client{Transport: s.Transport()}).Do(v3(t.Context(), vaultKeys, "ListUsers", nil)); err == nil {
		t.Error("answers after Close")
	}
}
