package alisim

import (
	"net/http"
	"strings"
	"testing"
)

func TestSessionOverSockets(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	who := c.must(vaultKeys, "GetCallerIdentity", nil)
	if got := who.text("Arn"); got != "acs:ram::1234567890123456:user/vault" {
		t.Errorf("arn %s", got)
	}
	out := c.must(vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "alice"})
	who = c.must(out.keys(), "GetCallerIdentity", nil)
	if got := who.text("Arn"); got != "acs:ram::1234567890123456:assumed-role/deploy/alice" {
		t.Errorf("arn %s", got)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		who = send(t, c.client, v1(t.Context(), method, out.keys(), "GetCallerIdentity", nil, nil))
		if who.text("IdentityType") != "AssumedRoleUser" {
			t.Errorf("V1 %s: %v", method, who.body)
		}
	}
	journal := c.Journal()
	if len(journal) != 5 {
		t.Fatalf("%d calls in the journal", len(journal))
	}
	if j := journal[1]; j.Action != "AssumeRole" || !j.Applied || j.Signature != "V3" || j.Connection == 0 || j.Params["RoleSessionName"] != "alice" {
		t.Errorf("journal entry %+v", j)
	}
	if j := journal[4]; j.Signature != "V1" || j.Status != 200 || strings.Contains(strings.Join(values(j.Params), " "), out.keys().token) {
		t.Errorf("journal entry %+v", j)
	}
	if sessions := c.Inventory().Sessions; len(sessions) != 1 || sessions[0].Name != "alice" {
		t.Errorf("sessions %+v", sessions)
	}
}

func values(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func TestUserLife(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	c.must(vaultKeys, "CreateUser", params{"UserName": "u"})
	c.must(vaultKeys, "CreatePolicy", params{"PolicyName": "p", "PolicyDocument": `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:GetUser","Resource":"acs:ram:*:*:user/u"}]}`})
	c.must(vaultKeys, "AttachPolicyToUser", params{"PolicyType": "Custom", "PolicyName": "p", "UserName": "u"})
	c.must(vaultKeys, "AddUserToGroup", params{"UserName": "u", "GroupName": "readers"})
	created := c.must(vaultKeys, "CreateAccessKey", params{"UserName": "u"})
	k := keys{id: created.text("AccessKey.AccessKeyId"), secret: created.text("AccessKey.AccessKeySecret")}
	c.must(k, "GetUser", params{"UserName": "u"})
	c.refused(k, "CreateUser", params{"UserName": "v"}, 403, "NoPermission")
	c.refused(vaultKeys, "DeleteUser", params{"UserName": "u"}, 409, "DeleteConflict.User.Group")
	c.must(vaultKeys, "RemoveUserFromGroup", params{"UserName": "u", "GroupName": "readers"})
	c.refused(vaultKeys, "DeleteUser", params{"UserName": "u"}, 409, "DeleteConflict.User.AccessKey")
	c.must(vaultKeys, "DeleteAccessKey", params{"UserName": "u", "UserAccessKeyId": k.id})
	c.refused(k, "GetUser", params{"UserName": "u"}, 404, "InvalidAccessKeyId.NotFound")
	c.refused(vaultKeys, "DeleteUser", params{"UserName": "u"}, 409, "DeleteConflict.User.Policy")
	c.must(vaultKeys, "DetachPolicyFromUser", params{"PolicyType": "Custom", "PolicyName": "p", "UserName": "u"})
	c.must(vaultKeys, "DeletePolicy", params{"PolicyName": "p"})
	c.must(vaultKeys, "DeleteUser", params{"UserName": "u"})
	inv := c.Inventory()
	if _, there := inv.User("u"); there || len(inv.Policies) != 0 || len(inv.Bin.Users) != 1 {
		t.Errorf("left behind: %+v", inv)
	}
}
