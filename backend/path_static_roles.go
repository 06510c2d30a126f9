package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

func (b *backend) pathStaticRole() *framework.Path {
	fields := staticRoleFields()
	fields["force"] = &framework.FieldSchema{
		Type: framework.TypeBool,
		Description: "Creation: delete an inactive key that takes RAM's second place. Deletion: delete the role even if the cloud cannot be " +
			"cleaned up. Default false.",
	}
	return &framework.Path{
		Pattern:        staticRolePrefix + framework.GenericNameRegex("name"),
		DisplayAttrs:   &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "static-role"},
		Fields:         fields,
		ExistenceCheck: b.staticRoleExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: b.staticRoleWriteOperation(),
			logical.UpdateOperation: b.staticRoleWriteOperation(),
			logical.ReadOperation: &framework.PathOperation{
				Callback: b.readStaticRole,
				Summary:  "Read a static role. Its secret is not part of it.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK), Fields: staticRoleResponse(),
				}}},
			},
			logical.DeleteOperation: &framework.PathOperation{
				Callback:                    b.deleteStaticRole,
				Summary:                     "Delete a static role, and with remove_key the user's key.",
				Responses:                   map[int][]framework.Response{http.StatusOK: {{Description: "Deleted, with warnings."}}, http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}},
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
			},
		},
		HelpSynopsis:    "Read, write and delete the RAM users whose AccessKey Vault rotates.",
		HelpDescription: staticRoleHelpDescription,
	}
}

func (b *backend) staticRoleWriteOperation() *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                    b.writeStaticRole,
		Summary:                     "Create or change a static role. Fields that are not given keep their value.",
		Responses:                   map[int][]framework.Response{http.StatusOK: {{Description: "Written, with warnings."}}, http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}},
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
	}
}

func (b *backend) pathStaticRoles() *framework.Path {
	return &framework.Path{
		Pattern:      staticRolePrefix + "?$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "list", OperationSuffix: "static-roles"},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{
				Callback: b.listStaticRoles,
				Summary:  "List the names of the static roles.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK),
					Fields: map[string]*framework.FieldSchema{
						"keys": {Type: framework.TypeStringSlice, Description: "Names of the static roles."},
					},
				}}},
			},
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

func staticRoleResponse() map[string]*framework.FieldSchema {
	fields := staticRoleFields()
	delete(fields, "name")
	delete(fields, "secret_key")
	for _, seconds := range []string{"rotation_period", "rotation_window", "grace_period"} {
		fields[seconds] = &framework.FieldSchema{Type: framework.TypeInt64, Description: "Seconds."}
	}
	for name, field := range rotationStateFields() {
		if name == "last_rotated" {
			name = "last_rotation"
		}
		fields[name] = field
	}
	return fields
}

func (b *backend) readStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+data.Get("name").(string))
	if err != nil || r == nil {
		return nil, err
	}
	answer := map[string]interface{}{
		"username": r.UserName, "access_key": r.AccessKey, "grace_period": int64(r.GracePeriod / time.Second), "remove_key": r.RemoveKey,
		"last_rotation": rfc3339(r.Rotation.LastRotated), "next_rotation": rfc3339(r.Rotation.NextRotation),
		"rotation_state": r.Rotation.Phase(), "rotation_failure": r.Rotation.Reason(),
	}
	readSchedule(r.Schedule, answer)
	return &logical.Response{Data: answer}, nil
}

// update takes the fields of a write; those that are not given keep their value.
func (r *staticRole) update(data *framework.FieldData) error {
	if v, ok := data.GetOk("username"); ok {
		user := strings.TrimSpace(v.(string))
		if r.UserName != "" && user != r.UserName {
			return fmt.Errorf("username cannot be changed from %s: delete the role and create another", r.UserName)
		}
		r.UserName = user
	}
	if v, ok := data.GetOk("remove_key"); ok {
		r.RemoveKey = v.(bool)
	}
	if err := updateSchedule(&r.Schedule, data); err != nil {
		return err
	}
	if v, ok := data.GetOk("grace_period"); ok {
		r.GracePeriod = time.Duration(v.(int)) * time.Second
	}
	return nil
}

func (b *backend) writeStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly // before anything is created
	}
	if err := b.loadStaticRoles(ctx, req.Storage); err != nil {
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
	if _, set := data.GetOk("grace_period"); !set && r.Automatic() && r.Schedule.Validate(shortestStaticPeriod) == nil {
		r.GracePeriod = r.defaultGrace()
	}
	if err := r.validate(); err != nil {
		return nil, given, refuse("%v", err)
	}
	given = ram.AccessKey{ID: strings.TrimSpace(data.Get("access_key").(string)), Secret: strings.TrimSpace(data.Get("secret_key").(string))}
	if given.ID == "" && given.Secret != "" {
		return nil, given, refuse("access_key is required: the AccessKey ID that belongs to secret_key")
	}
	return r, given, nil
}

// add stores a new role if its user can be rotated, and nobody else does so.
func (k staticKey) add(ctx context.Context, r *staticRole, given ram.AccessKey) (warnings []string, err error) {
	release, err := k.b.queue.Take(ctx, k.Name())
	if err != nil {
		return nil, err
	}
	defer release()
	if other := k.b.staticUsers.claim(r.UserName, k.name); other != "" {
		return nil, refuse("username: RAM user %s belongs to static-role/%s already: a user can have one role", r.UserName, other)
	}
	defer func() {
		if err != nil {
			k.b.staticUsers.forget(r.UserName, k.name)
		}
	}()
	if warnings, err = k.begin(ctx, r, given); err != nil {
		return nil, err
	}
	if err := k.put(ctx, r); err != nil {
		return nil, err
	}
	due := time.Time{} // the request makes the first key itself
	if r.AccessKey != "" {
		due = r.asRotation().Due()
	}
	k.b.queue.Put(k.Name(), due)
	return warnings, nil
}

// begin asks RAM about the user and the given key, and says how the rotation of
// the role begins: with the key that is adopted, or with a new one in its place.
func (k staticKey) begin(ctx context.Context, r *staticRole, given ram.AccessKey) (warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	user, err := k.b.userKeys(ctx, k.s, r.UserName, "")
	if err != nil {
		return nil, err
	}
	listed, err := user.List(ctx)
	switch {
	case ram.HasCode(err, "EntityNotExist.User"):
		return nil, refuse("username: RAM user %s does not exist in the account of this mount", r.UserName)
	case err != nil:
		return nil, err
	}
	now := time.Now().UTC()
	r.Rotation = rotation.State{AccountID: user.account, UserName: r.UserName, NextRotation: now}
	switch {
	case given.ID == "":
		return nil, nil
	case given.Secret != "":
		if err := adoptable(ctx, user, given); err != nil {
			return nil, err
		}
		r.AccessKey, r.SecretKey = given.ID, given.Secret
		r.Rotation.LastRotated, r.Rotation.NextRotation = now, r.Next(now)
		if full := r.asRotation().CheckRoom(r.UserName, listed); full != nil {
			warnings = append(warnings, "The key was adopted, but its next rotation will be refused: "+full.Error())
		}
		return warnings, nil
	case !slices.ContainsFunc(listed, func(k ram.AccessKey) bool { return k.ID == given.ID }):
		return nil, refuse("access_key: RAM user %s has no AccessKey %s", r.UserName, given.ID)
	}
	r.Replaces = given.ID
	return nil, nil
}

// adoptable tells why a given key cannot be taken: it is not the user's, or does
// not work.
func adoptable(ctx context.Context, user *userKeys, given ram.AccessKey) error {
	err := user.Probe(ctx, given)
	var refused *openapi.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && !refused.Temporary():
		return refuse("access_key and secret_key do not work, and were not adopted: %s", oneLine(err))
	case errors.As(err, &refused) || errors.As(err, new(*openapi.NetworkError)):
		return err
	}
	return refuse("access_key: %s", oneLine(err))
}

// firstKey makes the first key of a new role. Where nothing can have been made
// the role goes again, so that the request can be repeated as it was.
func (k staticKey) firstKey(ctx context.Context, user string, force bool) (warnings []string, err error) {
	switched, err := k.b.queue.Rotate(ctx, k, rotation.Demand{Now: true, Force: force})
	if switched {
		return nil, nil
	}
	r, unread := k.Load(ctx)
	if err != nil && unread == nil && r != nil && !r.Unfinished() && r.Current.ID == "" {
		return nil, errors.Join(err, k.drop(ctx, user))
	}
	warnings = []string{goesOn}
	if err != nil {
		warnings = append(warnings, "The last call failed: "+explained(err))
	}
	return warnings, nil
}

func (k staticKey) put(ctx context.Context, r *staticRole) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	return save(ctx, k.s, k.Name(), r)
}

// drop forgets the role.
func (k staticKey) drop(ctx context.Context, user string) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	if err := k.s.Delete(ctx, k.Name()); err != nil {
		return err
	}
	k.b.queue.Remove(k.Name())
	k.b.staticUsers.forget(user, k.name)
	return nil
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
			return nil, refuse("access_key: the role has the key %s; to adopt another, delete the role (its key stays unless remove_key is set) and create it anew", r.AccessKey)
		}
	}
	if r.Schedule != before.Schedule && r.AccessKey != "" {
		r.Rotation.NextRotation, r.Rotation.Failure = nextRotation(r.Schedule, r.Rotation.LastRotated, time.Now()), nil
	}
	if err := save(ctx, s, staticRolePrefix+name, r); err != nil {
		return nil, err
	}
	b.queue.Put(staticRolePrefix+name, r.asRotation().Due())
	return warnings, nil
}

func (b *backend) deleteStaticRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly
	}
	if err := b.loadStaticRoles(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := data.Get("name").(string)
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	k := staticKey{b, req.Storage, name}
	release, err := b.queue.Take(ctx, k.Name())
	if err != nil {
		return answer("deleting static-role/"+name, err)
	}
	defer release()
	r, err := load[staticRole](ctx, req.Storage, k.Name())
	if err != nil || r == nil {
		return nil, err
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
	if err := k.drop(ctx, r.UserName); err != nil {
		return nil, err
	}
	return warned(nil, warnings), nil
}

// removeKeys removes from the cloud what a rotation has left, the key in its
// grace period included, and the current key if asked to.
func (k staticKey) removeKeys(ctx context.Context, r *staticRole, current bool) error {
	current = current && r.AccessKey != ""
	if !current && !r.Rotation.Unfinished() {
		return nil
	}
	keys, err := k.b.userKeys(ctx, k.s, r.UserName, r.Rotation.AccountID)
	if err != nil {
		return err
	}
	switch err := rotation.UndoAll(ctx, keys, r.asRotation()); {
	case ram.HasCode(err, "EntityNotExist.User"):
		return nil
	case err != nil || !current:
		return err
	}
	return keys.Delete(ctx, r.AccessKey)
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
