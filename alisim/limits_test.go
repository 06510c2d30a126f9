package alisim

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// chars is a text of n characters, digits the number n.
func chars(n int) string  { return strings.Repeat("x", n) }
func digits(n int) string { return strconv.Itoa(n) }

// documentOf is a policy document of n characters, shortDocument or more.
func documentOf(n int) string {
	const begin, end = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:`, `"}]}`
	return begin + chars(n-len(begin)-len(end)) + end
}

const shortDocument = 100

// Each parameter at its bounds, and one beyond them. The figures are those of
// the documents of RAM, STS and Resource Management.
func TestBoundsOfParameters(t *testing.T) {
	t.Parallel()
	trust := string(TrustAccount("1"))
	for _, tc := range []struct {
		action, param string
		value         func(int) string
		least, most   int
		beyond        string // the code outside; empty: InvalidParameter.<param>.Length, and Missing<param> for nothing
		rest          params // <n> is another text each time
	}{
		{"CreateUser", "UserName", chars, 1, 64, "", nil},
		{"CreateUser", "DisplayName", chars, 0, 128, "", params{"UserName": "u-<n>"}},
		{"CreateUser", "Comments", chars, 0, 128, "", params{"UserName": "u-<n>"}},
		{"CreateGroup", "GroupName", chars, 1, 64, "", nil},
		{"CreateGroup", "Comments", chars, 0, 128, "", params{"GroupName": "g-<n>"}},
		{"CreateRole", "RoleName", chars, 1, 64, "", params{"AssumeRolePolicyDocument": trust}},
		{"CreateRole", "Description", chars, 0, 1024, "", params{"RoleName": "r-<n>", "AssumeRolePolicyDocument": trust}},
		{"CreateRole", "MaxSessionDuration", digits, 3600, 43200, "InvalidParameter.MaxSessionDuration", params{"RoleName": "r-<n>", "AssumeRolePolicyDocument": trust}},
		{"UpdateRole", "NewMaxSessionDuration", digits, 3600, 43200, "InvalidParameter.NewMaxSessionDuration", params{"RoleName": "open"}},
		{"UpdateRole", "NewDescription", chars, 0, 1024, "", params{"RoleName": "open"}},
		{"CreatePolicy", "PolicyName", chars, 1, 128, "", params{"PolicyDocument": allowAll}},
		{"CreatePolicy", "Description", chars, 0, 1024, "", params{"PolicyName": "p-<n>", "PolicyDocument": allowAll}},
		{"CreatePolicy", "PolicyDocument", documentOf, shortDocument, 6144, "", params{"PolicyName": "p-<n>"}},
		{"CreateRole", "Tag.1.Key", chars, 1, 128, "InvalidParameter.Tag", params{"RoleName": "r-<n>", "AssumeRolePolicyDocument": trust}},
		{"SetAccountAlias", "AccountAlias", chars, 3, 63, "", nil},
		{"SetPasswordPolicy", "MinimumPasswordLength", digits, 8, 32, "InvalidParameter.MinimumPasswordLength.Range", nil},
		{"ListUsers", "MaxItems", digits, 1, 1000, "InvalidParameter.MaxItems", nil},
		{"ListRoles", "MaxItems", digits, 1, 1000, "InvalidParameter.MaxItems", nil},
		{"AssumeRole", "DurationSeconds", digits, 900, 43200, "InvalidParameter.DurationSeconds", params{"RoleArn": arn("long"), "RoleSessionName": "s1"}},
		{"AssumeRole", "RoleSessionName", chars, 2, 64, "InvalidParameter.RoleSessionName", params{"RoleArn": arn("open")}},
		{"AssumeRole", "Policy", documentOf, shortDocument, 2048, "InvalidParameter.PolicySize", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}},
		{"AssumeRole", "ExternalId", chars, 2, 1224, "InvalidParameter.ExternalId", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}},
		{"ListPolicyAttachments", "PageSize", digits, 1, 100, "InvalidParameter.PageSize", nil},
		{"ListPolicyAttachments", "PageNumber", digits, 1, math.MaxInt32, "InvalidParameter.PageNumber", nil},
	} {
		t.Run(tc.action+" "+tc.param, func(t *testing.T) {
			t.Parallel()
			seed := world()
			seed.Accounts[0].Roles = append(seed.Accounts[0].Roles, Role{Name: "long", TrustPolicy: TrustAccount("1"), MaxSessionDuration: 43200})
			c := start(t, Options{NoListen: true, Seed: seed})
			call := func(n int) string {
				p := maps.Clone(tc.rest)
				if p == nil {
					p = params{}
				}
				for name, value := range p {
					p[name] = strings.Replace(value, "<n>", strconv.Itoa(n), 1)
				}
				p[tc.param] = tc.value(n)
				return c.call(admin(), tc.action, p).code()
			}
			want := map[int]string{tc.least: "", tc.most: "", tc.most + 1: cmp.Or(tc.beyond, "InvalidParameter."+tc.param+".Length")}
			switch {
			case tc.least == 1 && tc.beyond == "":
				want[0] = "Missing" + tc.param
			case tc.least > 0 && tc.least != shortDocument:
				want[tc.least-1] = want[tc.most+1]
			}
			for n, code := range want {
				if got := call(n); got != code {
					t.Errorf("at %d: %q, want %q", n, got, code)
				}
			}
		})
	}
}

// A page holds as many as the client asks for, or the default, and says whether
// there are more.
func TestPageSizes(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: Seed{Accounts: []Account{{
		ID: "1", Users: []User{{Name: "admin", AccessKeys: []AccessKey{{ID: "adminkey", Secret: "adminsecret"}}, Policies: []string{"AdministratorAccess"}}},
	}}}})
	users := 1
	for _, tc := range []struct {
		users     int
		items     string
		page      int
		truncated bool
	}{
		{99, "", 99, false},
		{100, "", 100, false},
		{101, "", 100, true},
		{101, "100", 100, true},
		{101, "101", 101, false},
		{101, "1000", 101, false},
		{101, "1", 1, true},
	} {
		for ; users < tc.users; users++ {
			c.must(admin(), "CreateUser", params{"UserName": fmt.Sprintf("u%03d", users)})
		}
		p := params{}
		if tc.items != "" {
			p["MaxItems"] = tc.items
		}
		out := c.must(admin(), "ListUsers", p)
		if n := len(out.list("Users.User")); n != tc.page || (out.text("IsTruncated") == "true") != tc.truncated || (out.text("Marker") != "") != tc.truncated {
			t.Errorf("%d users, MaxItems %q: a page of %d, truncated %s, marker %q", tc.users, tc.items, n, out.text("IsTruncated"), out.text("Marker"))
		}
	}
}

// A role has 20 tags at most.
func TestBoundOfTags(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	for n, want := range map[int]string{20: "", 21: "InvalidParameter.Tag"} {
		p := params{"RoleName": fmt.Sprintf("r-%d", n), "AssumeRolePolicyDocument": string(TrustAccount("1"))}
		for i := range n {
			p[fmt.Sprintf("Tag.%d.Key", i+1)] = fmt.Sprintf("k%d", i)
		}
		if got := c.call(admin(), "CreateRole", p).code(); got != want {
			t.Errorf("%d tags: %q, want %q", n, got, want)
		}
	}
}

// The cap on pages holds for lists by number, too.
func TestPageLimitOfAttachments(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.PageLimit = 2
	c := start(t, Options{NoListen: true, Seed: granted(), Settings: &settings})
	for page, want := range map[string]int{"1": 2, "2": 1, "3": 0} {
		out := c.must(admin(), "ListPolicyAttachments", params{"ResourceGroupId": "rg-1", "PageSize": "100", "PageNumber": page})
		if n := len(out.list("PolicyAttachments.PolicyAttachment")); n != want {
			t.Errorf("page %s has %d, want %d", page, n, want)
		}
	}
}

// A request is as large as the gateway takes, or one byte larger.
func TestBoundsOfRequests(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	const form = "Action=GetUser&Version=" + ramVersion + "&X="
	for name, tc := range map[string]struct{ method, query, body, code string }{
		"query at its bound": {http.MethodGet, form + chars(maxQuery-len(form)), "", "MissingAccessKeyId"},
		"query beyond it":    {http.MethodGet, form + chars(maxQuery-len(form)+1), "", "RequestTooLarge"},
		"body at its bound":  {http.MethodPost, "Format=JSON", form + chars(maxBody-len(form)), "MissingAccessKeyId"},
		"body beyond it":     {http.MethodPost, "Format=JSON", form + chars(maxBody-len(form)+1), "RequestTooLarge"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://ram.aliyuncs.com/?"+tc.query, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", "application/json")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if out := send(t, c.client, r); out.code() != tc.code {
				t.Errorf("%v, want %s", out.body, tc.code)
			}
		})
	}
}

// Authorize asks as a caller on this machine.
func TestAuthorizeAsksFromLoopback(t *testing.T) {
	t.Parallel()
	doc := Document(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"127.0.0.0/8"}}}]}`)
	c := start(t, Options{NoListen: true, Seed: Seed{Accounts: []Account{{
		ID: "1", Policies: []Policy{{Name: "p", Document: doc}},
		Users: []User{{Name: "u", AccessKeys: []AccessKey{{ID: "ukey", Secret: "usecret"}}, Policies: []string{"p"}}},
	}}}})
	if got := c.Authorize("ukey", "oss:GetObject", "acs:oss:*:*:b/k"); got != "Allow" {
		t.Errorf("got %s", got)
	}
}

// A token of 4 to 20,000 characters is looked at. These have no three parts.
func TestBoundsOfIdentityTokens(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	for length, looked := range map[int]bool{3: false, 4: true, 20_000: true, 20_001: false} {
		out := c.withOIDC(chars(length), nil)
		if got := strings.Contains(out.text("Message"), "divided into 3 parts"); out.code() != "AuthenticationFail.OIDCToken.Invalid" || got != looked {
			t.Errorf("%d characters: %v", length, out.body)
		}
	}
}
