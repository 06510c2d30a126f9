package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const otherRoleARN = "acs:ram::" + alisim.DefaultAccountID + ":role/other"

// startReplicated starts the active node of a primary cluster, a performance
// standby beside it, and the active node of a performance secondary.
func startReplicated(t *testing.T) (cloud *alisim.Server, leader, beside, remote *pluginHost) {
	t.Helper()
	seed := alisim.DefaultSeed()
	account := &seed.Accounts[0]
	account.Users = append(account.Users, alisim.User{Name: "app"}, alisim.User{Name: "batch"}, alisim.User{
		Name: "second", AccessKeys: []alisim.AccessKey{{ID: secondKeyID, Secret: secondKeySecret}}, Policies: []string{"AdministratorAccess"},
	})
	account.Roles = append(account.Roles, alisim.Role{Name: "other", TrustPolicy: alisim.TrustAccount(account.ID)})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	cluster, here, there := &pluginCluster{}, &logical.InmemStorage{}, &logical.InmemStorage{}
	leader = cluster.start(t, "leader", primary, here)
	beside = cluster.start(t, "standby", standby, here)
	remote = cluster.start(t, "secondary", secondary, there)
	return cloud, leader, beside, remote
}

const secondKeyID, secondKeySecret = "LTAI5tSecondKeyOfTests01", "second-secret-of-tests-000001"

// TestInvalidateReachesOtherNodes writes config and roles on the active node of
// real plugin processes that share a storage. What other nodes keep of them is
// out of date until Vault tells them of the written keys, which shows that they do
// keep it, and is as written from then on.
func TestInvalidateReachesOtherNodes(t *testing.T) {
	t.Parallel()
	cloud, leader, beside, remote := startReplicated(t)
	seed := cloud.Inventory()
	var leases []*logical.Response
	issue := func(role string) *logical.Response {
		t.Helper()
		resp := remote.must(t, logical.ReadOperation, "creds/"+role, nil)
		if resp == nil {
			t.Fatalf("creds/%s: nothing there", role)
		}
		leases = append(leases, resp)
		return resp
	}
	// What clients of the nodes see: who the mount is, at the standby; the RAM
	// role of a session, and name and policies of a user, at the secondary.
	type view struct{ principal, session, name, policy string }
	look := func() view {
		t.Helper()
		v := view{principal: beside.must(t, logical.ReadOperation, "config/caller-identity", nil).Data["arn"].(string)}
		_, v.session, _ = strings.Cut(issue("deploy").Data["arn"].(string), "role/") // of a role, or of a session of one
		v.session, _, _ = strings.Cut(v.session, "/")
		username := issue("ci").Data["username"].(string)
		v.name, _, _ = strings.Cut(username, "-")
		user, found := cloud.Inventory().User(username)
		if !found || len(user.Policies) != 1 {
			t.Fatalf("the user %s: %+v", username, user)
		}
		v.policy = user.Policies[0].Name
		return v
	}
	want := func(when string, want view) {
		t.Helper()
		if got := look(); got != want {
			t.Errorf("%s: other nodes serve %+v, want %+v", when, got, want)
		}
	}

	config := engineConfig(cloud)
	config["username_template"] = "before-{{.RoleName}}"
	leader.must(t, logical.UpdateOperation, "config", config)
	leader.must(t, logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	leader.must(t, logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}})
	before := view{"acs:ram::" + alisim.DefaultAccountID + ":user/" + alisim.DefaultUserName, "deploy", "before", "AliyunOSSReadOnlyAccess"}
	want("at first", before)
	beside.invalidate(t.Context())
	remote.invalidate(t.Context())
	want("after the first invalidation", before)

	leader.must(t, logical.UpdateOperation, "config", map[string]any{"access_key": secondKeyID, "secret_key": secondKeySecret, "username_template": "after-{{.RoleName}}"})
	leader.must(t, logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": otherRoleARN})
	leader.must(t, logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": []string{"name:AliyunECSReadOnlyAccess,type:System"}})
	want("without invalidation", before)
	told := remote.invalidate(t.Context())
	if toldToo := beside.invalidate(t.Context()); !slices.Equal(told, []string{"first_account", "config", "role/deploy", "role/ci"}) || !slices.Equal(told, toldToo) {
		t.Errorf("told of %q and %q", told, toldToo)
	}
	after := view{"acs:ram::" + alisim.DefaultAccountID + ":user/second", "other", "after", "AliyunECSReadOnlyAccess"}
	want("after invalidation", after)

	// What is deleted.
	leader.must(t, logical.DeleteOperation, "role/ci", nil)
	want("without invalidation of a deletion", after)
	remote.invalidate(t.Context())
	if resp, err := remote.request(t.Context(), logical.ReadOperation, "creds/ci", nil); resp != nil || err != nil {
		t.Errorf("a role that is deleted has an answer, %v %v", resp.Error(), err)
	}
	n := len(leases)
	for _, lease := range leases {
		if _, err := remote.HandleRequest(t.Context(), logical.RevokeRequest("creds", lease.Secret, nil)); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}
	leader.must(t, logical.DeleteOperation, "config", nil)
	issue("deploy")
	beside.must(t, logical.ReadOperation, "config/caller-identity", nil)
	for _, node := range []*pluginHost{beside, remote} {
		node.invalidate(t.Context())
	}
	for path, node := range map[string]*pluginHost{"creds/deploy": remote, "config/caller-identity": beside} {
		resp, err := node.request(t.Context(), logical.ReadOperation, path, nil)
		if err != nil || !resp.IsError() || !strings.Contains(resp.Error().Error(), "no credentials are configured") {
			t.Errorf("without config, %s answers %v %v", path, resp.Error(), err)
		}
	}
	if left := leftovers(seed, cloud.Inventory()); !left.empty() {
		t.Errorf("RAM still holds %v", left)
	}
	fmt.Printf("TestInvalidateReachesOtherNodes: 3 plugin processes, %d leases\n", n+1)
}

// TestStaticRolesOnOtherNodes reads a static role at a standby right after its
// key was rotated, and lets the standby become the active node without a new
// process: it then knows the static roles that were written meanwhile.
func TestStaticRolesOnOtherNodes(t *testing.T) {
	t.Parallel()
	cloud, leader, beside, _ := startReplicated(t)
	leader.must(t, logical.UpdateOperation, "config", engineConfig(cloud))
	leader.must(t, logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
	first := beside.must(t, logical.ReadOperation, "static-cred/app", nil).Data["access_key"]
	rotated := leader.must(t, logical.UpdateOperation, "rotate-role/app", nil).Data["access_key"]
	// Keys are never kept in memory: there is nothing that could be out of date.
	if got := beside.must(t, logical.ReadOperation, "static-cred/app", nil).Data["access_key"]; got != rotated || got == first {
		t.Errorf("the standby serves %v, the leader has rotated %v to %v", got, first, rotated)
	}

	// The queue of rotations is kept, and who has which RAM user.
	lead := func(next, last *pluginHost) {
		t.Helper()
		last.state.Store(uint32(standby))
		next.state.Store(uint32(primary))
		eventually(t, time.Minute, next.name+" leads", func() bool { // it asks once a second at most
			_, err := next.request(t.Context(), logical.UpdateOperation, "role/probe", map[string]any{"role_arn": roleARN})
			return err == nil
		})
	}
	lead(beside, leader)
	beside.must(t, logical.UpdateOperation, "rotate-role/app", map[string]any{"force": true}) // it has read the static roles
	lead(leader, beside)
	leader.must(t, logical.UpdateOperation, "static-role/batch", map[string]any{"username": "batch", "rotation_period": "24h"})
	lead(beside, leader)
	wantRefused := func(when, says string) {
		t.Helper()
		resp, err := beside.request(t.Context(), logical.UpdateOperation, "static-role/again", map[string]any{"username": "batch", "rotation_period": "24h"})
		if err != nil || !resp.IsError() || !strings.Contains(resp.Error().Error(), says) {
			t.Errorf("%s: a second role of a RAM user is answered %v %v, want a refusal that says %q", when, resp.Error(), err, says)
		}
	}
	wantRefused("without invalidation", "RAM user batch has the AccessKeys") // it went as far as asking RAM
	if told := beside.invalidate(t.Context()); !slices.Contains(told, "static-role/batch") {
		t.Errorf("told of %q", told)
	}
	wantRefused("after invalidation", "RAM user batch belongs to static-role/batch already")
}

// TestStandbyForwards sends everything that has an effect to a performance
// standby and to a secondary. They refuse with the error on which Vault forwards
// the request, whole and bare, and have called nothing by then.
func TestStandbyForwards(t *testing.T) {
	t.Parallel()
	cloud, leader, beside, remote := startReplicated(t)
	config := engineConfig(cloud)
	delete(config, "ims_endpoint") // quotas, which an issue has asked for beside its answer, would be counted
	leader.must(t, logical.UpdateOperation, "config", config)
	leader.must(t, logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	leader.must(t, logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + policyJSON + "]"})
	leader.must(t, logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]"})
	leader.must(t, logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
	lease := leader.must(t, logical.ReadOperation, "creds/ci", nil)
	calls := func() int { return len(cloud.Journal()) }
	refused := func(node *pluginHost, op logical.Operation, path string, data map[string]any) {
		t.Helper()
		before := calls()
		resp, err := node.request(t.Context(), op, path, data)
		if resp != nil || err == nil || err.Error() != logical.ErrReadOnly.Error() {
			t.Errorf("%s: %s %s: answered %t, error %v, want %v", node.name, op, path, resp != nil, err, logical.ErrReadOnly)
		}
		if n := calls() - before; n != 0 {
			t.Errorf("%s: %s %s: %d calls of the cloud", node.name, op, path, n)
		}
	}
	const read, update, remove = logical.ReadOperation, logical.UpdateOperation, logical.DeleteOperation
	// Replicated: these belong to the primary, whoever is asked.
	for _, node := range []*pluginHost{beside, remote} {
		refused(node, update, "config", map[string]any{"access_key": secondKeyID, "secret_key": secondKeySecret, "verify": true})
		refused(node, remove, "config", nil)
		refused(node, update, "config/rotate-root", nil)
		refused(node, update, "role/deploy", map[string]any{"role_arn": otherRoleARN})
		refused(node, update, "role/new", map[string]any{"role_arn": roleARN})
		refused(node, remove, "role/deploy", nil)
		refused(node, update, "static-role/app", map[string]any{"rotation_period": "48h"})
		refused(node, update, "static-role/batch", map[string]any{"username": "batch", "rotation_period": "24h"})
		refused(node, remove, "static-role/app", map[string]any{"remove_key": true})
		refused(node, update, "rotate-role/app", nil)
	}
	// Of a cluster: leases and what is known about them.
	for _, role := range []string{"deploy", "ci", "batch"} {
		refused(beside, read, "creds/"+role, nil)
		refused(beside, update, "creds/"+role, map[string]any{"ttl": "15m"})
	}
	for what, req := range map[string]*logical.Request{ // F7.2
		"renewal": logical.RenewRequest("creds/ci", lease.Secret, nil), "revocation": logical.RevokeRequest("creds/ci", lease.Secret, nil),
	} {
		before := calls()
		if _, err := beside.HandleRequest(t.Context(), req); err == nil || err.Error() != logical.ErrReadOnly.Error() || calls() != before {
			t.Errorf("%s at the standby: %v, and %d calls of the cloud", what, err, calls()-before)
		}
	}
	refused(beside, update, "tidy", nil)
	refused(beside, update, "tidy", map[string]any{"dry_run": true})

	// Vault's tick comes to active nodes only. Where it does not, nothing happens.
	before := calls()
	if _, err := beside.HandleRequest(t.Context(), logical.RollbackRequest(mount+"/")); err != nil && err.Error() != logical.ErrReadOnly.Error() {
		t.Errorf("the tick at the standby: %v", err)
	}
	beside.must(t, read, "static-cred/app", nil)
	beside.must(t, read, "role/deploy", nil)
	beside.must(t, logical.ListOperation, "role/", nil)
	if n := calls() - before; n != 0 {
		t.Errorf("the tick and reads from storage made %d calls of the cloud", n)
	}
	remote.must(t, read, "creds/deploy", nil) // a secondary has leases of its own
	if _, err := leader.HandleRequest(t.Context(), logical.RevokeRequest("creds/ci", lease.Secret, nil)); err != nil {
		t.Error(err)
	}
}
