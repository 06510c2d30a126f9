package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// visibleWithin is how long RAM may take to show everywhere what was created.
// Alibaba Cloud says "a while"; tools in the field retry for seconds.
const visibleWithin = 30 * time.Second

// cleanUpRounds bounds how often what is left on a user is listed and removed.
const cleanUpRounds = 4

// issued is what was, or was about to be, created for one lease: the content of
// a WAL entry, of the index, and of the lease itself. Its JSON form is the
// lease's, of which username, access_key_id and the first two lists are those of
// Vault's built-in engine. Lists may be null or missing in a lease of that
// engine.
type issued struct {
	UserName       string         `json:"username"`
	RAMRole        string         `json:"ram_role,omitempty"` // instead of a user
	AccessKeyID    string         `json:"access_key_id"`
	InlinePolicies []remotePolicy `json:"inline_policies"`           // this lease's: deleted
	RemotePolicies []remotePolicy `json:"remote_policies"`           // others': detached
	SharedPolicies []string       `json:"shared_policies,omitempty"` // those of RemotePolicies that are the mount's
	RAMGroups      []string       `json:"ram_groups"`
	AccountID      string         `json:"account_id"`
	CreatedAt      time.Time      `json:"created_at"`
}

// name is that of the user or the role; neither is ever used twice.
func (u issued) name() string { return u.UserName + u.RAMRole }

// leaseData is what a lease carries, as it comes back from Vault.
func (u issued) leaseData(roleType, roleName string) (map[string]interface{}, error) {
	data := map[string]interface{}{}
	err := recode(u, &data)
	data["secret_type"] = secretType
	data["role_type"] = roleType
	data["role_name"] = roleName
	return data, err
}

// cleanUp removes the user or role and the policies made for it alone. It is
// what revoke and rollback both call, it may be called any number of times, and
// each step counts what is already gone as done. It removes first what it knows
// of, and lists and removes the rest where it knows too little (no AccessKey ID)
// or RAM says that something is left.
func (c *cloud) cleanUp(ctx context.Context, u issued) error {
	if u.name() == "" {
		return errors.New("there is no name of a user or role to clean up after")
	}
	policies := slices.Concat(u.InlinePolicies, u.RemotePolicies)
	if u.RAMRole != "" {
		if err := c.stripRole(ctx, u.RAMRole, policies); err != nil {
			return err
		}
	} else {
		keys := []string{u.AccessKeyID}
		if u.AccessKeyID == "" {
			var err error
			if keys, err = c.accessKeysOf(ctx, u.UserName); err != nil {
				return err
			}
		}
		if err := c.strip(ctx, u.UserName, keys, policies, u.RAMGroups); err != nil {
			return err
		}
	}
	var w wave
	w.add(func() error { return c.remove(ctx, u, c.removalOf(u)) })
	for _, p := range u.InlinePolicies {
		w.add(func() error { return c.remove(ctx, u, c.removalOfPolicy(p.Name)) })
	}
	return w.run()
}

// stripRole takes the policies from the role.
func (c *cloud) stripRole(ctx context.Context, role string, policies []remotePolicy) error {
	var w wave
	for _, p := range policies {
		w.add(func() error { return c.detachFromRole(ctx, role, p) })
	}
	return w.run()
}

// strip takes everything named from the user. It tries all of it before it
// returns the first failure, so that one refusal leaves no more than it must.
func (c *cloud) strip(ctx context.Context, user string, keys []string, policies []remotePolicy, groups []string) error {
	var w wave
	for _, id := range keys {
		w.add(func() error { return c.deleteAccessKey(ctx, user, id) })
	}
	for _, p := range policies {
		w.add(func() error { return c.detachPolicy(ctx, user, p) })
	}
	for _, group := range groups {
		w.add(func() error { return c.removeFromGroup(ctx, user, group) })
	}
	return w.run()
}

// removal is the deletion of one thing, and what clears its way while RAM
// answers DeleteConflict.
type removal struct {
	what   string                      // "user vault-x"
	absent string                      // code of the answer that there is none
	delete func(context.Context) error // tells, too, that there is none
	empty  func(context.Context) error // takes away what RAM lists
	grants attachment                  // what Resource Management lists of it
}

func (c *cloud) removalOf(u issued) removal {
	if u.RAMRole != "" {
		return removal{
			what: "role " + u.RAMRole, absent: "EntityNotExist.Role",
			delete: func(ctx context.Context) error { return c.deleteRole(ctx, u.RAMRole) },
			empty:  func(ctx context.Context) error { return c.emptyRole(ctx, u.RAMRole) },
			grants: attachment{PrincipalType: principalRole, PrincipalName: u.RAMRole},
		}
	}
	return removal{
		what: "user " + u.UserName, absent: "EntityNotExist.User",
		delete: func(ctx context.Context) error { return c.deleteUser(ctx, u.UserName) },
		empty:  func(ctx context.Context) error { return c.emptyUser(ctx, u.UserName) },
		grants: attachment{PrincipalType: principalUser, PrincipalName: u.UserName},
	}
}

// removalOfPolicy is that of a policy that was made for one lease, whomever it
// has been attached to since.
func (c *cloud) removalOfPolicy(name string) removal {
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
func (c *cloud) remove(ctx context.Context, u issued, r removal) error {
	var unknown error // why Resource Management did not tell
	for round := 1; ; round++ {
		err := r.delete(ctx)
		if hasCode(err, r.absent) {
			return c.believeGone(ctx, u, r.what)
		}
		switch {
		case !deleteConflict(err):
			return err
		case round == cleanUpRounds && unknown != nil:
			return fmt.Errorf("%w (RAM lists no grants of resource groups, and they could not be looked for: %w)", err, unknown)
		case round == cleanUpRounds:
			return err
		}
		if err := r.empty(ctx); err != nil {
			return err
		}
		if round == 1 {
			continue
		}
		if policiesInTheWay(err) && unknown == nil {
			unknown = c.detachGrants(ctx, u.AccountID, r.grants)
		}
		// The removals may not be visible yet.
		if err := pause(ctx, time.Duration(round)*500*time.Millisecond); err != nil {
			return err
		}
	}
}

// emptyRole lists what the role has and removes it.
func (c *cloud) emptyRole(ctx context.Context, role string) error {
	policies, err := c.policiesOfRole(ctx, role)
	if err != nil {
		return err
	}
	return c.stripRole(ctx, role, policies)
}

// emptyUser lists what the user has and removes it.
func (c *cloud) emptyUser(ctx context.Context, user string) error {
	var keys, groups []string
	var policies []remotePolicy
	var w wave
	w.add(func() (err error) { keys, err = c.accessKeysOf(ctx, user); return })
	w.add(func() (err error) { policies, err = c.policiesOf(ctx, user); return })
	w.add(func() (err error) { groups, err = c.groupsOf(ctx, user); return })
	// Only an administrator adds these two, and the mount may lack the right to
	// remove them: DeleteUser then goes on to say which of them is in the way.
	w.add(func() error { return unless(c.deleteLoginProfile(ctx, user), noPermission) })
	w.add(func() error { return unless(c.unbindMFADevice(ctx, user), noPermission) })
	if err := w.run(); err != nil {
		return err
	}
	return c.strip(ctx, user, keys, policies, groups)
}

// believeGone decides whether "does not exist" means that it is gone. It does
// not right after the creation, which may not be visible yet, and not when the
// mount has since been pointed at another account.
func (c *cloud) believeGone(ctx context.Context, u issued, what string) error {
	if age := time.Since(u.CreatedAt); age < visibleWithin {
		return fmt.Errorf("the %s was created %s ago and may not be visible yet: clean-up is to be repeated", what, age.Round(time.Second))
	}
	if u.AccountID == "" {
		return nil
	}
	who, err := c.whoami(ctx)
	if err != nil {
		return fmt.Errorf("the %s does not exist, but it could not be confirmed that this mount still works in account %s: %w", what, u.AccountID, err)
	}
	if who.AccountID != u.AccountID {
		return fmt.Errorf("the %s belongs to account %s, but this mount is now configured for account %s", what, u.AccountID, who.AccountID)
	}
	return nil
}

// deleteConflict tells whether RAM refused to delete something for what it still
// has or is used by. The code says which of the two is meant first in some
// refusals and last in others.
func deleteConflict(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "DeleteConflict.")
}

// policiesInTheWay tells whether the refusal is about a policy and its holders.
func policiesInTheWay(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && strings.Contains(refused.Code, "Policy")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
