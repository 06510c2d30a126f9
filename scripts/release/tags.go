package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
)

// releaseForm is what people tag. What git describe says of a commit between two
// tags has more to it.
var releaseForm = regexp.MustCompile(`^v\d+\.\d+\.\d+(-rc\.\d+)?$`)

// adapters is the directory of the other module that is published, with the
// same version.
const adapters = "adapters"

// checkAdapters wants the adapters to require this version of the main module.
// The replace that stands in their go.mod hides what they require, but only from us.
func (r release) checkAdapters(ctx context.Context) error {
	name := filepath.Join(r.source, adapters, "go.mod")
	text, err := exec.CommandContext(ctx, "go", "mod", "edit", "-json", name).Output()
	if err != nil {
		return fmt.Errorf("go mod edit -json %s: %w", name, err)
	}
	var file struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("go mod edit -json %s: %w", name, err)
	}
	required := "nothing"
	for _, m := range file.Require {
		if m.Path == modulePath {
			required = m.Version
		}
	}
	if required != r.version {
		return fmt.Errorf("%s requires %s of the main module, not %s: docs/release.md tells how to change that", name, required, r.version)
	}
	return nil
}

// sayTags tells how the modules are published.
func (r release) sayTags() {
	if r.key == "" {
		fmt.Fprintf(r.said, "%s is NOT signed: give -key, or make release KEY=FILE\n", sumsFile)
	}
	fmt.Fprintf(r.said, `Both modules have this version. Tag the commit that .ci/run has passed on, for each, and push the tags together:
  git tag %[1]s && git tag %[2]s/%[1]s
  git push --atomic origin %[1]s %[2]s/%[1]s
`, r.version, adapters)
}
