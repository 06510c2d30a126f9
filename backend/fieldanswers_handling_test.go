package backend_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

// replay is a mount whose cloud gives one answer of the field.
type replay struct {
	*mount
	cloud  *fieldCloud
	result handled
	class  class
	armed  time.Time // when the cloud last began to give the answer
	wrong  []string
}

func newReplay(t *testing.T, a fieldAnswer, c class) *replay {
	t.Helper()
	seed := alisim.DefaultSeed()
	account := &seed.Accounts[0]
	account.Users = append(account.Users, alisim.User{Name: "app"}, alisim.User{
		Name: "sub", Policies: []string{"AliyunSTSAssumeRoleAccess"}, AccessKeys: []alisim.AccessKey{{ID: "LTAI5tSUB", Secret: "secret-of-sub"}},
	})
	account.Roles = append(account.Roles, alisim.Role{
		Name: "vault", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"},
	})
	sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	r := &replay{
		mount: &mount{t: t, process: newProcess(sim, &logical.InmemStorage{}), logged: &bytes.Buffer{}},
		cloud: newFieldCloud(t, sim, a), class: c,
	}
	r.options.Metadata = alicreds.MetadataOptions{Endpoint: r.cloud.plain.URL, ConnectTimeout: time.Minute, Timeout: time.Minute}
	r.start()
	r.must(logical.UpdateOperation, "config", map[string]any{
		"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret,
		"sts_endpoint": r.cloud.tls.URL, "ram_endpoint": r.cloud.tls.URL, "resource_manager_endpoint": r.cloud.tls.URL, "ca_certificate": r.ca(),
		"connect_timeout": "60s", "timeout": "60s", "max_retries": 1,
	})
	return r
}

func (r *replay) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cloud.tls.Certificate().Raw}))
}

func (r *replay) complain(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// arm makes the cloud give the answer from now on.
func (r *replay) arm() {
	r.armed = time.Now()
	r.cloud.arm(r.result.handling.action, r.result.first)
}

// told is what somebody who sent a request got to know.
type told struct {
	outcome outcome
	text    string
	data    map[string]any
	secret  *logical.Secret
}

// outcome is what Vault answers.
type outcome string

const (
	done  outcome = "done"
	is400 outcome = "400" // refused
	is502 outcome = "502" // throttled
	is500 outcome = "500" // no answer, or none that can be used
)

func toldBy(resp *logical.Response, err error) told {
	t := told{outcome: done}
	if resp != nil {
		t.data, t.secret = resp.Data, resp.Secret
		t.text = strings.Join(resp.Warnings, "; ")
	}
	switch {
	case errors.Is(err, logical.ErrUpstreamRateLimited):
		t.outcome = is502
	case err != nil:
		t.outcome, t.text = is500, err.Error()
	case resp != nil && resp.IsError():
		t.outcome = is400
	}
	if resp != nil && resp.IsError() {
		t.text = resp.Error().Error()
	}
	return t
}

// handling is a place where the engine, or a provider, makes a call and deals
// with its answer.
type handling struct {
	name   string
	action string // that gets the answer of the field
	help   string // the heading that its failures link to, if it is always the same
	run    func(r *replay) told
}

func (r *replay) writeRole(name string, role map[string]any) {
	r.t.Helper()
	r.must(logical.UpdateOperation, "role/"+name, role)
}

func (r *replay) read(path string) told {
	return toldBy(r.request(logical.ReadOperation, path, nil))
}

// session reads credentials of a role whose sessions AssumeRole makes.
func session() handling {
	return handling{name: "issue of a session", action: "AssumeRole", run: func(r *replay) told {
		r.writeRole("deploy", map[string]any{"role_arn": roleARN, "ttl": "1h"})
		r.arm()
		return r.sameSession(r.read("creds/deploy"))
	}}
}

// longSession asks for more than the hour that every RAM role allows.
func longSession() handling {
	return handling{name: "issue of a session of two hours", action: "AssumeRole", run: func(r *replay) told {
		r.writeRole("deploy", map[string]any{"role_arn": roleARN, "ttl": "2h"})
		r.arm()
		return r.read("creds/deploy")
	}}
}

func oidcSession() handling {
	return handling{name: "issue of a session by OIDC", action: "AssumeRoleWithOIDC", run: func(r *replay) told {
		file := filepath.Join(r.t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(fieldToken()), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.writeRole("pod", map[string]any{
			"credential_type": "oidc_role_arn", "role_arn": roleARN,
			"oidc_provider_arn": "acs:ram::1234567890123456:oidc-provider/cluster", "oidc_token_file_path": file,
		})
		r.arm()
		return r.sameSession(r.read("creds/pod"))
	}}
}

// fieldToken has the form of a JWT, and a part that is told apart from any other text.
func fieldToken() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(`{"sub":"a subject that nobody may see"}`)) + "." + part([]byte("signature"))
}

// node reads credentials of the instance that Vault runs on.
func node(action string) handling {
	return handling{name: "issue of the instance's session", action: action, run: func(r *replay) told {
		r.writeRole("node", map[string]any{"credential_type": "ecs_ram_role"})
		r.arm()
		got := r.read("creds/node")
		if action == metadataSession {
			return r.sameSession(got)
		}
		return got
	}}
}

// sameSession wants a good answer to be handed on as it was.
func (r *replay) sameSession(got told) told {
	if got.outcome != done {
		return got
	}
	type keys struct{ AccessKeyId, AccessKeySecret, SecurityToken, Expiration string } //nolint:revive // the service's spelling
	var body struct {
		Credentials keys
		keys
	}
	if err := json.Unmarshal([]byte(r.cloud.answer.body), &body); err != nil {
		r.complain("credentials were issued of %q", r.cloud.answer.body)
	}
	want := body.Credentials
	if want == (keys{}) {
		want = body.keys
	}
	if have := (keys{textOf(got.data["access_key"]), textOf(got.data["secret_key"]), textOf(got.data["security_token"]), textOf(got.data["expiration"])}); have != want {
		r.complain("issued %+v, answered %+v", have, want)
	}
	if ends, err := time.Parse(time.RFC3339, want.Expiration); err != nil || got.secret == nil || got.secret.TTL <= 0 || got.secret.TTL > ends.Sub(r.armed) {
		r.complain("the lease of what ends at %s is %+v", want.Expiration, got.secret)
	}
	return got
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

func callerIdentity() handling {
	return handling{name: "config/caller-identity", action: "GetCallerIdentity", run: func(r *replay) told {
		r.arm()
		got := r.read("config/caller-identity")
		if got.outcome == done {
			got.text = fmt.Sprint(got.data["arn"], " ", got.data["identity_type"])
		}
		return got
	}}
}

// userOf is a role of RAM users that needs the action once.
func userOf(action string) map[string]any {
	role := map[string]any{"ttl": "1h", "max_ttl": "8h", "ram_groups": []string{"readers"}}
	if strings.Contains(action, "PolicyToUser") || strings.Contains(action, "PolicyFromUser") {
		role["remote_policies"] = []string{"name:AliyunOSSReadOnlyAccess,type:System"}
		return role
	}
	role["inline_policies"] = "[" + allowOSS + "]"
	if action == "CreateLoginProfile" {
		role["console_login"] = true
	}
	return role
}

func issueUser(action string) handling {
	return handling{name: "issue of a RAM user", action: action, run: func(r *replay) told {
		return r.issue(userOf(action))
	}}
}

func issueRAMRole(action string) handling {
	return handling{name: "issue of a RAM role", action: action, run: func(r *replay) told {
		return r.issue(map[string]any{
			"credential_type": "ram_role", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "1h",
		})
	}}
}

// issue reads credentials that create something, and wants nothing to be left
// behind when their lease is revoked or, without one, after the rollback.
func (r *replay) issue(role map[string]any) told {
	r.writeRole("ci", role)
	before := r.inventory()
	r.arm()
	got := r.read("creds/ci")
	pending, err := framework.ListWAL(context.Background(), r.storage)
	if err != nil {
		r.t.Fatal(err)
	}
	r.cloud.disarm()
	if got.outcome == done {
		r.age(got.secret.InternalData)
		if _, err := r.revokeLease(got.secret); err != nil {
			r.complain("revocation: %v", err)
		}
	} else {
		if r.class.ambiguous && len(pending) == 0 {
			r.complain("the WAL entry is gone, although the call may have taken effect")
		}
		r.ageWAL()
		if resp, err := r.rollBack(); err != nil || resp.IsError() {
			r.complain("rollback: %v %v", resp, err)
		}
		r.rest()
	}
	r.wantRAM(before)
	return got
}

func (r *replay) wantRAM(before alisim.Inventory) {
	if got := r.inventory(); !reflect.DeepEqual(got, before) {
		r.complain("RAM holds %+v, want %+v", got, before)
	}
}

func revokeUser(action string) handling {
	return handling{name: "revocation of a RAM user", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		return r.revoke(userOf(action), nil)
	}}
}

// revokeOwnPolicy revokes a lease that has a policy of its own, and
// revokeSharedPolicy the last one of those that share a policy.
func revokeOwnPolicy(action string) handling {
	return handling{name: "revocation of a policy per lease", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		return r.revoke(map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}, nil)
	}}
}

func revokeSharedPolicy(action string) handling {
	return handling{name: "revocation of a shared policy", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		return r.revoke(map[string]any{"inline_policies": "[" + allowOSS + "]"}, nil)
	}}
}

// revokePolicyOfGroup revokes a lease whose own policy somebody has attached to
// a group since.
func revokePolicyOfGroup(action string) handling {
	return handling{name: "revocation of a policy that a group has", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		return r.revoke(map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}, func(lease *logical.Secret) {
			policy := lease.InternalData["inline_policies"].([]any)[0].(map[string]any)["name"].(string)
			r.admin("AttachPolicyToGroup", map[string]string{"PolicyName": policy, "PolicyType": "Custom", "GroupName": "readers"})
		})
	}}
}

func revokeRAMRole(action string) handling {
	return handling{name: "revocation of a RAM role", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		return r.revoke(map[string]any{
			"credential_type": "ram_role", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "1h",
		}, nil)
	}}
}

// revokeMore revokes what RAM once refuses to delete, because there is more than
// the lease knows of: the clean-up then looks. conflict is the action that is
// refused.
func revokeMore(action, conflict string) handling {
	return handling{name: "revocation of what has more than its lease knows", action: action, help: "#leases-that-do-not-end", run: func(r *replay) told {
		role := userOf(action)
		switch conflict {
		case "DeleteRole":
			role = map[string]any{"credential_type": "ram_role", "ttl": "1h", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}}
		case "DeletePolicy":
			role = map[string]any{"inline_policies": "[" + allowOSS + "]", "policy_per_lease": true}
		}
		code := map[string]string{
			"DeleteUser": "DeleteConflict.User.Policy", "DeleteRole": "DeleteConflict.Role.Policy", "DeletePolicy": "DeleteConflict.Policy.User",
		}[conflict]
		return r.revoke(role, func(*logical.Secret) {
			r.fault(alisim.Fault{Kind: alisim.FaultRefuse, Action: conflict, Code: code, Status: 409, Count: 1})
		})
	}}
}

// revoke revokes a lease. What fails is repeated by Vault, and ends well once
// the cloud answers as usual.
func (r *replay) revoke(role map[string]any, meanwhile func(*logical.Secret)) told {
	r.writeRole("ci", role)
	before := r.inventory()
	lease := r.must(logical.ReadOperation, "creds/ci", nil).Secret
	r.age(lease.InternalData)
	if meanwhile != nil {
		meanwhile(lease)
	}
	r.arm()
	got := toldBy(r.revokeLease(lease))
	r.cloud.disarm()
	if got.outcome != done {
		if _, err := r.revokeLease(lease); err != nil {
			r.complain("the revocation is repeated, and fails: %v", err)
		}
	}
	r.wantRAM(before)
	return got
}

func renewal() handling {
	return handling{name: "renewal of a RAM user", action: "GetUser", run: func(r *replay) told {
		r.writeRole("ci", userOf(""))
		lease := r.must(logical.ReadOperation, "creds/ci", nil).Secret
		r.age(lease.InternalData)
		r.arm()
		return toldBy(r.renewLease(lease))
	}}
}

// rotateRoot rotates the key in config, on request. Where the making of the new
// key failed, the rotation is to mind whether there may be one all the same.
func rotateRoot(action string) handling {
	return handling{name: "rotation of the key in config", action: action, run: func(r *replay) told {
		r.arm()
		got := toldBy(r.request(logical.UpdateOperation, "config/rotate-root", nil))
		state := r.config()["rotation_state"]
		if action == "CreateAccessKey" && got.outcome != done && (state == "creating") != r.class.ambiguous {
			r.complain("the rotation is %v afterwards: whether there is a key that nobody has the secret of is wrong", state)
		}
		return got
	}}
}

// rotateThroughRole rotates the key of a user that may do nothing but assume
// the role that the mount works as.
func rotateThroughRole(action string) handling {
	return handling{name: "rotation by the role of the mount", action: action, run: func(r *replay) told {
		r.must(logical.UpdateOperation, "config", map[string]any{
			"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/vault", "access_key": "LTAI5tSUB", "secret_key": "secret-of-sub",
		})
		r.arm()
		return toldBy(r.request(logical.UpdateOperation, "config/rotate-root", nil))
	}}
}

// endRotation disables and deletes the key before the current one.
func endRotation(action string) handling {
	return handling{name: "end of a rotation", action: action, run: func(r *replay) told {
		r.must(logical.UpdateOperation, "config/rotate-root", nil)
		r.arm()
		return toldBy(r.request(logical.UpdateOperation, "config/rotate-root", map[string]any{"force": true}))
	}}
}

// firstKey writes a static role: its user gets a key that Vault publishes. An
// answer that leaves open whether there is a key must not leave one that nobody
// has the secret of.
func firstKey() handling {
	return handling{name: "write of a static role", action: "CreateAccessKey", run: func(r *replay) told {
		r.arm()
		got := toldBy(r.request(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "720h"}))
		r.cloud.disarm()
		resp, err := r.rollBack() // the next tick goes on
		if err != nil || resp.IsError() {
			r.complain("tick: %v %v", resp, err)
		}
		r.rest()
		if got.outcome == done {
			user, _ := r.inventory().User("app")
			resp, err := r.request(logical.ReadOperation, "static-cred/app", nil)
			if err != nil || resp == nil || resp.IsError() || len(user.AccessKeys) != 1 || resp.Data["access_key"] != user.AccessKeys[0].ID {
				r.complain("after the next tick the user has %+v, and Vault answers %v %v", user.AccessKeys, resp, err)
			}
		}
		return got
	}}
}

// check asks what is missing for a role to work, and answers its findings.
func check(action string) handling {
	return handling{name: "check of a role", action: action, run: func(r *replay) told {
		role := map[string]any{"role_arn": roleARN}
		if action != "GetRole" {
			role = map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ram_groups": []string{"readers"}}
		}
		r.writeRole("r", role)
		r.arm()
		got := toldBy(r.request(logical.ReadOperation, "role/r/check", map[string]any{"details": true}))
		if got.outcome != done {
			return got
		}
		for _, f := range got.data["checks"].([]any) {
			f := f.(map[string]any)
			got.text += fmt.Sprintf("%v %v: %v; ", f["action"], f["result"], f["fix"])
		}
		return got
	}}
}

func tidy(action string) handling {
	return handling{name: "tidy", action: action, run: func(r *replay) told {
		r.arm()
		return toldBy(r.request(logical.UpdateOperation, "tidy", map[string]any{"dry_run": true}))
	}}
}

// login is a provider of the library that the engine reaches only through what
// is set up around Vault. What it says is put as the engine does.
func login(action string) handling {
	return handling{name: "provider", action: action, run: func(r *replay) told {
		r.arm()
		_, err := r.provided("")
		return toldBy(backend.Answer("obtaining credentials", err))
	}}
}

// renewableLogin has a refresh token beside its access token.
func renewableLogin() handling {
	return handling{name: "provider with a refresh token", action: oauthExchange, run: func(r *replay) told {
		r.arm()
		if _, err := r.provided("a-refresh-token"); err != nil {
			return toldBy(backend.Answer("obtaining credentials", err))
		}
		return told{outcome: done}
	}}
}

// onlyCalled is an action that the engine has no use for: the answer goes
// through the client alone.
func onlyCalled(action string) handling { return handling{name: "the client", action: action} }

// sent makes the bare call, which has no effect, and returns its error.
func (r *replay) sent() error {
	r.cloud.inert = true
	r.arm()
	switch r.cloud.answer.Service {
	case "imds", "oauth", "cloudsso":
		_, err := r.provided("")
		return err
	}
	api, err := openapi.New(openapi.Options{CACertificate: []byte(r.ca()), MaxRetries: 1, ConnectTimeout: time.Minute, Timeout: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	defer api.CloseIdleConnections()
	action := r.result.handling.action
	request := openapi.Request{Endpoint: r.cloud.tls.URL, Action: action, Version: "2015-05-01", Repeatable: true, Params: map[string]string{}}
	switch {
	case r.cloud.answer.Service == "ims":
		request.Version = "2019-08-15"
	case strings.HasPrefix(action, "AssumeRole"), action == "GetCallerIdentity":
		request.Version = "2015-04-01"
	}
	if action != "AssumeRoleWithOIDC" {
		request.Keys = openapi.Keys{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret}
	}
	var out struct {
		RequestID string `json:"RequestId"`
	}
	if err := api.Do(context.Background(), request, &out); err != nil {
		return err
	}
	if out.RequestID != r.cloud.answer.requestID {
		r.complain("the client: RequestId %q was decoded, want %q", out.RequestID, r.cloud.answer.requestID)
	}
	return nil
}

// provided asks the provider of the service that is not reached by TLS.
func (r *replay) provided(refreshToken string) (alicreds.Credentials, error) {
	var p alicreds.Provider
	var err error
	switch r.cloud.answer.Service {
	case "imds":
		var metadata *alicreds.Metadata
		if metadata, err = alicreds.NewMetadata(r.options.Metadata); err == nil {
			p, err = alicreds.NewECSRAMRole(alicreds.ECSRAMRoleOptions{Metadata: metadata})
		}
	case "oauth":
		p, err = alicreds.NewOAuth(
			alicreds.OAuthTokens{AccessToken: "an-access-token", RefreshToken: refreshToken, Expiration: time.Now().Add(time.Hour)},
			alicreds.OAuthOptions{URL: r.cloud.plain.URL, ClientID: "client", HTTP: r.cloud.plain.Client()})
	default:
		p, err = alicreds.NewCloudSSO("an-access-token", alicreds.CloudSSOOptions{
			SignInURL: r.cloud.plain.URL, AccountID: alisim.DefaultAccountID, AccessConfig: "ac-1", AccessTokenExpiration: time.Now().Add(time.Hour),
			HTTP: r.cloud.plain.Client(),
		})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Retrieve(context.Background())
}

// mountSecrets are those of the mount, of its cloud, and of what is around it.
func (r *replay) mountSecrets() []string {
	return append(r.sim.Secrets(), alisim.DefaultAccessKeySecret, fieldToken(), "an-access-token", "a-refresh-token", "the-next-access-token", "the-next-refresh-token",
		"secretOfTheNode", "tokenOfTheNode", "a-token-of-the-metadata-service")
}
