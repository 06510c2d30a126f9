package backend

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

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
)

// rootRotation is the part of config about the rotation of its key.
type rootRotation struct {
	rotation.Schedule
	DisableAutomatedRotation bool            `json:"disable_automated_rotation,omitempty"`
	RotationGracePeriod      time.Duration   `json:"rotation_grace_period,omitempty"` // 0: defaultRootGrace
	Rotation                 *rotation.State `json:"rotation,omitempty"`
	Superseded               []superseded    `json:"superseded,omitempty"`
}

// rootRotationFields are a part of the table of config.
func rootRotationFields() fields[config] {
	table := scheduleFields(func(c *config) *rotation.Schedule { return &c.Schedule }, shortestRootPeriod)
	table = append(table,
		seconds("rotation_grace_period", func(c *config) *time.Duration { return &c.RotationGracePeriod },
			"How long a key that was rotated away is kept, disabled, before it is deleted: 60 seconds to 30 days; 0 means 86400. "+
				"It is disabled two minutes after the rotation. The next rotation deletes it in any case.").
			checked((*config).checkGrace).answers(func(c *config) any { return int64(c.grace() / time.Second) }),
		boolean("disable_automated_rotation", func(c *config) *bool { return &c.DisableAutomatedRotation },
			"Rotate on request only, whatever period or schedule is set. Default false.").checked((*config).checkRotatable))
	return append(table, rotationStateFields("last_rotated", func(c *config) *rotation.State {
		r := c.rotationState()
		if c.DisableAutomatedRotation {
			r.NextRotation = time.Time{}
		}
		return &r
	})...)
}

func (r *rootRotation) grace() time.Duration {
	if r.RotationGracePeriod == 0 {
		return defaultRootGrace
	}
	return r.RotationGracePeriod
}

// rotatable tells whether the config holds a key of a RAM user.
func (c *config) rotatable() error {
	switch t, _ := sourceTypeNamed(c.credentialType()); {
	case !t.rotates:
		return fmt.Errorf("credential_type %s has no AccessKey to rotate: rotation is for access_key, and for ram_role_arn with keys", c.credentialType())
	case c.AccessKey == "":
		return errors.New("config holds no AccessKey to rotate: its credentials come from the surroundings of the Vault server")
	case c.SecurityToken != "":
		return errors.New("the keys in config are temporary and cannot be rotated: they end by themselves")
	}
	return nil
}

func (c *config) checkGrace() error {
	if g := c.RotationGracePeriod; g != 0 && (g < time.Minute || g > longestRootGrace) {
		return errors.New("rotation_grace_period must be 0, or 60 seconds to 30 days")
	}
	return nil
}

// checkRotatable refuses a schedule where there is no key for it.
func (c *config) checkRotatable() error {
	if !c.Automatic() {
		return nil
	}
	if err := c.rotatable(); err != nil {
		return fmt.Errorf("%w; without one, give rotation_period=0 and rotation_schedule=\"\"", err)
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
