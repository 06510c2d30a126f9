package differential

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nodeLibrary returns the command that asks @alicloud/credentials, which npm
// installs once below the user's cache directory. Without Node.js two
// libraries are compared; CI must have it.
func nodeLibrary(t *testing.T) (command []string, ok bool) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not there, and CI compares all libraries: install Node.js 18 or later with npm", program)
			}
			t.Logf("%s is not there: %s is NOT compared; install Node.js 18 or later with npm", program, nodeName)
			return nil, false
		}
	}
	dir, err := InstallNode(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	return []string{"node", "--require", filepath.Join(dir, "redirect.cjs"), filepath.Join(dir, "outcome.cjs")}, true
}
