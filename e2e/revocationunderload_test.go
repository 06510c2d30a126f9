package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// revocationFailed is what Vault logs when an attempt to revoke a lease failed. It
// makes another one then, six in all.
const revocationFailed = "failed to revoke lease"

// TestRevocationUnderLoad ends leases of RAM users and roles while something else
// takes all there is: the calls in flight, RAM's rate, memory.
func TestRevocationUnderLoad(t *testing.T) {
	run := func(name string, test func(*testing.T, *alisim.Server, *vaultServer), env ...string) {
		t.Run(name, func(t *testing.T) {
			cloud := startCloud(t)
			v := startVaultWith(t, env)
			v.register(t, mount, need(t, programs.plugin), pluginVersion)
			v.enable(t, mount, cloud)
			test(t, cloud, v)
		})
	}
	run("readers of a slow STS", revokeDuringFlood)
	run("requests of a megabyte", refuseMegabytes, "GOMAXPROCS=2") // what decodes at a time decides on the memory
	t.Parallel()                                                   // those had the machine to themselves; what follows waits for RAM's rate
	run("leases that end at once", revokeThousand)
}

// revokeDuringFlood revokes 200 leases, all at the same time, while 300 readers ask
// again and again for sessions that take STS nine seconds.
func revokeDuringFlood(t *testing.T, cloud *alisim.Server, v *vaultServer) {
	const readers, leases = 300, 200
	seed := cloud.Inventory()
	ids := make([]string, leases)
	atOnce(32, leases, func(n int) { ids[n] = v.read(t, mount+"/creds/ci").LeaseID })

	if err := cloud.AddFault(alisim.Fault{Kind: alisim.FaultDelay, Action: "AssumeRole", Delay: 9 * time.Second}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var served atomic.Int32
	for range readers {
		flood.Go(func() {
			for ctx.Err() == nil {
				if _, err := v.api.Logical().ReadWithContext(ctx, mount+"/creds/deploy"); err == nil {
					served.Add(1)
				}
			}
		})
	}
	eventually(t, 3*time.Minute, "the flood has come", func() bool { return served.Load() > 0 })
	begun := time.Now()
	var failed atomic.Int32
	atOnce(leases, leases, func(n int) {
		if err := v.api.Sys().RevokeWithOptionsWithContext(t.Context(), &api.RevokeOptions{LeaseID: ids[n], Sync: true}); err != nil {
			if failed.Add(1) == 1 {
				t.Errorf("the first attempt to revoke a lease: %v", err)
			}
		}
	})
	took := time.Since(begun)
	cancel()
	flood.Wait()
	left := leftovers(seed, cloud.Inventory())
	fmt.Printf("TestRevocationUnderLoad: readers %d, leases revoked %d in %.1fs, second attempts %d, left %d\n",
		readers, leases, took.Seconds(), failed.Load(), len(left.Users))
	if failed.Load() > 0 || !left.empty() {
		t.Errorf("%d of %d leases were not revoked at the first attempt, and %v is left", failed.Load(), leases, left)
	}
}

// revokeThousand ends a thousand leases in one moment, with the token that read
// them. RAM takes 20 writes a second: three for a user, two for a role.
func revokeThousand(t *testing.T, cloud *alisim.Server, v *vaultServer) {
	const users, roles = 200, 800
	settings := alisim.DefaultSettings()
	settings.Quotas.Users, settings.Quotas.Roles = 2*users, 2*roles
	if err := cloud.Configure(settings); err != nil {
		t.Fatal(err)
	}
	policies := []string{"name:AliyunOSSReadOnlyAccess,type:System"}
	v.write(t, mount+"/role/user", map[string]any{"remote_policies": policies, "ttl": "1h"})
	v.write(t, mount+"/role/role", map[string]any{"credential_type": "ram_role", "remote_policies": policies, "ttl": "1h"})
	seed := cloud.Inventory()
	token, err := v.api.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"root"}, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := v.api.Clone()
	if err != nil {
		t.Fatal(err)
	}
	reader.SetToken(token.Auth.ClientToken)
	atOnce(16, users+roles, func(n int) {
		path := mount + "/creds/role"
		if n < users {
			path = mount + "/creds/user"
		}
		if _, err := reader.Logical().ReadWithContext(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	})
	if t.Failed() {
		return
	}
	settings.RateLimits = map[string]int{"Ram.write": 20, "Ram.read": 100}
	if err := cloud.Configure(settings); err != nil {
		t.Fatal(err)
	}
	cloud.ClearJournal()
	begun := time.Now()
	if err := v.api.Auth().Token().RevokeTreeWithContext(t.Context(), token.Auth.ClientToken); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		now := cloud.Inventory()
		return len(now.Users) - len(seed.Users) + len(now.Roles) - len(seed.Roles)
	}
	for count() > 0 && time.Since(begun) < 10*time.Minute {
		<-time.After(200 * time.Millisecond)
	}
	took := time.Since(begun)
	throttled := 0
	for _, c := range cloud.Journal() {
		if strings.HasPrefix(c.Code, "Throttling") {
			throttled++
		}
	}
	again := strings.Count(v.output.String(), revocationFailed)
	fmt.Printf("TestRevocationUnderLoad: leases ended at once %d, gone in %.0fs at 20 writes a second, second attempts %d, calls refused for the rate %d, left %d\n",
		users+roles, took.Seconds(), again, throttled, count())
	if count() != 0 {
		t.Errorf("left %d", count())
	}
	eventually(t, 3*time.Minute, "Vault has no lease any longer", func() bool {
		for _, path := range []string{"user", "role"} {
			if list, err := v.api.Logical().ListWithContext(t.Context(), "sys/leases/lookup/"+mount+"/creds/"+path); err != nil || list != nil {
				return false
			}
		}
		return true
	})
}

// refuseMegabytes sends policies, to a role and to a read of creds. Those of a megabyte
// are refused before the plugin receives them, for which Vault has no words, and
// smaller ones before it decodes them, with the field named.
func refuseMegabytes(t *testing.T, cloud *alisim.Server, v *vaultServer) {
	const requests, limit = 60, 100 // MiB
	v.read(t, mount+"/creds/deploy")
	pids := v.pluginPIDs(mount)
	pid := pids[len(pids)-1]
	before := vmPeak(pid)
	for _, burst := range []struct {
		size, width int
		refusal     string
	}{
		{1 << 20, requests, "internal error"},
		{300 << 10, 10, " bytes; the limit is "},
	} {
		// Of empty objects, which cost most once they are decoded.
		policy := `{"Version":"1","Statement":[` + strings.Repeat("{},", burst.size/3-20) + `{}]}`
		atOnce(burst.width, requests, func(n int) {
			path, field, value := mount+"/creds/deploy", "policy", policy
			if n%2 == 0 {
				path, field, value = fmt.Sprintf("%s/role/large-%d", mount, n), "inline_policies", "["+policy+"]"
			}
			if _, err := v.api.Logical().WriteWithContext(t.Context(), path, map[string]any{field: value}); err == nil || !strings.Contains(err.Error(), burst.refusal) {
				t.Errorf("%s: %.300v", path, err)
			}
		})
		after := vmPeak(pid)
		fmt.Printf("TestRevocationUnderLoad: memory of the plugin at its peak %d MiB after %d requests of %d KiB, %d at a time; %d MiB before\n",
			after>>10, requests, burst.size>>10, burst.width, before>>10)
		if after == 0 || after>>10 >= limit {
			t.Errorf("the plugin took %d MiB, want less than %d", after>>10, limit)
		}
	}
}

// atOnce does n things, so many at a time.
func atOnce(width, n int, do func(int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, width)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	all.Wait()
}
