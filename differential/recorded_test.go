package differential

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// recording is a set-up with what other programs made of it when they were run
// against the simulator. The programs are no modules of this repository:
// aliyun-cli is the aliyun CLI 3.4.11, whose outcome is who the cloud says it
// is, and python is alibabacloud-credentials 1.0.12. credentials-go 1.4.14 and
// @alicloud/credentials 2.4.7 were run beside them.
type recording struct {
	Name     string            `json:"name"`
	Instance bool              `json:"instance"` // the machine has a role
	Env      map[string]string `json:"env"`
	Files    map[string]string `json:"files"` // below the home directory
	Links    map[string]string `json:"links"` // symbolic ones, and where they lead
	Mode     string            `json:"mode"`  // of config.json, octal
	Asks     int               `json:"asks"`
	Faults   []alisim.Fault    `json:"faults"`
	Outcomes map[string]string `json:"outcomes"`
}

func (r recording) setup() setup {
	s := setup{name: r.Name, config: chain, env: texts{}, files: r.Files, faults: r.Faults, asks: r.Asks, prepare: r.prepare}
	if !r.Instance {
		s.env["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
	}
	for name, value := range r.Env {
		s.env[name] = value
	}
	return s
}

func (r recording) prepare(t *testing.T, home string) {
	t.Helper()
	for name, target := range r.Links {
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	if r.Mode == "" {
		return
	}
	mode, err := strconv.ParseUint(r.Mode, 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(home, cliFile), os.FileMode(mode)); err != nil {
		t.Fatal(err)
	}
}

func readRecordings(t *testing.T) []recording {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(bytes.NewReader(text))
	lines.DisallowUnknownFields()
	var all []recording
	seen := map[string]bool{}
	for {
		var r recording
		if err := lines.Decode(&r); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if r.Name == "" || len(r.Outcomes) == 0 || seen[r.Name] {
			t.Errorf("%q has no name, no outcome or a namesake", r.Name)
		}
		seen[r.Name] = true
		all = append(all, r)
	}
}

// TestDifferentialRecorded runs the recorded set-ups through alicreds alone,
// and holds the differences to a list that gives a reason for each.
func TestDifferentialRecorded(t *testing.T) {
	recordings := readRecordings(t)
	b := newBed(t)
	ours := b.libraries(t)[0]
	golden := readGolden(t, "testdata/recorded.golden")
	found := map[string]difference{}
	var setups []setup
	ran, byCLI := 0, 0
	for _, r := range recordings {
		s := r.setup()
		setups = append(setups, s)
		if _, took := r.Outcomes["aliyun-cli"]; took {
			byCLI++
		}
		t.Run(r.Name, func(t *testing.T) {
			ran++
			got := difference{outcomes: map[string]string{}, reason: golden.all[r.Name].reason}
			got.outcomes[ourName] = b.run(t, s, ours)
			for program, outcome := range r.Outcomes {
				got.outcomes[program] = outcome
				if outcome != got.outcomes[ourName] {
					found[r.Name] = got
				}
			}
			if !*update {
				golden.compare(t, r.Name, got)
			}
		})
	}
	golden.finish(t, found, names(setups), ran, []string{ourName, "aliyun-cli", "python", goName, nodeName})
	t.Logf("%d of %d set-ups, %d of them by the aliyun CLI, %d differences", ran, len(setups), byCLI, len(found))
}
