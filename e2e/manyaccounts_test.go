package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// spokeAccount is the id of one more account, counted from 1.
func spokeAccount(n int) string { return fmt.Sprint(2000000000000000 + n) }

const spokeExternalID = "vault-of-the-hub"

// spokesSeed is the default account, whose user works in so many others as the role
// vault there, which asks for an external id.
func spokesSeed(accounts int) alisim.Seed {
	seed := alisim.DefaultSeed()
	trust := strings.Replace(string(alisim.TrustAccount(alisim.DefaultAccountID)), `"Principal"`,
		`"Condition":{"StringEquals":{"sts:ExternalId":"`+spokeExternalID+`"}},"Principal"`, 1)
	for n := range accounts {
		seed.Accounts = append(seed.Accounts, alisim.Account{
			ID:    spokeAccount(n + 1),
			Roles: []alisim.Role{{Name: "vault", TrustPolicy: alisim.Document(trust), Policies: []string{"AdministratorAccess"}}},
		})
	}
	return seed
}

// TestManyAccounts has 500 leases in 50 accounts, of a mount whose key belongs to one
// more. Roles are changed and deleted, and the plugin is started again. Then one account
// refuses everything and one throttles: all others issue and revoke as if nothing were.
// When the two are well again all is revoked, and nothing remains in RAM.
func TestManyAccounts(t *testing.T) {
	t.Parallel() // it waits for the two accounts
	const accounts, each = 50, 10
	const refusing, throttling = 7, 31
	cloud, err := alisim.Start(alisim.Options{Seed: spokesSeed(accounts)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)
	role := func(n int) map[string]any {
		fields := map[string]any{
			"inline_policies": "[" + policyJSON + "]", "ttl": "1h",
			"assume_role_arn": "acs:ram::" + spokeAccount(n) + ":role/vault", "assume_role_external_id": spokeExternalID,
		}
		if n%2 == 0 {
			fields["credential_type"] = "ram_role"
		}
		return fields
	}
	path := func(n int) string { return fmt.Sprint(mount, "/creds/in-", n) }
	for n := 1; n <= accounts; n++ {
		v.write(t, fmt.Sprint(mount, "/role/in-", n), role(n))
	}
	seed := cloud.Inventory()

	type lease struct {
		account int
		id      string
	}
	leases := make([]lease, accounts*each)
	atOnce(8, len(leases), func(i int) {
		n := i%accounts + 1
		leases[i] = lease{n, v.read(t, path(n)).LeaseID}
	})
	if t.Failed() {
		return
	}
	held := map[string]int{}
	now := cloud.Inventory()
	for _, u := range now.Users {
		held[u.AccountID]++
	}
	for _, r := range now.Roles {
		held[r.AccountID]++
	}
	for n := 1; n <= accounts; n++ {
		if got := held[spokeAccount(n)] - 1; got != each { // less the role vault
			t.Errorf("account %d has what %d leases stand for, of %d", n, got, each)
		}
	}

	for n := 1; n <= accounts; n++ {
		switch name := fmt.Sprint(mount, "/role/in-", n); n % 5 {
		case 0:
			v.run(t, "delete", name)
		case 1:
			v.write(t, name, map[string]any{"assume_role_arn": "acs:ram::" + spokeAccount(n%accounts+1) + ":role/vault"})
		case 2:
			v.write(t, name, map[string]any{"assume_role_arn": "", "assume_role_external_id": ""})
		}
	}
	v.write(t, "sys/plugins/reload/backend", map[string]any{"mounts": mount + "/"})
	for _, fault := range []alisim.Fault{
		{Kind: alisim.FaultRefuse, Account: spokeAccount(refusing), Code: "NoPermission", Status: 403},
		{Kind: alisim.FaultThrottle, Account: spokeAccount(throttling), Probability: 0.4, Delay: time.Second},
	} {
		if err := cloud.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}

	revoke := func(l lease) error {
		return v.api.Sys().RevokeWithOptionsWithContext(t.Context(), &api.RevokeOptions{LeaseID: l.id, Sync: true})
	}
	var refused, slow, failed atomic.Int32
	var slowest atomic.Int64 // of an account that is well
	left := make([]bool, len(leases))
	atOnce(16, len(leases), func(i int) {
		l, begun := leases[i], time.Now()
		err := revoke(l)
		left[i] = err != nil
		switch {
		case l.account == refusing && err != nil:
			refused.Add(1)
		case l.account == throttling:
			slow.Add(1)
		case err != nil:
			if failed.Add(1) == 1 {
				t.Errorf("a lease in an account that is well: %v", err)
			}
		default:
			for took := int64(time.Since(begun)); ; {
				before := slowest.Load()
				if took <= before || slowest.CompareAndSwap(before, took) {
					break
				}
			}
		}
	})
	if refused.Load() != each {
		t.Errorf("%d of the %d leases in the account that refuses everything were revoked", each-refused.Load(), each)
	}
	if failed.Load() > 0 {
		t.Errorf("%d leases in accounts that are well were not revoked at the first attempt", failed.Load())
	}
	tidy := v.write(t, mount+"/tidy", map[string]any{"dry_run": true}).Data
	if failures := fmt.Sprint(tidy["failed"]); !strings.Contains(failures, "account "+spokeAccount(refusing)+" was not looked at") {
		t.Errorf("tidy does not say that it could not look at account %d: %s", refusing, failures)
	}

	cloud.ClearFaults()
	again := 0
	for i, l := range leases {
		if left[i] {
			again++
			eventually(t, 3*time.Minute, "a lease of an account that is well again is revoked", func() bool { return revoke(l) == nil })
		}
	}
	rest := leftovers(seed, cloud.Inventory())
	fmt.Printf("TestManyAccounts: accounts %d leases %d, revoked at first %d (slowest of an account that is well %.1fs), later %d, orphans %d\n",
		accounts, len(leases), len(leases)-again, time.Duration(slowest.Load()).Seconds(), again, len(rest.Users)+len(rest.Roles)+len(rest.Policies))
	if !rest.empty() {
		t.Errorf("RAM still holds %v", rest)
	}
	tidy = v.write(t, mount+"/tidy", map[string]any{"dry_run": true}).Data
	if found := slices.Concat(tidy["users"].([]any), tidy["roles"].([]any), tidy["policies"].([]any), tidy["failed"].([]any)); len(found) != 0 || len(tidy["accounts"].([]any)) < accounts*3/5 {
		t.Errorf("tidy: %v", tidy)
	}
}
