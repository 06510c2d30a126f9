package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	soakClients  = 16
	soakHolds    = 4                // leases of one client at a time
	soakPatience = 15 * time.Second // of a client with one request
	soakWALAge   = "20s"            // longer than that, so that no rollback meets an issue that goes on
)

// soakRoles are what clients read, by how often.
var soakRoles = []struct {
	name, kind string
	often      int
	role       map[string]any
}{
	{"session", "ram_role_arn", 4, map[string]any{"role_arn": roleARN}},
	{"reused", "ram_role_arn, reuse_ttl", 2, map[string]any{"role_arn": roleARN, "reuse_ttl": "20s"}},
	{"leaseless", "ram_role_arn, lease=false", 2, map[string]any{"role_arn": roleARN, "lease": false}},
	{"user", "ram_user", 3, map[string]any{
		"inline_policies": "[" + policyJSON + "]", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "30m", "max_ttl": "1h",
	}},
	{"role", "ram_role", 2, map[string]any{"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]", "ttl": "30m", "max_ttl": "1h"}},
}

// TestSoak lets 16 clients issue, renew and revoke leases of all kinds while
// the cloud throttles, fails and falls silent, and the plugin is killed again
// and again. In the end every lease can be revoked, nothing is left in RAM, and
// the plugin is no larger than it was. The load lasts a minute, with the machine
// to itself; make soak gives it twenty.
func TestSoak(t *testing.T) {
	load, killEvery := time.Minute, 8*time.Second
	if given := os.Getenv("SOAK"); given != "" {
		var err error
		if load, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
		killEvery = 30 * time.Second
	}
	plugin, err := goBuild("..", ".", "soak", "-X github.com/alicreds/vault-plugin-secrets-alicloud/backend.version="+pluginVersion+
		" -X github.com/alicreds/vault-plugin-secrets-alicloud/backend.walMinAge="+soakWALAge)
	if err != nil {
		t.Fatal(err)
	}
	s := &soak{cloud: startCloud(t), v: startVault(t), said: map[string]int{}, held: map[string]string{}, given: map[string]time.Time{}}
	s.v.register(t, mount, plugin, pluginVersion)
	s.v.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+pluginVersion, mount)
	s.v.write(t, mount+"/config", engineConfig(s.cloud))
	for _, r := range soakRoles {
		s.v.write(t, mount+"/role/"+r.name, r.role)
	}
	seed := s.cloud.Inventory()
	for _, r := range soakRoles { // warm: connections, caches
		if secret := s.v.read(t, mount+"/creds/"+r.name); secret.LeaseID != "" {
			s.v.run(t, "lease", "revoke", "-sync", secret.LeaseID)
		}
	}
	goroutines := s.goroutines(t)

	for n, fault := range []alisim.Fault{
		{Kind: alisim.FaultThrottle, Probability: 0.05, Delay: 50 * time.Millisecond},
		{Kind: alisim.FaultError500, Probability: 0.005},
		{Kind: alisim.FaultDrop, Probability: 0.003},
		{Kind: alisim.FaultApplyThenDrop, Probability: 0.003},
		{Kind: alisim.FaultApplyThenFail, Probability: 0.003},
	} {
		fault.Seed = uint64(n)
		if err := s.cloud.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), load)
	defer cancel()
	var clients sync.WaitGroup
	for n := range soakClients {
		clients.Go(func() { s.client(ctx, t, uint64(n)) })
	}
	s.killAndMeasure(ctx, t, killEvery)
	clients.Wait()
	s.cloud.ClearFaults()

	s.wantNoneLost(t)
	leases := s.revokeAll(t)
	t.Parallel() // the load is over, the rest waits
	left := s.waitForRollback(seed)
	byTidy, orphans := s.judge(left)
	after := s.goroutines(t)

	fmt.Printf("TestSoak: %v, %d clients, %d kills, %d cloud calls\n", load, soakClients, len(s.kills), s.cloudCalls())
	fmt.Printf("TestSoak: clients were told: %v\n", s.told())
	fmt.Printf("TestSoak: %d leases revoked in the end, orphans %d, cut off before Vault had the answer and left to tidy %d\n", leases, len(orphans), byTidy)
	fmt.Printf("TestSoak: RSS %s; open files %s; goroutines %d, were %d\n", s.rss, s.files, after, goroutines)
	if len(orphans) > 0 {
		t.Errorf("RAM still holds %v", orphans)
	}
	if len(s.kills) < 2 || s.said["issued"] < 100 {
		t.Errorf("that was no soak: %d kills, %d leases", len(s.kills), s.said["issued"])
	}
	// The pool keeps idle connections for a while, with two goroutines each, and
	// a client may have used several at a time. A leak would be one per lease.
	if after > goroutines+4*soakClients+10 {
		t.Errorf("goroutines grew from %d to %d", goroutines, after)
	}
	if s.rss.last > s.rss.first*3/2+30<<10 {
		t.Errorf("RSS grew: %s", s.rss)
	}
}

type soak struct {
	v     *vaultServer
	cloud *alisim.Server
	kills []span

	rss, files gauge

	mu     sync.Mutex
	said   map[string]int
	gaveUp []span               // when a client did
	held   map[string]string    // lease to user or role; "" for sessions
	given  map[string]time.Time // when a client was given a user or role
}

// A span is when something happened: not before from, and not after to.
type span struct{ from, to time.Time }

// gauge compares the processes of the plugin: the largest value of the first
// that lived for some seconds, and of the last.
type gauge struct {
	unit        string
	first, last int
	most        int
}

func (g gauge) String() string {
	return fmt.Sprintf("%d%s in the first process, %d%s in the last, never over %d%s", g.first, g.unit, g.last, g.unit, g.most, g.unit)
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[what]++
}

func (s *soak) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(s.said)) {
		all = append(all, fmt.Sprintf("%s %d", what, s.said[what]))
	}
	return strings.Join(all, ", ")
}

// failed counts what a client was told who waited until the deadline of ctx at most.
func (s *soak) failed(ctx context.Context, doing string, err error) {
	var refusal *api.ResponseError
	var network net.Error
	switch {
	case errors.As(err, &refusal):
		s.count(fmt.Sprintf("%s: %d", doing, refusal.StatusCode))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		s.count(doing + ": no answer")
		s.mu.Lock()
		defer s.mu.Unlock()
		deadline, _ := ctx.Deadline()
		s.gaveUp = append(s.gaveUp, span{deadline, time.Now()})
	default:
		s.count(doing + ": connection lost")
	}
}

// client issues, renews and revokes until ctx is done.
func (s *soak) client(ctx context.Context, t *testing.T, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 7))
	total := 0
	for _, r := range soakRoles {
		total += r.often
	}
	var leases []string
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(t.Context(), soakPatience)
		switch n := dice.IntN(10); {
		case len(leases) >= soakHolds || len(leases) > 0 && n < 3:
			lease := leases[0]
			leases = leases[1:]
			s.release(lease)
			if err := s.revoke(limited, lease); err != nil {
				s.failed(limited, "revoke", err)
			} else {
				s.count("revoked")
			}
		case len(leases) > 0 && n < 5:
			if _, err := s.v.api.Sys().RenewWithContext(limited, leases[0], 0); err != nil {
				s.failed(limited, "renew", err) // of a session: 400
			} else {
				s.count("renewed")
			}
		default:
			pick := dice.IntN(total)
			k := 0
			for ; pick >= soakRoles[k].often; k++ {
				pick -= soakRoles[k].often
			}
			secret, err := s.v.api.Logical().ReadWithContext(limited, mount+"/creds/"+soakRoles[k].name)
			switch {
			case err != nil:
				s.failed(limited, "issue", err)
			case secret == nil:
				t.Errorf("creds/%s: nothing there", soakRoles[k].name)
			default:
				s.count("issued")
				if secret.LeaseID != "" {
					s.hold(secret)
					leases = append(leases, secret.LeaseID)
				}
			}
		}
		cancel()
	}
}

func (s *soak) hold(secret *api.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _ := secret.Data["username"].(string)
	if arn, _ := secret.Data["arn"].(string); strings.Contains(arn, ":assumed-role/vault-") || strings.Contains(arn, ":role/vault-") {
		_, name, _ = strings.Cut(arn, "role/")
		name, _, _ = strings.Cut(name, "/")
	}
	if name != "" {
		s.given[name] = time.Now()
	}
	s.held[secret.LeaseID] = name
}

func (s *soak) release(lease string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, lease)
}

func (s *soak) revoke(ctx context.Context, lease string) error {
	_, err := s.v.api.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": true})
	return err
}

// killAndMeasure kills the plugin (SIGKILL) every now and then until ctx is
// done, and reads its size in between.
func (s *soak) killAndMeasure(ctx context.Context, t *testing.T, every time.Duration) {
	s.rss.unit = " KiB"
	second := time.NewTicker(time.Second)
	defer second.Stop()
	pid, killed, born, life := 0, 0, time.Now(), 0
	var rss, files int
	died := func() {
		if life++; life == 1 {
			s.rss.first, s.files.first = rss, files
		}
		s.rss.last, s.files.last = rss, files
		rss, files = 0, 0
	}
	for {
		select {
		case <-ctx.Done():
			died()
			return
		case <-second.C:
		}
		pids := s.v.pluginPIDs(mount)
		if newest := pids[len(pids)-1]; newest != pid {
			pid, born = newest, time.Now()
		}
		rss, files = max(rss, vmRSS(pid)), max(files, openFiles(pid))
		s.rss.most, s.files.most = max(s.rss.most, rss), max(s.files.most, files)
		if deadline, _ := ctx.Deadline(); time.Since(born) < every || time.Until(deadline) < every/2 {
			continue
		}
		if pid == killed {
			continue // on a busy machine Vault takes its time to start the next
		}
		died()
		from := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill %d: %v", pid, err)
		}
		killed = pid
		s.kills = append(s.kills, span{from, time.Now()})
		born = time.Now()
	}
}

// vmRSS is the resident memory of a process in KiB, and vmPeak the most it ever
// was; 0 if it has gone.
func vmRSS(pid int) int  { return vmStatus(pid, "VmRSS:") }
func vmPeak(pid int) int { return vmStatus(pid, "VmHWM:") }

func vmStatus(pid int, name string) int {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name); found {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kib
		}
	}
	return 0
}

func openFiles(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(files)
}

var goroutine = regexp.MustCompile(`goroutine \d+ [^\n]*\[[^\]]+\]:`)

// goroutines ends the plugin with SIGQUIT, on which Go prints them all, and
// waits until it has been started again.
func (s *soak) goroutines(t *testing.T) int {
	t.Helper()
	pids := s.v.pluginPIDs(mount)
	pid := pids[len(pids)-1]
	from := len(s.v.output.String())
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the plugin ends on SIGQUIT, and Vault has read all that it printed", func() bool {
		return strings.Contains(s.v.output.String()[from:], "plugin process exited")
	})
	eventually(t, 3*time.Minute, "the plugin is started again", func() bool {
		_, err := s.v.api.Logical().ReadWithContext(t.Context(), mount+"/config")
		return err == nil
	})
	return len(goroutine.FindAllString(s.v.output.String()[from:], -1))
}

// wantNoneLost wants a user or role in RAM for every lease that a client holds.
func (s *soak) wantNoneLost(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.cloud.Inventory()
	for lease, name := range s.held {
		user, isUser := all.User(name)
		role, isRole := all.Role(name)
		switch {
		case name == "":
		case !isUser && !isRole:
			t.Errorf("the lease %s is held, and %s is gone", lease, name)
		case isUser && (len(user.AccessKeys) != 1 || len(user.Policies) != 2), isRole && len(role.Policies) != 1:
			t.Errorf("the lease %s is held, and has lost something: %+v %+v", lease, user, role)
		}
	}
	if len(s.given) == 0 {
		t.Error("no user and no role was issued")
	}
}

// revokeAll revokes every lease that Vault lists. Vault itself may be at some of
// them, so each gets several tries.
func (s *soak) revokeAll(t *testing.T) int {
	t.Helper()
	seen := map[string]bool{}
	for deadline := time.Now().Add(4 * time.Minute); ; {
		var leases []string
		for _, role := range s.listLeases(t, mount+"/creds/") {
			for _, lease := range s.listLeases(t, role) {
				leases = append(leases, lease)
				seen[lease] = true
			}
		}
		if len(leases) == 0 {
			return len(seen)
		}
		var failed sync.Map
		work := make(chan string)
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for lease := range work {
					if err := s.revoke(t.Context(), lease); err != nil {
						failed.Store(lease, err)
					}
				}
			})
		}
		for _, lease := range leases {
			work <- lease
		}
		close(work)
		workers.Wait()
		if time.Now().After(deadline) {
			failed.Range(func(lease, err any) bool { t.Errorf("%v cannot be revoked: %v", lease, err); return true })
			return len(seen)
		}
		<-time.After(500 * time.Millisecond)
	}
}

// listLeases lists what there is below a prefix: leases, or a further "prefix/".
func (s *soak) listLeases(t *testing.T, prefix string) (below []string) {
	t.Helper()
	listed, err := s.v.api.Logical().ListWithContext(t.Context(), "sys/leases/lookup/"+prefix)
	if err != nil {
		t.Fatal(err)
	}
	if listed == nil {
		return nil
	}
	for _, key := range listed.Data["keys"].([]any) {
		below = append(below, prefix+key.(string))
	}
	return below
}

// waitForRollback waits until RAM holds nothing of ours, or what is left has
// had every chance: Vault rolls back once a minute.
func (s *soak) waitForRollback(seed alisim.Inventory) ours {
	left := leftovers(seed, s.cloud.Inventory())
	for start := time.Now(); !left.empty() && time.Since(start) < 3*time.Minute; {
		if byTidy, orphans := s.judge(left); byTidy > 0 && len(orphans) == 0 && time.Since(start) > 100*time.Second {
			break
		}
		<-time.After(200 * time.Millisecond)
		left = leftovers(seed, s.cloud.Inventory())
	}
	return left
}

// judge tells what a kill, or a client that gave up, cut off between the deletion of the WAL entry and the
// moment when Vault had the answer, which only tidy removes, from orphans. How long
// that takes is 2 s, or what it took this machine.
func (s *soak) judge(left ours) (byTidy int, orphans []string) {
	touched := map[string]time.Time{}
	for _, c := range s.cloud.Journal() {
		for _, param := range []string{"UserName", "RoleName"} {
			if name := c.Params[param]; name != "" && (strings.HasPrefix(c.Action, "Create") || strings.HasPrefix(c.Action, "Attach")) {
				touched[name] = c.Time
			}
		}
		if _, name, found := strings.Cut(c.Params["RoleArn"], ":role/"); found {
			touched[name] = c.Time
		}
	}
	longest := 2 * time.Second
	s.mu.Lock()
	for name, at := range s.given {
		if last, found := touched[name]; found {
			longest = max(longest, at.Sub(last))
		}
	}
	cuts := slices.Concat(s.kills, s.gaveUp)
	s.mu.Unlock()
	for _, name := range slices.Concat(left.Users, left.Roles) {
		if slices.ContainsFunc(cuts, func(cut span) bool {
			return touched[name].Before(cut.to) && cut.from.Sub(touched[name]) < longest
		}) {
			byTidy++
		} else {
			orphans = append(orphans, name)
		}
	}
	if byTidy == 0 { // else they hold the shared policy
		orphans = append(orphans, left.Policies...)
	}
	return byTidy, orphans
}

func (s *soak) cloudCalls() int {
	journal := s.cloud.Journal()
	return journal[len(journal)-1].Seq
}
