package alisim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const goodPassword = "abcDEF123!of-the-console"

// The sign-in page takes the password of a login profile, under the names that the documents have for a user, and
// wants what the profile and the account demand.
func TestSignIn(t *testing.T) {
	t.Parallel()
	device := "acs:ram::1:mfa/d"
	for name, tc := range map[string]struct {
		account func(*Account)
		before  []step
		name    string // default u@1.onaliyun.com
		want    string
	}{
		"with the default domain":        {want: SignInDone},
		"with the account alone":         {name: "u@1", want: SignInDone},
		"without a domain":               {name: "u", want: SignInRefused},
		"another user":                   {name: "nobody@1.onaliyun.com", want: SignInRefused},
		"another account":                {name: "u@2.onaliyun.com", want: SignInRefused},
		"with an alias":                  {account: func(a *Account) { a.Alias = "corp" }, name: "u@corp.onaliyun.com", want: SignInDone},
		"with the id in spite of one":    {account: func(a *Account) { a.Alias = "corp" }, want: SignInRefused},
		"the profile is gone":            {before: []step{{"DeleteLoginProfile", params{"UserName": "u"}, ""}}, want: SignInRefused},
		"the user is gone":               {before: []step{{"DeleteLoginProfile", params{"UserName": "u"}, ""}, {"DeleteUser", params{"UserName": "u"}, ""}}, want: SignInRefused},
		"another password by now":        {before: []step{{"UpdateLoginProfile", params{"UserName": "u", "Password": goodPassword + "2"}, ""}}, want: SignInRefused},
		"the profile wants a reset":      {before: []step{{"UpdateLoginProfile", params{"UserName": "u", "PasswordResetRequired": "true"}, ""}}, want: SignInResetRequired},
		"the profile wants a device":     {before: []step{{"UpdateLoginProfile", params{"UserName": "u", "MFABindRequired": "true"}, ""}}, want: SignInBindMFA},
		"the account wants a device":     {account: func(a *Account) { a.MFAForLogin = true }, want: SignInBindMFA},
		"the user has a device":          {before: bound("u", device), want: SignInMFARequired},
		"the device is wanted and bound": {account: func(a *Account) { a.MFAForLogin = true }, before: bound("u", device), want: SignInMFARequired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := world()
			if tc.account != nil {
				tc.account(&seed.Accounts[0])
			}
			c := start(t, Options{NoListen: true, Seed: seed})
			c.run(admin(), step{"CreateUser", params{"UserName": "u"}, ""}, step{"CreateLoginProfile", params{"UserName": "u", "Password": goodPassword}, ""})
			c.run(admin(), tc.before...)
			as := tc.name
			if as == "" {
				as = "u@1.onaliyun.com"
			}
			if got := c.SignIn(as, goodPassword); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if got := c.SignIn(as, "not "+goodPassword); got != SignInRefused {
				t.Errorf("with another password: %s", got)
			}
		})
	}
}

func bound(user, serial string) []step {
	_, device, _ := strings.Cut(serial, "mfa/")
	return []step{
		{"CreateVirtualMFADevice", params{"VirtualMFADeviceName": device}, ""},
		{"BindMFADevice", params{"UserName": user, "SerialNumber": serial, "AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}, ""},
	}
}

// A user that is not visible yet gets no login profile, and nobody signs in as it.
func TestSignInUnderPropagation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.Propagation.User = 5 * time.Second
		c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
		profile := params{"UserName": "u", "Password": goodPassword}
		c.run(admin(), step{"CreateUser", params{"UserName": "u"}, ""}, step{"CreateLoginProfile", profile, "EntityNotExist.User"})
		time.Sleep(5 * time.Second)
		c.run(admin(), step{"CreateLoginProfile", profile, ""})
		if got := c.SignIn("u@1.onaliyun.com", goodPassword); got != SignInDone {
			t.Error(got)
		}
	})
}

// A password is what the account's policy demands of it.
func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy   params
		password string
		weak     bool
	}{
		"eight of two kinds":        {nil, "abcdefg1", false},
		"seven":                     {nil, "abcdef1", true},
		"32 wanted":                 {params{"MinimumPasswordLength": "32"}, strings.Repeat("ab1", 10) + "a", true},
		"32 given":                  {params{"MinimumPasswordLength": "32"}, strings.Repeat("ab1", 10) + "ab", false},
		"a symbol wanted":           {params{"RequireSymbols": "true"}, "abcdefg1", true},
		"a symbol given":            {params{"RequireSymbols": "true"}, "abcdefg1_", false},
		"upper case wanted":         {params{"RequireUppercaseCharacters": "true"}, "abcdefg1", true},
		"lower case wanted":         {params{"RequireLowercaseCharacters": "true"}, "ABCDEFG1", true},
		"digits wanted":             {params{"RequireNumbers": "true"}, "abcdefg_", true},
		"eight different wanted":    {params{"MinimumPasswordDifferentCharacter": "8"}, "abcdefaaaa1", true},
		"eight different given":     {params{"MinimumPasswordDifferentCharacter": "8"}, "abcdefgaaa1", false},
		"the name of the user":      {params{"PasswordNotContainUserName": "true"}, "xx-nobody-1", true},
		"the name, and nobody asks": {nil, "xx-nobody-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, Options{NoListen: true, Seed: world()})
			if tc.policy != nil {
				c.run(admin(), step{"SetPasswordPolicy", tc.policy, ""})
			}
			code := ""
			if tc.weak {
				code = "InvalidParameter.Password.TooWeak"
			}
			c.run(admin(), step{"CreateLoginProfile", params{"UserName": "nobody", "Password": tc.password}, code})
		})
	}
}

// Who may read one thing of the account is not let through for another, and only a policy for "*" speaks of the alias.
func TestLoginPermissions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		action, resource string
		may              bool
	}{
		"the alias":                      {"ram:GetAccountAlias", "*", true},
		"the alias, of an account":       {"ram:GetAccountAlias", "acs:ram:*:1:*", false},
		"something else":                 {"ram:GetPasswordPolicy", "*", false},
		"a policy for this user's login": {"ram:CreateLoginProfile", "acs:ram:*:1:user/nobody", true},
		"and for another's":              {"ram:CreateLoginProfile", "acs:ram:*:1:user/else", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := world()
			seed.Accounts[0].Policies = append(seed.Accounts[0].Policies, Policy{Name: "reader", Document: Document(
				`{"Version":"1","Statement":[{"Effect":"Allow","Action":"` + tc.action + `","Resource":"` + tc.resource + `"}]}`)})
			seed.Accounts[0].Users = append(seed.Accounts[0].Users, User{
				Name: "reader", Policies: []string{"reader"}, AccessKeys: []AccessKey{{ID: "readerkey", Secret: "readersecret"}},
			})
			c := start(t, Options{NoListen: true, Seed: seed})
			s := step{"GetAccountAlias", nil, "NoPermission"}
			if strings.Contains(tc.action, "LoginProfile") {
				s = step{"CreateLoginProfile", params{"UserName": "nobody", "Password": goodPassword}, "NoPermission"}
			}
			if tc.may {
				s.code = ""
			}
			c.run(keys{id: "readerkey", secret: "readersecret"}, s)
		})
	}
}

// Other processes sign in through the control API; a virtual MFA device stays in the inventory when it is unbound.
func TestSignInByControl(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Seed: world()})
	c.run(admin(), step{"CreateLoginProfile", params{"UserName": "nobody", "Password": goodPassword}, ""})
	c.run(admin(), bound("nobody", "acs:ram::1:mfa/d")...)
	c.run(admin(), step{"UnbindMFADevice", params{"UserName": "nobody"}, ""})
	if inv := c.Inventory(); len(inv.MFA) != 1 || inv.MFA[0] != "acs:ram::1:mfa/d" {
		t.Errorf("devices %q", inv.MFA)
	}
	body, _ := json.Marshal(map[string]string{"name": "nobody@1.onaliyun.com", "password": goodPassword})
	resp, err := http.Post(c.ControlURL+"/signin", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ Result string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Result != SignInDone {
		t.Errorf("%+v %v", out, err)
	}
	for _, s := range c.Secrets() {
		if s == goodPassword {
			return
		}
	}
	t.Error("Secrets does not have the password")
}
