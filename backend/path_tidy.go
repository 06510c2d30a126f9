package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	// tidyGrace is how long after the end of a lease its revocation may still
	// be on its way: Vault tries six times over about ten minutes.
	tidyGrace = time.Hour

	// tidyTimeout bounds one request, tidyPages what it lists. A page has
	// tidyItems, or fewer where others write long descriptions.
	tidyTimeout = 80 * time.Second
	tidyPages   = 200
	tidyItems   = 100
)

func (b *backend) pathTidy() *framework.Path {
	list := func(what string) *framework.FieldSchema {
		return &framework.FieldSchema{Type: framework.TypeStringSlice, Description: what, Required: true}
	}
	return &framework.Path{
		Pattern:      "tidy",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "tidy"},
		Fields: map[string]*framework.FieldSchema{
			"dry_run": {Type: framework.TypeBool, Description: "List what would be removed, and remove nothing. Default false."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback: b.tidy,
				Summary:  "Remove RAM users, roles and policies of this mount that no lease stands for.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK),
					Fields: map[string]*framework.FieldSchema{
						"dry_run":  {Type: framework.TypeBool, Description: "Whether nothing was removed.", Required: true},
						"users":    list("RAM users without a lease."),
						"roles":    list("RAM roles without a lease."),
						"policies": list("Custom policies that no lease uses."),
						"failed":   list("What could not be removed, each with the reason."),
					},
				}}},
				ForwardPerformanceStandby: true, // leases and their index belong to a cluster
			},
		},
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

// found is one user, role or policy of the cloud that carries the mount's mark.
type found struct {
	kind, name string
	created    time.Time
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

	// The cloud first, the index second: what is issued in between is in the
	// index and not in the list, never the other way round.
	marked, err := c.marked(ctx, tag)
	if err != nil {
		return answer("listing what carries the mark of this mount", err)
	}
	there := map[string]bool{}
	for _, f := range marked {
		there[f.name] = true
	}
	live, ended, policies, err := b.indexed(ctx, req.Storage, c, there)
	if err != nil {
		return nil, err
	}
	// Who is not there any more is taken out of the index.
	var absent []issued
	for name, entry := range ended {
		if !there[name] && !dry {
			absent = append(absent, entry)
		}
	}

	without := map[string][]string{"user": {}, "role": {}, "policy": {}}
	var removals wave
	failures := make([]string, len(marked)+len(absent))
	for n, f := range marked {
		entry, known := ended[f.name]
		if live[f.name] || policies[f.name] || !known && time.Since(f.created) < b.tidyAge {
			continue
		}
		without[f.kind] = append(without[f.kind], f.name)
		if dry {
			continue
		}
		removals.add(func() error {
			var err error
			switch {
			case f.kind == "policy":
				return nil // in a second pass, when what holds them has gone
			case known:
				err = b.remove(ctx, req.Storage, c, entry)
			case f.kind == "user":
				err = b.remove(ctx, req.Storage, c, issued{UserName: f.name})
			default:
				err = b.remove(ctx, req.Storage, c, issued{RAMRole: f.name})
			}
			if err != nil {
				failures[n] = fmt.Sprintf("%s %s: %s", f.kind, f.name, oneLine(err))
			}
			return nil
		})
	}
	for n, entry := range absent {
		removals.add(func() error {
			if err := b.remove(ctx, req.Storage, c, entry); err != nil {
				failures[len(marked)+n] = fmt.Sprintf("%s: %s", entry.name(), oneLine(err))
			}
			return nil
		})
	}
	if err := removals.run(); err != nil {
		return nil, err
	}
	if !dry {
		for n, f := range marked {
			if f.kind == "policy" && slices.Contains(without["policy"], f.name) {
				if err := c.deleteSharedPolicy(ctx, f.name); err != nil && !notExist(err) {
					failures[n] = fmt.Sprintf("policy %s: %s", f.name, oneLine(err))
				}
			}
		}
	}
	return &logical.Response{Data: map[string]interface{}{
		"dry_run": dry, "users": without["user"], "roles": without["role"], "policies": without["policy"],
		"failed": slices.DeleteFunc(failures, func(s string) bool { return s == "" }),
	}}, nil
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
		case !there[name] && time.Since(entry.CreatedAt) > max(b.tidyAge, visibleWithin):
			unseen = append(unseen, entry.issued)
		default:
			keep(entry.issued)
		}
	}
	// It may be there and have lost its mark.
	missing := make([]bool, len(unseen))
	var w wave
	for n, u := range unseen {
		w.add(func() error {
			missing[n] = notExist(c.exists(ctx, u))
			return nil
		})
	}
	if err := w.run(); err != nil {
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

// marked lists what carries the tag in its comment or description.
func (c *cloud) marked(ctx context.Context, tag string) ([]found, error) {
	var all []found
	for _, kind := range []struct {
		name, action string
		params       map[string]string
	}{
		{"user", "ListUsers", nil},
		{"role", "ListRoles", nil},
		{"policy", "ListPolicies", map[string]string{"PolicyType": "Custom"}},
	} {
		marker, items := "", tidyItems
		for page := 0; ; page++ {
			if page == tidyPages {
				return nil, fmt.Errorf("%s has more than %d pages", kind.action, tidyPages)
			}
			params := map[string]string{"MaxItems": strconv.Itoa(items)}
			if marker != "" {
				params["Marker"] = marker
			}
			for k, v := range kind.params {
				params[k] = v
			}
			var out struct {
				IsTruncated bool
				Marker      string
				Users       struct {
					User []struct{ UserName, Comments, CreateDate string }
				}
				Roles struct {
					Role []struct{ RoleName, Description, CreateDate string }
				}
				Policies struct {
					Policy []struct{ PolicyName, Description, CreateDate string }
				}
			}
			err := c.call(ctx, true, kind.action, params, &out)
			if refused := (*openapi.Error)(nil); errors.As(err, &refused) && refused.TooLarge() && items > 1 {
				items /= 2
				continue
			}
			if err != nil {
				return nil, err
			}
			keep := func(name, mark, date string) {
				if mark != tag && !strings.HasPrefix(mark, tag+" ") {
					return
				}
				created, err := time.Parse(time.RFC3339, date)
				if err != nil {
					created = time.Now() // unknown: spared
				}
				all = append(all, found{kind.name, name, created})
			}
			for _, u := range out.Users.User {
				keep(u.UserName, u.Comments, u.CreateDate)
			}
			for _, r := range out.Roles.Role {
				keep(r.RoleName, r.Description, r.CreateDate)
			}
			for _, p := range out.Policies.Policy {
				keep(p.PolicyName, p.Description, p.CreateDate)
			}
			if !out.IsTruncated || out.Marker == "" {
				break
			}
			marker = out.Marker
		}
	}
	return all, nil
}
