package alisim

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seen is an answer of the cloud: a row of testdata/answers.jsonl.
type seen struct {
	Service string            `json:"service"`
	Action  string            `json:"action"`
	Status  int               `json:"http_status"` // 0: not known
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"` // empty: not known
	Code    string            `json:"code"`
	Kind    string            `json:"kind"` // field, vendor-example, vendor-table
	Source  string            `json:"source"`
	Note    string            `json:"note"` // of a vendor-table: the sentence
}

// scene brings the simulator into the situation that an answer was seen in.
type scene struct {
	settings func(*Settings)
	fault    Fault  // if it has a kind
	before   []step // of the administrator, all must succeed
	caller   keys   // default: the administrator
	action   string // default: of the row
	params   params
	send     func(*cloud, bool) *http.Request // what is no call with a signature of V1; the bool asks for XML
}

// stage is what all scenes have: the sources, and callers of every kind.
func stage() Seed {
	seed := SourcesSeed()
	a := &seed.Accounts[0]
	a.AccessKeys = []AccessKey{{ID: "rootkey", Secret: "rootsecret"}}
	a.Policies = []Policy{{Name: "p", Description: "a policy", Document: allowAll}}
	a.Users = append(a.Users,
		User{Name: "alice", DisplayName: "Alice", Comments: "an engineer", AccessKeys: []AccessKey{{ID: "alicekey", Secret: "alicesecret"}}},
		User{Name: "nobody", AccessKeys: []AccessKey{{ID: "nobodykey", Secret: "nobodysecret"}}},
	)
	a.Roles = append(a.Roles, Role{Name: "r", Description: "a role", TrustPolicy: TrustAccount(DefaultAccountID)})
	seed.Accounts = append(seed.Accounts, Account{ID: "2", Alias: "taken"})
	seed.Sources.CloudSSO.ManualApproval = true
	return seed
}

// TestSimulatorAnswersLikeTheCloud holds the simulator to answers of the cloud that were seen: status, code, names and
// order of members, sentence. What is not like them, and what cannot be staged, is in testdata/answers.golden with a
// reason; a row there that has become like the cloud's is an error too.
func TestSimulatorAnswersLikeTheCloud(t *testing.T) {
	t.Parallel()
	rows, known, stages := readAnswers(t), readGolden(t), scenes()
	like, differ, unstaged := 0, 0, 0
	for i, row := range rows {
		number := i + 1
		sc, staged := sceneOf(stages, row)
		got := "not staged"
		if staged {
			got = strings.Join(row.compare(t, sc), " ")
		}
		want, reason := known[number].got, known[number].reason
		delete(known, number)
		switch {
		case got == "" && want == "":
			like++
		case got == "":
			t.Errorf("row %d (%s %s %s) is like the cloud's now: take it out of the golden file", number, row.Service, row.Action, row.Code)
		case got != want:
			t.Errorf("row %d (%s %s %s): %q, and in the golden file %q", number, row.Service, row.Action, row.Code, got, want)
		case reason == "":
			t.Errorf("row %d: the golden file has no reason", number)
		case got == "not staged":
			unstaged++
		default:
			differ++
		}
	}
	for number := range known {
		t.Errorf("the golden file has a row %d that is not there", number)
	}
	t.Logf("rows %d like the cloud %d differ %d not staged %d", len(rows), like, differ, unstaged)
}

func readAnswers(t *testing.T) (rows []seen) {
	t.Helper()
	f, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var row seen
		if err := decodeStrict(lines.Bytes(), &row); err != nil {
			t.Fatalf("row %d: %v", len(rows)+1, err)
		}
		rows = append(rows, row)
	}
	if len(rows) < 200 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows
}

type difference struct{ got, reason string }

// readGolden reads lines of the form "8 status members: reason".
func readGolden(t *testing.T) map[int]difference {
	t.Helper()
	text, err := os.ReadFile("testdata/answers.golden")
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]difference{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, reason, _ := strings.Cut(line, ": ")
		number, got, _ := strings.Cut(head, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("golden file: %q", line)
		}
		out[n] = difference{got, reason}
	}
	return out
}

// sceneOf finds the scene of a row: the one of its action, code and sentence, or of fewer of them.
func sceneOf(stages map[string]scene, row seen) (scene, bool) {
	named := strings.TrimSpace(row.Service + " " + row.Action + " " + row.Code)
	for _, name := range []string{named + ": " + row.sentence(), named, row.Service + " " + row.Code, row.Code} {
		if sc, ok := stages[name]; ok && name != "" {
			if sc.action == "" {
				sc.action = row.Action
			}
			return sc, true
		}
	}
	return scene{}, false
}

// compare plays a scene and names what is not as in the row: status, code, sentence, recommend, members, format, header.
func (row seen) compare(t *testing.T, sc scene) (differences []string) {
	t.Helper()
	settings := DefaultSettings()
	if sc.settings != nil {
		sc.settings(&settings)
	}
	c := start(t, Options{NoListen: true, Seed: stage(), Settings: &settings})
	c.run(vaultKeys, sc.before...)
	if sc.fault.Kind != "" {
		c.fault(sc.fault)
	}
	asXML := strings.HasPrefix(strings.TrimSpace(row.Body), "<")
	if sc.send == nil {
		sc.send = func(c *cloud, asXML bool) *http.Request {
			caller := sc.caller
			if caller.id == "" {
				caller = vaultKeys
			}
			return v1(t.Context(), http.MethodPost, caller, sc.action, sc.params, func(p params) {
				if asXML {
					p["Format"] = "XML"
				}
			})
		}
	}
	status, header, body := c.raw(sc.send(c, asXML))
	if row.Status != 0 && row.Status != status {
		differences = append(differences, "status")
	}
	var out struct {
		Code, Message    string
		ErrorCode        string // CloudSSO
		Error            string `json:"error"`             // OAuth
		ErrorDescription string `json:"error_description"` // OAuth
	}
	if !asXML && strings.HasPrefix(body, "{") {
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatal(err)
		}
	}
	if row.Code != "" && row.Code != out.Code+out.ErrorCode+out.Error {
		differences = append(differences, "code")
	}
	if want := row.sentence(); want != "" && want != sentenceOf(out.Message+out.ErrorDescription) {
		differences = append(differences, "sentence")
	}
	if want := recommendOf(row.Body); want != "" && want != recommendOf(body) {
		differences = append(differences, "recommend")
	}
	if row.Body != "" && !row.membersLike(body) {
		differences = append(differences, "members")
	}
	if row.Body != "" && !strings.HasPrefix(row.Body, "{") && !asXML && strings.HasPrefix(body, "{") {
		differences = append(differences, "format")
	}
	for name := range row.Headers {
		if header.Get(name) == "" {
			differences = append(differences, "header")
		}
	}
	return differences
}

// How notes quote the message of an answer whose body was not kept.
var quotedInNotes = []*regexp.Regexp{
	regexp.MustCompile(`(?:Message: |ErrorMessage=)(.+)$`),
	regexp.MustCompile(`Error:[\w.]+ (.+?)(?: RequestID: .*)?$`),
	regexp.MustCompile(`^\d{4}-\d\d: (.+) Code: \w+$`),
}

// sentence is the message of a row; empty if it is not known.
func (row seen) sentence() string {
	var out struct {
		Message          string
		ErrorDescription string `json:"error_description"` // OAuth
	}
	switch {
	case row.Kind == "vendor-table" && !strings.HasPrefix(row.Note, "vendor table: "):
		return sentenceOf(row.Note)
	case row.Code == "":
		return ""
	case strings.HasPrefix(row.Body, "{") && json.Unmarshal([]byte(row.Body), &out) == nil:
		return sentenceOf(out.Message + out.ErrorDescription)
	}
	for _, quoted := range quotedInNotes {
		if m := quoted.FindStringSubmatch(row.Note); m != nil && !strings.HasPrefix(m[1], "RequestID") {
			return sentenceOf(m[1])
		}
	}
	return ""
}

var accountInARN = regexp.MustCompile(`acs:ram:\*:[0-9]+:`)

// sentenceOf takes out of a message what is the request's own, the number of the account and the string to sign, and
// the full stop, which notes leave out.
func sentenceOf(message string) string {
	before, _, quotes := strings.Cut(message, " is:")
	if quotes {
		before += " is:"
	}
	return strings.TrimSuffix(accountInARN.ReplaceAllString(before, "acs:ram:*:N:"), ".")
}

var (
	recommended = regexp.MustCompile(`"Recommend":"([^"]*)"`)
	ownOfCall   = regexp.MustCompile(`(product|requestId)=[^&]*`)
)

// recommendOf is the form of Recommend in a body; empty if there is none.
func recommendOf(body string) string {
	m := recommended.FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return ownOfCall.ReplaceAllString(m[1], "$1=")
}

// membersLike compares the members of two bodies. Examples in JSON come from a tool that keeps no order, which two
// examples of one action show; all other bodies must have theirs.
func (row seen) membersLike(body string) bool {
	var want, got []string
	switch {
	case strings.HasPrefix(strings.TrimSpace(row.Body), "<"):
		want, got = elementsOf(row.Body), elementsOf(body)
	case strings.HasPrefix(row.Body, "{") && strings.HasPrefix(body, "{"):
		want, got = pathsOf(row.Body), pathsOf(body)
	default:
		return true
	}
	if row.Kind == "vendor-example" && strings.HasPrefix(row.Body, "{") {
		slices.Sort(want)
		slices.Sort(got)
	}
	return slices.Equal(want, got)
}

// pathsOf lists the members of a JSON object with those of the objects in it, in their order; of a list, those of its
// first item.
func pathsOf(text string) []string {
	var out []string
	dec := json.NewDecoder(strings.NewReader(text))
	var walk func(path string)
	walk = func(path string) {
		token, err := dec.Token()
		if err != nil {
			return
		}
		switch token {
		case json.Delim('{'):
			for dec.More() {
				name, _ := dec.Token()
				below := path + "." + fmt.Sprint(name)
				out = append(out, below)
				walk(below)
			}
			_, _ = dec.Token()
		case json.Delim('['):
			for dec.More() {
				walk(path + "[]")
			}
			_, _ = dec.Token()
		}
	}
	walk("")
	return unique(out)
}

// elementsOf lists the elements of XML in their order. An example may lack the root.
func elementsOf(text string) []string {
	var out, path []string
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return []string{err.Error()}
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			if rest := path; len(rest) > 0 {
				if strings.HasSuffix(rest[0], "Response") {
					rest = rest[1:]
				}
				if len(rest) > 0 {
					out = append(out, strings.Join(rest, "."))
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	return unique(out)
}

// unique drops what has been there before.
func unique(names []string) (out []string) {
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// The scenes, by service, action and code of the rows they are for, or by code alone.
func scenes() map[string]scene {
	trust := string(TrustAccount(DefaultAccountID))
	long := strings.Repeat("x", 1025)
	device := func(name string) string { return "acs:ram::" + DefaultAccountID + ":mfa/" + name }
	user := func(more ...string) params { return with(params{"UserName": "alice"}, more...) }
	custom := func(more ...string) params { return with(params{"PolicyType": "Custom", "PolicyName": "p"}, more...) }
	newPolicy := func(more ...string) params {
		return with(params{"PolicyName": "q", "PolicyDocument": allowAll}, more...)
	}
	assume := func(more ...string) params {
		return with(params{"RoleArn": DefaultRoleARN, "RoleSessionName": "session"}, more...)
	}
	bind := func(more ...string) params {
		return with(params{"UserName": "alice", "SerialNumber": device("d"), "AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}, more...)
	}
	do := func(action string, p params) step { return step{action, p, ""} }
	makeDevice := do("CreateVirtualMFADevice", params{"VirtualMFADeviceName": "d"})
	grouped := []step{do("CreateGroup", params{"GroupName": "g"}), do("AddUserToGroup", user("GroupName", "g"))}
	version := do("CreatePolicyVersion", params{"PolicyName": "p", "PolicyDocument": allowAll})
	none := func(change func(*Quotas)) func(*Settings) { return func(s *Settings) { change(&s.Quotas) } }
	wrong := keys{id: DefaultAccessKeyID, secret: "wrong"}
	tokenless := func(c *cloud) keys {
		k := c.must(vaultKeys, "AssumeRole", assume()).keys()
		k.token = ""
		return k
	}
	v1With := func(action string, p params, k func(*cloud) keys, change func(params)) func(*cloud, bool) *http.Request {
		return func(c *cloud, _ bool) *http.Request {
			caller := vaultKeys
			if k != nil {
				caller = k(c)
			}
			return v1(c.t.Context(), http.MethodPost, caller, action, p, change)
		}
	}
	plain := func(method, target, body string, headers ...string) func(*cloud, bool) *http.Request {
		return func(c *cloud, _ bool) *http.Request {
			r, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
			if err != nil {
				c.t.Fatal(err)
			}
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			return r
		}
	}
	oidc := func(change params) func(*cloud, bool) *http.Request {
		return func(c *cloud, asXML bool) *http.Request {
			p := params{
				"Action": "AssumeRoleWithOIDC", "Version": stsVersion, "Format": "JSON", "RoleArn": DefaultPodRoleARN,
				"OIDCProviderArn": DefaultOIDCProviderARN, "OIDCToken": c.token(IdentityToken{}), "RoleSessionName": "pod",
			}
			if asXML {
				p["Format"] = "XML"
			}
			for name, value := range change {
				p[name] = value
			}
			return plain(http.MethodPost, "https://sts.aliyuncs.com/", sortedQuery(p), "Content-Type", "application/x-www-form-urlencoded")(c, asXML)
		}
	}
	regions := func(k keys) func(*cloud, bool) *http.Request {
		return func(c *cloud, _ bool) *http.Request {
			r := v3(c.t.Context(), k, "DescribeRegions", nil)
			r.URL.Host, r.Host = "ecs.aliyuncs.com", "ecs.aliyuncs.com"
			r.Header.Set("x-acs-version", "2014-05-26")
			resignV3(r, k, nil)
			return r
		}
	}
	exchange := func(c *cloud, _ bool) *http.Request {
		first := c.oauth("https://oauth.aliyun.com", params{"grant_type": "refresh_token", "client_id": OAuthClientCN, "refresh_token": DefaultRefreshToken})
		c.Advance(2 * 3600e9)
		return plain(http.MethodPost, "https://oauth.aliyun.com/v1/exchange", "", "Authorization", "Bearer "+first.text("access_token"))(c, false)
	}
	waiting := func(c *cloud, _ bool) *http.Request {
		login := c.sso(ssoOrigin, "/device-authorization", "", params{
			"PortalUrl": ssoOrigin, "ClientId": "app", "CodeChallenge": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "CodeChallengeMethod": "S256",
		})
		return plain(http.MethodPost, ssoOrigin+"/token", `{"GrantType":"`+deviceGrant+`","ClientId":"app","DeviceCode":"`+login.text("DeviceCode")+`","CodeVerifier":""}`,
			"Content-Type", "application/json")(c, false)
	}
	refused := func(code string, status int) scene {
		return scene{fault: Fault{Kind: FaultRefuse, Code: code, Status: status}, action: "GetCallerIdentity"}
	}
	throttled := func(code string, status int) scene {
		return scene{fault: Fault{Kind: FaultThrottle, Code: code, Status: status, RetryAfter: 123e6}, action: "GetCallerIdentity"}
	}
	const expired = "2020-01-01T00:00:00Z"
	return map[string]scene{
		// What was seen in the field.
		"ram CreateRole NoPermission": {
			caller: of("nobody"), params: params{"RoleName": "x", "AssumeRolePolicyDocument": trust},
		},
		"ram DetachPolicyFromRole EntityNotExist.Role.Policy":                    {params: custom("RoleName", "r")},
		"ram CreatePolicy MalformedPolicyDocument":                               {params: newPolicy("PolicyDocument", `{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*"}]}`)},
		"ram AddUserToGroup EntityAlreadyExists.User.Group":                      {before: grouped, params: user("GroupName", "g")},
		"ram GetUserMFAInfo EntityNotExist.User.MFADevice":                       {params: user()},
		"sts AssumeRole NoPermission: Roles may not be assumed by root accounts": {caller: of("root"), params: assume()},
		"sts AssumeRole NoPermission":                                            {caller: of("nobody"), params: assume()},
		"sts AssumeRole MissingSecurityToken":                                    {send: v1With("AssumeRole", assume(), tokenless, nil)},
		"sts GetCallerIdentity MissingSecurityToken":                             {send: v1With("GetCallerIdentity", nil, tokenless, nil)},
		"gateway any MissingSecurityToken":                                       {send: v1With("ListUsers", nil, tokenless, nil)},
		"sts AssumeRole SignatureDoesNotMatch":                                   {caller: wrong, params: assume()},
		"sts AssumeRole InvalidParameter.RoleSessionName":                        {params: assume("RoleSessionName", "s")},
		"sts GetCallerIdentity":                                                  {},
		"sts AssumeRole":                                                         {params: assume()},
		"gateway SignatureDoesNotMatch":                                          {caller: wrong, action: "GetUser", params: user()},
		"gateway InvalidTimeStamp.Expired":                                       {send: v1With("ListUsers", nil, nil, func(p params) { p["Timestamp"] = expired })},
		"gateway InvalidAccessKeyId.NotFound":                                    {caller: of("none"), action: "ListUsers"},
		"gateway InvalidAccessKeyId":                                             {settings: func(s *Settings) { s.UnknownKeyCode = UnknownKeyShort }, caller: of("none"), action: "ListUsers"},
		"gateway SignatureNonceUsed":                                             {send: usedNonce},
		"gateway DescribeDomains Throttling.User":                                throttled("", 0),
		"gateway any Throttling":                                                 throttled("Throttling", 0),
		"gateway GetInstanceScreenshot Throttling":                               throttled("Throttling", 429),
		"gateway DescribeEniMonitorData Throttling":                              throttled("Throttling", 403),
		"gateway any Throttling.Api":                                             throttled("Throttling.Api", 0),
		"gateway ListCluster ServiceUnavailable":                                 refused("ServiceUnavailable", 0),
		"gateway Forbidden.RAM":                                                  {send: regions(of("nobody"))},
		"sts AssumeRoleWithOIDC AuthenticationFail.NoPermission":                 {send: oidc(params{"OIDCProviderArn": "p", "RoleArn": "r"})},
		"sts AssumeRoleWithOIDC AuthenticationFail.OIDCToken.Invalid":            {send: oidc(params{"OIDCToken": "x"})},
		"imds credentials":                                                       {send: plain(http.MethodGet, "http://100.100.100.200/latest/meta-data/Ram/security-credentials/node", "")},
		"imds role list":                                                         {send: plain(http.MethodGet, "http://100.100.100.200/latest/meta-data/ram/security-credentials/", "")},
		"oauth exchange expired_token":                                           {send: exchange},
		"cloudsso token (device flow) AuthorizationPending":                      {send: waiting},

		// The vendor's examples.
		"sts AssumeRoleWithOIDC":   {send: oidc(nil)},
		"ram CreateUser":           {params: params{"UserName": "bob", "DisplayName": "Bob", "MobilePhone": "86-18688880000", "Email": "bob@example.com", "Comments": "x"}},
		"ram GetUser":              {params: user()},
		"ram DeleteUser":           {before: []step{do("DeleteAccessKey", user("UserAccessKeyId", "alicekey"))}, params: user()},
		"ram ListUsers":            {params: params{"MaxItems": "2"}},
		"ram CreateAccessKey":      {params: user()},
		"ram UpdateAccessKey":      {params: user("UserAccessKeyId", "alicekey", "Status", "Inactive")},
		"ram DeleteAccessKey":      {params: user("UserAccessKeyId", "alicekey")},
		"ram ListAccessKeys":       {params: user()},
		"ram GetAccessKeyLastUsed": {params: user("UserAccessKeyId", "alicekey")},
		"ram GetPolicy":            {params: custom()},
		"ram DeletePolicy":         {params: params{"PolicyName": "p"}},
		"ram CreatePolicyVersion":  {params: params{"PolicyName": "p", "PolicyDocument": allowAll}},
		"ram ListPolicyVersions":   {params: custom()},
		"ram AttachPolicyToUser":   {params: custom("UserName", "alice")},
		"ram DetachPolicyFromUser": {before: []step{do("AttachPolicyToUser", custom("UserName", "alice"))}, params: custom("UserName", "alice")},
		"ram AttachPolicyToRole":   {params: custom("RoleName", "r")},
		"ram DetachPolicyFromRole": {before: []step{do("AttachPolicyToRole", custom("RoleName", "r"))}, params: custom("RoleName", "r")},
		"ram ListPoliciesForUser":  {before: []step{do("AttachPolicyToUser", custom("UserName", "alice"))}, params: user()},
		"ram ListPoliciesForRole":  {before: []step{do("AttachPolicyToRole", custom("RoleName", "r"))}, params: params{"RoleName": "r"}},
		"ram ListEntitiesForPolicy": {
			before: []step{
				do("CreateGroup", params{"GroupName": "g"}), do("AttachPolicyToGroup", custom("GroupName", "g")),
				do("AttachPolicyToRole", custom("RoleName", "r")), do("AttachPolicyToUser", custom("UserName", "alice")),
			},
			params: custom(),
		},
		"ram AddUserToGroup":    {before: grouped[:1], params: user("GroupName", "g")},
		"ram ListGroupsForUser": {before: grouped, params: user()},
		"ram GetGroup":          {before: grouped[:1], params: params{"GroupName": "g"}},
		"ram CreateRole":        {params: params{"RoleName": "x", "AssumeRolePolicyDocument": trust}},
		"ram GetRole":           {params: params{"RoleName": "r"}},
		"ram DeleteRole":        {params: params{"RoleName": "r"}},
		"ram ListRoles":         {send: listRolesPage},
		"ram UnbindMFADevice":   {before: []step{makeDevice, do("BindMFADevice", bind())}, params: user()},
		"ram DeleteLoginProfile": {
			before: []step{do("CreateLoginProfile", user("Password", "abcDEF123!"))}, params: user(),
		},
		"ram DecodeDiagnosticMessage": {send: decoding},

		// The vendor's tables of errors.
		"InvalidParameter.UserName.InvalidChars":             {action: "CreateUser", params: params{"UserName": "a b"}},
		"InvalidParameter.UserName.Length":                   {action: "CreateUser", params: params{"UserName": long}},
		"InvalidParameter.NewUserName.InvalidChars":          {action: "UpdateUser", params: user("NewUserName", "a b")},
		"InvalidParameter.NewUserName.Length":                {action: "UpdateUser", params: user("NewUserName", long)},
		"InvalidParameter.DisplayName.InvalidChars":          {action: "CreateUser", params: params{"UserName": "bob", "DisplayName": "a\nb"}},
		"InvalidParameter.DisplayName.Length":                {action: "CreateUser", params: params{"UserName": "bob", "DisplayName": long}},
		"InvalidParameter.NewDisplayName.InvalidChars":       {action: "UpdateUser", params: user("NewDisplayName", "a\tb")},
		"InvalidParameter.NewDisplayName.Length":             {action: "UpdateUser", params: user("NewDisplayName", long)},
		"InvalidParameter.MobilePhone.Format":                {action: "CreateUser", params: params{"UserName": "bob", "MobilePhone": "call me"}},
		"InvalidParameter.NewMobilePhone.Format":             {action: "UpdateUser", params: user("NewMobilePhone", "call me")},
		"InvalidParameter.Email.Format":                      {action: "CreateUser", params: params{"UserName": "bob", "Email": "x"}},
		"InvalidParameter.NewEmail.Format":                   {action: "UpdateUser", params: user("NewEmail", "x")},
		"InvalidParameter.Comments.Length":                   {action: "CreateUser", params: params{"UserName": "bob", "Comments": long}},
		"InvalidParameter.NewComments.Length":                {action: "UpdateUser", params: user("NewComments", long)},
		"InvalidParameter.Password.TooWeak":                  {action: "CreateLoginProfile", params: user("Password", "12345678")},
		"InvalidParameter.VirtualMFADeviceName.InvalidChars": {action: "CreateVirtualMFADevice", params: params{"VirtualMFADeviceName": "a b"}},
		"InvalidParameter.VirtualMFADeviceName.Length":       {action: "CreateVirtualMFADevice", params: params{"VirtualMFADeviceName": long}},
		"InvalidParameter.GroupName.InvalidChars":            {action: "CreateGroup", params: params{"GroupName": "a b"}},
		"InvalidParameter.GroupName.Length":                  {action: "CreateGroup", params: params{"GroupName": long}},
		"InvalidParameter.NewGroupName.InvalidChars":         {before: grouped, action: "UpdateGroup", params: params{"GroupName": "g", "NewGroupName": "a b"}},
		"InvalidParameter.NewGroupName.Length":               {before: grouped, action: "UpdateGroup", params: params{"GroupName": "g", "NewGroupName": long}},
		"InvalidParameter.PolicyType":                        {action: "GetPolicy", params: custom("PolicyType", "custom")},
		"InvalidParameter.PolicyName.InvalidChars":           {action: "CreatePolicy", params: newPolicy("PolicyName", "a_b")},
		"InvalidParameter.PolicyName.Length":                 {action: "CreatePolicy", params: newPolicy("PolicyName", long)},
		"InvalidParameter.PolicyDocument.Length":             {action: "CreatePolicy", params: newPolicy("PolicyDocument", strings.Repeat(long, 6))},
		"InvalidParameter.Description.Length":                {action: "CreatePolicy", params: newPolicy("Description", long)},
		"InvalidParameter.VersionId.Format":                  {action: "GetPolicyVersion", params: custom("VersionId", "1")},
		"InvalidParameter.AccountAlias.Format":               {action: "SetAccountAlias", params: params{"AccountAlias": "-corp"}},
		"InvalidParameter.AccountAlias.Length":               {action: "SetAccountAlias", params: params{"AccountAlias": "ab"}},
		"InvalidParameter.MinimumPasswordLength.Range":       {action: "SetPasswordPolicy", params: params{"MinimumPasswordLength": "33"}},
		"InvalidParameter.AuthenticationCode.Format":         {before: []step{makeDevice}, action: "BindMFADevice", params: bind("AuthenticationCode2", "12345")},
		"ram MalformedPolicyDocument":                        {action: "CreatePolicy", params: newPolicy("PolicyDocument", "{")},
		"ram NoPermission":                                   {caller: of("nobody"), action: "ListUsers"},
		"Inactive":                                           {send: ofInactive},

		"EntityNotExist.User":              {action: "GetUser", params: params{"UserName": "none"}},
		"EntityNotExist.User.AccessKey":    {action: "DeleteAccessKey", params: user("UserAccessKeyId", "none")},
		"EntityNotExist.User.LoginProfile": {action: "GetLoginProfile", params: user()},
		"EntityNotExist.User.MFADevice":    {action: "UnbindMFADevice", params: user()},
		"EntityNotExist.User.Policy":       {action: "DetachPolicyFromUser", params: custom("UserName", "alice")},
		"EntityNotExist.User.Group":        {before: grouped[:1], action: "RemoveUserFromGroup", params: user("GroupName", "g")},
		"EntityNotExist.VirtualMFADevice":  {action: "DeleteVirtualMFADevice", params: params{"SerialNumber": device("none")}},
		"EntityNotExist.Group":             {action: "GetGroup", params: params{"GroupName": "none"}},
		"EntityNotExist.Group.Policy":      {before: grouped, action: "DetachPolicyFromGroup", params: custom("GroupName", "g")},
		"EntityNotExist.Policy":            {action: "GetPolicy", params: custom("PolicyName", "none")},
		"EntityNotExist.Policy.Version":    {action: "GetPolicyVersion", params: custom("VersionId", "v9")},

		"EntityAlreadyExists.User":              {action: "CreateUser", params: user()},
		"EntityAlreadyExists.User.LoginProfile": {before: []step{do("CreateLoginProfile", user("Password", "abcDEF123!"))}, action: "CreateLoginProfile", params: user("Password", "abcDEF123!")},
		"EntityAlreadyExists.User.MFADevice":    {before: []step{makeDevice, do("BindMFADevice", bind())}, action: "BindMFADevice", params: bind()},
		"EntityAlreadyExists.User.Group":        {before: grouped, action: "AddUserToGroup", params: user("GroupName", "g")},
		"EntityAlreadyExists.User.Policy":       {before: []step{do("AttachPolicyToUser", custom("UserName", "alice"))}, action: "AttachPolicyToUser", params: custom("UserName", "alice")},
		"EntityAlreadyExists.VirtualMFADevice":  {before: []step{makeDevice}, action: "CreateVirtualMFADevice", params: params{"VirtualMFADeviceName": "d"}},
		"EntityAlreadyExists.VirtualMFADevice.User": {
			before: []step{makeDevice, do("BindMFADevice", bind())}, action: "BindMFADevice", params: bind("UserName", "nobody"),
		},
		"EntityAlreadyExists.Group":        {before: grouped, action: "CreateGroup", params: params{"GroupName": "g"}},
		"EntityAlreadyExists.Group.Policy": {before: append(grouped[:2:2], do("AttachPolicyToGroup", custom("GroupName", "g"))), action: "AttachPolicyToGroup", params: custom("GroupName", "g")},
		"EntityAlreadyExists.Policy":       {action: "CreatePolicy", params: newPolicy("PolicyName", "p")},
		"EntityAlreadyExists.AccountAlias": {action: "SetAccountAlias", params: params{"AccountAlias": "taken"}},

		"DeleteConflict.User.Group":             {before: grouped, action: "DeleteUser", params: user()},
		"DeleteConflict.User.AccessKey":         {action: "DeleteUser", params: user()},
		"DeleteConflict.User.LoginProfile":      {before: []step{do("CreateUser", params{"UserName": "bob"}), do("CreateLoginProfile", params{"UserName": "bob", "Password": "abcDEF123!"})}, action: "DeleteUser", params: params{"UserName": "bob"}},
		"DeleteConflict.User.MFADevice":         {before: []step{do("CreateUser", params{"UserName": "bob"}), makeDevice, do("BindMFADevice", bind("UserName", "bob"))}, action: "DeleteUser", params: params{"UserName": "bob"}},
		"DeleteConflict.User.Policy":            {before: []step{do("CreateUser", params{"UserName": "bob"}), do("AttachPolicyToUser", custom("UserName", "bob"))}, action: "DeleteUser", params: params{"UserName": "bob"}},
		"DeleteConflict.VirtualMFADevice.User":  {before: []step{makeDevice, do("BindMFADevice", bind())}, action: "DeleteVirtualMFADevice", params: params{"SerialNumber": device("d")}},
		"DeleteConflict.Group.User":             {before: grouped, action: "DeleteGroup", params: params{"GroupName": "g"}},
		"DeleteConflict.Group.Policy":           {before: []step{grouped[0], do("AttachPolicyToGroup", custom("GroupName", "g"))}, action: "DeleteGroup", params: params{"GroupName": "g"}},
		"DeleteConflict.Policy.User":            {before: []step{do("AttachPolicyToUser", custom("UserName", "alice"))}, action: "DeletePolicy", params: params{"PolicyName": "p"}},
		"DeleteConflict.Policy.Group":           {before: []step{grouped[0], do("AttachPolicyToGroup", custom("GroupName", "g"))}, action: "DeletePolicy", params: params{"PolicyName": "p"}},
		"DeleteConflict.Policy.Version":         {before: []step{version}, action: "DeletePolicy", params: params{"PolicyName": "p"}},
		"DeleteConflict.Policy.Version.Default": {action: "DeletePolicyVersion", params: params{"PolicyName": "p", "VersionId": "v1"}},
		"DeleteConflict.Role.Policy":            {before: []step{do("AttachPolicyToRole", custom("RoleName", "r"))}, action: "DeleteRole", params: params{"RoleName": "r"}},

		"LimitExceeded.User":             {settings: none(func(q *Quotas) { q.Users = 1 }), action: "CreateUser", params: params{"UserName": "bob"}},
		"LimitExceeded.User.AccessKey":   {settings: none(func(q *Quotas) { q.AccessKeysPerUser = 1 }), action: "CreateAccessKey", params: user()},
		"LimitExceeded.User.Group":       {settings: none(func(q *Quotas) { q.GroupsPerUser = 0 }), before: grouped[:1], action: "AddUserToGroup", params: user("GroupName", "g")},
		"LimitExceeded.User.Policy":      {settings: none(func(q *Quotas) { q.CustomPoliciesPerUser = 0 }), action: "AttachPolicyToUser", params: custom("UserName", "alice")},
		"LimitExceeded.VirtualMFADevice": {settings: none(func(q *Quotas) { q.VirtualMFADevices = 0 }), action: "CreateVirtualMFADevice", params: params{"VirtualMFADeviceName": "d"}},
		"LimitExceeded.Group":            {settings: none(func(q *Quotas) { q.Groups = 1 }), action: "CreateGroup", params: params{"GroupName": "g"}},
		"LimitExceeded.Group.Policy":     {settings: none(func(q *Quotas) { q.CustomPoliciesPerEntity = 0 }), before: grouped[:1], action: "AttachPolicyToGroup", params: custom("GroupName", "g")},
		"LimitExceeded.Policy":           {settings: none(func(q *Quotas) { q.CustomPolicies = 1 }), action: "CreatePolicy", params: newPolicy()},
		"LimitExceeded.Policy.Version":   {settings: none(func(q *Quotas) { q.PolicyVersions = 1 }), action: "CreatePolicyVersion", params: params{"PolicyName": "p", "PolicyDocument": allowAll}},
		"LimitExceeded.Role":             {settings: none(func(q *Quotas) { q.Roles = 1 }), action: "CreateRole", params: params{"RoleName": "x", "AssumeRolePolicyDocument": trust}},
		"LimitExceeded.Role.Policy":      {settings: none(func(q *Quotas) { q.CustomPoliciesPerEntity = 0 }), action: "AttachPolicyToRole", params: custom("RoleName", "r")},
		"ram InternalError":              {fault: Fault{Kind: FaultError500}, action: "ListUsers"},

		"sts NoPermission":                 {caller: of("nobody"), action: "AssumeRole", params: assume()},
		"sts InternalError":                {fault: Fault{Kind: FaultError500}, action: "GetCallerIdentity"},
		"InvalidParameter.RoleArn":         {action: "AssumeRole", params: assume("RoleArn", "deploy")},
		"InvalidParameter.RoleSessionName": {action: "AssumeRole", params: assume("RoleSessionName", "s")},
		"InvalidParameter.DurationSeconds": {action: "AssumeRole", params: assume("DurationSeconds", "899")},
		"InvalidParameter.PolicyGrammar":   {action: "AssumeRole", params: assume("Policy", "{")},
		"InvalidParameter.PolicySize":      {action: "AssumeRole", params: assume("Policy", long+long)},
		"InvalidParameter.ExternalId":      {action: "AssumeRole", params: assume("ExternalId", "a b")},
		"InvalidParameter.SerialNumber":    {action: "AssumeRole", params: assume("SerialNumber", "x")},
		"InvalidParameter.TokenCode":       {action: "AssumeRole", params: assume("TokenCode", "x")},
		"InvalidParameter.ContentType":     {send: plain(http.MethodPost, "https://sts.aliyuncs.com/?Format=JSON", "x", "Content-Type", "text/plain")},
		"sts EntityNotExist.Role":          {action: "AssumeRole", params: assume("RoleArn", "acs:ram::"+DefaultAccountID+":role/none")},
	}
}

// with returns parameters with more of them, or others.
func with(p params, more ...string) params {
	for i := 0; i < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

// listRolesPage is a call whose answer is cut off. The example in JSON has a role with a tag, that in XML has none.
func listRolesPage(c *cloud, asXML bool) *http.Request {
	if !asXML {
		c.must(vaultKeys, "TagResources", params{"ResourceType": "role", "ResourceNames.1": "deploy", "Tag.1.Key": "owner", "Tag.1.Value": "alice"})
	}
	return v1(c.t.Context(), http.MethodPost, vaultKeys, "ListRoles", params{"MaxItems": "1"}, func(p params) {
		if asXML {
			p["Format"] = "XML"
		}
	})
}

func usedNonce(c *cloud, _ bool) *http.Request {
	same := func(p params) { p["SignatureNonce"] = "once" }
	send(c.t, c.client, v1(c.t.Context(), http.MethodPost, vaultKeys, "ListUsers", nil, same))
	return v1(c.t.Context(), http.MethodPost, vaultKeys, "ListUsers", nil, same)
}

func decoding(c *cloud, _ bool) *http.Request {
	out := c.call(of("nobody"), "ListUsers", nil)
	return v3(c.t.Context(), vaultKeys, "DecodeDiagnosticMessage", params{"EncodedDiagnosticMessage": out.text("AccessDeniedDetail.EncodedDiagnosticMessage")})
}

func ofInactive(c *cloud, _ bool) *http.Request {
	if err := c.Seed(Seed{Accounts: []Account{{ID: "3", Inactive: true, AccessKeys: []AccessKey{{ID: "thirdkey", Secret: "thirdsecret"}}}}}); err != nil {
		c.t.Fatal(err)
	}
	return v3(c.t.Context(), of("third"), "ListUsers", nil)
}
