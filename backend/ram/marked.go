package ram

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// Bounds of a list: its pages, and what a page has, or less where others write
// long descriptions.
const (
	listPages = 200
	pageItems = 100
)

// CustomPolicy is the kind of a policy that can carry a mark. It holds none itself.
const CustomPolicy Kind = "Policy"

// Marked is a user, a role or a custom policy that carries a mark in its comment
// or description.
type Marked struct {
	Entity
	Comment string    // that begins with the mark
	Created time.Time // now where RAM does not tell
}

// listed is what one page of a list holds, of whatever kind.
type listed struct {
	IsTruncated bool
	Marker      string
	Users       struct {
		User []struct {
			UserID                         string `json:"UserId"`
			UserName, Comments, CreateDate string
		}
	}
	Roles struct {
		Role []struct{ RoleName, Description, CreateDate string }
	}
	Policies struct {
		Policy []struct{ PolicyName, Description, CreateDate string }
	}
}

// Marked lists all that carry the mark, or begin with it and a space.
func (c *Client) Marked(ctx context.Context, mark string) ([]Marked, error) {
	var all []Marked
	keep := func(kind Kind, name, comment, date string) {
		if comment != mark && !strings.HasPrefix(comment, mark+" ") {
			return
		}
		created, err := time.Parse(time.RFC3339, date)
		if err != nil {
			created = time.Now()
		}
		all = append(all, Marked{Entity{kind, name}, comment, created})
	}
	for _, list := range []struct {
		action string
		params map[string]string
	}{
		{"ListUsers", nil},
		{"ListRoles", nil},
		{"ListPolicies", map[string]string{"PolicyType": "Custom"}},
	} {
		err := c.pages(ctx, list.action, list.params, func(page listed) {
			for _, u := range page.Users.User {
				keep(User, u.UserName, u.Comments, u.CreateDate)
			}
			for _, r := range page.Roles.Role {
				keep(Role, r.RoleName, r.Description, r.CreateDate)
			}
			for _, p := range page.Policies.Policy {
				keep(CustomPolicy, p.PolicyName, p.Description, p.CreateDate)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pages reads a list page by page. A page that is too large for an answer is
// asked for again with fewer items.
func (c *Client) pages(ctx context.Context, action string, params map[string]string, read func(listed)) error {
	marker, items := "", pageItems
	for range listPages {
		asked := map[string]string{"MaxItems": strconv.Itoa(items)}
		if marker != "" {
			asked["Marker"] = marker
		}
		maps.Copy(asked, params)
		var out listed
		err := c.Call(ctx, true, action, asked, &out)
		unread, _ := errors.AsType[*openapi.Error](err)
		switch {
		case unread != nil && unread.TooLarge() && items > 1:
			items /= 2
			continue
		case err != nil:
			return err
		}
		read(out)
		if !out.IsTruncated || out.Marker == "" {
			return nil
		}
		marker = out.Marker
	}
	return fmt.Errorf("%s has more than %d pages", action, listPages)
}
