package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	tidyTimeout = 80 * time.Second // of one request
	tidyNames   = 20               // that a warning has
)

func (b *backend) pathTidy() *framework.Path {
	names := func(what string) *framework.FieldSchema {
		return &framework.FieldSchema{Type: framework.TypeStringSlice, Description: what, Required: true}
	}
	tidy := operation(b.tidy, "Remove RAM users, roles and policies of this mount that no lease stands for.", map[string]*framework.FieldSchema{
		"accounts": names("Accounts that were looked at: the mount's own, and those of assume_role_arn in roles, static roles and leases."),
		"dry_run":  {Type: framework.TypeBool, Description: "Whether nothing was removed.", Required: true},
		"users":    names("RAM users without a lease. Those in another account than the mount's are ARNs; so are roles and policies."),
		"roles":    names("RAM roles without a lease."),
		"policies": names("Custom policies that no lease uses."),
		"failed":   names("What could not be removed, and accounts that could not be looked at, each with the reason."),
	})
	tidy.ForwardPerformanceStandby = true // leases and their index belong to a cluster
	return &framework.Path{
		Pattern:      "tidy",
		DisplayAttrs: display("tidy", ""),
		Fields: map[string]*framework.FieldSchema{
			"dry_run": {Type: framework.TypeBool, Description: "List what would be removed, and remove nothing. Default false."},
		},
		Operations:   map[logical.Operation]framework.OperationHandler{logical.UpdateOperation: tidy},
		HelpSynopsis: "Find and remove what is left behind in RAM.",
		HelpDescription: `
Nothing should be left behind, but leases can be removed by force ("vault lease
revoke -force"), and storage restored from a snapshot. This lists the RAM users,
RAM roles and custom policies that carry the mark of this mount in this cluster,
prove by it that the mount has made them, and belong to no lease; and removes them.
It looks in the mount's own account, and in those of assume_role_arn in roles,
static roles and leases:

    vault write alicloud/tidy dry_run=true
    vault write -f alicloud/tidy

A lease counts until an hour after its last possible end. What was created less
than ten minutes ago is spared. What the built-in engine created carries no mark
and is never touched. Needs ram:ListUsers, ram:ListRoles, ram:ListPolicies,
ram:GetUser and ram:GetRole.
`,
	}
}

func (b *backend) tidy(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if b.readOnlyNode() {
		return nil, logical.ErrReadOnly
	}
	dry := data.Get("dry_run").(bool)
	mark, err := b.marks(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	c, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if c == nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(openapi.Urgent(ctx), tidyTimeout)
	defer cancel()

	searches, err := b.searches(ctx, req.Storage, c)
	if err != nil {
		return answer("listing what carries the mark of this mount", err)
	}
	eachAtOnce(searches, func(in *search) { in.list(ctx, mark) })
	if first := searches[0]; first.err != nil && len(searches) == 1 {
		return answer("listing what carries the mark of this mount", first.err)
	}
	known, err := readRecorded(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	eachAtOnce(searches, func(in *search) {
		if in.err == nil {
			in.compare(ctx, known, mark)
		}
		if in.err == nil && !dry {
			in.remove(ctx, req.Storage)
		}
	})
	return b.tidyResponse(searches, dry), nil
}

// tidyResponse is what was found in all accounts. What is in another account than the
// mount's is an ARN, so that it can be found.
func (b *backend) tidyResponse(searches []*search, dry bool) *logical.Response {
	found := map[ram.Kind][]string{ram.User: {}, ram.Role: {}, ram.CustomPolicy: {}}
	accounts, failed := []string{}, []string{}
	var unproven, warnings []string
	for n, in := range searches {
		prefix := ""
		named := func(e ram.Entity) string { return e.Name }
		if n > 0 {
			prefix = "account " + in.account + ": "
			named = func(e ram.Entity) string {
				return "acs:ram::" + in.account + ":" + strings.ToLower(string(e.Kind)) + "/" + e.Name
			}
		}
		switch {
		case in.idle && ram.Denied(in.err): // a hub that may assume roles, and nothing else
			warnings = append(warnings, "The mount's own account "+in.account+" was not looked at, because the mount may not list there. No role, static role or lease needs that")
			continue
		case in.err != nil:
			failed = append(failed, "account "+in.account+" was not looked at: "+advised(in.err))
			continue
		}
		accounts = append(accounts, in.account)
		for _, s := range in.strays {
			if !s.absent {
				found[s.Kind] = append(found[s.Kind], named(s.Entity))
			}
		}
		for _, failure := range in.failed {
			failed = append(failed, prefix+failure)
		}
		for _, e := range in.unproven {
			unproven = append(unproven, prefix+e.String())
		}
	}
	b.tidied.Store(&tidied{
		at: time.Now(), dry: dry, users: len(found[ram.User]), roles: len(found[ram.Role]), policies: len(found[ram.CustomPolicy]), failed: len(failed),
	})
	resp := &logical.Response{Data: map[string]interface{}{
		"dry_run": dry, "accounts": accounts,
		"users": found[ram.User], "roles": found[ram.Role], "policies": found[ram.CustomPolicy], "failed": failed,
	}}
	if len(unproven) > 0 {
		warnings = append(warnings, leftAlone(unproven))
	}
	return warned(resp, warnings)
}

// tidied is what tidy has found, for status and metrics.
type tidied struct {
	at                             time.Time
	dry                            bool
	users, roles, policies, failed int
}

func (t tidied) found() map[string]int {
	return map[string]int{"users": t.users, "roles": t.roles, "policies": t.policies}
}

// left is how much of it was left.
func (t tidied) left() int {
	if t.dry {
		return t.users + t.roles + t.policies
	}
	return t.failed
}

// leftAlone says what tidy did not believe.
func leftAlone(unproven []string) string {
	names := slices.Clone(unproven[:min(len(unproven), tidyNames)])
	if more := len(unproven) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "Left alone, because the mark of this mount is on it without the proof that the mount has made it: " + strings.Join(names, ", ") +
		". Somebody copied the mark, changed the name, or it is of a version before proofs and its lease is forgotten. Look who uses it, and delete it in RAM if nobody does"
}
