package backend

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	// tidyGrace is how long after the end of a lease its revocation may still
	// be on its way: Vault tries six times over about ten minutes.
	tidyGrace = time.Hour

	tidyTimeout = 80 * time.Second // of one request
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
RAM roles and custom policies that carry the mark of this mount in this cluster
and belong to no lease, and removes them:

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
	tag, err := b.tag(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	c, resp, err := b.cloudOrAnswer(ctx, req.Storage)
	if c == nil {
		return resp, err
	}
	ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	defer cancel()

	strays, err := b.strays(ctx, req.Storage, c, tag)
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
	return &logical.Response{Data: map[string]interface{}{
		"dry_run": dry, "users": found[ram.User], "roles": found[ram.Role], "policies": found[ram.CustomPolicy], "failed": failed,
	}}, nil
}

// stray is a user, role or policy that no lease stands for.
type stray struct {
	ram.Entity
	made   issued // what is known of a user or role
	absent bool   // RAM does not have it any longer: the index is to forget it
}

// strays compares what carries the mark of this mount with what leases stand for.
func (b *backend) strays(ctx context.Context, s logical.Storage, c *cloud, mark string) ([]stray, error) {
	// The cloud first, the index second: what is issued in between is in the
	// index and not in the list, never the other way round.
	marked, err := c.Marked(ctx, mark)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, m := range marked {
		there[m.Name] = true
	}
	live, ended, policies, err := b.indexed(ctx, s, c, there)
	if err != nil {
		return nil, err
	}
	var strays []stray
	for _, m := range marked {
		made, known := ended[m.Name]
		switch {
		case live[m.Name], policies[m.Name], !known && time.Since(m.Created) < b.tidyAge:
			continue
		case !known:
			made = issuedOf(m.Entity)
		}
		strays = append(strays, stray{Entity: m.Entity, made: made})
	}
	for name, made := range ended {
		if !there[name] {
			strays = append(strays, stray{Entity: made.entity(), made: made, absent: true})
		}
	}
	return strays, nil
}

// removeStrays removes users and roles first, and then the policies that they
// held. It returns what could not be removed, with the reasons.
func (b *backend) removeStrays(ctx context.Context, s logical.Storage, c *cloud, strays []stray) []string {
	failures := make([]error, len(strays))
	var w ram.Wave
	for n, left := range strays {
		if left.Kind != ram.CustomPolicy {
			w.Add(func() error {
				failures[n] = b.remove(ctx, s, c, left.made)
				return nil
			})
		}
	}
	_ = w.Run() // each failure is kept with its stray
	failed := []string{}
	for n, left := range strays {
		if left.Kind == ram.CustomPolicy {
			if err := c.DeleteUnused(ctx, left.Name); !ram.NotExist(err) {
				failures[n] = err
			}
		}
		if failures[n] != nil {
			failed = append(failed, left.String()+": "+advised(failures[n]))
		}
	}
	return failed
}

// indexed reads the index and the WAL: who is live (or being issued), what has
// outlived its lease, and which policies the live ones use. Who is neither there
// nor known to RAM has ended, too: the built-in engine or an administrator
// deletes without a word to the index.
func (b *backend) indexed(ctx context.Context, s logical.Storage, c *cloud, there map[string]bool) (live map[string]bool, ended map[string]issued, policies map[string]bool, err error) {
	live, ended, policies = map[string]bool{}, map[string]issued{}, map[string]bool{}
	keep := func(u issued) {
		live[u.name()] = true
		for _, p := range slices.Concat(u.InlinePolicies, u.RemotePolicies) {
			policies[p.Name] = true
		}
	}
	wal, err := framework.ListWAL(ctx, s)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, id := range wal {
		entry, err := framework.GetWAL(ctx, s, id)
		if err != nil {
			return nil, nil, nil, err
		}
		var u issued
		if entry != nil && recode(entry.Data, &u) == nil {
			keep(u) // the rollback's business
		}
	}
	names, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return nil, nil, nil, err
	}
	var unseen []issued
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+name)
		switch {
		case err != nil:
			return nil, nil, nil, err
		case entry == nil:
		case time.Since(entry.EndsBy) > tidyGrace:
			ended[name] = entry.issued
		case !there[name] && time.Since(entry.CreatedAt) > max(b.tidyAge, ram.VisibleWithin):
			unseen = append(unseen, entry.issued)
		default:
			keep(entry.issued)
		}
	}
	// It may be there and have lost its mark.
	missing := make([]bool, len(unseen))
	var w ram.Wave
	for n, u := range unseen {
		w.Add(func() error {
			missing[n] = ram.NotExist(c.Exists(ctx, u.entity()))
			return nil
		})
	}
	if err := w.Run(); err != nil {
		return nil, nil, nil, err
	}
	for n, u := range unseen {
		if missing[n] {
			ended[u.name()] = u
		} else {
			keep(u)
		}
	}
	return live, ended, policies, nil
}
