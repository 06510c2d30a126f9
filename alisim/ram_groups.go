package alisim

import (
	"maps"
	"slices"
	"time"
)

func groupActions() []action {
	return []action{
		{name: "CreateGroup", writes: true, required: []string{"GroupName"}, resource: every("group"), handle: createGroup},
		{name: "GetGroup", required: []string{"GroupName"}, resource: on("group", "GroupName"), handle: getGroup},
		{name: "UpdateGroup", writes: true, required: []string{"GroupName"}, resource: on("group", "GroupName"), handle: updateGroup},
		{name: "DeleteGroup", writes: true, required: []string{"GroupName"}, resource: on("group", "GroupName"), handle: deleteGroup},
		{name: "ListGroups", resource: every("group"), handle: listGroups},
		{name: "AddUserToGroup", writes: true, required: []string{"UserName", "GroupName"}, resource: on("user", "UserName", "group", "GroupName"), handle: addUserToGroup},
		{name: "RemoveUserFromGroup", writes: true, required: []string{"UserName", "GroupName"}, resource: on("user", "UserName", "group", "GroupName"), handle: removeUserFromGroup},
		{name: "ListGroupsForUser", required: []string{"UserName"}, resource: on("user", "UserName"), handle: listGroupsForUser},
		{name: "ListUsersForGroup", required: []string{"GroupName"}, resource: on("group", "GroupName"), handle: listUsersForGroup},
	}
}

func (g *group) fields() object {
	return object{
		{"GroupName", g.name},
		{"Comments", g.comments},
		{"CreateDate", stamp(g.created)},
	}
}

// made is what CreateGroup answers with.
func (g *group) made() object { return append(g.fields(), field{"GroupId", g.id}) }

// details are what reads answer with.
func (g *group) details() object {
	return append(g.fields(), field{"UpdateDate", stamp(g.updated)}, field{"GroupId", g.id})
}

func createGroup(r *request) (object, *problem) {
	name := r.get("GroupName")
	if refused := first(checkName("GroupName", name, groupNamePattern, 64), checkLength("Comments", r.get("Comments"), 128)); refused != nil {
		return nil, refused
	}
	a := r.account()
	if a.groups[name] != nil {
		return nil, ramProblem("EntityAlreadyExists.Group")
	}
	if len(a.groups) >= r.store.settings.Quotas.Groups {
		return nil, ramProblem("LimitExceeded.Group")
	}
	g := &group{
		account: a, id: "g-" + randomText(16), name: name, comments: r.get("Comments"), created: r.now, updated: r.now,
		from: r.now.Add(r.store.settings.Propagation.Group),
	}
	a.groups[name] = g
	return object{{"Group", g.made()}}, nil
}

func getGroup(r *request) (object, *problem) {
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	return object{{"Group", g.details()}}, nil
}

func updateGroup(r *request) (object, *problem) {
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	name := r.get("NewGroupName")
	if refused := first(checkName("NewGroupName", name, groupNamePattern, 64), checkLength("NewComments", r.get("NewComments"), 128)); refused != nil {
		return nil, refused
	}
	if name != "" && name != g.name {
		if g.account.groups[name] != nil {
			return nil, ramProblem("EntityAlreadyExists.Group")
		}
		delete(g.account.groups, g.name)
		g.name = name
		g.account.groups[name] = g
	}
	if comments, given := r.params["NewComments"]; given {
		g.comments = comments
	}
	g.updated = r.now
	return object{{"Group", g.details()}}, nil
}

// membersOf lists the users of a group, by name. With lingering, those who left but are still taken for members count.
func (g *group) members(now time.Time, lingering bool) []*user {
	var out []*user
	for _, name := range slices.Sorted(maps.Keys(g.account.users)) {
		u := g.account.users[name]
		if slices.ContainsFunc(u.groups, func(m membership) bool {
			return m.group == g && (m.until.IsZero() || lingering && now.Before(m.until))
		}) {
			out = append(out, u)
		}
	}
	return out
}

func deleteGroup(r *request) (object, *problem) {
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	switch {
	case len(g.members(r.now, true)) > 0:
		return nil, ramProblem("DeleteConflict.Group.User")
	case g.policies.block(r.now):
		return nil, ramProblem("DeleteConflict.Group.Policy")
	}
	delete(g.account.groups, g.name)
	return nil, nil
}

func listGroups(r *request) (object, *problem) {
	groups := r.account().groups
	names := slices.Sorted(maps.Keys(groups))
	names = slices.DeleteFunc(names, func(name string) bool { return r.now.Before(groups[name].from) })
	part, more, refused := r.page(names)
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, name := range part {
		list = append(list, groups[name].details())
	}
	return append(more, field{"Groups", object{{"Group", list}}}), nil
}

func addUserToGroup(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	if u.member(g) >= 0 {
		return nil, ramProblem("EntityAlreadyExists.User.Group")
	}
	if len(u.memberships()) >= r.store.settings.Quotas.GroupsPerUser {
		return nil, ramProblem("LimitExceeded.User.Group")
	}
	u.groups = append(u.groups, membership{group: g, joined: r.now, from: r.now.Add(r.store.settings.Propagation.Group)})
	return nil, nil
}

func removeUserFromGroup(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	i := u.member(g)
	if i < 0 {
		return nil, ramProblem("EntityNotExist.User.Group")
	}
	u.groups[i].until = r.now.Add(r.store.settings.Propagation.Group)
	u.groups = slices.DeleteFunc(u.groups, func(m membership) bool { return !m.until.IsZero() && !r.now.Before(m.until) })
	return nil, nil
}

func listGroupsForUser(r *request) (object, *problem) {
	u, refused := r.userParam("UserName")
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, m := range u.memberships() {
		list = append(list, object{
			{"GroupName", m.group.name}, {"Comments", m.group.comments}, {"JoinDate", stamp(m.joined)}, {"GroupId", m.group.id},
		})
	}
	return object{{"Groups", object{{"Group", list}}}}, nil
}

func listUsersForGroup(r *request) (object, *problem) {
	g, refused := r.groupParam("GroupName")
	if refused != nil {
		return nil, refused
	}
	byName := map[string]*user{}
	for _, u := range g.members(r.now, false) {
		byName[u.name] = u
	}
	part, more, refused := r.page(slices.Sorted(maps.Keys(byName)))
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, name := range part {
		u := byName[name]
		list = append(list, object{
			{"UserName", u.name}, {"DisplayName", u.displayName}, {"JoinDate", stamp(u.groups[u.member(g)].joined)},
		})
	}
	return append(more, field{"Users", object{{"User", list}}}), nil
}
