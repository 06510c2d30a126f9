package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// pipelines runs the files of the page "ci" as their runners do, with a token of
// a job on the main branch, and with tokens that Vault must not take.
func pipelines(t *testing.T, tt *tutorial) {
	github := map[string]string{"iss": githubIssuer, "sub": "repo:acme/shop:ref:refs/heads/main", "repository": "acme/shop", "ref": "refs/heads/main",
		"run_id": "1", "actor": "alice"}
	gitlab := map[string]string{"iss": gitlabIssuer, "sub": "project_path:acme/shop:ref_type:branch:ref:main", "aud": "https://vault.example.com",
		"project_path": "acme/shop", "ref": "main", "ref_type": "branch", "ref_protected": "true", "pipeline_id": "1", "user_login": "alice"}
	for _, tc := range []struct {
		name  string
		run   func(*testing.T, *tutorial, map[string]string) (said string, ok bool)
		job   map[string]string
		other map[string]string // claims that are otherwise; nil: the job may
		shown string
	}{
		{"GitHub", githubActions, github, nil, "assumed-role/deploy/github-acme-shop-deploy-"},
		{"GitHub, another branch", githubActions, github, map[string]string{"ref": "refs/heads/feature"}, ""},
		{"GitHub, another repository", githubActions, github, map[string]string{"repository": "acme/other"}, ""},
		{"GitHub, for another audience", githubActions, github, map[string]string{"aud": "https://elsewhere.example.com"}, ""},
		{"GitLab", gitlabCI, gitlab, nil, "assumed-role/deploy/gitlab-acme-shop-deploy-"},
		{"GitLab, an unprotected branch", gitlabCI, gitlab, map[string]string{"ref_protected": "false"}, ""},
		{"GitLab, another project", gitlabCI, gitlab, map[string]string{"project_path": "acme/other"}, ""},
	} {
		claims := maps.Clone(tc.job)
		maps.Copy(claims, tc.other)
		said, ok := tc.run(t, tt, claims)
		if ok != (tc.other == nil) || !strings.Contains(said, tc.shown) {
			t.Errorf("%s: succeeded %t, and printed\n%s", tc.name, ok, said)
		}
	}
	// Vault ends the leases of a token after it has answered that the token is revoked.
	eventually(t, 3*time.Minute, "no lease is left", func() bool {
		leases, err := tt.api.Logical().ListWithContext(t.Context(), "sys/leases/lookup/alicloud/creds/deploy")
		return err == nil && leases == nil
	})
}

// githubActions runs the steps of .github/workflows/deploy.yml, but for the
// installation of a program that is here. What a step puts into GITHUB_ENV, the
// next one has; what it has printed unmasked must not hold a secret.
func githubActions(t *testing.T, tt *tutorial, claims map[string]string) (said string, ok bool) {
	t.Helper()
	var workflow struct {
		Permissions map[string]string
		Env         map[string]string
		Jobs        map[string]struct {
			Steps []struct{ Name, If, Run string }
		}
	}
	tt.readYAML(t, ".github/workflows/deploy.yml", &workflow)
	if workflow.Permissions["id-token"] != "write" {
		t.Fatal("the job may not ask for a token")
	}
	const requestToken = "the-runner-gave-this-to-the-job"
	runner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer "+requestToken || r.URL.Query().Get("api-version") == "" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		asked := maps.Clone(claims)
		if asked["aud"] == "" {
			asked["aud"] = r.URL.Query().Get("audience")
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"count": 1, "value": tt.issuer.token(t, asked)})
	}))
	defer runner.Close()
	dir := t.TempDir()
	envFile := filepath.Join(dir, "env")
	env := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + runner.URL + "/idtoken?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + requestToken,
		"GITHUB_ENV=" + envFile, "RUNNER_TEMP=" + dir}
	masked := map[string]bool{}
	ok = true
	for _, step := range workflow.Jobs["deploy"].Steps {
		if step.Name == "Install the aliyun CLI" || !ok && step.If != "always()" {
			continue
		}
		kept, _ := os.ReadFile(envFile)
		printed, err := tt.job(t, append(env, strings.Fields(string(kept))...), workflow.Env, step.Run)
		ok = ok && err == nil
		for line := range strings.Lines(printed) {
			if value, isMask := strings.CutPrefix(strings.TrimSpace(line), "::add-mask::"); isMask {
				masked[value] = true
				continue
			}
			said += line
		}
	}
	kept, _ := os.ReadFile(envFile)
	for _, variable := range strings.Fields(string(kept)) {
		_, value, _ := strings.Cut(variable, "=")
		if !masked[value] || strings.Contains(said, value) {
			t.Errorf("%s is not masked", variable[:min(len(variable), 30)])
		}
	}
	return said, ok
}

// gitlabCI runs the script of .gitlab-ci.yml, whose lines are one shell.
func gitlabCI(t *testing.T, tt *tutorial, claims map[string]string) (said string, ok bool) {
	t.Helper()
	var pipeline map[string]struct {
		IDTokens  map[string]struct{ Aud string } `yaml:"id_tokens"`
		Variables map[string]string
		Script    []string
	}
	tt.readYAML(t, ".gitlab-ci.yml", &pipeline)
	job := pipeline["deploy"]
	claims["aud"] = job.IDTokens["VAULT_ID_TOKEN"].Aud
	said, err := tt.job(t, []string{"VAULT_ID_TOKEN=" + tt.issuer.token(t, claims)}, job.Variables, strings.Join(job.Script, "\n"))
	return said, err == nil
}

func (tt *tutorial) readYAML(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tt.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// job runs a script on a machine where nobody has logged in to anything. Its
// variables count, but for the address of Vault.
func (tt *tutorial) job(t *testing.T, env []string, variables map[string]string, script string) (said string, err error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = home
	for _, variable := range tt.env {
		if name, _, _ := strings.Cut(variable, "="); name != "VAULT_TOKEN" && name != "HOME" && name != "VAULT_ADDR" {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	for name, value := range variables {
		if name != "VAULT_ADDR" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Env = append(append(cmd.Env, "HOME="+home, "VAULT_ADDR="+tt.addr), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
