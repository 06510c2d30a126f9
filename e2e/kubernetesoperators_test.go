package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"gopkg.in/yaml.v3"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestKubernetesOperators makes the calls that four programs make which bring
// secrets of Vault into a cluster, for the manifests of examples/kubernetes, and
// holds the answers to what docs/kubernetes.md says becomes of sessions, RAM users
// and static roles. The calls are those of the programs' sources:
//
//   - Vault Secrets Operator: controllers/vaultdynamicsecret_controller.go, vault/client.go (June 2026)
//   - External Secrets: generators/v1/vault/vault.go, providers/v1/vault/auth_kubernetes.go (August 2026)
//   - Secrets Store CSI provider: internal/client/client.go, internal/provider/provider.go (August 2026)
//   - agent injector: agent-inject/agent/config.go (August 2026), whose agent is the real one
//
// A login by JWT stands in for the one of Kubernetes, which asks a cluster: both
// take the same call.
func TestKubernetesOperators(t *testing.T) {
	t.Parallel() // it waits for leases to end
	seed := alisim.DefaultSeed()
	seed.Accounts[0].Users = append(seed.Accounts[0].Users, alisim.User{Name: "legacy-app"})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	v := startVault(t)
	v.register(t, mount, need(t, programs.plugin), pluginVersion)
	v.enable(t, mount, cloud)
	v.write(t, mount+"/role/deploy", map[string]any{"ttl": "1h", "max_ttl": "2h"})
	v.write(t, mount+"/static-role/legacy", map[string]any{"username": "legacy-app", "rotation_period": "1h"})
	k := &cluster{vaultServer: v, cloud: cloud, ca: writeCA(t, cloud), issuer: startCIIssuer(t)}
	k.enableLogin(t)

	t.Run("Vault Secrets Operator", func(t *testing.T) { t.Parallel(); secretsOperator(t, k) })
	t.Run("External Secrets", func(t *testing.T) { t.Parallel(); externalSecrets(t, k) })
	t.Run("CSI provider", func(t *testing.T) { t.Parallel(); csiProvider(t, k) })
	t.Run("agent injector", func(t *testing.T) { t.Parallel(); agentInjector(t, k) })
}

// A cluster is what the operators have: service accounts, and a Vault that knows them.
type cluster struct {
	*vaultServer
	cloud  *alisim.Server
	ca     string
	issuer *ciIssuer
}

const kubernetesIssuer = "https://kubernetes.default.svc.cluster.local"

func (k *cluster) enableLogin(t *testing.T) {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(k.issuer.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	k.vaultServer.run(t, "auth", "enable", "-path=kubernetes", "jwt")
	k.write(t, "auth/kubernetes/config", map[string]any{
		"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), "bound_issuer": kubernetesIssuer,
	})
}

// role makes a role of the login, with a policy for paths and a life of tokens.
func (k *cluster) role(t *testing.T, name, ttl string, paths ...string) {
	t.Helper()
	policy := ""
	for _, path := range paths {
		policy += fmt.Sprintf("path %q { capabilities = [\"read\", \"update\"] }\n", path)
	}
	if err := k.api.Sys().PutPolicyWithContext(t.Context(), name, policy); err != nil {
		t.Fatal(err)
	}
	k.write(t, "auth/kubernetes/role/"+name, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_subject": "system:serviceaccount:shop:shop", "bound_audiences": "vault",
		"token_policies": name, "token_ttl": ttl,
	})
}

// jwt is a token of the service account shop.
func (k *cluster) jwt(t *testing.T) string {
	return k.issuer.token(t, map[string]string{"iss": kubernetesIssuer, "sub": "system:serviceaccount:shop:shop", "aud": "vault"})
}

// A caller makes calls over HTTP, and nothing that nobody tells it to.
type caller struct {
	k     *cluster
	token string
	calls []string // as method and path, with the query
}

// call makes one call as Vault's Go client does, and returns the answer, nil for a 204.
func (c *caller) call(t *testing.T, method, path string, query url.Values, body any) (*api.Secret, int) {
	t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	target := c.k.addr + "/v1/" + strings.TrimPrefix(path, "/")
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, content)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Vault-Request", "true")
	if c.token != "" {
		request.Header.Set("X-Vault-Token", c.token)
	}
	c.calls = append(c.calls, method+" "+strings.TrimPrefix(target, c.k.addr+"/v1/"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNoContent {
		return nil, answer.StatusCode
	}
	secret, err := api.ParseSecret(answer.Body)
	if err != nil && answer.StatusCode < 400 {
		t.Fatal(err)
	}
	return secret, answer.StatusCode
}

// must is call where an answer has to come.
func (c *caller) must(t *testing.T, method, path string, query url.Values, body any) *api.Secret {
	t.Helper()
	secret, status := c.call(t, method, path, query, body)
	if status != http.StatusOK || secret == nil {
		t.Fatalf("%s %s: %d", method, path, status)
	}
	return secret
}

// login logs in to a role of the cluster; method is PUT for what uses the Go
// client's Logical(), POST for the CSI provider.
func (c *caller) login(t *testing.T, method, role string) {
	t.Helper()
	c.token = ""
	c.token = c.must(t, method, "auth/kubernetes/login", nil, map[string]any{"role": role, "jwt": c.k.jwt(t)}).Auth.ClientToken
}

// works says whether the cloud takes the keys of an answer.
func (k *cluster) works(t *testing.T, s *api.Secret) bool {
	t.Helper()
	_, err := whoami(t, k.cloud, k.ca, keysOf(s.Data), "-sdk", "v1")
	return err == nil
}

func (k *cluster) userGone(s *api.Secret) func() bool {
	return func() bool {
		_, there := k.cloud.Inventory().User(s.Data["username"].(string))
		return !there
	}
}

// secretsOperator is Vault Secrets Operator.
func secretsOperator(t *testing.T, k *cluster) {
	var specs []struct {
		Metadata struct{ Name string }
		Spec     struct {
			Mount, Path      string
			RenewalPercent   int  `yaml:"renewalPercent"`
			AllowStaticCreds bool `yaml:"allowStaticCreds"`
			Revoke           bool
		}
	}
	k.manifests(t, "vault-secrets-operator.yaml", "VaultDynamicSecret", &specs)
	session, user, static := specs[0].Spec, specs[1].Spec, specs[2].Spec
	k.write(t, mount+"/role/ci-short", map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "80s", "max_ttl": "80s"})
	k.role(t, "vso", "1h", "alicloud/creds/*", "alicloud/static-cred/legacy", "sys/leases/revoke")
	o := &caller{k: k}
	o.login(t, "PUT", "vso")

	t.Run("a session", func(t *testing.T) {
		o.calls = nil
		path := session.Mount + "/" + session.Path
		first := o.must(t, "GET", path, nil, nil)
		if first.Renewable || first.LeaseDuration < 3500 {
			t.Fatalf("renewable %t, %d s", first.Renewable, first.LeaseDuration)
		}
		// It cannot be renewed: at renewalPercent of its life another is read. Nobody revokes the first.
		if life := time.Duration(first.LeaseDuration*session.RenewalPercent/100) * time.Second; time.Hour-life < 15*time.Minute {
			t.Errorf("the next read is %v after the first: SDKs want 15 minutes before the end", life)
		}
		second := o.must(t, "GET", path, nil, nil)
		if first.Data["access_key"] == second.Data["access_key"] {
			t.Error("the second read gives the same session")
		}
		if !slices.Equal(o.calls, []string{"GET alicloud/creds/deploy", "GET alicloud/creds/deploy"}) || !k.works(t, first) {
			t.Errorf("after %v the first session works: %t", o.calls, k.works(t, first))
		}
	})

	t.Run("a session with allowStaticCreds", func(t *testing.T) {
		answer := o.must(t, "GET", session.Mount+"/"+session.Path, nil, nil)
		if vsoStatic(t, answer) {
			t.Error("the operator would take it for static credentials, and follow a rotation")
		}
	})

	t.Run("a RAM user", func(t *testing.T) {
		o.calls = nil
		renew := func(s *api.Secret) *api.Secret {
			return o.must(t, "PUT", "/sys/leases/renew", nil, map[string]any{"lease_id": s.LeaseID, "increment": s.LeaseDuration})
		}
		long := o.must(t, "GET", user.Mount+"/"+user.Path, nil, nil)
		if !long.Renewable {
			t.Fatal("its lease cannot be renewed")
		}
		if renewed := renew(long); renewed.LeaseDuration < long.LeaseDuration || renewed.LeaseID != long.LeaseID {
			t.Errorf("renewed for %d s of %d", renewed.LeaseDuration, long.LeaseDuration)
		}
		first := o.must(t, "GET", user.Mount+"/creds/ci-short", nil, nil)
		time.Sleep(2 * time.Second) // max_ttl comes nearer, by the server's clock
		if renewed := renew(first); renewed.LeaseDuration >= first.LeaseDuration {
			t.Fatalf("renewed past max_ttl, for %d s", renewed.LeaseDuration)
		}
		// What is shorter than asked for makes the operator read another user.
		second := o.must(t, "GET", user.Mount+"/creds/ci-short", nil, nil)
		if first.Data["username"] == second.Data["username"] || !k.works(t, first) || !k.works(t, second) {
			t.Errorf("%v and %v: both must work for a while", first.Data["username"], second.Data["username"])
		}
		eventually(t, 5*time.Minute, "the first user is gone at its max_ttl", k.userGone(first))
	})

	t.Run("its resource is deleted", func(t *testing.T) {
		if !user.Revoke {
			t.Fatal("the manifest does not ask for it")
		}
		kept := o.must(t, "GET", user.Mount+"/"+user.Path, nil, nil)
		if _, status := o.call(t, "PUT", "/sys/leases/revoke", nil, map[string]any{"lease_id": kept.LeaseID}); status != http.StatusNoContent {
			t.Errorf("revoked: %d", status)
		}
		eventually(t, time.Minute, "the user is gone", k.userGone(kept))
		// Without the right to revoke, the operator goes on, and the user stays.
		k.role(t, "vso-narrow", "1h", "alicloud/creds/ci")
		narrow := &caller{k: k}
		narrow.login(t, "PUT", "vso-narrow")
		stays := narrow.must(t, "GET", user.Mount+"/"+user.Path, nil, nil)
		if _, status := narrow.call(t, "PUT", "/sys/leases/revoke", nil, map[string]any{"lease_id": stays.LeaseID}); status != http.StatusForbidden || k.userGone(stays)() {
			t.Errorf("without the right: %d, gone %t", status, k.userGone(stays)())
		}
	})

	t.Run("a static role", func(t *testing.T) {
		path := static.Mount + "/" + static.Path
		first := o.must(t, "GET", path, nil, nil)
		if !static.AllowStaticCreds || first.LeaseID != "" || !vsoStatic(t, first) {
			t.Fatalf("lease %q; the operator would never read it again", first.LeaseID)
		}
		k.vaultServer.run(t, "write", "-f", mount+"/rotate-role/legacy")
		second := o.must(t, "GET", path, nil, nil)
		if first.Data["access_key"] == second.Data["access_key"] || !vsoStatic(t, second) || first.Data["last_vault_rotation"] == second.Data["last_vault_rotation"] {
			t.Errorf("after a rotation: %v and %v", first.Data["last_vault_rotation"], second.Data["last_vault_rotation"])
		}
	})
}

// vsoStatic says whether Vault Secrets Operator takes an answer for static
// credentials, and so reads again after ttl. It wants a time of the last rotation
// and a period or schedule; times are RFC 3339, durations JSON numbers.
func vsoStatic(t *testing.T, s *api.Secret) bool {
	t.Helper()
	last, _ := s.Data["last_vault_rotation"].(string)
	at, err := time.Parse(time.RFC3339Nano, last)
	period, isNumber := s.Data["rotation_period"].(json.Number)
	schedule, _ := s.Data["rotation_schedule"].(string)
	if last == "" || err != nil || !isNumber && schedule == "" {
		return false
	}
	ttl, isNumber := s.Data["ttl"].(json.Number)
	left, err := ttl.Int64()
	if !isNumber || err != nil || left < 1 {
		t.Errorf("ttl is %v", s.Data["ttl"])
	}
	next := at.Add(time.Hour) // the period of the role
	if apart := time.Until(next) - time.Duration(left)*time.Second; apart.Abs() > time.Minute {
		t.Errorf("last_vault_rotation %v, rotation_period %v, ttl %v: the times are %v apart", last, period, ttl, apart)
	}
	return true
}

// externalSecrets is the generator VaultDynamicSecret of External Secrets: it logs
// in for each refresh, reads, and forgets token and lease.
func externalSecrets(t *testing.T, k *cluster) {
	var specs []struct {
		Spec struct {
			Path          string
			Method        string
			GetParameters map[string][]string `yaml:"getParameters"`
		}
	}
	k.manifests(t, "external-secrets.yaml", "VaultDynamicSecret", &specs)
	var refresh []struct {
		Spec struct {
			RefreshInterval string `yaml:"refreshInterval"`
		}
	}
	k.manifests(t, "external-secrets.yaml", "ExternalSecret", &refresh)
	spec := specs[0].Spec
	k.role(t, "eso", "1h", "alicloud/creds/*")
	k.role(t, "eso-short", "20s", "alicloud/creds/*")
	refreshed := func(role, path string) (*caller, *api.Secret) {
		o := &caller{k: k}
		o.login(t, "PUT", role)
		return o, o.must(t, spec.Method, path, spec.GetParameters, nil)
	}

	o, first := refreshed("eso", spec.Path)
	if !slices.Equal(o.calls, []string{"PUT auth/kubernetes/login", "GET alicloud/creds/deploy?ttl=40m"}) {
		t.Errorf("the calls are %v", o.calls)
	}
	interval, err := time.ParseDuration(refresh[0].Spec.RefreshInterval)
	if life := time.Duration(first.LeaseDuration) * time.Second; err != nil || life < 2300*time.Second || life < interval+15*time.Minute {
		t.Errorf("the session lives %v, and the next is read after %v (%v)", life, interval, err)
	}
	_, second := refreshed("eso", spec.Path)
	if first.Data["access_key"] == second.Data["access_key"] || !k.works(t, first) {
		t.Error("the first session must work on, and the second be another")
	}
	// The same by a write.
	if answer := o.must(t, "PUT", spec.Path, nil, map[string]any{"ttl": "40m"}); answer.LeaseDuration < 2300 {
		t.Errorf("by a write: %d s", answer.LeaseDuration)
	}

	// Each refresh makes another RAM user, and nobody ends the one before ...
	_, one := refreshed("eso", "/alicloud/creds/ci")
	_, two := refreshed("eso", "/alicloud/creds/ci")
	if k.userGone(one)() || k.userGone(two)() {
		t.Error("a refresh has ended a user")
	}
	// ... and a user is gone with the token that the refresh has forgotten.
	_, short := refreshed("eso-short", "/alicloud/creds/ci")
	if short.LeaseDuration < 60 {
		t.Errorf("the lease says %d s", short.LeaseDuration)
	}
	eventually(t, 5*time.Minute, "the user is gone with the token of 20 s", k.userGone(short))
}

// csiProvider is Vault's provider of the Secrets Store CSI driver.
func csiProvider(t *testing.T, k *cluster) {
	var classes []struct {
		Spec struct {
			Parameters struct {
				Objects string
			}
		}
	}
	k.manifests(t, "csi.yaml", "SecretProviderClass", &classes)
	var objects []struct {
		ObjectName string `yaml:"objectName"`
		SecretPath string `yaml:"secretPath"`
		SecretKey  string `yaml:"secretKey"`
	}
	if err := yaml.Unmarshal([]byte(classes[0].Spec.Parameters.Objects), &objects); err != nil || len(objects) == 0 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	k.role(t, "csi", "1h", "alicloud/creds/*", "alicloud/static-cred/legacy")
	o := &caller{k: k}
	o.login(t, "POST", "csi")
	// One request to mount reads each path once, whatever the number of objects.
	mounted := func() map[string]string {
		read, files := map[string]*api.Secret{}, map[string]string{}
		for _, object := range objects {
			if read[object.SecretPath] == nil {
				read[object.SecretPath] = o.must(t, "GET", object.SecretPath, nil, nil)
			}
			content, has := read[object.SecretPath].Data[object.SecretKey].(string)
			if !has {
				t.Errorf("%s has no %s", object.SecretPath, object.SecretKey)
			}
			files[object.ObjectName] = content
		}
		return files
	}
	first := mounted()
	if !k.works(t, &api.Secret{Data: map[string]any{"access_key": first["access_key"], "secret_key": first["secret_key"], "security_token": first["security_token"]}}) {
		t.Error("the files are not of one session")
	}
	second := mounted() // the driver polls
	if !slices.Equal(o.calls, []string{"POST auth/kubernetes/login", "GET alicloud/creds/deploy", "GET alicloud/creds/deploy"}) || first["access_key"] == second["access_key"] {
		t.Errorf("the calls are %v", o.calls)
	}
	// With a RAM user each poll makes one; with a static role it reads the same key.
	one, two := o.must(t, "GET", "alicloud/creds/ci", nil, nil), o.must(t, "GET", "alicloud/creds/ci", nil, nil)
	if one.Data["username"] == two.Data["username"] || k.userGone(one)() {
		t.Error("a poll has ended a user, or found it again")
	}
}

// agentInjector runs the real agent, with the configuration that the injector makes
// of the annotations.
func agentInjector(t *testing.T, k *cluster) {
	var deployments []struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
	}
	k.manifests(t, "injector.yaml", "Deployment", &deployments)
	const of = "vault.hashicorp.com/"
	annotations := deployments[0].Spec.Template.Metadata.Annotations
	k.role(t, "injector", "1h", "alicloud/creds/*")

	// pod starts a pod whose template reads a role, and returns what ends it and the
	// keys in its file.
	pod := func(t *testing.T, role string, initContainer bool) (dir string, key func() string) {
		dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "jwt"), []byte(k.jwt(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "config.json")
		config := func(init bool) string {
			text, err := json.Marshal(map[string]any{
				"exit_after_auth": init, "pid_file": filepath.Join(dir, ".pid"), "vault": map[string]any{"address": k.addr},
				"auto_auth": map[string]any{
					"method": map[string]any{"type": "kubernetes", "mount_path": annotations[of+"auth-path"],
						"config": map[string]any{"role": "injector", "token_path": filepath.Join(dir, "jwt")}},
					"sink": []any{map[string]any{"type": "file", "config": map[string]any{"path": filepath.Join(dir, ".vault-token")}}},
				},
				"template": []any{map[string]any{"destination": file, "left_delimiter": "{{", "right_delimiter": "}}",
					"contents": strings.ReplaceAll(annotations[of+"agent-inject-template-config.json"], "creds/deploy", "creds/"+role)}},
				"template_config": map[string]any{"exit_on_retry_failure": true, "lease_renewal_threshold": json.Number(annotations[of+"template-lease-renewal-threshold"])},
			})
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("config-%t.json", init)
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}
		if initContainer {
			cmd := exec.CommandContext(t.Context(), k.binary, "agent", "-config="+config(true))
			cmd.Dir, cmd.Env = dir, k.environ()
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
		}
		key = func() string {
			text, _ := os.ReadFile(file)
			var rendered struct {
				Profiles []struct {
					ID string `json:"access_key_id"`
				}
			}
			if json.Unmarshal(text, &rendered) != nil || len(rendered.Profiles) != 1 {
				return ""
			}
			return rendered.Profiles[0].ID
		}
		before := key()
		runAgent(t, k.vaultServer, dir, config(false))
		eventually(t, agentTimeout, "the sidecar has rendered", func() bool { return key() != "" && key() != before })
		return dir, key
	}
	users := func(role string) (n int) {
		for _, user := range k.cloud.Inventory().Users {
			if strings.Contains(user.Name, "-"+role+"-") {
				n++
			}
		}
		return n
	}
	for _, name := range []string{"inj-session", "inj-init", "inj-alone"} {
		role := map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "1h"}
		if name == "inj-session" {
			role = map[string]any{"role_arn": roleARN, "ttl": agentLease.String()}
		}
		k.write(t, mount+"/role/"+name, role)
	}

	t.Run("a session", func(t *testing.T) {
		_, key := pod(t, "inj-session", true)
		first := key()
		began := time.Now()
		eventually(t, agentTimeout, "another session is in the file", func() bool { return key() != first && key() != "" })
		if took := time.Since(began); took > agentLease {
			t.Errorf("after %v of a lease of %v", took, agentLease)
		}
	})
	t.Run("a RAM user, with the init container", func(t *testing.T) {
		pod(t, "inj-init", true)
		if n := users("inj-init"); n != 2 {
			t.Errorf("%d users, want one of the init container and one of the sidecar", n)
		}
	})
	t.Run("a RAM user, without it, and the end of the pod", func(t *testing.T) {
		dir, _ := pod(t, "inj-alone", false)
		if n := users("inj-alone"); n != 1 {
			t.Errorf("%d users, want one", n)
		}
		if annotations[of+"agent-revoke-on-shutdown"] != "true" {
			t.Fatal("the manifest does not ask for it")
		}
		token, err := os.ReadFile(filepath.Join(dir, ".vault-token"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), k.binary, "token", "revoke", "-address="+k.addr, "-self")
		cmd.Env = append(slices.DeleteFunc(k.environ(), func(v string) bool { return strings.HasPrefix(v, "VAULT_TOKEN=") }), "VAULT_TOKEN="+string(token))
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		eventually(t, 5*time.Minute, "the user is gone with the pod", func() bool { return users("inj-alone") == 0 })
	})
}

// manifests reads the documents of one kind from a file of examples/kubernetes.
func (k *cluster) manifests(t *testing.T, file, kind string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kubernetesExample, file))
	if err != nil {
		t.Fatal(err)
	}
	var found []yaml.Node
	for _, document := range yamlDocuments(t, file, text) {
		var head struct{ Kind string }
		if err := document.Decode(&head); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if head.Kind == kind {
			found = append(found, *document.Content[0])
		}
	}
	list := yaml.Node{Kind: yaml.SequenceNode}
	for n := range found {
		list.Content = append(list.Content, &found[n])
	}
	if err := list.Decode(to); err != nil || len(found) == 0 {
		t.Fatalf("%s: %d of kind %s, %v", file, len(found), kind, err)
	}
}
