package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const (
	monitoringExample = "../examples/monitoring"

	// In TestMetrics a minute of the shipped rules is as long as this. So often
	// Prometheus scrapes there, and that long it waits for an answer: a scrape that a
	// busy machine does not answer in time begins each "for" of a rule anew.
	ruleMinute    = time.Second
	scrapeEvery   = 2 * time.Second
	evaluateEvery = 400 * time.Millisecond
	alertTimeout  = 5 * time.Minute
	ruleTolerated = 5 // seconds that a rotation may be late, in the place of an hour

	// So long a mount must go without an answer that is in time. A busy machine fails a few scrapes in a row.
	ruleNotScraped = 40 * time.Second
)

// prometheus finds a program of the package prometheus of Debian, or skips the test.
func prometheus(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s is missing, which CI must have: apt-get install prometheus", name)
	}
	t.Skipf("%s is missing: apt-get install prometheus", name)
	return ""
}

// TestMonitoringExample lets Prometheus's own tool read the scrape config and the
// rules that are shipped, and try when each alert fires.
func TestMonitoringExample(t *testing.T) {
	t.Parallel()
	promtool := prometheus(t, "promtool")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(monitoringExample)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yaml"}, {"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = dir
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
	tests, err := os.ReadFile(filepath.Join(monitoringExample, "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range shippedAlerts(t) {
		if !bytes.Contains(tests, []byte("- alertname: "+alert+"\n")) {
			t.Errorf("alerts_test.yaml does not let %s fire", alert)
		}
		if !bytes.Contains(page, []byte("\n### "+alert+"\n")) {
			t.Errorf("monitoring.md does not say what to do about %s", alert)
		}
	}
}

// shippedAlerts are the names of the alerts in alerts.yaml.
func shippedAlerts(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringExample, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, match[1])
	}
	return names
}

// alertCase is how an alert comes to fire in a mount of its own, with a cloud of its
// own, and how it ends.
type alertCase struct {
	alert string
	begin func(m *alertMount) // goes wrong
	use   func(m *alertMount) // is done meanwhile, all the time
	heal  func(m *alertMount) // beside the end of all faults
	after func(m *alertMount) // is done until the alert has ended
}

type alertMount struct {
	*vaultServer
	t     *testing.T
	path  string
	cloud *alisim.Server
}

func alertCases() []alertCase {
	issue := func(m *alertMount) { m.ask("creds/ci") }
	session := func(m *alertMount) { m.ask("creds/deploy") }
	status := func(m *alertMount) { m.ask("status") }
	return []alertCase{
		{
			alert: "VaultAlicloudNotScraped",
			begin: func(m *alertMount) { m.run(m.t, "policy", "delete", "metrics-of-"+m.path) },
			heal:  func(m *alertMount) { m.allowMetrics() },
		}, {
			alert: "VaultAlicloudCredentialsFailing",
			begin: func(m *alertMount) {
				m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
				m.write(m.t, m.path+"/config", map[string]any{"credential_type": "ram_role_arn", "role_arn": "acs:ram::1234567890123456:role/hub"})
			},
			use: issue, after: issue,
		}, {
			alert: "VaultAlicloudAccountFailing",
			begin: func(m *alertMount) {
				m.write(m.t, m.path+"/role/ci", map[string]any{"assume_role_arn": "acs:ram::1234567890123456:role/hub"})
				m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
			},
			use: issue, after: issue,
		}, {
			alert: "VaultAlicloudKeyRefused",
			begin: func(m *alertMount) {
				m.fault(alisim.Fault{Action: "CreateUser", Kind: alisim.FaultRefuse, Code: "InvalidAccessKeyId.NotFound", Status: http.StatusNotFound})
			},
			use: issue,
		}, {
			alert: "VaultAlicloudCallsFailing",
			begin: func(m *alertMount) { m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultError500}) },
			use:   session, after: session,
		}, {
			alert: "VaultAlicloudThrottled",
			begin: func(m *alertMount) { m.fault(alisim.Fault{Action: "AssumeRole", Kind: alisim.FaultThrottle}) },
			use:   session, after: session,
		}, {
			// The answer that has the new key is lost, and then RAM is ill.
			alert: "VaultAlicloudRotationLate",
			begin: func(m *alertMount) {
				m.write(m.t, m.path+"/static-role/app", map[string]any{
					"username": "legacy", "access_key": "LTAI5tLEGACY", "secret_key": "fake-legacy-secret", "rotation_period": "24h",
				})
				m.fault(alisim.Fault{Action: "CreateAccessKey", Kind: alisim.FaultApplyThenDrop})
				m.fault(alisim.Fault{Action: "ListAccessKeys", Kind: alisim.FaultRefuse, Skip: 1, Code: "NoPermission", Status: http.StatusForbidden})
				m.tell("rotate-role/app")
			},
			heal: func(m *alertMount) { m.write(m.t, m.path+"/rotate-role/app", nil) },
		}, {
			// Vault's storage is brought back from before the issue, and RAM refuses what
			// tidy removes.
			alert: "VaultAlicloudOrphans",
			begin: func(m *alertMount) {
				secret := m.read(m.t, m.path+"/creds/ci")
				mounts, err := m.api.Sys().ListMountsWithContext(m.t.Context())
				if err != nil {
					m.t.Fatal(err)
				}
				m.run(m.t, "delete", fmt.Sprintf("sys/raw/logical/%s/issued/%s", mounts[m.path+"/"].UUID, secret.Data["username"]))
				m.fault(alisim.Fault{Action: "DeleteUser", Kind: alisim.FaultRefuse, Code: "NoPermission", Status: http.StatusForbidden})
			},
			use:  func(m *alertMount) { m.tell("tidy") },
			heal: func(m *alertMount) { m.write(m.t, m.path+"/tidy", nil) },
		}, {
			alert: "VaultAlicloudQuotaNearlyUsed",
			begin: func(m *alertMount) { m.limitUsers(len(m.cloud.Inventory().Users)) },
			use:   status, after: status,
			heal: func(m *alertMount) { m.limitUsers(1000) },
		},
	}
}

// ask and tell make a request that may fail.
func (m *alertMount) ask(path string) {
	_, _ = m.api.Logical().ReadWithContext(m.t.Context(), m.path+"/"+path)
}
func (m *alertMount) tell(path string) {
	_, _ = m.api.Logical().WriteWithContext(m.t.Context(), m.path+"/"+path, nil)
}

func (m *alertMount) fault(f alisim.Fault) {
	m.t.Helper()
	if err := m.cloud.AddFault(f); err != nil {
		m.t.Fatal(err)
	}
}

func (m *alertMount) limitUsers(n int) {
	m.t.Helper()
	settings := m.cloud.Settings()
	settings.Quotas.Users = n
	if err := m.cloud.Configure(settings); err != nil {
		m.t.Fatal(err)
	}
}

// allowMetrics is the shipped policy, for this mount.
func (m *alertMount) allowMetrics() {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringExample, "policy.hcl"))
	if err != nil {
		m.t.Fatal(err)
	}
	policy := strings.Replace(string(text), `"alicloud/metrics"`, strconv.Quote(m.path+"/metrics"), 1)
	if err := m.api.Sys().PutPolicyWithContext(m.t.Context(), "metrics-of-"+m.path, policy); err != nil {
		m.t.Fatal(err)
	}
}

// TestMetrics scrapes a real Vault with a real Prometheus, by the scrape config, the
// agent and the rules that are shipped, in which only addresses and durations are
// others. Each alert has a mount and a cloud of its own: it fires when something goes
// wrong there, and ends when that is over; no other alert fires in that mount.
func TestMetrics(t *testing.T) {
	t.Parallel() // it waits most of the time
	promtool := prometheus(t, "promtool")
	program := prometheus(t, "prometheus")
	began := time.Now()
	raw := filepath.Join(t.TempDir(), "raw.hcl")
	if err := os.WriteFile(raw, []byte("raw_storage_endpoint = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := startVault(t, "-config="+raw)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)

	var mounts []*alertMount
	var policies []string
	cases := alertCases()
	for n := range cases {
		m := &alertMount{vaultServer: v, path: fmt.Sprintf("alicloud-%d", n+1)}
		m.t, m.cloud = t, startMonitoredCloud(t)
		v.enable(t, m.path, m.cloud)
		v.write(t, m.path+"/config", map[string]any{"max_retries": 0})
		m.allowMetrics()
		mounts, policies = append(mounts, m), append(policies, "metrics-of-"+m.path)
	}
	// What the dashboard shows of a mount that is well.
	v.run(t, "lease", "revoke", "-sync", v.read(t, mounts[0].path+"/creds/ci").LeaseID)
	v.write(t, mounts[0].path+"/tidy", map[string]any{"dry_run": true})

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(monitoringExample)); err != nil {
		t.Fatal(err)
	}
	startMonitoringAgent(t, v, dir, policies)
	p := startPrometheus(t, program, dir, v, mounts)
	eventually(t, alertTimeout, "every mount is scraped", func() bool { return len(p.query(t, `up == 1`)) == len(mounts) })

	var fired sync.Map
	t.Run("alerts", func(t *testing.T) {
		for n, c := range cases {
			t.Run(c.alert, func(t *testing.T) {
				t.Parallel()
				m := *mounts[n]
				m.t = t
				p.mayFire(t, m, c)
				fired.Store(c.alert, true)
			})
		}
	})
	for _, alert := range shippedAlerts(t) {
		if _, ok := fired.Load(alert); !ok {
			t.Errorf("%s did not fire and end", alert)
		}
	}

	// The names are as Prometheus wants them, and each expression of the dashboard is
	// one, and finds something, or nothing because nothing is wrong.
	scraped := v.run(t, "read", "-format=raw", mounts[0].path+"/metrics")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(scraped + "\n")
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
	expressions := dashboardExpressions(t)
	for _, expression := range expressions {
		found := p.query(t, expression)
		if len(found) == 0 && !strings.HasSuffix(expression, "> 0") {
			t.Errorf("the dashboard's %s finds nothing", expression)
		}
	}
	fmt.Printf("TestMetrics: alerts %d fired and ended, dashboard expressions %d, series of a mount %d, in %v\n",
		len(cases), len(expressions), len(p.query(t, fmt.Sprintf(`{mount=%q,__name__=~"vault_alicloud_.*"}`, mounts[0].path))), time.Since(began).Round(time.Second))
}

// startMonitoredCloud is a cloud with a RAM role for a mount to work as, and a user
// with a key for a static role.
func startMonitoredCloud(t *testing.T) *alisim.Server {
	t.Helper()
	seed := alisim.DefaultSeed()
	a := &seed.Accounts[0]
	a.Users = append(a.Users, alisim.User{Name: "legacy", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tLEGACY", Secret: "fake-legacy-secret"}}})
	a.Roles = append(a.Roles, alisim.Role{Name: "hub", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"}})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	return cloud
}

// startMonitoringAgent runs the shipped agent, and returns when the token is there.
func startMonitoringAgent(t *testing.T, v *vaultServer, dir string, policies []string) {
	t.Helper()
	v.run(t, "auth", "enable", "approle")
	v.run(t, "write", "auth/approle/role/prometheus", "token_policies="+strings.Join(policies, ","), "token_period=24h")
	for file, args := range map[string][]string{
		"role-id":   {"read", "-field=role_id", "auth/approle/role/prometheus/role-id"},
		"secret-id": {"write", "-f", "-field=secret_id", "auth/approle/role/prometheus/secret-id"},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(v.run(t, args...)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runAgent(t, v, dir, "agent.hcl")
	token := filepath.Join(dir, "token")
	eventually(t, agentTimeout, "the agent writes the token", func() bool {
		text, err := os.ReadFile(token)
		return err == nil && len(text) > 0
	})
	if info, err := os.Stat(token); err != nil || info.Mode().Perm() != 0o640&^umask(t) {
		t.Errorf("the token's file has mode %v", info.Mode().Perm())
	}
}

// umask is what new files of this process, and of those that it starts, are not allowed.
func umask(t *testing.T) os.FileMode {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^Umask:\s+(\d+)$`).FindSubmatch(status)
	if found == nil {
		t.Fatal("the kernel tells no umask")
	}
	mask, err := strconv.ParseUint(string(found[1]), 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	return os.FileMode(mask)
}

// prometheusServer is a real one.
type prometheusServer struct{ addr string }

// startPrometheus runs Prometheus until the test ends, with the shipped config for
// the mounts of the server, and the shipped rules.
func startPrometheus(t *testing.T, program, dir string, v *vaultServer, mounts []*alertMount) *prometheusServer {
	t.Helper()
	scaleRules(t, filepath.Join(dir, "alerts.yaml"))
	name := filepath.Join(dir, "prometheus.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config["global"] = map[string]any{"evaluation_interval": evaluateEvery.String()}
	job := config["scrape_configs"].([]any)[0].(map[string]any)
	job["scheme"], job["scrape_interval"], job["scrape_timeout"] = "http", scrapeEvery.String(), scrapeEvery.String()
	shipped := job["static_configs"].([]any)[0].(map[string]any)["labels"].(map[string]any)
	var targets []any
	for _, m := range mounts {
		labels := map[string]any{}
		for label, value := range shipped {
			labels[label] = strings.Replace(value.(string), mount, m.path, 1)
		}
		targets = append(targets, map[string]any{"targets": []string{strings.TrimPrefix(v.addr, "http://")}, "labels": labels})
	}
	job["static_configs"] = targets
	if text, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheusServer{}
	for range startTries { // another process may take the port between our look and Prometheus's
		p.addr = freeAddr(t)
		if err = p.start(t, program, dir, name); err == nil {
			return p
		}
	}
	t.Fatal(err)
	return nil
}

func (p *prometheusServer) start(t *testing.T, program, dir, config string) error {
	t.Helper()
	said := &output{}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+p.addr)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, said, said, time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-exited
		}
	}
	for deadline := time.Now().Add(startTimeout); ; <-time.After(50 * time.Millisecond) {
		response, err := http.Get("http://" + p.addr + "/-/ready")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				t.Cleanup(func() {
					stop()
					if t.Failed() {
						t.Logf("prometheus printed:\n%s", tail(said.String(), 4<<10))
					}
				})
				return nil
			}
		}
		select {
		case err := <-exited:
			return fmt.Errorf("prometheus exited: %w\n%s", err, said)
		default:
		}
		if time.Now().After(deadline) {
			stop()
			return fmt.Errorf("prometheus not ready after %v\n%s", startTimeout, said)
		}
	}
}

// scaleRules makes the minutes of the rules shorter.
func scaleRules(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	scaled := 0
	rules := regexp.MustCompile(`(for: |\[)(\d+)m\b`).ReplaceAllStringFunc(string(text), func(found string) string {
		scaled++
		match := regexp.MustCompile(`(for: |\[)(\d+)m`).FindStringSubmatch(found)
		minutes, _ := strconv.Atoi(match[2])
		return fmt.Sprintf("%s%dms", match[1], (time.Duration(minutes) * ruleMinute).Milliseconds())
	})
	rules = strings.Replace(rules, "rotation_late_seconds > 3600", fmt.Sprintf("rotation_late_seconds > %d", ruleTolerated), 1)
	notScraped := regexp.MustCompile(`(alert: VaultAlicloudNotScraped\n +expr: .*\n +for: )\w+\n`)
	if !notScraped.MatchString(rules) {
		t.Fatalf("VaultAlicloudNotScraped was not found in the rules:\n%s", rules)
	}
	rules = notScraped.ReplaceAllString(rules, fmt.Sprintf("${1}%dms\n", ruleNotScraped.Milliseconds()))
	if scaled < 10 || !strings.Contains(rules, fmt.Sprintf("> %d\n", ruleTolerated)) {
		t.Fatalf("only %d durations were found in the rules:\n%s", scaled, rules)
	}
	if err := os.WriteFile(name, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
}

// get asks Prometheus's API, and decodes data of the answer.
func (p *prometheusServer) get(t *testing.T, path string, data any) {
	t.Helper()
	response, err := http.Get("http://" + p.addr + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s\n%.500s", path, err, answer.Error, body)
	}
}

// query is an instant query.
func (p *prometheusServer) query(t *testing.T, expression string) []any {
	t.Helper()
	var data struct{ Result []any }
	p.get(t, "query?query="+url.QueryEscape(expression), &data)
	return data.Result
}

// firing are the alerts that fire for a mount.
func (p *prometheusServer) firing(t *testing.T, path string) []string {
	t.Helper()
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	p.get(t, "alerts", &data)
	names := map[string]bool{}
	for _, alert := range data.Alerts {
		if alert.State == "firing" && alert.Labels["mount"] == path {
			names[alert.Labels["alertname"]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// mayFire lets something go wrong until the alert fires, and heals it until the alert
// has ended.
func (p *prometheusServer) mayFire(t *testing.T, m alertMount, c alertCase) {
	until := func(what string, want []string, use func(*alertMount)) {
		t.Helper()
		eventually(t, alertTimeout, c.alert+" "+what, func() bool {
			if use != nil {
				use(&m)
			}
			now := p.firing(t, m.path)
			for _, other := range now {
				if other != c.alert {
					t.Fatalf("%s fires, where %s should", other, c.alert)
				}
			}
			return slices.Equal(now, want)
		})
	}
	until("does not fire while all is well", nil, nil)
	began := time.Now()
	c.begin(&m)
	until("fires", []string{c.alert}, c.use)
	fired := time.Since(began)
	m.cloud.ClearFaults()
	if c.heal != nil {
		c.heal(&m)
	}
	began = time.Now()
	until("ends", nil, c.after)
	t.Logf("fired after %v, ended after %v", fired.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
}

// dashboardExpressions are those of all panels, as Grafana sends them.
func dashboardExpressions(t *testing.T) (expressions []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringExample, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expressions = append(expressions, strings.NewReplacer("$mount", ".*", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	return expressions
}
