package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

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
	UserName    string `json:"username"`
	accountRole        // as which the mount works in the account of the user
	AccessKey   string `json:"access_key,omitempty"`
	SecretKey   string `json:"secret_key,omitempty"`
	Replaces    string `json:"replaces,omitempty"` // id of the key that the first rotation retires

	rotation.Schedule
	DisableAutomatedRotation bool `json:"disable_automated_rotation,omitempty"`

	GracePeriod time.Duration  `json:"grace_period"`
	RemoveKey   bool           `json:"remove_key,omitempty"`
	Rotation    rotation.State `json:"rotation"`
}

// staticRoleFields is the table of static roles.
func staticRoleFields() fields[staticRole] {
	table := fields[staticRole]{
		parameter[staticRole]("name", framework.TypeLowerCaseString, "Name of the static role, in small letters."),
		field[staticRole]{
			name: "username",
			schema: framework.FieldSchema{
				Type:        framework.TypeString,
				Description: "RAM user whose AccessKey is rotated, in the account of the mount or of assume_role_arn. It must exist, have no other role, and not be the user of config. Cannot be changed.",
			},
			set:   (*staticRole).setUserName,
			get:   func(r *staticRole) any { return r.UserName },
			check: (*staticRole).checkUserName,
		},
		field[staticRole]{
			name: "access_key",
			schema: framework.FieldSchema{
				Type: framework.TypeString,
				Description: "An AccessKey ID that the user has already. With secret_key it is adopted, without a rotation. Alone it is replaced: the role " +
					"begins with a rotation, and this key goes when its grace period is over.",
			},
			get: func(r *staticRole) any { return r.AccessKey }, // what is given is the business of newStaticRole
		},
		field[staticRole]{
			name: "secret_key",
			schema: framework.FieldSchema{
				Type: framework.TypeString, Description: "Secret of access_key, to adopt it. Read back by static-cred/ only.",
				DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
			},
		},
	}
	table = append(table, within(accountRoleFields(""), func(r *staticRole) *accountRole { return &r.accountRole })...)
	table = append(table, scheduleFields(func(r *staticRole) *rotation.Schedule { return &r.Schedule }, shortestStaticPeriod)...)
	table = append(table,
		boolean("disable_automated_rotation", func(r *staticRole) *bool { return &r.DisableAutomatedRotation },
			"Rotate on request only (rotate-role), whatever period or schedule is set; then neither is required. Default false.").
			checked((*staticRole).checkSchedule),
		seconds("grace_period", func(r *staticRole) *time.Duration { return &r.GracePeriod },
			"How long the old key stays valid after a rotation, in seconds or as a duration, up to 30 days and shorter than the time between "+
				"rotations. Then it is disabled, and deleted an hour later. Default: one hour, or half the time between rotations if that is shorter.").
			checked((*staticRole).checkGrace),
		boolean("remove_key", func(r *staticRole) *bool { return &r.RemoveKey },
			"Whether deleting the role deletes the user's current key too; default false: it stays valid, and nobody rotates it. "+
				"May also be given with the deletion."),
		parameter[staticRole]("force", framework.TypeBool,
			"Creation: delete an inactive key that takes RAM's second place. Deletion: delete the role even if the cloud cannot be "+
				"cleaned up. Default false."),
	)
	return append(table, rotationStateFields("last_rotation", func(r *staticRole) *rotation.State {
		state := r.Rotation
		state.NextRotation = r.next()
		return &state
	})...)
}

// update takes the fields of a write; those that are not given keep their value.
func (r *staticRole) update(data *framework.FieldData) error {
	if err := staticRoleFields().update(r, data); err != nil {
		return err
	}
	return settleSchedule(&r.Schedule, data)
}

func (r *staticRole) validate() error {
	if err := staticRoleFields().validate(r); err != nil {
		return err
	}
	if account := r.Rotation.AccountID; !r.none() && account != "" && r.account() != account {
		return fmt.Errorf("assume_role_arn is a RAM role of account %s, and the RAM user %s was found in account %s: delete the static role and create another", r.account(), r.UserName, account)
	}
	return r.accountRole.check()
}

func (r *staticRole) setUserName(value any) error {
	user := strings.TrimSpace(value.(string))
	if r.UserName != "" && user != r.UserName {
		return fmt.Errorf("username cannot be changed from %s: delete the role and create another", r.UserName)
	}
	r.UserName = user
	return nil
}

func (r *staticRole) checkUserName() error {
	switch {
	case r.UserName == "":
		return errors.New("username is required: the RAM user whose AccessKey is to be rotated")
	case !policy.IsUserName(r.UserName):
		return errors.New("username must be 1 to 64 letters, digits and any of . _ -: the name of the RAM user, without @ and what follows")
	}
	return nil
}

func (r *staticRole) checkSchedule() error {
	if !r.Automatic() && !r.DisableAutomatedRotation {
		return errors.New("rotation_period or rotation_schedule is required, or disable_automated_rotation=true for a key that is rotated on request only")
	}
	return nil
}

func (r *staticRole) checkGrace() error {
	switch g, gap := r.GracePeriod, r.ShortestGap(); {
	case g < 0 || g > longestStaticGrace:
		return errors.New("grace_period must be 0 to 30 days")
	case g >= gap:
		return fmt.Errorf("grace_period must be shorter than the time between two rotations, %s: RAM allows a user two keys", gap)
	}
	return nil
}

// next is when the key will be rotated by itself; zero: never.
func (r *staticRole) next() time.Time {
	if r.DisableAutomatedRotation && r.AccessKey != "" {
		return time.Time{}
	}
	return r.Rotation.NextRotation
}

// defaultGrace is an hour, or half the time between rotations where that is less.
func (r *staticRole) defaultGrace() time.Duration {
	return min(defaultStaticGrace, (r.ShortestGap() / 2).Truncate(time.Second))
}

func (r *staticRole) asRotation() *rotation.Rotation {
	state := r.Rotation
	state.UserName = r.UserName // never "", which is RAM's name for whoever calls
	return &rotation.Rotation{
		Current: ram.AccessKey{ID: r.AccessKey, Secret: r.SecretKey}, Replaces: r.Replaces, State: state,
		Schedule: r.Schedule, Paused: r.DisableAutomatedRotation, Overlap: r.GracePeriod, Spare: staticSpare,
	}
}
