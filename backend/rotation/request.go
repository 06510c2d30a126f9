package rotation

import (
	"context"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	rotateTimeout = 30 * time.Second
	turnReserve   = 5 * time.Second // for one more look at the new key
)

// Rotate rotates a key on request. It waits for the new key to work, for half a
// minute at most; after that the rounds go on. It returns whether the key was
// switched. It outlasts ctx: what was begun is brought to a point where it is
// stored, whether or not the client still waits.
func (q *Queue) Rotate(ctx context.Context, k Key, want Demand) (switched bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotateTimeout)
	defer cancel()
	release, err := q.Take(ctx, k.Name())
	if err != nil {
		return false, err
	}
	defer release()
	defer q.reload(ctx, k)
	deadline, _ := ctx.Deadline()
	for {
		next, switched, err := advance(ctx, k, want)
		if switched {
			q.Announce(ctx, k.Name(), nil)
			q.Ended(k.Name(), nil, next)
		}
		if switched || err != nil || next.IsZero() || next.After(deadline.Add(-turnReserve)) {
			return switched, err
		}
		if ram.Pause(ctx, time.Until(next)) != nil {
			return false, nil
		}
	}
}

// reload moves the key in the queue to when it is due by what is stored, or to
// soon where that cannot be read.
func (q *Queue) reload(ctx context.Context, k Key) {
	r, err := k.Load(ctx)
	switch {
	case err != nil:
		q.move(k.Name(), time.Now().Add(firstRetry))
	case r == nil:
		q.move(k.Name(), time.Time{})
	default:
		q.move(k.Name(), r.Due())
	}
}
