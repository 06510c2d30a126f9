package backend

import (
	"slices"

	"github.com/hashicorp/vault/sdk/logical"
)

// The answers of one check.
const (
	checkYes     = "yes"
	checkNo      = "no"
	checkUnknown = "unknown"
	checkNot     = "not checked"
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

func checkResponse(principal string, findings []finding) *logical.Response {
	ok := !slices.ContainsFunc(findings, func(f finding) bool { return f.Result == checkNo && f.NeededFor != forExtras })
	return &logical.Response{Data: map[string]interface{}{"ok": ok, "principal": principal, "checks": findings}}
}
