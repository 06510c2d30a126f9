package alisim

import "strings"

// What SignIn answers.
const (
	SignInDone          = "signed_in"
	SignInRefused       = "refused"                 // no such user, no login profile, or another password
	SignInResetRequired = "password_reset_required" // the profile wants another password first
	SignInMFARequired   = "mfa_required"            // the user has a device, whose code is asked for
	SignInBindMFA       = "mfa_bind_required"       // the profile or the account wants a device, and the user has none
)

// SignIn says how the sign-in page of the console takes a RAM user's password. The name is <user>@<default domain>, or
// <user>@<alias of the account>: the id of an account stands for its alias only where it has none.
func (s *Server) SignIn(name, password string) string {
	now := s.Now()
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	local, domain, _ := strings.Cut(name, "@")
	for _, a := range s.store.accounts {
		if domain != a.label() && domain != a.label()+".onaliyun.com" {
			continue
		}
		u := a.users[local]
		if a.inactive || u == nil || now.Before(u.from) || u.login == nil || u.login.password == "" || u.login.password != password {
			return SignInRefused
		}
		return u.signIn()
	}
	return SignInRefused
}

// signIn is what the page wants of a user with the right password.
func (u *user) signIn() string {
	switch {
	case u.mfa != nil:
		return SignInMFARequired
	case u.login.mfaBindRequired || u.account.mfaForLogin:
		return SignInBindMFA
	case u.login.passwordReset:
		return SignInResetRequired
	}
	return SignInDone
}
