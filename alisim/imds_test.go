package alisim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends a plain request with headers given in pairs.
func (c *cloud) ask(method, target, body string, headers ...string) result {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return send(c.t, c.client, r)
}

func (r result) raw() string { return r.text("raw") }

func (r result) flatKeys() keys {
	return keys{r.text("AccessKeyId"), r.text("AccessKeySecret"), r.text("SecurityToken")}
}

const (
	ttlHeader   = "X-aliyun-ecs-metadata-token-ttl-seconds"
	tokenHeader = "X-aliyun-ecs-metadata-token"
	keysPath    = "/latest/meta-data/ram/security-credentials/"
)

func (c *cloud) metadataToken(ttl string) string {
	c.t.Helper()
	out := c.ask("PUT", c.IMDSURL+"/latest/api/token", "", ttlHeader, ttl)
	if out.status != 200 || out.raw() == "" {
		c.t.Fatalf("token: %d %v", out.status, out.body)
	}
	return out.raw()
}

// everywhere runs a test over sockets and in process.
func everywhere(t *testing.T, test func(*testing.T, *cloud)) {
	t.Helper()
	for name, options := range map[string]Options{"sockets": {}, "in process": {NoListen: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options.Seed = SourcesSeed()
			test(t, start(t, options))
		})
	}
}

func TestMetadataKeysWorkAtTheGateway(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		for _, origin := range []string{c.IMDSURL, "http://100.100.100.200"} {
			token := c.metadataToken("21600")
			name := c.ask("GET", origin+keysPath, "", tokenHeader, token)
			if name.raw() != "node" {
				t.Fatalf("role name %v", name.body)
			}
			got := c.ask("GET", origin+keysPath+"node", "", tokenHeader, token)
			who := c.must(got.flatKeys(), "GetCallerIdentity", nil)
			if arn := who.text("Arn"); arn != "acs:ram::1234567890123456:assumed-role/node/vm-ram-i-alisim00000000000000" {
				t.Errorf("arn %s", arn)
			}
			updated, err1 := time.Parse(time.RFC3339, got.text("LastUpdated"))
			end, err2 := time.Parse(time.RFC3339, got.text("Expiration"))
			if err1 != nil || err2 != nil || end.Sub(updated) != 6*time.Hour || got.text("Code") != "Success" {
				t.Errorf("keys %v", got.body)
			}
		}
		for _, call := range c.Journal() {
			if call.Service == "IMDS" && call.Action != "IMDS.Token" && call.Signature != "token" {
				t.Errorf("%+v", call)
			}
		}
	})
}

func TestMetadataRefusals(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	token := c.metadataToken("21600")
	late := c.metadataToken("1")
	c.Advance(2 * time.Second)
	role := func(i Instance) Instance { i.RoleARN = DefaultNodeRoleARN; return i }
	for _, test := range []struct {
		name         string
		instance     Instance
		method, path string
		headers      []string
		status       int
		text         string
	}{
		{"v1", role(Instance{}), "GET", keysPath, nil, 200, "node"},
		{"v1 without slash", role(Instance{}), "GET", strings.TrimSuffix(keysPath, "/"), nil, 200, "node"},
		{"v1 although v2 is required", role(Instance{HTTPTokens: "required"}), "GET", keysPath, nil, 403, "Forbidden"},
		{"v2 as required", role(Instance{HTTPTokens: "required"}), "GET", keysPath, []string{tokenHeader, token}, 200, "node"},
		{"unknown token", role(Instance{}), "GET", keysPath, []string{tokenHeader, "no"}, 401, "Unauthorized"},
		{"expired token", role(Instance{}), "GET", keysPath, []string{tokenHeader, late}, 401, "Unauthorized"},
		{"no role", Instance{}, "GET", keysPath, nil, 404, "404 - Not Found"},
		{"role is gone", Instance{RoleARN: "acs:ram::1234567890123456:role/gone"}, "GET", keysPath, nil, 404, "404 - Not Found"},
		{"role does not trust ecs", Instance{RoleARN: DefaultRoleARN}, "GET", keysPath, nil, 404, "404 - Not Found"},
		{"another role", role(Instance{}), "GET", keysPath + "deploy", nil, 404, "404 - Not Found"},
		{"method", role(Instance{}), "POST", keysPath, nil, 405, "Method Not Allowed"},
		{"token by GET", Instance{}, "GET", "/latest/api/token", []string{ttlHeader, "60"}, 405, "Method Not Allowed"},
		{"token without ttl", Instance{}, "PUT", "/latest/api/token", nil, 400, "Missing or Invalid Parameters"},
		{"ttl 0", Instance{}, "PUT", "/latest/api/token", []string{ttlHeader, "0"}, 400, "Missing or Invalid Parameters"},
		{"ttl 21601", Instance{}, "PUT", "/latest/api/token", []string{ttlHeader, "21601"}, 400, "Missing or Invalid Parameters"},
		{"ttl no number", Instance{}, "PUT", "/latest/api/token", []string{ttlHeader, "6h"}, 400, "Missing or Invalid Parameters"},
		{"through a proxy", Instance{}, "PUT", "/latest/api/token", []string{ttlHeader, "60", "X-Forwarded-For", "192.0.2.1"}, 403, "Forbidden"},
		{"endpoint off", role(Instance{Disabled: true}), "GET", keysPath, nil, 403, "Forbidden"},
		{"endpoint off for tokens", Instance{Disabled: true}, "PUT", "/latest/api/token", []string{ttlHeader, "60"}, 403, "Forbidden"},
		{"region", Instance{Region: "cn-beijing"}, "GET", "/latest/meta-data/region-id", nil, 200, "cn-beijing"},
		{"zone", Instance{Region: "cn-beijing"}, "GET", "/latest/meta-data/zone-id", nil, 200, "cn-beijing-h"},
		{"account", role(Instance{}), "GET", "/latest/meta-data/owner-account-id", nil, 200, DefaultAccountID},
		{"instance", Instance{ID: "i-x"}, "GET", "/latest/meta-data/instance-id", nil, 200, "i-x"},
		{"own item", Instance{Items: map[string]string{"a/b": "c"}}, "GET", "/latest/meta-data/a/b", nil, 200, "c"},
		{"folder", role(Instance{}), "GET", "/latest/meta-data/instance/", nil, 200, "instance-name\ninstance-type"},
		{"role name, old spelling", role(Instance{}), "GET", "/latest/meta-data/Ram/security-credentials/", nil, 200, "node"}, // F1.30
		{"folder with role", role(Instance{}), "GET", "/latest/meta-data/ram/", nil, 200, "security-credentials/"},
		{"unknown item", Instance{}, "GET", "/latest/meta-data/nothing", nil, 404, "404 - Not Found"},
		{"unknown path", Instance{}, "GET", "/", nil, 404, "404 - Not Found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := c.SetInstance(test.instance); err != nil {
				t.Fatal(err)
			}
			out := c.ask(test.method, c.IMDSURL+test.path, "", test.headers...)
			if out.status != test.status || out.raw() != test.text {
				t.Errorf("got %d %q, want %d %q", out.status, out.raw(), test.status, test.text)
			}
		})
	}
	for _, bad := range []Instance{{HTTPTokens: "maybe"}, {RoleARN: "node"}, {Life: -1}} {
		if c.SetInstance(bad) == nil {
			t.Errorf("took %+v", bad)
		}
	}
}

// TestMetadataInABubble runs hours in no time: keys are the same until it is time for new ones, and tokens die.
func TestMetadataInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
		token := c.metadataToken("21600")
		get := func() result { return c.ask("GET", "http://100.100.100.200"+keysPath+"node", "", tokenHeader, token) }
		first := get()
		time.Sleep(5*time.Hour + 29*time.Minute)
		if second := get(); second.text("AccessKeyId") != first.text("AccessKeyId") {
			t.Error("new keys before it is time")
		}
		time.Sleep(2 * time.Minute)
		third := get()
		if third.text("AccessKeyId") == first.text("AccessKeyId") {
			t.Error("no new keys 29 minutes before the end")
		}
		c.must(first.flatKeys(), "GetCallerIdentity", nil)
		time.Sleep(30 * time.Minute)
		if out := get(); out.status != 401 {
			t.Errorf("token after its end: %d", out.status)
		}
		c.refused(first.flatKeys(), "GetCallerIdentity", nil, 400, "InvalidSecurityToken.Expired")
		c.must(third.flatKeys(), "GetCallerIdentity", nil)
	})
}

func TestMetadataRateLimitAndFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
		settings := c.Settings()
		settings.RateLimits = map[string]int{"IMDS.RoleName": 2}
		if err := c.Configure(settings); err != nil {
			t.Fatal(err)
		}
		statuses := map[int]int{}
		for range 50 {
			statuses[c.ask("GET", c.IMDSURL+keysPath, "").status]++
		}
		if statuses[200] != 2 || statuses[429] != 48 { // all in one second
			t.Errorf("statuses %v", statuses)
		}
		for _, f := range []Fault{
			{Action: "IMDS.Credentials", Kind: FaultError500, Count: 1},
			{Action: "IMDS.Token", Kind: FaultRefuse, Status: 403, Count: 1},
			{Action: "IMDS.Credentials", Kind: FaultMalform, Malform: `set:Code="Failed"`, Count: 1},
		} {
			if err := c.AddFault(f); err != nil {
				t.Fatal(err)
			}
		}
		if out := c.ask("GET", c.IMDSURL+keysPath+"node", ""); out.status != 500 {
			t.Errorf("status %d", out.status)
		}
		if out := c.ask("PUT", c.IMDSURL+"/latest/api/token", "", ttlHeader, "1"); out.status != 403 {
			t.Errorf("status %d", out.status)
		}
		if out := c.ask("GET", c.IMDSURL+keysPath+"node", ""); out.status != 200 || out.code() != "Failed" {
			t.Errorf("%d %v", out.status, out.body)
		}
	})
}

func TestMalform(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Seed: SourcesSeed()})
	for how, want := range map[string]string{
		"remove:Expiration":          `"LastUpdated"`,
		"set:SecurityToken=null":     `"SecurityToken":null`,
		"set:AccessKeyId=17":         `"AccessKeyId":17`,
		`set:Expiration="tomorrow"`:  `"Expiration":"tomorrow"`,
		"empty":                      "",
		"null":                       "null",
		"object":                     "{}",
		"list":                       "[]",
		"html":                       "<html>",
		"body:hello":                 "hello",
		"not_json":                   `"Code" : "Success"`,
		"huge":                       "   ",
		"status:201":                 `"Code" : "Success"`,
		"redirect:http://192.0.2.1/": "",
		"camel_case":                 `"accessKeyId"`,
	} {
		if err := c.AddFault(Fault{Kind: FaultMalform, Malform: how, Count: 1}); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", c.IMDSURL+keysPath+"node", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		body := readAll(t, response)
		status := map[string]int{"status:201": 201, "redirect:http://192.0.2.1/": 302}[how]
		if status == 0 {
			status = 200
		}
		if response.StatusCode != status || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", how, response.StatusCode, body)
		}
		switch how {
		case "remove:Expiration":
			if strings.Contains(body, "Expiration") {
				t.Errorf("%s: %s", how, body)
			}
		case "not_json":
			if json.Valid([]byte(body)) {
				t.Errorf("%s: %s", how, body)
			}
		case "huge":
			if len(body) < 8<<20 || !json.Valid([]byte(body)) {
				t.Errorf("%s: %d bytes", how, len(body))
			}
		}
	}
	for _, bad := range []string{"", "remove:", "set:A", "set:A=tomorrow", "status:9", "shout", "null:x", "redirect:"} {
		if c.AddFault(Fault{Kind: FaultMalform, Malform: bad}) == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func TestMalformStall(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *cloud) {
		if err := c.AddFault(Fault{Kind: FaultMalform, Malform: "stall"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", c.IMDSURL+keysPath+"node", nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			response, err := c.client.Do(r)
			if err == nil {
				_, err = io.ReadAll(response.Body)
				_ = response.Body.Close()
			}
			ended <- err
		}()
		if _, err := c.WaitFor(t.Context(), func(c Call) bool { return c.Action == "IMDS.Credentials" }); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("the body ended well")
		}
	})
}

// TestMetadataAsAProxy sees that a client with a fixed address gets there by HTTP_PROXY.
func TestMetadataAsAProxy(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Seed: SourcesSeed()})
	proxy, err := url.Parse(c.IMDSURL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer transport.CloseIdleConnections()
	c.client = &http.Client{Transport: transport}
	if out := c.ask("GET", "http://100.100.100.200"+keysPath, ""); out.raw() != "node" {
		t.Errorf("%d %v", out.status, out.body)
	}
}
