package ram

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

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
	if account == "" {
		who, err := c.Whoami(ctx)
		if err != nil {
			return err
		}
		account = who.AccountID
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
			if local, _, _ := strings.Cut(a.PrincipalName, "@"); held.PrincipalName == "" || local == held.PrincipalName {
				found = append(found, a)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	var w Wave
	for _, a := range found {
		w.Add(func() error { return gone(c.send(ctx, c.resourceManager, true, "DetachPolicy", a.params(), nil)) })
	}
	return w.Run()
}

// principalNames are what Resource Management may call the user or role, "" for
// whatever it calls it: an account can have an alias, which then stands in names.
func principalNames(held attachment, account string) []string {
	switch held.PrincipalType {
	case principalTypes[User]:
		return []string{held.PrincipalName + "@" + account + ".onaliyun.com", ""}
	case principalTypes[Role]:
		return []string{held.PrincipalName + "@role." + account + ".onaliyunservice.com", ""}
	}
	return []string{""}
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
		if err := c.send(ctx, c.resourceManager, true, "ListPolicyAttachments", params, &out); err != nil {
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
