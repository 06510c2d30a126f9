package backend_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// TestFaultMatrix does everything that can go wrong at every step: each cloud
// call and each storage operation of each request fails, fails after it took
// effect, or is the last thing that the process or its client does. Afterwards
// Vault does what it always does: it starts the plugin again, repeats
// revocations, and rolls back. RAM then holds what it held before, no more and
// no less, and so does the storage. It runs on the clock of a bubble, where
// waiting costs nothing. With the race detector it leaves out most of
// it.
func TestFaultMatrix(t *testing.T) {
	skipMatrix(t)
	t.Parallel()
	var total tally
	t.Run("all", func(t *testing.T) {
		for _, s := range matrix {
			for _, retries := range []bool{false, true} {
				if retries && (s.brief || raceDetector) {
					continue
				}
				t.Run(fmt.Sprintf("%s, retries %v", s.name, retries), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						newWorld(t, s, retries, alisim.DefaultSettings()).runAll(harms(retries, s.brief), &total)
					})
				})
			}
		}
	})
	total.print(t, "TestFaultMatrix", 500)
}

// The same with a RAM that shows nothing at once: what is not visible yet must
// not be taken for gone, nor what is still attached for in use.
func TestFaultMatrixWithPropagation(t *testing.T) {
	skipMatrix(t)
	t.Parallel()
	var total tally
	t.Run("all", func(t *testing.T) {
		for _, s := range matrix {
			if s.request == "tidy" || s.request == "renew" || raceDetector && (s.brief || s.request != "issue") {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const d = 12 * time.Second
					settings := alisim.DefaultSettings()
					settings.Propagation = alisim.Propagation{User: d, Group: d, Role: d, Policy: d, Attachment: d, AccessKey: d}
					newWorld(t, s, false, settings).runAll(harms(false, true), &total)
				})
			})
		}
	})
	total.print(t, "TestFaultMatrixWithPropagation", 200)
}

// skipMatrix leaves a test of very many cases out of the quick loop.
func skipMatrix(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short")
	}
}

// scenario is a request, and what it works on.
type scenario struct {
	name    string
	request string // issue, revoke, renew, rollback, tidy
	role    map[string]any
	live    bool          // another lease shares the policies, and must go on working
	age     time.Duration // of the lease when it is revoked
	brief   bool          // leave out what hardly differs from what others show
	planted bool          // somebody has made policies under the names of the shared ones
	device  bool          // somebody has signed in and bound an MFA device
}

var (
	twoDocuments = "[" + allowOSS + "," + strings.Replace(allowOSS, "Get", "List", 1) + "]"
	system       = []string{"name:AliyunOSSReadOnlyAccess,type:System"}

	sharing = map[string]any{
		"inline_policies": twoDocuments, "remote_policies": system, "ram_groups": "readers", "ttl": "30m", "max_ttl": "1h",
	}
	perLease = map[string]any{
		"inline_policies": twoDocuments, "remote_policies": system, "policy_per_lease": true, "ttl": "30m", "max_ttl": "1h",
	}
	awaited = map[string]any{
		"inline_policies": twoDocuments, "remote_policies": system, "ram_groups": "readers", "ttl": "30m", "max_ttl": "1h", "wait_until_usable": "10s",
	}
	inGroups = map[string]any{
		"inline_policies": twoDocuments, "resource_group": "rg-1", "remote_policies": "name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-2",
		"ram_groups": "readers", "ttl": "30m", "max_ttl": "1h",
	}
	ramRoleInGroups = map[string]any{
		"credential_type": "ram_role", "inline_policies": twoDocuments, "resource_group": "rg-1", "policy_per_lease": true,
		"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-2", "ttl": "30m", "max_ttl": "1h",
	}
	withConsole = map[string]any{
		"inline_policies": twoDocuments, "remote_policies": system, "ram_groups": "readers", "ttl": "30m", "max_ttl": "1h", "console_login": true,
	}
	withConsoleAndKey = map[string]any{
		"inline_policies": twoDocuments, "remote_policies": system, "ram_groups": "readers", "ttl": "30m", "max_ttl": "1h", "console_login": true, "access_key": true,
	}
	inOther        = inSpoke(1, sharing)
	ramRoleInOther = inSpoke(1, ramRole)
	ramRole        = map[string]any{
		"credential_type": "ram_role", "inline_policies": twoDocuments, "remote_policies": system, "ttl": "30m", "max_ttl": "1h",
	}
)

var matrix = []scenario{
	{"issue ram_user, policies shared with a live lease", "issue", sharing, true, 0, false, false, false},
	{"issue ram_user, alone", "issue", sharing, false, 0, true, false, false},
	{"issue ram_user, policies per lease", "issue", perLease, false, 0, true, false, false},
	{"issue ram_user, and wait until the key is usable", "issue", awaited, false, 0, true, false, false},
	{"issue ram_user, with a login and no key", "issue", withConsole, false, 0, false, false, false},
	{"issue ram_user, with a login and a key", "issue", withConsoleAndKey, true, 0, true, false, false},
	{"issue ram_role, policies shared with a live lease", "issue", ramRole, true, 0, true, false, false},
	{"issue ram_role, alone", "issue", ramRole, false, 0, false, false, false},
	{"issue ram_user, policies that somebody planted", "issue", sharing, false, 0, false, true, false},
	{"issue ram_role, policies that somebody planted", "issue", ramRole, false, 0, true, true, false},
	{"revoke ram_user, policies shared with a live lease", "revoke", sharing, true, time.Minute, true, false, false},
	{"revoke ram_user, alone", "revoke", sharing, false, time.Minute, false, false, false},
	{"revoke ram_user, just issued", "revoke", sharing, false, 0, true, false, false},
	{"revoke ram_user, policies per lease", "revoke", perLease, false, time.Minute, true, false, false},
	{"revoke ram_user, with a login and no key", "revoke", withConsole, false, time.Minute, false, false, false},
	{"revoke ram_user, with a login and a key", "revoke", withConsoleAndKey, true, time.Minute, true, false, false},
	{"revoke ram_user, with a login and an MFA device", "revoke", withConsole, false, time.Minute, false, false, true},
	{"revoke ram_role, alone", "revoke", ramRole, false, time.Minute, false, false, false},
	{"issue ram_user, in resource groups, policies shared with a live lease", "issue", inGroups, true, 0, false, false, false},
	{"issue ram_role, in resource groups, policies per lease", "issue", ramRoleInGroups, false, 0, true, false, false},
	{"issue ram_user, in resource groups, policies that somebody planted", "issue", inGroups, false, 0, true, true, false},
	{"revoke ram_user, in resource groups, just issued", "revoke", inGroups, false, 0, true, false, false},
	{"revoke ram_user, in resource groups, policies shared with a live lease", "revoke", inGroups, true, time.Minute, true, false, false},
	{"revoke ram_role, in resource groups, policies per lease", "revoke", ramRoleInGroups, false, time.Minute, true, false, false},
	{"roll back ram_user, in resource groups", "rollback", inGroups, false, 0, true, false, false},
	{"renew ram_user", "renew", sharing, true, time.Minute, false, false, false},
	{"roll back ram_user", "rollback", sharing, false, 0, true, false, false},
	{"roll back ram_user, policies shared with a live lease", "rollback", sharing, true, 0, true, false, false},
	{"roll back ram_user, with a login and no key", "rollback", withConsole, false, 0, true, false, false},
	{"roll back ram_role, policies per lease", "rollback", map[string]any{
		"credential_type": "ram_role", "inline_policies": twoDocuments, "policy_per_lease": true, "ttl": "30m", "max_ttl": "1h",
	}, false, 0, true, false, false},
	{"tidy", "tidy", sharing, true, 0, true, false, false},
	{"issue ram_user in another account", "issue", inOther, false, 0, false, false, false},
	{"issue ram_role in another account", "issue", ramRoleInOther, false, 0, true, false, false},
	{"revoke ram_user in another account", "revoke", inOther, false, time.Minute, true, false, false},
	{"revoke ram_role in another account", "revoke", ramRoleInOther, false, time.Minute, true, false, false},
	{"roll back ram_user in another account", "rollback", inOther, false, 0, true, false, false},
	{"tidy in another account", "tidy", inOther, false, 0, true, false, false},
}

// harms are all there are, less those that retries make up for.
func harms(retries, brief bool) []harm {
	const (
		refuse  = alisim.FaultRefuse
		lost    = alisim.FaultApplyThenDrop
		slow    = alisim.FaultHold        // held until the client gives up, after it took effect
		foreign = alisim.FaultNoRequestID // answered as by something that is not the service (F4.3)
		twice   = alisim.FaultTwice       // delivered twice, and the second answer comes back (F1.3)
	)
	if raceDetector {
		return []harm{{fault: lost}, {act: kill, at: cloudCall}, {act: kill, at: storageOperation, after: true}}
	}
	all := []harm{{fault: lost}, {fault: refuse, goesOn: true}, {fault: foreign}, {fault: twice}}
	if !brief {
		all = append(all, harm{fault: foreign, goesOn: true}, harm{fault: twice, goesOn: true})
		all = append(all, harm{fault: lost, goesOn: true}, harm{fault: slow}, harm{fault: alisim.FaultApplyThenFail}, harm{fault: alisim.FaultThrottle, goesOn: true})
	}
	if !brief && !retries {
		for _, kind := range []alisim.FaultKind{refuse, alisim.FaultThrottle, alisim.FaultError500, alisim.FaultRedirect302, alisim.FaultDrop} {
			all = append(all, harm{fault: kind})
		}
		for _, kind := range []alisim.FaultKind{alisim.FaultError500, alisim.FaultRedirect302, alisim.FaultDrop, alisim.FaultApplyThenFail} {
			all = append(all, harm{fault: kind, goesOn: true})
		}
	}
	all = append(all, harm{act: move, at: cloudCall, after: true})
	for _, after := range []bool{false, true} {
		all = append(all, harm{act: kill, at: cloudCall, after: after})
		if !retries {
			all = append(all,
				harm{act: kill, at: storageOperation, after: after},
				harm{act: fail, at: storageOperation, after: after, goesOn: true},
			)
		}
		if !retries && !brief {
			all = append(all,
				harm{act: fail, at: storageOperation, after: after},
				harm{act: giveUp, at: storageOperation, after: after},
				harm{act: giveUp, at: cloudCall, after: after},
			)
		}
	}
	return all
}

// world is a cloud and a storage on which cases run one after the other.
type world struct {
	*mount
	scenario
	live    *logical.Secret
	planted []string // policies of somebody else, under names that the mount would give
	before  alisim.Inventory
	ofIssue [2][]string // steps of an issue by a new process

	cases, orphans, byTidy int
}

func newWorld(t *testing.T, s scenario, retries bool, settings alisim.Settings) *world {
	t.Helper()
	toThePresent()
	seed := twoAccounts()
	seed.Accounts = append(seed.Accounts, withSpokes(1).Accounts[1])
	sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: seed, Settings: &settings, JournalSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	w := &world{mount: newMovingMountIn(t, sim), scenario: s}
	if retries {
		w.must(logical.UpdateOperation, "config", map[string]any{"max_retries": 3})
	}
	w.must(logical.UpdateOperation, "role/tested", s.role)
	w.must(logical.UpdateOperation, "role/live", map[string]any{"inline_policies": twoDocuments, "ttl": "24h", "max_ttl": "24h"})
	for action, params := range map[string]map[string]string{ // of others
		"CreateUser":   {"UserName": "vault-of-another-mount", "Comments": "vault 11111111-2222-3333-4444-555555555555 another tested"},
		"CreatePolicy": {"PolicyName": "vault-of-another-mount", "PolicyDocument": allowOSS, "Description": "vault"},
	} {
		w.admin(action, params)
	}
	if s.live {
		w.live = w.issued("live")
	}
	if s.planted {
		lease := w.issued("tested")
		for _, name := range lease.InternalData["shared_policies"].([]any) {
			w.planted = append(w.planted, name.(string))
		}
		w.settle(lease)
		w.plant()
	}
	w.before = w.inventory()
	for range 2 { // the first also makes the mount's tag
		w.boot()
		lease := w.issued("tested")
		w.ofIssue = w.steps()
		w.settle(lease)
		w.unchanged(w.before)
	}
	return w
}

// plant makes the planted policies, unless they are there: a rollback may delete
// one, which nobody holds, under a name of the mount.
func (w *world) plant() {
	for _, name := range w.planted {
		_ = w.callAs(adminKey, "CreatePolicy", map[string]string{"PolicyName": name, "PolicyDocument": allowAll}, nil)
	}
}

// boot starts a process.
func (w *world) boot() {
	w.t.Helper()
	w.process = w.next()
	w.start()
}

// do sends a request to the process. lost tells that its answer reaches nobody.
func (w *world) do(req *logical.Request) (resp *logical.Response, err error, lost bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	req.MountPoint, req.DisplayName = "alicloud/", "token"
	resp, err = w.HandleRequest(ctx, req)
	synctest.Wait() // what it began in the background
	return resp, err, w.isDead() || ctx.Err() != nil
}

// issued issues a lease that nothing goes wrong with.
func (w *world) issued(role string) *logical.Secret {
	w.t.Helper()
	resp, err, _ := w.do(&logical.Request{Operation: logical.ReadOperation, Path: "creds/" + role})
	if err != nil || resp == nil || resp.IsError() {
		w.t.Fatalf("issue of %s: %v %v", role, resp, err)
	}
	return resp.Secret
}

func (w *world) runAll(harms []harm, total *tally) {
	for _, h := range harms {
		for k := 0; w.run(h, k); k++ {
			if w.t.Failed() { // what is left would be found by all that follow
				total.add(w)
				return
			}
		}
	}
	total.add(w)
}

// run does harm h at step k, and tells whether there was such a step.
func (w *world) run(h harm, k int) bool {
	failed := w.t.Failed()
	w.boot()
	if w.live != nil { // Vault, too, would renew it
		if resp, err, _ := w.do(&logical.Request{Operation: logical.RenewOperation, Secret: w.live}); err != nil || resp.IsError() {
			w.t.Fatalf("renewal of the live lease: %v %v", resp, err)
		}
	}
	req, due := w.prepare()

	w.boot()
	w.suffer(h, k)
	resp, err, lost := w.do(req)
	w.sim.ClearFaults()
	w.keys.moved.Store(false)
	hit := len(w.steps()[h.at]) > k
	w.suffer(harm{}, 0)
	if w.isDead() {
		w.boot()
	}
	good := !lost && err == nil && (resp == nil || !resp.IsError())
	switch {
	case w.scenario.request == "issue" && good:
		w.whole(resp)
		due = resp.Secret
	case w.scenario.request == "revoke" && good:
		due = nil
	}
	w.settle(due)
	if w.scenario.request == "tidy" {
		w.tidyUp()
	}
	if strays := w.strays(); len(strays) > 0 {
		// Its WAL entry was gone, and nobody got to know of it.
		if w.scenario.request != "issue" || !lost {
			w.t.Errorf("the index holds %v", strays)
		}
		if got, err := w.tidied(true); err != nil || got != 0 {
			w.t.Errorf("tidy would remove %d, which may have a lease (%v)", got, err)
		}
		time.Sleep(time.Hour + tidyGrace)
		w.tidyUp()
		w.byTidy++
	}
	if hit {
		w.cases++
	}
	w.plant()
	if got := w.inventory(); !reflect.DeepEqual(got, w.before) {
		w.orphans++
		w.t.Errorf("left\n%+v\nwant\n%+v", got, w.before)
		w.before = got
	}
	if strays := w.strays(); len(strays) > 0 {
		w.t.Errorf("the index holds %v", strays)
	}
	if w.live != nil {
		w.alive()
	}
	if w.t.Failed() && !failed {
		w.t.Errorf("that was: %+v, step %d: answer %v, error %v", h, k, resp, err)
	}
	return hit
}

// prepare makes what the request of the scenario works on.
func (w *world) prepare() (*logical.Request, *logical.Secret) {
	w.t.Helper()
	switch w.scenario.request {
	case "issue":
		return &logical.Request{Operation: logical.ReadOperation, Path: "creds/tested"}, nil
	case "revoke", "renew":
		lease := w.issued("tested")
		if w.scenario.device {
			w.bindDevice(nameOf(lease), "phone")
		}
		time.Sleep(w.scenario.age)
		op := logical.RevokeOperation
		if w.scenario.request == "renew" {
			op = logical.RenewOperation
		}
		return &logical.Request{Operation: op, Secret: lease}, lease
	case "rollback": // of an issue that was killed when all was done
		w.suffer(harm{act: kill, at: storageOperation}, len(w.ofIssue[storageOperation])-1)
		if _, _, lost := w.do(&logical.Request{Operation: logical.ReadOperation, Path: "creds/tested"}); !lost {
			w.t.Fatal("the issue ended well")
		}
		time.Sleep(6 * time.Minute)
		return &logical.Request{Operation: logical.RollbackOperation}, nil
	}
	// tidy: two leases were removed by force; the index knows one of them.
	w.issued("tested")
	w.forget(w.issued("tested"))
	time.Sleep(time.Hour + tidyGrace + time.Minute)
	return &logical.Request{Operation: logical.UpdateOperation, Path: "tidy"}, nil
}

// settle does what Vault does: it repeats a revocation up to six times, and
// rolls back every minute what is old enough.
func (w *world) settle(due *logical.Secret) {
	w.t.Helper()
	var failed error
	for range 6 {
		if due != nil {
			if _, failed, _ = w.do(&logical.Request{Operation: logical.RevokeOperation, Secret: due}); failed == nil {
				due = nil
			}
		}
		time.Sleep(6 * time.Minute)
		if _, err, _ := w.do(&logical.Request{Operation: logical.RollbackOperation}); err != nil {
			failed = err
		}
		wal, err := framework.ListWAL(context.Background(), w.storage)
		if err != nil {
			w.t.Fatal(err)
		}
		if due == nil && len(wal) == 0 {
			return
		}
	}
	w.t.Errorf("revocation or rollback never ended: %v", failed)
}

// tidied asks for tidy, and returns how much it found.
func (w *world) tidied(dry bool) (int, error) {
	resp, err, _ := w.do(&logical.Request{Operation: logical.UpdateOperation, Path: "tidy", Data: map[string]any{"dry_run": dry}})
	if err != nil || resp.IsError() {
		return 0, fmt.Errorf("%v %w", resp, err)
	}
	found := 0
	for _, kind := range []string{"users", "roles", "policies"} {
		found += len(resp.Data[kind].([]any))
	}
	if failures := resp.Data["failed"].([]any); len(failures) > 0 {
		return found, fmt.Errorf("%v", failures)
	}
	return found, nil
}

func (w *world) tidyUp() {
	w.t.Helper()
	var found int
	var err error
	for range 3 {
		if found, err = w.tidied(false); err == nil && found == 0 {
			return
		}
		time.Sleep(time.Minute)
	}
	w.t.Errorf("tidy still finds %d: %v", found, err)
}

// strays are the entries of the index that belong to no lease.
func (w *world) strays() []string {
	w.t.Helper()
	names, err := w.storage.List(context.Background(), issuedPrefix)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return w.live != nil && name == w.live.InternalData["username"] })
}

// whole wants credentials that were issued to be worth something.
func (w *world) whole(resp *logical.Response) {
	w.t.Helper()
	time.Sleep(w.sim.Settings().Propagation.AccessKey)
	keys := 1
	switch login, keyless := resp.Data["login_name"] != nil, resp.Data["access_key"] == nil; {
	case login && w.signIn(resp) != alisim.SignInDone:
		w.t.Errorf("the login does not work: %s", w.signIn(resp))
	case login && keyless:
		keys = 0
	default:
		if _, err := w.ask(resp); err != nil {
			w.t.Errorf("the credentials do not work: %v", err)
		}
	}
	all, name := w.inventory(), nameOf(resp.Secret)
	user, isUser := all.User(name)
	ramRole, _ := all.Role(name)
	policies := slices.Concat(user.Policies, ramRole.Policies)
	if len(policies) != 3 {
		w.t.Errorf("%s has %d policies, want 3", name, len(policies))
	}
	for _, p := range policies {
		if slices.Contains(w.planted, p.Name) {
			w.t.Errorf("%s has %s, which somebody planted", name, p.Name)
		}
	}
	if groups, _ := resp.Secret.InternalData["ram_groups"].([]any); isUser && (len(user.AccessKeys) != keys || len(user.Groups) != len(groups)) {
		w.t.Errorf("issued: %+v", user)
	}
}

// alive wants the other lease to have its key and its policies.
func (w *world) alive() {
	w.t.Helper()
	user, found := w.inventory().User(w.live.InternalData["username"].(string))
	if !found || len(user.Policies) != 2 || len(user.AccessKeys) != 1 {
		w.t.Errorf("the live lease has %+v", user)
	}
}

// tally adds up what ran in parallel.
type tally struct {
	mu                     sync.Mutex
	cases, orphans, byTidy int
}

func (n *tally) add(w *world) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cases, n.orphans, n.byTidy = n.cases+w.cases, n.orphans+w.orphans, n.byTidy+w.byTidy
}

func (n *tally) print(t *testing.T, name string, atLeast int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Printf("%s: cases %d orphans %d (left to tidy: %d)\n", name, n.cases, n.orphans, n.byTidy)
	if n.cases < atLeast && !raceDetector {
		t.Errorf("only %d cases", n.cases)
	}
}

// A user that was created late, and is not visible when the issue fails, is left
// to the rollback and not taken for gone.
func TestUndoOfAUserThatWasCreatedLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := alisim.DefaultSettings()
		settings.Propagation.User = 15 * time.Second
		w := newWorld(t, scenario{role: perLease}, true, settings)
		w.fault(alisim.Fault{Kind: alisim.FaultDelay, Delay: time.Minute, Action: "CreateUser", Count: 3}) // three timeouts
		w.fault(alisim.Fault{Kind: alisim.FaultRefuse, Code: "LimitExceeded.Policy", Status: 409, Action: "CreatePolicy"})
		w.boot()
		start := time.Now()
		if resp, err, _ := w.do(&logical.Request{Operation: logical.ReadOperation, Path: "creds/tested"}); err != nil || !resp.IsError() {
			t.Fatalf("%v %v", resp, err)
		}
		if took := time.Since(start); took < ram.VisibleWithin {
			t.Fatalf("it took %v only", took)
		}
		w.sim.ClearFaults()
		w.settle(nil)
		w.unchanged(w.before)
	})
}

// RAM minds for a while an attachment that was its last: the policy must be
// deleted later, and not be taken for somebody's.
func TestSharedPolicyIsDeletedWhenItsLastAttachmentIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scenario{role: sharing}, true, alisim.DefaultSettings())
		w.boot()
		lease := w.issued("tested")
		w.fault(alisim.Fault{Kind: alisim.FaultRefuse, Code: "DeleteConflict.Policy.User", Status: 409, Action: "DeletePolicy"})
		if _, err, _ := w.do(&logical.Request{Operation: logical.RevokeOperation, Secret: lease}); err == nil {
			t.Error("the lease is taken for revoked, and its policies are there")
		}
		w.sim.ClearFaults()
		w.settle(lease)
		w.unchanged(w.before)
	})
}
