package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// accountRole is the RAM role that the mount assumes with its own credentials to
// work in the account of that role. The zero value is none: the mount works in its
// own account. Whatever is made as the role is stored with it, because it can be
// removed as the role only.
type accountRole struct {
	AssumeRoleARN        string `json:"assume_role_arn,omitempty"`
	AssumeRoleExternalID string `json:"assume_role_external_id,omitempty"`
}

// accountRoleFields is the table of its fields, in roles and in static roles.
func accountRoleFields(of string) fields[accountRole] {
	return fields[accountRole]{
		refusedIfUnused(text("assume_role_arn", func(r *accountRole) *string { return &r.AssumeRoleARN },
			of+"ARN of the RAM role that the mount assumes to work in the account of that role, acs:ram::<account>:role/<name>. "+
				"Empty, the default: it works in its own account.").checked((*accountRole).checkARN),
			"assume_role_arn is for ram_user and ram_role, and not for %s: the role_arn of a session may be a RAM role of any account already"),
		refusedIfUnused(text("assume_role_external_id", func(r *accountRole) *string { return &r.AssumeRoleExternalID },
			of+"external id that the trust policy of that RAM role asks for, 2 to 1224 characters.").checked((*accountRole).checkExternalID),
			"assume_role_external_id is for ram_user and ram_role, and not for %s: there it is external_id"),
	}
}

func (r *accountRole) checkARN() error {
	if r.AssumeRoleARN != "" && alicreds.CheckRoleARN(r.AssumeRoleARN) != nil {
		return fmt.Errorf("assume_role_arn %q is not of the form acs:ram::<account>:role/<name>%s", r.AssumeRoleARN, whatARN(r.AssumeRoleARN))
	}
	return nil
}

func (r *accountRole) checkExternalID() error {
	if alicreds.CheckExternalID(r.AssumeRoleExternalID) != nil {
		return errors.New("assume_role_external_id must be 2 to 1224 letters, digits and any of _ + = , . @ : / -")
	}
	return nil
}

// check holds the two fields together.
func (r accountRole) check() error {
	if r.AssumeRoleExternalID != "" && r.none() {
		return errors.New("assume_role_external_id is sent when the mount assumes assume_role_arn: give that too, or clear both with assume_role_arn= assume_role_external_id=")
	}
	return nil
}

// none tells that the mount works in its own account.
func (r accountRole) none() bool { return r.AssumeRoleARN == "" }

// account is that of the role, "" for none.
func (r accountRole) account() string {
	account, _, _ := strings.Cut(strings.TrimPrefix(r.AssumeRoleARN, "acs:ram::"), ":")
	return account
}

// place is the account for messages.
func (r accountRole) place() string {
	if r.none() {
		return "the mount's own account"
	}
	return "account " + r.account()
}

// accountSession is where the credentials come from that the mount works with in an
// account: a provider.
type accountSession struct {
	mount *ram.Client // assumes the role
	accountRole
	name string // of the session, for ActionTrail
}

func (p accountSession) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	if _, err := p.mount.OneKey(ctx); err != nil {
		return alicreds.Credentials{}, err // the mount has no credentials: that says nothing of the account
	}
	c, err := p.mount.AssumeRole(ctx, alicreds.RAMRoleARNOptions{
		RoleARN: p.AssumeRoleARN, ExternalID: p.AssumeRoleExternalID, RoleSessionName: p.name,
	})
	if err == nil && c.AccountID != p.account() {
		err = fmt.Errorf("STS answered a session of account %s", c.AccountID)
	}
	if err != nil {
		return alicreds.Credentials{}, &notInAccount{p.accountRole, err}
	}
	return c, nil
}

// notInAccount says why the mount cannot work as the role of an account.
type notInAccount struct {
	role accountRole
	err  error
}

func (e *notInAccount) Error() string {
	return fmt.Sprintf("the mount cannot work in account %s, because it cannot assume %s: %v", e.role.account(), e.role.AssumeRoleARN, e.err)
}

func (e *notInAccount) Unwrap() error { return e.err }

// closedAccount tells whether err says that the account does not let the mount in.
func closedAccount(err error) bool { return errors.As(err, new(*notInAccount)) && lasting(err) }
