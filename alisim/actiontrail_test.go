package alisim

import (
	"slices"
	"testing"
	"time"
)

// LookupEvents finds a call by its key, its caller and its name, and tells an account about nobody but its own.
func TestLookupEvents(t *testing.T) {
	t.Parallel()
	seed := DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, User{Name: "nobody", AccessKeys: []AccessKey{{ID: "nobodykey", Secret: "nobodysecret"}}})
	seed.Accounts = append(seed.Accounts, Account{ID: "2222222222222222", Users: []User{
		{Name: "other", AccessKeys: []AccessKey{{ID: "otherkey", Secret: "othersecret"}}, Policies: []string{"AdministratorAccess"}},
	}})
	c := start(t, Options{Seed: seed})
	out := c.must(vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "alice-1"})
	session := out.keys()
	c.must(session, "GetCallerIdentity", nil)
	c.must(of("other"), "GetCallerIdentity", nil)

	lookup := func(k keys, p params) []map[string]any {
		t.Helper()
		out := c.at("actiontrail.cn-hangzhou.aliyuncs.com", actionTrailVersion, "LookupEvents", k, p)
		if out.status != 200 {
			t.Fatalf("%v: %d %v", p, out.status, out.body)
		}
		return out.list("Events")
	}
	names := func(events []map[string]any) (names []string) {
		for _, e := range events {
			names = append(names, e["eventName"].(string))
		}
		return names
	}
	for _, tc := range []struct {
		name string
		keys keys
		p    params
		want []string
	}{
		{"by key", vaultKeys, params{"LookupAttribute.1.Key": "EventAccessKeyId", "LookupAttribute.1.Value": session.id}, []string{"GetCallerIdentity"}},
		{"by the name of a session", vaultKeys, params{"LookupAttribute.1.Key": "User", "LookupAttribute.1.Value": "deploy:alice-1"}, []string{"GetCallerIdentity"}},
		{"by action and user", vaultKeys, params{"LookupAttribute.1.Key": "EventName", "LookupAttribute.1.Value": "AssumeRole",
			"LookupAttribute.2.Key": "User", "LookupAttribute.2.Value": "vault"}, []string{"AssumeRole"}},
		{"oldest first", vaultKeys, params{"Direction": "FORWARD", "MaxResults": "2"}, []string{"AssumeRole", "GetCallerIdentity"}},
		{"newest first, from another account", of("other"), params{"LookupAttribute.1.Key": "ServiceName", "LookupAttribute.1.Value": "Sts"}, []string{"GetCallerIdentity"}},
		{"before anything happened", vaultKeys, params{"StartTime": "2020-01-01T00:00:00Z", "EndTime": "2020-01-02T00:00:00Z"}, nil},
	} {
		if got := names(lookup(tc.keys, tc.p)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	found := lookup(vaultKeys, params{"LookupAttribute.1.Key": "EventName", "LookupAttribute.1.Value": "AssumeRole"})[0]
	at, _ := found["eventTime"].(string)
	if got := names(lookup(vaultKeys, params{"StartTime": at, "EndTime": at, "LookupAttribute.1.Key": "EventName", "LookupAttribute.1.Value": "AssumeRole"})); len(got) != 1 {
		t.Errorf("in the second of the event: %v", got)
	}
	asked, _ := found["requestParameters"].(map[string]any)
	if asked["RoleSessionName"] != "alice-1" || found["eventRW"] != "Write" {
		t.Errorf("the event is %v", found)
	}
	for _, refused := range []struct {
		keys keys
		p    params
		code string
	}{
		{of("nobody"), nil, "Forbidden.RAM"},
		{vaultKeys, params{"MaxResults": "51"}, "InvalidParameter.MaxResults"},
		{vaultKeys, params{"LookupAttribute.1.Key": "Colour", "LookupAttribute.1.Value": "red"}, "InvalidLookupAttribute"},
		{vaultKeys, params{"StartTime": stamp(time.Now())}, "InvalidTimeRange"},
	} {
		if out := c.at("actiontrail.aliyuncs.com", actionTrailVersion, "LookupEvents", refused.keys, refused.p); out.code() != refused.code {
			t.Errorf("%v: %v, want %s", refused.p, out.body, refused.code)
		}
	}
}
