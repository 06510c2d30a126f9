package backend_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// The policies of docs/rotation.md are enough, and none of their actions is too
// many.
func TestRotationPolicies(t *testing.T) {
	t.Parallel()
	page := readPage(t, "../docs/rotation.md")
	for heading, rotate := range map[string]func(m *mount) (rotated bool){
		"RAM policy of the root key's rotation": func(m *mount) bool {
			m.must(logical.UpdateOperation, "config", map[string]any{"rotation_grace_period": "1m"})
			_, _ = m.request(logical.UpdateOperation, "config/rotate-root", nil)
			m.minutes(10)
			return !strings.Contains(m.keysOf("vault"), alisim.DefaultAccessKeyID)
		},
		"RAM policy of static roles": func(m *mount) bool {
			_, _ = m.request(logical.UpdateOperation, "static-role/x", map[string]any{
				"username": "legacy-app", "rotation_period": "24h", "access_key": "LTAI5tLEGACY", "grace_period": "1m",
			})
			m.minutes(70)
			return !strings.Contains(m.keysOf("legacy-app"), "LTAI5tLEGACY")
		},
	} {
		_, section, found := strings.Cut(page, "\n## "+heading+"\n")
		_, section, fenced := strings.Cut(section, "```json\n")
		policy, _, closed := strings.Cut(section, "```")
		if !found || !fenced || !closed {
			t.Fatalf("docs/rotation.md has no policy under %q", heading)
		}
		try := func(t *testing.T, policy string) (rotated bool) {
			synctest.Test(t, func(t *testing.T) {
				seed := seedWith(alisim.User{Name: "legacy-app", AccessKeys: []alisim.AccessKey{{ID: "LTAI5tLEGACY", Secret: "s"}}})
				a := &seed.Accounts[0]
				a.Policies = append(a.Policies, alisim.Policy{Name: "rotation", Document: alisim.Document(policy)})
				a.Users[0].Policies = []string{"rotation"}
				rotated = rotate(newTimedMount(t, alisim.DefaultSettings(), seed))
			})
			return rotated
		}
		t.Run(heading, func(t *testing.T) {
			if !try(t, policy) {
				t.Error("the policy is not enough")
			}
			for _, action := range []string{"ram:ListAccessKeys", "ram:CreateAccessKey", "ram:UpdateAccessKey", "ram:DeleteAccessKey"} {
				if !strings.Contains(policy, action) {
					t.Errorf("%s is missing", action)
				}
				if try(t, strings.Replace(policy, action, "ram:GetUser", 1)) {
					t.Errorf("%s is not needed", action)
				}
			}
		})
	}
}
