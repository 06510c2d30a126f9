package alisim

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Resource Management attaches policies for the resources of a resource group, which RAM's own lists do not show. Only
// what concerns attachments is here, and resource groups as far as these need them.
const (
	resourceManager        = "ResourceManager"
	resourceManagerVersion = "2020-03-31"
)

// resourceManagerActions is the table of Resource Management. Its resources are those of the document "RAM authorization"
// of resource groups (159974). Whoever has the right in a resource group may use it there: such a one administers the group.
func resourceManagerActions() []action {
	grant, group := []string{"ResourceGroupId", "PolicyType", "PolicyName", "PrincipalType", "PrincipalName"}, []string{"ResourceGroupId"}
	out := []action{
		{
			name: "AttachPolicy", writes: true, required: grant, resource: onGrant,
			handle: func(r *request) (object, *problem) { return attachPolicy(r, (*request).principalHolder) },
		},
		{
			name: "DetachPolicy", writes: true, required: grant, resource: onGrant,
			handle: func(r *request) (object, *problem) { return detachPolicy(r, (*request).principalHolder) },
		},
		{name: "ListPolicyAttachments", resource: onAccount, handle: listPolicyAttachments},
		{name: "GetResourceGroup", required: group, resource: onResourceGroup, handle: getResourceGroup},
		{name: "DeleteResourceGroup", writes: true, required: group, resource: onResourceGroup, handle: deleteResourceGroup},
	}
	for i := range out {
		out[i].service, out[i].version = resourceManager, resourceManagerVersion
		out[i].scope = func(r *request) string { return r.get("ResourceGroupId") }
	}
	return out
}

// onGrant is the policy and all principals of the type, which no policy can narrow.
func onGrant(r *request) []string {
	all := r.who.account + ":" + map[string]string{"IMSUser": "user", "IMSGroup": "group", "ServiceRole": "role"}[r.get("PrincipalType")] + "/*"
	product := "ims"
	if r.get("PrincipalType") == "ServiceRole" {
		product = "ram"
	}
	policy := "acs:ram:*:" + r.who.account + ":policy/" + r.get("PolicyName")
	if r.get("PolicyType") == "System" {
		policy = "acs:ram:*:system:policy/" + r.get("PolicyName")
	}
	return []string{policy, "acs:" + product + ":*:" + all}
}

func onResourceGroup(r *request) []string {
	return []string{"acs:ram:*:" + r.who.account + ":resourcegroup/" + r.get("ResourceGroupId")}
}

// scopeOf is the resource group that a resource is in, as the seed says; empty: in none.
func (st *store) scopeOf(arn string) string {
	parts := strings.SplitN(arn, ":", 5) // acs, product, region, account, resource
	if len(parts) < 5 || st.accounts[parts[3]] == nil {
		return ""
	}
	return st.accounts[parts[3]].resources[parts[1]+":"+parts[4]]
}

func getResourceGroup(r *request) (object, *problem) {
	id, refused := r.scopeParam()
	switch {
	case refused != nil:
		return nil, refused
	case id == "":
		return nil, noResourceGroup() // the account is none
	}
	return object{{"ResourceGroup", r.resourceGroup(id, "OK")}}, nil
}

func (r *request) resourceGroup(id, status string) object {
	return object{{"Id", id}, {"Name", id}, {"DisplayName", id}, {"AccountId", r.who.account}, {"Status", status}}
}

// deleteResourceGroup deletes a group without resources. What is attached in it goes with it.
func deleteResourceGroup(r *request) (object, *problem) {
	id, refused := r.scopeParam()
	a := r.account()
	switch {
	case refused != nil:
		return nil, refused
	case id == "":
		return nil, noResourceGroup()
	case slices.Contains(slices.Collect(maps.Values(a.resources)), id):
		return nil, refuse(http.StatusConflict, "DeleteConflict.ResourceGroup.Resource", "The resource group still has resources.")
	}
	a.scopes = slices.DeleteFunc(a.scopes, func(scope string) bool { return scope == id })
	detach := func(as *attachments) {
		*as = slices.DeleteFunc(*as, func(at attachment) bool { return at.scope == id })
	}
	for _, u := range a.users {
		detach(&u.policies)
	}
	for _, g := range a.groups {
		detach(&g.policies)
	}
	for _, ro := range a.roles {
		detach(&ro.policies)
	}
	return object{{"ResourceGroup", r.resourceGroup(id, "PendingDelete")}}, nil
}

func noResourceGroup() *problem {
	return refuse(http.StatusNotFound, "EntityNotExists.ResourceGroup",
		"The specified resource group does not exist. You must first create a resource group.")
}

// scopeParam reads ResourceGroupId: absent or the id of the account is the account, the empty scope.
func (r *request) scopeParam() (string, *problem) {
	id := r.get("ResourceGroupId")
	switch {
	case id == "", id == r.account().id:
		return "", nil
	case !slices.Contains(r.account().scopes, id):
		return "", noResourceGroup()
	}
	return id, nil
}

// principalKind is a PrincipalType: how the names of its principals go on behind the name of the entity, and how its
// entities are found. Between before and after stands the id or the alias of the account.
type principalKind struct {
	name          string
	before, after string
	find          holderFinder
}

// principalKinds are all there are, in the order of lists.
func principalKinds() []principalKind {
	return []principalKind{
		{"IMSUser", "@", ".onaliyun.com", (*request).userHolder},
		{"IMSGroup", "@group.", ".onaliyun.com", (*request).groupHolder},
		{"ServiceRole", "@role.", ".onaliyunservice.com", (*request).roleHolder},
	}
}

// principalName is the name of an entity as the answers of Resource Management have it.
func (a *account) principalName(kind principalKind, entity string) string {
	return entity + kind.before + a.label() + kind.after
}

// entityOf is the reverse of principalName, for the account's alias and its id; false means that it is no such name.
// By setting, the id of an account that has an alias is none.
func (r *request) entityOf(kind principalKind, principal string) (string, bool) {
	a := r.account()
	labels := []string{a.id, a.alias}
	if r.store.settings.PrincipalsByAlias {
		labels = []string{a.label()}
	}
	for _, label := range labels {
		if entity, ok := strings.CutSuffix(principal, kind.before+label+kind.after); ok && label != "" {
			return entity, entity != ""
		}
	}
	return "", false
}

// principalKindParam reads PrincipalType.
func (r *request) principalKindParam() (principalKind, *problem) {
	kinds := principalKinds()
	i := slices.IndexFunc(kinds, func(k principalKind) bool { return k.name == r.get("PrincipalType") })
	if i < 0 {
		return principalKind{}, refuse(http.StatusBadRequest, "InvalidParameter.PrincipalType", "The specified principal type is invalid.")
	}
	return kinds[i], nil
}

// principalHolder finds the entity that PrincipalType and PrincipalName name.
func (r *request) principalHolder() (*holder, *problem) {
	kind, refused := r.principalKindParam()
	if refused != nil {
		return nil, refused
	}
	entity, ok := r.entityOf(kind, r.get("PrincipalName"))
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidParameter.PrincipalName", "The specified principal name is invalid.")
	}
	return kind.find(r, "PrincipalName", entity)
}

// pageParams reads PageNumber (from 1, default 1) and PageSize (1 to 100, default 10).
func (r *request) pageParams() (number, size int, refused *problem) {
	number, size = 1, 10
	for _, p := range []struct {
		name  string
		value *int
		limit int
	}{{"PageNumber", &number, math.MaxInt32}, {"PageSize", &size, 100}} {
		text := r.get(p.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > p.limit {
			return 0, 0, incorrect(p.name)
		}
		*p.value = n
	}
	if limit := r.store.settings.PageLimit; limit > 0 {
		size = min(size, limit)
	}
	return number, size, nil
}

// listPolicyAttachments lists attachments for the account and for its resource groups. A parameter that is absent
// filters nothing. The list lags behind: it lacks what was attached just now, and has what was detached just now.
func listPolicyAttachments(r *request) (object, *problem) {
	number, size, refused := r.pageParams()
	if refused != nil {
		return nil, refused
	}
	if r.get("PrincipalType") != "" {
		if _, refused := r.principalKindParam(); refused != nil {
			return nil, refused
		}
	}
	if _, refused := r.scopeParam(); refused != nil {
		return nil, refused
	}
	is := func(param, value string) bool { return r.get(param) == "" || r.get(param) == value }
	a, records := r.account(), []object{}
	for _, kind := range principalKinds() {
		if !is("PrincipalType", kind.name) {
			continue
		}
		for _, held := range a.attachmentsOf(kind.name) {
			wanted, ok := r.entityOf(kind, r.get("PrincipalName"))
			if r.get("PrincipalName") != "" && (!ok || wanted != held.entity) {
				continue
			}
			for _, at := range held.policies.listed(r.now) {
				scope := cmp.Or(at.scope, a.id)
				if !is("ResourceGroupId", scope) || !is("PolicyType", at.policy.kind()) || !is("PolicyName", at.policy.name) {
					continue
				}
				records = append(records, object{
					{"PolicyName", at.policy.name},
					{"PolicyType", at.policy.kind()},
					{"PrincipalName", a.principalName(kind, held.entity)},
					{"PrincipalType", kind.name},
					{"ResourceGroupId", scope},
					{"Description", at.policy.description},
					{"AttachDate", stamp(at.at)},
				})
			}
		}
	}
	part := records[min((number-1)*size, len(records)):]
	return object{
		{"TotalCount", len(records)},
		{"PageNumber", number},
		{"PageSize", size},
		{"PolicyAttachments", object{{"PolicyAttachment", part[:min(size, len(part))]}}},
	}, nil
}

// held is what one entity has.
type held struct {
	entity   string
	policies attachments
}

// attachmentsOf lists the entities of a kind with what they have, by name.
func (a *account) attachmentsOf(kind string) (out []held) {
	switch kind {
	case "IMSUser":
		for _, name := range slices.Sorted(maps.Keys(a.users)) {
			out = append(out, held{name, a.users[name].policies})
		}
	case "IMSGroup":
		for _, name := range slices.Sorted(maps.Keys(a.groups)) {
			out = append(out, held{name, a.groups[name].policies})
		}
	case "ServiceRole":
		for _, name := range slices.Sorted(maps.Keys(a.roles)) {
			out = append(out, held{name, a.roles[name].policies})
		}
	}
	return out
}
