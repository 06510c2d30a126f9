package backend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

func (b *backend) pathStaticRole() *framework.Path {
	write := change(b.writeStaticRole, "Create or change a static role. Fields that are not given keep their value.")
	return &framework.Path{
		Pattern:        staticRolePrefix + framework.GenericNameRegex("name"),
		DisplayAttrs:   display("", "static-role"),
		Fields:         staticRoleFields().schemas(),
		ExistenceCheck: b.staticRoleExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.ReadOperation:   operation(b.readStaticRole, "Read a static role. Its secret is not part of it.", staticRoleFields().response()),
			logical.DeleteOperation: change(b.deleteStaticRole, "Delete a static role, and with remove_key the user's key."),
		},
		HelpSynopsis:    "Read, write and delete the RAM users whose AccessKey Vault rotates.",
		HelpDescription: staticRoleHelpDescription,
	}
}

func (b *backend) pathStaticRoles() *framework.Path {
	return &framework.Path{
		Pattern:      staticRolePrefix + "?$",
		DisplayAttrs: display("list", "static-roles"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: operation(b.listStaticRoles, "List the names of the static roles.", map[string]*framework.FieldSchema{
				"keys": {Type: framework.TypeStringSlice, Description: "Names of the static roles."},
			}),
		},
		HelpSynopsis:    "List the static roles.",
		HelpDescription: "Lists the names of the static roles: the RAM users whose AccessKey Vault rotates.",
	}
}

func (b *backend) staticRoleExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+data.Get("name").(string))
	return r != nil, err
}

func (b *backend) listStaticRoles(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, staticRolePrefix)
	if err != nil {
		return nil, err
	}
	return logical.ListResponse(names), nil
}

func (b *backend) readStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+data.Get("name").(string))
	if err != nil || r == nil {
		return nil, err
	}
	return &logical.Response{Data: staticRoleFields().read(r)}, nil
}

// beginStatic is what handlers that change a static role or its key begin with.
func (b *backend) beginStatic(ctx context.Context, s logical.Storage) error {
	if !b.WriteSafeReplicationState() {
		return logical.ErrReadOnly // before anything is created
	}
	return b.loadStaticRoles(ctx, s)
}

func (b *backend) writeStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if err := b.beginStatic(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := data.Get("name").(string)
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+name)
	if err != nil {
		return nil, err
	}
	var warnings []string
	if r == nil {
		warnings, err = b.createStaticRole(ctx, req.Storage, name, data)
	} else {
		warnings, err = b.updateStaticRole(ctx, req.Storage, name, data)
	}
	if err != nil {
		return answer("writing static-role/"+name, err)
	}
	return warned(nil, warnings), nil
}

// createStaticRole stores the role, and makes its first key unless it adopts one.
func (b *backend) createStaticRole(ctx context.Context, s logical.Storage, name string, data *framework.FieldData) (warnings []string, err error) {
	r, given, err := newStaticRole(data)
	if err != nil {
		return nil, err
	}
	k := staticKey{b, s, name}
	if warnings, err = k.add(ctx, r, given); err != nil || r.AccessKey != "" {
		return warnings, err
	}
	return k.firstKey(ctx, r.UserName, data.Get("force").(bool))
}

// newStaticRole is the role that a request describes, and the key that it gives.
func newStaticRole(data *framework.FieldData) (r *staticRole, given ram.AccessKey, err error) {
	r = &staticRole{}
	if err := r.update(data); err != nil {
		return nil, given, refuse("%v", err)
	}
	if _, set := data.GetOk("grace_period"); !set && r.Schedule.Validate(shortestStaticPeriod) == nil {
		r.GracePeriod = r.defaultGrace()
	}
	if err := r.validate(); err != nil {
		return nil, given, refuse("%v", err)
	}
	given = ram.AccessKey{ID: strings.TrimSpace(data.Get("access_key").(string)), Secret: strings.TrimSpace(data.Get("secret_key").(string))}
	if err := cmp.Or(checkKey("access_key", given.ID), checkKey("secret_key", given.Secret)); err != nil {
		return nil, given, refuse("%v", err)
	}
	if given.ID == "" && given.Secret != "" {
		return nil, given, refuse("access_key is required: the AccessKey ID that belongs to secret_key")
	}
	return r, given, nil
}

// updateStaticRole changes the settings. A changed period or schedule takes
// effect at once.
func (b *backend) updateStaticRole(ctx context.Context, s logical.Storage, name string, data *framework.FieldData) (warnings []string, err error) {
	b.staticWrite.Lock()
	defer b.staticWrite.Unlock()
	r, err := load[staticRole](ctx, s, staticRolePrefix+name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, rotation.ErrKeyGone
	}
	before := *r
	if err := r.update(data); err != nil {
		return nil, refuse("%v", err)
	}
	if _, given := data.GetOk("grace_period"); !given && r.Automatic() && r.Schedule.Validate(shortestStaticPeriod) == nil {
		if longest := r.defaultGrace(); r.GracePeriod > longest && r.GracePeriod >= r.ShortestGap() {
			r.GracePeriod = longest
			warnings = append(warnings, fmt.Sprintf("grace_period was lowered to %s, to fit the time between rotations", longest))
		}
	}
	if err := r.validate(); err != nil {
		return nil, refuse("%v", err)
	}
	if v, ok := data.GetOk("access_key"); ok {
		id := strings.TrimSpace(v.(string))
		switch {
		case id == r.AccessKey || id == "":
		case slices.Contains(r.Rotation.Retired, id):
			warnings = append(warnings, fmt.Sprintf("access_key %s was rotated away and was not taken: the role goes on with %s", id, r.AccessKey))
		default:
			return nil, refuse("access_key: the role has the key %s; to adopt another, delete the role (its key stays unless remove_key is set) and create it again", r.AccessKey)
		}
	}
	if (r.Schedule != before.Schedule || r.DisableAutomatedRotation != before.DisableAutomatedRotation) && r.AccessKey != "" {
		r.Rotation.NextRotation, r.Rotation.Failure = nextRotation(r.Schedule, r.Rotation.LastRotated, time.Now()), nil
	}
	if err := save(ctx, s, staticRolePrefix+name, r); err != nil {
		return nil, err
	}
	b.queue.Put(staticRolePrefix+name, r.Rotation.AccountID, r.asRotation().Due())
	return warnings, nil
}

func (b *backend) deleteStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if err := b.beginStatic(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := data.Get("name").(string)
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	k := staticKey{b, req.Storage, name}
	release, err := b.queue.Take(ctx, k.Name())
	if err != nil {
		return answer("deleting static-role/"+name, err)
	}
	defer release()
	r, err := load[staticRole](ctx, req.Storage, k.Name())
	if err != nil {
		return nil, err
	}
	if r == nil {
		return b.nothingDeleted(ctx, req.Storage, staticRoleNames, name)
	}
	removeKey := r.RemoveKey
	if v, ok := data.GetOk("remove_key"); ok {
		removeKey = v.(bool)
	}
	var warnings []string
	if err := k.removeKeys(ctx, r, removeKey); err != nil {
		if !data.Get("force").(bool) {
			return answer("deleting static-role/"+name+" (force=true deletes it without the cloud)", err)
		}
		warnings = append(warnings, fmt.Sprintf("the role was deleted, but RAM user %s may hold AccessKeys that nobody uses: look at its keys", r.UserName))
	}
	if err := k.drop(ctx, r.Rotation.AccountID, r.UserName); err != nil {
		return nil, err
	}
	return warned(nil, warnings), nil
}

const staticRoleHelpDescription = `
A static role stands for an existing RAM user. Vault makes, publishes and
rotates its AccessKey; applications read it from static-cred/<name>:

    vault write alicloud/static-role/legacy username=legacy-app rotation_period=720h
    vault read  alicloud/static-cred/legacy

RAM allows a user two keys. A rotation makes the second, publishes it once it
works, keeps the first valid for grace_period, disables it, and deletes it an
hour later. So the user must have no key but the role's. A user that has one:

    secret known    access_key=LTAI... secret_key=...   adopts it, no rotation
    secret lost     access_key=LTAI...                  replaces it

Times are kept in storage: after an outage each role is rotated once. Deleting
a role deletes keys in their grace period; the current key stays unless
remove_key is set.
`
