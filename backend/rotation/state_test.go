package rotation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/rotation"
)

// What is stored is what earlier versions have stored and read.
func TestStoredForm(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, test := range map[string]struct {
		stored any
		want   string
	}{
		"nothing": {rotation.State{}, `{}`},
		"everything": {
			rotation.State{
				AccountID: "1", UserName: "u", Retired: []string{"o"}, LastRotated: at, NextRotation: at, RequestedAt: at,
				Intent:   &rotation.Intent{Known: []string{"a"}, At: at},
				Pending:  &rotation.Pending{AccessKey: ram.AccessKey{ID: "p", Secret: "s", Status: "Active"}, MadeAt: at},
				Retiring: &rotation.Retiring{ID: "r", DisableAt: at, Disabled: true, DeleteAt: at},
				Failure:  &rotation.Failure{Reason: "why", At: at, Attempts: 2, RetryAt: at},
			},
			`{"account_id":"1","username":"u","intent":{"known":["a"],"at":"2026-01-02T03:04:05.000000006Z"},` +
				`"pending":{"access_key":"p","secret_key":"s","made_at":"2026-01-02T03:04:05.000000006Z"},` +
				`"retiring":{"access_key":"r","disable_at":"2026-01-02T03:04:05.000000006Z","disabled":true,"delete_at":"2026-01-02T03:04:05.000000006Z"},` +
				`"retired":["o"],"last_rotated":"2026-01-02T03:04:05.000000006Z","next_rotation":"2026-01-02T03:04:05.000000006Z",` +
				`"requested_at":"2026-01-02T03:04:05.000000006Z",` +
				`"failure":{"reason":"why","at":"2026-01-02T03:04:05.000000006Z","attempts":2,"retry_at":"2026-01-02T03:04:05.000000006Z"}}`,
		},
		"schedule": {
			rotation.Schedule{Period: time.Hour, Cron: "0 3 * * *", Window: time.Minute},
			`{"rotation_period":3600000000000,"rotation_schedule":"0 3 * * *","rotation_window":60000000000}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(test.stored)
			if err != nil || string(got) != test.want {
				t.Errorf("got  %s\nwant %s (%v)", got, test.want, err)
			}
		})
	}
}
