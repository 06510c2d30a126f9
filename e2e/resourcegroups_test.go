package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestResourceGroups issues credentials whose policies count in one resource group
// (hashicorp/vault #22492) from a real server, starts instances of ECS with them, in
// the group and outside of it, and ends them in every way: revoked, expired, killed
// before and after each cloud call of the issue, and killed in the middle of a
// revocation. Nothing may remain in RAM, in whatever group.
func TestResourceGroups(t *testing.T) {
	t.Parallel() // it waits most of the time
	cloud, err := alisim.Start(alisim.Options{Seed: groupsSeed()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)
	seed := cloud.Inventory()
	start := `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:StartInstance","Resource":"*"}]}`
	remote := []string{"name:starter,type:Custom,resource_group:rg-1", "name:AliyunECSReadOnlyAccess,type:System"}
	roles := map[string]map[string]any{ // by what they may start
		"one i-1":   {"remote_policies": remote},
		"two i-1,2": {"remote_policies": append(slices.Clone(remote), "name:starter,type:Custom,resource_group:rg-2")},
		"inline i-2": {
			"inline_policies": "[" + start + "]", "resource_group": "rg-2", "remote_policies": "name:AliyunECSReadOnlyAccess,type:System",
		},
		"lease i-2": {"inline_policies": "[" + start + "]", "resource_group": "rg-2", "policy_per_lease": true},
		"batch i-1": {"credential_type": "ram_role", "remote_policies": remote},
		"session i-1,2": {
			"credential_type": "ram_role", "inline_policies": "[" + start + "]", "resource_group": "rg-2", "remote_policies": remote,
		},
	}
	enable := func(path string, cloud *alisim.Server) {
		v.enable(t, path, cloud)
		for name, role := range roles {
			name, _, _ = strings.Cut(name, " ")
			v.write(t, path+"/role/"+name, role)
		}
	}
	enable("count", cloud)

	// What counts where.
	calls, leases := 0, []*api.Secret{}
	for name := range roles {
		name, may, _ := strings.Cut(name, " ")
		for range 2 { // the second shares the policies of the first
			lease := v.read(t, "count/creds/"+name)
			leases = append(leases, lease)
			for n := 1; n <= 3; n++ {
				want := "Forbidden.RAM"
				if strings.Contains(may, fmt.Sprint(n)) {
					want = ""
				}
				calls++
				if got := startInstance(t, cloud, lease, fmt.Sprintf("i-%d", n)); got != want {
					t.Errorf("%s: i-%d: the code %q, want %q", name, n, got, want)
				}
			}
		}
	}
	// A role that has gone, and one that grants elsewhere by now.
	v.run(t, "delete", "count/role/one")
	v.write(t, "count/role/inline", map[string]any{"resource_group": "rg-1"})
	for _, lease := range leases {
		v.run(t, "lease", "revoke", "-sync", lease.LeaseID)
	}
	if left := leftovers(seed, cloud.Inventory()); !left.empty() {
		t.Errorf("after revocation RAM holds %v", left)
	}
	v.write(t, "count/role/short", map[string]any{"remote_policies": remote, "ttl": "2s"})
	v.read(t, "count/creds/short")
	eventually(t, 3*time.Minute, "the lease that is over is revoked", func() bool { return leftovers(seed, cloud.Inventory()).empty() })

	// The process dies.
	kills := &issueKills{v: v, seed: groupsSeed(), enable: enable}
	cases := 1 // that of the revocation
	for _, role := range []string{"two", "session"} {
		for k := range kills.calls(t, role) {
			for _, hold := range []string{"before", "after"} {
				kills.kill(t, role, k, hold)
				cases++
			}
		}
	}
	lease := v.read(t, "count/creds/two")
	if err := cloud.AddFault(alisim.Fault{Kind: alisim.FaultHold, Action: "DetachPolicy", Hold: "after", Count: 1}); err != nil {
		t.Fatal(err)
	}
	revoke := func() error {
		return v.api.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: lease.LeaseID, Sync: true})
	}
	revoked := make(chan error, 1)
	go func() { revoked <- revoke() }()
	if _, err := cloud.WaitFor(t.Context(), func(c alisim.Call) bool { return c.Held }); err != nil {
		t.Fatal(err)
	}
	v.killPlugin(t)
	<-revoked // with an error, or repeated in the next process
	eventually(t, 5*time.Minute, "the revocation ends in the next process", func() bool { return revoke() == nil })
	if len(kills.created.Users) < 4 || len(kills.created.Roles) < 4 {
		t.Errorf("the kills left only %v: were they kills during an issue?", kills.created)
	}
	remaining := func() ours {
		left := leftovers(seed, cloud.Inventory())
		left.add(kills.left())
		return left
	}
	left := remaining()
	for begun := time.Now(); !left.empty() && time.Since(begun) < 6*time.Minute; {
		<-time.After(200 * time.Millisecond)
		left = remaining()
	}
	fmt.Printf("TestResourceGroups: leases %d calls %d kills %d orphans %d\n", len(leases), calls, cases, len(left.Users)+len(left.Roles)+len(left.Policies))
	if !left.empty() {
		t.Errorf("after rollback RAM still holds %v", left)
	}
}

// groupsSeed is the default account with a policy that starts instances, and an
// instance in each of two resource groups.
func groupsSeed() alisim.Seed {
	seed := alisim.DefaultSeed()
	a := &seed.Accounts[0]
	a.ResourceGroups = []string{"rg-1", "rg-2"}
	a.Resources = map[string]string{"ecs:instance/i-1": "rg-1", "ecs:instance/i-2": "rg-2"}
	a.Policies = append(a.Policies, alisim.Policy{
		Name: "starter", Document: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:StartInstance","Resource":"*"}]}`,
	})
	return seed
}

// startInstance asks ECS to start an instance with the credentials of a lease, and
// returns the code of its refusal.
func startInstance(t *testing.T, cloud *alisim.Server, lease *api.Secret, id string) string {
	t.Helper()
	api, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	token, _ := lease.Data["security_token"].(string)
	err = api.Do(t.Context(), openapi.Request{
		Endpoint: "ecs.cn-hangzhou.aliyuncs.com", Version: "2014-05-26", Action: "StartInstance", Params: map[string]string{"InstanceId": id},
		Keys: openapi.Keys{AccessKeyID: lease.Data["access_key"].(string), AccessKeySecret: lease.Data["secret_key"].(string), SecurityToken: token},
	}, nil)
	if err == nil {
		return ""
	}
	refused, answered := errors.AsType[*openapi.Error](err)
	if !answered {
		t.Fatal(err)
	}
	return refused.Code
}
