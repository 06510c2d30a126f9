package backend

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// operationPrefix begins the operation names of generated clients, as it does
// for the built-in engine.
const operationPrefix = "ali-cloud"

// vaultTick is how often Vault calls the periodic function, and rollbacks.
const vaultTick = time.Minute

// Bounds of what one request may take. Vault gives a revocation 90 seconds.
const (
	readTimeout    = 30 * time.Second
	issueTimeout   = 60 * time.Second
	cleanUpTimeout = 60 * time.Second
)

// cleaningUp bounds a clean-up. Its calls of the cloud do not wait behind those of
// readers.
func cleaningUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(openapi.Urgent(ctx), cleanUpTimeout)
}

// display is how generated clients call what a path does.
func display(verb, suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: suffix}
}

// operation answers with fields.
func operation(callback framework.OperationFunc, summary string, answer map[string]*framework.FieldSchema) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: callback, Summary: summary,
		Responses: map[int][]framework.Response{http.StatusOK: {{Description: http.StatusText(http.StatusOK), Fields: answer}}},
	}
}

// change is an operation that answers nothing, or warnings. It runs where the
// storage can be written.
func change(callback framework.OperationFunc, summary string) *framework.PathOperation {
	return forwarded(&framework.PathOperation{
		Callback: callback, Summary: summary,
		Responses: map[int][]framework.Response{
			http.StatusOK:        {{Description: "Done, with warnings."}},
			http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
		},
	})
}

// forwarded makes standbys and secondaries hand the operation to the primary.
func forwarded(o *framework.PathOperation) *framework.PathOperation {
	o.ForwardPerformanceStandby, o.ForwardPerformanceSecondary = true, true
	return o
}

// named tells the operation from the others of its path.
func named(o *framework.PathOperation, verb, suffix string) *framework.PathOperation {
	o.DisplayAttrs = &framework.DisplayAttributes{OperationVerb: verb, OperationSuffix: suffix}
	return o
}

// cloudOrAnswer is what handlers that call the cloud begin with: where there is
// no cloud they return the rest.
func (b *backend) cloudOrAnswer(ctx context.Context, s logical.Storage) (*cloud, *logical.Response, error) {
	c, err := b.cloud(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, logical.ErrorResponse(b.notConfigured()), nil
	}
	return c, nil, nil
}

// warned adds warnings to a response, which may be nil. It returns nil, an
// empty answer, where there is nothing to say.
func warned(resp *logical.Response, warnings []string) *logical.Response {
	if len(warnings) == 0 {
		return resp
	}
	if resp == nil {
		resp = &logical.Response{}
	}
	for _, w := range warnings {
		resp.AddWarning(w)
	}
	return resp
}
