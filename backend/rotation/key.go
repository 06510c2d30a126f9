package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Key is a key under rotation: where it is stored, and who asks RAM about it.
type Key interface {
	// Name tells the key from the others of a Queue.
	Name() string

	// Load returns what is stored, nil where there is nothing to rotate any longer.
	Load(ctx context.Context) (*Rotation, error)

	// Change applies f to what is stored, in one write, while no other write can
	// come in between. f gets what is stored now, and may change all but the
	// rules. Where current is no longer the key, f is not called, and the error
	// is ErrKeyGone.
	Change(ctx context.Context, current string, f func(*Rotation)) error

	// Keys returns RAM for the keys of the user.
	Keys(ctx context.Context, r *Rotation) (Keys, error)

	// CleanUp goes on with removing what earlier rotations have left that are no
	// longer in the State. It returns when to go on, zero when all is removed. What
	// fails is tried again then: it is no failure of the key, whose rotation goes on.
	CleanUp(ctx context.Context) (again time.Time, err error)
}

// Keys are RAM's calls about the keys of one user. Their errors are those of
// openapi, or a Refusal.
type Keys interface {
	// Owner is the user whose keys they are.
	Owner() (account, user string)

	// List lists the keys, without their secrets.
	List(ctx context.Context) ([]ram.AccessKey, error)

	// Create makes a key. It must not be repeated after an ambiguous failure.
	Create(ctx context.Context) (ram.AccessKey, error)

	// Disable and Delete succeed where there is no such key.
	Disable(ctx context.Context, id string) error
	Delete(ctx context.Context, id string) error

	// Probe returns nil if the key works, everywhere it is needed.
	Probe(ctx context.Context, k ram.AccessKey) error
}

// ErrKeyGone says that a rotation was overtaken by a write of what it rotates.
var ErrKeyGone = errors.New("the key was replaced or removed while it was being rotated")

// Refusal is an answer to the user: what is asked for cannot be done as things
// are. It says what to do, and to ask again without that is of no use.
type Refusal struct{ text string }

func (r *Refusal) Error() string { return r.text }

// Refuse makes a Refusal.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }
