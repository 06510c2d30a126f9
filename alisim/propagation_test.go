package alisim

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// What was made is not there yet, and what was taken away still is.
func TestPropagation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.Propagation = Propagation{
			User: 2 * time.Second, Group: 2 * time.Second, Role: 2 * time.Second, Policy: 2 * time.Second,
			Attachment: 2 * time.Second, AccessKey: 5 * time.Second,
		}
		c := start(t, Options{NoListen: true, Seed: world(), Settings: &settings})
		attach := params{"PolicyType": "Custom", "PolicyName": "p", "UserName": "u", "RoleName": "r"}
		c.run(
			admin(),
			step{"CreateUser", params{"UserName": "u"}, ""},
			step{"CreateUser", params{"UserName": "u"}, "EntityAlreadyExists.User"},
			step{"GetUser", params{"UserName": "u"}, "EntityNotExist.User"},
			step{"CreateAccessKey", params{"UserName": "u"}, "EntityNotExist.User"},
			step{"DeleteUser", params{"UserName": "u"}, "EntityNotExist.User"},
			step{"CreatePolicy", params{"PolicyName": "p", "PolicyDocument": allowAll}, ""},
			step{"GetPolicy", attach, "EntityNotExist.Policy"},
			step{"CreateRole", params{"RoleName": "r", "AssumeRolePolicyDocument": string(TrustAccount("1"))}, ""},
			step{"AssumeRole", params{"RoleArn": arn("r"), "RoleSessionName": "s1"}, "EntityNotExist.Role"},
			step{"GetRole", params{"RoleName": "r"}, "EntityNotExist.Role"},
			step{"CreateGroup", params{"GroupName": "g"}, ""},
			step{"GetGroup", params{"GroupName": "g"}, "EntityNotExist.Group"},
		)
		for action, path := range map[string]string{"ListUsers": "Users.User", "ListRoles": "Roles.Role", "ListGroups": "Groups.Group"} {
			for _, o := range c.must(admin(), action, nil).list(path) {
				if name := o["UserName"]; name == "u" || o["RoleName"] == "r" || o["GroupName"] == "g" {
					t.Errorf("%s shows what is not there yet", action)
				}
			}
		}
		time.Sleep(2 * time.Second)
		c.run(
			admin(),
			step{"GetUser", params{"UserName": "u"}, ""},
			step{"GetRole", params{"RoleName": "r"}, ""},
			step{"AttachPolicyToUser", attach, ""},
			step{"AttachPolicyToRole", attach, ""},
			step{"AddUserToGroup", params{"UserName": "u", "GroupName": "g"}, ""},
		)
		created := c.must(admin(), "CreateAccessKey", params{"UserName": "u"})
		k := keys{id: created.text("AccessKey.AccessKeyId"), secret: created.text("AccessKey.AccessKeySecret")}
		session := c.must(admin(), "AssumeRole", params{"RoleArn": arn("r"), "RoleSessionName": "s1"}).keys()
		c.run(session, step{"ListUsers", nil, "NoPermission"}) // the attachment does not grant yet
		c.run(k, step{"ListUsers", nil, "InvalidAccessKeyId.NotFound"})
		time.Sleep(2 * time.Second)
		c.run(session, step{"ListUsers", nil, ""})
		c.run(k, step{"ListUsers", nil, "InvalidAccessKeyId.NotFound"})
		time.Sleep(3 * time.Second)
		c.run(k, step{"ListUsers", nil, ""})

		// Taking away.
		c.run(
			admin(),
			step{"UpdateAccessKey", params{"UserName": "u", "UserAccessKeyId": k.id, "Status": "Inactive"}, ""},
			step{"DetachPolicyFromRole", attach, ""},
			step{"DeleteRole", params{"RoleName": "r"}, "DeleteConflict.Role.Policy"},
			step{"RemoveUserFromGroup", params{"UserName": "u", "GroupName": "g"}, ""},
			step{"DeleteGroup", params{"GroupName": "g"}, "DeleteConflict.Group.User"},
		)
		c.run(session, step{"ListUsers", nil, ""})
		c.run(k, step{"ListUsers", nil, ""})
		time.Sleep(2 * time.Second)
		c.run(session, step{"ListUsers", nil, "NoPermission"})
		c.run(
			admin(),
			step{"DeleteRole", params{"RoleName": "r"}, ""},
			step{"DeleteGroup", params{"GroupName": "g"}, ""},
		)
		c.run(session, step{"GetCallerIdentity", nil, ""})
		time.Sleep(2 * time.Second)
		c.run(session, step{"GetCallerIdentity", nil, "InvalidSecurityToken.Expired"})
		time.Sleep(time.Second)
		c.run(k, step{"ListUsers", nil, "InvalidAccessKeyId.Inactive"})
		c.run(admin(), step{"UpdateAccessKey", params{"UserName": "u", "UserAccessKeyId": k.id, "Status": "Active"}, ""})
		time.Sleep(5 * time.Second)
		c.run(admin(), step{"DeleteAccessKey", params{"UserName": "u", "UserAccessKeyId": k.id}, ""})
		c.run(k, step{"ListUsers", nil, ""})
		time.Sleep(5 * time.Second)
		c.run(k, step{"ListUsers", nil, "InvalidAccessKeyId.NotFound"})
		c.run(
			admin(),
			step{"DetachPolicyFromUser", attach, ""},
			step{"DeleteUser", params{"UserName": "u"}, "DeleteConflict.User.Policy"},
			step{"DeletePolicy", params{"PolicyName": "p"}, "DeleteConflict.Policy.User"},
		)
		time.Sleep(2 * time.Second)
		c.run(
			admin(),
			step{"DeleteUser", params{"UserName": "u"}, ""},
			step{"DeletePolicy", params{"PolicyName": "p"}, ""},
		)
	})
}

// The in-process transport lives on the clock of the bubble it is called in.
func TestTransportClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := Start(Options{NoListen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Now().Year() != 2000 {
			t.Errorf("it is %v", s.Now())
		}
		client := &http.Client{Transport: s.Transport(), Timeout: time.Second}
		if out := send(t, client, v3(t.Context(), vaultKeys, "GetCallerIdentity", nil)); out.status != 200 {
			t.Errorf("%v", out.body)
		}
		s.SetLatency(time.Minute)
		if _, err := client.Do(v3(t.Context(), vaultKeys, "GetCallerIdentity", nil)); err == nil {
			t.Error("the client's timeout does not reach the simulator")
		}
		if _, err := client.Get("https://example.com/"); err == nil {
			t.Error("reaches other hosts")
		}
	})
}
