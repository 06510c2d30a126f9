package alisim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func roleActions() []action {
	return []action{
		{name: "CreateRole", writes: true, required: []string{"RoleName", "AssumeRolePolicyDocument"}, resource: every("role"), handle: createRole},
		{name: "GetRole", required: []string{"RoleName"}, resource: onReadRole, handle: getRole},
		{name: "UpdateRole", writes: true, required: []string{"RoleName"}, resource: on("role", "RoleName"), handle: updateRole},
		{name: "DeleteRole", writes: true, required: []string{"RoleName"}, resource: on("role", "RoleName"), handle: deleteRole},
		{name: "ListRoles", resource: every("role"), handle: listRoles},
		{name: "TagResources", writes: true, required: []string{"ResourceType"}, resource: onTagged, handle: tagResources},
		{name: "UntagResources", writes: true, required: []string{"ResourceType"}, resource: onTagged, handle: untagResources},
		{name: "ListTagResources", required: []string{"ResourceType"}, resource: onTagged, handle: listTagResources},
	}
}

func (ro *role) arn() string { return "acs:ram::" + ro.account.id + ":role/" + ro.name }

func (ro *role) fields() object {
	return object{
		{"RoleId", ro.id},
		{"RoleName", ro.name},
		{"Arn", ro.arn()},
		{"Description", ro.description},
		{"MaxSessionDuration", ro.maxSession},
	}
}

// made is what CreateRole answers with.
func (ro *role) made() object {
	return append(ro.fields(), field{"AssumeRolePolicyDocument", ro.trustText}, field{"CreateDate", stamp(ro.created)})
}

// details are what reads answer with.
func (ro *role) details() object { return append(ro.made(), field{"UpdateDate", stamp(ro.updated)}) }

// listed is what ListRoles answers with.
func (ro *role) listed() object {
	out := append(ro.fields(), field{"CreateDate", stamp(ro.created)}, field{"UpdateDate", stamp(ro.updated)})
	if len(ro.tags) == 0 {
		return out
	}
	tags := []object{}
	for _, key := range slices.Sorted(maps.Keys(ro.tags)) {
		tags = append(tags, object{{"TagKey", key}, {"TagValue", ro.tags[key]}})
	}
	return append(out, field{"Tags", object{{"Tag", tags}}})
}

// trustParam reads a trust policy out of a parameter.
func (r *request) trustParam(param string) (string, *document, *problem) {
	text := r.get(param)
	if refused := checkLength(param, text, r.store.settings.Quotas.PolicyDocumentLength); refused != nil {
		return "", nil, refused
	}
	d, err := parseTrustPolicy(text)
	if err != nil {
		return "", nil, malformedPolicy(err)
	}
	return text, d, nil
}

// maxSessionParam reads a MaxSessionDuration: 3600 to 43200 seconds; absent is 0.
func (r *request) maxSessionParam(param string) (int, *problem) {
	text := r.get(param)
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 3600 || seconds > 43200 {
		return 0, incorrect(param)
	}
	return seconds, nil
}

func createRole(r *request) (object, *problem) {
	name, description := r.get("RoleName"), r.get("Description")
	if refused := first(checkName("RoleName", name, roleNamePattern, 64), checkLength("Description", description, 1024)); refused != nil {
		return nil, refused
	}
	text, trust, refused := r.trustParam("AssumeRolePolicyDocument")
	if refused != nil {
		return nil, refused
	}
	maxSession, refused := r.maxSessionParam("MaxSessionDuration")
	if refused != nil {
		return nil, refused
	}
	tags, refused := r.tagParams()
	if refused != nil {
		return nil, refused
	}
	a := r.account()
	if a.roles[name] != nil {
		return nil, ramProblem("EntityAlreadyExists.Role")
	}
	if len(a.roles) >= r.store.settings.Quotas.Roles {
		return nil, ramProblem("LimitExceeded.Role")
	}
	ro := r.store.newRole(a, name, description, text, trust, maxSession, r.now, r.store.settings.Propagation.Role)
	maps.Copy(ro.tags, tags)
	return object{{"Role", ro.made()}}, nil
}

func getRole(r *request) (object, *problem) {
	ro, refused := r.roleParam("RoleName")
	if refused != nil {
		return nil, refused
	}
	return object{{"Role", ro.details()}}, nil
}

func updateRole(r *request) (object, *problem) {
	ro, refused := r.roleParam("RoleName")
	if refused != nil {
		return nil, refused
	}
	if refused := checkLength("NewDescription", r.get("NewDescription"), 1024); refused != nil {
		return nil, refused
	}
	maxSession, refused := r.maxSessionParam("NewMaxSessionDuration")
	if refused != nil {
		return nil, refused
	}
	if r.get("NewAssumeRolePolicyDocument") != "" {
		text, trust, refused := r.trustParam("NewAssumeRolePolicyDocument")
		if refused != nil {
			return nil, refused
		}
		ro.trustText, ro.trust = text, trust
	}
	if maxSession != 0 {
		ro.maxSession = maxSession
	}
	if description, given := r.params["NewDescription"]; given {
		ro.description = description
	}
	ro.updated = r.now
	return object{{"Role", ro.details()}}, nil
}

func deleteRole(r *request) (object, *problem) {
	ro, refused := r.roleParam("RoleName")
	if refused != nil {
		return nil, refused
	}
	if ro.policies.block(r.now) {
		return nil, ramProblem("DeleteConflict.Role.Policy")
	}
	delete(ro.account.roles, ro.name)
	delete(r.store.roles, ro.id)
	ro.deleted, ro.until = true, r.now.Add(r.store.settings.Propagation.Role)
	return nil, nil
}

func listRoles(r *request) (object, *problem) {
	roles := r.account().roles
	names := slices.Sorted(maps.Keys(roles))
	names = slices.DeleteFunc(names, func(name string) bool { return r.now.Before(roles[name].from) })
	part, more, refused := r.page(names)
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, name := range part {
		list = append(list, roles[name].listed())
	}
	return append(more, field{"Roles", object{{"Role", list}}}), nil
}

// numbered reads the values of a repeated parameter: ResourceNames.1, ResourceNames.2, ...
func (r *request) numbered(prefix, suffix string, limit int) ([]string, *problem) {
	var out []string
	for i := 1; ; i++ {
		value, given := r.params[prefix+"."+strconv.Itoa(i)+suffix]
		if !given {
			return out, nil
		}
		if i > limit {
			return nil, incorrect(prefix)
		}
		out = append(out, value)
	}
}

// tagParams reads Tag.1.Key, Tag.1.Value, ...: at most 20.
func (r *request) tagParams() (map[string]string, *problem) {
	keys, refused := r.numbered("Tag", ".Key", 20)
	if refused != nil {
		return nil, refused
	}
	tags := map[string]string{}
	for i, key := range keys {
		lower := strings.ToLower(key)
		if key == "" || len(key) > 128 || strings.HasPrefix(lower, "aliyun") || strings.HasPrefix(lower, "acs:") ||
			strings.Contains(lower, "http://") || strings.Contains(lower, "https://") {
			return nil, incorrect("Tag")
		}
		tags[key] = r.get("Tag." + strconv.Itoa(i+1) + ".Value")
	}
	return tags, nil
}

func onTagged(r *request) []string {
	names, _ := r.numbered("ResourceNames", "", 50)
	var out []string
	for _, name := range names {
		out = append(out, r.get("ResourceType")+"/"+name)
	}
	if len(out) == 0 {
		return []string{r.get("ResourceType") + "/*"}
	}
	return out
}

// taggedParams finds the entities that ResourceType and ResourceNames name. Each is its tags and its name.
func (r *request) taggedParams() (names []string, tags []map[string]string, refused *problem) {
	kind := r.get("ResourceType")
	if kind != "role" && kind != "policy" {
		return nil, nil, incorrect("ResourceType")
	}
	names, refused = r.numbered("ResourceNames", "", 50)
	if refused != nil {
		return nil, nil, refused
	}
	for _, name := range names {
		switch kind {
		case "role":
			ro := r.account().roles[name]
			if ro == nil || r.now.Before(ro.from) {
				return nil, nil, ramProblem("EntityNotExist.Role")
			}
			tags = append(tags, ro.tags)
		case "policy":
			p := r.account().policies[name]
			if p == nil || r.now.Before(p.from) {
				return nil, nil, ramProblem("EntityNotExist.Policy")
			}
			tags = append(tags, p.tags)
		}
	}
	return names, tags, nil
}

func tagResources(r *request) (object, *problem) {
	names, targets, refused := r.taggedParams()
	if refused != nil {
		return nil, refused
	}
	tags, refused := r.tagParams()
	switch {
	case refused != nil:
		return nil, refused
	case len(names) == 0:
		return nil, missing("ResourceNames")
	case len(tags) == 0:
		return nil, missing("Tag")
	}
	for _, target := range targets {
		maps.Copy(target, tags)
	}
	return nil, nil
}

func untagResources(r *request) (object, *problem) {
	names, targets, refused := r.taggedParams()
	if refused != nil {
		return nil, refused
	}
	keys, refused := r.numbered("TagKey", "", 20)
	if refused != nil {
		return nil, refused
	}
	all, refused := r.boolParam("All")
	switch {
	case refused != nil:
		return nil, refused
	case len(names) == 0:
		return nil, missing("ResourceNames")
	}
	for _, target := range targets {
		if all && len(keys) == 0 {
			clear(target)
		}
		for _, key := range keys {
			delete(target, key)
		}
	}
	return nil, nil
}

func listTagResources(r *request) (object, *problem) {
	names, targets, refused := r.taggedParams()
	if refused != nil {
		return nil, refused
	}
	if len(names) == 0 {
		names, targets = r.allTagged()
	}
	list := []object{}
	for i, name := range names {
		for _, key := range slices.Sorted(maps.Keys(targets[i])) {
			list = append(list, object{
				{"ResourceType", r.get("ResourceType")}, {"ResourceName", name}, {"TagKey", key}, {"TagValue", targets[i][key]},
			})
		}
	}
	return object{{"TagResources", object{{"TagResource", list}}}}, nil
}

func (r *request) allTagged() (names []string, tags []map[string]string) {
	a := r.account()
	visible := func(from time.Time) bool { return !r.now.Before(from) }
	if r.get("ResourceType") == "role" {
		for _, name := range slices.Sorted(maps.Keys(a.roles)) {
			if visible(a.roles[name].from) {
				names, tags = append(names, name), append(tags, a.roles[name].tags)
			}
		}
		return names, tags
	}
	for _, name := range slices.Sorted(maps.Keys(a.policies)) {
		if visible(a.policies[name].from) {
			names, tags = append(names, name), append(tags, a.policies[name].tags)
		}
	}
	return names, tags
}
