package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

const peerVersion = "v0.21.0"

// peerRoles are roles that the peer engine can hold, in every shape that its
// storage knows: lists given, empty, and never set, which it stores as null.
var peerRoles = map[string]map[string]any{
	"deploy":      {"role_arn": roleARN},
	"deploy-ttl":  {"role_arn": roleARN, "ttl": "2h", "max_ttl": "4h"},
	"deploy-tf":   {"role_arn": roleARN, "inline_policies": "[]", "remote_policies": []string{}, "ttl": 0, "max_ttl": 0},
	"ci":          {"inline_policies": "[" + policyJSON + "]", "remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System"}, "ttl": "10m", "max_ttl": "1h"},
	"ci-two":      {"inline_policies": "[" + policyJSON + `,{"Version":"1","Statement":[{"Effect":"Deny","Action":["ram:*"],"Resource":["*"]}]}]`, "remote_policies": []string{}},
	"remote-only": {"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System", "name:AliyunECSReadOnlyAccess,type:System"}},
	"stuck":       {"inline_policies": "[" + policyJSON + "]"},
	"stuck-short": {"inline_policies": "[" + policyJSON + "]", "ttl": "1s", "max_ttl": "1s"},
	"mixed.case_": {"role_arn": roleARN, "ttl": 3600},
}

// TestUpgradeAndBack takes one mount from the peer engine to ours, back, and to
// ours again, as an operator does: register, tune, reload. Roles, config and live
// leases come along each time, what the peer engine can never revoke is healed,
// and at the end nothing is left in RAM.
func TestUpgradeAndBack(t *testing.T) {
	t.Parallel()
	m := startPeerMount(t)
	v, cloud := m.vaultServer, m.cloud
	for name, role := range peerRoles {
		v.write(t, mount+"/role/"+name, role)
	}
	before := m.answers()
	session, keptSession := m.issue("deploy"), m.issue("deploy-tf")
	user, keptUser, backUser := m.issue("ci"), m.issue("ci-two"), m.issue("ci")
	remote := m.issue("remote-only")
	stuck, untouched := m.issue("stuck"), m.issue("stuck")

	// What that engine cannot finish: it fails half-way, with the key and the
	// policy gone and the user there, and no further try gets further.
	for range 2 {
		m.wantStuck(stuck, "malformed remote_policies internal data")
	}
	if u := m.userOf(stuck); len(u.AccessKeys) != 0 || len(u.Policies) != 0 {
		t.Errorf("the peer engine got further than expected: %+v", u)
	}
	// The same happens by itself to a lease that runs out; Vault goes on trying
	// for ten minutes and then calls the lease irrevocable.
	expired := m.issue("stuck-short")
	eventually(t, 3*time.Minute, "Vault fails to revoke the expired lease", func() bool {
		return strings.Contains(v.output.String(), "failed to revoke lease: lease_id="+expired.LeaseID)
	})
	m.wantLease(expired, true)

	// Ours.
	m.registerOurs()
	m.wantVersion(peerVersion) // registered is not yet running
	m.change(pluginVersion)
	m.wantAnswers(before)

	m.wantIdentity(session, ":assumed-role/deploy/")
	m.wantIdentity(user, ":user/")
	m.wantRenewed(user, 10*time.Minute)
	m.wantRenewed(keptUser, 0)
	m.wantNotRenewed(session)
	for _, lease := range []*api.Secret{session, user, remote, stuck, expired} {
		m.revoke(lease)
	}
	v.run(t, "lease", "revoke", "-sync", "-prefix", mount+"/creds/stuck") // as for many at once
	m.wantLease(untouched, false)
	m.wantUsers(keptUser, backUser)

	// Leases of ours, of the kinds that the peer engine knows and of others.
	v.write(t, mount+"/role/private", map[string]any{"inline_policies": "[" + policyJSON + "]", "policy_per_lease": true, "ttl": "10m"})
	v.write(t, mount+"/role/grouped", map[string]any{"inline_policies": "[" + policyJSON + "]", "ram_groups": "readers"})
	v.write(t, mount+"/role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + policyJSON + "]"})
	spokes := spokesSeed(1).Accounts[1:]
	if err := cloud.Seed(alisim.Seed{Accounts: append(spokes, alisim.Account{ID: alisim.DefaultAccountID, ResourceGroups: []string{"rg-1"}})}); err != nil {
		t.Fatal(err)
	}
	const inGroup, inAccount = "name:AliyunOSSReadOnlyAccess,type:System,resource_group:rg-1", "name:AliyunECSReadOnlyAccess,type:System"
	v.write(t, mount+"/role/regional", map[string]any{"remote_policies": []string{inGroup, inAccount}})
	v.write(t, mount+"/role/regional-inline", map[string]any{"inline_policies": "[" + policyJSON + "]", "resource_group": "rg-1"})
	regional, regionalInline := m.issue("regional"), m.issue("regional-inline")
	v.run(t, "delete", mount+"/role/regional-inline") // before going back, as the page says; the other is to show why
	v.write(t, mount+"/role/people", peopleRole())
	v.write(t, mount+"/role/people-with-key", map[string]any{"inline_policies": "[" + policyJSON + "]", "console_login": true, "access_key": true})
	person, personWithKey := m.issue("people"), m.issue("people-with-key")
	v.run(t, "delete", mount+"/role/people") // before going back
	v.run(t, "delete", mount+"/role/people-with-key")
	m.seed.Roles = cloud.Inventory().Roles // the RAM role of the other account is not ours
	v.write(t, mount+"/role/spoke", map[string]any{
		"remote_policies": []string{inAccount}, "assume_role_arn": "acs:ram::" + spokes[0].ID + ":role/vault", "assume_role_external_id": spokeExternalID,
	})
	inSpoke := m.issue("spoke")
	ourSession := m.issue("deploy")
	shared, private, grouped, ramRole := m.issue("ci"), m.issue("private"), m.issue("grouped"), m.issue("batch")
	sharedPolicy := m.policyOf(shared)

	// Back.
	m.change(peerVersion)
	m.wantAnswers(before)
	m.wantIdentity(ourSession, ":assumed-role/deploy/")
	m.wantIdentity(shared, ":user/")
	m.wantIdentity(ramRole, ":assumed-role/vault-")
	m.wantRenewed(shared, 10*time.Minute)
	m.wantRenewed(private, 10*time.Minute)
	m.wantRenewed(backUser, 10*time.Minute)
	for _, lease := range []*api.Secret{ourSession, backUser} {
		m.revoke(lease)
	}
	policies := len(leftovers(m.seed, cloud.Inventory()).Policies)
	m.revoke(private)
	if n := len(leftovers(m.seed, cloud.Inventory()).Policies); n != policies-1 {
		t.Errorf("with the lease of policy_per_lease %d policies went, want 1", policies-n)
	}
	// It detaches a shared policy and leaves it: it may be somebody else's.
	m.revoke(shared)
	if p := m.policy(sharedPolicy); p == nil {
		t.Errorf("the peer engine deleted the policy %s that other leases share", sharedPolicy)
	}
	// What it does not know it does not revoke; nor does it lose the lease.
	m.wantStuck(grouped, "DeleteConflict.User.Group")
	m.wantStuck(ramRole, "unknown role type: ram_role")
	for _, lease := range []*api.Secret{regional, regionalInline} {
		m.wantStuck(lease, "DeleteConflict.User.Policy")
		if u := m.userOf(lease); len(u.AccessKeys) != 0 || len(u.Policies) != 1 || u.Policies[0].ResourceGroup != "rg-1" {
			t.Errorf("of a lease in a resource group the peer engine has left %+v, want a user without a key", u)
		}
	}
	for _, lease := range []*api.Secret{person, personWithKey} {
		m.wantStuck(lease, "DeleteConflict.User.LoginProfile")
		if u := m.userOf(lease); len(u.AccessKeys) != 0 || len(u.Policies) != 0 {
			t.Errorf("of a lease with a login the peer engine has left %+v, want a user with nothing but that", u)
		}
		if got := signIn(cloud, lease); got != alisim.SignInDone {
			t.Errorf("the page says that people can still sign in, and the sign-in page says %s", got)
		}
	}
	// Nor does it give in the whole account what counts in a resource group.
	elsewhere := m.issue("regional")
	if u := m.userOf(elsewhere); len(u.Policies) != 1 || u.Policies[0] != (alisim.PolicyLabel{Type: "System", Name: "AliyunECSReadOnlyAccess"}) {
		t.Errorf("the peer engine issues of a role in a resource group %+v", u)
	}
	m.revoke(elsewhere)
	// Nor in the mount's account what counts in another, whose RAM users it cannot remove.
	m.wantStuck(inSpoke, "EntityNotExist.User")
	if u := m.userOf(inSpoke); u == nil || len(u.AccessKeys) != 1 {
		t.Errorf("of a lease in another account the peer engine has left %+v, want a user with its key", u)
	}
	here := m.issue("spoke")
	if u := m.userOf(here); u.AccountID != alisim.DefaultAccountID || len(u.Policies) != 0 {
		t.Errorf("the peer engine issues of a role in another account %+v", u)
	}
	m.revoke(here)
	issued := m.issue("ci")
	m.wantRenewed(issued, 10*time.Minute)
	m.revoke(issued)
	m.issue("deploy")
	m.wantUsers(keptUser, grouped, regional, regionalInline, person, personWithKey, inSpoke)

	// And ours again, which heals that, too.
	m.change(pluginVersion)
	m.wantAnswers(before)
	for _, lease := range []*api.Secret{grouped, ramRole, regional, regionalInline, person, personWithKey, inSpoke, keptUser, keptSession} {
		m.revoke(lease)
	}
	if left := leftovers(m.seed, cloud.Inventory()); !reflect.DeepEqual(left, ours{Policies: []string{sharedPolicy}}) {
		t.Errorf("before tidy RAM holds %v, want the policy %s", left, sharedPolicy)
	}
	fmt.Printf("TestUpgradeAndBack: roles %d leases %d changes of engine %d\n", len(peerRoles), m.issued, m.changes)
	// The index of ours still names the user whose lease the peer engine
	// revoked: tidy finds that it has gone, and takes its policy away.
	var tidied map[string]any
	eventually(t, 5*time.Minute, "tidy removes the policy that nobody uses", func() bool {
		dry := v.write(t, mount+"/tidy", map[string]any{"dry_run": true}).Data
		if len(dry["policies"].([]any)) == 0 {
			return false // too young
		}
		if m.policy(sharedPolicy) == nil {
			t.Error("the dry run removed it")
		}
		tidied = v.write(t, mount+"/tidy", nil).Data
		return true
	})
	if !reflect.DeepEqual(tidied["policies"], []any{sharedPolicy}) || len(tidied["users"].([]any))+len(tidied["roles"].([]any))+len(tidied["failed"].([]any)) != 0 {
		t.Errorf("tidy: %v", tidied)
	}
	if got := cloud.Inventory(); !reflect.DeepEqual(leftovers(m.seed, got), ours{}) || len(got.Roles) != len(m.seed.Roles) {
		t.Errorf("at the end RAM holds %v and %d roles", leftovers(m.seed, got), len(got.Roles))
	}
}

// upgradedMount is the mount whose engine changes.
type upgradedMount struct {
	*vaultServer
	t     *testing.T
	cloud *alisim.Server
	ca    string
	seed  alisim.Inventory
	users map[string]string // lease to the RAM user that was made for it
	flags []string          // of the registration: what leads a foreign client to the cloud

	issued, changes int
}

// startPeerMount starts the cloud and Vault with the peer engine, as Vault has
// it built in, and writes its config.
func startPeerMount(t *testing.T) *upgradedMount {
	t.Helper()
	cloud := startCloud(t)
	m := &upgradedMount{vaultServer: startVault(t), t: t, cloud: cloud, ca: writeCA(t, cloud), seed: cloud.Inventory(), users: map[string]string{}}
	for _, variable := range foreignEnviron(cloud, m.ca) {
		m.flags = append(m.flags, "-env="+variable)
	}
	m.registerFile(t, mount, "peer", need(t, programs.peer), peerVersion, m.flags...)
	m.run(t, "secrets", "enable", "-path="+mount, "-plugin-version="+peerVersion, mount)
	m.wantVersion(peerVersion)
	m.write(t, mount+"/config", map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret})
	return m
}

// registerOurs registers the engine as a higher version of what the mount runs.
func (m *upgradedMount) registerOurs() {
	m.t.Helper()
	m.registerFile(m.t, mount, "ours", need(m.t, programs.plugin), pluginVersion, m.flags...)
}

// change makes the mount run another version, as the documentation tells
// operators to.
func (m *upgradedMount) change(version string) {
	m.t.Helper()
	m.run(m.t, "secrets", "tune", "-plugin-version="+version, mount+"/")
	// vault plugin reload -mounts of Vault 1.21 calls a path that does not exist.
	m.run(m.t, "write", "sys/plugins/reload/backend", "mounts="+mount+"/")
	m.wantVersion(version)
	m.changes++
}

func (m *upgradedMount) wantVersion(version string) {
	m.t.Helper()
	if got := m.vaultServer.read(m.t, "sys/mounts/"+mount).Data["running_plugin_version"]; got != version {
		m.t.Fatalf("the mount runs %v, want %s", got, version)
	}
}

// answers are what config, the list and the roles of peerRoles read.
func (m *upgradedMount) answers() map[string]map[string]any {
	m.t.Helper()
	list, err := m.api.Logical().ListWithContext(m.t.Context(), mount+"/role")
	if err != nil || list == nil {
		m.t.Fatal(list, err)
	}
	// Roles that only ours has been given since are not of interest.
	keys := slices.DeleteFunc(list.Data["keys"].([]any), func(name any) bool { return peerRoles[name.(string)] == nil })
	answers := map[string]map[string]any{
		"config": m.vaultServer.read(m.t, mount+"/config").Data,
		"role/":  {"keys": keys},
	}
	for name := range peerRoles {
		answers["role/"+name] = m.vaultServer.read(m.t, mount+"/role/"+name).Data
	}
	return answers
}

// wantAnswers wants every key of the answers as it was; further keys may be there.
func (m *upgradedMount) wantAnswers(want map[string]map[string]any) {
	m.t.Helper()
	got := m.answers()
	for path, keys := range want {
		for key, value := range keys {
			if !reflect.DeepEqual(got[path][key], value) {
				m.t.Errorf("%s: %s is %v, want %v", path, key, got[path][key], value)
			}
		}
	}
}

func (m *upgradedMount) issue(role string) *api.Secret {
	m.t.Helper()
	secret := m.vaultServer.read(m.t, mount+"/creds/"+role)
	m.wantLease(secret, true)
	m.issued++
	for _, u := range m.cloud.Inventory().Users {
		if slices.ContainsFunc(u.AccessKeys, func(k alisim.KeyState) bool { return k.ID == secret.Data["access_key"] }) || u.Name == secret.Data["username"] {
			m.users[secret.LeaseID] = u.Name
		}
	}
	return secret
}

// userOf is the RAM user that was made for the lease; nil when there is none.
func (m *upgradedMount) userOf(lease *api.Secret) *alisim.UserState {
	for _, u := range m.cloud.Inventory().Users {
		if u.Name == m.users[lease.LeaseID] {
			return &u
		}
	}
	return nil
}

// wantUsers wants the users of these leases in RAM, and no others.
func (m *upgradedMount) wantUsers(leases ...*api.Secret) {
	m.t.Helper()
	var want []string
	for _, lease := range leases {
		want = append(want, m.users[lease.LeaseID])
	}
	got := leftovers(m.seed, m.cloud.Inventory()).Users
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.t.Errorf("RAM holds the users %v, want %v", got, want)
	}
}

// policyOf is the one custom policy of the lease's user.
func (m *upgradedMount) policyOf(lease *api.Secret) string {
	m.t.Helper()
	var custom []string
	for _, p := range m.userOf(lease).Policies {
		if p.Type == "Custom" {
			custom = append(custom, p.Name)
		}
	}
	if len(custom) != 1 {
		m.t.Fatalf("the user of %s has the custom policies %v, want one", lease.LeaseID, custom)
	}
	return custom[0]
}

func (m *upgradedMount) policy(name string) *alisim.PolicyState {
	for _, p := range m.cloud.Inventory().Policies {
		if p.Name == name {
			return &p
		}
	}
	return nil
}

// wantLease wants Vault to know of the lease, or not.
func (m *upgradedMount) wantLease(lease *api.Secret, want bool) {
	m.t.Helper()
	_, err := m.api.Sys().LookupWithContext(m.t.Context(), lease.LeaseID)
	var refusal *api.ResponseError
	if err != nil && !(errors.As(err, &refusal) && refusal.StatusCode == http.StatusBadRequest) {
		m.t.Fatal(err)
	}
	if got := err == nil; got != want {
		m.t.Errorf("Vault knows of the lease %s: %t, want %t", lease.LeaseID, got, want)
	}
}

// revoke revokes the lease, after which Vault knows no more of it and RAM has
// no user with its key.
func (m *upgradedMount) revoke(lease *api.Secret) {
	m.t.Helper()
	m.run(m.t, "lease", "revoke", "-sync", lease.LeaseID)
	m.wantLease(lease, false)
	if u := m.userOf(lease); u != nil {
		m.t.Errorf("the lease %s is revoked and the user %s is there", lease.LeaseID, u.Name)
	}
}

// wantStuck wants a revocation to fail, and Vault to keep the lease.
func (m *upgradedMount) wantStuck(lease *api.Secret, says string) {
	m.t.Helper()
	result := m.try(m.t, "lease", "revoke", "-sync", lease.LeaseID)
	if result.code == 0 || !strings.Contains(result.stderr, says) {
		m.t.Errorf("revoking %s: exit status %d, %q; want a failure that says %q", lease.LeaseID, result.code, result.stderr, says)
	}
	m.wantLease(lease, true)
}

func (m *upgradedMount) wantRenewed(lease *api.Secret, ttl time.Duration) {
	m.t.Helper()
	renewed, err := m.api.Sys().RenewWithContext(m.t.Context(), lease.LeaseID, 0)
	if err != nil {
		m.t.Errorf("renewing %s: %v", lease.LeaseID, err)
		return
	}
	if got := time.Duration(renewed.LeaseDuration) * time.Second; ttl != 0 && got != ttl {
		m.t.Errorf("renewed %s to %v, want %v", lease.LeaseID, got, ttl)
	}
}

func (m *upgradedMount) wantNotRenewed(lease *api.Secret) {
	m.t.Helper()
	if _, err := m.api.Sys().RenewWithContext(m.t.Context(), lease.LeaseID, 0); err == nil {
		m.t.Errorf("the session of %s was renewed", lease.LeaseID)
	}
}

func (m *upgradedMount) wantIdentity(lease *api.Secret, in string) {
	m.t.Helper()
	if arn, err := whoami(m.t, m.cloud, m.ca, keysOf(lease.Data)); err != nil || !strings.Contains(arn, in) {
		m.t.Errorf("the keys of %s are those of %q, %v", lease.LeaseID, arn, err)
	}
}
