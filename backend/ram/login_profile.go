package ram

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
)

// LoginProfile lets a user sign in to the console. It does not print its password.
type LoginProfile struct {
	Password        string // "": the user gets no login profile
	MFABindRequired bool   // counts where the account leaves MFA to its users
}

// Format leaves the password out.
func (l LoginProfile) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "LoginProfile") }

// createLoginProfile lets the user sign in. The default of MFABindRequired has been
// both, so it is always sent. Repeating the call does no harm: what is there already
// has the same password.
func (c *Client) createLoginProfile(ctx context.Context, user Entity, l LoginProfile) error {
	err := c.Call(ctx, true, "CreateLoginProfile", user.params(
		"Password", l.Password, "PasswordResetRequired", "false", "MFABindRequired", strconv.FormatBool(l.MFABindRequired)), nil)
	return alreadyThere(err, "User.LoginProfile")
}

func (c *Client) deleteLoginProfile(ctx context.Context, user Entity) error {
	return gone(c.Call(ctx, true, "DeleteLoginProfile", user.params(), nil))
}

// LoginDomain is the default domain of the account, which stands behind the @ in the
// names that its users sign in with: of its alias or, where it has none, of its id.
func (c *Client) LoginDomain(ctx context.Context, account string) (string, error) {
	alias, err := c.AccountAlias(ctx)
	if err != nil {
		return "", err
	}
	return cmp.Or(alias, account) + ".onaliyun.com", nil
}
