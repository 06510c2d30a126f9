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

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
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
		"rotation_state": r.Rotation.state(), "rotation_failure": r.Rotation.reason(),
	}
	r.rotationSettings.read(answer)
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
	if err := r.rotationSettings.update(data); err != nil {
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
		return rotationAnswer("writing static-role/"+name, err)
	}
	return warned(nil, warnings), nil
}

func (b *backend) createStaticRole(ctx context.Context, s logical.Storage, name string, data *framework.FieldData) (warnings []string, err error) {
	r := &staticRole{}
	if err := r.update(data); err != nil {
		return nil, refuse("%v", err)
	}
	if _, given := data.GetOk("grace_period"); !given && r.automatic() && r.rotationSettings.validate(shortestStaticPeriod) == nil {
		r.GracePeriod = r.defaultGrace()
	}
	if err := r.validate(); err != nil {
		return nil, refuse("%v", err)
	}
	given := ram.AccessKey{ID: strings.TrimSpace(data.Get("access_key").(string)), Secret: strings.TrimSpace(data.Get("secret_key").(string))}
	if given.ID == "" && given.Secret != "" {
		return nil, refuse("access_key is required: the AccessKey ID that belongs to secret_key")
	}
	release, err := b.rotations.take(ctx, staticRolePrefix+name)
	if err != nil {
		return nil, err
	}
	created := false
	defer func() {
		release()
		if !created {
			b.rotations.forget(r.UserName, name)
		}
	}()
	if other := b.rotations.claim(r.UserName, name); other != "" {
		created = true // and not ours to forget
		return nil, refuse("username: RAM user %s belongs to static-role/%s already: a user can have one role", r.UserName, other)
	}
	checks, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	calls, err := b.staticCalls(checks, s, r.UserName, "")
	if err != nil {
		return nil, err
	}
	keys, err := checkUser(checks, calls)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	r.Rotation.AccountID, r.Rotation.UserName = calls.account, r.UserName
	switch {
	case given.Secret != "":
		if err := adopt(checks, calls, given); err != nil {
			return nil, err
		}
		r.AccessKey, r.SecretKey = given.ID, given.Secret
		r.Rotation.LastRotated, r.Rotation.NextRotation = now, r.next(now)
	case given.ID != "":
		if !slices.ContainsFunc(keys, func(k ram.AccessKey) bool { return k.ID == given.ID }) {
			return nil, refuse("access_key: RAM user %s has no AccessKey %s", r.UserName, given.ID)
		}
		r.Replaces = given.ID
	}
	if r.AccessKey == "" {
		r.Rotation.NextRotation = now
	}
	if err := b.putStaticRole(ctx, s, name, r); err != nil {
		return nil, err
	}
	created = true
	if r.AccessKey != "" {
		b.rotations.schedule(name, r.keyState().due())
		return b.sharesPlace(calls, r, keys), nil
	}
	release()
	release = func() {}
	return b.firstKey(ctx, s, name, r, data.Get("force").(bool))
}

// sharesPlace warns where the next rotation is bound to be refused.
func (b *backend) sharesPlace(calls userKeys, r *staticRole, keys []ram.AccessKey) []string {
	if err := makeRoom(context.Background(), calls, r.keyState(), keys, r.UserName, false); err != nil {
		return []string{"The key was adopted, but its next rotation will be refused: " + err.Error()}
	}
	return nil
}

// firstKey makes the first key of a new role. Where nothing can have been made
// the role goes again, so that the request can be repeated as it was.
func (b *backend) firstKey(ctx context.Context, s logical.Storage, name string, r *staticRole, force bool) (warnings []string, err error) {
	k := staticKey{b, s, name}
	switched, err := b.rotateNow(ctx, k, staticRolePrefix+name, demand{now: true, force: force})
	if switched {
		return nil, b.afterRotation(ctx, k)
	}
	state, loadErr := k.load(ctx)
	if err != nil && loadErr == nil && state != nil && !state.unfinished() && state.current.ID == "" {
		if gone := b.dropStaticRole(ctx, s, name, r.UserName); gone != nil {
			return nil, errors.Join(err, gone)
		}
		return nil, err
	}
	if rescheduled := b.afterRotation(ctx, k); rescheduled != nil {
		return nil, errors.Join(err, rescheduled)
	}
	warnings = []string{goesOn}
	if err != nil {
		warnings = append(warnings, "The last call failed: "+explained(err))
	}
	return warnings, nil
}

// afterRotation puts the role into the queue as storage says.
func (b *backend) afterRotation(ctx context.Context, k staticKey) error {
	s, err := k.load(ctx)
	if err != nil || s == nil {
		return err
	}
	b.rotations.schedule(k.name, s.due())
	return nil
}

func (b *backend) putStaticRole(ctx context.Context, s logical.Storage, name string, r *staticRole) error {
	b.staticWrite.Lock()
	defer b.staticWrite.Unlock()
	return save(ctx, s, staticRolePrefix+name, r)
}

func (b *backend) dropStaticRole(ctx context.Context, s logical.Storage, name, user string) error {
	b.staticWrite.Lock()
	defer b.staticWrite.Unlock()
	if err := s.Delete(ctx, staticRolePrefix+name); err != nil {
		return err
	}
	b.rotations.forget(user, name)
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
		return nil, errKeyGone
	}
	before := *r
	if err := r.update(data); err != nil {
		return nil, refuse("%v", err)
	}
	if _, given := data.GetOk("grace_period"); !given && r.automatic() && r.rotationSettings.validate(shortestStaticPeriod) == nil {
		if longest := r.defaultGrace(); r.GracePeriod > longest && r.GracePeriod >= r.shortestGap() {
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
	if r.rotationSettings != before.rotationSettings && r.AccessKey != "" {
		from := time.Now()
		if r.RotationPeriod > 0 && !r.Rotation.LastRotated.IsZero() {
			from = r.Rotation.LastRotated
		}
		r.Rotation.NextRotation, r.Rotation.Failure = r.next(from).UTC(), nil
	}
	if err := save(ctx, s, staticRolePrefix+name, r); err != nil {
		return nil, err
	}
	b.rotations.schedule(name, r.keyState().due())
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
	release, err := b.rotations.take(ctx, staticRolePrefix+name)
	if err != nil {
		return rotationAnswer("deleting static-role/"+name, err)
	}
	defer release()
	r, err := load[staticRole](ctx, req.Storage, staticRolePrefix+name)
	if err != nil || r == nil {
		return nil, err
	}
	removeKey := r.RemoveKey
	if v, ok := data.GetOk("remove_key"); ok {
		removeKey = v.(bool)
	}
	var warnings []string
	if err := b.cleanUpStaticRole(ctx, req.Storage, r, removeKey); err != nil {
		if !data.Get("force").(bool) {
			return rotationAnswer("deleting static-role/"+name+" (force=true deletes it without the cloud)", err)
		}
		warnings = append(warnings, fmt.Sprintf("the role was deleted, but RAM user %s may hold AccessKeys that nobody uses: look at its keys", r.UserName))
	}
	if err := b.dropStaticRole(ctx, req.Storage, name, r.UserName); err != nil {
		return nil, err
	}
	return warned(nil, warnings), nil
}

// cleanUpStaticRole removes from the cloud what a rotation has left, the key in
// its grace period included, and the current key if asked to.
func (b *backend) cleanUpStaticRole(ctx context.Context, s logical.Storage, r *staticRole, current bool) error {
	state := r.keyState()
	if !state.unfinished() && (!current || r.AccessKey == "") {
		return nil
	}
	calls, err := b.staticCalls(ctx, s, r.UserName, r.Rotation.AccountID)
	if err != nil {
		return err
	}
	for again := time.Now(); !again.IsZero(); {
		if err := ram.Pause(ctx, time.Until(again)); err != nil {
			return err
		}
		again, err = undo(ctx, calls, state)
		if ram.HasCode(err, "EntityNotExist.User") {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if !current || r.AccessKey == "" {
		return nil
	}
	return calls.remove(ctx, r.AccessKey)
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
