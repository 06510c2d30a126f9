package backend

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// hostMemory is how long an answer of Vault about itself serves. It may be out
// of date that long: a node that has just lost the right to write still
// refuses the WAL entry that precedes everything, and Vault caps each lease.
const hostMemory = time.Second

// host is Vault as the engine sees it. A question is a call over the plugin
// protocol, and the SDK and the engine have the same ones at each request.
type host struct {
	logical.SystemView
	state    recent[consts.ReplicationState]
	maxLease recent[time.Duration]
}

// ReplicationState tells what the node may do.
func (h *host) ReplicationState() consts.ReplicationState {
	return h.state.get(h.SystemView.ReplicationState)
}

// MaxLeaseTTL is the longest lease of the mount.
func (h *host) MaxLeaseTTL() time.Duration { return h.maxLease.get(h.SystemView.MaxLeaseTTL) }

// recent keeps one answer. The zero value of T, which is also what the plugin
// protocol makes of a failure, is not kept.
type recent[T comparable] struct{ last atomic.Pointer[dated[T]] }

type dated[T any] struct {
	value T
	at    time.Time
}

func (r *recent[T]) get(ask func() T) T {
	if a := r.last.Load(); a != nil && time.Since(a.at) < hostMemory {
		return a.value
	}
	at := time.Now()
	value := ask()
	var none T
	if value != none {
		r.last.Store(&dated[T]{value, at})
	}
	return value
}

// errNoMaximum is for when Vault, asked over the plugin protocol, gave no answer.
// Nothing may be issued then: how long it has to be remembered is not known.
var errNoMaximum = errors.New("Vault did not say how long the longest lease of this mount is: try again")
