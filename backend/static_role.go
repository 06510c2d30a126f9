package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	staticRolePrefix = "static-role/"

	shortestStaticPeriod = time.Minute
	defaultStaticGrace   = time.Hour
	longestStaticGrace   = 30 * 24 * time.Hour

	// staticSpare is how long an old key is kept, disabled, after its grace
	// period. The next rotation ends that too.
	staticSpare = time.Hour
)

// staticRole is stored under static-role/<name>, seal-wrapped: an existing RAM
// user, its key, and the rotation of that.
type staticRole struct {
	UserName  string `json:"username"`
	AccessKey string `json:"access_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
	Replaces  string `json:"replaces,omitempty"` // id of the key that the first rotation retires

	rotationSettings
	GracePeriod time.Duration `json:"grace_period"`
	RemoveKey   bool          `json:"remove_key,omitempty"`
	Rotation    rotation      `json:"rotation"`
}

func (r *staticRole) validate() error {
	switch g := r.GracePeriod; {
	case r.UserName == "":
		return errors.New("username is required: the RAM user whose AccessKey is to be rotated")
	case !policy.IsUserName(r.UserName):
		return errors.New("username must be 1 to 64 letters, digits and any of . _ -: the name of the RAM user, without @ and what follows")
	case !r.automatic():
		return errors.New("rotation_period or rotation_schedule is required")
	case g < 0 || g > longestStaticGrace:
		return errors.New("grace_period must be 0 to 30 days")
	}
	if err := r.rotationSettings.validate(shortestStaticPeriod); err != nil {
		return err
	}
	if gap := r.shortestGap(); r.GracePeriod >= gap {
		return fmt.Errorf("grace_period must be shorter than the time between two rotations, %s: RAM allows a user two keys", gap)
	}
	return nil
}

// shortestGap is the shortest time between two rotations.
func (r *staticRole) shortestGap() time.Duration {
	if r.RotationPeriod > 0 {
		return r.RotationPeriod
	}
	gap := longestStaticGrace + 1
	at := r.next(time.Now())
	for range 100 {
		following := r.next(at)
		if following.IsZero() {
			break
		}
		gap, at = min(gap, following.Sub(at)), following
	}
	return gap
}

// defaultGrace is an hour, or half the time between rotations where that is less.
func (r *staticRole) defaultGrace() time.Duration {
	return min(defaultStaticGrace, (r.shortestGap() / 2).Truncate(time.Second))
}

func (r *staticRole) keyState() *keyState {
	return &keyState{
		current: ram.AccessKey{ID: r.AccessKey, Secret: r.SecretKey}, replaces: r.Replaces, rotation: r.Rotation, plan: r.rotationSettings,
		overlap: r.GracePeriod, spare: staticSpare,
	}
}

func (r *staticRole) set(s *keyState) {
	r.AccessKey, r.SecretKey, r.Replaces, r.Rotation = s.current.ID, s.current.Secret, s.replaces, s.rotation
}

// staticKey is the key of a static role.
type staticKey struct {
	b    *backend
	s    logical.Storage
	name string
}

func (k staticKey) load(ctx context.Context) (*keyState, error) {
	r, err := load[staticRole](ctx, k.s, staticRolePrefix+k.name)
	if err != nil || r == nil {
		return nil, err
	}
	return r.keyState(), nil
}

func (k staticKey) change(ctx context.Context, current string, f func(*keyState)) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	r, err := load[staticRole](ctx, k.s, staticRolePrefix+k.name)
	if err != nil {
		return err
	}
	if r == nil || r.AccessKey != current {
		return errKeyGone
	}
	s := r.keyState()
	f(s)
	r.set(s)
	return save(ctx, k.s, staticRolePrefix+k.name, r)
}

func (k staticKey) calls(ctx context.Context, _ *keyState) (keyCalls, error) {
	r, err := load[staticRole](ctx, k.s, staticRolePrefix+k.name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errKeyGone
	}
	return k.b.staticCalls(ctx, k.s, r.UserName, r.Rotation.AccountID)
}

// staticCalls are RAM's calls about the keys of another user, made by the
// principal of the mount. The account is the one that the user was first seen
// in, "" before that: a user of the same name in another account is another one.
func (b *backend) staticCalls(ctx context.Context, s logical.Storage, user, account string) (userKeys, error) {
	cloud, err := b.cloud(ctx, s)
	if err != nil {
		return userKeys{}, err
	}
	c, err := load[config](ctx, s, configKey)
	if err != nil {
		return userKeys{}, err
	}
	if cloud == nil || c == nil {
		return userKeys{}, refuse("%s", notConfigured)
	}
	who, err := cloud.Whoami(ctx)
	if err != nil {
		return userKeys{}, err
	}
	if account != "" && account != who.AccountID {
		return userKeys{}, refuse("RAM user %s belongs to account %s, but this mount is now configured for account %s", user, account, who.AccountID)
	}
	return userKeys{b: b, cloud: cloud, account: who.AccountID, user: user, root: c.AccessKey}, nil
}

// userKeys are the keys of one RAM user other than the mount's own.
type userKeys struct {
	b             *backend
	cloud         *cloud
	account, user string
	root          string // AccessKey ID in config, never to be touched
}

func (u userKeys) owner() (account, user string) { return u.account, u.user }

func (u userKeys) keys() ram.Keys { return ram.Keys{User: u.user, Call: u.call} }

// call keeps to the pace of all static roles of the mount together.
func (u userKeys) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	limit := u.b.rotations.writes
	if strings.HasPrefix(action, "List") {
		limit = u.b.rotations.reads
	}
	if err := limit.Wait(ctx); err != nil {
		return err
	}
	return u.cloud.Call(ctx, repeatable, action, params, out)
}

func (u userKeys) list(ctx context.Context) ([]ram.AccessKey, error) {
	keys, err := u.keys().List(ctx)
	for _, k := range keys {
		if k.ID == u.root {
			return nil, refuse("RAM user %s is the one whose key is in config: rotate it with config/rotate-root", u.user)
		}
	}
	return keys, err
}

func (u userKeys) create(ctx context.Context) (ram.AccessKey, error) {
	return u.keys().Create(ctx)
}

func (u userKeys) disable(ctx context.Context, id string) error {
	if id == u.root {
		return refuse("AccessKey %s is the one in config: rotate it with config/rotate-root", id)
	}
	return u.keys().Disable(ctx, id)
}

func (u userKeys) remove(ctx context.Context, id string) error {
	if id == u.root {
		return refuse("AccessKey %s is the one in config: rotate it with config/rotate-root", id)
	}
	return u.keys().Delete(ctx, id)
}

func (u userKeys) probe(ctx context.Context, k ram.AccessKey) error {
	if err := u.b.rotations.reads.Wait(ctx); err != nil {
		return err
	}
	return u.cloud.Probe(ctx, k, u.account, u.user)
}

// loadStaticRoles makes the queue from storage, once in the life of a process
// and after another node has written a role.
func (b *backend) loadStaticRoles(ctx context.Context, s logical.Storage) error {
	b.rotations.mu.Lock()
	loaded := b.rotations.loaded
	b.rotations.mu.Unlock()
	if loaded {
		return nil
	}
	b.staticWrite.Lock()
	defer b.staticWrite.Unlock()
	names, err := s.List(ctx, staticRolePrefix)
	if err != nil {
		return err
	}
	due, users := make(map[string]time.Time, len(names)), make(map[string]string, len(names))
	for _, name := range names {
		r, err := load[staticRole](ctx, s, staticRolePrefix+name)
		if err != nil {
			return err
		}
		if r != nil {
			due[name] = r.keyState().due()
			users[strings.ToLower(r.UserName)] = name
		}
	}
	b.rotations.mu.Lock()
	defer b.rotations.mu.Unlock()
	b.rotations.due, b.rotations.users, b.rotations.loaded = due, users, true
	return nil
}

// checkUser tells why the user cannot be rotated, nil if it can, with the keys
// it has.
func checkUser(ctx context.Context, calls userKeys) ([]ram.AccessKey, error) {
	keys, err := calls.list(ctx)
	if ram.HasCode(err, "EntityNotExist.User") {
		return nil, refuse("username: RAM user %s does not exist in the account of this mount", calls.user)
	}
	return keys, err
}

// adopt checks keys that were given: that they are the user's and work.
func adopt(ctx context.Context, calls userKeys, k ram.AccessKey) error {
	err := calls.probe(ctx, k)
	var refused *openapi.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && !refused.Temporary():
		return refuse("access_key and secret_key do not work, and were not adopted: %s", oneLine(err))
	case !answered(err):
		return refuse("access_key: %s", oneLine(err))
	}
	return err
}

func staticRoleFields() map[string]*framework.FieldSchema {
	fields := rotationFields(shortestStaticPeriod)
	fields["name"] = &framework.FieldSchema{Type: framework.TypeLowerCaseString, Description: "Name of the static role. Upper case is made lower case."}
	fields["username"] = &framework.FieldSchema{
		Type:        framework.TypeString,
		Description: "RAM user whose AccessKey is rotated, in the account of the mount. It must exist, have no other role, and not be the user of config. Cannot be changed.",
	}
	fields["grace_period"] = &framework.FieldSchema{
		Type: framework.TypeDurationSecond,
		Description: "How long the old key stays valid after a rotation, in seconds or as a duration, up to 30 days and shorter than the time between " +
			"rotations. Then it is disabled, and deleted an hour later. Default: one hour, or half the time between rotations if that is shorter.",
	}
	fields["access_key"] = &framework.FieldSchema{
		Type: framework.TypeString,
		Description: "An AccessKey ID that the user has already. With secret_key it is adopted, without a rotation. Alone it is replaced: the role " +
			"begins with a rotation, and this key goes when its grace period is over.",
	}
	fields["secret_key"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "Secret of access_key, to adopt it. Read back by static-cred/ only.",
		DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
	}
	fields["remove_key"] = &framework.FieldSchema{
		Type: framework.TypeBool,
		Description: "Whether deleting the role deletes the user's current key too; default false: it stays valid, and nobody rotates it. " +
			"May also be given with the deletion.",
	}
	return fields
}
