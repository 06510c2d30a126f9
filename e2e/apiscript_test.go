package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// apiHelp is the label of the request whose answer carries the OpenAPI document.
const apiHelp = "GET ?help=1"

type object = map[string]any

// apiScript is what TestAPIDifferential asks both engines, in this order: every
// path, field and operation of the peer engine, used well and badly.
func apiScript() []apiRequest {
	var script []apiRequest
	do := func(method, path string, body any) {
		script = append(script, apiRequest{method: method, path: path, body: body})
	}
	get := func(path string) { do(http.MethodGet, path, nil) }
	put := func(path string, body any) { do(http.MethodPut, path, body) }
	del := func(path string) { do(http.MethodDelete, path, nil) }
	list := func(path string) { do("LIST", path, nil) }
	during := func(path string, fault alisim.Fault) {
		script = append(script, apiRequest{method: http.MethodGet, path: path, fault: fault})
	}
	lease := func(action, of string, body object) {
		if body == nil {
			body = object{}
		}
		body["lease_id"] = "{lease}"
		script = append(script, apiRequest{method: http.MethodPut, path: "sys/leases/" + action, sys: true, body: body, lease: of, label: fmt.Sprintf("PUT sys/leases/%s of %s", action, of)})
		if len(body) > 1 {
			script[len(script)-1].label += fmt.Sprint(" with ", len(body)-1, " parameters")
		}
	}

	// Nothing is there yet.
	script = append(script, apiRequest{method: http.MethodGet, path: "?help=1", label: apiHelp})
	for _, path := range []string{"config", "role", "role/", "role/a", "creds/a"} {
		script = append(script, apiRequest{method: http.MethodGet, path: path + "?help=1"})
	}
	get("config")
	del("config")
	list("role")
	list("role/")
	get("role/a")
	del("role/a")
	get("creds/a")

	// Paths and operations that do not exist.
	for _, path := range []string{"", "nothing", "config/x", "role", "role/", "role/a/b", "creds", "creds/", "creds/a/b", "configs", "roles", "roles/a"} {
		get(path)
	}
	for _, path := range []string{"role", "role/", "creds/", "creds/a", "nothing", "config/x"} {
		put(path, object{"role_arn": roleARN})
	}
	for _, path := range []string{"", "config", "role/a", "creds", "creds/a", "nothing"} {
		list(path)
	}
	for _, path := range []string{"role/", "creds/a", "nothing"} {
		del(path)
	}
	do(http.MethodPatch, "role/a", object{"ttl": 1})
	do(http.MethodPatch, "config", object{"access_key": "x"})
	do(http.MethodPost, "config", object{})

	// config
	for _, body := range []any{
		nil, "", "{", "[]", `"text"`, object{}, object{"access_key": "LTAIexample"}, object{"secret_key": "example"},
		object{"access_key": nil, "secret_key": nil}, object{"access_key": 1, "secret_key": 2}, object{"access_key": true, "secret_key": false},
		object{"access_key": []string{"a"}, "secret_key": "b"}, object{"access_key": "a", "secret_key": object{}},
		object{"access_key": "LTAIexample", "secret_key": "example", "unknown": "x"},
	} {
		put("config", body)
		get("config")
	}
	put("config", object{"access_key": "", "secret_key": ""})
	get("config")
	put("config", object{"access_key": "LTAIexample-updated", "secret_key": "example-updated"}) // as the Terraform provider's tests do
	get("config")
	put("config", object{"access_key": " LTAIexample ", "secret_key": " example "})
	get("config")
	put("config", object{"access_key": "LTAIexample", "secret_key": ""})
	put("config", object{"access_key": "", "secret_key": "example"})
	do(http.MethodPost, "config", object{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})

	// Roles: neither kind, both kinds, either kind.
	const oss, ecs = "name:AliyunOSSReadOnlyAccess,type:System", "name:AliyunECSReadOnlyAccess,type:System"
	inline := "[" + policyJSON + "]"
	for _, body := range []any{
		nil, object{}, object{"ttl": "1h"}, object{"role_arn": ""}, object{"role_arn": "", "inline_policies": "[]", "remote_policies": []string{}},
		object{"role_arn": roleARN, "remote_policies": []string{oss}}, object{"role_arn": roleARN, "inline_policies": inline},
		object{"role_arn": roleARN, "inline_policies": inline, "remote_policies": []string{oss}},
		object{"role_arn": roleARN}, object{"role_arn": roleARN, "unknown": "x"},
	} {
		put("role/kind", body)
	}
	get("role/kind")
	put("role/kind", object{"remote_policies": []string{oss}}) // the stored ARN counts
	put("role/kind", object{"inline_policies": inline})
	put("role/kind", object{"role_arn": ""})
	put("role/kind", object{"role_arn": "", "remote_policies": []string{oss}})
	get("role/kind")
	put("role/kind", object{"inline_policies": inline})
	get("role/kind")
	put("role/kind", object{"role_arn": roleARN})
	put("role/kind", object{"role_arn": roleARN, "inline_policies": "[]", "remote_policies": []string{}})
	get("role/kind")
	list("role")
	del("role/kind")
	get("role/kind")
	list("role")

	for _, arn := range []any{"acs:ram::123456789012:role/TestRole", "acs:ram::1:role/a.b-c_d@e", "deploy", "acs:ram::1234567890123456:user/vault", " " + roleARN + " ", strings.ToUpper(roleARN), 1, true, nil, []string{roleARN}, object{}} {
		put("role/arn", object{"role_arn": arn})
		get("role/arn")
		del("role/arn")
	}

	// Policies of users.
	for _, policies := range []any{
		"", " ", "[]", "null", "{", "{}", `["x"]`, "[1]", "[null]", "[{}]", `[{"Version":"2"}]`, `[{"Statement":[]}]`, policyJSON, []any{object{"Version": "1"}}, object{"Version": "1"}, 1, true, nil,
		`[{"Version":"1","Statement":[{"Effect":"Allow","Action":["a:*"],"Resource":["<&>"],"Condition":{"NumericLessThan":{"acs:N":12345678901234567890}}}]}]`,
		`[{"Version":"1","Statement":[]},{"Version":"1","Statement":[]}]`, `[{"Version":"1","Statement":[],"Comment":"zh 中文"}]`,
		inline + "x", `[{"Version":"1","Version":"1","Statement":[]}]`,
		`[{"Version":"1","Statement":[{"Effect":"Allow","Action":"a:` + strings.Repeat("b", 7000) + `","Resource":"*"}]}]`,
	} {
		put("role/inline", object{"inline_policies": policies})
		get("role/inline")
		del("role/inline")
	}
	for _, policies := range []any{
		[]string{}, "", []string{""}, oss, []string{oss, ecs}, []string{oss, oss}, []string{"name:Mine,type:Custom"}, []string{"type:System,name:A"},
		[]string{"name:A"}, []string{"type:System"}, []string{"name:,type:System"}, []string{"name:A,type:"}, []string{"name:A,type:Weird"}, []string{"name:A,type:system"},
		[]string{"name:A,type:System,more:x"}, []string{"name: A, type: System"}, []string{"name:A:B,type:System"}, []string{"AliyunOSSReadOnlyAccess"}, []string{"Name:A,Type:System"},
		oss + "," + ecs, []any{nil}, []any{1}, 1, true, nil, object{"name": "A", "type": "System"}, []any{object{"name": "A", "type": "System"}},
		strings.Split(strings.TrimSuffix(strings.Repeat(oss+";", 21), ";"), ";"),
	} {
		put("role/remote", object{"remote_policies": policies})
		get("role/remote")
		del("role/remote")
	}

	// Durations, in every spelling.
	for _, ttl := range []any{
		3600, "3600", "3600s", "60m", "1h", "1h30m", "1.5h", "1d", "90000ms", "1500ms", 0, "0", "", -1, "-1s", "-1h", 1.5, "1.5", "soon", "1 h", "0x10", nil, true, []int{1}, object{}, "1000h", 9999999999, "100000000000h",
	} {
		put("role/ttl", object{"remote_policies": []string{oss}, "ttl": ttl})
		get("role/ttl")
		del("role/ttl")
	}
	put("role/ttl", object{"remote_policies": []string{oss}})
	for _, body := range []object{{"max_ttl": "1h"}, {"ttl": "2h"}, {"ttl": "1h"}, {"ttl": "30m", "max_ttl": "10m"}, {"max_ttl": "10m"}, {"ttl": "5m"}, {"max_ttl": 0}, {"max_ttl": "-1h"}, {"max_ttl": "soon"}} {
		put("role/ttl", body)
	}
	get("role/ttl")
	for _, body := range []object{{"ttl": 3600}, {"max_ttl": 7200}, {"ttl": 3600, "max_ttl": 14400}, {"ttl": "5m"}, {"ttl": "24h"}, {"ttl": 0, "max_ttl": 0}} {
		body["role_arn"] = roleARN
		put("role/session-ttl", body)
		get("role/session-ttl")
	}

	// Names.
	for _, name := range []string{
		"UPPER", "upper", "Mixed.Case_1-a", "with-dash", "with.dot", "with_underscore", "0", ".dot", "dot.", "-dash", "dash-", "a..b", "a%20b", "%C3%BCmlaut", "%E4%B8%AD", "%F0%9F%98%80", "a@b", "a+b", "a:b", "a%25b", "a*", strings.Repeat("long", 60),
	} {
		put("role/"+name, object{"role_arn": roleARN})
		get("role/" + name)
	}
	get("creds/UPPER")
	list("role")
	list("role/")
	del("role/UPPER")
	get("role/upper")

	// Terraform: all fields in each write, "" and [] to clear.
	terraform := func(arn, inline string, remote []string, ttl, max int) object {
		return object{"role_arn": arn, "inline_policies": inline, "remote_policies": remote, "ttl": ttl, "max_ttl": max}
	}
	for _, body := range []object{
		terraform("", inline, []string{}, 3600, 7200),
		terraform("", inline, []string{oss, ecs}, 7200, 14400),
		terraform(roleARN, "[]", []string{}, 3600, 7200),
		terraform("acs:ram::123456789012:role/UpdatedRole", "[]", []string{}, 1800, 0),
		terraform("", "[]", []string{oss}, 0, 7200),
		terraform("", "[]", []string{}, 3600, 0),
		terraform(roleARN, inline, []string{}, 0, 0),
	} {
		put("role/terraform", body)
		get("role/terraform")
	}

	// Credentials and leases.
	put("role/deploy", object{"role_arn": roleARN})
	put("role/deploy-ttl", object{"role_arn": roleARN, "ttl": "2h", "max_ttl": "4h"})
	put("role/ci", object{"inline_policies": inline, "remote_policies": []string{oss}, "ttl": "10m", "max_ttl": "1h"})
	put("role/ci-default", object{"inline_policies": "[]", "remote_policies": []string{oss}})
	put("role/ci-max", object{"inline_policies": "[]", "remote_policies": []string{oss}, "max_ttl": "20m"})
	put("role/stuck", object{"inline_policies": inline})
	put("role/unknown-role", object{"role_arn": "acs:ram::1234567890123456:role/nobody"})
	put("role/unknown-policy", object{"remote_policies": []string{"name:Nothing,type:Custom"}})
	for _, role := range []string{"deploy", "deploy-ttl", "ci", "ci-default", "ci-max", "stuck", "nobody"} {
		get("creds/" + role)
	}
	put("creds/deploy", object{})
	lease("lookup", "GET creds/ci", nil)
	lease("lookup", "GET creds/deploy", nil)
	lease("renew", "GET creds/deploy", nil)
	lease("renew", "GET creds/ci", nil)
	lease("renew", "GET creds/ci", object{"increment": "30m"})
	lease("renew", "GET creds/ci", object{"increment": "99h"})
	lease("renew", "GET creds/ci-default", nil)
	lease("renew", "GET creds/ci-default", object{"increment": 120})
	lease("renew", "GET creds/ci-max", nil)
	put("role/ci", object{"ttl": "20m"})
	lease("renew", "GET creds/ci", nil)
	del("role/ci-default")
	lease("renew", "GET creds/ci-default", nil)
	lease("revoke", "GET creds/deploy", object{"sync": true})
	lease("revoke", "GET creds/ci", object{"sync": true})
	lease("lookup", "GET creds/ci", nil)
	lease("renew", "GET creds/ci", nil)
	lease("revoke", "GET creds/ci", object{"sync": true})
	lease("revoke", "GET creds/ci-default", object{"sync": true})
	lease("revoke", "GET creds/stuck", object{"sync": true})
	del("config")            // refused: a lease is out
	del("config?force=true") // the built-in engine knows no force
	get("creds/deploy")
	get("creds/ci")
	lease("renew", "GET creds/ci-max", nil)
	lease("revoke", "GET creds/ci-max", object{"sync": true})

	// Refusals and failures of the cloud.
	put("config", object{"access_key": alisim.DefaultAccessKeyID, "secret_key": "wrong"})
	get("creds/deploy")
	get("creds/ci")
	put("config", object{"access_key": "LTAI5tUNKNOWN", "secret_key": "wrong"})
	get("creds/deploy")
	put("config", object{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
	lease("revoke", "GET creds/ci-max", object{"sync": true})
	get("creds/unknown-role")
	get("creds/unknown-policy")
	during("creds/deploy", alisim.Fault{Kind: alisim.FaultThrottle, Action: "AssumeRole"})
	during("creds/deploy", alisim.Fault{Kind: alisim.FaultError500, Action: "AssumeRole"})
	during("creds/deploy", alisim.Fault{Kind: alisim.FaultDrop, Action: "AssumeRole"})
	during("creds/deploy", alisim.Fault{Kind: alisim.FaultRefuse, Action: "AssumeRole", Code: "NoPermission", Status: 403}) // last: it is remembered
	during("creds/ci", alisim.Fault{Kind: alisim.FaultRefuse, Action: "CreateUser", Code: "LimitExceeded.User", Status: 409})
	during("creds/ci", alisim.Fault{Kind: alisim.FaultRefuse, Action: "CreateAccessKey", Code: "NoPermission", Status: 403})
	during("creds/ci", alisim.Fault{Kind: alisim.FaultThrottle, Action: "AttachPolicyToUser"})
	return script
}

// apiReason says why a difference is meant to be.
type apiReason struct {
	of  *regexp.Regexp // matches "request | what | theirs | ours"
	why string
}

func reason(of, why string) apiReason { return apiReason{regexp.MustCompile(of), why} }

var apiReasons = []apiReason{
	// What generated clients see.
	reason(`\?help=1 \| (\.components\.schemas\.StandardListResponse|\.paths\./role/\.get\.responses\.200)`, "the list of roles has a schema of its own, because it has key_info"),
	reason(`\?help=1 \| operations, added`, "more can be done here"),

	// What is added.
	reason(`^GET (config|role/\S*)( #\d+)? \| data, added`, "roles and config have more fields; those of the built-in engine are as they were"),
	reason(`^GET creds/\S+( #\d+)? \| data, added \|  \| (arn credential_type|credential_type username)$`, "the answer says whose credentials they are"),
	reason(`^LIST role/?( #\d+)? \| data, added \|  \| key_info$`, "the list tells the type and lifetimes of each role"),
	reason(`^PUT creds/deploy .* \| (status \| 405 \| 200|message \| unsupported operation \| )$`, "credentials can be asked for with parameters, by a write"),
	reason(`^PUT creds/a .* \| (status \| 405 \| 404|message \| unsupported operation \| role "a" does not exist: all there are: vault list \S+/role)$`, "credentials can be asked for by a write, which says that there is no such role"),

	// What is answered otherwise.
	reason(`\| message \| error converting input for field "(ttl|max_ttl)": .* \| (ttl|max_ttl) must be a duration: `, "what a duration looks like, without the words of Go"),
	reason(`\| message \| .*got unconvertible type .* must be a string, and not a list or an object`, "what was sent may be a key or a policy, and is not repeated"),
	reason(`^(PUT|POST) (config|role/).* \| status \| 500 \| 400$`, "a mistake of the user is a 400: clients repeat a 500, and get it again"),
	reason(`^GET creds/.* \| status \| 500 \| 400$`, "what is not configured or refused stays so: a 400, which clients do not repeat"),
	reason(`^GET creds/.* \| status \| 500 \| 502$`, "throttling is a 502: clients repeat it after a while"),
	reason(`\| message, which keeps theirs \|`, "the same words, and what to do"),
	reason(`\| message \| SDK\.ServerError`, "the code and the RequestId on one line, without the answer's headers, and what to do"),
	reason(`\| message \| Post "https://sts\.us-east-1\.aliyuncs\.com/\?<signed query>": EOF \|`, "a signed URL with the AccessKey ID is not shown; a second endpoint was tried"),
	reason(`^PUT sys/leases/revoke of GET creds/stuck .* \| (status \| 400 \| 204|message \| .*malformed remote_policies internal data \| )$`, "a role without remote_policies: the built-in engine can never revoke its leases (vault #18768)"),

	// config
	reason(`^PUT config \{"access_key":"(LTAIexample)?","secret_key":"(example)?"\} \| (status \| 204 \| 400|message \|  \| (access|secret)_key is required)`, "one key without the other can sign nothing; both empty are the surroundings of Vault"),
	reason(`"unknown":"x"\} \| (status \| 204 \| 400|message \|  \| \S+ has no field unknown)`, "a field that is passed over is one that somebody misspelled"),
	reason(`^PUT role/ttl .*"1500ms"\} \| (status \| 204 \| 400|message \|  \| ttl must be whole seconds)`, "500ms would become 0"),
	reason(`^PUT role/remote .*type:System,name:.* \| (status \| 204 \| 400|message \|  \| remote_policies: two policies in one text)`, "the first of the two would be lost"),
	reason(`^PUT role/.* \| (status \| 204 \| 200|warnings \| (null|\[\]) \| \["without ttl a RAM user lives)`, "a RAM user that lives for weeks is seldom meant"),
	reason(`^DELETE config #2 \| (status \| 204 \| 400|message \|  \| \d+ RAM users and roles of leases)`, "the leases that are out could never be revoked: force=true deletes all the same"),
	reason(`^PUT config .* \| warnings \| null \| \["\d+ RAM users and roles of leases and \d+ static roles are out in account`, "who changes the key while something is out is told that another account's cannot revoke it; nothing is called, and it is stored"),
	reason(`^PUT config \{"access_key":"LTAI.* \| status \| 204 \| 200`, "an answer with a warning has a body"),
	reason(`^PUT config .* \| (status \| 204 \| 200|warnings \| null \| \["access_key and secret_key are empty)`, "a variable of the shell that was empty is told from the surroundings of the server that were meant"),
	reason(`^GET config #\d+ \| data\.access_key \|  LTAIexample  \| LTAIexample$`, "the line end of a file that a key was read from belongs to no key"),

	// role
	reason(`^GET role/arn #\d+ \| data\.role_arn \|  acs:`, "the line end of a file that an ARN was read from belongs to no ARN"),
	reason(`^PUT role/arn .* \| (status \| 204 \| 400|message \|  \| role_arn ".*" is not of the form)`, "STS can assume no such ARN: told at the write, not at the first read of credentials"),
	reason(`^PUT role/inline .* \| message \| (json: |unexpected end of JSON|invalid character)`, "says which field, and where in it; never quotes the document"),
	reason(`^PUT role/inline .* \| (status \| 204 \| 400|message \|  \| inline_policies\[0\] (must have|has))`, "RAM would refuse the document at the first read of credentials: told at the write"),
	reason(`^PUT role/remote .*"name:A,type:(Weird|system)".* \| (status \| 204 \| 400|message \|  \| )`, "RAM has policies of the types System and Custom only: told at the write"),
	reason(`^PUT role/remote .* \| (status \| 204 \| 400|message \|  \| remote_policies: 20 system policies)`, "RAM attaches 20 system policies at most: told at the write"),
	reason(`^PUT role/remote .*"name: A, type: System".* \| (status \| 500 \| 20[04]|message \| invalid key:  type \| )$`, "spaces after a comma are people's"),
	reason(`^PUT role/remote \{"remote_policies":\[(""|null)\]\} \| message \| unable to recognize pair in  \| must include an arn`, "an empty element clears the list, as remote_policies=\"\" on the command line does"),

	// Lifetimes
	reason(`^PUT role/(session-ttl|deploy-ttl|terraform) .* \| (status \| 200 \| 204|warnings \| \["role_arn is set so ttl and max_ttl will be ignored[^|]* \| null)$`, "ttl and max_ttl of sessions are not ignored here: nothing to warn of"),
	reason(`^PUT role/session-ttl .*"5m".* \| warnings \| \["role_arn is set`, "ttl of sessions is not ignored here; STS has a minimum, of which ours warns"),
	reason(`^PUT role/ttl .*1000h.* \| warnings \| \["ttl of 3600000000000000 exceeds`, "durations as people write them, not in nanoseconds"),
	reason(`^GET creds/deploy-ttl \| lease_duration \| 60 minutes \| 120 minutes$`, "a session lasts as long as ttl says"),
}
