package ram

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Plan is what is to be created for one lease: a user or a role, and what it
// gets. The names of users and roles are random, 100 bits that are told to nobody
// before: what has one of them already is what an earlier attempt of the same call
// left. So it is with what the entity has. Names of shared policies are not, and
// [Client.Create] looks at what has one.
type Plan struct {
	Entity     Entity
	Mark       string // comment of the user, description of the role
	Documents  []Document
	Policies   []Policy // exist, and are attached
	Groups     []string // of a user
	Trust      string   // of a role: its AssumeRolePolicyDocument
	MaxSession time.Duration
}

// Create creates the entity and the policies, in one wave of parallel calls. Its
// error is, or joins, a [PolicyTaken] for each name that is to be another; it may
// then be called again.
func (c *Client) Create(ctx context.Context, p Plan) error {
	var w Wave
	var refused error // the entity, for sure
	w.Add(func() error {
		err := c.create(ctx, p)
		if !openapi.Ambiguous(err) {
			refused = err
		}
		return err
	})
	own := false
	for _, d := range p.Documents {
		own = own || !d.Shared
		w.Add(func() error { return c.ready(ctx, d) })
	}
	err := w.Run()
	if refused != nil && !own {
		return nothingOfItsOwn{err}
	}
	return err
}

// nothingOfItsOwn is a failure of [Client.Create] that left nothing but, perhaps,
// shared policies.
type nothingOfItsOwn struct{ error }

func (e nothingOfItsOwn) Unwrap() error { return e.error }

// NothingOfItsOwn tells whether err, of [Client.Create], says that nothing was
// created that would be of this lease alone: the entity was refused or not asked
// for, and all policies are shared.
func NothingOfItsOwn(err error) bool { return errors.As(err, new(nothingOfItsOwn)) }

func (c *Client) create(ctx context.Context, p Plan) error {
	params := p.Entity.params("Comments", p.Mark)
	if p.Entity.Kind == Role {
		params = p.Entity.params("Description", p.Mark, "AssumeRolePolicyDocument", p.Trust,
			"MaxSessionDuration", strconv.Itoa(int(p.MaxSession/time.Second)))
	}
	err := c.Call(ctx, true, "Create"+string(p.Entity.Kind), params, nil)
	return alreadyThere(err, string(p.Entity.Kind))
}

// Equip gives the entity what the plan has for it, in a second wave: an
// AccessKey to a user, policies, groups. RAM may not show at once what
// [Client.Create] has made; Equip waits for that.
func (c *Client) Equip(ctx context.Context, p Plan) (AccessKey, error) {
	visible := func(call func() error) error {
		return Eventually(ctx, "EntityNotExist."+string(p.Entity.Kind), call)
	}
	var w Wave
	var key AccessKey
	if p.Entity.Kind == User {
		w.Add(func() error {
			return visible(func() (err error) {
				key, err = Keys{User: p.Entity.Name, Call: c.Call}.Create(ctx)
				return err
			})
		})
	}
	for _, policy := range p.Policies {
		w.Add(func() error { return visible(func() error { return c.attach(ctx, p.Entity, policy) }) })
	}
	for _, d := range p.Documents {
		w.Add(func() error {
			return Eventually(ctx, "EntityNotExist.Policy", func() error {
				err := visible(func() error { return c.attach(ctx, p.Entity, d.Policy()) })
				if d.Shared && HasCode(err, "EntityNotExist.Policy") {
					// The last lease before this one took it away just now.
					if again := c.createPolicy(ctx, d); again != nil {
						return again
					}
				}
				return err
			})
		})
	}
	for _, group := range p.Groups {
		w.Add(func() error {
			return visible(func() error {
				err := c.Call(ctx, true, "AddUserToGroup", p.Entity.params("GroupName", group), nil)
				if HasCode(err, "EntityNotExist.Group") {
					return fmt.Errorf("the group %s: %w", group, err)
				}
				return alreadyThere(err, "User.Group")
			})
		})
	}
	return key, w.Run()
}
