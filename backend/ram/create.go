package ram

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	NoKey      bool     // of a user: it gets no AccessKey
	Login      LoginProfile
	Trust      string // of a role: its AssumeRolePolicyDocument
	MaxSession time.Duration
}

// Creates are the entity and the policies that are created.
func (p Plan) Creates() []Entity {
	all := []Entity{p.Entity}
	for _, d := range p.Documents {
		all = append(all, d.entity())
	}
	return all
}

// Create creates the entity and the policies, in one wave of parallel calls. Its
// error joins a [PolicyTaken] for each name that is to be another; it may then be
// called again. [NotCreated] tells from it what there cannot be.
// userID is that of a user, if RAM has told it.
func (c *Client) Create(ctx context.Context, p Plan) (userID string, err error) {
	var w Wave
	w.Add(func() (err error) {
		userID, err = c.create(ctx, p)
		return err
	})
	for _, d := range p.Documents {
		w.Add(func() error { return c.ready(ctx, d) })
	}
	err = w.Run()
	return userID, err
}

func (c *Client) create(ctx context.Context, p Plan) (userID string, err error) {
	var out struct {
		User struct {
			UserID string `json:"UserId"`
		}
	}
	params := p.Entity.params("Comments", p.Mark)
	if p.Entity.Kind == Role {
		params = p.Entity.params("Description", p.Mark, "AssumeRolePolicyDocument", p.Trust,
			"MaxSessionDuration", strconv.Itoa(int(p.MaxSession/time.Second)))
	}
	err = c.Call(ctx, true, "Create"+string(p.Entity.Kind), params, &out)
	return out.User.UserID, unmade(p.Entity, alreadyThere(err, string(p.Entity.Kind)))
}

// notMade is the error of a call that would have made something, and did not: RAM
// refused it for certain, or never saw it.
type notMade struct {
	what Entity
	error
}

func (e notMade) Unwrap() error { return e.error }

func unmade(what Entity, err error) error {
	if err == nil || openapi.Ambiguous(err) || strings.HasPrefix(code(err), "EntityAlreadyExist") {
		return err // that something is there already may be what an earlier attempt has made
	}
	return notMade{what, err}
}

// NotCreated are the entities and policies of which the error of [Client.Create] says
// for certain that this call of it has not created them.
func NotCreated(err error) (what []Entity) {
	all, joined := err.(interface{ Unwrap() []error })
	if !joined {
		return nil
	}
	for _, err := range all.Unwrap() {
		if one, certain := errors.AsType[notMade](err); certain {
			what = append(what, one.what)
		}
	}
	return what
}

// Equip gives the entity what the plan has for it, in a second wave: an
// AccessKey and a login profile to a user, policies, groups. RAM may not show at once what
// [Client.Create] has made; Equip waits for that.
func (c *Client) Equip(ctx context.Context, p Plan) (AccessKey, error) {
	visible := func(call func() error) error {
		return Eventually(ctx, "EntityNotExist."+string(p.Entity.Kind), call)
	}
	var w Wave
	var key AccessKey
	if p.Entity.Kind == User && !p.NoKey {
		w.Add(func() error {
			return visible(func() (err error) {
				key, err = Keys{User: p.Entity.Name, Call: c.Call}.Create(ctx)
				return err
			})
		})
	}
	if p.Login.Password != "" {
		w.Add(func() error { return visible(func() error { return c.createLoginProfile(ctx, p.Entity, p.Login) }) })
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
