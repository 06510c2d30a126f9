package backend_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// The built-in engine, after a way back to it, revokes a lease of ours: it
// deletes the user and leaves the shared policy. The index does not hear of it.
func TestTidyOfWhatTheBuiltInEngineRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]"})
		before := m.inventory()
		lease := m.must(logical.ReadOperation, "creds/ci", nil).Secret.InternalData
		user, policy := lease["username"].(string), lease["shared_policies"].([]any)[0].(string)
		time.Sleep(11 * time.Minute)

		// An administrator took the mark from the user, who is there all the same.
		m.admin("UpdateUser", map[string]string{"UserName": user, "NewComments": "somebody else's"})
		held := m.inventory()
		if got := m.must(logical.UpdateOperation, "tidy", nil).Data; len(got["policies"].([]any)) != 0 {
			t.Errorf("tidy of a live lease: %v", got)
		}
		m.unchanged(held)

		m.admin("DeleteAccessKey", map[string]string{"UserName": user, "UserAccessKeyId": lease["access_key_id"].(string)})
		m.admin("DetachPolicyFromUser", map[string]string{"UserName": user, "PolicyName": policy, "PolicyType": "Custom"})
		m.admin("DeleteUser", map[string]string{"UserName": user})
		for _, dry := range []bool{true, false} {
			got := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": dry}).Data
			if !reflect.DeepEqual(got["policies"], []any{policy}) || len(got["users"].([]any))+len(got["failed"].([]any)) != 0 {
				t.Errorf("tidy, dry %t: %v", dry, got)
			}
			if entry, _ := m.storage.Get(t.Context(), issuedPrefix+user); (entry != nil) != dry {
				t.Errorf("tidy, dry %t: the index has the entry %v", dry, entry)
			}
		}
		m.unchanged(before)
	})
}

// Another mount, the same mount in another cluster, the built-in engine and
// people all have users in the account, some with comments much like ours.
func TestTidyLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		role := map[string]any{"inline_policies": "[" + allowOSS + "]"}
		m.must(logical.UpdateOperation, "role/ci", role)
		m.must(logical.ReadOperation, "creds/ci", nil)
		var tag string
		m.stored("tag", &tag)

		// What this mount may not touch.
		other := newTimedMountIn(t, m.sim) // of the same id, as in a replicated cluster
		other.must(logical.UpdateOperation, "role/ci", role)
		other.must(logical.ReadOperation, "creds/ci", nil)
		for name, comments := range map[string]string{
			"vault-token-ci-0123456789abcdefghij": "", "alice": "vault", "bob": tag + "x ci", "carol": "once " + tag, "dave": tag[:len(tag)-1],
		} {
			m.admin("CreateUser", map[string]string{"UserName": name, "Comments": comments})
			m.admin("CreatePolicy", map[string]string{"PolicyName": "of-" + name, "PolicyDocument": allowOSS, "Description": comments})
		}
		before := m.inventory()

		// And what it may: a user without a lease, and a policy without a user.
		lost := m.must(logical.ReadOperation, "creds/ci", nil)
		m.forget(lost.Secret)
		m.must(logical.UpdateOperation, "role/cd", map[string]any{"inline_policies": "[" + allowAll + "]"})
		taken := m.must(logical.ReadOperation, "creds/cd", nil).Secret // an administrator deletes its user
		policy := sharedPolicy(taken)
		m.admin("DetachPolicyFromUser", map[string]string{"UserName": nameOf(taken), "PolicyName": policy, "PolicyType": "Custom"})
		m.admin("DeleteAccessKey", map[string]string{"UserName": nameOf(taken), "UserAccessKeyId": taken.InternalData["access_key_id"].(string)})
		m.admin("DeleteUser", map[string]string{"UserName": nameOf(taken)})
		m.forget(taken)
		m.restart()
		time.Sleep(11 * time.Minute)
		for _, dry := range []bool{true, false} {
			got := m.must(logical.UpdateOperation, "tidy", map[string]any{"dry_run": dry}).Data
			if !reflect.DeepEqual(got["users"], []any{lost.Data["username"]}) || !reflect.DeepEqual(got["policies"], []any{policy}) || len(got["failed"].([]any)) != 0 {
				t.Errorf("tidy, dry %t: %v", dry, got)
			}
		}
		m.unchanged(before)
	})
}
