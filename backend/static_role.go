package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/time/rate"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
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

	rotation.Schedule
	GracePeriod time.Duration  `json:"grace_period"`
	RemoveKey   bool           `json:"remove_key,omitempty"`
	Rotation    rotation.State `json:"rotation"`
}

func (r *staticRole) validate() error {
	switch g := r.GracePeriod; {
	case r.UserName == "":
		return errors.New("username is required: the RAM user whose AccessKey is to be rotated")
	case !policy.IsUserName(r.UserName):
		return errors.New("username must be 1 to 64 letters, digits and any of . _ -: the name of the RAM user, without @ and what follows")
	case !r.Automatic():
		return errors.New("rotation_period or rotation_schedule is required")
	case g < 0 || g > longestStaticGrace:
		return errors.New("grace_period must be 0 to 30 days")
	}
	if err := r.Schedule.Validate(shortestStaticPeriod); err != nil {
		return err
	}
	if gap := r.ShortestGap(); r.GracePeriod >= gap {
		return fmt.Errorf("grace_period must be shorter than the time between two rotations, %s: RAM allows a user two keys", gap)
	}
	return nil
}

// defaultGrace is an hour, or half the time between rotations where that is less.
func (r *staticRole) defaultGrace() time.Duration {
	return min(defaultStaticGrace, (r.ShortestGap() / 2).Truncate(time.Second))
}

func (r *staticRole) asRotation() *rotation.Rotation {
	return &rotation.Rotation{
		Current: ram.AccessKey{ID: r.AccessKey, Secret: r.SecretKey}, Replaces: r.Replaces, State: r.Rotation,
		Schedule: r.Schedule, Overlap: r.GracePeriod, Spare: staticSpare,
	}
}

// staticKey is the key of a static role: a rotation.Key.
type staticKey struct {
	b    *backend
	s    logical.Storage
	name string // of the role
}

func (k staticKey) Name() string { return staticRolePrefix + k.name }

func (k staticKey) Load(ctx context.Context) (*rotation.Rotation, error) {
	r, err := load[staticRole](ctx, k.s, k.Name())
	if err != nil || r == nil {
		return nil, err
	}
	return r.asRotation(), nil
}

func (k staticKey) Change(ctx context.Context, current string, f func(*rotation.Rotation)) error {
	k.b.staticWrite.Lock()
	defer k.b.staticWrite.Unlock()
	r, err := load[staticRole](ctx, k.s, k.Name())
	if err != nil {
		return err
	}
	if r == nil || r.AccessKey != current {
		return rotation.ErrKeyGone
	}
	now := r.asRotation()
	f(now)
	r.AccessKey, r.SecretKey, r.Replaces, r.Rotation = now.Current.ID, now.Current.Secret, now.Replaces, now.State
	return save(ctx, k.s, k.Name(), r)
}

func (k staticKey) Keys(ctx context.Context, r *rotation.Rotation) (rotation.Keys, error) {
	return k.b.userKeys(ctx, k.s, r.UserName, r.AccountID)
}

// CleanUp has nothing to do: a write of a static role never ends its rotation.
func (staticKey) CleanUp(context.Context) (time.Time, error) { return time.Time{}, nil }

// pace bounds the calls for all static roles of a mount together. RAM allows 20
// writes and 100 reads a second to an account, which has other users too.
type pace struct{ writes, reads *rate.Limiter }

func newPace() pace { return pace{writes: rate.NewLimiter(10, 1), reads: rate.NewLimiter(40, 1)} }

// userKeys are the keys of one RAM user other than the mount's own: a
// rotation.Keys, whose calls are made by the principal of the mount.
type userKeys struct {
	ram.Keys
	pace    pace
	cloud   *cloud
	account string
	root    string // AccessKey ID in config, never to be touched
}

// userKeys refuses a user of another account than that which the user was first
// seen in, "" before that: one of the same name there is another user.
func (b *backend) userKeys(ctx context.Context, s logical.Storage, user, account string) (*userKeys, error) {
	cloud, err := b.cloud(ctx, s)
	if err != nil {
		return nil, err
	}
	c, err := load[config](ctx, s, configKey)
	if err != nil {
		return nil, err
	}
	if cloud == nil || c == nil {
		return nil, refuse("%s", notConfigured)
	}
	who, err := cloud.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	if account != "" && account != who.AccountID {
		return nil, refuse("RAM user %s belongs to account %s, but this mount is now configured for account %s", user, account, who.AccountID)
	}
	u := &userKeys{pace: b.pace, cloud: cloud, account: who.AccountID, root: c.AccessKey}
	u.Keys = ram.Keys{User: user, Call: u.call}
	return u, nil
}

func (u *userKeys) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	limit := u.pace.writes
	if strings.HasPrefix(action, "List") {
		limit = u.pace.reads
	}
	if err := limit.Wait(ctx); err != nil {
		return err
	}
	return u.cloud.Call(ctx, repeatable, action, params, out)
}

func (u *userKeys) Owner() (account, user string) { return u.account, u.User }

func (u *userKeys) List(ctx context.Context) ([]ram.AccessKey, error) {
	keys, err := u.Keys.List(ctx)
	if slices.ContainsFunc(keys, func(k ram.AccessKey) bool { return k.ID == u.root }) {
		return nil, refuse("RAM user %s is the one whose key is in config: rotate it with config/rotate-root", u.User)
	}
	return keys, err
}

func (u *userKeys) Disable(ctx context.Context, id string) error {
	if err := u.notRoot(id); err != nil {
		return err
	}
	return u.Keys.Disable(ctx, id)
}

func (u *userKeys) Delete(ctx context.Context, id string) error {
	if err := u.notRoot(id); err != nil {
		return err
	}
	return u.Keys.Delete(ctx, id)
}

func (u *userKeys) notRoot(id string) error {
	if id == u.root {
		return refuse("AccessKey %s is the one in config: rotate it with config/rotate-root", id)
	}
	return nil
}

func (u *userKeys) Probe(ctx context.Context, k ram.AccessKey) error {
	if err := u.pace.reads.Wait(ctx); err != nil {
		return err
	}
	return u.cloud.Probe(ctx, k, u.account, u.User)
}

func staticRoleFields() map[string]*framework.FieldSchema {
	fields := scheduleFields(shortestStaticPeriod)
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
