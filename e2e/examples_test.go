package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"gopkg.in/yaml.v3"
)

const kubernetesExample = "../examples/kubernetes"

// TestExamples parses every file of examples, and holds those of
// examples/kubernetes, which speak of the same things, to each other.
func TestExamples(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir("../examples", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		switch filepath.Ext(name) {
		case ".json":
			if !json.Valid(text) {
				t.Errorf("%s is not JSON", name)
			}
		case ".yaml":
			yamlDocuments(t, name, text)
		case ".hcl", ".tf":
			if _, diagnostics := hclparse.NewParser().ParseHCL(text, name); diagnostics.HasErrors() {
				t.Error(diagnostics)
			}
		case ".ctmpl": // TestVaultAgent renders them all
			if !slices.ContainsFunc(agentTemplates(t), func(template string) bool { return template == filepath.Base(name) }) {
				t.Errorf("%s is rendered by no configuration", name)
			}
		default:
			t.Errorf("%s: nothing looks at files like this", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// agentTemplates are the templates that examples/agent/agent.hcl names.
func agentTemplates(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../examples/agent/agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "source" {
			names = append(names, strings.Trim(fields[2], `"`))
		}
	}
	return names
}

func yamlDocuments(t *testing.T, name string, text []byte) []yaml.Node {
	t.Helper()
	var documents []yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		documents = append(documents, document)
	}
}

// TestKubernetesExample holds the manifests, the Helm values, the trust policy
// and the page to each other: a pod gets the token that the policy trusts, at
// the path that the engine is told.
func TestKubernetesExample(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var namespace, account struct {
		Kind     string
		Metadata struct {
			Name, Namespace     string
			Labels, Annotations map[string]string
		}
	}
	documents := yamlDocuments(t, "serviceaccount.yaml", read(kubernetesExample+"/serviceaccount.yaml"))
	if len(documents) != 2 || documents[0].Decode(&namespace) != nil || documents[1].Decode(&account) != nil ||
		namespace.Kind != "Namespace" || account.Kind != "ServiceAccount" {
		t.Fatal("serviceaccount.yaml is not a Namespace and a ServiceAccount")
	}
	var values struct {
		Server struct {
			ServiceAccount       struct{ Name string } `yaml:"serviceAccount"`
			ExtraEnvironmentVars map[string]string     `yaml:"extraEnvironmentVars"`
			Volumes              []struct {
				Name      string
				Projected struct {
					Sources []struct {
						ServiceAccountToken struct {
							Path, Audience    string
							ExpirationSeconds int `yaml:"expirationSeconds"`
						} `yaml:"serviceAccountToken"`
					}
				}
			}
			VolumeMounts []struct {
				Name      string
				MountPath string `yaml:"mountPath"`
			} `yaml:"volumeMounts"`
			ExtraInitContainers []struct {
				Command      []string
				VolumeMounts []struct {
					Name      string
					MountPath string `yaml:"mountPath"`
				} `yaml:"volumeMounts"`
			} `yaml:"extraInitContainers"`
			Standalone struct{ Config string }
		}
	}
	if err := yaml.Unmarshal(read(kubernetesExample+"/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	server := values.Server
	if _, diagnostics := hclparse.NewParser().ParseHCL([]byte(server.Standalone.Config), "values.yaml"); diagnostics.HasErrors() {
		t.Error(diagnostics)
	}
	var trust struct {
		Statement []struct {
			Principal struct{ Federated []string }
			Condition map[string]map[string]string
		}
	}
	if err := json.Unmarshal(read(kubernetesExample+"/trust-policy.json"), &trust); err != nil {
		t.Fatal(err)
	}
	condition := trust.Statement[0].Condition["StringEquals"]
	token := server.Volumes[0].Projected.Sources[0].ServiceAccountToken
	same := func(what, got, want string) {
		t.Helper()
		if got != want || got == "" {
			t.Errorf("%s: %q and %q", what, got, want)
		}
	}
	same("service account of the pods", server.ServiceAccount.Name, account.Metadata.Name)
	same("namespace", account.Metadata.Namespace, namespace.Metadata.Name)
	same("injection", namespace.Metadata.Labels["pod-identity.alibabacloud.com/injection"], "on")
	same("subject", condition["oidc:sub"], "system:serviceaccount:"+namespace.Metadata.Name+":"+account.Metadata.Name)
	same("audience", condition["oidc:aud"], token.Audience)
	same("volume", server.VolumeMounts[0].Name, server.Volumes[0].Name)
	same("token file", server.ExtraEnvironmentVars["ALIBABA_CLOUD_OIDC_TOKEN_FILE"], server.VolumeMounts[0].MountPath+"/"+token.Path)
	same("provider", server.ExtraEnvironmentVars["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"], trust.Statement[0].Principal.Federated[0])
	_, role, _ := strings.Cut(server.ExtraEnvironmentVars["ALIBABA_CLOUD_ROLE_ARN"], ":role/")
	same("RAM role", role, account.Metadata.Annotations["pod-identity.alibabacloud.com/role-name"])
	// What TestReleaseReproducible does with the image of a release.
	bring := server.ExtraInitContainers[0]
	same("volume of the plugin", bring.VolumeMounts[0].Name, server.VolumeMounts[1].Name)
	same("how the plugin comes", strings.Join(bring.Command, " "), "/"+pluginName+" -install "+bring.VolumeMounts[0].MountPath)
	if !strings.Contains(server.Standalone.Config, `plugin_directory = "`+server.VolumeMounts[1].MountPath+`"`) {
		t.Errorf("Vault looks for plugins elsewhere than in %s", server.VolumeMounts[1].MountPath)
	}
	if token.ExpirationSeconds < 600 { // the least that Kubernetes takes
		t.Errorf("the token lives %d s", token.ExpirationSeconds)
	}

	page := string(read("../docs/kubernetes.md"))
	for _, needed := range []string{
		"oidc_token_file_path=" + server.ExtraEnvironmentVars["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] + " ",
		"oidc_provider_arn=" + trust.Statement[0].Principal.Federated[0] + " ",
		"role_arn=" + server.ExtraEnvironmentVars["ALIBABA_CLOUD_ROLE_ARN"] + " ",
	} {
		if !strings.Contains(page, needed) {
			t.Errorf("docs/kubernetes.md has no %s", needed)
		}
	}
}
