package alisim

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
)

func policyActions() []action {
	typed := []string{"PolicyType", "PolicyName"}
	out := []action{
		{name: "CreatePolicy", writes: true, required: []string{"PolicyName", "PolicyDocument"}, resource: every("policy"), handle: createPolicy},
		{name: "GetPolicy", required: typed, resource: on("policy", "PolicyName"), handle: getPolicy},
		{name: "DeletePolicy", writes: true, required: []string{"PolicyName"}, resource: on("policy", "PolicyName"), handle: deletePolicy},
		{name: "ListPolicies", resource: every("policy"), handle: listPolicies},
		{name: "CreatePolicyVersion", writes: true, required: []string{"PolicyName", "PolicyDocument"}, resource: on("policy", "PolicyName"), handle: createPolicyVersion},
		{name: "GetPolicyVersion", required: append(typed[:2:2], "VersionId"), resource: on("policy", "PolicyName"), handle: getPolicyVersion},
		{name: "ListPolicyVersions", required: typed, resource: on("policy", "PolicyName"), handle: listPolicyVersions},
		{name: "SetDefaultPolicyVersion", writes: true, required: []string{"PolicyName", "VersionId"}, resource: on("policy", "PolicyName"), handle: setDefaultPolicyVersion},
		{name: "DeletePolicyVersion", writes: true, required: []string{"PolicyName", "VersionId"}, resource: on("policy", "PolicyName"), handle: deletePolicyVersion},
		{name: "ListEntitiesForPolicy", required: typed, resource: on("policy", "PolicyName"), handle: listEntitiesForPolicy},
		{name: "DecodeDiagnosticMessage", required: []string{"EncodedDiagnosticMessage"}, resource: anything, handle: decodeDiagnosticMessage},
	}
	for _, e := range []struct {
		name   string
		holder holderFinder
	}{
		{"User", (*request).userHolder},
		{"Group", (*request).groupHolder},
		{"Role", (*request).roleHolder},
	} {
		param := e.name + "Name"
		find := func(r *request) (*holder, *problem) { return e.holder(r, param, r.get(param)) }
		both := on("policy", "PolicyName", lower(e.name), param)
		out = append(
			out,
			action{
				name: "AttachPolicyTo" + e.name, writes: true, required: append(typed[:2:2], param), resource: both,
				handle: func(r *request) (object, *problem) { return attachPolicy(r, find) },
			},
			action{
				name: "DetachPolicyFrom" + e.name, writes: true, required: append(typed[:2:2], param), resource: both,
				handle: func(r *request) (object, *problem) { return detachPolicy(r, find) },
			},
			action{
				name: "ListPoliciesFor" + e.name, required: []string{param}, resource: on(lower(e.name), param),
				handle: func(r *request) (object, *problem) { return listAttached(r, find) },
			},
		)
	}
	return out
}

func lower(kind string) string {
	return map[string]string{"User": "user", "Group": "group", "Role": "role"}[kind]
}

// holderFinder finds an entity by its name, which a parameter holds.
type holderFinder func(r *request, param, name string) (*holder, *problem)

// holder is what policies are attached to.
type holder struct {
	kind     string // User, Group, Role: as in error codes
	policies *attachments
	system   int // quotas
	custom   int
}

func (r *request) userHolder(param, name string) (*holder, *problem) {
	u, refused := r.userNamed(param, name)
	if refused != nil {
		return nil, refused
	}
	q := r.store.settings.Quotas
	return &holder{"User", &u.policies, q.SystemPoliciesPerUser, q.CustomPoliciesPerUser}, nil
}

func (r *request) groupHolder(param, name string) (*holder, *problem) {
	g, refused := r.groupNamed(param, name)
	if refused != nil {
		return nil, refused
	}
	q := r.store.settings.Quotas
	return &holder{"Group", &g.policies, q.SystemPoliciesPerEntity, q.CustomPoliciesPerEntity}, nil
}

func (r *request) roleHolder(param, name string) (*holder, *problem) {
	ro, refused := r.roleNamed(param, name)
	if refused != nil {
		return nil, refused
	}
	q := r.store.settings.Quotas
	return &holder{"Role", &ro.policies, q.SystemPoliciesPerEntity, q.CustomPoliciesPerEntity}, nil
}

func attachPolicy(r *request, find func(*request) (*holder, *problem)) (object, *problem) {
	h, refused := find(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	scope, refused := r.scopeParam()
	if refused != nil {
		return nil, refused
	}
	if h.policies.index(p, scope) >= 0 {
		return nil, ramProblem("EntityAlreadyExists." + h.kind + ".Policy")
	}
	limit := h.system
	if p.kind() == "Custom" {
		limit = h.custom
	}
	if h.policies.count(p.kind(), scope) >= limit {
		return nil, ramProblem("LimitExceeded." + h.kind + ".Policy")
	}
	h.policies.attach(p, scope, r.now, r.store.settings.Propagation.Attachment)
	return nil, nil
}

func detachPolicy(r *request, find func(*request) (*holder, *problem)) (object, *problem) {
	h, refused := find(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	scope, refused := r.scopeParam()
	if refused != nil {
		return nil, refused
	}
	if h.policies.index(p, scope) < 0 {
		return nil, ramProblem("EntityNotExist." + h.kind + ".Policy")
	}
	h.policies.detach(p, scope, r.now, r.store.settings.Propagation.Attachment)
	return nil, nil
}

func listAttached(r *request, find func(*request) (*holder, *problem)) (object, *problem) {
	h, refused := find(r)
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, a := range h.policies.attached() {
		if a.scope != "" {
			continue // RAM does not show it; see listPolicyAttachments
		}
		list = append(list, object{
			{"PolicyName", a.policy.name},
			{"PolicyType", a.policy.kind()},
			{"Description", a.policy.description},
			{"DefaultVersion", a.policy.current().id},
			{"AttachDate", stamp(a.at)},
		})
	}
	return object{{"Policies", object{{"Policy", list}}}}, nil
}

// uses lists what a policy is attached to in the caller's account, for the account alone or in any scope. With
// lingering, detachments that have not reached everywhere count too.
type uses struct {
	users  []*user
	groups []*group
	roles  []*role
	at     map[string]time.Time // by id: since when
}

func (a *account) uses(p *policy, now time.Time, lingering, anyScope bool) uses {
	out := uses{at: map[string]time.Time{}}
	has := func(id string, as attachments) bool {
		for _, at := range as {
			if at.policy == p && (anyScope || at.scope == "") && (at.until.IsZero() || lingering && now.Before(at.until)) {
				out.at[id] = at.at
				return true
			}
		}
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		if u := a.users[name]; has(u.id, u.policies) {
			out.users = append(out.users, u)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.groups)) {
		if g := a.groups[name]; has(g.id, g.policies) {
			out.groups = append(out.groups, g)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.roles)) {
		if ro := a.roles[name]; has(ro.id, ro.policies) {
			out.roles = append(out.roles, ro)
		}
	}
	return out
}

func (u uses) count() int { return len(u.users) + len(u.groups) + len(u.roles) }

// policyText reads a policy document out of PolicyDocument.
func (r *request) policyText() (string, *document, *problem) {
	text := r.get("PolicyDocument")
	if refused := checkLength("PolicyDocument", text, r.store.settings.Quotas.PolicyDocumentLength); refused != nil {
		return "", nil, refused
	}
	d, err := parsePolicy(text)
	if err != nil {
		return "", nil, malformedPolicy(err)
	}
	return text, d, nil
}

func createPolicy(r *request) (object, *problem) {
	name, description := r.get("PolicyName"), r.get("Description")
	if refused := first(checkName("PolicyName", name, policyNamePattern, 128), checkLength("Description", description, 1024)); refused != nil {
		return nil, refused
	}
	text, d, refused := r.policyText()
	if refused != nil {
		return nil, refused
	}
	tags, refused := r.tagParams()
	if refused != nil {
		return nil, refused
	}
	a := r.account()
	if a.policies[name] != nil || r.store.system[name] != nil {
		return nil, ramProblem("EntityAlreadyExists.Policy")
	}
	if len(a.policies) >= r.store.settings.Quotas.CustomPolicies {
		return nil, ramProblem("LimitExceeded.Policy")
	}
	p := newPolicy(a, name, description, text, d, r.now, r.store.settings.Propagation.Policy)
	maps.Copy(p.tags, tags)
	a.policies[name] = p
	return object{{"Policy", object{
		{"PolicyName", p.name},
		{"PolicyType", p.kind()},
		{"Description", p.description},
		{"DefaultVersion", p.current().id},
		{"CreateDate", stamp(p.created)},
	}}}, nil
}

// details are what reads answer with.
func (p *policy) details(r *request) object {
	return object{
		{"PolicyName", p.name},
		{"PolicyType", p.kind()},
		{"Description", p.description},
		{"DefaultVersion", p.current().id},
		{"CreateDate", stamp(p.created)},
		{"UpdateDate", stamp(p.updated)},
		{"AttachmentCount", r.account().uses(p, r.now, false, false).count()},
	}
}

func (v *policyVersion) fields() object {
	return object{
		{"VersionId", v.id},
		{"IsDefaultVersion", v.standard},
		{"CreateDate", stamp(v.created)},
		{"PolicyDocument", v.text},
	}
}

func getPolicy(r *request) (object, *problem) {
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	return object{{"Policy", p.details(r)}, {"DefaultPolicyVersion", p.current().fields()}}, nil
}

func deletePolicy(r *request) (object, *problem) {
	p, refused := r.customPolicyParam()
	if refused != nil {
		return nil, refused
	}
	cascading, refused := r.boolParam("CascadingDelete")
	if refused != nil {
		return nil, refused
	}
	used := r.account().uses(p, r.now, true, true)
	switch {
	case len(used.users) > 0:
		return nil, ramProblem("DeleteConflict.Policy.User")
	case len(used.groups) > 0:
		return nil, ramProblem("DeleteConflict.Policy.Group")
	case len(used.roles) > 0:
		refused := ramProblem("DeleteConflict.Policy.Role")
		refused.code = r.store.settings.PolicyOfRoleCode
		return nil, refused
	case len(p.versions) > 1 && !cascading:
		return nil, ramProblem("DeleteConflict.Policy.Version")
	}
	delete(r.account().policies, p.name)
	return nil, nil
}

func listPolicies(r *request) (object, *problem) {
	kind := r.get("PolicyType")
	if kind != "" && kind != "System" && kind != "Custom" {
		return nil, incorrect("PolicyType")
	}
	found := map[string]*policy{}
	if kind != "Custom" {
		maps.Copy(found, r.store.system)
	}
	if kind != "System" {
		for name, p := range r.account().policies {
			if !r.now.Before(p.from) {
				found[name] = p
			}
		}
	}
	part, more, refused := r.page(slices.Sorted(maps.Keys(found)))
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, name := range part {
		list = append(list, found[name].details(r))
	}
	return append(more, field{"Policies", object{{"Policy", list}}}), nil
}

func createPolicyVersion(r *request) (object, *problem) {
	p, refused := r.customPolicyParam()
	if refused != nil {
		return nil, refused
	}
	text, d, refused := r.policyText()
	if refused != nil {
		return nil, refused
	}
	standard, refused := r.boolParam("SetAsDefault")
	if refused != nil {
		return nil, refused
	}
	rotate := r.get("RotateStrategy")
	if rotate != "" && rotate != "None" && rotate != "DeleteOldestNonDefaultVersionWhenLimitExceeded" {
		return nil, incorrect("RotateStrategy")
	}
	if len(p.versions) >= r.store.settings.Quotas.PolicyVersions {
		oldest := slices.IndexFunc(p.versions, func(v *policyVersion) bool { return !v.standard })
		if rotate != "DeleteOldestNonDefaultVersionWhenLimitExceeded" || oldest < 0 {
			return nil, ramProblem("LimitExceeded.Policy.Version")
		}
		p.versions = slices.Delete(p.versions, oldest, oldest+1)
	}
	v := &policyVersion{id: "v" + strconv.Itoa(p.next), text: text, document: d, created: r.now}
	p.next++
	p.versions = append(p.versions, v)
	p.updated = r.now
	if standard {
		p.makeDefault(v)
	}
	return object{{"PolicyVersion", v.fields()}}, nil
}

func (p *policy) makeDefault(v *policyVersion) {
	for _, other := range p.versions {
		other.standard = other == v
	}
}

// versionParam finds the version that VersionId names.
func (r *request) versionParam(p *policy) (int, *problem) {
	id := r.get("VersionId")
	if n, err := strconv.Atoi(trimV(id)); err != nil || n < 1 {
		return 0, wrongFormat("VersionId")
	}
	i := slices.IndexFunc(p.versions, func(v *policyVersion) bool { return v.id == id })
	if i < 0 {
		return 0, ramProblem("EntityNotExist.Policy.Version")
	}
	return i, nil
}

func trimV(id string) string {
	if len(id) > 1 && id[0] == 'v' {
		return id[1:]
	}
	return "no number"
}

func getPolicyVersion(r *request) (object, *problem) {
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	i, refused := r.versionParam(p)
	if refused != nil {
		return nil, refused
	}
	return object{{"PolicyVersion", p.versions[i].fields()}}, nil
}

func listPolicyVersions(r *request) (object, *problem) {
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, v := range p.versions {
		list = append(list, v.fields())
	}
	return object{{"PolicyVersions", object{{"PolicyVersion", list}}}}, nil
}

func setDefaultPolicyVersion(r *request) (object, *problem) {
	p, refused := r.customPolicyParam()
	if refused != nil {
		return nil, refused
	}
	i, refused := r.versionParam(p)
	if refused != nil {
		return nil, refused
	}
	p.makeDefault(p.versions[i])
	p.updated = r.now
	return nil, nil
}

func deletePolicyVersion(r *request) (object, *problem) {
	p, refused := r.customPolicyParam()
	if refused != nil {
		return nil, refused
	}
	i, refused := r.versionParam(p)
	if refused != nil {
		return nil, refused
	}
	if p.versions[i].standard {
		return nil, ramProblem("DeleteConflict.Policy.Version.Default")
	}
	p.versions = slices.Delete(p.versions, i, i+1)
	return nil, nil
}

func listEntitiesForPolicy(r *request) (object, *problem) {
	p, refused := r.policyParam()
	if refused != nil {
		return nil, refused
	}
	// Of those who had it until just now too: the list lags behind.
	used := r.account().uses(p, r.now, true, false)
	users, groups, roles := []object{}, []object{}, []object{}
	for _, u := range used.users {
		users = append(users, object{
			{"UserId", u.id}, {"UserName", u.name}, {"DisplayName", u.displayName}, {"AttachDate", stamp(used.at[u.id])},
		})
	}
	for _, g := range used.groups {
		groups = append(groups, object{{"GroupName", g.name}, {"Comments", g.comments}, {"AttachDate", stamp(used.at[g.id])}})
	}
	for _, ro := range used.roles {
		roles = append(roles, object{
			{"RoleId", ro.id}, {"RoleName", ro.name}, {"Arn", ro.arn()}, {"Description", ro.description}, {"AttachDate", stamp(used.at[ro.id])},
		})
	}
	return object{
		{"Users", object{{"User", users}}},
		{"Groups", object{{"Group", groups}}},
		{"Roles", object{{"Role", roles}}},
	}, nil
}

func decodeDiagnosticMessage(r *request) (object, *problem) {
	text, err := base64.StdEncoding.DecodeString(r.get("EncodedDiagnosticMessage"))
	var d diagnosis
	if err != nil || decodeStrict(text, &d) != nil {
		return nil, incorrect("EncodedDiagnosticMessage")
	}
	return object{{"DecodedDiagnosticMessage", d.decode()}}, nil
}
