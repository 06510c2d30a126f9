package ram

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of entity, spelled as in the names of RAM's calls, parameters
// and codes: AttachPolicyToUser, UserName, EntityNotExist.User.
type Kind string

// The kinds of entities that hold policies.
const (
	User  Kind = "User"
	Role  Kind = "Role"
	Group Kind = "Group"
)

// Entity is a user, role or group of the account.
type Entity struct {
	Kind Kind
	Name string
}

// String is "user x", as errors have it.
func (e Entity) String() string { return strings.ToLower(string(e.Kind)) + " " + e.Name }

// params name the entity, and what else is given: name, value, ...
func (e Entity) params(more ...string) map[string]string {
	params := map[string]string{string(e.Kind) + "Name": e.Name}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	return params
}

// Policy names a policy as it is attached. Its type is System or Custom.
type Policy struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	ResourceGroup string `json:"resource_group,omitempty"` // for whose resources alone it counts; "": for the whole account
}

// Gone tells whether the entity, which was created there and then, is no longer. Its
// error says why that cannot be told.
func (c *Client) Gone(ctx context.Context, e Entity, o Origin) (gone bool, err error) {
	err = c.withOneKey(ctx, func(c *Client) error {
		err := c.Call(ctx, true, "Get"+string(e.Kind), e.params(), nil)
		if !HasCode(err, "EntityNotExist."+string(e.Kind)) {
			return err
		}
		if err = c.believeGone(ctx, o, e.String()); err != nil || e.Kind != User {
			gone = err == nil
			return err
		}
		name, err := c.userNow(ctx, o.UserID)
		gone = err == nil && (name == "" || name == e.Name) // the list may be behind
		return err
	})
	return gone, err
}

// userNow is the name that the user of that id has now, "" where there is none, or
// where the id is not known. Who may not list users does not insist: most users that
// are not there were deleted.
func (c *Client) userNow(ctx context.Context, id string) (name string, err error) {
	if id == "" {
		return "", nil
	}
	err = c.pages(ctx, "ListUsers", nil, func(page listed) {
		for _, u := range page.Users.User {
			if u.UserID == id {
				name = u.UserName
			}
		}
	})
	if Denied(err) {
		return "", nil
	}
	return name, err
}

// attach and detach succeed where nothing is left to do.

func (c *Client) attach(ctx context.Context, e Entity, p Policy) error {
	var err error
	if p.ResourceGroup == "" {
		err = c.Call(ctx, true, "AttachPolicyTo"+string(e.Kind), e.params("PolicyName", p.Name, "PolicyType", p.Type), nil)
	} else {
		err = c.grant(ctx, "AttachPolicy", "", e, p)
	}
	switch { // the refusal does not say which
	case HasCode(err, "EntityNotExist.Policy"):
		return fmt.Errorf("the %s policy %s: %w", p.Type, p.Name, err)
	case HasCode(err, noResourceGroup):
		return fmt.Errorf("the resource group %s: %w", p.ResourceGroup, err)
	case strings.HasPrefix(code(err), "EntityAlreadyExist"): // the attachment: nothing else is made
		return nil
	}
	return err
}

// detach takes the policy from an entity of the account, "" for that of the
// client's credentials.
func (c *Client) detach(ctx context.Context, account string, e Entity, p Policy) error {
	if p.ResourceGroup == "" {
		return gone(c.Call(ctx, true, "DetachPolicyFrom"+string(e.Kind), e.params("PolicyName", p.Name, "PolicyType", p.Type), nil))
	}
	err := c.grant(ctx, "DetachPolicy", account, e, p)
	if unknownPrincipal(err, e.Kind) {
		return nil // if it holds something after all, RAM refuses to delete it
	}
	return gone(err)
}

// policiesOf lists what the entity holds in the whole account; nothing where
// there is no such entity.
func (c *Client) policiesOf(ctx context.Context, e Entity) ([]Policy, error) {
	var out struct {
		Policies struct {
			Policy []struct{ PolicyName, PolicyType string }
		}
	}
	err := gone(c.Call(ctx, true, "ListPoliciesFor"+string(e.Kind), e.params(), &out))
	var policies []Policy
	for _, p := range out.Policies.Policy {
		policies = append(policies, Policy{Name: p.PolicyName, Type: p.PolicyType})
	}
	return policies, err
}

// holdersOf lists who holds the custom policy in the whole account. RAM may go
// on listing a holder for a while after the policy was detached.
func (c *Client) holdersOf(ctx context.Context, policy string) ([]Entity, error) {
	var out struct {
		Users  struct{ User []struct{ UserName string } }
		Groups struct{ Group []struct{ GroupName string } }
		Roles  struct{ Role []struct{ RoleName string } }
	}
	err := gone(c.Call(ctx, true, "ListEntitiesForPolicy", map[string]string{"PolicyName": policy, "PolicyType": "Custom"}, &out))
	var holders []Entity
	for _, u := range out.Users.User {
		holders = append(holders, Entity{User, u.UserName})
	}
	for _, g := range out.Groups.Group {
		holders = append(holders, Entity{Group, g.GroupName})
	}
	for _, r := range out.Roles.Role {
		holders = append(holders, Entity{Role, r.RoleName})
	}
	return holders, err
}

// held tells whether the custom policy is attached to anything that exists. Who
// may not ask does not insist on the deletion.
func (c *Client) held(ctx context.Context, policy string) (bool, error) {
	holders, err := c.holdersOf(ctx, policy)
	held := slices.ContainsFunc(holders, func(e Entity) bool { return e.Kind == Group })
	for _, e := range holders {
		if err != nil || held {
			break
		}
		var policies []Policy
		policies, err = c.policiesOf(ctx, e)
		held = slices.Contains(policies, Policy{Name: policy, Type: "Custom"})
	}
	if Denied(err) {
		return true, nil
	}
	return held, err
}

// groupsOf lists the groups that the user is in.
func (c *Client) groupsOf(ctx context.Context, user Entity) ([]Entity, error) {
	var out struct {
		Groups struct{ Group []struct{ GroupName string } }
	}
	err := gone(c.Call(ctx, true, "ListGroupsForUser", user.params(), &out))
	var groups []Entity
	for _, g := range out.Groups.Group {
		groups = append(groups, Entity{Group, g.GroupName})
	}
	return groups, err
}
