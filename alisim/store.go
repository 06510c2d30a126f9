package alisim

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// store is everything that exists in the cloud. One lock guards it all; handlers run under it and give back plain
// values, so nothing in here is ever seen outside it.
type store struct {
	mu       sync.RWMutex
	settings Settings
	accounts map[string]*account
	keys     map[string]*accessKey // by id, deleted ones that still propagate included
	roles    map[string]*role      // by role id, the same
	sessions map[string]*session   // by STS access key id
	purgeAt  int                   // number of sessions at which expired ones are dropped
	master   []byte                // derives secrets and tokens of sessions, so that they need no storage
	system   map[string]*policy    // system policies
	secrets  []string              // of access keys, deleted ones included, tokens and passwords
	sources  sourceState
}

type account struct {
	id        string
	alias     string // empty: none
	inactive  bool   // has neither RAM nor STS
	passwords passwordPolicy
	scopes    []string          // ids of its resource groups
	resources map[string]string // to the resource group that it is in
	keys      []*accessKey      // of the account itself
	users     map[string]*user
	groups    map[string]*group
	roles     map[string]*role
	policies  map[string]*policy
	mfa       map[string]*mfaDevice // by serial number
	bin       recycleBin

	mfaForLogin bool // of all users, whatever their login profiles say
}

type user struct {
	account                             *account
	id, name                            string
	displayName, phone, email, comments string
	created, updated, from              time.Time
	keys                                []*accessKey
	policies                            attachments
	groups                              []membership
	login                               *loginProfile
	mfa                                 *mfaDevice
}

type loginProfile struct {
	created         time.Time
	password        string // empty, of a seed: nobody knows it
	passwordReset   bool
	mfaBindRequired bool
}

type mfaDevice struct {
	serial string
	user   *user
}

type group struct {
	account                *account
	id, name, comments     string
	created, updated, from time.Time
	policies               attachments
}

type membership struct {
	group       *group
	joined      time.Time
	from, until time.Time // until: left then, zero while a member
}

type role struct {
	account                *account
	id, name, description  string
	trustText              string
	trust                  *document
	maxSession             int // seconds
	created, updated, from time.Time
	deleted                bool
	until                  time.Time // deleted: its sessions live until then
	policies               attachments
	tags                   map[string]string
}

type policy struct {
	account                *account // nil: a system policy
	name, description      string
	created, updated, from time.Time
	versions               []*policyVersion // oldest first
	next                   int
	tags                   map[string]string
}

type policyVersion struct {
	id       string
	text     string
	document *document
	created  time.Time
	standard bool // the default version
}

type accessKey struct {
	id, secret    string
	account       *account
	user          *user // nil: the account itself
	created, from time.Time
	status        string
	previous      string    // status that is still in force
	previousUntil time.Time // until then
	deleted       bool
	until         time.Time // deleted: usable until then
	lastUsed      atomic.Int64
}

// session is an AssumeRole result. Secret and token are derived from its id.
type session struct {
	keyID      string
	role       *role
	name       string
	sourceID   string
	policyText string
	policy     *document // nil: none
	expires    time.Time
}

type recycleBin struct {
	users []string
	keys  []string
}

func newStore(settings Settings) *store {
	st := &store{
		settings: settings.clone(),
		accounts: map[string]*account{},
		keys:     map[string]*accessKey{},
		roles:    map[string]*role{},
		sessions: map[string]*session{},
		purgeAt:  10_000,
		master:   randomBytes(32),
		system:   systemPolicies(),
		sources:  newSourceState(),
	}
	return st
}

// policyKind is the PolicyType of the API.
func (p *policy) kind() string {
	if p.account == nil {
		return "System"
	}
	return "Custom"
}

func (p *policy) current() *policyVersion {
	i := slices.IndexFunc(p.versions, func(v *policyVersion) bool { return v.standard })
	return p.versions[i]
}

// label is what stands for the account in names: its alias, or its id.
func (a *account) label() string { return cmp.Or(a.alias, a.id) }

// attachments are the policies of a user, group or role.
type attachments []attachment

type attachment struct {
	policy      *policy
	scope       string // id of a resource group; empty: the account
	at          time.Time
	from, until time.Time // until: detached, but in force until then; zero while attached
}

func (as attachments) index(p *policy, scope string) int {
	return slices.IndexFunc(as, func(a attachment) bool { return a.policy == p && a.scope == scope && a.until.IsZero() })
}

// attached lists what is attached, in whatever scope, oldest first.
func (as attachments) attached() []attachment {
	return slices.DeleteFunc(slices.Clone(as), func(a attachment) bool { return !a.until.IsZero() })
}

// listed is attached as a list has it that lags behind.
func (as attachments) listed(now time.Time) []attachment {
	return slices.DeleteFunc(slices.Clone(as), func(a attachment) bool {
		return now.Before(a.from) || !a.until.IsZero() && !now.Before(a.until)
	})
}

// block says whether any policy keeps the entity from being deleted: one that is attached, or was until just now.
func (as attachments) block(now time.Time) bool {
	return slices.ContainsFunc(as, func(a attachment) bool { return a.until.IsZero() || now.Before(a.until) })
}

// documents are the policies in force for a resource in a scope: those of the account, and those of the resource group
// that it is in.
func (as attachments) documents(scope string, now time.Time) []*document {
	var out []*document
	for _, a := range as {
		if (a.scope == "" || a.scope == scope) && !now.Before(a.from) && (a.until.IsZero() || now.Before(a.until)) {
			out = append(out, a.policy.current().document)
		}
	}
	return out
}

// count returns the policies of a kind that are attached in a scope.
func (as attachments) count(kind, scope string) int {
	n := 0
	for _, a := range as {
		if a.scope == scope && a.until.IsZero() && a.policy.kind() == kind {
			n++
		}
	}
	return n
}

func (as *attachments) attach(p *policy, scope string, now time.Time, delay time.Duration) {
	as.tidy(now)
	*as = append(*as, attachment{policy: p, scope: scope, at: now, from: now.Add(delay)})
}

func (as *attachments) detach(p *policy, scope string, now time.Time, delay time.Duration) {
	(*as)[as.index(p, scope)].until = now.Add(delay)
	as.tidy(now)
}

// tidy forgets detachments that have reached everywhere.
func (as *attachments) tidy(now time.Time) {
	*as = slices.DeleteFunc(*as, func(a attachment) bool { return !a.until.IsZero() && !now.Before(a.until) })
}

func (u *user) member(g *group) int {
	return slices.IndexFunc(u.groups, func(m membership) bool { return m.group == g && m.until.IsZero() })
}

func (u *user) memberships() []membership {
	return slices.DeleteFunc(slices.Clone(u.groups), func(m membership) bool { return !m.until.IsZero() })
}

// documents returns every policy that speaks for the user: its own and those of its groups.
func (u *user) documents(scope string, now time.Time) []*document {
	out := u.policies.documents(scope, now)
	for _, m := range u.groups {
		if !now.Before(m.from) && (m.until.IsZero() || now.Before(m.until)) {
			out = append(out, m.group.policies.documents(scope, now)...)
		}
	}
	return out
}

func (k *accessKey) effectiveStatus(now time.Time) string {
	if now.Before(k.previousUntil) {
		return k.previous
	}
	return k.status
}

// lookup finds a key that can sign at the moment, as far as the cloud knows by now.
func (st *store) lookup(id string, now time.Time) *accessKey {
	k := st.keys[id]
	if k == nil || now.Before(k.from) || k.deleted && !now.Before(k.until) {
		return nil
	}
	return k
}

// policyNamed finds a policy as an account sees it; kind "" looks for a custom policy first.
func (st *store) policyNamed(a *account, kind, name string) *policy {
	if p := a.policies[name]; p != nil && kind != "System" {
		return p
	}
	if kind != "Custom" {
		return st.system[name]
	}
	return nil
}

// addSession remembers a session and drops expired ones now and then, so that memory follows the number of live ones.
func (st *store) addSession(se *session, now time.Time) {
	if len(st.sessions) >= st.purgeAt {
		for id, old := range st.sessions {
			if now.After(old.expires) {
				delete(st.sessions, id)
			}
		}
		st.purgeAt = max(10_000, 2*len(st.sessions))
	}
	st.sessions[se.keyID] = se
}

// newSessionKeyID makes the id of a session's key, in the form of those that were seen.
func newSessionKeyID() string { return "STS.N" + randomText(24) }

// sessionSecret and sessionToken are functions of the key id and the store's own secret.
func (st *store) sessionSecret(keyID string) string {
	b := st.mac("secret", keyID)
	b[0] |= 1 // a number of 32 bytes with less in front may have 42 letters
	return letters(b)
}

// letters writes bytes as a number of base 58: 32 bytes become 43 or 44 letters and digits, as secrets of sessions have.
func letters(b []byte) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var digits []byte // the lowest first
	for _, carry := range b {
		rest := int(carry)
		for i, d := range digits {
			rest += int(d) << 8
			digits[i] = byte(rest % 58)
			rest /= 58
		}
		for ; rest > 0; rest /= 58 {
			digits = append(digits, byte(rest%58))
		}
	}
	for i, d := range digits {
		digits[i] = alphabet[d]
	}
	slices.Reverse(digits)
	return string(digits)
}

// sessionToken is as long as real ones tend to be; nothing may depend on its length.
func (st *store) sessionToken(keyID string) string {
	payload := []byte(keyID + "\x00")
	payload = append(payload, bytes.Repeat(st.mac("padding", keyID), 12)...)
	payload = append(payload, st.mac("token", string(payload))...)
	return "CAIS" + base64.StdEncoding.EncodeToString(payload)
}

// tokenOwner returns the key id that a token was issued with; false means that it is not a token of this cloud.
func (st *store) tokenOwner(token string) (keyID string, ok bool) {
	payload, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(token, "CAIS"))
	if err != nil || len(payload) < sha256.Size || !strings.HasPrefix(token, "CAIS") {
		return "", false
	}
	cut := len(payload) - sha256.Size
	if !hmac.Equal(payload[cut:], st.mac("token", string(payload[:cut]))) {
		return "", false
	}
	keyID, _, ok = strings.Cut(string(payload[:cut]), "\x00")
	return keyID, ok
}

func (st *store) mac(purpose, text string) []byte {
	mac := hmac.New(sha256.New, st.master)
	mac.Write([]byte(purpose + "\x00" + text))
	return mac.Sum(nil)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// randomText returns n letters and digits.
func randomText(n int) string {
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"
	b := randomBytes(n)
	for i, c := range b {
		b[i] = alphabet[int(c)%len(alphabet)]
	}
	return string(b)
}

// randomDigits returns an entity id: digits, the first not zero.
func randomDigits(n int) string {
	b := randomBytes(n)
	for i, c := range b {
		b[i] = '0' + c%10
	}
	if b[0] == '0' {
		b[0] = '3'
	}
	return string(b)
}

// newRequestID looks like the cloud's: an upper-case UUID of version 5.
func newRequestID() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// plant makes what a seed describes. It checks everything before it changes anything.
func (st *store) plant(seed Seed, now time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.check(seed); err != nil {
		return err
	}
	for _, a := range seed.Accounts {
		st.plantAccount(a, now)
	}
	if seed.Sources != nil {
		st.setSources(*seed.Sources)
	}
	return nil
}

// check refuses a seed that contradicts itself or what exists.
func (st *store) check(seed Seed) error {
	keyIDs := map[string]bool{}
	newAccounts := map[string]bool{}
	checkKeys := func(of string, keys []AccessKey) error {
		for _, k := range keys {
			if k.ID != "" && (keyIDs[k.ID] || st.keys[k.ID] != nil) {
				return fmt.Errorf("alisim: seed: the access key id %s of %s is taken", k.ID, of)
			}
			keyIDs[k.ID] = true
			if k.Status != "" && k.Status != "Active" && k.Status != "Inactive" {
				return fmt.Errorf("alisim: seed: the status of an access key of %s is neither Active nor Inactive", of)
			}
		}
		return nil
	}
	for _, a := range seed.Accounts {
		if a.ID == "" || strings.Trim(a.ID, "0123456789") != "" {
			return fmt.Errorf("alisim: seed: the account id %q is not a number", a.ID)
		}
		if newAccounts[a.ID] {
			return fmt.Errorf("alisim: seed: account %s is there twice", a.ID)
		}
		newAccounts[a.ID] = true
		old := st.accounts[a.ID]
		if old == nil {
			old = &account{}
		}
		policies := map[string]bool{}
		for _, id := range a.ResourceGroups {
			if !strings.HasPrefix(id, "rg-") {
				return fmt.Errorf("alisim: seed: the resource group id %q does not begin with rg-", id)
			}
		}
		for resource, id := range a.Resources {
			if product, rest, found := strings.Cut(resource, ":"); !found || product == "" || rest == "" {
				return fmt.Errorf("alisim: seed: the resource %q is not of the form product:resource", resource)
			}
			if !slices.Contains(a.ResourceGroups, id) && !slices.Contains(old.scopes, id) {
				return fmt.Errorf("alisim: seed: the resource group %q of %s does not exist", id, resource)
			}
		}
		var checkPolicies func(of string, names []string, scoped ...map[string][]string) error
		checkPolicies = func(of string, names []string, scoped ...map[string][]string) error {
			for _, policiesOf := range scoped {
				for scope := range policiesOf {
					if !slices.Contains(a.ResourceGroups, scope) && !slices.Contains(old.scopes, scope) {
						return fmt.Errorf("alisim: seed: the resource group %q of %s does not exist", scope, of)
					}
					if err := checkPolicies(of, policiesOf[scope]); err != nil {
						return err
					}
				}
			}
			for i, name := range names {
				if !policies[name] && old.policies[name] == nil && st.system[name] == nil {
					return fmt.Errorf("alisim: seed: the policy %q of %s does not exist", name, of)
				}
				if slices.Contains(names[:i], name) {
					return fmt.Errorf("alisim: seed: the policy %q of %s is there twice", name, of)
				}
			}
			return nil
		}
		if err := checkKeys("account "+a.ID, a.AccessKeys); err != nil {
			return err
		}
		for _, p := range a.Policies {
			if policies[p.Name] || old.policies[p.Name] != nil || p.Name == "" {
				return fmt.Errorf("alisim: seed: the policy name %q is empty or taken", p.Name)
			}
			if _, err := parsePolicy(string(p.Document)); err != nil {
				return fmt.Errorf("alisim: seed: policy %s: %w", p.Name, err)
			}
			policies[p.Name] = true
		}
		groups, users, roles := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, g := range a.Groups {
			if groups[g.Name] || old.groups[g.Name] != nil || g.Name == "" {
				return fmt.Errorf("alisim: seed: the group name %q is empty or taken", g.Name)
			}
			if err := checkPolicies("group "+g.Name, g.Policies, g.ResourceGroupPolicies); err != nil {
				return err
			}
			groups[g.Name] = true
		}
		for _, u := range a.Users {
			if users[u.Name] || old.users[u.Name] != nil || u.Name == "" {
				return fmt.Errorf("alisim: seed: the user name %q is empty or taken", u.Name)
			}
			if err := checkPolicies("user "+u.Name, u.Policies, u.ResourceGroupPolicies); err != nil {
				return err
			}
			if err := checkKeys("user "+u.Name, u.AccessKeys); err != nil {
				return err
			}
			for _, name := range u.Groups {
				if !groups[name] && old.groups[name] == nil {
					return fmt.Errorf("alisim: seed: the group %q of user %s does not exist", name, u.Name)
				}
			}
			users[u.Name] = true
		}
		for _, r := range a.Roles {
			if roles[r.Name] || old.roles[r.Name] != nil || r.Name == "" {
				return fmt.Errorf("alisim: seed: the role name %q is empty or taken", r.Name)
			}
			if err := checkPolicies("role "+r.Name, r.Policies, r.ResourceGroupPolicies); err != nil {
				return err
			}
			if _, err := parseTrustPolicy(string(r.TrustPolicy)); err != nil {
				return fmt.Errorf("alisim: seed: trust policy of role %s: %w", r.Name, err)
			}
			if r.MaxSessionDuration != 0 && (r.MaxSessionDuration < 3600 || r.MaxSessionDuration > 43200) {
				return fmt.Errorf("alisim: seed: role %s: max_session_duration must be 3600 to 43200 seconds", r.Name)
			}
			roles[r.Name] = true
		}
	}
	return st.checkIdentities(seed)
}

// plantAccount adds to an account, or makes it, what check has found good.
func (st *store) plantAccount(in Account, now time.Time) {
	a := st.accounts[in.ID]
	if a == nil {
		a = &account{
			id: in.ID, users: map[string]*user{}, groups: map[string]*group{}, roles: map[string]*role{},
			policies: map[string]*policy{}, mfa: map[string]*mfaDevice{}, passwords: passwordPolicy{length: 8},
			resources: map[string]string{},
		}
		st.accounts[in.ID] = a
	}
	for _, k := range in.AccessKeys {
		a.keys = append(a.keys, st.newKey(a, nil, k, now, 0))
	}
	for _, p := range in.Policies {
		document, _ := parsePolicy(string(p.Document)) // checked
		a.policies[p.Name] = newPolicy(a, p.Name, p.Description, string(p.Document), document, now, 0)
	}
	if in.Alias != "" {
		a.alias = in.Alias
	}
	a.inactive = a.inactive || in.Inactive
	a.mfaForLogin = a.mfaForLogin || in.MFAForLogin
	a.scopes = append(a.scopes, in.ResourceGroups...)
	maps.Copy(a.resources, in.Resources)
	attach := func(names []string, scoped map[string][]string) (as attachments) {
		for _, name := range names {
			as.attach(st.policyNamed(a, "", name), "", now, 0)
		}
		for _, scope := range slices.Sorted(maps.Keys(scoped)) {
			for _, name := range scoped[scope] {
				as.attach(st.policyNamed(a, "", name), scope, now, 0)
			}
		}
		return as
	}
	for _, g := range in.Groups {
		a.groups[g.Name] = &group{
			account: a, id: "g-" + randomText(16), name: g.Name, comments: g.Comments,
			created: now, updated: now, policies: attach(g.Policies, g.ResourceGroupPolicies),
		}
	}
	for _, in := range in.Users {
		u := &user{
			account: a, id: randomDigits(18), name: in.Name, displayName: in.DisplayName, comments: in.Comments,
			created: now, updated: now, policies: attach(in.Policies, in.ResourceGroupPolicies),
		}
		if u.displayName == "" {
			u.displayName = u.name
		}
		for _, k := range in.AccessKeys {
			u.keys = append(u.keys, st.newKey(a, u, k, now, 0))
		}
		for _, name := range in.Groups {
			u.groups = append(u.groups, membership{group: a.groups[name], joined: now})
		}
		if in.LoginProfile {
			u.login = &loginProfile{created: now}
		}
		if in.MFADevice {
			u.mfa = &mfaDevice{serial: "acs:ram::" + a.id + ":mfa/" + u.name, user: u}
			a.mfa[u.mfa.serial] = u.mfa
		}
		a.users[u.name] = u
	}
	for _, in := range in.Roles {
		trust, _ := parseTrustPolicy(string(in.TrustPolicy)) // checked
		r := st.newRole(a, in.Name, in.Description, string(in.TrustPolicy), trust, in.MaxSessionDuration, now, 0)
		r.policies = attach(in.Policies, in.ResourceGroupPolicies)
	}
	st.plantIdentities(a, in)
}

// newKey makes a key pair; what k leaves empty is generated.
func (st *store) newKey(a *account, u *user, k AccessKey, now time.Time, delay time.Duration) *accessKey {
	if k.ID == "" {
		k.ID = "LTAI5t" + randomText(18)
	}
	if k.Secret == "" {
		k.Secret = randomText(30)
	}
	if k.Status == "" {
		k.Status = "Active"
	}
	key := &accessKey{id: k.ID, secret: k.Secret, account: a, user: u, created: now, from: now.Add(delay), status: k.Status}
	st.keys[key.id] = key
	st.secrets = append(st.secrets, key.secret)
	return key
}

func (st *store) newRole(a *account, name, description, trustText string, trust *document, maxSession int, now time.Time, delay time.Duration) *role {
	if maxSession == 0 {
		maxSession = 3600
	}
	r := &role{
		account: a, id: randomDigits(18), name: name, description: description, trustText: trustText, trust: trust,
		maxSession: maxSession, created: now, updated: now, from: now.Add(delay), tags: map[string]string{},
	}
	a.roles[name] = r
	st.roles[r.id] = r
	return r
}

func newPolicy(a *account, name, description, text string, d *document, now time.Time, delay time.Duration) *policy {
	return &policy{
		account: a, name: name, description: description, created: now, updated: now, from: now.Add(delay), next: 2,
		versions: []*policyVersion{{id: "v1", text: text, document: d, created: now, standard: true}},
		tags:     map[string]string{},
	}
}
