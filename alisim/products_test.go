package alisim

import (
	"net/http"
	"strings"
	"testing"
)

// at sends a request for another product to one of its hosts.
func (c *cloud) at(host, version, action string, k keys, p params) result {
	c.t.Helper()
	r := v3(c.t.Context(), k, action, p)
	r.URL.Host, r.Host = host, host
	r.Header.Set("x-acs-version", version)
	resignV3(r, k, p)
	return send(c.t, c.client, r)
}

// F1.38: what the vendors' samples call works with every kind of credential, for those who may.
func TestCallsOfTheVendorsSamples(t *testing.T) {
	t.Parallel()
	seed := SourcesSeed()
	a := &seed.Accounts[0]
	a.Users = append(a.Users, User{Name: "nobody", AccessKeys: []AccessKey{{ID: "nobodykey", Secret: "nobodysecret"}}})
	c := start(t, Options{Seed: seed})
	instance := params{"InstanceId": "demo"}
	for _, host := range []string{"ecs.aliyuncs.com", "ecs.cn-hangzhou.aliyuncs.com", "ecs-cn-hangzhou.aliyuncs.com"} {
		out := c.at(host, "2014-05-26", "DescribeRegions", vaultKeys, nil)
		if regions := out.list("Regions.Region"); len(regions) == 0 || !strings.HasPrefix(regions[0]["RegionEndpoint"].(string), "ecs.") {
			t.Errorf("%s: %d %v", host, out.status, out.body)
		}
	}
	out := c.at("ccc.cn-shanghai.aliyuncs.com", "2020-07-01", "GetInstance", vaultKeys, instance)
	if out.status != 200 || out.text("Code") != "OK" || out.text("Data.Id") != "demo" {
		t.Errorf("%d %v", out.status, out.body)
	}
	bearer := c.ask(http.MethodPost, "https://ccc.cn-shanghai.aliyuncs.com/?InstanceId=demo", "", "Accept", "application/json", "x-acs-action", "GetInstance",
		"x-acs-version", "2020-07-01", "x-acs-bearer-token", DefaultBearerToken, "x-acs-signature-type", "BEARERTOKEN",
		"x-acs-date", stamp(c.Now()), "x-acs-signature-nonce", nonce())
	if bearer.status != 200 || bearer.text("Data.Id") != "demo" {
		t.Errorf("with a bearer token: %d %v", bearer.status, bearer.body)
	}
	for _, refused := range []result{
		c.at("ecs.aliyuncs.com", "2014-05-26", "DescribeRegions", of("nobody"), nil),
		c.at("ccc.aliyuncs.com", "2020-07-01", "GetInstance", of("nobody"), instance),
	} {
		if refused.status != 403 || refused.code() != "Forbidden.RAM" {
			t.Errorf("nobody: %d %v", refused.status, refused.body)
		}
	}
	if out := c.at("sts.aliyuncs.com", "2014-05-26", "DescribeRegions", vaultKeys, nil); out.code() != "InvalidApi.NotFound" {
		t.Errorf("at a host of another product: %v", out.body)
	}
	if out := c.at("ccc.aliyuncs.com", "2020-07-01", "GetInstance", vaultKeys, nil); out.code() != "MissingInstanceId" {
		t.Errorf("without an instance: %v", out.body)
	}
}
