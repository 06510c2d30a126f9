package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

const (
	shortestRootPeriod = time.Hour

	// rootOverlap lets requests that hold the old key end, on this node and on
	// those that have not heard of the new one.
	rootOverlap = 2 * time.Minute

	// defaultRootGrace is how long the old key is kept, disabled, for whoever has
	// to bring back what still uses it, or a snapshot of Vault's storage.
	defaultRootGrace = 24 * time.Hour
	longestRootGrace = 30 * 24 * time.Hour

	// supersededFor bounds the tries to clean up after a rotation that a write of
	// config has ended.
	supersededFor = 7 * 24 * time.Hour
	maxSuperseded = 5
)

// rootRotation is the part of config about the rotation of its key.
type rootRotation struct {
	rotation.Schedule
	DisableAutomatedRotation bool            `json:"disable_automated_rotation,omitempty"`
	RotationGracePeriod      time.Duration   `json:"rotation_grace_period,omitempty"` // 0: defaultRootGrace
	Rotation                 *rotation.State `json:"rotation,omitempty"`
	Superseded               []superseded    `json:"superseded,omitempty"`
}

// superseded is what a rotation had left in the cloud when a write of config
// replaced its key, with the key that can remove it.
type superseded struct {
	Key ram.AccessKey `json:"key"`
	rotation.State
	At time.Time `json:"at"`
}

func rootRotationFields() map[string]*framework.FieldSchema {
	fields := scheduleFields(shortestRootPeriod)
	fields["disable_automated_rotation"] = &framework.FieldSchema{
		Type:        framework.TypeBool,
		Description: "Rotate on request only, whatever period or schedule is set. Default false.",
	}
	fields["rotation_grace_period"] = &framework.FieldSchema{
		Type: framework.TypeDurationSecond,
		Description: "How long a key that was rotated away is kept, disabled, before it is deleted: 60 seconds to 30 days; 0 means 86400. " +
			"It is disabled two minutes after the rotation. The next rotation deletes it in any case.",
	}
	return fields
}

func (r *rootRotation) update(data *framework.FieldData) error {
	if v, ok := data.GetOk("disable_automated_rotation"); ok {
		r.DisableAutomatedRotation = v.(bool)
	}
	if v, ok := data.GetOk("rotation_grace_period"); ok {
		r.RotationGracePeriod = time.Duration(v.(int)) * time.Second
	}
	return updateSchedule(&r.Schedule, data)
}

func (r *rootRotation) grace() time.Duration {
	if r.RotationGracePeriod == 0 {
		return defaultRootGrace
	}
	return r.RotationGracePeriod
}

// rotatable tells whether the config holds a key of a RAM user.
func (c *config) rotatable() error {
	switch t := c.credentialType(); {
	case t != typeAccessKey && t != typeRAMRoleARN:
		return fmt.Errorf("credential_type %s has no AccessKey to rotate: rotation is for access_key, and for ram_role_arn with keys", t)
	case c.AccessKey == "":
		return errors.New("config holds no AccessKey to rotate: its credentials come from the surroundings of the Vault server")
	case c.SecurityToken != "":
		return errors.New("the keys in config are temporary and cannot be rotated: they end by themselves")
	}
	return nil
}

func (c *config) validateRotation() error {
	if err := c.Schedule.Validate(shortestRootPeriod); err != nil {
		return err
	}
	if g := c.RotationGracePeriod; g != 0 && (g < time.Minute || g > longestRootGrace) {
		return errors.New("rotation_grace_period must be 0, or 60 seconds to 30 days")
	}
	if c.Automatic() {
		if err := c.rotatable(); err != nil {
			return fmt.Errorf("%w; without one, give rotation_period=0 and rotation_schedule=\"\"", err)
		}
	}
	return nil
}

// followRotation makes the rotation that is stored fit a write of config: the
// times, and the key. It returns what the user should know.
func (c *config) followRotation(before *config, now time.Time) (warnings []string) {
	if c.AccessKey != before.AccessKey || c.rotatable() != nil && before.rotatable() == nil {
		warnings = c.supersede(before, now)
	}
	again := c.Schedule != before.Schedule || c.DisableAutomatedRotation != before.DisableAutomatedRotation
	r := c.rotationState()
	switch {
	case !c.Automatic():
		r.NextRotation = time.Time{}
	case again || r.NextRotation.IsZero():
		r.NextRotation = nextRotation(c.Schedule, r.LastRotated, now).Truncate(time.Second)
	}
	if again {
		r.Failure = nil
	}
	c.Rotation = stored(r)
	return warnings
}

// supersede ends a rotation whose key a write has replaced.
func (c *config) supersede(before *config, now time.Time) (warnings []string) {
	if before.Rotation == nil {
		return nil
	}
	old := *before.Rotation
	if before.madeByRotation() {
		warnings = append(warnings, fmt.Sprintf("AccessKey %s, which a rotation made and only this mount knew, is no longer used, and stays in RAM: delete it there", before.AccessKey))
	}
	left := old
	if left.Pending != nil && left.Pending.ID == c.AccessKey {
		left.Pending = nil
	}
	if left.Retiring != nil && left.Retiring.ID == c.AccessKey {
		left.Retiring = nil
	}
	if left.Unfinished() {
		left.Retired, left.Failure = nil, nil
		c.Superseded = append(slices.Clone(before.Superseded), superseded{before.key(), left, now.UTC()})
		if extra := len(c.Superseded) - maxSuperseded; extra > 0 {
			c.Superseded = c.Superseded[extra:]
		}
	}
	c.Rotation = stored(rotation.State{
		Retired: slices.DeleteFunc(slices.Clone(old.Retired), func(id string) bool { return id == c.AccessKey }),
	})
	return warnings
}

// stored is nil for a rotation without content, so that a config that was never
// rotated is stored as the built-in engine stores it.
func stored(r rotation.State) *rotation.State {
	if len(r.Retired) == 0 {
		r.Retired = nil
	}
	if reflect.DeepEqual(r, rotation.State{}) {
		return nil
	}
	return &r
}

// rotationState is what is stored of the rotation, empty where nothing is.
func (c *config) rotationState() rotation.State {
	if c.Rotation == nil {
		return rotation.State{}
	}
	return *c.Rotation
}

// rotatedAway tells whether the write would bring back a key that was rotated away.
func (c *config) rotatedAway(accessKey string) bool {
	return c.Rotation != nil && accessKey != c.AccessKey && slices.Contains(c.Rotation.Retired, accessKey)
}

// madeByRotation tells whether the key in config was never anybody else's.
func (c *config) madeByRotation() bool { return c.Rotation != nil && !c.Rotation.LastRotated.IsZero() }

func (c *config) readRotation(into map[string]interface{}) {
	readSchedule(c.Schedule, into)
	into["disable_automated_rotation"] = c.DisableAutomatedRotation
	into["rotation_grace_period"] = int64(c.grace() / time.Second)
	r := c.rotationState()
	into["last_rotated"], into["next_rotation"] = rfc3339(r.LastRotated), ""
	if !c.DisableAutomatedRotation {
		into["next_rotation"] = rfc3339(r.NextRotation)
	}
	into["rotation_state"], into["rotation_failure"] = r.Phase(), r.Reason()
}

func (b *backend) pathConfigRotateRoot() *framework.Path {
	fields := rotationStateFields()
	delete(fields, "rotation_failure")
	fields["access_key"] = &framework.FieldSchema{Type: framework.TypeString, Description: "AccessKey ID that config holds now.", Required: true}
	return &framework.Path{
		Pattern:      "config/rotate-root",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "rotate", OperationSuffix: "root-credentials"},
		Fields: map[string]*framework.FieldSchema{
			"force": {
				Type: framework.TypeBool,
				Description: "Where RAM's two places for keys are taken: delete a second key that is inactive, and disable and delete at once the key " +
					"of the rotation before. An active key that is not this mount's is never deleted. Default false.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback: b.rotateRoot,
				Summary:  "Rotate the AccessKey in config now.",
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK), Fields: fields,
				}}},
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
			},
		},
		HelpSynopsis: "Rotate the engine's own AccessKey.",
		HelpDescription: `
The RAM user whose key is in config gets a new one: it is made, stored beside
the current one, and takes its place once GetCallerIdentity answers it. The old
key is disabled two minutes later and deleted after rotation_grace_period. From
then on nobody but Vault knows the key.

    vault write -f alicloud/config/rotate-root

RAM allows a user two keys, so the user must have no other. With
credential_type=ram_role_arn the key of the RAM user that assumes the role is
rotated, by the user itself or, where it may not, by the role if both are of the
same account. The keys of a root account cannot be rotated: RAM has no call.

What is interrupted goes on by itself, also a request that got no answer; "vault read alicloud/config" shows
rotation_state. A schedule is set with rotation_period or rotation_schedule of
config.
`,
	}
}

func (b *backend) rotateRoot(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly
	}
	c, err := load[config](ctx, req.Storage, configKey)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return logical.ErrorResponse(notConfigured), nil
	}
	if err := c.rotatable(); err != nil {
		return logical.ErrorResponse(err.Error()), nil
	}
	switched, err := b.queue.Rotate(ctx, rootKey{b, req.Storage}, rotation.Demand{Now: true, Force: data.Get("force").(bool)})
	if err != nil {
		return answer("rotating the AccessKey in config", err)
	}
	if c, err = load[config](ctx, req.Storage, configKey); err != nil || c == nil {
		return nil, errors.Join(err, rotation.ErrKeyGone)
	}
	read := map[string]interface{}{}
	c.readRotation(read)
	resp := &logical.Response{Data: map[string]interface{}{
		"access_key": c.AccessKey, "last_rotated": read["last_rotated"], "next_rotation": read["next_rotation"], "rotation_state": read["rotation_state"],
	}}
	if !switched {
		resp.AddWarning(goesOn)
	}
	return resp, nil
}

// rootKey is the key in config: a rotation.Key.
type rootKey struct {
	b *backend
	s logical.Storage
}

func (c *config) asRotation() *rotation.Rotation {
	return &rotation.Rotation{
		Current: c.key(), State: c.rotationState(),
		Schedule: c.Schedule, Paused: c.DisableAutomatedRotation, Overlap: rootOverlap, Spare: c.grace(),
	}
}

func (rootKey) Name() string { return configKey }

func (k rootKey) Load(ctx context.Context) (*rotation.Rotation, error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil || c.rotatable() != nil {
		return nil, err
	}
	return c.asRotation(), nil
}

// due is when there is something to rotate or to clean up; zero: never.
func (k rootKey) due(ctx context.Context) (time.Time, error) {
	c, err := load[config](ctx, k.s, configKey)
	switch {
	case err != nil || c == nil:
		return time.Time{}, err
	case len(c.Superseded) > 0:
		return time.Now(), nil
	case c.rotatable() != nil:
		return time.Time{}, nil
	}
	return c.asRotation().Due(), nil
}

func (k rootKey) Change(ctx context.Context, current string, f func(*rotation.Rotation)) error {
	k.b.configWrite.Lock()
	defer k.b.configWrite.Unlock()
	c, err := load[config](ctx, k.s, configKey)
	if err != nil {
		return err
	}
	if c == nil || c.rotatable() != nil || c.AccessKey != current {
		return rotation.ErrKeyGone
	}
	r := c.asRotation()
	f(r)
	c.AccessKey, c.SecretKey, c.Rotation = r.Current.ID, r.Current.Secret, stored(r.State)
	if r.Current.ID != current {
		// Also when the write seems to fail: it may have taken effect.
		defer k.b.resetCloud()
	}
	return save(ctx, k.s, configKey, c)
}

func (k rootKey) Keys(ctx context.Context, r *rotation.Rotation) (rotation.Keys, error) {
	return k.ownKeys(ctx, r.Current, r.State)
}

// ownKeys are the keys of the user that the key belongs to: a rotation.Keys. The
// calls are made by the user itself, which RAM can allow to everybody; where the
// user may not, and the mount works as a role of the same account, by the role.
type ownKeys struct {
	ram.Keys
	cloud         *cloud
	key           ram.AccessKey
	account, user string
}

// ownKeys finds out whose key it is, unless a rotation under way has noted it.
func (k rootKey) ownKeys(ctx context.Context, key ram.AccessKey, state rotation.State) (*ownKeys, error) {
	cloud, err := k.b.cloud(ctx, k.s)
	if err != nil {
		return nil, err
	}
	if cloud == nil {
		return nil, rotation.ErrKeyGone
	}
	own := &ownKeys{cloud: cloud, key: key, account: state.AccountID, user: state.UserName}
	own.Keys = ram.Keys{Call: own.call}
	if state.Unfinished() && state.UserName != "" {
		return own, nil
	}
	who, err := cloud.IdentityOf(ctx, key.Signing())
	if err != nil {
		return nil, err
	}
	user, isUser := strings.CutPrefix(who.ARN, "acs:ram::"+who.AccountID+":user/")
	switch {
	case who.IdentityType == "Account":
		return nil, refuse("the key in config is that of the root account %s, which RAM has no call to rotate: create a RAM user with the rights "+
			"the mount needs, and write its key to config", who.AccountID)
	case !isUser:
		return nil, refuse("the key in config belongs to %s, which is not a RAM user: only keys of RAM users can be rotated", who.ARN)
	}
	own.account, own.user = who.AccountID, user
	return own, nil
}

func (o *ownKeys) Owner() (account, user string) { return o.account, o.user }

func (o *ownKeys) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	err := o.cloud.CallAs(ctx, o.key.Signing(), repeatable, action, params, out)
	var refused *openapi.Error
	if !errors.As(err, &refused) || !ram.Denied(refused) && !refused.KeyRefused() {
		return err
	}
	who, unknown := o.cloud.Whoami(ctx)
	if unknown != nil || who.AccountID != o.account {
		return err // a user of that name in another account is another user
	}
	named := map[string]string{"UserName": o.user}
	maps.Copy(named, params)
	again := o.cloud.Call(ctx, repeatable, action, named, out)
	if ram.Denied(again) && !openapi.Ambiguous(again) {
		return err
	}
	return again
}

// Probe asks STS, then RAM, which must know the new key too before it is the
// only one. Any answer but "unknown key" shows that.
func (o *ownKeys) Probe(ctx context.Context, k ram.AccessKey) error {
	if err := o.cloud.Probe(ctx, k, o.account, o.user); err != nil {
		return err
	}
	err := o.cloud.CallAs(ctx, k.Signing(), true, "ListAccessKeys", nil, nil)
	if ram.Denied(err) {
		return nil
	}
	return err
}

// CleanUp cleans up after rotations that a write of config has ended.
func (k rootKey) CleanUp(ctx context.Context) (again time.Time, err error) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return time.Time{}, err
	}
	var failures []error
	for _, old := range c.Superseded {
		keys, err := k.ownKeys(ctx, old.Key, old.State)
		if err != nil {
			return time.Time{}, err
		}
		wait, err := rotation.Undo(ctx, keys, old.asRotation(c))
		switch {
		case err != nil && time.Since(old.At) > supersededFor:
			k.b.Logger().Error("giving up the clean-up after a rotation that a write of config ended: look at the AccessKeys of the user",
				"username", old.UserName, "account", old.AccountID, "error", err)
		case err != nil || !wait.IsZero():
			failures, again = append(failures, err), wait
			continue
		}
		if err := k.forgetSuperseded(ctx, old); err != nil {
			return time.Time{}, err
		}
	}
	return again, errors.Join(failures...)
}

// rotation is what is left of it to undo: all but the key that config has now.
func (old superseded) asRotation(c *config) *rotation.Rotation {
	return &rotation.Rotation{Current: ram.AccessKey{ID: c.AccessKey}, State: old.State}
}

// undoAll removes what rotations have left in the cloud, as far as it can at
// once, and tells what it could not.
func (k rootKey) undoAll(ctx context.Context) (left []string) {
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return nil
	}
	pending := c.Superseded
	if c.rotatable() == nil {
		pending = append(slices.Clone(pending), superseded{Key: c.key(), State: c.rotationState()})
	}
	for _, old := range pending {
		if !old.Unfinished() {
			continue
		}
		keys, err := k.ownKeys(ctx, old.Key, old.State)
		if err == nil {
			err = rotation.UndoAll(ctx, keys, old.asRotation(c))
		}
		if err != nil {
			left = append(left, fmt.Sprintf("a rotation was under way, and RAM user %s may hold a second AccessKey beside %s: look at its keys", old.UserName, old.Key.ID))
		}
	}
	return left
}

func (k rootKey) forgetSuperseded(ctx context.Context, old superseded) error {
	k.b.configWrite.Lock()
	defer k.b.configWrite.Unlock()
	c, err := load[config](ctx, k.s, configKey)
	if err != nil || c == nil {
		return err
	}
	c.Superseded = slices.DeleteFunc(c.Superseded, func(s superseded) bool { return s.At.Equal(old.At) && s.Key.ID == old.Key.ID })
	if len(c.Superseded) == 0 {
		c.Superseded = nil
	}
	return save(ctx, k.s, configKey, c)
}
