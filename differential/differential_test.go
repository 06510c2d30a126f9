package differential

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

const childTime = 2 * time.Minute // a library is a program to start, on a machine that may be busy

// TestDifferential runs every set-up through each library, in a process of
// its own because libraries keep what they read of the environment.
func TestDifferential(t *testing.T) {
	b := newBed(t)
	libraries := b.libraries(t)
	golden := readGolden(t, "testdata/differential.golden")
	found := map[string]difference{}
	ran := 0
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) {
			ran++
			got := difference{outcomes: map[string]string{}, reason: golden.all[s.name].reason}
			for _, l := range libraries {
				want, listed := golden.all[s.name].outcomes[l.name]
				if !listed {
					want = s.want
				}
				got.outcomes[l.name] = b.runAgain(t, s, l, want)
				if got.outcomes[l.name] != got.outcomes[ourName] {
					found[s.name] = got
				}
			}
			if ours := got.outcomes[ourName]; ours != s.want {
				t.Errorf("%s: %q, want %q", ourName, ours, s.want)
			}
			if !*update {
				golden.compare(t, s.name, got)
			}
		})
	}
	if *update && len(libraries) < 3 {
		t.Fatal("-update needs all libraries")
	}
	golden.finish(t, found, names(setups), ran, []string{ourName, goName, nodeName})
	t.Logf("%d of %d set-ups, %d libraries, %d differences", ran, len(setups), len(libraries), len(found))
}

func TestSetups(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range setups {
		if s.name == "" || s.want == "" || seen[s.name] {
			t.Errorf("%q has no name, no outcome or a namesake", s.name)
		}
		seen[s.name] = true
	}
	if len(setups) < 40 {
		t.Errorf("%d set-ups", len(setups))
	}
}

const (
	ourName  = "alicreds"
	goName   = "credentials-go"
	nodeName = "@alicloud/credentials"
)

// library is a program that answers questions through one library.
type library struct {
	name    string
	command []string
}

// bed is the simulated cloud, and what processes need to get there.
type bed struct {
	cloud   *alisim.Server
	client  *openapi.Client
	caFile  string
	keyFile string // private half of the seeded key pair
	keyPEM  string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	seed := alisim.SourcesSeed()
	account := &seed.Accounts[0]
	account.Users[0].KeyPairs = []alisim.KeyPair{{
		ID: keyPairID, PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}}
	for i, r := range account.Roles {
		if slices.Contains([]string{"node", "pod", "local"}, r.Name) { // profiles assume a role with these
			account.Roles[i].Policies = append(r.Policies, "AliyunSTSAssumeRoleAccess")
		}
	}
	account.Roles = append(account.Roles, alisim.Role{
		Name: "hub", TrustPolicy: alisim.TrustAccount(account.ID), Policies: []string{"AliyunSTSAssumeRoleAccess"},
	})
	cloud, err := alisim.Start(alisim.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{
		cloud:   cloud,
		client:  client,
		caFile:  filepath.Join(dir, "ca.pem"),
		keyFile: filepath.Join(dir, "private.pem"),
		keyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
	write(t, b.caFile, string(cloud.CACertPEM()))
	write(t, b.keyFile, b.keyPEM)
	return b
}

func (b *bed) libraries(t *testing.T) []library {
	t.Helper()
	program := filepath.Join(t.TempDir(), "outcome")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./cmd/outcome")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	all := []library{{ourName, []string{program, "alicreds"}}, {goName, []string{program, "credentials-go"}}}
	if command, ok := nodeLibrary(t); ok {
		all = append(all, library{nodeName, command})
	}
	return all
}

// runAgain runs a set-up up to four times, until its outcome is the wanted one. The other
// libraries give the metadata service one second, and ask once: what makes them fail may
// be that this machine is busy.
func (b *bed) runAgain(t *testing.T, s setup, l library, want string) string {
	t.Helper()
	outcome := b.run(t, s, l)
	for n := 1; n < 4 && outcome != want; n++ {
		t.Logf("%s: %q, want %q: once more", l.name, outcome, want)
		outcome = b.run(t, s, l)
	}
	return outcome
}

// run puts the cloud and a home directory in order, and asks one library.
func (b *bed) run(t *testing.T, s setup, l library) string {
	t.Helper()
	b.cloud.Reset()
	if s.instance != nil {
		if err := b.cloud.SetInstance(*s.instance); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	fill := b.filler(t, s, home)
	for name, text := range s.files {
		write(t, filepath.Join(home, name), fill(text))
	}
	if s.prepare != nil {
		s.prepare(t, home)
	}
	for _, fault := range s.faults {
		fault.Malform = fill(fault.Malform)
		b.cloud.AddFault(fault)
	}
	q := Question{Config: map[string]any{}, Asks: max(s.asks, 1), MetadataURL: b.cloud.IMDSURL}
	for name, value := range s.config {
		if text, ok := value.(string); ok {
			value = fill(text)
		}
		q.Config[name] = value
	}
	var env []string
	for name, value := range s.env {
		env = append(env, name+"="+fill(value))
	}
	return b.ask(t, l, q, home, env...)
}

// command is a library about to be asked, in a home directory.
func (b *bed) command(ctx context.Context, t *testing.T, l library, q Question, home string, env ...string) *exec.Cmd {
	t.Helper()
	question, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, l.command[0], l.command[1:]...)
	cmd.Stdin = bytes.NewReader(question)
	cmd.WaitDelay = time.Second
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"HTTPS_PROXY=" + b.cloud.ProxyURL,
		"HTTP_PROXY=" + b.cloud.IMDSURL, // credentials-go asks even the metadata service through a proxy
		"SSL_CERT_FILE=" + b.caFile,
		"NODE_EXTRA_CA_CERTS=" + b.caFile,
		"REDIRECT_CLOUD=" + strings.TrimPrefix(b.cloud.URL, "https://"),
		"REDIRECT_METADATA=" + strings.TrimPrefix(b.cloud.IMDSURL, "http://"),
	}, env...)
	return cmd
}

// ask asks one library, and says in one line what came of it.
func (b *bed) ask(t *testing.T, l library, q Question, home string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), childTime)
	defer cancel()
	cmd := b.command(ctx, t, l, q, home, env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if said.Len() > 0 {
		line, _, _ := strings.Cut(said.String(), "\n")
		t.Logf("%s: %s", l.name, line)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "timeout"
	case errors.As(err, &exit):
		return "crash"
	case err != nil:
		t.Fatal(err)
	}
	var a Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return "crash" // it ended without an answer
	}
	return b.outcome(t, a)
}

// generated is a session name that a library made up.
var generated = regexp.MustCompile(`/(alicreds|credentials-go|credentials-nodejs)-[0-9a-f]+$`)

// outcome tells whose keys an answer holds, by asking the cloud.
func (b *bed) outcome(t *testing.T, a Answer) string {
	t.Helper()
	if a.Error {
		return "error"
	}
	words := []string{"ok", a.Type}
	if a.AccessKeyID != "" || a.AccessKeySecret != "" {
		b.cloud.ClearFaults()
		keys := openapi.Keys{AccessKeyID: a.AccessKeyID, AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken}
		whose := "nobody"
		if a.AccessKeyID != "" && a.AccessKeySecret != "" {
			id, err := alicreds.CallerIdentity(t.Context(), keys, alicreds.STSOptions{Client: b.client})
			var refused *openapi.Error
			switch {
			case err == nil:
				_, whose, _ = strings.Cut(id.ARN, alisim.DefaultAccountID+":")
			case !errors.As(err, &refused):
				t.Fatal(err)
			}
		}
		words = append(words, generated.ReplaceAllString(whose, "/*"))
	}
	if a.SecurityToken != "" {
		words = append(words, "with token")
	}
	if a.BearerToken != "" {
		words = append(words, "bearer token")
	}
	return strings.Join(words, " ")
}

// filler replaces what a set-up cannot know.
func (b *bed) filler(t *testing.T, s setup, home string) func(string) string {
	t.Helper()
	root := openapi.Keys{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret}
	hub, err := alicreds.AssumeRole(t.Context(), root, alicreds.RAMRoleARNOptions{
		RoleARN:         "acs:ram::" + alisim.DefaultAccountID + ":role/hub",
		RoleSessionName: "given",
		STSOptions:      alicreds.STSOptions{Client: b.client},
	})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := b.cloud.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Sign(alisim.IdentityToken{Defect: s.token})
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	inUnix := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	return strings.NewReplacer(
		"{home}", home,
		"{id}", root.AccessKeyID, "{secret}", root.AccessKeySecret,
		"{hub id}", hub.AccessKeyID, "{hub secret}", hub.AccessKeySecret, "{hub token}", hub.SecurityToken,
		"{jwt}", token,
		"{key file}", b.keyFile, "{key pem}", strings.ReplaceAll(b.keyPEM, "\n", `\n`),
		"{a byte}", "\xff", "{1.2 MB}", strings.Repeat("a", 1_200_000),
		"{sts}", strings.TrimPrefix(b.cloud.URL, "https://"),
		"{uri}", b.cloud.CredentialsURL,
		"{in 2 min}", in(2*time.Minute), "{in 10 min}", in(10*time.Minute), "{an hour ago}", in(-time.Hour),
		"{in an hour, unix}", inUnix(time.Hour), "{in 10 min, unix}", inUnix(10*time.Minute), "{an hour ago, unix}", inUnix(-time.Hour),
	).Replace
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
