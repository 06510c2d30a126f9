package backend

import (
	"context"
	"fmt"
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
		"dry_run":  {Type: framework.TypeBool, Description: "Whether nothing was removed.", Required: true},
		"users":    names("RAM users without a lease."),
		"roles":    names("RAM roles without a lease."),
		"policies": names("Custom policies that no lease uses."),
		"failed":   names("What could not be removed, each with the reason."),
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
prove by it that the mount has made them, and belong to no lease; and removes them:

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

	strays, unproven, err := b.strays(ctx, req.Storage, c, mark)
	if err != nil {
		return answer("listing what carries the mark of this mount", err)
	}
	failed := []string{}
	if !dry {
		failed = b.removeStrays(ctx, req.Storage, c, strays)
	}
	found := map[ram.Kind][]string{ram.User: {}, ram.Role: {}, ram.CustomPolicy: {}}
	for _, s := range strays {
		if !s.absent {
			found[s.Kind] = append(found[s.Kind], s.Name)
		}
	}
	b.tidied.Store(&tidied{
		at: time.Now(), dry: dry, users: len(found[ram.User]), roles: len(found[ram.Role]), policies: len(found[ram.CustomPolicy]), failed: len(failed),
	})
	resp = &logical.Response{Data: map[string]interface{}{
		"dry_run": dry, "users": found[ram.User], "roles": found[ram.Role], "policies": found[ram.CustomPolicy], "failed": failed,
	}}
	if len(unproven) > 0 {
		resp.AddWarning(leftAlone(unproven))
	}
	return resp, nil
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
func leftAlone(unproven []ram.Entity) string {
	var names []string
	for _, e := range unproven[:min(len(unproven), tidyNames)] {
		names = append(names, e.String())
	}
	if more := len(unproven) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "Left alone, because the mark of this mount is on it without the proof that the mount has made it: " + strings.Join(names, ", ") +
		". Somebody copied the mark, changed the name, or it is of a version before proofs and its lease is forgotten. Look who uses it, and delete it in RAM if nobody does"
}
