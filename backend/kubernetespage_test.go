package backend_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// TestKubernetesPage runs the commands of docs/kubernetes.md with the policies
// of examples/kubernetes, and a token that lies and changes as in a pod.
func TestKubernetesPage(t *testing.T) {
	t.Parallel()
	const (
		cluster   = "c0123456789abcdef"
		issuerURL = "https://oidc-ack-cn-hangzhou.oss-cn-hangzhou.aliyuncs.com/" + cluster
		tokenPath = "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token"
		good      = "system:serviceaccount:vault:vault"
	)
	began := time.Now()
	seed := alisim.DefaultSeed()
	account := &seed.Accounts[0]
	simulated, err := alisim.Start(alisim.Options{NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(simulated.Close)
	elsewhere, err := simulated.Issuer(cluster) // its URL is the same in every simulator
	if err != nil {
		t.Fatal(err)
	}
	example := func(name string) alisim.Document {
		text := readPage(t, "../examples/kubernetes/"+name)
		return alisim.Document(strings.ReplaceAll(text, issuerURL, elsewhere.URL))
	}
	account.OIDCProviders = []alisim.OIDCProvider{{
		Name: "ack-rrsa-" + cluster, IssuerURL: elsewhere.URL, ClientIDs: []string{alisim.DefaultAudience},
	}}
	account.Policies = append(account.Policies, alisim.Policy{Name: "vault", Document: example("policy.json")})
	account.Roles = append(account.Roles, alisim.Role{Name: "vault", TrustPolicy: example("trust-policy.json"), Policies: []string{"vault"}})

	m := newSeededMount(t, seed)
	issuer, err := m.sim.Issuer(cluster)
	if err != nil {
		t.Fatal(err)
	}
	pod := projectedToken{t: t, dir: t.TempDir()}
	sign := func(subject string) string {
		token, err := issuer.Sign(alisim.IdentityToken{Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	pod.write("first", sign(good))
	c := &console{mount: m, began: began, local: map[string]string{tokenPath: filepath.Join(pod.dir, "token")}}
	examples := 0
	for n, block := range strings.Split(readPage(t, "../docs/kubernetes.md"), "```console\n") {
		block, _, _ = strings.Cut(block, "```\n")
		if n == 0 || !strings.HasPrefix(block, "$ vault ") {
			continue
		}
		for _, example := range strings.Split("\n"+block, "\n$ ")[1:] {
			examples++
			c.run(example)
		}
	}
	if examples != 5 {
		t.Errorf("the page has %d commands of vault, want 5", examples)
	}
	m.must(logical.ReadOperation, "creds/direct", nil)

	// It needs no credentials of the mount, and a config all the same.
	without := newSeededMount(t, seed)
	direct := m.must(logical.ReadOperation, "role/direct", nil).Data
	without.must(logical.UpdateOperation, "role/direct", map[string]any{
		"credential_type": direct["credential_type"], "role_arn": direct["role_arn"], "oidc_provider_arn": direct["oidc_provider_arn"],
		"oidc_token_file_path": filepath.Join(pod.dir, "token"),
	})
	without.refused(logical.ReadOperation, "creds/direct", nil, "no credentials are configured")
	config := without.simConfig()
	delete(config, "access_key")
	delete(config, "secret_key")
	config["credential_type"] = "default"
	without.must(logical.UpdateOperation, "config", config)
	if own, err := without.sim.Issuer(cluster); err != nil {
		t.Fatal(err)
	} else if token, err := own.Sign(alisim.IdentityToken{Subject: good}); err != nil {
		t.Fatal(err)
	} else {
		pod.write("own", token)
	}
	without.must(logical.ReadOperation, "creds/direct", nil)
	pod.write("again", sign(good))

	// The cluster has new keys, and the kubelet a new token: the old one is worth nothing.
	if err := issuer.Rotate(false); err != nil {
		t.Fatal(err)
	}
	pod.write("second", sign(good))
	m.must(logical.ReadOperation, "creds/direct", nil)
	m.start() // without a session, as after an hour
	m.must(logical.ReadOperation, "creds/deploy", nil)

	// Another pod of the cluster.
	pod.write("third", sign("system:serviceaccount:default:app"))
	m.refused(logical.ReadOperation, "creds/direct", nil, "AuthenticationFail.NoPermission")
}

// projectedToken is a directory as the kubelet makes it: a link to a link to
// the directory of the moment, which is changed in one step.
type projectedToken struct {
	t   *testing.T
	dir string
}

func (p projectedToken) write(version, token string) {
	p.t.Helper()
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(p.dir, ".."+version), 0o700))
	must(os.WriteFile(filepath.Join(p.dir, ".."+version, "token"), []byte(token), 0o600))
	must(os.Symlink(".."+version, filepath.Join(p.dir, "..data_tmp")))
	must(os.Rename(filepath.Join(p.dir, "..data_tmp"), filepath.Join(p.dir, "..data")))
	if err := os.Symlink(filepath.Join("..data", "token"), filepath.Join(p.dir, "token")); err != nil && !os.IsExist(err) {
		p.t.Fatal(err)
	}
}
