package backend_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// fieldRefusal is the body of a refusal, in the order of a service.
type fieldRefusal struct {
	XMLName                                     xml.Name `json:"-" xml:"Error"`
	RequestId, HostId, Code, Message, Recommend string   //nolint:revive // the service's spelling
}

// fieldForms are what differs between services and between gateways, and must
// make no difference to the client, as long as something shows that it is the
// service that answers.
var fieldForms = []struct {
	name   string
	change func(a *fieldAnswer, r fieldRefusal)
}{
	{"XML", func(a *fieldAnswer, r fieldRefusal) {
		raw, _ := xml.Marshal(r) // strings always encode
		a.body = xml.Header + string(raw)
	}},
	{"members in another order", func(a *fieldAnswer, r fieldRefusal) {
		a.body = fmt.Sprintf(`{"Recommend":%s,"Message":%s,"Code":%s,"HostId":%s,"RequestId":%s}`,
			quoted(r.Recommend), quoted(r.Message), quoted(r.Code), quoted(r.HostId), quoted(r.RequestId))
	}},
	{"more members", func(a *fieldAnswer, r fieldRefusal) {
		a.body = strings.TrimSuffix(strings.TrimSpace(a.body), "}") + `,"Success":false,"AccessDeniedDetail":{"AuthAction":"ram:CreateUser",` +
			`"NoPermissionType":"ImplicitDeny","EncodedDiagnosticMessage":"AQEAAAAAZ0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789"}}`
	}},
	{"RequestId in the header alone", func(a *fieldAnswer, r fieldRefusal) {
		a.body = fmt.Sprintf(`{"Code":%s,"Message":%s}`, quoted(r.Code), quoted(r.Message))
		a.Headers = map[string]string{"x-acs-request-id": r.RequestId}
	}},
	{"HostId in the place of RequestId", func(a *fieldAnswer, r fieldRefusal) {
		a.body, a.requestID = fmt.Sprintf(`{"HostId":%s,"Code":%s,"Message":%s}`, quoted(r.HostId), quoted(r.Code), quoted(r.Message)), ""
	}},
	{"neither RequestId nor HostId", func(a *fieldAnswer, r fieldRefusal) {
		a.body, a.requestID = fmt.Sprintf(`{"Code":%s,"Message":%s}`, quoted(r.Code), quoted(r.Message)), ""
	}},
	{"another status", func(a *fieldAnswer, _ fieldRefusal) {
		switch {
		case a.status >= 500 && a.Code != "ServiceUnavailable": // of InternalError the status is what counts
		case a.status == http.StatusBadRequest:
			a.status = http.StatusForbidden
		default:
			a.status = http.StatusBadRequest
		}
	}},
}

func quoted(s string) string {
	raw, _ := json.Marshal(s) // a string always encodes
	return string(raw)
}

// TestFieldAnswersInOtherForms sends the refusals of answers.jsonl as other
// services would put them. The client makes the same of them, but where nothing
// shows that it is a service: then the call may have done anything.
func TestFieldAnswersInOtherForms(t *testing.T) {
	t.Parallel()
	expected := expectationsByRow(t)
	sim, err := alisim.Start(alisim.Options{NoListen: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	cloud := newFieldCloud(t, sim, fieldAnswer{})
	cloud.inert = true
	api, err := openapi.New(openapi.Options{
		CACertificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cloud.tls.Certificate().Raw}), MaxRetries: -1,
		ConnectTimeout: time.Minute, Timeout: time.Minute, // see simConfig
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.CloseIdleConnections)
	sent := 0
	for _, a := range fieldAnswers(t) {
		want := expected[a.row].class
		var r fieldRefusal
		if a.Code == "" || !a.isRPC() || json.Unmarshal([]byte(a.body), &r) != nil {
			continue
		}
		for _, form := range fieldForms {
			a := a
			form.change(&a, r)
			cloud.answer = a
			cloud.arm("AssumeRole", false)
			err := api.Do(context.Background(), openapi.Request{
				Endpoint: cloud.tls.URL, Action: "AssumeRole", Version: "2015-04-01",
				Keys: openapi.Keys{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret},
			}, nil)
			want := want
			namesHost := strings.Contains(a.body, `"HostId":`) || strings.Contains(a.body, "<HostId>")
			if a.requestID == "" && (!namesHost || strings.HasPrefix(a.Code, "Entity")) {
				rate := a.status == http.StatusTooManyRequests
				want, a.Code = class{name: "somebody else's", throttled: rate, temporary: rate || a.status >= 500, ambiguous: true}, ""
			}
			var refused *openapi.Error
			if !errors.As(err, &refused) || refused.Code != a.Code || refused.Status != a.status || refused.RequestID != a.requestID {
				t.Errorf("row %d, %s: wanted Code %q, HTTP %d, RequestId %q, got %v", a.row, form.name, a.Code, a.status, a.requestID, err)
			}
			if got := classOf(err); got != want.String() {
				t.Errorf("row %d, %s: wanted %s (%v), got %s: %v", a.row, form.name, want.name, want, got, err)
			}
			for _, secret := range a.secrets() {
				if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
					t.Errorf("row %d, %s: %q is told: %v", a.row, form.name, secret, err)
				}
			}
			sent++
		}
	}
	if sent < 600 {
		t.Errorf("only %d answers", sent)
	}
}
