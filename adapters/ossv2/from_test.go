package ossv2_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/ossv2"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	theirs := func(c credentials.Credentials, err error) alicreds.Provider {
		return ossv2.From(credentials.CredentialsProviderFunc(func(context.Context) (credentials.Credentials, error) { return c, err }))
	}
	got, err := theirs(credentials.Credentials{AccessKeyID: "id", AccessKeySecret: "fake-secret", SecurityToken: "fake-token", Expires: &end}, nil).Retrieve(t.Context())
	if want := (alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: "fake-secret", SecurityToken: "fake-token", Expiration: end, Source: "oss"}); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := ossv2.From(credentials.NewStaticCredentialsProvider("id", "fake-secret")).Retrieve(t.Context()); err != nil || got.AccessKeyID != "id" || !got.Expiration.IsZero() {
		t.Errorf("static: got %s, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := theirs(credentials.Credentials{}, broken).Retrieve(t.Context()); !errors.Is(err, broken) {
		t.Errorf("broken: %v", err)
	}
	if _, err := ossv2.From(credentials.NewAnonymousCredentialsProvider()).Retrieve(t.Context()); err == nil || errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("anonymous: %v", err)
	}
	if _, err := ossv2.From(nil).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("nil: %v", err)
	}
	if text := fmt.Sprintf("%+v %#v", theirs(credentials.Credentials{}, nil), ossv2.From(nil)); text != "oss oss" {
		t.Errorf("prints %s", text)
	}
}
