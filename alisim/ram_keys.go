package alisim

import (
	"slices"
	"time"
)

func accessKeyActions() []action {
	return []action{
		{name: "CreateAccessKey", writes: true, resource: onSelf, handle: createAccessKey},
		{name: "ListAccessKeys", resource: onSelf, handle: listAccessKeys},
		{name: "UpdateAccessKey", writes: true, required: []string{"UserAccessKeyId", "Status"}, resource: onSelf, handle: updateAccessKey},
		{name: "DeleteAccessKey", writes: true, required: []string{"UserAccessKeyId"}, resource: onSelf, handle: deleteAccessKey},
		{name: "GetAccessKeyLastUsed", required: []string{"UserAccessKeyId"}, resource: onSelf, handle: getAccessKeyLastUsed},
	}
}

// keyOwner finds whose keys a request is about: those of the user it names or, without UserName, those of the caller.
// It returns the list that holds the keys and the user, nil for the account itself.
func (r *request) keyOwner() (keys *[]*accessKey, owner *user, refused *problem) {
	if r.get("UserName") != "" {
		u, refused := r.userParam("UserName")
		if refused != nil {
			return nil, nil, refused
		}
		return &u.keys, u, nil
	}
	switch r.who.kind {
	case "Account":
		return &r.account().keys, nil, nil
	case "RAMUser":
		if u := r.account().users[r.who.name]; u != nil && u.id == r.who.id {
			return &u.keys, u, nil
		}
		return nil, nil, ramProblem("EntityNotExist.User")
	}
	return nil, nil, missing("UserName")
}

// keyParam finds the key that UserAccessKeyId names.
func (r *request) keyParam() (keys *[]*accessKey, index int, refused *problem) {
	keys, _, refused = r.keyOwner()
	if refused != nil {
		return nil, 0, refused
	}
	index = slices.IndexFunc(*keys, func(k *accessKey) bool { return k.id == r.get("UserAccessKeyId") })
	if index < 0 || r.now.Before((*keys)[index].from) {
		return nil, 0, ramProblem("EntityNotExist.User.AccessKey")
	}
	return keys, index, nil
}

func createAccessKey(r *request) (object, *problem) {
	keys, owner, refused := r.keyOwner()
	if refused != nil {
		return nil, refused
	}
	if len(*keys) >= r.store.settings.Quotas.AccessKeysPerUser {
		return nil, ramProblem("LimitExceeded.User.AccessKey")
	}
	k := r.store.newKey(r.account(), owner, AccessKey{}, r.now, r.store.settings.Propagation.AccessKey)
	*keys = append(*keys, k)
	return object{{"AccessKey", object{
		{"AccessKeyId", k.id},
		{"AccessKeySecret", k.secret},
		{"Status", k.status},
		{"CreateDate", stamp(k.created)},
	}}}, nil
}

func listAccessKeys(r *request) (object, *problem) {
	keys, _, refused := r.keyOwner()
	if refused != nil {
		return nil, refused
	}
	list := []object{}
	for _, k := range *keys {
		if !r.now.Before(k.from) {
			list = append(list, object{{"AccessKeyId", k.id}, {"Status", k.status}, {"CreateDate", stamp(k.created)}})
		}
	}
	return object{{"AccessKeys", object{{"AccessKey", list}}}}, nil
}

func updateAccessKey(r *request) (object, *problem) {
	status := r.get("Status")
	if status != "Active" && status != "Inactive" {
		return nil, incorrect("Status")
	}
	keys, i, refused := r.keyParam()
	if refused != nil {
		return nil, refused
	}
	k := (*keys)[i]
	k.previous, k.previousUntil = k.effectiveStatus(r.now), r.now.Add(r.store.settings.Propagation.AccessKey)
	k.status = status
	return nil, nil
}

func deleteAccessKey(r *request) (object, *problem) {
	keys, i, refused := r.keyParam()
	if refused != nil {
		return nil, refused
	}
	k := (*keys)[i]
	*keys = slices.Delete(*keys, i, i+1)
	k.deleted, k.until = true, r.now.Add(r.store.settings.Propagation.AccessKey)
	if !r.now.Before(k.until) {
		delete(r.store.keys, k.id)
	}
	r.store.tidyKeys(r.now)
	k.account.bin.addKey(k.id)
	return nil, nil
}

// tidyKeys forgets deleted keys that nothing accepts any more. It looks only when many have gathered.
func (st *store) tidyKeys(now time.Time) {
	if len(st.keys) < 10_000 {
		return
	}
	for id, k := range st.keys {
		if k.deleted && !now.Before(k.until) {
			delete(st.keys, id)
		}
	}
}

// The recycle bin of an account remembers the last 3000 deleted keys; the cloud keeps three per user.
func (b *recycleBin) addKey(id string) {
	b.keys = append(b.keys, id)
	if len(b.keys) > 3000 {
		b.keys = b.keys[1:]
	}
}

func getAccessKeyLastUsed(r *request) (object, *problem) {
	keys, i, refused := r.keyParam()
	if refused != nil {
		return nil, refused
	}
	date := ""
	if used := (*keys)[i].lastUsed.Load(); used != 0 {
		date = stamp(time.Unix(used, 0))
	}
	return object{{"AccessKeyLastUsed", object{{"LastUsedDate", date}}}}, nil
}
