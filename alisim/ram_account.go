package alisim

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

func accountActions() []action {
	return []action{
		{name: "SetAccountAlias", writes: true, required: []string{"AccountAlias"}, resource: onAccount, handle: setAccountAlias},
		{name: "GetAccountAlias", resource: anything, handle: getAccountAlias},
		{name: "ClearAccountAlias", writes: true, resource: onAccount, handle: clearAccountAlias},
		{name: "SetPasswordPolicy", writes: true, resource: onAccount, handle: setPasswordPolicy},
		{name: "GetPasswordPolicy", resource: anything, handle: getPasswordPolicy},
	}
}

// onAccount is the resource of settings of the whole account.
func onAccount(r *request) []string { return []string{"acs:ram:*:" + r.who.account + ":*"} }

// An alias is part of a domain name.
var aliasPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func setAccountAlias(r *request) (object, *problem) {
	alias := r.get("AccountAlias")
	switch {
	case len(alias) < 3 || len(alias) > 63:
		return nil, refuse(400, "InvalidParameter.AccountAlias.Length", `The parameter - "AccountAlias" MUST be in the range of 3 and 63.`)
	case !aliasPattern.MatchString(alias):
		return nil, refuse(400, "InvalidParameter.AccountAlias.Format", `The format of parameter - "AccountAlias" is incorrect.`)
	}
	for _, other := range r.store.accounts {
		if other != r.account() && other.alias == alias {
			return nil, ramProblem("EntityAlreadyExists.AccountAlias")
		}
	}
	r.account().alias = alias
	return nil, nil
}

// getAccountAlias answers the id of an account that has no alias: it stands for one.
func getAccountAlias(r *request) (object, *problem) {
	return object{{"AccountAlias", r.account().label()}}, nil
}

func clearAccountAlias(r *request) (object, *problem) {
	r.account().alias = ""
	return nil, nil
}

// passwordPolicy is what the passwords of an account's users must be like.
type passwordPolicy struct {
	length                        int // at least
	lower, upper, digits, symbols bool
	different                     int  // characters, at least
	notUserName                   bool // it may not contain the name of the user
}

// allows says whether a password of a user is strong enough: of two kinds of characters, and as the policy demands.
func (p passwordPolicy) allows(password, userName string) bool {
	has := func(kind func(rune) bool) bool { return strings.ContainsFunc(password, kind) }
	symbol := func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }
	different := map[rune]bool{}
	for _, c := range password {
		different[c] = true
	}
	if len(different) < p.different || p.notUserName && strings.Contains(password, userName) {
		return false
	}
	return len(password) >= p.length && has(func(c rune) bool { return !unicode.IsDigit(c) }) && has(func(c rune) bool { return !unicode.IsLetter(c) }) &&
		(!p.lower || has(unicode.IsLower)) && (!p.upper || has(unicode.IsUpper)) &&
		(!p.digits || has(unicode.IsDigit)) && (!p.symbols || has(symbol))
}

func (p passwordPolicy) fields() object {
	return object{{"PasswordPolicy", object{
		{"MinimumPasswordLength", p.length},
		{"RequireLowercaseCharacters", p.lower},
		{"RequireUppercaseCharacters", p.upper},
		{"RequireNumbers", p.digits},
		{"RequireSymbols", p.symbols},
		{"MinimumPasswordDifferentCharacter", p.different},
		{"PasswordNotContainUserName", p.notUserName},
	}}}
}

func setPasswordPolicy(r *request) (object, *problem) {
	p := r.account().passwords
	if text := r.get("MinimumPasswordLength"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 8 || n > 32 {
			return nil, refuse(400, "InvalidParameter.MinimumPasswordLength.Range", `The parameter - "MinimumPasswordLength" MUST be in the range of 8 and 32.`)
		}
		p.length = n
	}
	if text := r.get("MinimumPasswordDifferentCharacter"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 8 {
			return nil, incorrect("MinimumPasswordDifferentCharacter")
		}
		p.different = n
	}
	for _, d := range []struct {
		param  string
		demand *bool
	}{
		{"RequireLowercaseCharacters", &p.lower}, {"RequireUppercaseCharacters", &p.upper}, {"RequireNumbers", &p.digits}, {"RequireSymbols", &p.symbols},
		{"PasswordNotContainUserName", &p.notUserName},
	} {
		if r.get(d.param) == "" {
			continue
		}
		demand, refused := r.boolParam(d.param)
		if refused != nil {
			return nil, refused
		}
		*d.demand = demand
	}
	r.account().passwords = p
	return p.fields(), nil
}

func getPasswordPolicy(r *request) (object, *problem) { return r.account().passwords.fields(), nil }
