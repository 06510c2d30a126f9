package credentialsgo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	rpc "github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/aliyun/credentials-go/credentials"
)

// odd is a Credential that does what it is told to.
type odd struct {
	credentials.Credential
	get func() (*credentials.CredentialModel, error)
}

func (o odd) GetCredential() (*credentials.CredentialModel, error) { return o.get() }

// TestFrom assumes a role of the cloud with a Credential of credentials-go.
func TestFrom(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	config := new(credentials.Config).SetType("access_key").SetAccessKeyId(alisim.DefaultAccessKeyID).SetAccessKeySecret(alisim.DefaultAccessKeySecret)
	theirs, err := credentials.NewCredential(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rpc.New(rpc.Options{HTTP: cloud.Client()})
	if err != nil {
		t.Fatal(err)
	}
	role, err := alicreds.NewRAMRoleARN(credentialsgo.From(theirs), alicreds.RAMRoleARNOptions{RoleARN: alisim.DefaultRoleARN, STSOptions: alicreds.STSOptions{Client: client}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := role.Retrieve(t.Context())
	if err != nil || got.RoleARN != alisim.DefaultRoleARN || !strings.HasPrefix(got.Source, "ram_role_arn/credentials-go/static_ak") {
		t.Errorf("got %s of %s, %v", got, got.RoleARN, err)
	}
}

func TestFromFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	empty := ""
	for name, tc := range map[string]struct {
		get  func() (*credentials.CredentialModel, error)
		want string
	}{
		"error": {func() (*credentials.CredentialModel, error) { return nil, broken }, "credentials-go: broken"},
		"panic": {func() (*credentials.CredentialModel, error) { panic("fake-secret") }, "credentials-go: the call panicked"},
		"nil":   {func() (*credentials.CredentialModel, error) { return nil, nil }, "credentials-go: it returned no credentials"},
		"empty": {func() (*credentials.CredentialModel, error) {
			return &credentials.CredentialModel{AccessKeyId: &empty}, nil
		}, "credentials-go: it returned no credentials"},
	} {
		_, err := credentialsgo.From(odd{get: tc.get}).Retrieve(t.Context())
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := credentialsgo.From(nil).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("nil: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	hangs := make(chan struct{})
	defer close(hangs)
	slow := credentialsgo.From(odd{get: func() (*credentials.CredentialModel, error) { <-hangs; return nil, nil }})
	if _, err := slow.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that has left: %v", err)
	}
	if text := fmt.Sprintf("%+v %#v", slow, slow); text != "credentials-go credentials-go" {
		t.Errorf("prints %s", text)
	}
}
