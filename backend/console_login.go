package backend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// consoleSites are the two sites of Alibaba Cloud by the names that the aliyun CLI has
// for them (oauth_site_type), with the domain of their consoles. No call tells of
// which site an account is.
var consoleSites = []site{
	{"CN", "aliyun.com"}, // the default
	{"INTL", "alibabacloud.com"},
}

type site struct{ name, domain string }

func consoleSiteNames() []string {
	var names []string
	for _, s := range consoleSites {
		names = append(names, s.name)
	}
	return names
}

// signInHost is that of the page where users of the site sign in.
func (s site) signInHost() string { return "signin." + s.domain }

// ofConsoleLogin are the fields that a role of type ram_user uses with console_login.
var ofConsoleLogin = []string{"access_key", "mfa_bind_required", "password_policy", "console_site"}

// consoleLogin is how somebody signs in to the console as the user of a lease. The
// zero value is for leases without.
type consoleLogin struct {
	name     string // <user>@<default domain of the account>
	url      string // of the sign-in page
	password string
}

// planConsoleLogin adds a login profile to what is to be created, where the role
// says so.
func (b *backend) planConsoleLogin(ctx context.Context, c credsRequest, u *issued, p *ram.Plan) (l consoleLogin, err error) {
	if !c.role.ConsoleLogin {
		return l, nil
	}
	domain, err := c.cloud.LoginDomain(ctx, u.AccountID)
	if err != nil {
		return l, err
	}
	if l.password, err = c.role.newPassword(ctx, b.System()); err != nil {
		return l, err
	}
	l.name = u.UserName + "@" + domain
	l.url = "https://" + c.role.signInHost() + "/login.htm?username=" + l.name
	p.NoKey = !c.role.issuesKey()
	p.Login = ram.LoginProfile{Password: l.password, MFABindRequired: c.role.MFABindRequired}
	u.LoginProfile = true
	return l, nil
}

// Format leaves the password out.
func (l consoleLogin) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "login of "+l.name) }

// data is the part of an answer that the login is.
func (l consoleLogin) data() map[string]interface{} {
	if l.password == "" {
		return nil
	}
	return map[string]interface{}{"login_url": l.url, "login_name": l.name, "password": l.password}
}

// issuesKey tells whether users of the role get an AccessKey.
func (r *role) issuesKey() bool { return !r.ConsoleLogin || r.AccessKey == "true" }

func (r *role) signInHost() string {
	for _, site := range consoleSites {
		if site.name == r.ConsoleSite {
			return site.signInHost()
		}
	}
	return consoleSites[0].signInHost()
}

func (r *role) checkConsoleSite() error {
	if r.ConsoleSite == "" || slices.Contains(consoleSiteNames(), r.ConsoleSite) {
		return nil
	}
	cn, intl := consoleSites[0], consoleSites[1]
	return fmt.Errorf("console_site must be %s, whose console is at %s, or %s, whose console is at %s", cn.name, cn.domain, intl.name, intl.domain)
}

// validateConsoleLogin refuses what a login cannot go with.
func (r *role) validateConsoleLogin() error {
	if !r.issuesKey() && r.WaitUntilUsable > 0 {
		return errors.New("wait_until_usable waits for an AccessKey, and with console_login this role issues none: set access_key=true, or wait_until_usable=0")
	}
	return nil
}

// takeAccessKey reads access_key of a write to a role of users: whether they get an
// AccessKey beside the login.
func (r *role) takeAccessKey(data *framework.FieldData) error {
	given, _ := data.GetOk("access_key")
	text, _ := given.(string)
	text = strings.TrimSpace(text)
	if r.roleType.name != typeRAMUser || text == "" {
		return nil
	}
	wanted, err := strconv.ParseBool(text)
	switch {
	case err != nil && r.ConsoleLogin:
		return errors.New("access_key must be true or false with console_login: whether the user gets an AccessKey beside the login")
	case err != nil:
		return nil // said with the other fields that the type has no use for
	case !r.ConsoleLogin:
		return errors.New("access_key is true or false with console_login only: without it a RAM user always gets an AccessKey. Set console_login=true, or leave access_key out")
	}
	r.AccessKey = strconv.FormatBool(wanted)
	return nil
}

// newPassword makes a password, by the policy of Vault that the role names.
func (r *role) newPassword(ctx context.Context, system logical.SystemView) (string, error) {
	if r.PasswordPolicy == "" {
		return strongPassword(), nil
	}
	password, err := system.GeneratePasswordFromPolicy(ctx, r.PasswordPolicy)
	if err != nil || password == "" {
		// Vault does not tell its plugins why.
		return "", refuse("password_policy: Vault made no password by its policy %q: see that it is there with vault read sys/policies/password/%s, or clear password_policy of the role",
			r.PasswordPolicy, r.PasswordPolicy)
	}
	return password, nil
}

// The strictest password policy that an account can have wants 32 characters, of all
// four kinds, eight of them different, and not the name of the user (SetPasswordPolicy
// in the documents of RAM). A password that meets it needs no look at the account's.
const passwordLength = 32

// passwordKinds are 64 characters, so that each is as likely. What people read as
// something else is left out.
var passwordKinds = []string{"ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz", "23456789", "!@#%-_+"}

// strongPassword is random, and has all four kinds of characters.
func strongPassword() string {
	characters := strings.Join(passwordKinds, "")
	for {
		password := make([]byte, passwordLength)
		_, _ = rand.Read(password) // never fails
		for n, random := range password {
			password[n] = characters[int(random)%len(characters)]
		}
		lacks := func(kind string) bool { return !strings.ContainsAny(string(password), kind) }
		if !slices.ContainsFunc(passwordKinds, lacks) {
			return string(password)
		}
	}
}
