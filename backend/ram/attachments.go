package ram

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// resourceManagerActions are the calls of Resource Management.
var resourceManagerActions = []string{"AttachPolicy", "DetachPolicy", "ListPolicyAttachments", "GetResourceGroup"}

// principalTypes are the kinds of entities as Resource Management spells them.
var principalTypes = map[Kind]string{User: "IMSUser", Role: "ServiceRole", Group: "IMSGroup"}

// attachment is a policy that somebody holds: in the whole account, or for the
// resources of one group only. RAM lists and detaches the first kind alone.
type attachment struct {
	ResourceGroupID string `json:"ResourceGroupId"` // or the id of the account
	PolicyType      string
	PolicyName      string
	PrincipalType   string
	PrincipalName   string
}

// grantIn is the policy in its resource group, as the entity's. label stands for
// the account in the name of a principal: its alias or its id.
func grantIn(p Policy, e Entity, label string) attachment {
	return attachment{p.ResourceGroup, p.Type, p.Name, principalTypes[e.Kind], principalName(e, label)}
}

// GrantParams are the parameters of a call about the policy in its resource group, as
// the entity's.
func GrantParams(p Policy, e Entity, account string) map[string]string {
	return grantIn(p, e, account).params()
}

// noResourceGroup is the code of Resource Management for a group that there is not.
const noResourceGroup = "EntityNotExists.ResourceGroup"

// grant makes a call about a policy in its resource group, AttachPolicy or
// DetachPolicy. RAM's own calls know resource groups by now, but an endpoint that did
// not know the parameter would leave it out and grant in the whole account: Resource
// Management has always required it.
//
// The documents write the alias of the account into the name of a principal, the
// vendor's own examples write its id. The id, which is known, is tried first.
func (c *Client) grant(ctx context.Context, action, account string, e Entity, p Policy) error {
	account, err := c.accountOr(ctx, account)
	if err != nil {
		return err
	}
	err = c.Call(ctx, true, action, grantIn(p, e, account).params(), nil)
	if !unknownPrincipal(err, e.Kind) {
		return err
	}
	alias, unknown := c.AccountAlias(ctx)
	switch {
	case unknown != nil:
		return fmt.Errorf("%w (the account may have an alias, which could not be asked for: %w)", err, unknown)
	case alias == "":
		return err
	}
	return c.Call(ctx, true, action, grantIn(p, e, alias).params(), nil)
}

// accountOr is the account, or that of the client's credentials where it is "".
func (c *Client) accountOr(ctx context.Context, account string) (string, error) {
	if account != "" {
		return account, nil
	}
	who, err := c.Whoami(ctx)
	return who.AccountID, err
}

// AccountAlias is that of the account, "" where it has none.
func (c *Client) AccountAlias(ctx context.Context) (string, error) {
	account, err := c.accountOr(ctx, "")
	if err != nil {
		return "", err
	}
	var out struct{ AccountAlias string }
	err = c.Call(ctx, true, "GetAccountAlias", nil, &out)
	if out.AccountAlias == account { // stands for none
		return "", err
	}
	return out.AccountAlias, err
}

// unknownPrincipal tells whether err says that there is no such principal, or that
// its name cannot be one.
func unknownPrincipal(err error, kind Kind) bool {
	return HasCode(err, "EntityNotExist."+string(kind)) || strings.HasPrefix(code(err), "InvalidParameter.PrincipalName")
}

// heldInGroups tells whether the custom policy is attached in a resource group to a
// principal that exists, as far as that may be asked.
func (c *Client) heldInGroups(ctx context.Context, policy string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, grantsTimeout)
	defer cancel()
	grants, err := c.attachments(ctx, attachment{PolicyType: "Custom", PolicyName: policy})
	for _, a := range grants {
		e := a.entity()
		if e.Kind == "" {
			return true, nil
		}
		// The list may be behind, and have what was deleted.
		switch err := c.Call(ctx, true, "Get"+string(e.Kind), e.params(), nil); {
		case err == nil, Denied(err):
			return true, nil
		case !NotExist(err):
			return false, err
		}
	}
	return false, err
}

// unlisted is a refusal for what is in the way, where it could not be found out
// whether that is a grant of a resource group.
func unlisted(refused, unknown error) error {
	return fmt.Errorf("%w (RAM lists no grants of resource groups, and they could not be looked for: %w)", refused, unknown)
}

// Bounds of a look at the attachments of an account. It comes on top of calls
// to RAM, and where only RAM can be reached it must not use up their time.
const (
	grantsTimeout      = 15 * time.Second
	attachmentsPerPage = 100 // the most that Resource Management answers at once
	attachmentPages    = 50
)

// detachGrants detaches what Resource Management lists under the fields of held
// that are set. Its PrincipalName is the name of a user or role in RAM.
func (c *Client) detachGrants(ctx context.Context, account string, held attachment) error {
	ctx, cancel := context.WithTimeout(ctx, grantsTimeout)
	defer cancel()
	account, err := c.accountOr(ctx, account)
	if err != nil {
		return err
	}
	var found []attachment
	for _, name := range principalNames(held, account) {
		filter := held
		filter.PrincipalName = name
		listed, err := c.attachments(ctx, filter)
		if err != nil {
			return err
		}
		for _, a := range listed {
			if held.PrincipalName == "" || a.entity().Name == held.PrincipalName {
				found = append(found, a)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	var w Wave
	for _, a := range found {
		w.Add(func() error { return gone(c.Call(ctx, true, "DetachPolicy", a.params(), nil)) })
	}
	return w.Run()
}

// principalName is what Resource Management calls the user or role.
func principalName(e Entity, label string) string {
	if e.Kind == Role {
		return e.Name + "@role." + label + ".onaliyunservice.com"
	}
	return e.Name + "@" + label + ".onaliyun.com"
}

// principalNames are what Resource Management may call the user or role, "" for
// whatever it calls it: an account can have an alias, which then stands in names.
func principalNames(held attachment, account string) []string {
	if held.PrincipalName == "" {
		return []string{""}
	}
	return []string{principalName(held.entity(), account), ""}
}

// entity is who holds it. Its kind is "" where it is not known.
func (a attachment) entity() (e Entity) {
	for kind, name := range principalTypes {
		if name == a.PrincipalType {
			e.Kind = kind
		}
	}
	e.Name, _, _ = strings.Cut(a.PrincipalName, "@")
	return e
}

// attachments lists those that have the fields of filter that are set.
func (c *Client) attachments(ctx context.Context, filter attachment) ([]attachment, error) {
	var all []attachment
	for page := 1; ; page++ {
		var out struct {
			TotalCount        int
			PolicyAttachments struct{ PolicyAttachment []attachment }
		}
		params := filter.params()
		params["PageNumber"], params["PageSize"] = strconv.Itoa(page), strconv.Itoa(attachmentsPerPage)
		if err := c.Call(ctx, true, "ListPolicyAttachments", params, &out); err != nil {
			return nil, err
		}
		listed := out.PolicyAttachments.PolicyAttachment
		all = append(all, listed...)
		switch {
		case len(listed) == 0 || out.TotalCount > 0 && len(all) >= out.TotalCount:
			return all, nil
		case page == attachmentPages:
			return nil, fmt.Errorf("ListPolicyAttachments: there are %d attachments, of which no more than %d are read", out.TotalCount, len(all))
		}
	}
}

// params are the fields that are set.
func (a attachment) params() map[string]string {
	params := map[string]string{
		"ResourceGroupId": a.ResourceGroupID, "PolicyType": a.PolicyType, "PolicyName": a.PolicyName,
		"PrincipalType": a.PrincipalType, "PrincipalName": a.PrincipalName,
	}
	maps.DeleteFunc(params, func(_, value string) bool { return value == "" })
	return params
}
