package alisim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// raw sends a request and returns the answer as it came.
func (c *cloud) raw(r *http.Request) (status int, header http.Header, body string) {
	c.t.Helper()
	response, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var text strings.Builder
	if err := response.Write(&text); err != nil {
		c.t.Fatal(err)
	}
	_, body, _ = strings.Cut(text.String(), "\r\n\r\n")
	return response.StatusCode, response.Header, body
}

// membersOf lists the names of a JSON object in their order.
func membersOf(t *testing.T, body string) (names []string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(body))
	depth := 0
	for name := true; ; {
		token, err := dec.Token()
		if err != nil {
			return names
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			name = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			name = depth == 1
			continue
		}
		if depth == 1 && name {
			names = append(names, token.(string))
		}
		if depth == 1 {
			name = !name
		}
	}
}

// F1.21, F1.24, F1.25: the gateway and the services order the members of a refusal differently, and both point to the
// same page with the product and the request.
func TestMembersOfARefusal(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	for _, tc := range []struct {
		name    string
		request *http.Request
		product string
		sent    string
		members string
	}{
		{
			"of the gateway", v3(t.Context(), keys{id: "none", secret: "x"}, "GetCallerIdentity", nil), "Sts",
			"Specified access key is not found.", "RequestId Message Recommend HostId Code",
		},
		{
			"of RAM", v3(t.Context(), admin(), "GetUser", params{"UserName": "none"}), "Ram",
			"The user does not exist.", "RequestId HostId Code Message Recommend",
		},
		{
			"of RAM, about rights", v3(t.Context(), of("nobody"), "CreateRole", params{"RoleName": "x", "AssumeRolePolicyDocument": "{}"}), "Ram",
			"You are not authorized to do this action. Resource: acs:ram:*:1:role/* Action: ram:CreateRole",
			"RequestId HostId Code Message Recommend AccessDeniedDetail",
		},
		{
			"of STS, about rights", v3(t.Context(), of("nobody"), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}), "Sts",
			"You are not authorized to do this action. You should be authorized by RAM.",
			"RequestId HostId Code Message Recommend AccessDeniedDetail",
		},
	} {
		_, _, body := c.raw(tc.request)
		var out struct{ RequestId, Code, Message, Recommend string }
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(membersOf(t, body), " "); got != tc.members || out.Message != tc.sent {
			t.Errorf("%s: %s: %q", tc.name, got, out.Message)
		}
		recommend := "https://api.aliyun.com/troubleshoot?q=" + out.Code + "&product=" + tc.product + "&requestId=" + out.RequestId
		if !strings.Contains(body, `"Recommend":"`+recommend+`"`) {
			t.Errorf("%s: %s", tc.name, body)
		}
	}
}

// F1.23: the refusal of a signature quotes what should have been signed, which holds the parameters of the request.
func TestSignatureMismatchQuotesTheRequest(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	session := c.must(admin(), "AssumeRole", params{"RoleArn": arn("open"), "RoleSessionName": "s1"}).keys()
	wrong := session
	wrong.secret = "wrong"
	const sentence = "Specified signature is not matched with our calculation. server string to sign is:"
	out := send(t, c.client, v1(t.Context(), http.MethodPost, wrong, "GetUser", params{"UserName": "a b"}, nil))
	quoted, ok := strings.CutPrefix(out.text("Message"), sentence+"POST&%2F&AccessKeyId%3D"+session.id)
	if !ok || !strings.Contains(quoted, "UserName%3Da%2520b") || !strings.Contains(quoted, rfc3986(rfc3986(session.token))) {
		t.Errorf("V1: %v", out.body)
	}
	out = c.call(wrong, "GetUser", params{"UserName": "a b"})
	if !regexp.MustCompile("^" + regexp.QuoteMeta(sentence) + "ACS3-HMAC-SHA256\n[0-9a-f]{64}$").MatchString(out.text("Message")) {
		t.Errorf("V3: %v", out.body)
	}
	for _, call := range c.Journal() {
		if strings.Contains(strings.Join(values(call.Params), " "), session.token) {
			t.Errorf("the journal keeps the token: %+v", call)
		}
	}
}

// F1.26: the sentences about policies are free; where the cloud's own is known, it is that.
func TestSentencesAboutPolicies(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	for document, want := range map[string]string{
		`{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*"}]}`:                                                           "Add an Action or NotAction element to the policy statement.",
		`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"acs:SourceIp":"true"}}}]}`: "The condition operator 'IfExists/Null' is not supported.",
		`{`: "The policy document is invalid. ",
	} {
		out := c.refused(admin(), "CreatePolicy", params{"PolicyName": "p", "PolicyDocument": document}, 400, "MalformedPolicyDocument")
		if !strings.HasPrefix(out.text("Message"), want) {
			t.Errorf("%s: %s", document, out.text("Message"))
		}
	}
}

// F1.31: an account that never activated RAM is refused by it, and by STS, behind the check of its key.
func TestInactiveAccount(t *testing.T) {
	t.Parallel()
	seed := world()
	seed.Accounts[0].Inactive = true
	c := start(t, Options{NoListen: true, Seed: seed})
	for _, action := range []string{"ListUsers", "GetCallerIdentity", "ListPolicyAttachments"} {
		c.refused(admin(), action, nil, 404, "Inactive")
	}
	c.refused(of("none"), "ListUsers", nil, 404, "InvalidAccessKeyId.NotFound")
	c.must(of("other"), "ListUsers", nil)
}

// F1.32: a refusal may carry the pause that the service asks for, with any code.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const limit, pause = "X-Ratelimit-User-Api", "X-Acs-Retry-After"
	for _, tc := range []struct {
		name  string
		fault Fault
		code  string
		want  map[string]string
	}{
		{"throttled", Fault{Kind: FaultThrottle}, "Throttling.User", map[string]string{limit: "Limit:100,Remain:0,TimeLeft:1000"}},
		{"pause", Fault{Kind: FaultThrottle, RetryAfter: 1500 * time.Millisecond}, "Throttling.User", map[string]string{pause: "1500"}},
		{
			"both", Fault{Kind: FaultThrottle, RetryAfter: time.Second, Delay: 2 * time.Second}, "Throttling.User",
			map[string]string{pause: "1000", limit: "Limit:100,Remain:0,TimeLeft:2000"},
		},
		{"another code", Fault{Kind: FaultRefuse, Code: "ServiceUnavailable", RetryAfter: time.Second}, "ServiceUnavailable", map[string]string{pause: "1000"}},
	} {
		c := start(t, Options{NoListen: true})
		c.fault(tc.fault)
		out := c.call(vaultKeys, "GetCallerIdentity", nil)
		for _, name := range []string{limit, pause} {
			if got := out.header.Get(name); out.code() != tc.code || got != tc.want[name] {
				t.Errorf("%s: %s, %s %q", tc.name, out.code(), name, got)
			}
		}
	}
	if err := start(t, Options{NoListen: true}).AddFault(Fault{Kind: FaultThrottle, RetryAfter: -1}); err == nil {
		t.Error("a negative pause is accepted")
	}
	var f Fault
	if err := json.Unmarshal([]byte(`{"kind":"throttle","retry_after":"1500ms"}`), &f); err != nil || f.RetryAfter != 1500*time.Millisecond {
		t.Errorf("%v %v", f, err)
	}
}

// F1.33: by setting an unknown key has the shorter code.
func TestCodeOfAnUnknownKey(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.UnknownKeyCode = UnknownKeyShort
	c := start(t, Options{NoListen: true, Settings: &settings})
	out := c.refused(of("none"), "GetCallerIdentity", nil, 404, "InvalidAccessKeyId")
	if out.text("Message") != "Specified access key is not found or invalid." {
		t.Errorf("%v", out.body)
	}
	settings.UnknownKeyCode = "NoSuchKey"
	if c.Configure(settings) == nil {
		t.Error("a code that the gateway has nowhere is accepted")
	}
}

// F1.34: after a detachment the list of a policy's entities lags behind the attachments themselves.
func TestListOfEntitiesLagsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.Propagation.Attachment = 2 * time.Second
		c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
		policy := params{"PolicyType": "Custom", "PolicyName": "p"}
		held := params{"PolicyType": "Custom", "PolicyName": "p", "RoleName": "open"}
		listed := func() int { return len(c.must(admin(), "ListEntitiesForPolicy", policy).list("Roles.Role")) }
		c.run(
			admin(),
			step{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
			step{"AttachPolicyToRole", held, ""},
			step{"DetachPolicyFromRole", held, ""},
			step{"DetachPolicyFromRole", held, "EntityNotExist.Role.Policy"},
		)
		if listed() != 1 {
			t.Error("the list knows of the detachment at once")
		}
		time.Sleep(2 * time.Second)
		if listed() != 0 {
			t.Error("the list never learns of the detachment")
		}
	})
}

// F1.35, F1.36: ids, secrets and request ids have the forms of those that were seen.
func TestForms(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	uuid5 := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-5[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	id, secret := regexp.MustCompile(`^STS\.N[A-Za-z0-9]{24}$`), regexp.MustCompile(`^[A-Za-z0-9]{43,44}$`)
	for range 4000 { // one secret in a thousand would be too short
		out := c.must(vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "s1"})
		if k := out.keys(); !id.MatchString(k.id) || !secret.MatchString(k.secret) || !strings.HasPrefix(k.token, "CAIS") {
			t.Fatalf("%v", out.body)
		}
		if got := out.text("RequestId"); !uuid5.MatchString(got) {
			t.Fatalf("request id %s", got)
		}
	}
}

// F1.37: what makes a role or a group does not say when it was changed; what reads it does.
func TestMadeHasNoUpdateDate(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	trust := string(TrustAccount(DefaultAccountID))
	for _, tc := range []struct {
		action, what string
		p            params
		want         bool
	}{
		{"CreateRole", "Role", params{"RoleName": "r", "AssumeRolePolicyDocument": trust}, false},
		{"GetRole", "Role", params{"RoleName": "r"}, true},
		{"UpdateRole", "Role", params{"RoleName": "r"}, true},
		{"CreateGroup", "Group", params{"GroupName": "g"}, false},
		{"GetGroup", "Group", params{"GroupName": "g"}, true},
	} {
		out := c.must(vaultKeys, tc.action, tc.p)
		if got := out.text(tc.what+".UpdateDate") != ""; got != tc.want || out.text(tc.what+".CreateDate") == "" {
			t.Errorf("%s: %v", tc.action, out.body)
		}
	}
}

// F1.27: with both ARNs malformed it is the provider's that is complained of.
func TestProviderARNComesFirst(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: SourcesSeed()})
	out := c.withOIDC("x", params{"OIDCProviderArn": "p", "RoleArn": "r"})
	if out.code() != "AuthenticationFail.NoPermission" || out.text("Message") != "Parameter OIDCProviderArn is not valid" {
		t.Errorf("%v", out.body)
	}
	if out := c.withOIDC("x", params{"RoleArn": "r"}); out.code() != "InvalidParameter.RoleArn" {
		t.Errorf("%v", out.body)
	}
}

// F1.28, F1.39: CloudSSO looks at the account id before the token, and lists what can be chosen.
func TestCloudSSOAssignments(t *testing.T) {
	t.Parallel()
	seed := SourcesSeed()
	seed.Accounts[0].Alias = "corp"
	config := &seed.Sources.CloudSSO
	config.AccessConfigurations = append(config.AccessConfigurations,
		AccessConfiguration{ID: "ac-2", RoleARN: DefaultRoleARN}, AccessConfiguration{ID: "ac-3", RoleARN: "acs:ram::2:role/x"})
	c := start(t, Options{Seed: seed})
	get := func(path, token string) result {
		return c.ask("GET", ssoOrigin+path, "", "Authorization", "Bearer "+token, "Accept", "application/json")
	}
	bad := c.sso(ssoOrigin, "/cloud-credentials", "no", params{"AccountId": "corp!", "AccessConfigurationId": "ac-2"})
	if bad.status != 400 || bad.text("ErrorCode") != "InvalidParameter.AccountId.InvalidChars" {
		t.Errorf("%d %v", bad.status, bad.body)
	}
	if out := get("/access-assignments/accounts", "no"); out.status != 401 || out.text("ErrorCode") != "InvalidAccessTokenError" {
		t.Errorf("%d %v", out.status, out.body)
	}
	all := func(path, list, name string) (got []string) {
		t.Helper()
		next := ""
		for {
			out := get(path+"&MaxResults=1"+next, DefaultCloudSSOToken)
			if out.status != 200 {
				t.Fatalf("%d %v", out.status, out.body)
			}
			for _, item := range out.list(list) {
				got = append(got, item[name].(string))
			}
			if out.text("IsTruncated") != "true" {
				return got
			}
			next = "&NextToken=" + out.text("NextToken")
		}
	}
	if got := all("/access-assignments/accounts?", "Accounts", "DisplayName"); !slices.Equal(got, []string{"corp", "2"}) {
		t.Errorf("accounts %v", got)
	}
	got := all("/access-assignments/access-configurations?AccountId="+DefaultAccountID, "AccessConfigurationsForAccount", "AccessConfigurationId")
	if want := []string{"ac-2", DefaultAccessConfiguration}; !slices.Equal(got, want) {
		t.Errorf("access configurations %v, want %v", got, want)
	}
	for query, code := range map[string]string{"?MaxResults=0": "InvalidParameterError", "?NextToken=x": "InvalidParameterError"} {
		if out := get("/access-assignments/accounts"+query, DefaultCloudSSOToken); out.status != 400 || out.text("ErrorCode") != code {
			t.Errorf("%s: %d %v", query, out.status, out.body)
		}
	}
	if out := get("/access-assignments/access-configurations", DefaultCloudSSOToken); out.status != 400 {
		t.Errorf("no account: %d %v", out.status, out.body)
	}
}

// A nonce can be used again only when 15 minutes have passed, and those of that time are all remembered.
func TestNoncesAreRememberedFor15Minutes(t *testing.T) {
	t.Parallel()
	var n nonces
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 20 {
		if !n.use(now.Add(time.Duration(i)*time.Minute), "k", string(rune('a'+i))) {
			t.Fatalf("nonce %d is taken", i)
		}
	}
	if n.use(now.Add(20*time.Minute), "k", string(rune('a'+6))) {
		t.Error("a nonce of 14 minutes ago is forgotten")
	}
	if !n.use(now.Add(32*time.Minute), "k", "a") {
		t.Error("a nonce is remembered for ever")
	}
}

// The order of checks that was seen: the key and its signature before the parameters, and the right before the entity.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true, Seed: world()})
	bad := params{"RoleArn": "x", "RoleSessionName": "x"}
	c.refused(of("none"), "AssumeRole", bad, 404, "InvalidAccessKeyId.NotFound")
	c.refused(keys{id: "adminkey", secret: "wrong"}, "AssumeRole", bad, 400, "SignatureDoesNotMatch")
	c.refused(of("nobody"), "AssumeRole", bad, 400, "InvalidParameter.RoleArn")
	c.refused(of("nobody"), "GetRole", params{"RoleName": "none"}, 403, "NoPermission")
	c.refused(admin(), "GetRole", params{"RoleName": "none"}, 404, "EntityNotExist.Role")
	c.must(admin(), "DeleteAccessKey", params{"UserName": "member", "UserAccessKeyId": "memberkey"}) // an active key
	root := c.must(of("root"), "GetCallerIdentity", nil)
	if root.text("IdentityType") != "Account" || root.text("PrincipalId") != "1" || root.text("UserId") != "1" || root.text("AccountId") != "1" {
		t.Errorf("root is %v", root.body)
	}
}
