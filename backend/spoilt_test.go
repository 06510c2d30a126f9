package backend_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// spoilt is what an answer may be made into between the cloud and the engine, by a
// proxy that means well or by somebody who does not.
var spoilt = []string{
	"empty", "null", "object", "list", "html", "not_json", "huge", "stall", "pascal_case", "camel_case",
	"status:202", "status:204", "status:404", "status:429", "status:500", "redirect:http://127.0.0.1:1/",
	"remove:RequestId", `set:RequestId=null`, `set:RequestId=17`,
	`set:AccountId="99"`, `set:AccountId=null`, `set:Arn="acs:ram::99:user/\"]}"`, `set:Arn=""`,
	`set:AccessKey=null`, `set:AccessKey={"AccessKeyId":"LTAI5tSOMEBODYELSE"}`, `set:AccessKey={"AccessKeyId":"a","accesskeyid":"b","AccessKeySecret":"c"}`,
	`set:User=null`, `set:User={"UserName":"vault","CreateDate":"9999-12-31T23:59:59Z"}`, `set:Role={"RoleName":"deploy","Arn":"acs:ram::99:role/deploy"}`,
	`set:Credentials=null`, `set:Credentials={"AccessKeyId":17}`,
	`set:Credentials={"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c","Expiration":"9999-12-31T23:59:59Z"}`,
	`set:Credentials={"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c","Expiration":"2000-01-01T00:00:00Z"}`,
	`set:Credentials={"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c","Expiration":"0001-01-01T00:00:00Z"}`,
	`set:Credentials={"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c","Expiration":-1}`,
	`body:{"RequestId":"0","Code":"EntityNotExist.User","Message":"x"}`, `body:{"Code":"EntityNotExist.User","Message":"x"}`,
}

// Every answer that a whole life of a lease takes is spoilt in every way, once.
// Nothing may panic, no lease may last longer than the role says, and in the end
// nothing may be left.
func TestSpoiltAnswers(t *testing.T) {
	t.Parallel()
	roles := map[string]struct {
		role  map[string]any
		calls []string
	}{
		"ci": {
			map[string]any{"inline_policies": "[" + allowOSS + "]", "remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ram_groups": "readers", "ttl": "15m"},
			[]string{
				"GetCallerIdentity", "CreateUser", "CreatePolicy", "CreateAccessKey", "AttachPolicyToUser", "AddUserToGroup",
				"DeleteAccessKey", "DetachPolicyFromUser", "RemoveUserFromGroup", "DeleteUser", "DeletePolicy",
			},
		},
		"batch": {
			map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "ttl": "15m"},
			[]string{"GetCallerIdentity", "CreateRole", "CreatePolicy", "AttachPolicyToRole", "AssumeRole", "DetachPolicyFromRole", "DeleteRole"},
		},
		"deploy": {map[string]any{"role_arn": alisim.DefaultRoleARN, "ttl": "15m"}, []string{"AssumeRole"}},
	}
	var cases, answered, left atomic.Int32
	t.Run("all", func(t *testing.T) {
		for name, r := range roles {
			for _, action := range r.calls {
				if raceDetector && action != r.calls[0] && action != "AssumeRole" {
					continue
				}
				t.Run(name+" "+action, func(t *testing.T) {
					t.Parallel()
					for _, how := range spoilt {
						synctest.Test(t, func(t *testing.T) {
							cases.Add(1)
							m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
							m.must(logical.UpdateOperation, "role/"+name, r.role)
							before := m.holds()
							if err := m.sim.AddFault(alisim.Fault{Kind: alisim.FaultMalform, Malform: how, Action: action, Count: 1}); err != nil {
								t.Fatal(err)
							}
							if m.liveThrough(name) {
								answered.Add(1)
							}
							if after := m.holds(); after != before {
								left.Add(1)
								t.Errorf("%s: RAM and the storage hold\n%s\nand held\n%s", how, after, before)
							}
						})
					}
				})
			}
		}
	})
	fmt.Printf("TestSpoiltAnswers: cases %d, answered %d, left behind %d\n", cases.Load(), answered.Load(), left.Load())
	if cases.Load() < 100 {
		t.Errorf("only %d cases", cases.Load())
	}
}

// liveThrough issues, ends what was issued, and lets Vault roll back and repeat.
// It tells whether a lease was issued.
func (m *mount) liveThrough(role string) (issued bool) {
	m.t.Helper()
	resp, err := m.request(logical.ReadOperation, "creds/"+role, nil)
	issued = err == nil && !resp.IsError()
	if issued && resp.Secret.TTL > time.Hour {
		m.t.Errorf("a lease of %s", resp.Secret.TTL)
	}
	for range 10 {
		time.Sleep(time.Minute)
		if issued && m.ended(resp.Secret) {
			resp.Secret = nil
		}
		_, _ = m.rollBack() // what it cannot remove yet, the next does
		m.rest()
	}
	if issued && resp.Secret != nil {
		m.t.Errorf("the lease cannot be revoked")
	}
	return issued
}

func (m *mount) ended(lease *logical.Secret) bool {
	if lease == nil {
		return true
	}
	resp, err := m.revokeLease(lease)
	return err == nil && !resp.IsError()
}

// holds is what RAM and the storage hold, by name.
func (m *mount) holds() string {
	m.t.Helper()
	var names []string
	now := m.sim.Inventory()
	for _, u := range now.Users {
		names = append(names, fmt.Sprint("user ", u.Name, " ", len(u.AccessKeys)))
	}
	for _, r := range now.Roles {
		names = append(names, "role "+r.Name)
	}
	for _, p := range now.Policies {
		names = append(names, "policy "+p.Name)
	}
	for _, prefix := range []string{"wal/", issuedPrefix} {
		keys, err := m.storage.List(m.t.Context(), prefix)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, key := range keys {
			names = append(names, prefix+key)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}
