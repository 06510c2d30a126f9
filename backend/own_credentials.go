package backend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// ownCredentials are those that the mount works with: a provider. They are kept
// and renewed in the background until Close. A request that still holds them then
// obtains its own, so that nothing goes on when it has ended.
type ownCredentials struct {
	source   alicreds.Provider
	kept     *alicreds.Cache
	obtained *atomic.Pointer[obtained] // nil: nothing yet
	closed   atomic.Bool
}

// obtained is what may be told of credentials.
type obtained struct {
	source string    // as in alicreds.Credentials
	ends   time.Time // zero: never
}

func newOwnCredentials(source alicreds.Provider, w watch) *ownCredentials {
	last := &atomic.Pointer[obtained]{}
	source = watchedSource{source, w, last}
	return &ownCredentials{source: source, kept: alicreds.NewCache(source, alicreds.CacheOptions{}), obtained: last}
}

func (o *ownCredentials) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	c, err := o.kept.Retrieve(ctx)
	if err != nil && o.closed.Load() && ctx.Err() == nil {
		return o.source.Retrieve(ctx)
	}
	return c, err
}

// Invalidate drops credentials that a service refused before their end.
func (o *ownCredentials) Invalidate(refused alicreds.Credentials) { o.kept.Invalidate(refused) }

// Close ends a renewal that is under way, and waits for it.
func (o *ownCredentials) Close() {
	o.closed.Store(true)
	o.kept.Close()
}

// watch is who is told whether credentials came, as which kind of failure, of what.
type watch struct {
	told *failures
	kind string
	of   string
}

// watchedSource is the source of the mount's credentials. All else waits for them, so
// its calls wait behind no others. It says each time whether it failed.
type watchedSource struct {
	alicreds.Provider
	watch
	last *atomic.Pointer[obtained]
}

func (w watchedSource) Retrieve(ctx context.Context) (alicreds.Credentials, error) {
	c, err := w.Provider.Retrieve(openapi.Urgent(ctx))
	switch {
	case err == nil && c.Expired(time.Now()):
		w.told.failed(w.kind, w.of, errors.New("the credentials had expired already when they came"), time.Time{})
	case err == nil:
		w.last.Store(&obtained{c.Source, c.Expiration})
		w.told.succeeded(w.kind, w.of)
	case !errors.Is(err, context.Canceled): // the mount or the request has gone
		w.told.failed(w.kind, w.of, err, time.Time{})
	}
	return c, err
}
