package ram

import (
	"context"
	"errors"
)

// Quota is how many of something the account has, and may have.
type Quota struct {
	Of          string // users, roles or policies; policies are the custom ones
	Used, Limit int
}

// ErrNoIMS says that it is not known where IMS is: RAM is at an endpoint of its own,
// and IMS has none.
var ErrNoIMS = errors.New("the quotas cannot be asked for: config has ram_endpoint and no ims_endpoint")

// Quotas asks IMS for those of the account that leases use up.
func (c *Client) Quotas(ctx context.Context) ([]Quota, error) {
	if c.ims.endpoint == "" {
		return nil, ErrNoIMS
	}
	var out struct {
		SummaryMap struct{ Users, UsersQuota, Roles, RolesQuota, Policies, PoliciesQuota int }
	}
	if err := c.Call(ctx, true, AccountSummary, nil, &out); err != nil {
		return nil, err
	}
	s := out.SummaryMap
	return []Quota{{"users", s.Users, s.UsersQuota}, {"roles", s.Roles, s.RolesQuota}, {"policies", s.Policies, s.PoliciesQuota}}, nil
}
