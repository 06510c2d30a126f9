package alisim

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

func userActions() []action {
	return []action{
		{name: "CreateUser", writes: true, required: []string{"UserName"}, resource: every("user"), handle: createUser},
		{name: "GetUser", required: []string{"UserName"}, resource: on("user", "UserName"), handle: getUser},
		{name: "UpdateUser", writes: true, required: []string{"UserName"}, resource: on("user", "UserName"), handle: updateUser},
		{name: "DeleteUser", writes: true, required: []string{"UserName"}, resource: on("user", "UserName"), handle: deleteUser},
		{name: "ListUsers", resource: every("user"), handle: listUsers},

		{name: "CreateLoginProfile", writes: true, required: []string{"UserName", "Password"}, resource: on("user", "UserName"), handle: createLoginProfile},
		{name: "GetLoginProfile", required: []string{"UserName"}, resource: on("user", "UserName"), handle: getLoginProfile},
		{name: "UpdateLoginProfile", writes: true, required: []string{"UserName"}, resource: on("user", "UserName"), handle: updateLoginProfile},
		{name: "DeleteLoginProfile", writes: true, required: []string{"UserName"}, resource: on("user", "UserName"), handle: deleteLoginProfile},

		{name: "CreateVirtualMFADevice", writes: true, required: []string{"VirtualMFADeviceName"}, resource: every("mfa"), handle: createMFADevice},
		{name: "ListVirtualMFADevices", resource: every("mfa"), handle: listMFADevices},
		{name: "DeleteVirtualMFADevice", writes: true, required: []string{"SerialNumber"}, resource: onDevice, handle: deleteMFADevice},
		{name: "BindMFADevice", writes: true, required: []string{"SerialNumber", "UserName", "AuthenticationCode1", "AuthenticationCode2"}, resource: on("user", "UserName"), handle: bindMFADevice},
		{name: "UnbindMFADevice", writes: true, required: []string{"UserName"}, resource: on("user", "UserName"), handle: unbindMFADevice},
		{name: "GetUserMFAInfo", required: []string{"UserName"}, resource: on("user", "UserName"), handle: getUserMFAInfo},
	}
}

// checkProfile applies the rules of a user's fields; prefix is "New" in UpdateUser.
func checkProfile(r *request, prefix string) *problem {
	phone, email := r.get(prefix+"MobilePhone"), r.get(prefix+"Email")
	refused := first(
		checkName(prefix+"DisplayName", r.get(prefix+"DisplayName"), displayNamePattern, 128),
		checkLength(prefix+"Comments", r.get(prefix+"Comments"), 128),
	)
	switch {
	case refused != nil:
		return refused
	case phone != "" && !phonePattern.MatchString(phone):
		return wrongFormat(prefix + "MobilePhone")
	case email != "" && !emailPattern.MatchString(email):
		return wrongFormat(prefix + "Email")
	}
	return nil
}

func createUser(r *request) (object, *problem) {
	name := r.get("UserName")
	if refused := first(checkName("UserName", name, userNamePattern, 64), checkProfile(r, "")); refused != nil {
		return nil, refused
	}
	a := r.account()
	if a.users[name] != nil {
		return nil, ramProblem("EntityAlreadyExists.User")
	}
	if len(a.users) >= r.store.settings.Quotas.Users {
		return nil, ramProblem("LimitExceeded.User")
	}
	u := &user{
		account: a, id: randomDigits(18), name: name, displayName: r.get("DisplayName"), phone: r.get("MobilePhone"),
		email: r.get("Email"), comments: r.get("Comments"), created: r.now, updated: r.now,
		from: r.now.Add(r.store.settings.Propagation.User),
	}
	if u.displayName == "" {
		u.displayName = name
	}
	a.users[name] = u
	return object{{"User", u.fields()}}, nil
}

// fields are what CreateUser answers with.
func (u *user) fields() object {
	return object{
		{"UserId", u.id},
		{"UserName", u.name},
		{"DisplayName", u.displayName},
		{"MobilePhone", u.phone},
		{"Email", u.email},
		{"Comments", u.comments},
		{"CreateDate", stamp(u.created)},
	}
}

// details are what reads answer with.
func (u *user) details() object {
	return append(u.fields(), field{"UpdateDate", stamp(u.updated)})
}

func getUser(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	return object{{"User", append(u.details(), field{"LastLoginDate", ""})}}, nil
}

func updateUser(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	name := r.get("NewUserName")
	if refused := first(checkName("NewUserName", name, userNamePattern, 64), checkProfile(r, "New")); refused != nil {
		return nil, refused
	}
	if name != "" && name != u.name {
		if u.account.users[name] != nil {
			return nil, ramProblem("EntityAlreadyExists.User")
		}
		delete(u.account.users, u.name)
		u.name = name
		u.account.users[name] = u
	}
	for param, target := range map[string]*string{
		"NewDisplayName": &u.displayName, "NewMobilePhone": &u.phone, "NewEmail": &u.email, "NewComments": &u.comments,
	} {
		if value, given := r.params[param]; given {
			*target = value
		}
	}
	u.updated = r.now
	return object{{"User", u.details()}}, nil
}

func deleteUser(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	switch {
	case slices.ContainsFunc(u.groups, func(m membership) bool { return m.until.IsZero() || r.now.Before(m.until) }):
		return nil, ramProblem("DeleteConflict.User.Group")
	case len(u.keys) > 0:
		return nil, ramProblem("DeleteConflict.User.AccessKey")
	case u.login != nil:
		return nil, ramProblem("DeleteConflict.User.LoginProfile")
	case u.mfa != nil:
		return nil, ramProblem("DeleteConflict.User.MFADevice")
	case u.policies.block(r.now):
		return nil, ramProblem("DeleteConflict.User.Policy")
	}
	delete(u.account.users, u.name)
	u.account.bin.addUser(u.name)
	return nil, nil
}

// The recycle bin of an account holds at most 1000 users.
func (b *recycleBin) addUser(name string) {
	b.users = append(b.users, name)
	if len(b.users) > 1000 {
		b.users = b.users[1:]
	}
}

func listUsers(r *request) (object, *problem) {
	users := r.account().users
	names := slices.Sorted(maps.Keys(users))
	names = slices.DeleteFunc(names, func(name string) bool { return r.now.Before(users[name].from) })
	part, more, refused := r.page(names)
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, name := range part {
		list = append(list, users[name].details())
	}
	return append(more, field{"Users", object{{"User", list}}}), nil
}

func encodeMarker(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("after:" + name))
}

func decodeMarker(marker string) (string, bool) {
	text, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(text), "after:")
}

func (l *loginProfile) fields(u *user) object {
	return object{{"LoginProfile", object{
		{"UserName", u.name},
		{"PasswordResetRequired", l.passwordReset},
		{"MFABindRequired", l.mfaBindRequired},
		{"CreateDate", stamp(l.created)},
	}}}
}

// setLogin takes over what the request says about a login profile.
func (r *request) setLogin(l *loginProfile) *problem {
	if password, given := r.params["Password"]; given {
		if !r.account().passwords.allows(password, r.get("UserName")) {
			return refuse(400, "InvalidParameter.Password.TooWeak", `The parameter - "Password" is not compliant with the password policy.`)
		}
		l.password = password
		r.store.secrets = append(r.store.secrets, password)
	}
	for param, target := range map[string]*bool{"PasswordResetRequired": &l.passwordReset, "MFABindRequired": &l.mfaBindRequired} {
		if r.get(param) == "" {
			continue
		}
		value, refused := r.boolParam(param)
		if refused != nil {
			return refused
		}
		*target = value
	}
	return nil
}

func createLoginProfile(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.login != nil {
		return nil, ramProblem("EntityAlreadyExists.User.LoginProfile")
	}
	l := &loginProfile{created: r.now}
	if refused := r.setLogin(l); refused != nil {
		return nil, refused
	}
	u.login = l
	return l.fields(u), nil
}

func getLoginProfile(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.login == nil {
		return nil, ramProblem("EntityNotExist.User.LoginProfile")
	}
	return u.login.fields(u), nil
}

func updateLoginProfile(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.login == nil {
		return nil, ramProblem("EntityNotExist.User.LoginProfile")
	}
	changed := *u.login
	if refused := r.setLogin(&changed); refused != nil {
		return nil, refused
	}
	*u.login = changed
	return nil, nil
}

func deleteLoginProfile(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.login == nil {
		return nil, ramProblem("EntityNotExist.User.LoginProfile")
	}
	u.login = nil
	return nil, nil
}

func createMFADevice(r *request) (object, *problem) {
	name := r.get("VirtualMFADeviceName")
	if refused := checkName("VirtualMFADeviceName", name, policyNamePattern, 64); refused != nil {
		return nil, refused
	}
	a := r.account()
	serial := "acs:ram::" + a.id + ":mfa/" + name
	if a.mfa[serial] != nil {
		return nil, ramProblem("EntityAlreadyExists.VirtualMFADevice")
	}
	if len(a.mfa) >= r.store.settings.Quotas.VirtualMFADevices {
		return nil, ramProblem("LimitExceeded.VirtualMFADevice")
	}
	a.mfa[serial] = &mfaDevice{serial: serial}
	// The seed of the device is made up: no authentication code is ever checked.
	return object{{"VirtualMFADevice", object{{"SerialNumber", serial}, {"Base32StringSeed", "NOTAREALSEED"}, {"QRCodePNG", ""}}}}, nil
}

func listMFADevices(r *request) (object, *problem) {
	list := []object{}
	for _, serial := range slices.Sorted(maps.Keys(r.account().mfa)) {
		d := r.account().mfa[serial]
		o := object{{"SerialNumber", serial}}
		if d.user != nil {
			o = append(o, field{"User", object{{"UserId", d.user.id}, {"UserName", d.user.name}, {"DisplayName", d.user.displayName}}})
		}
		list = append(list, o)
	}
	return object{{"VirtualMFADevices", object{{"VirtualMFADevice", list}}}}, nil
}

func deleteMFADevice(r *request) (object, *problem) {
	d := r.account().mfa[r.get("SerialNumber")]
	switch {
	case d == nil:
		return nil, ramProblem("EntityNotExist.VirtualMFADevice")
	case d.user != nil:
		return nil, ramProblem("DeleteConflict.VirtualMFADevice.User")
	}
	delete(r.account().mfa, d.serial)
	return nil, nil
}

func bindMFADevice(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	for _, param := range []string{"AuthenticationCode1", "AuthenticationCode2"} {
		if !codePattern.MatchString(r.get(param)) {
			return nil, refuse(400, "InvalidParameter.AuthenticationCode.Format", `The parameter - "AuthenticationCode" MUST be 6 numbers.`)
		}
	}
	d := r.account().mfa[r.get("SerialNumber")]
	switch {
	case d == nil:
		return nil, ramProblem("EntityNotExist.VirtualMFADevice")
	case u.mfa != nil:
		return nil, ramProblem("EntityAlreadyExists.User.MFADevice")
	case d.user != nil:
		return nil, ramProblem("EntityAlreadyExists.VirtualMFADevice.User")
	}
	u.mfa, d.user = d, u
	return nil, nil
}

func unbindMFADevice(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.mfa == nil {
		return nil, ramProblem("EntityNotExist.User.MFADevice")
	}
	serial := u.mfa.serial
	u.mfa.user, u.mfa = nil, nil
	return object{{"MFADevice", object{{"SerialNumber", serial}}}}, nil
}

func getUserMFAInfo(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	if u.mfa == nil {
		return nil, ramProblem("EntityNotExist.User.MFADevice")
	}
	return object{{"MFADevice", object{{"SerialNumber", u.mfa.serial}, {"Type", "VMFA"}}}}, nil
}
