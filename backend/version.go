package backend

import (
	"fmt"
	"regexp"
	"runtime/debug"
	"time"
)

// Set by the linker, and by nothing else:
//
//	-X .../backend.version=v1.2.3   what Vault is told is running
//	-X .../backend.walMinAge=1s     end-to-end tests only
var (
	version   = unversioned
	walMinAge = "5m"
)

const unversioned = "v0.0.0-dev"

var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-rc\.\d+)?$`)

// Version is the version the engine reports to Vault, with its leading "v":
// Vault compares it with the version given at registration, letter by letter.
// Where the linker was told none, it is the one that go install has fetched.
func Version() string {
	if version != unversioned {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Path == "github.com/alicreds/vault-plugin-secrets-alicloud" && released.MatchString(info.Main.Version) {
		return info.Main.Version
	}
	return version
}

// walAge is the age from which Vault offers a WAL entry for rollback. It must
// exceed issueTimeout plus the time RAM takes to show what was created, or a
// rollback could overtake the issue that it is meant to clean up after.
func walAge() (time.Duration, error) {
	age, err := time.ParseDuration(walMinAge)
	if err != nil || age <= 0 {
		return 0, fmt.Errorf("the plugin was linked with a bad walMinAge %q", walMinAge)
	}
	return age, nil
}
