package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// localToken marks the failures of a source: they are Vault's server's own.
type localToken struct{ alicreds.TokenSource }

func (t localToken) Token(ctx context.Context) (string, error) {
	token, err := t.TokenSource.Token(ctx)
	if err != nil && ctx.Err() == nil {
		err = noToken{err}
	}
	return token, err
}

// noToken is the failure of a token file or of Vault's identity token. Repeating
// the request would not mend it.
type noToken struct{ error }

func (e noToken) Unwrap() error { return e.error }

// identityToken is Vault's own, for hosts that issue one.
type identityToken struct {
	system   logical.SystemView
	audience string
	ttl      time.Duration
}

func (t identityToken) Token(ctx context.Context) (string, error) {
	token, err := t.system.GenerateIdentityToken(ctx, &pluginutil.IdentityTokenRequest{Audience: t.audience, TTL: t.ttl})
	if err != nil {
		return "", fmt.Errorf("this Vault server issues no identity token to plugins (%w): set oidc_token_file_path instead", err)
	}
	return token.Token.Token(), nil
}
