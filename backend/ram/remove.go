package ram

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// removalRounds bounds how often what is in the way of a deletion is listed and
// removed.
const removalRounds = 4

// Created is what was, or was about to be, created for one lease.
type Created struct {
	Entity      Entity
	NeverMade   bool   // RAM refused to create the entity: there are policies at most
	AccessKeyID string // of a user; "" where it is not known
	Login       bool   // it has a login profile, and perhaps an MFA device
	MFADevices  MFADevices
	Policies    []Policy // attached; others may hold them too
	OwnPolicies []Policy // attached and created for this lease alone: they go with it
	Groups      []string
	Origin      Origin
}

// Origin is where and when something was created.
type Origin struct {
	AccountID string // "" where it is not known
	UserID    string // of a user, by which RAM knows it whatever its name is; "" where it is not known
	At        time.Time
}

// maxRenames bounds how often a user is followed to another name while it is removed.
const maxRenames = 3

// Remove removes the entity and its own policies. It may be called any number of
// times, and each step counts what is already gone as done. All of it is done with
// the same credentials, and what is not there counts as gone only where these are
// of the account in which it was created. It removes first
// what it knows of, and lists and removes the rest where it knows too little (no
// AccessKey ID) or RAM says that something is left.
func (c *Client) Remove(ctx context.Context, done Created) error {
	return c.withOneKey(ctx, func(c *Client) error { return c.removeCreated(ctx, done) })
}

// removeCreated follows a user that has another name by now: whoever holds its key may
// be allowed to rename it.
func (c *Client) removeCreated(ctx context.Context, done Created) error {
	if done.Entity.Name == "" {
		return errors.New("there is no name of a user or role to clean up after")
	}
	for renames := 0; ; renames++ {
		certain, err := c.removeNamed(ctx, done)
		if err != nil || certain || done.Entity.Kind != User || done.NeverMade {
			return err
		}
		name, err := c.userNow(ctx, done.Origin.UserID)
		switch {
		case err != nil:
			return fmt.Errorf("looking whether the %s has another name by now: %w", done.Entity, err)
		case name == "" || name == done.Entity.Name: // the list is behind
			return nil
		case renames == maxRenames:
			return fmt.Errorf("the %s is user %s by now, and is renamed again and again", done.Entity, name)
		}
		done.Entity.Name, done.AccessKeyID = name, ""
	}
}

// removeNamed removes what has the name. It is certain to have been the right user
// where this had the AccessKey of the lease and was there to be deleted.
func (c *Client) removeNamed(ctx context.Context, done Created) (certain bool, err error) {
	var w Wave
	for _, p := range done.OwnPolicies {
		w.Add(func() error { return c.remove(ctx, done.Origin, c.removalOfPolicy(p.Name)) })
	}
	if done.NeverMade {
		return false, w.Run()
	}
	known := holdings{login: done.Login, devices: done.MFADevices, policies: slices.Concat(done.OwnPolicies, done.Policies)}
	for _, group := range done.Groups {
		known.groups = append(known.groups, Entity{Group, group})
	}
	var unknown error // why its keys are not listed: the rest is taken away all the same
	if done.Entity.Kind == User {
		known.keys = []AccessKey{{ID: done.AccessKeyID}}
		if done.AccessKeyID == "" {
			known.keys, unknown = c.keysOf(ctx, done.Entity)
		}
	}
	hadKey, denied, err := c.strip(ctx, done.Origin.AccountID, done.Entity, known)
	if err = errors.Join(unknown, err); err != nil {
		return false, errors.Join(denied, err)
	}
	there := true
	entity := c.removalOf(done.Entity, done.MFADevices)
	w.Add(func() error {
		del := entity.delete
		entity.delete = func(ctx context.Context) error {
			err := del(ctx)
			there = there && !HasCode(err, entity.absent)
			return err
		}
		return c.remove(ctx, done.Origin, entity)
	})
	if err = w.Run(); err != nil {
		return false, errors.Join(denied, err)
	}
	return there && hadKey && done.AccessKeyID != "", nil // what was denied was not attached, or RAM would not have deleted it
}

// RemoveUnused deletes a custom policy that several entities may have held.
// RAM has the last word: it refuses while anything holds the policy, which
// stays then.
func (c *Client) RemoveUnused(ctx context.Context, policy string, o Origin) (stays bool, err error) {
	err = c.withOneKey(ctx, func(c *Client) (err error) {
		stays, err = c.removeUnused(ctx, policy, o)
		return err
	})
	return stays, err
}

func (c *Client) removeUnused(ctx context.Context, policy string, o Origin) (stays bool, err error) {
	err = c.remove(ctx, o, removal{
		what: "policy " + policy, absent: "EntityNotExist.Policy",
		delete: func(ctx context.Context) error { return c.DeleteUnused(ctx, policy) },
	})
	if !deleteConflict(err) {
		return false, err
	}
	held, unsure := c.held(ctx, policy)
	switch {
	case unsure != nil:
		return false, unsure
	case held:
		return true, nil
	}
	switch held, unsure = c.heldInGroups(ctx, policy); {
	case unsure != nil:
		return false, unlisted(err, unsure)
	case held:
		return true, nil
	}
	return false, err // RAM has yet to see the last detachment
}

// DeleteUnused leaves it to RAM to refuse while anything holds the policy. Only
// versions that somebody added go with it.
func (c *Client) DeleteUnused(ctx context.Context, policy string) error {
	err := c.Call(ctx, true, "DeletePolicy", map[string]string{"PolicyName": policy}, nil)
	if HasCode(err, "DeleteConflict.Policy.Version") {
		err = c.deletePolicy(ctx, policy)
	}
	return err
}

func (c *Client) deletePolicy(ctx context.Context, name string) error {
	return c.Call(ctx, true, "DeletePolicy", map[string]string{"PolicyName": name, "CascadingDelete": "true"}, nil)
}

// holdings are what an entity has.
type holdings struct {
	keys     []AccessKey
	login    bool // a login profile, and perhaps an MFA device
	devices  MFADevices
	policies []Policy
	groups   []Entity
}

// strip takes everything named from the entity of the account. It tries all of it
// before it returns the first failure, so that one refusal leaves no more than it
// must. It tells whether the keys were there, and which policies the mount may not
// detach: what it may not attach either need not be there.
func (c *Client) strip(ctx context.Context, account string, e Entity, h holdings) (hadKeys bool, denied, err error) {
	var w Wave
	refused := make([]error, len(h.policies))
	had := make([]bool, len(h.keys))
	for n, k := range h.keys {
		w.Add(func() (err error) {
			had[n], err = Keys{User: e.Name, Call: c.Call}.remove(ctx, k.ID)
			return err
		})
	}
	if h.login {
		w.Add(func() error { return c.deleteLoginProfile(ctx, e) })
	}
	if h.login || len(h.devices.Known) > 0 { // whoever signs in may have one
		w.Add(func() error { return c.removeMFADevices(ctx, e, h.devices) })
	}
	for n, p := range h.policies {
		w.Add(func() error {
			err := c.detach(ctx, account, e, p)
			if Denied(err) {
				refused[n] = err
				return nil
			}
			return err
		})
	}
	for _, group := range h.groups {
		w.Add(func() error {
			return gone(c.Call(ctx, true, "RemoveUserFromGroup", e.params("GroupName", group.Name), nil))
		})
	}
	err = w.Run()
	return !slices.Contains(had, false), errors.Join(refused...), err
}

// keysOf lists the keys of a user; none where there is no such user.
func (c *Client) keysOf(ctx context.Context, user Entity) ([]AccessKey, error) {
	keys, err := Keys{User: user.Name, Call: c.Call}.List(ctx)
	return keys, gone(err)
}

// empty lists what the entity has and removes it, whoever gave it.
func (c *Client) empty(ctx context.Context, e Entity, devices MFADevices) error {
	var h holdings
	var w Wave
	w.Add(func() (err error) { h.policies, err = c.policiesOf(ctx, e); return })
	if e.Kind == User {
		w.Add(func() (err error) { h.keys, err = c.keysOf(ctx, e); return })
		w.Add(func() (err error) { h.groups, err = c.groupsOf(ctx, e); return })
		// The mount may lack the right to remove these two, where no role of it makes
		// users who sign in: DeleteUser then goes on to say which is in the way.
		for _, remove := range []func() error{
			func() error { return c.deleteLoginProfile(ctx, e) },
			func() error { return c.removeMFADevices(ctx, e, devices) },
		} {
			w.Add(func() error {
				if err := remove(); !Denied(err) {
					return err
				}
				return nil
			})
		}
	}
	unknown := w.Run() // what was listed goes all the same
	_, denied, err := c.strip(ctx, "", e, h)
	return errors.Join(unknown, denied, err)
}

// detachEverywhere takes the custom policy from everything that RAM lists.
func (c *Client) detachEverywhere(ctx context.Context, policy string) error {
	holders, err := c.holdersOf(ctx, policy)
	if err != nil {
		return err
	}
	var w Wave
	for _, e := range holders {
		w.Add(func() error { return c.detach(ctx, "", e, Policy{Name: policy, Type: "Custom"}) })
	}
	return w.Run()
}

// removal is the deletion of one thing, and what clears its way while RAM
// answers DeleteConflict.
type removal struct {
	what   string                      // "user vault-x"
	absent string                      // code of the answer that there is none
	delete func(context.Context) error // tells, too, that there is none

	// empty takes away what RAM lists, and grants is what Resource Management
	// lists of it. Without empty nothing is taken from anybody.
	empty  func(context.Context) error
	grants attachment
}

func (c *Client) removalOf(e Entity, devices MFADevices) removal {
	return removal{
		what: e.String(), absent: "EntityNotExist." + string(e.Kind),
		delete: func(ctx context.Context) error { return c.Call(ctx, true, "Delete"+string(e.Kind), e.params(), nil) },
		empty:  func(ctx context.Context) error { return c.empty(ctx, e, devices) },
		grants: attachment{PrincipalType: principalTypes[e.Kind], PrincipalName: e.Name},
	}
}

// removalOfPolicy is that of a policy made for one lease, whomever it has been
// attached to since.
func (c *Client) removalOfPolicy(name string) removal {
	return removal{
		what: "policy " + name, absent: "EntityNotExist.Policy",
		delete: func(ctx context.Context) error { return c.deletePolicy(ctx, name) },
		empty:  func(ctx context.Context) error { return c.detachEverywhere(ctx, name) },
		grants: attachment{PolicyType: "Custom", PolicyName: name},
	}
}

// remove deletes. Where RAM says that something is in the way, everything of
// the kind is listed and removed, whoever added it: the thing is ours, and
// nothing of it may survive the lease. RAM lists no grant of a resource group,
// and refuses for it all the same: the second time that policies are in the way,
// Resource Management is asked.
func (c *Client) remove(ctx context.Context, o Origin, r removal) error {
	var unknown error // why Resource Management did not tell
	for round := 1; ; round++ {
		err := r.delete(ctx)
		switch {
		case HasCode(err, r.absent):
			return c.believeGone(ctx, o, r.what)
		case !deleteConflict(err):
			return err
		case round == removalRounds && unknown != nil:
			return unlisted(err, unknown)
		case round == removalRounds:
			return err
		}
		if r.empty != nil {
			if err := r.empty(ctx); err != nil {
				return err
			}
			if round == 1 {
				continue
			}
			if strings.Contains(code(err), "Policy") && unknown == nil {
				unknown = c.detachGrants(ctx, o.AccountID, r.grants)
			}
		}
		// The removals may not be visible yet.
		if err := Pause(ctx, time.Duration(round)*500*time.Millisecond); err != nil {
			return err
		}
	}
}

// believeGone decides whether "does not exist" means that it is gone. It does
// not right after the creation, which may not be visible yet, and not when the
// mount has since been pointed at another account.
func (c *Client) believeGone(ctx context.Context, o Origin, what string) error {
	if age := time.Since(o.At); Unseen(o.At) {
		return fmt.Errorf("the %s was created %s ago and may not be visible yet: clean-up is to be repeated", what, age.Round(time.Second))
	}
	if o.AccountID == "" {
		return nil
	}
	who, err := c.CallerIdentity(ctx) // now, whatever was known before
	if err != nil {
		return fmt.Errorf("the %s does not exist, but it could not be confirmed that this mount still works in account %s: %w", what, o.AccountID, err)
	}
	if who.AccountID != o.AccountID {
		return &OtherAccount{what, o.AccountID, who.AccountID}
	}
	return nil
}

// OtherAccount says that something was created in another account than that which the
// client works in.
type OtherAccount struct{ what, of, now string }

func (e *OtherAccount) Error() string {
	return fmt.Sprintf("the %s belongs to account %s, but this mount is now configured for account %s", e.what, e.of, e.now)
}
