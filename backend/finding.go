package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// The answers of one check, and of all.
const (
	checkYes     = "yes"
	checkNo      = "no"
	checkUnknown = "unknown"
)

// finding is one line of the answer. NeededFor is in the words of
// docs/least-policy.md.
type finding struct {
	Action    string `json:"action"`
	On        string `json:"on"`
	NeededFor string `json:"needed_for"`
	Result    string `json:"result"`
	Fix       string `json:"fix"`
}

// forExtras are the permissions that a lease can do without as long as nobody
// else touches what belongs to it.
const forExtras = "extras"

// forQuotas is the permission to be told of the quotas of the account. Leases do
// without it.
const forQuotas = "quotas"

// findings is what a check found.
type findings []finding

// result is no if anything that leases need is missing, and yes only if nothing is
// in doubt.
func (fs findings) result() string {
	result := checkYes
	for _, f := range fs {
		switch {
		case f.NeededFor == forExtras, f.NeededFor == forQuotas:
		case f.Result == checkNo:
			return checkNo
		case f.Result == checkUnknown:
			result = checkUnknown
		}
	}
	return result
}

// report is what was found, a sentence a line: what is missing first.
func (fs findings) report() string {
	var lines, extras []string
	for _, result := range []string{checkNo, checkUnknown, checkYes} {
		for _, f := range fs {
			switch {
			case f.Result != result:
			case f.NeededFor == forExtras && result == checkNo:
				extras = append(extras, f.Action)
			default:
				lines = append(lines, f.String())
			}
		}
	}
	if len(extras) > 0 {
		lines = append(lines, fmt.Sprintf("no, but leases do without: %s. They remove what others may have added, see \"Clean-up\" in docs/least-policy.md.", strings.Join(extras, ", ")))
	}
	return strings.Join(lines, "\n")
}

func (f finding) String() string {
	text := f.Result + ": " + f.Action
	if f.On != "" {
		text += " on " + f.On
	}
	text += " (" + f.NeededFor + ")"
	if f.Fix != "" {
		text += ". " + f.Fix
	}
	return text
}

// needs are the permissions of a role: by action, the resources that it is needed on.
type needs map[string][]string

func (n needs) add(action string, resources ...string) {
	for _, r := range resources {
		if !slices.Contains(n[action], r) {
			n[action] = append(n[action], r)
		}
	}
}

// policy is a policy that grants them and nothing else, "" where none is needed.
// Actions on the same resources are in one statement.
func (n needs) policy() string {
	by := map[string]int{}
	var statements []ram.Statement
	for _, action := range slices.Sorted(maps.Keys(n)) {
		resources := slices.Sorted(slices.Values(n[action]))
		key := strings.Join(resources, " ")
		at, found := by[key]
		if !found {
			at, by[key] = len(statements), len(statements)
			statements = append(statements, ram.Allow(nil, resources))
		}
		statements[at].Action = append(statements[at].Action, action)
	}
	if len(statements) == 0 {
		return ""
	}
	return ram.PolicyOf(statements...)
}
