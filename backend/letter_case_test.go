package backend_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
)

// attackUpperCaseOfARole is denied creds/admin and role/admin by a policy of
// Vault, and asks for them in other letters.
func attackUpperCaseOfARole(t *testing.T) {
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/admin", map[string]any{"ram_groups": "readers", "ttl": "15m"})
	// As in the built-in engine, where nobody asks for anything else.
	lease := m.must(logical.ReadOperation, "creds/ADMIN", nil).Secret
	m.must(logical.ReadOperation, "role/Admin", nil)

	m.must(logical.UpdateOperation, "config", map[string]any{"strict_names": true})
	before := m.inventory()
	for _, name := range []string{"ADMIN", "Admin", "admiN"} {
		m.refused(logical.ReadOperation, "creds/"+name, nil, "use creds/admin")
		m.refused(logical.UpdateOperation, "creds/"+name, nil, "use creds/admin")
		m.refused(logical.UpdateOperation, "role/"+name, map[string]any{"ttl": "1h"}, "use role/admin")
		m.refused(logical.ReadOperation, "role/"+name, nil, "use role/admin")
		m.refused(logical.DeleteOperation, "role/"+name, nil, "use role/admin")
		m.refused(logical.ReadOperation, "role/"+name+"/check", nil, "use role/admin/check")
	}
	m.unchanged(before)
	m.must(logical.ReadOperation, "creds/admin", nil)
	if got := m.must(logical.ListOperation, "role/", nil).Data["keys"]; len(got.([]any)) != 1 {
		t.Errorf("the roles are %v", got)
	}
	// A lease has the path that was asked for, and ends all the same.
	for _, op := range []logical.Operation{logical.RenewOperation, logical.RevokeOperation} {
		resp, err := m.HandleRequest(context.Background(), &logical.Request{Operation: op, Path: "creds/ADMIN", Secret: lease})
		if err != nil || resp.IsError() {
			t.Errorf("%s: %v %v", op, resp, err)
		}
	}
}

// attackUpperCaseOfAStaticRole does the same where no mount of the built-in engine
// has a path: no setting is needed.
func attackUpperCaseOfAStaticRole(t *testing.T) {
	m := newMount(t)
	m.admin("CreateUser", map[string]string{"UserName": "app"})
	m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
	m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": roleARN})
	for path, ops := range map[string][]logical.Operation{
		"static-role/App":   {logical.ReadOperation, logical.UpdateOperation, logical.DeleteOperation},
		"static-cred/APP":   {logical.ReadOperation},
		"rotate-role/aPP":   {logical.UpdateOperation},
		"role/Deploy/check": {logical.ReadOperation, logical.UpdateOperation},
	} {
		for _, op := range ops {
			m.refused(op, path, nil, "use "+strings.ToLower(path))
			m.must(logical.ReadOperation, strings.ToLower(strings.Replace(path, "rotate-role", "static-cred", 1)), nil)
		}
	}
}
